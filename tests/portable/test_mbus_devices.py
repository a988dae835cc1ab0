"""M-Bus devices: every telegram once, raw, at its own time in UTC, from whichever table has it."""

import unittest

from gateway.c1219.readers import mbus
from gateway.c1219.tables import Tables
from gateway.errors import TableError
from gateway.transmission import registry
from gateway.transmission.ids import stored_id
from gateway.transmission.model import MBUS
from tests.fake_devices import Devices, data, telegram
from tests.fake_logs import stamp
from tests.fake_meter import FakeMeter, by_name, put, run

JANUARY = 1704067200
METER = bytes(16)


def faults(reading):
    return [registry.fault_name(fault) for fault in reading.faults]


class World(Devices):
    def __init__(self, **options):
        max_read = options.pop("max_read", 465)
        super().__init__(**options)
        self.meter = FakeMeter(self.tables, max_read)
        self.reader = Tables(self.meter)
        self.cursor = None

    def step(self):
        self.meter.reads = []
        step = run(mbus.read(self.reader, self.cursor))
        self.cursor = step.cursor
        return step

    def drain(self):
        items = []
        for _ in range(200):
            step = self.step()
            items.extend(step.items)
            if not step.more:
                return items
        raise AssertionError("no end")

    def telegrams(self):
        """What came, as the truth has it; states left out."""
        return [told(reading) for reading in self.drain() if reading.stored]


def told(reading):
    values = by_name(reading)
    raw = values["OSGP_mbus_telegram"].text
    return (values["OSGP_mbus_handle"].mantissa, reading.stored[1], bytes.fromhex(raw))


class TestTelegrams(unittest.TestCase):
    def test_what_a_reading_says(self):
        world = World()
        world.device(0, 7)
        content = telegram(0x12345678, 1, 4711)
        world.schedule(7, data(7200, [content], 0x20), execution=2)
        reading = world.drain()[0]
        values = by_name(reading)
        self.assertEqual(reading.kind, MBUS)
        self.assertEqual((reading.time.seconds, reading.time.offset), (JANUARY + 3600, 60))
        self.assertEqual(bytes.fromhex(values["OSGP_mbus_telegram"].text), content)
        self.assertEqual(values["OSGP_mbus_handle"].mantissa, 7)
        self.assertEqual(values["OSGP_mbus_response_info"].mantissa, 0x20)
        self.assertEqual(faults(reading), ["OSGP_mbus_late", "OSGP_mbus_not_authentic"])
        self.assertEqual(reading.stored[:2], (7, stamp(7200)))

    def test_each_once_in_order_through_turns_of_the_log(self):
        world = World(recurring=6)
        got = []
        for i, number in enumerate((3, 6, 1, 0, 5)):
            for j in range(number):
                world.schedule(7 + j % 2, data(600 * (10 * i + j), [telegram(1 + j % 2, 10 * i + j)]))
            got += world.telegrams()
        self.assertEqual(got, world.truth)

    def test_the_same_local_hour_twice(self):
        world = World()
        world.schedule(7, data(7200, [telegram(1, 1, 100)]))
        world.schedule(7, data(7200, [telegram(1, 2, 103)]))
        readings = world.drain()
        self.assertEqual([told(reading) for reading in readings], world.truth)
        self.assertEqual(len({stored_id(METER, MBUS, reading.stored) for reading in readings}), 2)

    def test_what_was_overwritten_is_declared(self):
        world = World(recurring=3)
        world.schedule(7, data(0, [telegram(1, 0)]))
        world.drain()
        for i in range(1, 6):
            world.schedule(7, data(600 * i, [telegram(1, i)]))
        readings = world.drain()
        self.assertEqual([told(reading) for reading in readings], world.truth[-3:])
        self.assertEqual([faults(reading) for reading in readings], [["OSGP_events_lost"], [], []])

    def test_several_telegrams_of_one_read(self):
        world = World()
        world.schedule(7, data(600, [telegram(1, 1), telegram(1, 2)]))
        self.assertEqual(world.telegrams(), world.truth)

    def test_a_telegram_that_did_not_fit(self):
        world = World()
        content = data(600, [telegram(1, 1)])
        world.schedule(7, content)
        put(world.log.table, 6, len(content) - 8, 2)  # the log ends within the telegram
        (reading,) = world.drain()
        self.assertEqual(faults(reading), ["OSGP_mbus_incomplete"])

    def test_the_first_read_is_in_et16(self):
        world = World()
        world.device(1, 8)
        content = data(600, [telegram(2, 1)])
        world.post(1, content)
        world.remember(8, content)
        self.assertEqual(world.telegrams(), world.truth)
        self.assertEqual(world.telegrams(), [])

    def test_a_copy_in_et16_comes_once(self):
        world = World()
        world.device(0, 7)
        for i in range(4):
            content = data(600 * i, [telegram(1, i)])
            world.schedule(7, content)
            world.post(0, content)
            self.assertEqual(world.telegrams(), world.truth[-1:])

    def test_entries_that_are_handed_on_come_once(self):
        world = World(recurring=20, extended=5)
        got = []
        for i in range(16):
            world.schedule(7, data(600 * i, [telegram(1, i)]))
            if i % 3:
                got += world.telegrams()
                world.hand_over()
        got += world.telegrams()
        self.assertEqual(got, world.truth)

    def test_without_a_log(self):
        world = World(recurring=0)
        world.device(0, 7)
        content = data(600, [telegram(1, 1)])
        world.post(0, content)
        world.remember(7, content)
        self.assertEqual(world.telegrams(), world.truth)

    def test_a_meter_without_devices(self):
        world = World()
        for table in (2059, 2062, 2084):
            del world.tables[table]
        self.assertEqual(world.drain(), [])

    def test_a_meter_that_supports_no_device(self):
        world = World(recurring=0)
        world.tables[2059][:7] = bytes(7)  # ET11: none, and entries of no size
        world.tables[2062] = bytes(6)
        self.assertEqual(world.drain(), [])

    def test_a_mep_devices_data(self):
        world = World()
        world.device(4, 1000, status=3)
        world.post(4, stamp(600) + b"\0" + b"\x05\0" + b"\x03\0" + b"\x01\x02\x03")
        reading = [item for item in world.drain() if item.stored][0]
        self.assertEqual(by_name(reading)["OSGP_mbus_data"].text, "010203")

    def test_since_begins_at_a_time(self):
        world = World()
        for i in range(5):
            world.schedule(7, data(3600 + 600 * i, [telegram(1, i)]))
        world.cursor = mbus.since(JANUARY + 1200)
        self.assertEqual(world.telegrams(), world.truth[2:])
        self.assertEqual(world.telegrams(), [])

    def test_a_garbled_cursor_begins_anew(self):
        world = World()
        world.device(0, 7)
        for i in range(5):
            world.schedule(7, data(600 * i, [telegram(1, i)]))
        world.drain()
        good = world.cursor
        self.assertTrue(len(good) < 256)
        for bad in (b"", b"x" * 40, good[:-1], bytes(len(good))):
            world.cursor = bad
            self.assertEqual(world.telegrams(), world.truth)

    def test_small_reads(self):
        world = World(max_read=48)
        world.device(0, 7)
        content = data(600, [telegram(1, 1) * 6, telegram(1, 2) * 8])
        world.post(0, content)
        world.schedule(7, data(0, [telegram(1, 0) * 9]))
        world.remember(7, content)
        self.assertEqual(world.telegrams(), world.truth)

    def test_claims_beyond_belief_are_refused(self):
        for place, value in ((1 + 4 * 17 + 2, 65535), (1 + 4 * 17 + 6, 65535)):
            world = World()
            put(world.tables[2084], place, value, 2)
            self.assertRaises(TableError, world.drain)
        world = World()
        world.tables[2059][0] = 255
        self.assertRaises(TableError, world.drain)


class TestStates(unittest.TestCase):
    def test_a_state_when_it_changed(self):
        world = World()
        world.et13[8:28] = b"Flat 4" + bytes(14)
        world.device(0, 7, alarms=0x10, device_alarms=4)
        (reading,) = world.drain()
        values = by_name(reading)
        self.assertEqual(
            [values["OSGP_mbus_" + name].mantissa for name in ("slot", "handle", "device_status")], [1, 7, 1]
        )
        self.assertEqual(values["OSGP_mbus_alarms"].mantissa, 0x10)
        self.assertEqual(values["OSGP_mbus_device_alarms"].mantissa, 4)
        self.assertEqual(values["OSGP_mbus_customer_id"].text, "Flat 4")
        self.assertEqual(world.drain(), [])
        world.device(0, 7, status=2)
        self.assertEqual(by_name(world.drain()[0])["OSGP_mbus_device_status"].mantissa, 2)
        world.et14[5] = 0
        self.assertEqual(by_name(world.drain()[0])["OSGP_mbus_handle"].mantissa, 0)
        self.assertEqual(world.drain(), [])

    def test_keys_are_never_read(self):
        world = World()
        for slot in range(4):
            world.device(slot, 7 + slot)
        read = []
        world.meter.before_read = lambda table, offset, count: read.append((table, offset, count))
        world.drain()
        spans = [(offset % 66, count) for table, offset, count in read if table == 2061]
        self.assertEqual(spans, 4 * [(8, 20)])


class TestWhileTheyMove(unittest.TestCase):
    def test_scheduled_reads_at_any_exchange(self):
        for seed in range(12):
            state = [seed * 7919 + 1]

            def random(below, state=state):
                state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
                return (state[0] >> 12) % below

            world = World(recurring=8, extended=6 if seed % 2 else 0)
            made = [0]

            def before_read(*_, world=world, made=made, random=random):
                if made[0] < 40 and random(9) == 0:
                    made[0] += 1
                    world.schedule(7, data(600 * made[0], [telegram(1, made[0], made[0])]))
                if world.more and random(5) == 0:
                    world.hand_over()

            world.meter.before_read = before_read
            got = []
            while made[0] < 40:
                got += [told(item) for item in world.step().items if item.stored]
            world.meter.before_read = None
            got += world.telegrams()
            self.assertEqual(len(got), len(set(got)))
            self.assertEqual([item for item in world.truth if item not in got], [])
            self.assertTrue(set(got) <= set(world.truth))
