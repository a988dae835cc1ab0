"""Reads over a line that damages bytes: all that was asked for, never a wrong byte, with bounded effort."""

import asyncio

from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import Security
from gateway.drivers.read_size import ReadSize
from gateway.errors import MeterError, NoAnswer, ProtocolError
from tests.mep_fakes import KEY, FakeLink, FakeMeter, answer
from tests.tls_fakes import EncryptedMeter, FakeTls, FakeTlsMeter
from tests.virtual_test import VirtualTest

LONG = bytes([(at * 7 ^ at >> 3) & 0xFF for at in range(4000)])


class Noise:
    """Damages bytes of both directions; `per_mille`: how many of a thousand. Seeded, the same everywhere."""

    def __init__(self, seed, per_mille):
        self.state = seed * 2654435761 + 1 & 0xFFFFFFFF
        self.per_mille = per_mille

    def draw(self, below):
        state = self.state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self.state = state
        return (state >> 8) % below

    def through(self, data):
        out = bytearray(data)
        for at in range(len(out)):
            if self.draw(1000) < self.per_mille:
                out[at] ^= 1 + self.draw(255)
        return bytes(out)


class NoisyMeter(FakeMeter):
    """A meter behind noise: damaged requests are refused (0B) or, without their length, not even heard."""

    noise = None

    def serve(self, frame):
        if self.noise is None:
            return FakeMeter.serve(self, frame)
        heard = self.noise.through(frame)
        if heard[:2] != frame[:2]:
            return None
        response = self.respond(frame) if heard == frame else answer(heard, b"\x0b")
        self.link.later(30, self.noise.through(response))
        return None


class NoisyTlsMeter(FakeTlsMeter):
    noise = None

    def serve(self, frame):
        heard = self.noise.through(frame)
        if heard[:2] == frame[:2]:
            self.link.later(30, self.noise.through(self.respond(heard)))


class BadLineTest(VirtualTest):
    def run_with(self, scenario, security=None, kind=NoisyMeter, **options):
        async def run():
            link = FakeLink(self.time)
            far = kind(link, {2101: LONG, 23: LONG[:64]}, **options)
            meter = MepMeter(link, security or KEY)
            try:
                return await scenario(meter, link, far)
            finally:
                await meter.close()

        return asyncio.run(run())

    def counts(self, link):
        return [int.from_bytes(frame[8:10], "big") for _, frame in link.sent]

    def test_a_clean_line_is_asked_for_as_much_as_fits(self):
        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(2101, 0, 4000), LONG)
            self.assertEqual(self.counts(link), [465] * 8 + [280])

        self.run_with(scenario)

    def test_4000_bytes_over_a_line_that_damages_one_in_a_hundred(self):
        sent = []

        async def scenario(meter, link, far):
            await meter.read(23, 0, 20)
            far.noise = Noise(len(sent) + 1, 10)
            self.assertEqual(await meter.read(2101, 0, 4000), LONG)
            sent.append(len(link.sent))

        for _ in range(6):
            self.run_with(scenario, sequence=77)
        # What it takes when the right size is known from the start is about 180.
        self.assertLess(sum(sent) // len(sent), 300)

    def test_from_the_first_byte_on(self):
        async def scenario(meter, link, far):
            far.noise = Noise(3, 10)
            self.assertEqual(await meter.read(23, 0, 20), LONG[:20])
            self.assertEqual(await meter.read(2101, 100, 1000), LONG[100:1100])

        self.run_with(scenario)

    def test_after_the_noise_it_asks_for_more_again(self):
        async def scenario(meter, link, far):
            far.noise = Noise(5, 10)
            await meter.read(2101, 0, 600)
            far.noise.per_mille = 0
            del link.sent[:]
            self.assertEqual(await meter.read(2101, 0, 4000), LONG)
            counts = self.counts(link)
            self.assertEqual(counts[-2], 465)
            self.assertLess(len(counts), 18)

        self.run_with(scenario)

    def test_one_damaged_answer_costs_little(self):
        async def scenario(meter, link, far):
            far.script = [lambda frame: far.respond(frame)[:-1] + b"\0"]
            self.assertEqual(await meter.read(2101, 0, 4000), LONG)
            self.assertLess(len(link.sent), 13)

        self.run_with(scenario)

    def test_what_arrived_is_not_asked_for_again(self):
        async def scenario(meter, link, far):
            far.noise = Noise(9, 3)
            good = []
            respond = far.respond

            def noted(frame):
                good.append(frame)
                return respond(frame)

            far.respond = noted
            self.assertEqual(await meter.read(2101, 0, 4000), LONG)
            offsets = [int.from_bytes(frame[5:8], "big") for _, frame in link.sent]
            self.assertEqual(offsets, sorted(offsets))

        self.run_with(scenario)

    def test_a_line_that_lets_nothing_through_is_given_up(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 20)
            far.noise = Noise(1, 500)
            del link.sent[:]
            await self.raised(MeterError, meter.read(2101, 0, 4000))
            self.assertLess(len(link.sent), 150)

        self.run_with(scenario)

    def test_a_dead_meter_is_given_up_soon(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 20)
            far.script = [None] * 100
            del link.sent[:]
            await self.raised(NoAnswer, meter.read(2101, 0, 4000))
            self.assertEqual(len(link.sent), 3)

        self.run_with(scenario)

    def test_a_meter_that_dies_on_a_bad_line_is_given_up_too(self):
        async def scenario(meter, link, far):
            far.noise = Noise(5, 10)
            await meter.read(2101, 0, 600)
            far.noise = None
            far.script = [None] * 100
            del link.sent[:]
            await self.raised(NoAnswer, meter.read(2101, 0, 4000))
            self.assertEqual(len(link.sent), 9)

        self.run_with(scenario)

    def test_an_answer_that_is_authentic_and_too_short_is_no_noise(self):
        async def scenario(meter, link, far):
            await self.raised(ProtocolError, meter.read(23, 0, 100))
            self.assertEqual(len(link.sent), 1)

        self.run_with(scenario)

    def test_encrypted_reads_adapt_in_the_same_way(self):
        async def scenario(meter, link, far):
            far.noise = Noise(2, 10)
            self.assertEqual(await meter.read(2101, 0, 1000), LONG[:1000])

        class Noisy(EncryptedMeter):
            serve = NoisyMeter.serve
            noise = None

        self.run_with(scenario, Security(KEY, "rc4"), Noisy)

    def test_tls_where_one_byte_in_a_thousand_is_damaged(self):
        # Each damaged byte costs a session, and its handshake has 270 bytes: what one in a hundred leaves of
        # that is too little for any size.
        for seed in range(3):

            async def scenario(meter, link, far, seed=seed):
                far.noise = Noise(seed + 1, 1)
                self.assertEqual(await meter.read(2101, 0, 4000), LONG)
                self.assertLess(len(link.sent), 120)

            self.run_with(scenario, Security(KEY, "tls", FakeTls), NoisyTlsMeter)

    def test_sizes(self):
        size = ReadSize(465)
        asked = []
        for good in (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1):
            asked.append(size.size)
            if good:
                size.good(size.size)
            else:
                size.bad(size.size)
        self.assertEqual(asked, [465, 232, 116, 58, 40, 40, 60, 90, 135, 202, 303, 454, 465])
        size.good(9)
        self.assertEqual(size.size, 465)
        for _ in range(12):
            size.bad(9)
        self.assertEqual(size.size, 12)
