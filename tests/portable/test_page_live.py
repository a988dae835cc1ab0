"""What the page shows of the newest readings, and of a day's power."""

import unittest

from gateway.transmission.model import CLOCK, PRESENT, REGISTERS, Reading, Timestamp, Value
from gateway.transmission.registry import number
from gateway.web import live

DRAWN, FED, VOLTAGE = number("OBIS_1.7.0"), number("OBIS_2.7.0"), number("OBIS_32.7.0")
STEP_MS = 600000


def present(*values):
    return [
        Reading(PRESENT, Timestamp(0), [Value(prop, mantissa, -3, unit) for prop, mantissa, unit in values])
    ]


class LiveTest(unittest.TestCase):
    def setUp(self):
        self.now_ms = 1760000400000  # the begin of a step
        self._utc_ms = live.utc_ms
        live.utc_ms = lambda: self.now_ms
        self.live = live.Live()

    def tearDown(self):
        live.utc_ms = self._utc_ms

    def watts(self):
        return self.live.history()["watts"]

    def test_nothing_is_known_before_the_first_reading(self):
        self.assertEqual(self.live.values(), {"atMs": 0, "values": []})
        self.assertEqual(self.watts(), [])
        self.live.take(PRESENT, [])
        self.live.take(CLOCK, present((DRAWN, 1, "kW")))
        self.assertIsNone(self.live.watts())

    def test_the_newest_values_by_name(self):
        self.live.take(PRESENT, present((DRAWN, 431, "kW"), (VOLTAGE, 228315, "V"), ("made up", 1, None)))
        totals = [Value(number("OBIS_1.8.0"), 7, 0, "kWh"), Value(number("OBIS_3.8.0"), 8, 0, "kvarh")]
        self.live.take(REGISTERS, [Reading(REGISTERS, Timestamp(0), totals)])
        self.assertEqual(
            self.live.values(),
            {
                "atMs": self.now_ms,
                "values": [
                    ("OBIS_1.7.0", 431, -3, "kW"),
                    ("OBIS_32.7.0", 228315, -3, "V"),
                    ("made up", 1, -3, ""),
                    ("OBIS_1.8.0", 7, 0, "kWh"),
                ],
            },
        )

    def test_what_is_fed_in_counts_against_what_is_drawn(self):
        self.live.take(PRESENT, present((DRAWN, 100, "kW"), (FED, 1500, "kW")))
        self.assertEqual(self.live.watts(), -1400)
        for mantissa, exponent, watts in ((2, 0, 2000), (25, -1, 2500), (1234567, -6, 1234)):
            self.live.take(
                PRESENT, [Reading(PRESENT, Timestamp(0), [Value(DRAWN, mantissa, exponent, "kW")])]
            )
            self.assertEqual(self.live.watts(), watts)

    def test_a_day_of_means_with_its_gaps(self):
        for watts in (100, 200, 600):
            self.live.take(PRESENT, present((DRAWN, watts, "kW")))
            self.now_ms += STEP_MS // 4
        self.assertEqual(self.watts()[-2:], [None, 300])
        self.now_ms += 2 * STEP_MS
        self.live.take(PRESENT, present((DRAWN, 50, "kW")))
        self.assertEqual(self.watts()[-4:], [None, 300, None, 50])
        self.assertEqual(len(self.watts()), 144)
        self.now_ms += 143 * STEP_MS
        self.live.take(PRESENT, present((FED, 70, "kW")))
        self.assertEqual(self.watts(), [50] + [None] * 142 + [-70])
        # A clock that was put back far: what was is forgotten.
        self.now_ms -= 1000 * STEP_MS
        self.live.take(PRESENT, present((DRAWN, 1, "kW")))
        self.assertEqual(self.watts(), [None] * 143 + [1])
