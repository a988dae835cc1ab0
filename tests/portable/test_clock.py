"""The seam for time: scaled clocks, sleeping and time-outs."""

import asyncio
import unittest

from gateway import clock
from gateway.errors import Expired


class ClockTest(unittest.TestCase):
    def tearDown(self):
        clock.set_scale(1)

    def test_utc_runs_scale_times_as_fast_from_the_origin(self):
        start = clock.utc_ms()
        clock.set_scale(1000, start - 10000)
        self.assertGreaterEqual(clock.utc_ms(), start - 10000 + 10000 * 1000)

    def test_utc_counts_from_1970(self):
        self.assertGreater(clock.utc_ms(), 1700000000000)

    def test_an_hour_of_sleep_passes_when_scaled(self):
        async def sleep():
            before = clock.monotonic_ms()
            await clock.sleep_ms(3600 * 1000)
            return clock.monotonic_ms() - before

        clock.set_scale(360000)
        self.assertGreaterEqual(asyncio.run(sleep()), 3600 * 1000 - 360000)

    def test_what_takes_too_long_expires(self):
        async def wait():
            await clock.wait_for_ms(asyncio.Event().wait(), 5)

        with self.assertRaises(Expired):
            asyncio.run(wait())

    def test_a_result_in_time_is_returned(self):
        async def answer():
            return 7

        async def wait():
            return await clock.wait_for_ms(answer(), 1000)

        self.assertEqual(asyncio.run(wait()), 7)

    def test_a_scale_below_one_is_refused(self):
        self.assertRaises(ValueError, clock.set_scale, 0)
