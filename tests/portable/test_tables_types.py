"""Data types of the tables: integers of all widths, texts, BCD, and times with two-digit years."""

import unittest

from gateway.c1219.types import bcd, civil, seconds_of, signed, text, unsigned
from gateway.errors import TableError


class TestIntegers(unittest.TestCase):
    def test_least_significant_byte_first(self):
        self.assertEqual(unsigned(b"\x01\x02\x03\x04\x05\x06"), 0x060504030201)

    def test_signs_of_every_width(self):
        for width in (1, 2, 3, 4, 5, 6):
            top = 1 << (8 * width - 1)
            for value in (0, 1, -1, top - 1, -top):
                raw = bytes([(value & (2 * top - 1)) >> 8 * i & 255 for i in range(width)])
                self.assertEqual(signed(raw), value)


class TestTexts(unittest.TestCase):
    def test_ends_at_nul_and_loses_padding(self):
        self.assertEqual(text(b"  20401 \0garbage"), "20401")
        self.assertEqual(text(b"\0\0"), "")

    def test_latin_1_and_controls(self):
        self.assertEqual(text(b"\xc5rhus\x07\x7f\x85"), "\u00c5rhus???")

    def test_bcd(self):
        self.assertEqual(bcd(b"\x00\x12\x34\x09"), "00123409")
        self.assertEqual(bcd(b"\x12\x3f\xff"), "123")
        with self.assertRaises(TableError):
            bcd(b"\x1a")


class TestTimes(unittest.TestCase):
    def test_known_instants(self):
        # By another calendar: 2002-01-01, the guide's example year, and both ends of the range.
        self.assertEqual(seconds_of(bytes((2, 1, 1, 0, 0, 0))), 1009843200)
        self.assertEqual(seconds_of(bytes((0, 1, 1, 0, 0, 1))), 946684801)
        self.assertEqual(seconds_of(bytes((99, 12, 31, 23, 59, 59))), 4102444799)
        self.assertEqual(seconds_of(bytes((24, 2, 29, 12, 34))), 1709210040)

    def test_every_day_of_the_century_and_back(self):
        seconds = seconds_of(bytes((0, 1, 1, 1, 2, 3)))
        days = 0
        for year in range(100):
            for month in range(1, 13):
                for day in range(1, 32):
                    try:
                        found = seconds_of(bytes((year, month, day, 1, 2, 3)))
                    except TableError:
                        continue
                    self.assertEqual(found, seconds + 86400 * days)
                    if day in (1, 28, 29, 31):
                        self.assertEqual(civil(found), (2000 + year, month, day, 1, 2, 3))
                    days += 1
        self.assertEqual(days, 36525)

    def test_the_hours_before_the_first_stamp(self):
        # What a clock that was never set shows west of Greenwich.
        self.assertEqual(civil(946684800 - 1), (1999, 12, 31, 23, 59, 59))
        self.assertEqual(civil(946684800 - 366 * 86400), (1998, 12, 31, 0, 0, 0))

    def test_never_set(self):
        self.assertIsNone(seconds_of(bytes(6)))
        self.assertIsNone(seconds_of(bytes(5)))

    def test_what_is_no_time(self):
        for wrong in (
            (24, 0, 1, 0, 0, 0), (24, 13, 1, 0, 0, 0), (24, 4, 31, 0, 0, 0), (23, 2, 29, 0, 0, 0),
            (24, 1, 0, 0, 0, 0), (24, 1, 1, 24, 0, 0), (24, 1, 1, 0, 60, 0), (24, 1, 1, 0, 0, 60),
            (100, 1, 1, 0, 0, 0), (255, 255, 255, 255, 255),
        ):  # fmt: skip
            with self.assertRaises(TableError):
                seconds_of(bytes(wrong))
