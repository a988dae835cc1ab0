"""TLS with a meter, or a serial server before it, that answers after the guide's time-out.

A request that is sent again is then one too many: the handshake begins anew at the meter, or its record
comes twice and ends the session. All of that must not look like a wrong key.
"""

import asyncio

from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import Security
from gateway.errors import AuthenticationError
from tests.mep_fakes import KEY, FakeLink
from tests.tls_fakes import FakeTls, FakeTlsMeter
from tests.virtual_test import VirtualTest

TABLE = bytes(range(200))


class LateTest(VirtualTest):
    def run_with(self, scenario, delay=0, key=KEY):
        async def run():
            link = FakeLink(self.time)
            far = FakeTlsMeter(link, {23: TABLE}, delay=delay)
            meter = MepMeter(link, Security(key, "tls", FakeTls))
            try:
                return await scenario(meter, link, far)
            finally:
                await meter.close()

        return asyncio.run(run())

    async def time_of(self, meter, count=1):
        begun = self.time.now
        for _ in range(count):
            self.assertEqual(await meter.read(23, 0, 100), TABLE[:100])
        return self.time.now - begun

    def test_answers_that_are_always_late(self):
        for delay in (600, 800, 1200, 1500):

            async def scenario(meter, link, far, delay=delay):
                await meter.read(23, 0, 100)
                sessions = far.sessions
                self.assertTrue(await self.time_of(meter, 20) < 20 * (delay + 200))
                self.assertEqual(far.sessions, sessions)  # which lives on

            self.run_with(scenario, delay)

    def test_one_late_answer_costs_a_session_and_later_losses_no_more_than_before(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 100)

            def late(frame):
                link.later(900, far.respond(frame))

            far.script = [late]
            self.assertTrue(await self.time_of(meter, 2) < 4000)
            self.assertEqual(far.sessions, 2)
            await self.time_of(meter, 10)
            far.script = [None]
            self.assertTrue(await self.time_of(meter) < 1000)

        self.run_with(scenario, 20)

    def test_a_wrong_key_is_told_all_the_same(self):
        async def scenario(meter, link, far):
            try:
                for _ in range(2):
                    await meter.read(23, 0, 100)
                raise AssertionError("the key was taken")
            except AuthenticationError as error:
                self.assertIn("refused the key", str(error))
            self.assertTrue(far.refusals < 6)

        for delay in (0, 700):
            self.run_with(scenario, delay, b"another key 0123")
