"""Optical heads and meters that behave otherwise than ours: echoes, false acknowledgements, busy meters."""

import asyncio

from gateway.drivers import events
from gateway.drivers.optical.machine import Machine
from gateway.drivers.optical.meter import OpticalMeter
from gateway.errors import Refused
from tests.optical_fakes import ACK, NAK, PASSWORD, FakePort, OpticalLink, packet_of
from tests.virtual_test import VirtualTest

LONG = bytes([at * 7 & 0xFF for at in range(1500)])
OPENING = [0x20, 0x60, 0x50, 0x51]


class PeerTest(VirtualTest):
    def run_with(self, scenario, port=None):
        async def run():
            link = OpticalLink(self.time)
            far = FakePort(self.time, link, {23: b"registers of table 23", 2101: LONG}, **(port or {}))
            meter = OpticalMeter(link, PASSWORD)
            try:
                return await scenario(meter, link, far)
            finally:
                await meter.close()

        return asyncio.run(run())

    def asked(self, far):
        return [request[0] for request in far.requests]

    def test_a_head_that_hears_itself_late(self):
        # A USB adapter hands its bytes on every 16 ms: the echo of our last ACK arrives when the next packet
        # is on its way, in front of that one's own echo.
        for port in ({}, {"size": 64, "count": 60}):
            for delay in (1, 16):

                async def scenario(meter, link, far, delay=delay):
                    hear = link.on_write
                    far.delay = delay + 5

                    def written(data):
                        link.later(delay, data)
                        hear(data)

                    link.on_write = written
                    self.assertEqual(await meter.read(2101, 0, 1500), LONG)
                    await meter.write(2101, bytes(900), 300)
                    self.assertEqual(far.tables[2101], LONG[:300] + bytes(900) + LONG[1200:])
                    self.assertEqual(await meter.read(23, 0, 9), b"registers")
                    self.assertEqual(far.sessions, 1)

                self.run_with(scenario, port)

    def test_a_lost_packet_is_repeated_behind_the_echo_of_an_acknowledgement(self):
        machine = Machine(256, 992)
        machine.begin(b"\x20")
        sent = machine.output()
        answer = packet_of(b"\0\0\1\0\0")
        self.assertEqual(machine.receive(sent + ACK + answer)[-1][0], events.ANSWER)
        machine.begin(b"\x52")
        sent = machine.output()
        self.assertEqual(machine.receive(ACK + sent), [])
        self.assertEqual(machine.silence(), (events.SEND, None))
        self.assertEqual(machine.output(), sent)
        self.assertEqual(machine.receive(ACK)[0][0], events.TAKEN)

    def test_an_echo_is_no_answer_wherever_it_comes(self):
        machine = Machine(256, 992)
        machine.begin(b"\x20")
        sent = machine.output()
        self.assertEqual([kind for kind, _ in machine.receive(ACK + sent)], [events.TAKEN])
        self.assertEqual(machine.receive(packet_of(b"\0\0\1\0\0"))[-1], (events.ANSWER, b"\0\0\1\0\0"))

    def test_a_refusal_behind_a_false_acknowledgement_is_believed(self):
        async def scenario(meter, link, far):
            say = far.say
            far.shared = True
            far.say = lambda data: link.later(5, ACK + NAK) if data == NAK else say(data)
            begun = self.time.now
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertTrue(self.time.now - begun < 1000)
            self.assertEqual(self.asked(far), OPENING + [0x3F])

        self.run_with(scenario)

    def test_refusals_in_the_noise_behind_an_acknowledgement_end_nothing(self):
        machine = Machine(256, 992)
        machine.begin(b"\x20")
        machine.output()
        for _ in range(6):
            if (events.SEND, None) in machine.receive(ACK + NAK):
                machine.output()
        self.assertEqual(machine.receive(packet_of(b"\0\0\1\0\0"))[-1][0], events.ANSWER)

    def test_our_own_refusal_that_is_heard_repeats_nothing(self):
        machine = Machine(256, 992)
        machine.begin(b"\x20")
        machine.output()
        spoiled = packet_of(b"\0\0\1\0\0")[:-1] + b"?"
        self.assertEqual([kind for kind, _ in machine.receive(ACK + spoiled)], [events.TAKEN, events.REPLY])
        self.assertEqual(machine.receive(NAK), [])
        self.assertEqual(machine.receive(packet_of(b"\0\0\1\0\0"))[-1][0], events.ANSWER)

    def test_a_busy_meter_is_asked_again(self):
        for code in (6, 7, 8):
            for before, sessions in ((0, 1), (2, 1), (3, 3), (4, 1)):

                async def scenario(meter, link, far, code=code, before=before, sessions=sessions):
                    far.script = [far.serve] * before + [lambda request: bytes((code,))]
                    if before == 3:  # at the password: the session ends first, and the next one begins
                        far.script += [far.serve] * 5 + [lambda request: bytes((code,))]
                    self.assertEqual(await meter.read(23, 0, 9), b"registers")
                    self.assertEqual(far.sessions, sessions)

                self.run_with(scenario)

    def test_a_meter_that_stays_busy_is_an_error_and_left_to_others(self):
        for service, state in ((0x20, "base"), (0x50, "base"), (0x3F, "session")):

            async def scenario(meter, link, far, service=service, state=state):
                serve = far.serve
                far.serve = lambda request: b"\6" if request[0] == service else serve(request)
                begun = self.time.now
                try:
                    await meter.read(23, 0, 9)
                    raise AssertionError("it was not busy")
                except Refused as error:
                    self.assertEqual(error.code, 6)
                    self.assertIn("try again later", str(error))
                self.assertTrue(self.time.now - begun < 5000)
                await self.time.sleep_ms(100)
                self.assertEqual(far.state, state)

            self.run_with(scenario)

    def test_the_same_refusal_under_the_same_toggle_bit_is_heard_each_time(self):
        # A port that begins anew with each attempt to identify.
        async def scenario(meter, link, far):
            answer = far.answer

            def anew(message):
                far.toggle = 0 if far.state == "base" else far.toggle
                answer(message)

            far.answer = anew
            far.script = [lambda request: b"\6"] * 3
            begun = self.time.now
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertTrue(self.time.now - begun < 5000)

        self.run_with(scenario)

    def test_a_meter_that_wants_to_negotiate_again_gets_another_session(self):
        async def scenario(meter, link, far):
            far.script = [far.serve] * 4 + [lambda request: b"\x09"]
            begun = self.time.now
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertTrue(self.time.now - begun < 1000)
            self.assertEqual(self.asked(far), OPENING + [0x3F, 0x52, 0x21] + OPENING + [0x3F])

        self.run_with(scenario)

    def test_a_session_that_breaks_as_it_begins_is_begun_again(self):
        for before in (1, 2, 3):

            async def scenario(meter, link, far, before=before):
                far.script = [far.serve] * before + [lambda request: b"\x0a"]
                self.assertEqual(await meter.read(23, 0, 9), b"registers")
                self.assertEqual(meter.refusal, None)

            self.run_with(scenario)

    def test_negotiations_with_more_or_less_than_was_asked_for(self):
        for size, most in ((8192, 988), (32, 20)):

            async def scenario(meter, link, far, size=size, most=most):
                def negotiate(request):
                    far.packet_size = min(size, 256)
                    return b"\0" + size.to_bytes(2, "big") + (b"\xff" if size > 256 else b"\1") + b"\0"

                far.negotiate = negotiate
                self.assertEqual(await meter.read(2101, 0, 300), LONG[:300])
                self.assertEqual(meter.max_read, most)

            self.run_with(scenario)

    def test_a_meter_whose_toggle_bit_begins_set(self):
        async def scenario(meter, link, far):
            far.toggle = 1
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(far.sessions, 1)

        self.run_with(scenario)
