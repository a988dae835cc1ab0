"""The scheduler machine under a clock that the tests set: alignment, order, lateness, jumps."""

import unittest

from gateway.core import schedule
from gateway.core.scheduler import Job, Scheduler
from gateway.transmission import model

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIDNIGHT = 20771 * DAY  # of some day, UTC


def run(scheduler, start_ms, end_ms, takes_ms=0):
    """Jobs as (kind, ms since start) that a loop with a link of one would run; each takes `takes_ms`."""
    ran = []
    now = start_ms
    while now < end_ms:
        job = scheduler.take(now)
        if job is None:
            wait = scheduler.wait_ms(now)
            assert wait > 0, "nothing to take, and nothing to wait for"
            now += wait
            continue
        ran.append((job.kind, now - start_ms))
        now += takes_ms
    return ran


class TestAlignment(unittest.TestCase):
    def test_runs_at_once_and_then_on_the_clock(self):
        scheduler = Scheduler([Job(1, 15 * MINUTE, 1)])
        start = MIDNIGHT + 7 * MINUTE + 30 * SECOND
        ran = run(scheduler, start, start + HOUR)
        self.assertEqual(
            ran, [(1, 0)] + [(1, at * 15 * MINUTE - 7 * MINUTE - 30 * SECOND) for at in (1, 2, 3, 4)]
        )

    def test_offset(self):
        scheduler = Scheduler([Job(1, 15 * MINUTE, 1, offset_ms=MINUTE)])
        ran = run(scheduler, MIDNIGHT, MIDNIGHT + HOUR)
        # At midnight the slot of 23:46 is the one that counts.
        self.assertEqual(ran, [(1, 0), (1, MINUTE), (1, 16 * MINUTE), (1, 31 * MINUTE), (1, 46 * MINUTE)])

    def test_day_boundary(self):
        scheduler = Scheduler([Job(1, 15 * MINUTE, 1), Job(2, DAY, 0)])
        start = MIDNIGHT + DAY - 20 * MINUTE
        ran = run(scheduler, start, start + 40 * MINUTE)
        self.assertEqual(
            ran, [(2, 0), (1, 0), (1, 5 * MINUTE), (2, 20 * MINUTE), (1, 20 * MINUTE), (1, 35 * MINUTE)]
        )

    def test_every_slot_of_some_hours_once(self):
        scheduler = Scheduler(schedule.jobs())
        ran = run(scheduler, MIDNIGHT, MIDNIGHT + 6 * HOUR, takes_ms=700)
        kinds = [kind for kind, _ in ran]
        self.assertEqual(kinds.count(model.PRESENT), 2160)
        self.assertEqual(kinds.count(model.REGISTERS), 24)
        self.assertEqual(kinds.count(model.CLOCK), 6)
        self.assertEqual(kinds.count(model.EVENT), 360)
        # Alarms wait at most for all the others, once an hour.
        missed = {job.kind: job.missed for job in scheduler.jobs if job.missed}
        self.assertTrue(missed.pop(model.ALARM, 0) <= 6)
        self.assertEqual(missed, {})
        for kind, at in ran:
            if kind == model.REGISTERS:
                # Aligned, after at most one read that was on the link and what is live.
                self.assertTrue(at % (15 * MINUTE) <= 3 * 700, at)


class TestOrder(unittest.TestCase):
    def test_most_urgent_first_then_nearest_deadline_then_order(self):
        scheduler = Scheduler(
            [Job(1, HOUR, 5), Job(2, HOUR, 1), Job(3, HOUR, 5, deadline_ms=MINUTE), Job(4, HOUR, 5)]
        )
        taken = [scheduler.take(MIDNIGHT).kind for _ in range(4)]
        self.assertEqual(taken, [2, 3, 1, 4])
        self.assertIsNone(scheduler.take(MIDNIGHT))

    def test_what_becomes_due_meanwhile_overtakes(self):
        scheduler = Scheduler([Job(1, 10 * SECOND, 0), Job(2, HOUR, 1), Job(3, HOUR, 2)])
        # Each takes 10 s, so the most urgent is due again after each: it may starve the others, and
        # does: a schedule beyond the link's share is refused before it comes to this.
        ran = run(scheduler, MIDNIGHT, MIDNIGHT + 30 * SECOND, takes_ms=10 * SECOND)
        self.assertEqual([kind for kind, _ in ran], [1, 1, 1])

    def test_default_schedule_on_a_slow_link_serves_all(self):
        scheduler = Scheduler(schedule.jobs())
        ran = run(scheduler, MIDNIGHT, MIDNIGHT + DAY, takes_ms=12 * SECOND)
        kinds = [kind for kind, _ in ran]
        self.assertEqual(kinds.count(model.REGISTERS), 96)
        self.assertEqual(kinds.count(model.CLOCK), 24)
        self.assertEqual(len(kinds), DAY // (12 * SECOND))
        for row in schedule.DEFAULT:
            self.assertIn(row[0], kinds)
        self.assertTrue(kinds.count(model.ALARM) > 200)

    def test_at_the_start_what_is_live_goes_before_what_has_piled_up(self):
        scheduler = Scheduler(schedule.jobs())
        order = [scheduler.take(MIDNIGHT).kind for _ in schedule.DEFAULT]
        self.assertEqual(order[:4], [model.ALARM, model.PRESENT, model.REGISTERS, model.CLOCK])


class TestMoreToRead(unittest.TestCase):
    def setUp(self):
        self.backfill = Job(1, 15 * MINUTE, 1)
        self.other = Job(2, HOUR, 2)
        self.live = Job(3, 10 * SECOND, 3)
        self.scheduler = Scheduler([self.backfill, self.other, self.live])
        run(self.scheduler, MIDNIGHT, MIDNIGHT + 1)

    def test_goes_on_when_nothing_else_is_due(self):
        self.backfill.more_ms = 0
        ran = run(self.scheduler, MIDNIGHT + 1, MIDNIGHT + MINUTE + 1, takes_ms=1000)
        self.assertEqual([at for kind, at in ran if kind == 3], [at * SECOND for at in (10, 20, 30, 40, 50)])
        self.assertEqual(len(ran), 60)

    def test_turns_are_taken(self):
        self.backfill.more_ms = self.other.more_ms = 0
        taken = [self.scheduler.take(MIDNIGHT + n).kind for n in range(6)]
        self.assertEqual(taken, [1, 2] * 3)

    def test_not_without_capacity_to_spare(self):
        self.backfill.more_ms = 0
        self.assertIsNone(self.scheduler.take(MIDNIGHT + 1, spare=False))
        self.assertEqual(self.scheduler.wait_ms(MIDNIGHT + 1, 700), 700)
        self.assertIs(self.scheduler.take(MIDNIGHT + 10 * SECOND, spare=False), self.live)

    def test_not_before_its_time(self):
        self.backfill.more_ms = MIDNIGHT + 4 * SECOND
        self.assertEqual(self.scheduler.wait_ms(MIDNIGHT + SECOND), 3 * SECOND)
        self.assertIsNone(self.scheduler.take(MIDNIGHT + 4 * SECOND - 1))
        self.assertIs(self.scheduler.take(MIDNIGHT + 4 * SECOND), self.backfill)

    def test_a_link_with_no_time_left_still_serves_it_now_and_then(self):
        self.backfill.more_ms = 0
        ran = run(self.scheduler, MIDNIGHT + 1, MIDNIGHT + HOUR, takes_ms=12 * SECOND)
        kinds = [kind for kind, _ in ran]
        self.assertTrue(len(ran) // 20 <= kinds.count(1) <= len(ran) // 10, kinds.count(1))

    def test_another_rhythm_begins_with_its_next_slot(self):
        self.backfill.set_interval(5 * MINUTE, MIDNIGHT + SECOND)
        ran = run(self.scheduler, MIDNIGHT + SECOND, MIDNIGHT + 16 * MINUTE)
        self.assertEqual([at for kind, at in ran if kind == 1], [n * 5 * MINUTE - SECOND for n in (1, 2, 3)])


class TestLateness(unittest.TestCase):
    def test_slots_merge_and_never_queue_up(self):
        scheduler = Scheduler([Job(1, 10 * SECOND, 1)])
        self.assertIsNotNone(scheduler.take(MIDNIGHT))
        busy_until = MIDNIGHT + 10 * MINUTE + 3 * SECOND
        ran = run(scheduler, busy_until, busy_until + 20 * SECOND)
        self.assertEqual(ran, [(1, 0), (1, 7 * SECOND), (1, 17 * SECOND)])
        self.assertEqual(scheduler.jobs[0].missed, 1)

    def test_beyond_the_deadline_is_skipped(self):
        scheduler = Scheduler([Job(1, HOUR, 1, deadline_ms=5 * MINUTE)])
        self.assertIsNotNone(scheduler.take(MIDNIGHT))
        late = MIDNIGHT + HOUR + 5 * MINUTE + 1
        self.assertIsNone(scheduler.take(late))
        self.assertEqual(scheduler.jobs[0].missed, 1)
        self.assertEqual(
            run(scheduler, late, MIDNIGHT + 3 * HOUR - 1), [(1, 2 * HOUR - 5 * MINUTE - HOUR - 1)]
        )

    def test_just_within_the_deadline_runs(self):
        scheduler = Scheduler([Job(1, HOUR, 1, deadline_ms=5 * MINUTE)])
        self.assertIsNotNone(scheduler.take(MIDNIGHT))
        self.assertIsNotNone(scheduler.take(MIDNIGHT + HOUR + 5 * MINUTE))
        self.assertEqual(scheduler.jobs[0].missed, 0)

    def test_given_back_runs_once_more_in_its_slot(self):
        scheduler = Scheduler([Job(1, HOUR, 1), Job(2, HOUR, 2)])
        job = scheduler.take(MIDNIGHT)
        scheduler.give_back(job)
        self.assertIs(scheduler.take(MIDNIGHT + MINUTE), job)
        scheduler.give_back(job)
        self.assertEqual(scheduler.take(MIDNIGHT + 2 * MINUTE).kind, 2)
        self.assertIsNone(scheduler.take(MIDNIGHT + 3 * MINUTE))
        self.assertIs(scheduler.take(MIDNIGHT + HOUR), job)
        scheduler.give_back(job)
        self.assertIs(scheduler.take(MIDNIGHT + HOUR + MINUTE), job)

    def test_given_back_too_late_is_merged(self):
        scheduler = Scheduler([Job(1, HOUR, 1)])
        scheduler.give_back(scheduler.take(MIDNIGHT))
        self.assertIsNotNone(scheduler.take(MIDNIGHT + HOUR))
        self.assertIsNone(scheduler.take(MIDNIGHT + HOUR))


class TestClockJumps(unittest.TestCase):
    def setUp(self):
        self.scheduler = Scheduler([Job(1, 10 * SECOND, 3), Job(2, 15 * MINUTE, 2), Job(3, HOUR, 1)])
        run(self.scheduler, MIDNIGHT, MIDNIGHT + 2 * HOUR)
        self.now = MIDNIGHT + 2 * HOUR - 3 * SECOND

    def test_forward_runs_each_job_at_most_once(self):
        for jump in (11 * SECOND, 20 * MINUTE, 5 * HOUR, 300 * DAY):
            self.now += jump
            ran = run(self.scheduler, self.now, self.now + 1)
            self.assertTrue(len(ran) <= 3, ran)
            self.assertEqual(len(ran), len(set(ran)))
            self.assertIn((1, 0), ran)

    def test_backward_neither_bursts_nor_stalls(self):
        for jump in (SECOND, 4 * SECOND, MINUTE, 14 * MINUTE, 3 * HOUR, 300 * DAY):
            self.now -= jump
            back = self.now
            self.assertEqual(run(self.scheduler, back, back + 1), [], "ran again at once")
            ran = run(self.scheduler, back, back + 150 * MINUTE)
            for job in self.scheduler.jobs:
                times = [at for kind, at in ran if kind == job.kind]
                self.assertTrue(
                    times[0] <= 3 * job.interval_ms // 2, "%d ms without kind %d" % (times[0], job.kind)
                )
                gaps = [times[n] - times[n - 1] for n in range(1, len(times))]
                self.assertEqual(set(gaps) | {job.interval_ms}, {job.interval_ms})
            self.now = back + 150 * MINUTE

    def test_small_steps_around_a_slot_run_it_once(self):
        scheduler = Scheduler([Job(1, 15 * MINUTE, 1)])
        start = MIDNIGHT - SECOND
        scheduler.take(start)
        ran = 0
        for ms in (0, 10, -10, 400, -400, 2, -2, 20):
            ran += scheduler.take(MIDNIGHT + ms) is not None
        self.assertEqual(ran, 1)

    def test_a_board_that_learns_the_time(self):
        scheduler = Scheduler([Job(1, 15 * MINUTE, 1)])
        self.assertIsNotNone(scheduler.take(5 * SECOND))
        self.assertIsNone(scheduler.take(6 * SECOND))
        self.assertIsNotNone(scheduler.take(MIDNIGHT))
        self.assertEqual(scheduler.jobs[0].missed, 1)

    def test_waits_are_short_enough_to_notice_a_jump(self):
        scheduler = Scheduler([Job(1, DAY, 1)])
        scheduler.take(MIDNIGHT)
        self.assertEqual(scheduler.wait_ms(MIDNIGHT), 30 * SECOND)
        self.assertEqual(Scheduler([]).wait_ms(MIDNIGHT), 30 * SECOND)


class TestAnyDay(unittest.TestCase):
    """Seeded days on which the link is slow, the process stands still and the clock is set at random."""

    def setUp(self):
        self.seed = 1

    def draw(self, below):
        self.seed = (self.seed * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.seed >> 8) % below

    def test_no_day_has_bursts_or_holes(self):
        for seed in range(1, 31):
            self.seed = seed
            self.one_day()

    def one_day(self):
        jobs = [Job(1, 10 * SECOND, 3), Job(2, 15 * MINUTE, 2, 60 * SECOND), Job(3, HOUR, 1)]
        scheduler = Scheduler(jobs)
        utc = MIDNIGHT + self.draw(DAY)
        real = jumps = idle = 0
        ran = {1: [], 2: [], 3: []}
        while real < 6 * HOUR:
            step = 0
            job = scheduler.take(utc)
            if job is not None:
                ran[job.kind].append(real)
                step = 100 + self.draw(1500)
            else:
                step = scheduler.wait_ms(utc)
                assert 0 < step <= 30 * SECOND
            chance = self.draw(1600)
            if chance == 0:
                utc += (self.draw(8) - 4) * self.draw(2 * HOUR)
                jumps += 1
            elif chance == 1:
                step += self.draw(2 * MINUTE)
                idle = max(idle, step)
            utc += step
            real += step
        for job in jobs:
            times = ran[job.kind]
            self.assertTrue(
                len(times) <= 6 * HOUR // job.interval_ms + 2 + jumps, "a burst of kind %d" % job.kind
            )
            gaps = [times[n] - times[n - 1] for n in range(1, len(times))] + [real - times[-1]]
            # Each jump may cost the slot that it cut short; between two jumps nothing is left out.
            limit = 5 * job.interval_ms // 2 * (1 + jumps * (job.kind == 3)) + idle + MINUTE
            self.assertTrue(max(gaps) <= limit, "%d ms without kind %d" % (max(gaps), job.kind))


class TestSchedule(unittest.TestCase):
    def test_intervals_replace_and_zero_leaves_out(self):
        others = {row[0]: 0 for row in schedule.DEFAULT if row[0] > model.PRESENT}
        others.update({model.PRESENT: 2 * SECOND, model.CLOCK: 0})
        jobs = schedule.jobs(others)
        self.assertEqual(
            [(job.kind, job.interval_ms) for job in jobs],
            [(model.PRESENT, 2 * SECOND), (model.REGISTERS, 15 * MINUTE)],
        )

    def test_many_meters_do_not_ask_all_at_once(self):
        at = {}
        for place in range(300):
            for job in schedule.jobs(None, place):
                self.assertTrue(job.offset_ms <= 2 * MINUTE)
                at.setdefault(job.kind, []).append(job.offset_ms)
        for kind, width in ((model.ALARM, 3 * SECOND), (model.PRESENT, 10 * SECOND)):
            for begin in range(0, width, 100):
                near = [one for one in at[kind] if begin <= one < begin + 100]
                self.assertTrue(len(near) <= 2 + 300 * 100 // width, len(near))
        # A meter that is alone, and what belongs to a time, keeps to the clock.
        self.assertEqual({at[kind][0] for kind in (model.ALARM, model.PRESENT, model.EVENT)}, {0})
        self.assertEqual(set(at[model.REGISTERS]), {0})

    def test_the_default_is_within_what_the_guide_advises(self):
        reads = schedule.reads_in_an_hour({})
        self.assertTrue(reads <= 2 * schedule.READS_PER_HOUR // 3, reads)  # the rest is for what piled up
        self.assertTrue(schedule.reads_in_an_hour({model.PRESENT: SECOND}) > schedule.READS_PER_HOUR)
        self.assertEqual(schedule.reads_in_an_hour({row[0]: 0 for row in schedule.DEFAULT}), 0)

    def test_wrong_interval(self):
        self.assertRaises(ValueError, Job, 1, -5, 1)
