"""Where a board's time comes from: the network, or the meter, and how readings say so."""

import asyncio
import unittest

from network_time import NoTime, parse

from gateway import clock
from gateway.c1219.tables import Tables
from gateway.core.marks import mark
from gateway.core.meter_time import take
from gateway.transmission.model import CLOCK, PRESENT, Reading, Timestamp, Value
from tests.fake_meter import FakeMeter, standard

# BT52 of the standard meter: 2024-07-01T12:30:15Z, and the half second that its seconds allow.
METER_MS = 1719837015500
METER_TIME = 1
TOKEN = b"12345678"


def answer(first=0x24, stratum=2, token=TOKEN, seconds=0xE9000000, fraction=0x80000000):
    return (
        bytes((first, stratum))
        + bytes(22)
        + token
        + bytes(8)
        + seconds.to_bytes(4, "big")
        + fraction.to_bytes(4, "big")
    )


class TimeOfTheMeter(unittest.TestCase):
    def setUp(self):
        self.real = clock.utc_ms()
        self.began = clock.monotonic_ms()
        self.told = []

    def tearDown(self):
        clock.set_utc(self.real + clock.monotonic_ms() - self.began, clock.NETWORK)

    def take(self, tables):
        asyncio.run(take(Tables(FakeMeter(tables)), "meter", lambda level, text: self.told.append(level)))

    def faults(self, kind=PRESENT):
        reading = Reading(kind, Timestamp(1), [Value(1, 1)], ())
        return list(mark([reading], FakeMeter({}))[0].faults)

    def test_a_board_that_knows_no_time_takes_the_meter_s_and_marks_it(self):
        clock.set_utc(5000, clock.NETWORK)  # as a board that was just powered
        self.assertEqual(clock.source(), clock.NOWHERE)
        self.take(standard())
        self.assertEqual(clock.source(), clock.METER)
        self.assertTrue(0 <= clock.utc_ms() - METER_MS < 60000)
        self.assertEqual(self.told, ["info"])
        self.assertEqual(self.faults(), [METER_TIME])
        self.assertEqual(self.faults(CLOCK), [])  # its reader has said it

    def test_network_time_takes_its_place_again(self):
        clock.set_utc(METER_MS, clock.METER)
        clock.set_utc(METER_MS + 7000, clock.NETWORK)
        self.assertEqual(clock.source(), clock.NETWORK)
        self.assertTrue(0 <= clock.utc_ms() - METER_MS - 7000 < 60000)
        self.assertEqual(self.faults(), [])

    def test_a_meter_without_time_changes_nothing(self):
        clock.set_utc(5000, clock.NETWORK)
        for stamp in ((0, 0, 0, 0, 0, 0, 0), (24, 13, 1, 0, 0, 0, 0)):
            tables = standard()
            tables[52] = bytes(stamp)
            self.take(tables)
            self.assertEqual(clock.source(), clock.NOWHERE)
        self.assertEqual(self.told, ["warning", "warning"])
        self.assertEqual(self.faults(), [METER_TIME])

    def test_the_monotonic_clock_stands_by_itself(self):
        before = clock.monotonic_ms()
        clock.set_utc(METER_MS, clock.METER)
        self.assertTrue(0 <= clock.monotonic_ms() - before < 60000)


class NetworkTime(unittest.TestCase):
    def test_seconds_and_fraction_since_1900(self):
        self.assertEqual(parse(answer(), TOKEN), (0xE9000000 - 2208988800) * 1000 + 500)

    def test_the_count_that_begins_anew_in_2036(self):
        self.assertEqual(parse(answer(seconds=5, fraction=0), TOKEN), ((1 << 32) + 5 - 2208988800) * 1000)

    def test_what_is_no_answer(self):
        for wrong in (
            b"",
            answer()[:47],
            answer(first=0x23),  # a client's
            answer(token=b"anything"),
            answer(first=0xE4),  # its clock is not set
            answer(stratum=0),  # a refusal
            answer(stratum=16),
        ):
            with self.assertRaises(NoTime):
                parse(wrong, TOKEN)


if __name__ == "__main__":
    unittest.main()
