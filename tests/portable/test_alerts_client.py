"""A registered client, and M-Bus devices on demand: what is written, and what is made of odd answers."""

import asyncio
import unittest

from gateway import clock
from gateway.c1219.alerts import Client
from gateway.c1219.on_demand import OnDemand, period_s
from gateway.c1219.tables import Tables
from gateway.errors import Refused, TableError
from gateway.transmission import model
from tests.fake_meter import FakeMeter, bt01, by_name, standard

ET11, ET13, ET14, ET15, ET50, ET54, ET59, ET70, ET71 = (
    2048 + n for n in (11, 13, 14, 15, 50, 54, 59, 70, 71)
)
ENTRY, RECORD = 66, 71
HOUR = 3600


class Meter(FakeMeter):
    """As a meter of firmware 3.50 on which only what is `writable` may be written. `result`: of procedures;
    `on_call`: called with number and parameters of each."""

    def __init__(self, port=0, firmware=0x3640):
        FakeMeter.__init__(self, standard())
        self.tables[1] = bt01(firmware)
        et11 = bytearray(60)
        et11[:7] = bytes((6, ENTRY, 36, 5, 6, 5, 2))
        et11[22], et11[27], et11[34] = 6, 4, 2
        self.tables[ET11] = et11
        self.tables[ET13] = bytearray(6 * ENTRY)
        self.tables[ET14] = bytearray(6 + 6 * 36)
        self.tables[ET15] = bytearray(1 + 5 * 6)
        self.tables[ET50] = bytearray(2 * RECORD)
        self.tables[ET54] = bytearray((0, 1 if port else 0))
        self.tables[ET70] = bytearray(142) + bytes((port,))
        self.tables[ET71] = bytearray((b"\xff\0" + bytes(11)) * 4)
        for table in (ET59, 2133, 8):
            self.tables[table] = bytearray(16)
        self.answers = 8
        self.writable = (7, ET50, ET71)
        self.written = []
        self.result = 0
        self.on_call = lambda number, parameters: None

    async def write(self, table, data, offset=None):
        await asyncio.sleep(0)
        self.written.append((table, offset, bytes(data)))
        if table not in self.writable:
            raise Refused("insufficient rights", 3, table)
        if table == 7:
            self.on_call(data[0] | data[1] << 8, data[3:])
            self.tables[self.answers][:4] = data[:3] + bytes((self.result,))
        else:
            self.tables[table][offset : offset + len(data)] = data

    def watched(self):
        held = self.tables[ET71]
        return [(held[at] | held[at + 1] << 8, held[at + 2] | held[at + 3] << 8) for at in range(0, 52, 13)]

    def measure(self, place, watts, status=0):
        held = self.tables[ET71]
        held[13 * place + 8 : 13 * place + 13] = (watts & 0xFFFFFFFF).to_bytes(4, "little") + bytes((status,))

    def alert(self, flags, client=0):
        self.tables[ET13][(4 + client) * ENTRY + 8] = flags


class Case(unittest.TestCase):
    def setUp(self):
        self.utc = 1_720_000_000_000
        self._real = clock.utc_ms
        clock.utc_ms = lambda: self.utc
        clock.set_scale(1000)

    def tearDown(self):
        clock.utc_ms = self._real
        clock.set_scale(1)


class TestClient(Case):
    def begin(self, meter, watts=0, client=None):
        self.client = client or Client(watts)
        self.tables = Tables(meter)
        asyncio.run(self.client.prepare(self.tables))
        return self.client

    def serve(self):
        items, kinds = asyncio.run(self.client.serve(self.tables))
        return [{name: value.mantissa for name, value in by_name(item).items()} for item in items], list(
            kinds
        )

    def test_flags_of_others_stay_and_nothing_is_written_twice(self):
        meter = Meter()
        meter.tables[ET50][30] = 0x84
        self.assertEqual(self.begin(meter, 200).problems, {})
        self.assertEqual(meter.tables[ET50][30], 0x8F)
        self.assertEqual(meter.watched()[:3], [(8, 200), (9, 200), (255, 0)])
        written = len(meter.written)
        self.begin(meter, 200)
        self.begin(meter, 200, self.client)
        self.assertEqual(len(meter.written), written)

    def test_each_port_has_its_own_record(self):
        meter = Meter(port=2, firmware=0x4000)
        self.begin(meter)
        self.assertEqual(meter.written, [(ET50, RECORD + 30, b"\x01")])
        meter = Meter(port=1, firmware=0x4000)
        self.begin(meter)
        self.assertEqual(meter.written, [(ET50, 30, b"\x03")])

    def test_what_the_other_ports_client_watches_stays(self):
        meter = Meter(port=2, firmware=0x4000)
        meter.tables[ET71][:4] = b"\x08\0\x64\0"
        self.begin(meter, 200)
        self.assertEqual(meter.watched(), [(8, 100), (8, 200), (9, 200), (255, 0)])
        meter = Meter()
        meter.tables[ET71][:4] = b"\x08\0\x64\0"
        self.begin(meter, 200)
        self.assertEqual(meter.watched(), [(8, 200), (9, 200), (255, 0), (255, 0)])

    def test_no_room(self):
        meter = Meter()
        meter.tables[ET71] = bytearray((b"\x0c\0\x01\0" + bytes(9)) * 4)
        self.assertIn("in use", self.begin(meter, 200).problems["changes of power"])
        meter.alert(16)
        self.assertEqual(self.serve(), ([], []))

    def test_a_refused_registration_is_told_until_it_is_allowed(self):
        meter = Meter()
        meter.writable = ()
        self.assertIn("insufficient rights", self.begin(meter, 200).problems["registration"])
        self.assertEqual(len(meter.written), 1)
        meter.writable = (7, ET50, ET71)
        self.begin(meter, 200, self.client)
        self.assertEqual(self.client.problems, {})

    def test_a_key_that_may_register_and_no_more(self):
        meter = Meter()
        meter.writable = (7, ET50)
        problems = self.begin(meter, 200).problems
        self.assertEqual(list(problems), ["changes of power"])
        self.assertIsNone(self.client.pause_ms)
        self.assertIn("insufficient rights", problems["changes of power"])

    def test_a_change_is_told_and_ended_first(self):
        meter = Meter()
        meter.answers = ET59
        self.begin(meter, 200)

        def change(number, parameters):
            self.assertEqual((number, parameters), (2048 + 39, b"\x0c"))
            meter.alert(0)
            meter.measure(0, 2300)
            meter.measure(1, -7)

        meter.on_call = change
        meter.alert(16)
        self.assertEqual(self.serve(), ([{"OBIS_1.7.0": 2300, "OBIS_2.7.0": -7}], []))
        self.assertEqual(self.serve(), ([], []))
        (call,) = [data for table, _, data in meter.written if table == 7]
        self.assertEqual(call[3:], b"\x0c")

    def test_one_that_the_meter_will_not_end_is_told_once(self):
        meter = Meter()
        meter.answers = ET59
        meter.result = 5
        self.begin(meter, 200)
        meter.alert(16)
        meter.measure(0, 2300)
        self.assertEqual(self.serve()[0], [{"OBIS_1.7.0": 2300, "OBIS_2.7.0": 0}])
        self.assertIn("goes on alerting", self.client.problems["changes of power"])
        meter.measure(0, 2400)
        self.assertEqual(self.serve(), ([], []))
        meter.measure(0, 2600)
        self.assertEqual(len(self.serve()[0]), 1)

    def test_a_procedure_that_clears_the_configuration(self):
        meter = Meter()
        meter.answers = ET59
        self.begin(meter, 200)
        empty = bytearray((b"\xff\0" + bytes(11)) * 4)
        meter.on_call = lambda number, parameters: meter.tables.update({ET71: empty})
        meter.tables[21] = bytes((3, 12, 0, 11, 0, 0, 0, 4, 0, 2))
        meter.tables[27] = b"\x08\x09"
        meter.tables[28] = (2300).to_bytes(4, "little") + bytes(4)
        meter.alert(16)
        self.assertEqual(self.serve()[0], [{"OBIS_1.7.0": 2300, "OBIS_2.7.0": 0}])
        self.assertEqual(meter.watched()[:2], [(8, 200), (9, 200)])

    def test_a_source_that_the_meter_lacks_carries_nothing(self):
        meter = Meter()
        meter.answers = ET59
        self.begin(meter, 200)
        meter.alert(16)
        meter.measure(0, 500)
        meter.measure(1, 0, status=1)
        self.assertEqual(self.serve()[0], [{"OBIS_1.7.0": 500}])
        meter.measure(0, 900, status=1)
        self.assertEqual(self.serve(), ([], []))

    def test_other_causes_have_things_read_as_they_come_up(self):
        meter = Meter(port=2, firmware=0x4000)
        self.begin(meter)
        for flags, kinds in (
            (1, [model.MBUS]),
            (1, []),
            (3, [model.MBUS]),
            (8, [model.MBUS, model.LOAD_PROFILE]),
            (24, []),
            (0, []),
            (8, [model.MBUS, model.LOAD_PROFILE]),
        ):
            meter.alert(flags, 1)
            self.assertEqual(self.serve(), ([], kinds))
        self.assertEqual(len(meter.written), 1)

    def test_dimensions_that_can_not_be(self):
        meter = Meter()
        meter.tables[ET11][27] = 255
        self.assertIn("255 entries", self.begin(meter, 200).problems["registration"])
        meter.tables[ET11][1] = 3
        self.assertRaises(TableError, self.serve)


class TestOnDemand(Case):
    def setUp(self):
        Case.setUp(self)
        self.meter = Meter()
        self.calls = []
        self.meter.on_call = lambda number, parameters: self.calls.append((number, bytes(parameters)))
        self.meter.tables[ET14][5] = 0b11011
        for slot in range(5):
            at = 6 + 36 * slot
            self.meter.tables[ET14][at : at + 2] = bytes((slot + 1, 0))
            # Hourly, daily, daily, never, hourly: a client.
            self.meter.tables[ET13][ENTRY * slot + 3] = (0, 1, 1, 4, 0)[slot]
        self.on_demand = OnDemand(2 * HOUR)
        self.tables = Tables(self.meter)

    def ask(self, later=0):
        self.utc += 1000 * later
        return asyncio.run(self.on_demand.ask(self.tables))

    def answer(self, place, result):
        _, parameters = self.calls[place]
        entry = parameters[:4] + bytes((2, result))
        self.meter.tables[ET15][1 + 6 * place : 7 + 6 * place] = entry

    def test_devices_that_the_meter_reads_more_seldom(self):
        self.assertIsNone(self.ask())
        self.assertIsNone(self.ask(HOUR))
        self.assertEqual(self.calls, [])
        self.assertEqual(self.ask(HOUR), 2000)
        self.assertEqual([parameters[2:] for _, parameters in self.calls], [b"\x02\0\x02", b"\x04\0\x02"])
        self.assertEqual({number for number, _ in self.calls}, {2048 + 19})
        self.assertEqual({parameters[1] for _, parameters in self.calls}, {4})
        self.assertNotEqual(self.calls[0][1][:2], self.calls[1][1][:2])
        self.answer(0, 1)
        self.assertEqual(self.ask(2), 2000)
        self.answer(1, 2)
        self.assertIsNone(self.ask(2))
        self.assertEqual(self.on_demand.problems, {"device 4": "did not answer the meter (ET15: result 2)"})
        self.assertIsNone(self.ask(HOUR))
        self.assertEqual(len(self.calls), 2)
        self.assertEqual(self.ask(HOUR), 2000)
        self.assertEqual(len(self.calls), 4)

    def test_numbers_in_use_are_not_taken(self):
        self.ask()
        for place in range(5):
            number = (self.on_demand._number + 1 + place) & 0xFF
            self.meter.tables[ET15][1 + 6 * place : 3 + 6 * place] = bytes((number, 4))
        taken = [bytes(self.meter.tables[ET15][1 + 6 * place : 3 + 6 * place]) for place in range(5)]
        self.ask(2 * HOUR)
        for _, parameters in self.calls:
            self.assertFalse(parameters[:2] in taken)

    def test_never_more_often_than_hourly_and_one_that_gets_lost_is_given_up(self):
        self.on_demand = OnDemand(1)
        self.ask()
        self.assertEqual(self.ask(HOUR), 2000)
        self.assertEqual(self.ask(60), 2000)
        self.assertIsNone(self.ask(60))
        self.assertEqual(len(self.calls), 2)
        self.assertEqual(len(self.on_demand.problems), 2)

    def test_refusals_are_told_and_not_repeated_at_once(self):
        self.meter.result = 5
        self.ask()
        self.assertIsNone(self.ask(2 * HOUR))
        self.assertIsNone(self.ask(60))
        self.assertEqual(len(self.calls), 2)
        self.assertIn("no authorization", self.on_demand.problems["device 2"])

    def test_a_clock_set_back_asks_nobody(self):
        self.ask()
        self.assertIsNone(self.ask(-30 * 24 * HOUR))
        self.assertIsNone(self.ask(HOUR))
        self.assertEqual(self.ask(HOUR), 2000)

    def test_a_meter_without_such_devices(self):
        del self.meter.tables[ET14]
        self.ask()
        self.assertIsNone(self.ask(9 * HOUR))
        self.assertEqual(self.calls, [])

    def test_periods(self):
        self.assertEqual([period_s(1, n) for n in range(4)], [3600, 86400, 604800, 2678400])
        self.assertEqual(period_s(39, 2), period_s(0, 4))
        self.assertTrue(period_s(0, 200) > period_s(0, 3))
