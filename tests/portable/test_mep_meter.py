"""A meter on a line: time-outs, pauses, noise, late answers, alerts, cancellation, a line that goes away."""

import asyncio
import unittest

from gateway import clock
from gateway.drivers.mep.machine import Machine
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import Security
from gateway.errors import (
    AuthenticationError,
    LinkError,
    NoAnswer,
    ProtocolError,
    Refused,
    TableError,
)
from tests.mep_fakes import KEY, FakeLink, FakeMeter, answer, framed, number_of
from tests.virtual_test import VirtualTest

LONG = bytes([at * 7 & 0xFF for at in range(1200)])
TABLES = {23: b"registers of table 23", 28: b"present values", 2101: LONG}
# A request for table data is 22 bytes: 23 ms at 9600 baud.
REQUEST_MS = 23
REFUSAL = framed(b"\x0b" + bytes(8))


class MeterTest(VirtualTest):
    def run_with(self, scenario, **options):
        """Runs the coroutine function `scenario(meter, link, far)` against a fresh meter."""

        async def run():
            link = FakeLink(self.time)
            far = FakeMeter(link, dict(TABLES), sequence=options.pop("sequence", None))
            meter = MepMeter(link, options.pop("security", KEY), **options)
            try:
                return await scenario(meter, link, far)
            finally:
                await meter.close()
                self.assertTrue(link.closed)

        return asyncio.run(run())

    async def turns(self):
        """Lets every task run as far as it can, while nobody waits for time to pass."""
        for _ in range(30):
            await asyncio.sleep(0)

    # reading and writing

    def test_reads(self):
        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(await meter.read(23, 19, 2), b"23")
            self.assertEqual(await meter.read(23, count=4), b"regi")
            self.assertEqual(await meter.read(28), b"present values")
            self.assertEqual(await meter.read(28, 0, 0), b"")
            self.assertEqual(len(link.sent), 4)
            self.assertEqual(meter.max_read, 465)
            self.assertTrue(meter.authenticated)

        self.run_with(scenario)

    def test_a_long_read_is_split_into_exact_counts(self):
        async def scenario(meter, link, far):
            self.assertEqual(await meter.read(2101, 10, 1000), LONG[10:1010])
            asked = [(int.from_bytes(f[5:8], "big"), int.from_bytes(f[8:10], "big")) for _, f in link.sent]
            self.assertEqual(asked, [(10, 465), (475, 465), (940, 70)])

        self.run_with(scenario)

    def test_fewer_bytes_than_asked_for_are_an_error(self):
        async def scenario(meter, link, far):
            error = await self.raised(ProtocolError, meter.read(23, 15, 10))
            self.assertIn("reading 10 bytes of BT23 from offset 15", str(error))
            self.assertEqual(await meter.read(23, 0, 9), b"registers")

        self.run_with(scenario)

    def test_a_full_read_that_does_not_fit_says_so(self):
        async def scenario(meter, link, far):
            far.script = [lambda frame: answer(frame, b"\0\x04\xb0" + LONG[:465])]
            error = await self.raised(ProtocolError, meter.read(2101))
            self.assertIn("1200 bytes and does not fit", str(error))

        self.run_with(scenario)

    def test_an_error_code_is_raised_at_once(self):
        async def scenario(meter, link, far):
            error = await self.raised(Refused, meter.read(77, 0, 1))
            self.assertEqual((error.code, error.table), (4, 77))
            self.assertEqual(len(link.sent), 1)

        self.run_with(scenario)

    def test_writes(self):
        async def scenario(meter, link, far):
            await meter.write(28, b"PRESENT")
            await meter.write(28, b"VALUES", 8)
            self.assertEqual(far.tables[28], b"PRESENT VALUES")
            await meter.write(2101, bytes(700), 100)
            self.assertEqual(far.tables[2101], LONG[:100] + bytes(700) + LONG[800:])
            self.assertEqual([len(frame) for _, frame in link.sent[2:]], [478, 22 + 244])

        self.run_with(scenario)

    def test_a_full_write_that_does_not_fit_is_refused_before_it_is_sent(self):
        async def scenario(meter, link, far):
            error = await self.raised(TableError, meter.write(2100, bytes(457)))
            self.assertIn("ET52", str(error))
            self.assertEqual(link.sent, [])

        self.run_with(scenario)

    def test_an_offset_without_a_count_is_refused(self):
        async def scenario(meter, link, far):
            await self.raised(ValueError, meter.read(23, 4))
            await self.raised(ValueError, meter.read(23, 4, -1))
            await self.raised(ValueError, meter.write(23, b"", 4))
            self.assertEqual(link.sent, [])

        self.run_with(scenario)

    def test_the_first_0c_sets_the_number_right(self):
        async def scenario(meter, link, far):
            self.assertEqual(meter.resyncs, 0)
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual([number_of(frame) for _, frame in link.sent[1:]], [0x77635B91, 0x77635B92])
            self.assertEqual(meter.resyncs, 1)
            far.sequence += 25  # as a meter does whose dimensions changed
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(meter.resyncs, 2)

        self.run_with(scenario, sequence=0x77635B90)

    def test_encrypted(self):
        async def scenario(meter, link, far):
            from gateway.drivers.mep.rc4 import Rc4
            from tests.mep_fakes import digest_of

            def serve(frame):
                key = Rc4(KEY).crypt(bytes.fromhex("388b8fbc36a8558587afc90fb23a3b99"))
                for at in range(8):
                    key[at] ^= frame[at - 8]
                stream = Rc4(key)
                request = bytes(stream.crypt(frame[2:-8]))
                reply = far.reply(request[:-4])
                return framed(bytes(stream.crypt(reply)) + digest_of(request + reply))

            far.script = [serve, serve]
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(await meter.read(2101, 0, 465), LONG[:465])

        self.run_with(scenario, security=Security(KEY, "rc4"))

    # time

    def test_requests_are_100_ms_apart(self):
        async def scenario(meter, link, far):
            for _ in range(3):
                await meter.read(23, 0, 9)
            whens = [when for when, _ in link.sent]
            for first, second in zip(whens, whens[1:]):  # noqa: B905 - MicroPython has no strict
                self.assertGreaterEqual(second - first, 100 + REQUEST_MS)
                self.assertLessEqual(second - first, 150 + REQUEST_MS)

        self.run_with(scenario)

    def test_an_answer_after_500_ms_is_in_time(self):
        async def scenario(meter, link, far):
            far.delay = REQUEST_MS + 500
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(len(link.sent), 1)

        self.run_with(scenario)

    def test_silence_is_answered_after_500_ms_with_the_same_bytes(self):
        async def scenario(meter, link, far):
            far.script = [None]
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            (first, frame), (second, repeated) = link.sent
            self.assertEqual(frame, repeated)
            self.assertGreaterEqual(second - first, REQUEST_MS + 500)
            self.assertLessEqual(second - first, REQUEST_MS + 700)

        self.run_with(scenario)

    def test_a_meter_that_never_answers(self):
        async def scenario(meter, link, far):
            far.script = [None] * 3
            error = await self.raised(NoAnswer, meter.read(23, 0, 9))
            self.assertEqual(error.exit_code, 3)
            self.assertEqual(len(link.sent), 3)
            self.assertEqual(await meter.read(23, 0, 9), b"registers")

        self.run_with(scenario)

    def test_slow_lines_and_segment_pauses_are_waited_for(self):
        for baud in (300, 9600):
            byte_ms = -(-10000 // baud)

            async def scenario(meter, link, far, byte_ms=byte_ms):
                def trickle(frame):
                    start = 500 + len(frame) * byte_ms
                    response = far.respond(frame)
                    for at in range(0, len(response), 117):
                        link.drip(start, response[at : at + 117], byte_ms)
                        start += 117 * byte_ms + 25

                far.script = [trickle] * 2
                self.assertEqual(await meter.read(2101, 0, 465), LONG[:465])
                self.assertEqual(await meter.read(2101, 465, 465), LONG[465:930])
                self.assertEqual(len(link.sent), 2)

            self.run_with(scenario, baud=baud)

    def test_a_request_on_a_slow_line_takes_its_time(self):
        async def scenario(meter, link, far):
            far.script = [None]
            await meter.read(23, 0, 9)
            self.assertGreaterEqual(link.sent[1][0] - link.sent[0][0], 22 * 10000 // 300 + 500)

        self.run_with(scenario, baud=300)

    def test_bytes_that_a_serial_server_gathers_are_waited_for(self):
        async def scenario(meter, link, far):
            def gathered(frame):
                response = far.respond(frame)
                for at in range(0, len(response), 60):
                    link.later(at * 4, response[at : at + 60])

            far.script = [gathered]
            self.assertEqual(await meter.read(2101, 0, 465), LONG[:465])
            self.assertEqual(len(link.sent), 1)

        self.run_with(scenario)

    # noise

    def test_a_frame_cut_off_is_asked_for_again_once_the_line_is_quiet(self):
        async def scenario(meter, link, far):
            def cut(frame):
                link.drip(30, far.respond(frame)[:-3], 2)

            far.script = [cut, lambda frame: far.respond(frame)]
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(len(link.sent), 2)
            self.assertGreaterEqual(link.sent[1][0] - link.sent[0][0], 200)

        self.run_with(scenario)

    def test_noise_is_waited_out_before_the_retry(self):
        async def scenario(meter, link, far):
            far.script = [lambda frame: link.drip(20, b"\xff" * 40, 20)]
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            last_noise = link.sent[0][0] + 20 + 39 * 20
            self.assertGreaterEqual(link.sent[1][0] - last_noise, 100)
            self.assertEqual(len(link.sent), 2)

        self.run_with(scenario)

    def test_noise_right_before_every_answer_is_seen_through(self):
        async def scenario(meter, link, far):
            for noise in (b"\0", b"\xff", b"\x5a\xa5"):
                far.script = [lambda frame, noise=noise: noise + far.respond(frame)]
                self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(len(link.sent), 3)

        self.run_with(scenario)

    def test_noise_before_a_request_is_waited_out(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            link.drip(110, b"\x7f" * 20, 10)
            await self.time.sleep_ms(150)
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(len(link.sent), 2)

        self.run_with(scenario)

    def test_a_byte_lost_long_ago_spoils_nothing(self):
        async def scenario(meter, link, far):
            alerts = []
            meter.on_alert = lambda: alerts.append(self.time.now)
            await meter.read(23, 0, 9)
            link.feed(b"\0")
            await self.time.sleep_ms(1000)
            link.feed(b"\0\0")
            await self.turns()
            self.assertEqual(len(alerts), 1)
            link.feed(b"\0")
            await self.time.sleep_ms(1000)
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertEqual(len(link.sent), 2)

        self.run_with(scenario)

    def test_a_line_that_babbles_without_end_is_an_error(self):
        async def scenario(meter, link, far):
            def babble():
                link.feed(b"\xa5\x5a")
                self.time.after(50, babble)

            babble()
            far.script = [None] * 8
            started = self.time.now
            error = await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertIn("baud rate", str(error))
            self.assertLess(self.time.now - started, 30000)
            self.assertEqual(len(link.sent), 8)

        self.run_with(scenario)

    def test_a_damaged_answer_is_never_believed(self):
        async def scenario(meter, link, far):
            def damaged(frame):
                response = bytearray(far.respond(frame))
                response[8] ^= 1
                return bytes(response)

            far.script = [damaged]
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            far.script = [damaged] * 30
            error = await self.raised(ProtocolError, meter.read(23, 0, 9))
            self.assertIn("digest", str(error))
            self.assertEqual(far.script, [])
            far.script = [damaged] * 3
            error = await self.raised(ProtocolError, meter.read(23))
            self.assertIn("digest", str(error))

        self.run_with(scenario, sequence=0)

    # answers that come late

    def test_a_late_answer_is_not_taken_for_the_next_request(self):
        async def scenario(meter, link, far):
            def late(frame):
                # after two repetitions' time; the meter is shared with an optical port, say
                link.later(1900, far.respond(frame))

            far.script = [late, None, None]
            await self.raised(NoAnswer, meter.read(23, 0, 9))
            far.delay = 400
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(len(link.sent), 4)

        self.run_with(scenario)

    def test_the_answer_behind_a_long_late_one_is_waited_for(self):
        async def scenario(meter, link, far):
            stale = []
            far.script = [lambda frame: stale.append(far.respond(frame))]
            task = asyncio.create_task(meter.read(2101, 0, 465))
            self.time.after(300, task.cancel)
            await self.raised(asyncio.CancelledError, self.result(task))

            def after_the_other(frame):
                link.drip(100, stale[0], 1)
                link.later(100 + 478 + 400, far.respond(frame))

            far.script = [after_the_other]
            self.assertEqual(await meter.read(28, 0, 7), b"present")
            self.assertEqual(len(link.sent), 2)

        self.run_with(scenario)

    async def result(self, task):
        return await task

    def test_a_meter_that_is_always_late_is_read(self):
        for delay in (600, 1200):

            async def scenario(meter, link, far, delay=delay):
                far.delay = delay
                for _ in range(5):
                    self.assertEqual(await meter.read(23, 0, 9), TABLES[23][:9])

            self.run_with(scenario)

    def test_a_cancelled_read_leaves_the_meter_usable(self):
        async def scenario(meter, link, far):
            far.delay = 40
            await meter.read(23, 0, 9)
            for turns in range(60):
                task = asyncio.create_task(meter.read(23, 0, 9))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                self.assertEqual(await meter.read(28, 0, 7), b"present")

        self.run_with(scenario, sequence=50)

    def test_a_cancelled_turn_is_passed_on(self):
        async def scenario(meter, link, far):
            far.delay = 40
            first, second, third = [asyncio.create_task(meter.read(23, at, 1)) for at in range(3)]
            await asyncio.sleep(0)
            second.cancel()
            self.assertEqual((await first, await third), (b"r", b"g"))

        self.run_with(scenario)

    def test_callers_get_their_turn_in_order_and_long_reads_stay_whole(self):
        async def scenario(meter, link, far):
            done = []

            async def read(name, *what):
                await meter.read(*what)
                done.append(name)

            await asyncio.gather(
                read("long", 2101, 0, 1000),
                read("second", 23, 0, 9),
                read("third", 28),
                read("fourth", 23, 0, 2),
            )
            self.assertEqual(done, ["long", "second", "third", "fourth"])
            tables = [int.from_bytes(frame[3:5], "big") for _, frame in link.sent]
            self.assertEqual(tables, [2101, 2101, 2101, 23, 28, 23])

        self.run_with(scenario)

    # refusals

    def test_a_refusal_now_and_then_is_not_noticed(self):
        async def scenario(meter, link, far):
            for _ in range(5):
                far.script = [lambda frame: REFUSAL, lambda frame: far.respond(frame)]
                self.assertEqual(await meter.read(23, 0, 9), b"registers")

        self.run_with(scenario)

    def test_a_wrong_key_is_tried_three_times_and_not_again_on_that_connection(self):
        async def scenario(meter, link, far):
            far.script = [lambda frame: REFUSAL] * 3
            error = await self.raised(AuthenticationError, meter.read(23, 0, 9))
            self.assertIn("refused the key", str(error))
            self.assertEqual(len(link.sent), 3)
            self.assertIs(await self.raised(AuthenticationError, meter.read(23, 0, 9)), error)
            self.assertEqual(len(link.sent), 3)
            self.assertEqual(meter.traffic(), (1, 0, 2))

        self.run_with(scenario)

    def test_errors_and_reprs_never_show_the_key(self):
        async def scenario(meter, link, far):
            far.script = [lambda frame: REFUSAL] * 3
            error = await self.raised(AuthenticationError, meter.read(23, 0, 9))
            for text in (str(error), repr(error), repr(meter), repr(Machine(KEY, True))):
                self.assertFalse(KEY.decode() in text)

        self.run_with(scenario)

    # alerts

    def test_alerts_between_exchanges_and_around_answers(self):
        async def scenario(meter, link, far):
            alerts = []
            await meter.read(23, 0, 9)
            link.feed(b"\0\0")  # nobody wants to know
            await self.turns()
            meter.on_alert = lambda: alerts.append(self.time.now)
            link.feed(b"\0\0")
            await self.turns()
            self.assertEqual(len(alerts), 1)
            far.script = [lambda frame: b"\0\0" + far.respond(frame) + b"\0\0"]
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            await self.turns()
            self.assertEqual(len(link.sent), 2)
            self.assertIn(len(alerts), (2, 3))

        self.run_with(scenario)

    def test_an_alert_is_no_answer(self):
        async def scenario(meter, link, far):
            alerts = []
            meter.on_alert = lambda: alerts.append(self.time.now)
            far.script = [b"\0\0"]
            self.assertEqual(await meter.read(23, 0, 9), b"registers")
            self.assertLessEqual(link.sent[1][0] - link.sent[0][0], 700)
            self.assertEqual(len(alerts), 1)

        self.run_with(scenario)

    # the line goes away

    def test_a_line_that_goes_while_waiting(self):
        async def scenario(meter, link, far):
            far.script = [lambda frame: self.time.after(50, lambda: link.break_off("the adapter was pulled"))]
            for _ in range(2):
                error = await self.raised(LinkError, meter.read(23, 0, 9))
                self.assertIn("the adapter was pulled", str(error))
                self.assertEqual(error.exit_code, 3)
            self.assertEqual(len(link.sent), 1)

        self.run_with(scenario)

    def test_a_line_that_goes_between_exchanges(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            link.break_off()
            await self.raised(LinkError, meter.read(23, 0, 9))
            self.assertEqual(len(link.sent), 1)

        self.run_with(scenario)

    def test_a_line_that_takes_no_bytes(self):
        async def scenario(meter, link, far):
            link.stuck = True
            error = await self.raised(LinkError, meter.read(23, 0, 9))
            self.assertIn("takes no bytes", str(error))
            link.stuck = False
            await self.raised(LinkError, meter.read(23, 0, 9))

        self.run_with(scenario)

    def test_a_reader_that_fails_is_a_lost_line(self):
        async def scenario(meter, link, far):
            def broken():
                raise OSError(5)

            await meter.read(23, 0, 9)
            meter.on_alert = broken
            link.feed(b"\0\0")
            error = await self.raised(LinkError, meter.read(23, 0, 9))
            self.assertIn("OSError", str(error))

        self.run_with(scenario)

    def test_close_ends_whoever_waits(self):
        async def scenario(meter, link, far):
            far.script = [None]
            task = asyncio.create_task(meter.read(23, 0, 9))
            closing = []
            self.time.after(300, lambda: closing.append(asyncio.create_task(meter.close())))
            await self.raised(LinkError, self.result(task))
            await closing[0]
            self.assertEqual(len(link.sent), 1)
            await self.raised(LinkError, meter.read(23, 0, 9))
            await meter.close()

        self.run_with(scenario)

    def test_close_of_a_dead_line_is_no_error(self):
        async def scenario(meter, link, far):
            await meter.read(23, 0, 9)
            link.break_off()
            await meter.close()

        self.run_with(scenario)

    def test_close_without_any_exchange(self):
        async def scenario(meter, link, far):
            pass

        self.run_with(scenario)


class RealTimeTest(unittest.TestCase):
    def tearDown(self):
        clock.set_scale(1)

    def test_the_real_clock_drives_it(self):
        class Now:
            now = 0

            def after(self, ms, function):
                function()

        async def run():
            clock.set_scale(50)
            link = FakeLink(Now())
            far = FakeMeter(link, dict(TABLES), sequence=9)
            meter = MepMeter(link, KEY)
            far.script = [None]
            found = await meter.read(2101, 0, 900), await meter.read(28)
            await meter.close()
            return found

        self.assertEqual(asyncio.run(run()), (LONG[:900], b"present values"))
