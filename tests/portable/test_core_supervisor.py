"""The supervisor: restarts with back-off, states in words, one log line per change."""

import asyncio
import unittest

from gateway.core import supervisor
from gateway.core.supervisor import Supervisor
from gateway.errors import AuthenticationError, LinkError


class Clock:
    """Stands in for gateway.clock: sleeping moves it, and only that."""

    def __init__(self):
        self.now = 1_700_000_000_000
        self.slept = []

    def utc_ms(self):
        return self.now

    monotonic_ms = utc_ms

    async def sleep_ms(self, ms):
        self.slept.append(ms)
        self.now += ms
        await asyncio.sleep(0)


class Supervised(unittest.TestCase):
    def setUp(self):
        self.clock = Clock()
        self.real_clock = supervisor.clock
        supervisor.clock = self.clock
        self.lines = []
        self.supervisor = Supervisor(lambda level, text: self.lines.append(level + " " + text))

    def tearDown(self):
        supervisor.clock = self.real_clock

    def run_all(self):
        asyncio.run(self.supervisor.run())

    def states(self):
        return [(one["name"], one["state"], one["reason"]) for one in self.supervisor.states()]

    def fails(self, times, wells=()):
        """A worker that fails `times` times and ends; before its n-th failure it works wells[n] ms."""
        left = [times]

        async def work(worker):
            turn = times - left[0]
            if not left[0]:
                return
            left[0] -= 1
            if turn < len(wells) and wells[turn] is not None:
                worker.report("working")
                self.clock.now += wells[turn]
            raise LinkError("no such port")

        return work


class TestSignsOfLife(Supervised):
    def test_reports_attempts_and_failures_are_signs_silence_is_none(self):
        signs = []

        async def work(worker):
            signs.append(worker.turned_ms)
            self.clock.now += 5000
            worker.report("working")
            self.clock.now += 60000
            worker.report("working")  # no news, and yet a sign
            signs.append(worker.turned_ms)
            self.clock.now += 1000
            if len(signs) == 2:
                raise LinkError("no such port")

        start = self.clock.now
        worker = self.supervisor.add("meter", work)
        self.run_all()
        again = start + 66000 + self.clock.slept[0]
        self.assertEqual(signs, [start, start + 65000, again, again + 65000])
        self.assertEqual(worker.turned_ms, again + 65000)


class TestBackOff(Supervised):
    def test_grows_to_a_cap_with_jitter(self):
        self.supervisor.add("meter", self.fails(9))
        self.run_all()
        self.assertEqual(len(self.clock.slept), 9)
        for ms, full in zip(self.clock.slept, (1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000)):  # noqa: B905
            self.assertTrue(full // 2 <= ms <= full, "%d of %d" % (ms, full))

    def test_waits_differ(self):
        self.supervisor.add("meter", self.fails(40))
        self.run_all()
        self.assertTrue(len(set(self.clock.slept[6:])) > 10, "no jitter")

    def test_starts_over_after_success_that_outlasts_the_wait(self):
        self.supervisor.add("meter", self.fails(6, (None, None, None, None, 60000)))
        self.run_all()
        self.assertTrue(self.clock.slept[3] >= 4000)
        self.assertTrue(self.clock.slept[4] <= 1000, self.clock.slept)

    def test_goes_on_growing_when_success_is_short(self):
        self.supervisor.add("meter", self.fails(6, (0, 10, 10, 10, 10, 10)))
        self.run_all()
        self.assertTrue(self.clock.slept[5] >= 15000, self.clock.slept)


class TestStates(Supervised):
    def test_one_line_per_change_and_since(self):
        self.supervisor.add("meter", self.fails(5, (None, None, None, 1000)))
        begin = self.clock.now
        self.run_all()
        self.assertEqual(
            self.lines,
            [
                "warning meter: link-gone: no such port",
                "info meter: working",
                "warning meter: link-gone: no such port",
                "info meter: ended",
            ],
        )
        state = self.supervisor.states()[0]
        self.assertEqual((state["state"], state["reason"], state["failures"]), ("ended", "", 5))
        self.assertTrue(state["sinceMs"] > begin)

    def test_failing_says_since_when(self):
        seen = []

        async def work(worker):
            if len(seen) == 4:
                return
            seen.append((worker.state, worker.since_ms))
            raise LinkError("gone")

        begin = self.clock.now
        self.supervisor.add("meter", work)
        self.run_all()
        self.assertEqual(seen, [("starting", begin)] + [("link-gone", begin)] * 3)

    def test_reasons_of_one_trouble_are_told_once_each(self):
        errors = [LinkError("no such port"), AuthenticationError("wrong key")] * 500

        async def work(worker):
            if errors:
                raise errors.pop()

        self.supervisor.add("meter", work)
        self.run_all()
        self.assertEqual(
            self.lines,
            [
                "warning meter: key-refused: wrong key",
                "warning meter: link-gone: no such port",
                "info meter: ended",
            ],
        )

    def test_reasons_worded_anew_each_time_are_told_a_few_times(self):
        async def work(worker):
            if worker.failures == 500:
                worker.report("working")
                return
            raise LinkError("attempt %d failed" % worker.failures)

        self.supervisor.add("meter", work)
        self.run_all()
        self.assertEqual(len(self.lines), 4 + 2)
        self.assertEqual(self.lines[-2], "info meter: working")

    def test_what_flaps_for_hours_is_told_now_and_then(self):
        end = self.clock.now + 6 * 3600000

        async def work(worker):
            worker.report("working")
            if self.clock.now < end:
                raise LinkError("loose contact")

        self.supervisor.add("meter", work)
        self.run_all()
        self.assertTrue(self.supervisor.workers[0].failures > 500)
        self.assertTrue(40 <= len(self.lines) <= 10 + 36, len(self.lines))
        self.assertTrue(self.lines[9].endswith("(it changes too often: more in 10 minutes)"), self.lines[9])
        self.assertIn("changes before were not logged", self.lines[10])

    def test_unexpected_errors_restart_too_and_leave_a_trace(self):
        async def work(worker):
            if not worker.failures:
                raise KeyError("bug")

        self.supervisor.add("meter", work)
        self.run_all()
        self.assertTrue(self.lines[0].startswith("warning meter: failing: KeyError: "), self.lines)
        self.assertTrue(self.lines[1].startswith("debug Traceback"), self.lines)
        self.assertEqual(self.states(), [("meter", "ended", "")])

    def test_a_word_of_its_own(self):
        async def work(worker):
            worker.report("replaced", "meter 2 in place of meter 1", "warning")
            worker.report("replaced", "meter 2 in place of meter 1", "warning")

        self.supervisor.add("meter", work)
        self.run_all()
        self.assertEqual(
            self.lines, ["warning meter: replaced: meter 2 in place of meter 1", "info meter: ended"]
        )


class TestIndependence(Supervised):
    def test_too_little_memory_to_say_so_ends_nothing(self):
        def log(level, text):
            if "link-gone" in text:
                raise MemoryError

        self.supervisor = Supervisor(log)
        self.supervisor.add("meter", self.fails(3))
        self.run_all()
        self.assertEqual(self.states(), [("meter", "ended", "")])
        self.assertEqual(self.supervisor.states()[0]["failures"], 3)

    def test_one_failure_leaves_the_others(self):
        trace = []

        async def steady(worker):
            worker.report("working")
            for _ in range(20):
                await asyncio.sleep(0)
            trace.append("steady ended")

        self.supervisor.add("bad", self.fails(30))
        self.supervisor.add("steady", steady)
        self.run_all()
        self.assertEqual(trace, ["steady ended"])
        self.assertEqual(self.states(), [("bad", "ended", ""), ("steady", "ended", "")])

    def test_cancel_ends_all_and_lets_them_clean_up(self):
        trace = []

        async def work(worker):
            worker.report("working")
            try:
                await asyncio.Event().wait()
            finally:
                trace.append(worker.name)

        async def main():
            self.supervisor.add("a", work)
            self.supervisor.add("b", work)
            task = asyncio.create_task(self.supervisor.run())
            while [one["state"] for one in self.supervisor.states()] != ["working", "working"]:
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                trace.append("over")

        asyncio.run(main())
        self.assertEqual(sorted(trace[:2]) + trace[2:], ["a", "b", "over"])

    def test_cancel_during_a_wait(self):
        async def work(worker):
            raise LinkError("gone")

        async def main():
            self.supervisor.add("a", work)
            task = asyncio.create_task(self.supervisor.run())
            while self.supervisor.workers[0].failures < 3:
                await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(main())
