"""A meter on its optical port: sessions, time-outs, faults, rates, cancellation, a line that goes away."""

import asyncio
import unittest

from gateway.drivers.optical.meter import OpticalMeter
from gateway.errors import (
    AuthenticationError,
    ConfigurationError,
    LinkError,
    NoAnswer,
    ProtocolError,
    Refused,
    TableError,
)
from tests.optical_fakes import ACK, NAK, PASSWORD, FakePort, OpticalLink, table_answer
from tests.virtual_test import VirtualTest

LONG = bytes([at * 7 & 0xFF for at in range(3000)])
TABLES = {23: b"registers of table 23", 28: b"present values", 2101: LONG}
OPENING = [0x20, 0x60, 0x50, 0x51]


class MeterTest(VirtualTest):
    def run_with(self, scenario, password=PASSWORD, port=None, **options):
        """Runs the coroutine function `scenario(meter, link, far)` against a fresh meter."""

        async def run():
            link = OpticalLink(self.time)
            far = FakePort(self.time, link, dict(TABLES), **(port or {}))
            meter = OpticalMeter(link, password, **options)
            try:
                return await scenario(meter, link, far)
            finally:
                await meter.close()
                self.assertTrue(link.closed)

        return asyncio.run(run())

    def asked(self, far):
        return [request[0] for request in far.requests]

    # reading and writing

    def test_nothing_is_said_before_the_first_read_and_then_a_session_is_opened_once(self):
        async def scenario(meter, link, far):
            await meter.release()
            self.assertEqual(link.sent, [])
            self.assertFalse(meter.authenticated)
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(await meter.read(23, 19, 2), b"23")
            self.assertEqual(await meter.read(28), b"present values")
            self.assertEqual(await meter.read(28, 0, 0), b"")
            self.assertEqual(self.asked(far), OPENING + [0x3F, 0x3F, 0x30])
            self.assertEqual(far.users, [(7, b"somebody  ")])
            self.assertIsNone(meter.refusal)

        self.run_with(scenario, user_id=7, user="somebody")

    def test_long_reads_go_in_pieces_as_large_as_was_negotiated(self):
        sizes = (({}, 988), ({"size": 128, "count": 2}, 236), ({"count": 1}, 244), ({"count": 0}, 52))
        for port, most in sizes:

            async def scenario(meter, link, far, most=most):
                self.assertEqual(await meter.read(2101, 10, 2000), LONG[10:2010])
                self.assertEqual(meter.max_read, most)
                counts = [int.from_bytes(r[6:8], "big") for r in far.requests if r[0] == 0x3F]
                self.assertEqual(counts[0], most)
                self.assertEqual(sum(counts), 2000)
                self.assertEqual(far.sessions, 1)

            self.run_with(scenario, port=port)

    def test_writes(self):
        async def scenario(meter, link, far):
            await meter.write(28, b"PRESENT")
            await meter.write(28, b"VALUES", 8)
            self.assertEqual(far.tables[28], b"PRESENT VALUES")
            await meter.write(2101, bytes(2000), 100)
            self.assertEqual(far.tables[2101], LONG[:100] + bytes(2000) + LONG[2100:])
            error = await self.raised(TableError, meter.write(2101, bytes(1000)))
            self.assertIn("ET53", str(error))

        self.run_with(scenario)

    def test_wrong_arguments_are_refused_before_anything_is_sent(self):
        async def scenario(meter, link, far):
            await self.raised(ValueError, meter.read(23, 4))
            await self.raised(ValueError, meter.read(23, 4, -1))
            for options in ({"baud": 1234}, {"user": "x" * 11}, {"user_id": 65533}):
                self.assertRaises(ConfigurationError, OpticalMeter, link, PASSWORD, **options)
            self.assertRaises(ConfigurationError, OpticalMeter, link, b"short")
            self.assertEqual(link.sent, [])

        self.run_with(scenario)

    def test_an_error_code_is_raised_at_once_and_the_session_goes_on(self):
        async def scenario(meter, link, far):
            error = await self.raised(Refused, meter.read(77, 0, 1))
            self.assertEqual((error.code, error.table), (4, 77))
            far.script = [lambda request: b"\3"]
            error = await self.raised(Refused, meter.write(2101, b"1", 0))
            self.assertIn("read-only key", str(error))
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(far.sessions, 1)

        self.run_with(scenario)

    def test_fewer_bytes_than_asked_for_are_an_error(self):
        async def scenario(meter, link, far):
            error = await self.raised(ProtocolError, meter.read(23, 15, 10))
            self.assertIn("reading 10 bytes of BT23 from offset 15", str(error))

        self.run_with(scenario)

    # sessions

    def test_release_logs_off_and_the_next_read_begins_anew(self):
        async def scenario(meter, link, far):
            for _ in range(3):
                await meter.read(23, 0, 9)
                await meter.release()
                self.assertEqual(far.state, "base")
                await meter.release()
            self.assertEqual(self.asked(far), (OPENING + [0x3F, 0x52, 0x21]) * 3)
            self.assertLess(self.time.now, 5000 + 3000)

        self.run_with(scenario)

    def test_a_session_that_is_kept_asks_the_meter_to_wait(self):
        async def scenario(meter, link, far):
            for _ in range(3):
                self.assertEqual(await meter.read(23, 0, 9), b"registers")
                await meter.release()
                self.assertEqual(far.requests[-1], b"\x70\xff")
                await self.time.sleep_ms(200000)
            self.assertEqual(far.sessions, 1)
            await self.time.sleep_ms(60000)
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(far.sessions, 2)

        self.run_with(scenario, log_off=False)

    def test_closing_logs_off(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            await meter.close()
            self.assertEqual(far.state, "base")

        self.run_with(scenario)

    def test_a_session_that_died_of_silence_is_begun_anew_without_a_failure(self):
        for pause in (4000, 5500, 8000):

            async def scenario(meter, link, far, pause=pause):
                await meter.read(23, 0, 9)
                await self.time.sleep_ms(pause)
                self.assertEqual(await meter.read(28, 0, 7), b"present")
                self.assertEqual(far.sessions, 1 if pause == 4000 else 2)

            self.run_with(scenario)

    def test_a_session_that_the_meter_ended_is_begun_anew(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            far.base()
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(far.sessions, 2)

        self.run_with(scenario)

    def test_a_session_left_over_by_another_program_is_ended(self):
        async def scenario(meter, link, far):
            far.state = "session"
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(self.asked(far), [0x20, 0x21] + OPENING + [0x3F])

        self.run_with(scenario)

    def test_a_refused_password_is_tried_once(self):
        async def scenario(meter, link, far):
            for _ in range(3):
                error = await self.raised(AuthenticationError, meter.read(23, 0, 9))
                self.assertIn("refused the password", str(error))
                self.assertEqual(error.exit_code, 3)
            self.assertEqual(self.asked(far), OPENING + [0x52, 0x21])
            self.assertEqual(far.state, "base")

        self.run_with(scenario, password=b"another password 20c")

    # rates

    def test_a_higher_rate_is_negotiated_for_the_session(self):
        async def scenario(meter, link, far):
            for _ in range(2):
                self.assertEqual(await meter.read(2101, 0, 1500), LONG[:1500])
                self.assertEqual(link.rate, 19200)
                await meter.release()
                self.assertEqual(link.rate, 9600)
            self.assertEqual(link.rates, [19200, 9600] * 2)
            self.assertEqual(far.sessions, 2)

        self.run_with(scenario, baud=19200, port={"rates": (6, 8)})

    def test_a_meter_without_that_rate_is_read_at_the_base_rate(self):
        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(link.rates, [])

        self.run_with(scenario, baud=57600)

    def test_a_session_lost_at_a_higher_rate_is_begun_anew_at_the_base_rate(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            far.spoil = lambda data: None
            await self.raised(NoAnswer, meter.read(23, 0, 9))
            far.spoil = lambda data: data
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(link.rate, 19200)

        self.run_with(scenario, baud=19200, port={"rates": (6, 8)})

    # faults

    def test_the_first_packet_lost_to_the_switch_of_a_shared_port(self):
        async def scenario(meter, link, far):
            far.shared = True
            for _ in range(2):
                self.assertEqual(await meter.read(23, 0, 9), b"registers")
                await meter.release()
            self.assertEqual(link.sent[0][1], link.sent[1][1])
            self.assertLess(self.time.now, 5000 + 2000)

        self.run_with(scenario)

    def test_what_mep_says_on_a_shared_port_is_passed_over(self):
        async def scenario(meter, link, far):
            for _ in range(3):
                link.feed(bytes.fromhex("0000000D0000 04EE060715AA EE01020304050607".replace(" ", "")))
                self.assertEqual(await meter.read(23, 0, 9), b"registers")

        self.run_with(scenario)

    def each_packet_once(self, fault, spoilt_by):
        """`fault(data)` once, at every piece that either side says in a short and in a long read."""
        places = 0
        while True:
            struck = []

            async def scenario(meter, link, far, place=places, struck=struck):
                count = [0]

                def strike(data):
                    count[0] += 1
                    if count[0] == place + 1:
                        struck.append(data)
                        return fault(data)
                    return data

                setattr(far, spoilt_by, strike)
                self.assertEqual(await meter.read(23, 0, 9), b"registers")
                self.assertEqual(await meter.read(2101, 0, 600), LONG[:600])
                await meter.write(28, b"PRESENT" * 60, 0)
                self.assertEqual(far.tables[28], b"PRESENT" * 60)
                await meter.release()
                self.assertEqual(await meter.read(28, 0, 7), b"PRESENT")

            self.run_with(scenario)
            if not struck:
                break
            places += 1
        self.assertGreater(places, 20)

    def test_any_one_thing_that_the_meter_says_may_be_lost(self):
        self.each_packet_once(lambda data: None, "spoil")

    def test_any_one_thing_that_the_meter_says_may_come_twice(self):
        self.each_packet_once(lambda data: data + data, "spoil")

    def test_any_one_thing_that_the_meter_says_may_be_spoiled(self):
        self.each_packet_once(lambda data: bytes((data[0] ^ 0x41,)) + data[1:], "spoil")
        self.each_packet_once(lambda data: data[:-1] + bytes((data[-1] ^ 0x41,)), "spoil")

    def test_any_one_thing_that_the_meter_hears_may_be_lost(self):
        self.each_packet_once(lambda data: None, "hear")

    def test_any_one_thing_that_the_meter_hears_may_be_spoiled(self):
        self.each_packet_once(lambda data: data[:-1] + bytes((data[-1] ^ 0x41,)), "hear")

    def test_time_outs_are_the_protocols(self):
        async def scenario(meter, link, far):
            far.hear = lambda data: None
            error = await self.raised(NoAnswer, meter.read(23, 0, 9))
            self.assertIn("did not acknowledge", str(error))
            whens = [when for when, _ in link.sent]
            self.assertEqual(len(whens), 8)
            for at in (0, 1, 2, 4, 5, 6):
                self.assertGreaterEqual(whens[at + 1] - whens[at], 2000)
                self.assertLessEqual(whens[at + 1] - whens[at], 2200)
            self.assertGreaterEqual(whens[4] - whens[3], 7000)  # no session can stand after that

        self.run_with(scenario)

    def test_an_answer_may_take_six_seconds(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)

            def late(request):
                self.time.after(5900, lambda: far.answer(far.serve(request)))

            far.script = [late]
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(far.sessions, 1)

        self.run_with(scenario)

    def test_a_meter_that_answers_wrongly_each_time_is_given_up(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            serve = far.serve

            def spoil(request):
                return table_answer(b"registers")[:-1] + b"\0" if request[0] == 0x3F else serve(request)

            far.serve = spoil
            error = await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertIn("checksum", str(error))
            self.assertEqual(self.asked(far).count(0x3F), 4)

        self.run_with(scenario)

    def test_on_a_bad_line_packets_get_smaller_and_what_arrived_stays(self):
        async def scenario(meter, link, far):
            def limit(data):
                return data if len(data) < 140 else bytes((data[0] ^ 1,)) + data[1:]

            self.assertEqual(await meter.read(2101, 0, 1000), LONG[:1000])
            far.spoil = limit
            self.assertEqual(await meter.read(2101, 0, 1000), LONG[:1000])
            self.assertEqual(meter.max_read, 236)
            far.spoil = lambda data: data
            for _ in range(70):
                await meter.read(23, 0, 9)
            await meter.release()
            await meter.read(23, 0, 9)
            self.assertEqual(meter.max_read, 988)

        self.run_with(scenario)

    # everything else

    def test_readers_take_turns(self):
        async def scenario(meter, link, far):
            tasks = [asyncio.create_task(meter.read(2101, at, 9)) for at in (0, 9, 18)]
            for task in tasks:
                await task
            counts = [r[3:6] for r in far.requests if r[0] == 0x3F]
            self.assertEqual(counts, [b"\0\0\0", b"\0\0\x09", b"\0\0\x12"])

        self.run_with(scenario)

    def test_a_read_that_is_cancelled_leaves_nothing_behind(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            serve = far.serve

            def late(request):
                self.time.after(1000, lambda: far.answer(serve(request)))

            far.script = [late]
            task = asyncio.create_task(meter.read(23, 0, 9))
            await self.time.sleep_ms(500)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            # The late answer has the length that is asked for now.
            self.assertEqual(await meter.read(28, 0, 9), b"present v")
            self.assertEqual(far.sessions, 2)

        self.run_with(scenario)

    def test_a_line_that_goes_away(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            link.break_off()
            await self.raised(LinkError, meter.read(23, 0, 9))
            await meter.release()

        self.run_with(scenario)

    def test_a_line_that_babbles_without_end_is_an_error(self):
        async def scenario(meter, link, far):
            def babble():
                link.feed(b"\xee\x5a\xee")
                self.time.after(50, babble)

            babble()
            far.hear = lambda data: None
            started = self.time.now
            await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertLess(self.time.now - started, 120000)

        self.run_with(scenario)

    def test_only_acknowledgements_and_only_refusals_are_errors_too(self):
        for byte, kind in ((ACK, NoAnswer), (NAK, ProtocolError)):

            async def scenario(meter, link, far, byte=byte, kind=kind):
                far.hear = lambda data: link.later(5, byte) if data[:1] == b"\xee" else None
                await self.raised(kind, meter.read(23, 0, 9))

            self.run_with(scenario)


if __name__ == "__main__":
    unittest.main()
