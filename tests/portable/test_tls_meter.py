"""A meter over TLS: sessions, keys, what must never be fallen back to, sessions that get lost, damage."""

import asyncio

from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import Security, TlsMemory
from gateway.drivers.mep.tls_responses import NoTls
from gateway.errors import (
    AuthenticationError,
    ConfigurationError,
    LinkError,
    NoAnswer,
    ProtocolError,
    Refused,
)
from tests.mep_fakes import KEY, FakeLink, FakeMeter, framed
from tests.tls_fakes import ADVANCED_IDENTITY, EncryptedMeter, FakeTls, FakeTlsMeter, alert, record
from tests.virtual_test import VirtualTest

LONG = bytes([at * 7 & 0xFF for at in range(1200)])
TABLES = {23: b"registers of table 23", 28: b"present values", 2101: LONG}
OTHER_KEY = b"another key 0123"
REGISTERS = b"registers"


class TlsTest(VirtualTest):
    def run_with(self, scenario, far=None, mode="tls", key=KEY, close=True, **agreed):
        """Runs the coroutine function `scenario(meter, link, far)`; `far(link)` makes the other side."""

        async def run():
            link = FakeLink(self.time)
            other = far(link) if far else FakeTlsMeter(link, dict(TABLES))
            meter = MepMeter(link, Security(key, mode, FakeTls, **agreed))
            try:
                return await scenario(meter, link, other)
            finally:
                if close:
                    await meter.close()

        return asyncio.run(run())

    def codes(self, link):
        return bytes([frame[2] for _, frame in link.sent])

    # sessions

    def test_one_handshake_serves_all_that_follows(self):
        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(await meter.read(28), b"present values")
            await meter.write(28, b"PRESENT", 0)
            self.assertEqual(far.tables[28], b"PRESENT values")
            self.assertEqual(self.codes(link), b"\x58\x59\x80\x80\x80")
            self.assertEqual(far.sessions, 1)
            self.assertIsNone(meter.resyncs)
            self.assertTrue(meter.authenticated)

        self.run_with(scenario)

    def test_a_read_takes_what_fits_beside_a_record(self):
        # 476 - code 1 - record header 5 - nonce 8 - tag 16 - answer code and count 3
        async def scenario(meter, link, far):
            self.assertEqual(meter.max_read, 443)
            self.assertEqual(await meter.read(2101, 0, 1200), LONG)
            self.assertEqual(self.codes(link), b"\x58\x59\x80\x80\x80")
            await meter.write(2101, bytes(700), 100)
            self.assertEqual(far.tables[2101], LONG[:100] + bytes(700) + LONG[800:])
            self.assertEqual(max(len(frame) for _, frame in link.sent), 478)

        self.run_with(scenario)

    def test_an_error_code_is_raised_and_the_session_goes_on(self):
        async def scenario(meter, link, far):
            error = await self.raised(Refused, meter.read(77, 0, 1))
            self.assertEqual((error.code, error.table), (4, 77))
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(far.sessions, 1)

        self.run_with(scenario)

    def test_closing_ends_the_session_at_the_meter(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            await meter.close()
            self.assertEqual(link.sent[-1][1], b"\0\2\x57\0")
            self.assertFalse(far.open)
            self.assertTrue(link.closed)

        self.run_with(scenario)

    def test_closing_does_not_wait_for_a_dead_meter_for_long(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            far.script = [None] * 9
            before = self.time.now
            await meter.close()
            self.assertLess(self.time.now - before, 1000)

        self.run_with(scenario)

    def test_a_session_the_meter_has_lost_is_opened_again(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            far.lose()
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(self.codes(link), b"\x58\x59\x80\x80\x58\x59\x80")

        self.run_with(scenario)

    def test_a_session_lost_twice_is_an_error(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)

            def lost(frame):
                far.lose()
                return far.respond(frame)

            far.script = [lost, far.respond, far.respond, lost]
            error = await self.raised(ProtocolError, meter.read(28, 0, 7))
            self.assertIn("second program", str(error))
            self.assertEqual(await meter.read(28, 0, 7), b"present")

        self.run_with(scenario)

    def test_alerts_of_the_meter_are_heard_between(self):
        async def scenario(meter, link, far):
            heard = []
            meter.on_alert = lambda: heard.append(1)
            far.script = [lambda frame: b"\0\0" + far.respond(frame)]
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(heard, [1])

        self.run_with(scenario)

    # keys

    def test_the_basic_key_is_tried_before_the_advanced(self):
        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(far.refusals, 1)
            far.lose()
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(far.refusals, 1)

        self.run_with(scenario, lambda link: FakeTlsMeter(link, dict(TABLES), {ADVANCED_IDENTITY: KEY}))

    def test_a_named_level_is_the_only_one_tried(self):
        async def scenario(meter, link, far):
            error = await self.raised(AuthenticationError, meter.read(23, 0, 9))
            self.assertIn("as MBK, in", str(error))
            self.assertEqual(far.refusals, 3)

        self.run_with(
            scenario, lambda link: FakeTlsMeter(link, dict(TABLES), {ADVANCED_IDENTITY: KEY}), level=0
        )

    def test_a_wrong_key_is_offered_three_times_and_not_again_on_that_connection(self):
        async def scenario(meter, link, far):
            error = await self.raised(AuthenticationError, meter.read(23, 0, 9))
            self.assertEqual(error.exit_code, 3)
            self.assertIn("as MBK and as MAK", str(error))
            self.assertFalse(OTHER_KEY.decode() in str(error) + repr(error) + repr(meter))
            self.assertEqual(far.refusals, 3)
            await self.raised(AuthenticationError, meter.read(23, 0, 9))
            self.assertEqual(far.refusals, 3)

        self.run_with(scenario, key=OTHER_KEY)

    def test_the_level_that_was_taken_is_remembered_and_tried_first(self):
        memory = TlsMemory()

        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            return far.refusals

        def far(link):
            return FakeTlsMeter(link, dict(TABLES), {ADVANCED_IDENTITY: KEY})

        self.assertEqual(self.run_with(scenario, far, memory=memory), 1)
        self.assertEqual(memory.level, 1)
        self.assertEqual(self.run_with(scenario, far, memory=memory), 0)

    # never worse than before

    def test_auto_takes_tls_and_remembers_it(self):
        memory = TlsMemory()

        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(meter.max_read, 443)

        self.run_with(scenario, mode="auto", memory=memory)
        self.assertEqual(memory.level, 0)

    def test_auto_speaks_rc4_with_a_meter_that_knows_no_tls(self):
        """Whatever such a meter says to a handshake: guide, tables 2.5 and 2.7, or nothing at all."""
        for said in (b"\x0b", b"\x0b" + bytes(8), b"\1", b"\2" + bytes(8), b"\4", b"\x0c" + bytes(12), None):
            memory = TlsMemory()
            asked = []

            def far(link, said=said, asked=asked):
                other = EncryptedMeter(link, dict(TABLES))
                other.tls = framed(said) if said else None
                other.asked = asked
                return other

            async def scenario(meter, link, far):
                self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
                self.assertEqual(meter.max_read, 465)
                self.assertEqual(await meter.read(2101, 0, 465), LONG[:465])

            self.run_with(scenario, far, mode="auto", memory=memory)
            self.assertEqual(len(asked), 2)
            self.assertIsNone(memory.level)
            # Another connection of the same run does not ask again, which the meter may count as an alarm.
            self.run_with(scenario, far, mode="auto", memory=memory)
            self.assertEqual(len(asked), 2)

    def test_a_port_that_was_set_to_tls_meanwhile_is_found_out(self):
        memory = TlsMemory()

        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)

        async def refused(meter, link, far):
            await self.raised(ProtocolError, meter.read(23, 0, 9))

        def tls_only(link):
            return FakeTlsMeter(link, dict(TABLES), requires=True)

        def rc4_only(link):
            other = EncryptedMeter(link, dict(TABLES))
            other.tls = framed(b"\x0b")
            return other

        self.run_with(scenario, rc4_only, mode="auto", memory=memory)
        self.run_with(refused, tls_only, mode="auto", memory=memory)
        self.run_with(scenario, tls_only, mode="auto", memory=memory)
        self.assertEqual(memory.level, 0)

    def test_what_garbles_a_handshake_is_no_reason_to_fall_back(self):
        async def scenario(meter, link, far):
            def spoil(frame):
                response = bytearray(far.respond(frame))
                response[-1] ^= 1
                return bytes(response)

            far.script = [far.respond, spoil] * 4
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(self.codes(link), b"\x58\x59" * 5 + b"\x80")

        self.run_with(scenario, mode="auto")

    def test_auto_never_falls_back_once_tls_was_spoken(self):
        for said in (framed(b"\x0b"), None, b"\xff" * 20):
            memory = TlsMemory(0)

            def far(link, said=said):
                other = EncryptedMeter(link, dict(TABLES))
                other.tls = said
                return other

            async def scenario(meter, link, far):
                try:
                    await meter.read(23, 0, 9)
                except (NoAnswer, ProtocolError):
                    self.assertEqual(set(self.codes(link)), {0x58})
                    return
                raise AssertionError("it fell back")

            self.run_with(scenario, far, mode="auto", memory=memory)

    def test_less_than_tls_is_refused_for_a_meter_that_has_spoken_it(self):
        for mode in ("rc4", "digest"):
            with self.assertRaises(ConfigurationError) as caught:
                Security(KEY, mode, FakeTls, memory=TlsMemory(1))
            self.assertIn("forget-security", str(caught.exception))

    def test_tls_that_can_not_be_had_is_said_at_once(self):
        self.assertRaises(ConfigurationError, Security, KEY, "tls")
        self.assertRaises(ConfigurationError, Security, KEY, "auto")

    def test_tls_alone_says_what_a_meter_without_it_answered(self):
        def far(link):
            other = FakeMeter(link, dict(TABLES))
            other.script = [framed(b"\x0b")] * 2
            return other

        async def scenario(meter, link, far):
            error = await self.raised(NoTls, meter.read(23, 0, 9))
            self.assertIn("answered 0B", str(error))
            self.assertIn("does not speak TLS", str(error))

        self.run_with(scenario, far)

    def test_auto_with_a_wrong_key_at_a_meter_without_tls(self):
        async def scenario(meter, link, far):
            far.script = [framed(b"\x0b")] * 6
            await self.raised(AuthenticationError, meter.read(23, 0, 9))
            self.assertEqual(len(link.sent), 5)
            await self.raised(AuthenticationError, meter.read(23, 0, 9))
            self.assertEqual(len(link.sent), 5)

        self.run_with(scenario, lambda link: FakeMeter(link, dict(TABLES)), mode="auto")

    def test_auto_at_a_dead_line_goes_on_with_tls(self):
        async def scenario(meter, link, far):
            far.script = [None] * 6
            await self.raised(NoAnswer, meter.read(23, 0, 9))
            self.assertEqual(far.script, [])
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(far.sessions, 1)

        self.run_with(scenario, mode="auto")

    def test_rc4_ends_a_session_that_was_left_open(self):
        async def scenario(meter, link, far):
            far.open = True
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(self.codes(link), b"\x3f\x3f\x3f\x57\x3f")

        self.run_with(scenario, mode="digest")

    def test_rc4_at_a_port_that_wants_tls_says_so(self):
        async def scenario(meter, link, far):
            error = await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertIn("wants TLS", str(error))
            await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertEqual(self.codes(link), b"\x3f\x3f\x3f\x57" + b"\x3f" * 6)

        self.run_with(scenario, lambda link: FakeTlsMeter(link, dict(TABLES), requires=True), mode="digest")

    # what gets lost, comes late or is damaged

    def test_silence_is_answered_with_the_same_bytes_and_then_with_a_new_session(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            far.script = [None]
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(link.sent[-2][1], link.sent[-1][1])
            self.assertEqual(far.sessions, 1)
            # the meter has taken the request, only its answer is lost: the repetition is not authentic
            far.script = [lambda frame: far.respond(frame) and None]
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(far.sessions, 2)

        self.run_with(scenario)

    def test_each_step_of_the_handshake_may_get_lost(self):
        for at in range(3):

            async def scenario(meter, link, far, at=at):
                far.script = [far.respond] * at + [None]
                self.assertEqual(await meter.read(23, 0, 9), REGISTERS)

            self.run_with(scenario)

    def test_a_damaged_byte_anywhere_is_never_believed(self):
        async def count(meter, link, far):
            sizes = []
            far.script = [lambda frame: sizes.append(far.respond(frame)) or sizes[-1]] * 3
            await meter.read(23, 0, 9)
            return [len(response) for response in sizes]

        sizes = self.run_with(count)
        for step in range(3):
            for at in range(sizes[step]):

                async def scenario(meter, link, far, step=step, at=at):
                    def spoil(frame):
                        response = bytearray(far.respond(frame))
                        response[at] ^= 0x10
                        return bytes(response)

                    far.script = [far.respond] * step + [spoil]
                    self.assertEqual(await meter.read(23, 0, 9), REGISTERS)

                self.run_with(scenario, close=False)

    def test_a_late_answer_is_not_taken_for_the_next_request(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)

            def late(frame):
                link.later(300, far.respond(frame))

            far.script = [late]
            task = asyncio.create_task(meter.read(23, 9, 7))
            await self.time.sleep_ms(200)
            task.cancel()
            await self.raised(asyncio.CancelledError, self.result(task))
            self.assertEqual(await meter.read(28, 0, 7), b"present")

        self.run_with(scenario)

    async def result(self, task):
        return await task

    def test_a_cancelled_read_leaves_the_meter_usable(self):
        async def scenario(meter, link, far):
            far.delay = 40
            for turns in range(0, 120, 3):
                task = asyncio.create_task(meter.read(23, 0, 9))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                self.assertEqual(await meter.read(28, 0, 7), b"present")

        self.run_with(scenario)

    def test_a_line_that_goes_during_the_handshake(self):
        async def scenario(meter, link, far):
            far.script = [lambda frame: self.time.after(50, lambda: link.break_off("pulled"))]
            await self.raised(LinkError, meter.read(23, 0, 9))

        self.run_with(scenario)

    def test_a_handshake_in_small_parts_is_asked_for_part_by_part(self):
        async def scenario(meter, link, far):
            whole = []

            def first(frame):
                whole.append(far.respond(frame)[3:])
                return framed(b"\0" + whole[0][:12])

            far.script = [first, lambda frame: framed(b"\0" + whole[0][12:])]
            self.assertEqual(await meter.read(23, 0, 9), REGISTERS)
            self.assertEqual(link.sent[1][1], b"\0\1\x59")

        self.run_with(scenario)

    def test_alerts_that_are_not_about_the_key_are_told(self):
        async def scenario(meter, link, far):
            far.script = [framed(b"\1" + alert(40))] * 8
            error = await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertIn("handshake failure", str(error))

        self.run_with(scenario)

    def test_records_that_are_none_are_an_error(self):
        async def scenario(meter, link, far):
            far.script = [framed(b"\0" + record(22, b"\2\0\0\1\0"))] * 8
            error = await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertIn("do not hold", str(error))

        self.run_with(scenario)
