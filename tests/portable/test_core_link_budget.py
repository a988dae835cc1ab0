"""No more than one read a second on average, however many are asked for."""

import asyncio
import unittest

from gateway.core import link_budget
from gateway.core.link_budget import Bucket, LinkBudget
from gateway.errors import NoAnswer
from gateway.meter import Meter


class Clock:
    def __init__(self):
        self.now = 5_000_000

    def monotonic_ms(self):
        return self.now

    async def sleep_ms(self, ms):
        self.now += ms


class FakeMeter(Meter):
    max_read = 465
    authenticated = True

    def __init__(self):
        self.calls = []

    async def read(self, table, offset=None, count=None):
        self.calls = self.calls[-4:] + [(table, offset, count)]
        return b""

    async def write(self, table, data, offset=None):
        self.calls.append((table, offset, data))

    async def close(self):
        self.calls.append("close")


class TestLinkBudget(unittest.TestCase):
    def setUp(self):
        self.clock = Clock()
        self.real_clock = link_budget.clock
        link_budget.clock = self.clock
        self.inner = FakeMeter()
        self.bucket = Bucket(3600)
        self.meter = LinkBudget(self.inner, self.bucket)

    def tearDown(self):
        link_budget.clock = self.real_clock

    def reads(self, duration_ms):
        async def main():
            count = 0
            end = self.clock.now + duration_ms
            while self.clock.now < end:
                await self.meter.read(28, 0, 40)
                self.clock.now += 200  # what a read takes
                count += 1
            return count

        return asyncio.run(main())

    def test_an_hour_of_reads_as_fast_as_they_go(self):
        count = self.reads(3600000)
        self.assertTrue(3500 <= count <= 3600 + 301, count)
        again = self.reads(3600000)
        self.assertTrue(again <= 3601, again)
        self.assertEqual(self.bucket.used, count + again)
        self.assertTrue(self.bucket.waited_ms > 0)

    def test_unused_tokens_are_kept_for_five_minutes_only(self):
        self.reads(3600000)
        self.clock.now += 86400000
        self.assertTrue(self.reads(3600000) <= 3600 + 301)

    def test_a_long_read_costs_each_of_its_messages(self):
        async def main():
            await self.meter.read(64, 0, 466)
            await self.meter.read(64, 0, 465)
            await self.meter.read(0)
            await self.meter.write(7, b"\0\1")

        asyncio.run(main())
        self.assertEqual(self.bucket.used, 5)
        calls = [(64, 0, 465), (64, 465, 1), (64, 0, 465), (0, None, None), (7, None, b"\0\1")]
        self.assertEqual(self.inner.calls, calls)

    def test_passes_alerts_limits_and_close_on(self):
        heard = []
        self.inner.on_alert()
        self.meter.on_alert = lambda: heard.append(1)
        self.inner.on_alert()
        asyncio.run(self.meter.close())
        self.assertEqual(heard, [1])
        self.assertEqual(self.inner.calls, ["close"])
        self.assertEqual((self.meter.max_read, self.meter.authenticated), (465, True))

    def test_a_resynchronisation_is_seen_after_a_failed_read_too(self):
        async def read(table, offset=None, count=None):
            self.inner.resyncs = 1
            raise NoAnswer("silent")

        self.inner.read = read
        self.assertIsNone(self.meter.resyncs)
        with self.assertRaises(NoAnswer):
            asyncio.run(self.meter.read(28, 0, 40))
        self.assertEqual(self.meter.resyncs, 1)

    def test_a_monotonic_clock_rescaled_neither_stalls_nor_bursts(self):
        self.reads(3600000)
        self.clock.now -= 3000000
        before = self.clock.now
        asyncio.run(self.meter.read(28, 0, 40))
        self.assertTrue(self.clock.now - before <= 2000)
