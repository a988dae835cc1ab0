"""A key or password that the meter refuses: offered three times, then ever more rarely; another at once."""

import asyncio
import unittest

from gateway.drivers.link import Link
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import Security
from gateway.drivers.refused import RefusedSecret
from gateway.errors import AuthenticationError, LinkError
from gateway.meter import Meter
from tests.fake_clock import FakeClock
from tests.virtual_test import Supervised

HOUR = 3600000
KEY = b"0123456789abcdef"
OTHER = b"fedcba9876543210"
REFUSAL = b"\0\1\x0b"


class RefusingLink(Link):
    """A line to a meter that refuses whatever it is asked."""

    def __init__(self, offered):
        self.offered = offered
        self.answers = []
        self.news = asyncio.Event()

    async def write(self, data):
        self.offered.append(data)
        self.answers.append(REFUSAL)
        self.news.set()

    async def read(self):
        while not self.answers:
            self.news.clear()
            await self.news.wait()
        return self.answers.pop(0)

    async def close(self):
        pass


class TestRefusedKey(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(1_719_835_200_000)
        self.clock.install()
        self.offered = []
        self.key = KEY
        self.refused = RefusedSecret()
        self.lines = []

    def tearDown(self):
        self.clock.uninstall()

    async def work(self, worker):
        security = Security(self.key)
        security.hesitant = self.refused.check(self.key)
        meter = MepMeter(RefusingLink(self.offered), security)
        self.refused.follow(self.key, meter)
        try:
            await meter.read(1, 0, 4)
        finally:
            await meter.close()

    def test_a_day_with_a_wrong_key(self):
        async def main():
            log = lambda level, text: self.lines.append(text)  # noqa: E731
            async with Supervised(log, ("house", self.work)) as workers:
                await self.clock.advance(HOUR - 60000)
                self.assertEqual((workers[0].state, len(self.offered)), ("key-refused", 3))
                await self.clock.advance(23 * HOUR)
                self.assertTrue(3 + 22 <= len(self.offered) <= 3 + 23, len(self.offered))
                self.assertEqual(len(self.lines), 1, self.lines)
                count = len(self.offered)
                self.key = OTHER
                await self.clock.advance(60000)
                self.assertEqual(len(self.offered), count + 3)

        asyncio.run(main())

    def refuse(self, proven=False):
        meter = Meter()
        meter.proven = proven
        meter.refusal = AuthenticationError("refused")
        self.refused.follow(KEY, meter)

    def waits(self):
        """Until it may be offered again, with one try."""
        began = self.clock.monotonic
        while True:
            try:
                self.assertTrue(self.refused.check(KEY))
            except AuthenticationError:
                self.clock.monotonic += 1000
                continue
            return self.clock.monotonic - began

    def test_one_that_was_taken_before_is_tried_again_sooner_but_not_for_ever(self):
        self.refuse(proven=True)
        self.assertFalse(self.refused.check(OTHER))
        self.refuse(proven=True)
        found = []
        for _ in range(4):
            found.append(self.waits())
            self.refuse()
        self.assertEqual(found, [10000, HOUR // 12, HOUR, HOUR])

    def test_one_that_is_taken_again_starts_anew(self):
        self.refuse(proven=True)
        self.assertEqual(self.waits(), 10000)
        self.refuse(proven=True)
        self.assertEqual(self.waits(), 10000)

    def test_a_line_that_fails_in_between_does_not_make_it_offered_more_often(self):
        self.refuse(proven=True)
        self.waits()
        self.refuse()
        self.waits()
        self.refused.follow(KEY, Meter())
        self.assertFalse(self.refused.check(KEY))
        self.refuse()
        self.assertEqual(self.waits(), HOUR)

    def test_a_connection_that_failed_otherwise_keeps_nobody_away(self):
        class Gone(Meter):
            async def read(self, table, offset=None, count=None):
                raise LinkError("unplugged")

        self.refused.follow(KEY, Gone())
        self.assertFalse(self.refused.check(KEY))
