"""Where a board's time comes from: the network, or the meter, and how readings say so."""

import asyncio
import sys
import unittest

from network_time import NoTime, parse
from timekeeper import Timekeeper

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
        self.set = clock._time.shift_ms, clock._time.by_meter
        self.told = []

    def tearDown(self):
        # To the millisecond: scaled time multiplies what would be left.
        clock._time.shift_ms, clock._time.by_meter = self.set

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


class FakeServer:
    """In the place of network_time: gives these offsets, or says why not."""

    NoTime = NoTime

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def ask(self, server, port):
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise NoTime(answer)
        return answer


class FakeMachine:
    """`set`: what the real-time clock was set to."""

    def __init__(self):
        self.set = []

    def RTC(self):
        return self

    def datetime(self, parts):
        self.set.append(parts)


class TestTimekeeper(unittest.TestCase):
    def setUp(self):
        self.machine = FakeMachine()
        self.kept_machine = sys.modules.get("machine")
        sys.modules["machine"] = self.machine
        self.kept = sys.modules.get("network_time"), clock.monotonic_ms, clock.utc_ms, clock.set_utc
        self.now = 0
        self.utc = METER_MS
        clock.monotonic_ms = lambda: self.now
        clock.utc_ms = lambda: self.utc
        clock.set_utc = self.set
        self.said = []
        self.keeper = Timekeeper({"server": "time", "port": 123}, lambda level, text: self.said.append(text))

    def tearDown(self):
        sys.modules["network_time"], clock.monotonic_ms, clock.utc_ms, clock.set_utc = self.kept
        del sys.modules["machine"]
        if self.kept_machine:
            sys.modules["machine"] = self.kept_machine

    def set(self, utc, source):
        self.utc = utc
        self.assertEqual(source, clock.NETWORK)

    def after(self, seconds, server):
        """So much later by a clock that loses nothing by itself; whether somebody was asked."""
        self.now += 1000 * seconds
        self.utc += 1000 * seconds
        sys.modules["network_time"] = server  # dropped after each question
        before = server.asked
        asyncio.run(self.keeper.ask())
        return server.asked > before

    def test_it_asks_once_an_hour_and_measures_what_the_clock_loses(self):
        server = FakeServer(5000, 72, -36)
        self.assertTrue(self.after(0, server))
        self.assertEqual(self.utc, METER_MS + 5000)
        self.assertIsNone(self.keeper.drift_ppm)  # that was how wrong it was set
        # 2024-07-01, a Monday; microseconds.
        self.assertEqual(self.machine.set[-1], (2024, 7, 1, 0, 12, 30, 20, 500000))
        self.assertFalse(self.after(3599, server))
        self.assertTrue(self.after(1, server))
        self.assertEqual(self.keeper.drift_ppm, 20)
        self.assertTrue(self.after(3600, server))
        self.assertEqual(self.keeper.drift_ppm, -10)
        self.assertEqual(self.keeper.status()["correctedMs"], -36)

    def test_a_server_that_is_silent_is_asked_ever_more_seldom_and_told_once(self):
        server = FakeServer(*["it does not answer"] * 100)
        asked = [second for second in range(0, 3600) if self.after(1, server)]
        self.assertTrue(7 <= len(asked) <= 12)
        self.assertEqual(self.said, ["network time: it does not answer"])
        self.assertEqual(self.keeper.status()["reason"], "it does not answer")
        server.answers[0] = 10
        self.assertTrue(self.after(600, server))
        self.assertEqual(self.keeper.status()["reason"], "")

    def test_without_a_server_nobody_is_asked(self):
        self.keeper = Timekeeper({"server": "", "port": 123}, lambda level, text: None)
        self.assertFalse(self.after(7200, FakeServer()))


if __name__ == "__main__":
    unittest.main()
