"""Local stamps become UTC by the meter's own calendar, whichever way it names its dates."""

import unittest

from gateway.c1219.local_time import LocalTime, local_time, recurring_day
from gateway.c1219.readers import registers
from gateway.c1219.tables import Tables
from gateway.c1219.types import seconds_of
from gateway.errors import TableError
from tests.fake_meter import FakeMeter, by_name, put, run, standard

HOUR = 3600
# Changes in the European Union, UTC.
SPRING = {2023: 1679792400, 2024: 1711846800, 2025: 1743296400}
AUTUMN = {2023: 1698541200, 2024: 1729990800, 2025: 1761440400}


def at(*stamp):
    return seconds_of(bytes((stamp[0] - 2000,) + stamp[1:]))


def rdate(month, offset, weekday, day):
    return month | offset << 4 | weekday << 8 | day << 11


def european(zone=60, on=(2, 0, 0), delta=60, singles=(), recurring=None, dst=1, old_format=False):
    """The tables of a meter that changes its clock on the last Sundays of March and October."""
    tables = standard()
    tables[52] = bytes((24, 7, 1, 12, 30, 15, 0x06 | dst << 3))
    tables[53] = bytes(on) + bytes((60, zone & 255, zone >> 8 & 255))
    tables[50] = bytes((0x03, 0x18, 0x2C, len(singles) + 1, 4, 200, 0, 0, 0))
    if recurring is None:
        recurring = ((rdate(3, 6, 0, 1), 1), (rdate(10, 6, 0, 25), 2))
    calendar = bytearray(3 * (len(singles) + 1) + 12)
    place = 0
    if recurring and not old_format:
        recurring = ((recurring[0][0], recurring[0][1] | 0x80),) + tuple(recurring[1:])
    for date, action in (
        tuple(singles) + (() if old_format else ((0, 0),)) + tuple(recurring) + ((rdate(13, 0, 7, 1), 0x40),)
    ):
        put(calendar, place, date, 2)
        calendar[place + 2] = action
        place += 3
    tables[54] = bytes(calendar) + bytes(700)
    put(tables[2052], 63, delta, 2)
    return tables


def rules(tables):
    return run(local_time(Tables(FakeMeter(tables))))


class TestTheEuropeanClock(unittest.TestCase):
    def setUp(self):
        self.local = rules(european())

    def test_summer_and_winter_around_each_change(self):
        for year in SPRING:
            for utc, offset in (
                (SPRING[year] - 1, 60), (SPRING[year], 120), (SPRING[year] + 90 * 86400, 120),
                (AUTUMN[year] - HOUR - 1, 120), (AUTUMN[year] + HOUR, 60), (AUTUMN[year] + 40 * 86400, 60),
            ):  # fmt: skip
                self.assertEqual(self.local.utc_of(utc + 60 * offset), (utc, offset, True))

    def test_the_hour_that_comes_twice_is_taken_for_the_first_and_not_certain(self):
        for second in (0, 1800, 3599):
            local = AUTUMN[2024] + HOUR + second
            self.assertEqual(self.local.utc_of(local), (AUTUMN[2024] - HOUR + second, 120, False))

    def test_the_hour_that_never_comes_is_not_certain(self):
        for second in (0, 3599):
            utc, offset, certain = self.local.utc_of(at(2024, 3, 31, 2, 0) + second)
            self.assertEqual((utc, offset, certain), (SPRING[2024] + second, 60, False))

    def test_every_hour_of_three_years(self):
        certain = 0
        for utc in range(at(2023, 1, 1, 0, 0), at(2026, 1, 1, 0, 0), 7 * HOUR // 2):
            summer = any(SPRING[year] <= utc < AUTUMN[year] for year in SPRING)
            offset = 120 if summer else 60
            found = self.local.utc_of(utc + 60 * offset)
            if found[2]:
                certain += 1
                self.assertEqual(found[:2], (utc, offset))
        self.assertTrue(certain > 7500)


class TestOtherCalendars(unittest.TestCase):
    def test_south_of_the_equator_summer_spans_the_new_year(self):
        # First Sunday of October to the first Sunday of April, ten hours ahead of UTC.
        local = rules(
            european(600, delta=60, recurring=((rdate(10, 2, 0, 1), 1), (rdate(4, 2, 0, 1), 2)), dst=0)
        )
        self.assertEqual(local.utc_of(at(2024, 1, 1, 0, 0)), (at(2024, 1, 1, 0, 0) - 11 * HOUR, 660, True))
        self.assertEqual(local.utc_of(at(2024, 7, 1, 0, 0)), (at(2024, 7, 1, 0, 0) - 10 * HOUR, 600, True))
        self.assertEqual(local.utc_of(at(2024, 4, 7, 2, 30))[2], False)

    def test_single_dates(self):
        singles = ((24 | 3 << 7 | 31 << 11, 1), (24 | 10 << 7 | 27 << 11, 2))
        local = rules(european(singles=singles, recurring=((0, 0), (0, 0))))
        self.assertEqual(local.utc_of(at(2024, 7, 1, 12, 0)), (at(2024, 7, 1, 10, 0), 120, True))
        self.assertEqual(local.utc_of(at(2023, 7, 1, 12, 0)), (at(2023, 7, 1, 11, 0), 60, True))
        self.assertEqual(local.utc_of(at(2024, 12, 1, 12, 0)), (at(2024, 12, 1, 11, 0), 60, True))

    def test_a_calendar_in_the_format_of_older_firmware(self):
        # As many single dates as BT50 says are possible are not there then.
        tables = european(old_format=True)
        for possible in (0, 3, 25):
            tables[50] = tables[50][:3] + bytes((possible,)) + tables[50][4:]
            local = rules(tables)
            self.assertEqual(local.utc_of(at(2024, 7, 1, 12, 0)), (at(2024, 7, 1, 10, 0), 120, True))
            self.assertEqual(local.utc_of(at(2024, 1, 1, 12, 0)), (at(2024, 1, 1, 11, 0), 60, True))

    def test_without_dates_what_is_in_effect_now_holds(self):
        for dst, offset in ((0, 60), (1, 120)):
            local = rules(european(recurring=((0, 0), (0, 0)), dst=dst))
            self.assertEqual(local.utc_of(at(2024, 1, 1, 0, 0))[1:], (offset, True))
            tables = european(dst=dst)
            del tables[54]
            self.assertEqual(rules(tables).utc_of(at(2024, 1, 1, 0, 0))[1:], (offset, True))

    def test_a_zone_without_daylight_saving_time_is_not_asked_for_its_calendar(self):
        tables = european()
        tables[53] = bytes((2, 0, 0, 0, 0xB5, 0xFF))  # 75 minutes behind UTC
        meter = FakeMeter(tables)
        local = run(local_time(Tables(meter)))
        self.assertEqual(local.utc_of(at(2024, 7, 1, 0, 0)), (at(2024, 7, 1, 1, 15), -75, True))
        self.assertFalse([r for r in meter.reads if r[0] in (50, 54)])

    def test_every_form_of_a_recurring_date(self):
        # August 2026 begins on a Saturday and ends on a Monday.
        def day(offset, weekday, day, year=2026, month=8):
            found = recurring_day({"month": month, "offset": offset, "weekday": weekday, "day": day}, year)
            return found if found < 0 else found - seconds_of(bytes((26, 7, 31, 0, 0))) // 86400

        for offset, weekday, first, wanted in (
            (0, 7, 15, 15), (1, 1, 10, 3), (1, 0, 10, 9), (1, 2, 4, -3), (2, 0, 1, 2), (2, 6, 1, 1),
            (3, 0, 1, 9), (4, 0, 1, 16), (5, 0, 1, 23), (6, 0, 1, 30), (6, 1, 1, 31), (6, 6, 20, 29),
            (6, 0, 31, -1),
            (7, 7, 5, 5), (8, 7, 2, 3), (8, 7, 1, 1), (9, 7, 9, 7), (10, 7, 1, 3), (11, 7, 8, 7),
            (12, 7, 1, 3), (12, 7, 2, 3), (13, 7, 8, 7), (13, 7, 9, 7), (14, 7, 2, 3), (14, 7, 8, 7),
            (15, 7, 5, 6), (14, 7, 5, 5), (2, 7, 1, -1), (0, 7, 0, -1),
        ):  # fmt: skip
            self.assertEqual(
                (offset, weekday, first, day(offset, weekday, first)), (offset, weekday, first, wanted)
            )
        self.assertEqual(recurring_day({"month": 2, "offset": 0, "weekday": 7, "day": 29}, 2025), -1)
        self.assertEqual(recurring_day({"month": 14, "offset": 0, "weekday": 0, "day": 0}, 2025), -1)

    def test_an_offset_that_can_not_be(self):
        tables = european()
        tables[53] = bytes((2, 0, 0, 60, 0xFF, 0x7F))
        with self.assertRaises(TableError):
            rules(tables)


class TestDemands(unittest.TestCase):
    def test_a_maximum_of_last_winter_keeps_its_hour(self):
        tables = european()
        tables.update(standard(summations=11, demands=1, coincidents=0, occurrences=1))
        calendar = european()
        for table in (50, 52, 53, 54, 2052):
            tables[table] = calendar[table]
        tables[22] = bytes(range(11)) + b"\x08\xff"
        data = bytearray(5 * (44 + 9))
        for block in range(5):
            data[block * 53 + 44 : block * 53 + 49] = bytes((24, 1 + 6 * (block % 2), 10, 18, 30))
        tables[23] = bytes(data)
        (reading,) = run(registers.read(Tables(FakeMeter(tables))))
        found = by_name(reading)
        for name, utc, offset in (
            ("OBIS_1.6.0", at(2024, 1, 10, 17, 30), 60), ("OBIS_1.6.1", at(2024, 7, 10, 16, 30), 120),
        ):  # fmt: skip
            date = found[name].date
            self.assertEqual((date.seconds, date.offset), (utc, offset))

    def test_rules_are_read_once(self):
        tables = Tables(FakeMeter(european()))
        first = run(local_time(tables))
        asked = len(tables.meter.reads)
        self.assertIs(run(local_time(tables)), first)
        self.assertEqual(len(tables.meter.reads), asked)
        self.assertTrue(isinstance(first, LocalTime))
