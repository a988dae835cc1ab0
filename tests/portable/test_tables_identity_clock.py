"""Identity and clock: which serial number counts, three clocks, drift, and clocks not to be trusted."""

import unittest

from gateway import clock as time_seam
from gateway.c1219.readers import clock, identity
from gateway.c1219.tables import Tables
from gateway.errors import Refused, TableError
from gateway.transmission import registry
from tests.fake_meter import FakeMeter, amount, by_name, put, run, standard

UNTRUSTED = registry.fault_number("OSGP_clock_untrusted")
METER_TIME = registry.fault_number("OSGP_meter_time")


def who(tables, **meter):
    return run(identity.identify(Tables(FakeMeter(tables, **meter))))


class TestIdentity(unittest.TestCase):
    def test_what_the_tables_say(self):
        tables = standard()
        et03 = bytearray(143)
        et03[:11] = b"20401234567"
        put(et03, 137, 0xBEEF, 2)
        tables[2051] = et03
        tables[1] = tables[1][:16] + b"\x00\x00\x00\x00\x12\x34\x56\x78"
        for i in range(8):
            tables[2052][14 + i] = 0x90 + i
        found = who(tables)
        self.assertEqual(
            (found.manufacturer, found.serial, found.model, found.firmware),
            ("NES", "20401234567", "83331-3I", "3.10.21"),
        )
        self.assertEqual(found.hardware, "3.00.24")  # the guide's own example: 0x3018
        self.assertEqual(found.manufacturer_serial, "0000000012345678")
        self.assertEqual(found.image_crc, 0xBEEF)
        self.assertEqual(found.program_id, bytes(range(0x90, 0x98)))

    def test_the_next_number_where_one_is_empty(self):
        tables = standard()
        tables[2051] = bytes(143)
        tables[1] = tables[1][:16] + b"\x00\x00\x00\x00\x12\x34\x56\x78"
        self.assertEqual(who(tables).serial, "0000000012345678")
        for reserved in (bytes(8), b"\xab" * 8):  # nothing, or nothing that is a number
            tables[1] = tables[1][:16] + reserved
            tables[2052][4:10] = b"\x04\x00\x1a\x2b\x3c\x4d"
            found = who(tables)
            self.assertEqual((found.serial, found.manufacturer_serial), ("04001A2B3C4D", ""))
        tables[2052][4:10] = bytes(6)
        with self.assertRaises(TableError):
            who(tables)

    def test_a_refusal_is_not_another_serial_number(self):
        tables = standard()
        del tables[2051]
        tables[1] = tables[1][:16] + b"\x00\x00\x00\x00\x12\x34\x56\x78"
        with self.assertRaises(Refused):
            who(tables, absent_code=3)

    def test_manufacturer_from_bt00(self):
        tables = standard()
        tables[1] = bytes(4) + tables[1][4:]
        tables[0] = b"\x02\x2a\x88ELON" + bytes(12)
        self.assertEqual(who(tables).manufacturer, "ELON")

    def test_formats_that_would_be_misread(self):
        tables = standard()
        for head in ("032a88", "022988", "026a88", "022a81", "022a18"):
            tables[0] = bytes.fromhex(head) + b"ELON" + bytes(12)
            with self.assertRaises(TableError):
                who(tables)
        tables[0] = bytes(19)  # not filled in
        tables[2051] = b"1" + bytes(142)
        self.assertEqual(who(tables).serial, "1")

    def test_a_serial_number_in_characters(self):
        tables = standard()
        tables[2051] = bytes(143)
        tables[1] = tables[1][:16] + b"A1234567"
        tables[0] = b"\x02\x0a\x88ELON" + bytes(12)
        self.assertEqual(who(tables).serial, "A1234567")

    def test_reading(self):
        tables = standard()
        bt15 = bytearray(17)
        put(bt15, 9, 80)
        put(bt15, 13, 1)
        tables[15] = bt15
        meter = FakeMeter(tables)
        (reading,) = run(identity.read(Tables(meter)))
        found = by_name(reading)
        self.assertEqual(found["OBIS_C.1.0"].text, "20401234567")
        self.assertEqual(found["OBIS_0.2.0"].text, "3.10.21")
        self.assertEqual(amount(found["OBIS_0.4.2"]), (80, 0, None))
        self.assertEqual(amount(found["OBIS_0.4.3"]), (1, 0, None))

    def test_asking_who_it_is_drops_what_was_known(self):
        from gateway.c1219.readers import present

        meter = FakeMeter(standard())
        meter.tables[28] = bytes(220)
        tables = Tables(meter)
        run(present.read(tables))
        run(identity.read(tables))
        run(present.read(tables))
        self.assertEqual(len([r for r in meter.reads if r[0] == 21]), 2)


class TestClock(unittest.TestCase):
    # BT52 of the standard meter: 2024-07-01T12:30:15Z.
    METER_SECONDS = 1719837015

    def setUp(self):
        self.real = time_seam.utc_ms
        self.host_ms = self.METER_SECONDS * 1000 + 500
        time_seam.utc_ms = lambda: self.host_ms

    def tearDown(self):
        time_seam.utc_ms = self.real

    def read(self, **changed):
        tables = standard()
        for name in changed:
            tables[int(name[2:])] = bytes(changed[name])
        (reading,) = run(clock.read(Tables(FakeMeter(tables))))
        return reading, by_name(reading)

    def test_three_clocks_and_the_tier(self):
        reading, found = self.read(bt55=(24, 7, 1, 14, 30, 0, 0x0E, 0xC2, 0x31))
        self.assertEqual(found["OSGP_time_utc"].text, "2024-07-01T12:30:15Z")
        self.assertEqual(found["OSGP_time_local"].text, "2024-07-01T14:30:15+02:00")
        self.assertEqual(amount(found["OSGP_clock_drift"]), (0, -3, "s"))
        self.assertEqual(found["OBIS_C.87.0"].mantissa, 3)  # tier 2, counted from 0
        self.assertEqual(list(reading.faults), [])
        self.assertEqual(reading.time.seconds, self.METER_SECONDS)

    def test_offsets_behind_utc_and_without_summer(self):
        _, found = self.read(bt52=(24, 1, 1, 0, 10, 0, 0x01), bt53=(2, 0, 0, 60, 0xA7, 0xFE))
        self.assertEqual(found["OSGP_time_local"].text, "2023-12-31T18:25:00-05:45")

    def test_a_clock_that_was_never_set_west_of_greenwich(self):
        _, found = self.read(bt52=(0, 1, 1, 0, 0, 5, 0), bt53=(2, 0, 0, 60, 0xD4, 0xFE))
        self.assertEqual(found["OSGP_time_local"].text, "1999-12-31T19:00:05-05:00")

    def test_drift_is_signed_and_a_minute_is_trusted(self):
        for ahead_ms, faults in ((-59000, []), (60000, []), (61000, [UNTRUSTED]), (-3600000, [UNTRUSTED])):
            self.host_ms = self.METER_SECONDS * 1000 + 500 - ahead_ms
            reading, found = self.read()
            self.assertEqual(found["OSGP_clock_drift"].mantissa, ahead_ms)
            self.assertEqual(list(reading.faults), faults)
            self.assertEqual(reading.time.seconds, self.host_ms // 1000)

    def test_a_clock_that_is_no_time(self):
        for stamp in ((0, 0, 0, 0, 0, 0), (24, 13, 1, 0, 0, 0)):
            reading, found = self.read(bt52=stamp + (0,))
            self.assertEqual(list(reading.faults), [UNTRUSTED])
            self.assertEqual(list(found), ["OBIS_C.87.0"])

    def test_a_gateway_that_has_no_time_takes_the_meter_s_and_says_so(self):
        self.host_ms = 5000
        reading, found = self.read()
        self.assertEqual(reading.time.seconds, self.METER_SECONDS)
        self.assertEqual(list(reading.faults), [METER_TIME])
        self.assertFalse("OSGP_clock_drift" in found)

    def test_an_offset_that_no_place_has(self):
        with self.assertRaises(TableError):
            self.read(bt53=(2, 0, 0, 60, 0xFF, 0x7F))
