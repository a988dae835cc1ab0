"""What goes ahead of what is being read, and what people ask for."""

import asyncio

from gateway import clock
from gateway._compat import MICROPYTHON
from gateway.c1219.readers.common import Step
from gateway.core import cursors
from gateway.errors import LinkError, Refused
from gateway.transmission import model
from tests.portable.test_core_cursors import METER, QUARTER, CursorBench, Log, backlog
from tests.portable.test_core_meter_task import MINUTE, NOON, SECOND


class Slow(Log):
    """Each step takes 30 messages of a second."""

    async def read(self, tables, cursor):
        for _ in range(30):
            await tables.meter.read(1, 0, 4)
            await clock.sleep_ms(SECOND)
        return await Log.read(self, tables, cursor)


class Quick(Log):
    """Notes when it is read, and when it reads something new."""

    def __init__(self, kind):
        Log.__init__(self, kind, [])
        self.at = []
        self.told = []
        self._seen = bytes(4)

    async def read(self, tables, cursor):
        self.at.append(clock.utc_ms())
        data = await tables.meter.read(3, 0, 4)
        tables.memo["seen"] = 3, data
        if data != self._seen:
            self._seen = data
            self.told.append(clock.utc_ms())
        await clock.sleep_ms(100)
        return Step([], b"0")


class TestOvertaking(CursorBench):
    def setUp(self):
        CursorBench.setUp(self)
        self.logs[model.LOAD_PROFILE] = Slow(model.LOAD_PROFILE, backlog(40))
        self.logs[model.ALARM] = Quick(model.ALARM)
        self.line.tables[3] = bytes(4)

    def test_alarms_and_present_values_go_ahead_at_the_next_message(self):
        changed = []

        async def script(worker):
            for n in range(1, 6):
                await self.clock.advance(70 * SECOND + 700 * n)
                self.line.tables[3] = bytes((n, 0, 0, 0))
                changed.append(self.clock.utc)
            await self.clock.advance(5 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE, model.ALARM, model.PRESENT))
        told = self.logs[model.ALARM].told
        late = [min([at for at in told if at >= since]) - since for since in changed]
        self.assertTrue(max(late) <= 4500, late)
        present = [one.items[0].time.seconds for one in self.frames() if one.kind == model.PRESENT]
        gaps = [present[n] - present[n - 1] for n in range(1, len(present))]
        # A board has room for one reader: there they come when the step is done.
        self.assertTrue(max(gaps) <= (45 if MICROPYTHON else 12), max(gaps))
        steps = len(self.logs[model.LOAD_PROFILE].asked)
        self.assertTrue(steps >= 4, steps)
        self.assertEqual(self.task.scheduler.jobs[0].missed, 0)

    def test_alarms_that_never_rest_do_not_stop_what_is_read(self):
        def fails(table, *_):
            self.line.tables[3] = bytes((len(self.line.reads) & 255, 0, 0, 0))

        async def script(worker):
            self.line.fails = fails
            await self.clock.advance(10 * MINUTE)

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE, model.ALARM))
        self.assertTrue(len(self.times(model.LOAD_PROFILE)) >= 8)

    def test_what_takes_all_of_the_line_does_not_stop_what_it_overtakes(self):
        async def hog(tables, cursor):
            await clock.sleep_ms(5 * SECOND)
            return Step([], b"0")

        self.logs[model.ALARM].read = hog  # every 3 s

        async def script(worker):
            await self.clock.advance(10 * MINUTE)

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE, model.ALARM))
        self.assertTrue(len(self.times(model.LOAD_PROFILE)) >= 8)
        alarms = [job for job in self.task.scheduler.jobs if job.kind == model.ALARM][0]
        self.assertTrue(alarms.missed > 30, alarms.missed)

    def test_a_link_that_breaks_in_what_overtakes_loses_nothing(self):
        breaks = [20, 50]

        def fails(table, *_):
            if breaks and len(self.logs[model.ALARM].at) == breaks[0]:
                breaks.pop(0)
                return LinkError("gone")
            return None

        async def script(worker):
            self.line.fails = fails
            await self.clock.advance(12 * MINUTE)

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE, model.ALARM))
        self.assertEqual(self.times(model.LOAD_PROFILE), list(backlog(40)))
        self.assertEqual(self.line.opened, 3)

    def test_a_machine_that_slept_has_nothing_queued(self):
        async def script(worker):
            await self.clock.advance(MINUTE)
            self.clock.utc += 7 * 60 * MINUTE
            before = len(self.logs[model.ALARM].at)
            await self.clock.advance(9 * SECOND)
            self.assertTrue(len(self.logs[model.ALARM].at) - before <= 4)

        self.run_bench(script, intervals_ms=self.only(model.ALARM, model.PRESENT))
        self.assertEqual([job.missed for job in self.task.scheduler.jobs], [1, 1])


class RequestBench(CursorBench):
    async def asked(self, request, ms):
        """The answer that a request has after so many ms at most."""
        found = []

        async def ask():
            found.append(await request)

        task = asyncio.create_task(ask())
        await self.clock.advance(ms)
        self.assertEqual(len(found), 1, "no answer within %d ms" % ms)
        await task
        return found[0]


class TestReadNow(RequestBench):
    def test_goes_ahead_of_a_step(self):
        self.logs[model.LOAD_PROFILE] = Slow(model.LOAD_PROFILE, backlog(40))

        async def script(worker):
            await self.clock.advance(MINUTE)
            before = self.kinds().count(model.REGISTERS)
            ok, text = await self.asked(self.task.read_now(model.REGISTERS), 2 * SECOND)
            self.assertTrue(ok, text)
            self.assertEqual(self.kinds().count(model.REGISTERS), before + 1)
            self.assertIs(self.task.job(model.REGISTERS), None)  # left out of the schedule

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE))

    def test_what_is_being_read_is_read_again_behind_it(self):
        log = self.logs[model.LOAD_PROFILE] = Slow(model.LOAD_PROFILE, backlog(8))

        async def script(worker):
            await self.clock.advance(40 * SECOND)
            log.times.append(NOON // 1000 + 300)
            ok, text = await self.asked(self.task.read_now(model.LOAD_PROFILE), 70 * SECOND)
            self.assertTrue(ok, text)

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE))
        self.assertEqual(self.times(model.LOAD_PROFILE), log.times)

    def test_answers_why_it_can_not_be(self):
        refusal = Refused("BT23: insufficient security", 3, 23)

        async def script(worker):
            self.assertEqual((await self.task.read_now(model.PRESENT))[0], False)  # not yet connected
            await self.clock.advance(5 * SECOND)
            self.line.fails = lambda table, *_: refusal if table == 23 else None
            answer = await self.asked(self.task.read_now(model.REGISTERS), SECOND)
            self.assertEqual(answer, (False, "BT23: insufficient security"))
            self.assertEqual((await self.task.read_now(99))[0], False)
            self.line.cut(LinkError("pulled"))
            ok, text = await self.asked(self.task.read_now(model.PRESENT), 2 * SECOND)
            self.assertFalse(ok)
            self.assertIn("lost meanwhile", text)

        self.run_bench(script, intervals_ms=self.only(model.PRESENT))

    def test_those_that_wait_are_answered_when_the_link_goes(self):
        self.logs[model.EVENT] = Slow(model.EVENT, backlog(40))

        async def script(worker):
            await self.clock.advance(5 * SECOND)
            waiting = [asyncio.create_task(self.task.read_now(model.EVENT)) for _ in range(12)]
            await self.clock.advance(SECOND)
            self.line.cut(LinkError("pulled"))
            await self.clock.advance(5 * SECOND)
            answers = []
            for one in waiting:
                answers.append(await one)
            self.assertEqual([ok for ok, _ in answers], 12 * [False])
            self.assertEqual(len([text for _, text in answers if "waiting already" in text]), 4)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))

    def test_of_itself(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            ok, text = await self.asked(self.task.self_test(), SECOND)
            self.assertTrue(ok, text)
            self.assertIn("NES 20401234567 answers within", text)
            self.line.fails = lambda table, *_: Refused("no", 3, table) if table == 28 else None
            await self.clock.advance(15 * SECOND)
            ok, text = await self.asked(self.task.self_test(), SECOND)
            self.assertFalse(ok)
            self.assertIn("present: no", text)

        self.run_bench(script, intervals_ms=self.only(model.PRESENT))


class TestBackfill(RequestBench):
    def setUp(self):
        RequestBench.setUp(self)
        self.profile = self.logs[model.LOAD_PROFILE] = Log(model.LOAD_PROFILE, backlog(80))
        self.settings = self.only(model.LOAD_PROFILE)

    def again(self, known):
        return self.times(model.LOAD_PROFILE)[known:]

    def test_what_was_asked_for_and_no_more(self):
        times = list(backlog(80))

        async def script(worker):
            await self.clock.advance(MINUTE)
            known = len(self.times(model.LOAD_PROFILE))
            ok, text = await self.asked(self.task.backfill(model.LOAD_PROFILE, times[20], times[29]), 1)
            self.assertTrue(ok, text)
            await self.clock.advance(MINUTE)
            again = self.again(known)
            self.assertEqual(again[:10], times[20:30])
            self.assertTrue(len(again) <= 13)  # the rest of a step
            self.assertIsNone(self.outbox.note(cursors.note_name("again", model.LOAD_PROFILE, METER)))

        self.run_bench(script, intervals_ms=self.settings)

    def test_several_at_once_are_one_and_survive_a_restart(self):
        times = list(backlog(80))

        async def first(worker):
            await self.clock.advance(MINUTE)
            for begin, end in ((40, 43), (44, 50), (30, 35)):
                await self.asked(self.task.backfill(model.LOAD_PROFILE, times[begin], times[end]), 0)

        async def second(worker):
            await self.clock.advance(MINUTE)

        self.run_bench(first, intervals_ms=self.settings)
        known = len(self.times(model.LOAD_PROFILE))
        self.run_bench(second, intervals_ms=self.settings)
        again = self.again(known)
        self.assertEqual(again[:21], times[30:51])
        self.assertTrue(len(again) <= 24)

    def test_one_within_another_does_not_begin_it_anew(self):
        times = list(backlog(80))
        cursors.read_again(self.outbox, METER, model.LOAD_PROFILE, times[0], times[50])
        name = cursors.note_name("again", model.LOAD_PROFILE, METER)
        self.assertIsNone(self.outbox.note(name))  # never read, so it comes anyway
        self.outbox.set_note(cursors.note_name("cursor", model.LOAD_PROFILE, METER), b"x")
        self.outbox.set_note(name, cursors.pack([times[0], times[50], b"far"]))
        cursors.read_again(self.outbox, METER, model.LOAD_PROFILE, times[10], times[60])
        self.assertEqual(cursors.unpack(self.outbox.note(name)), [times[0], times[60], b"far"])
        cursors.rewind(self.outbox, METER, times[20])
        self.assertEqual(cursors.unpack(self.outbox.note(name)), [times[0], None, None])

    def test_says_why_not(self):
        async def script(worker):
            self.assertFalse((await self.task.backfill(model.LOAD_PROFILE, 0, 1))[0])  # a stranger yet
            await self.clock.advance(MINUTE)
            self.assertFalse((await self.task.backfill(model.PRESENT, 0, 1))[0])
            self.assertFalse((await self.task.backfill(model.LOAD_PROFILE, 2 * QUARTER, QUARTER))[0])
            self.assertFalse((await self.task.backfill(model.EVENT, 0, 1))[0])

        self.run_bench(script, intervals_ms=self.settings)


class TestSetInterval(CursorBench):
    def present(self):
        return self.kinds().count(model.PRESENT)

    def test_holds_over_a_restart_until_it_is_taken_back(self):
        settings = self.only(model.PRESENT)

        async def first(worker):
            await self.clock.advance(5 * SECOND)
            self.assertTrue(self.task.set_interval(model.PRESENT, 2 * SECOND)[0])
            await self.clock.advance(MINUTE)
            self.assertTrue(30 <= self.present() <= 32, self.present())

        async def second(worker):
            before = self.present()
            await self.clock.advance(MINUTE)
            self.assertTrue(30 <= self.present() - before <= 32)
            self.assertTrue(self.task.set_interval(model.PRESENT, 0)[0])
            before = self.present()
            await self.clock.advance(MINUTE)
            self.assertTrue(5 <= self.present() - before <= 7)

        self.run_bench(first, intervals_ms=settings)
        self.run_bench(second, intervals_ms=settings)
        self.assertEqual(self.task.changed_intervals(), {})

    def test_a_kind_that_was_left_out(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.assertTrue(self.task.set_interval(model.PRESENT, 10 * SECOND)[0])
            await self.clock.advance(MINUTE)
            self.assertTrue(self.present() >= 6)
            self.assertTrue(self.task.set_interval(model.PRESENT, 0)[0])
            before = self.present()
            await self.clock.advance(MINUTE)
            self.assertEqual(self.present(), before)

        self.logs[model.EVENT] = Quick(model.EVENT)
        self.run_bench(script, intervals_ms=self.only(model.EVENT))

    def test_not_more_than_the_meter_is_to_be_asked_for(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.assertTrue(self.task.set_interval(model.PRESENT, SECOND)[0])
            self.assertFalse(self.task.set_interval(model.ALARM, SECOND)[0])
            self.assertFalse(self.task.set_interval(model.PRESENT, 10)[0])
            self.assertFalse(self.task.set_interval(model.IDENTITY, MINUTE)[0])

        self.run_bench(script, intervals_ms=self.only(model.PRESENT))
        self.assertEqual(self.task.changed_intervals(), {model.PRESENT: SECOND})
