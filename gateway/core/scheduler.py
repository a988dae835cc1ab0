"""What is due next on one link: a machine without I/O and without a clock, told the UTC time.

Each kind of reading is one job in slots aligned to the clock: slot n begins at n * interval + offset
milliseconds after 1970-01-01T00:00:00Z. A job is due from the begin of a slot until it has run for that
slot or its deadline has passed. Slots never queue up: after a long read, a lost link or a stopped
process only the slot that runs now counts, and the ones before it are merged into it.

The wall clock may jump. Forward is like having been busy: each job is due at most once. Backward, a
job that has just run for a slot now in the future waits for it when it is near, and else goes on with
the next slot of the new time: it neither runs again at once nor waits until the old time comes back.

A job that reads step by step (a backfill) may have more to do after a step. It then goes on whenever no
slot of another job is due, in turns with others of its kind. A job that has not run for many turns goes
first, so that what is rare is punctual and a busy link never stops anything altogether.
"""

from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOK_AGAIN_MS = const(30000)
_OVERTAKEN = const(16)  # turns


class Job:
    """One kind of reading on one link.

    `priority`: the lower goes first. `deadline_ms`: how long after its slot began a run is still worth
    it; beyond, the slot is skipped. `missed` counts the times that slots were skipped or merged.
    `more_ms`: a step has left more to read, from this time on; None: it has not. Who runs the job says so.
    """

    def __init__(
        self, kind: int, interval_ms: int, priority: int, offset_ms: int = 0, deadline_ms: "int | None" = None
    ) -> None:
        if interval_ms < 1:
            raise ValueError("a job's interval is at least 1 ms")
        self.kind = kind
        self.interval_ms = interval_ms
        self.priority = priority
        self.offset_ms = offset_ms
        self.deadline_ms = interval_ms if deadline_ms is None else deadline_ms
        self.missed = 0
        self.more_ms: int | None = None
        self.turn = 0  # of the scheduler, at the last run
        self._slot: int | None = None  # the last one taken or skipped
        self._given_back: int | None = None

    def starts_ms(self, slot: int) -> int:
        return slot * self.interval_ms + self.offset_ms

    def slot_at(self, now_ms: int) -> int:
        return (now_ms - self.offset_ms) // self.interval_ms

    def due_slot(self, now_ms: int) -> "int | None":
        """The slot this job is due for, or None; skips what came too late."""
        slot = self.slot_at(now_ms)
        if self._slot is not None:
            if slot < self._slot and self.starts_ms(self._slot) - now_ms > self.interval_ms // 2:
                self._slot = slot  # the clock was set back
            if slot <= self._slot:
                return None
        if now_ms - self.starts_ms(slot) > self.deadline_ms:
            if self._slot is not None:
                self.missed += 1
            self._slot = slot
            return None
        return slot

    def take(self, slot: int) -> None:
        if self._slot is not None and slot > self._slot + 1:
            self.missed += 1
        self._slot = slot

    def set_interval(self, interval_ms: int, now_ms: int) -> None:
        """Another rhythm from here on; the slot that runs now counts as run."""
        if interval_ms != self.interval_ms:
            self.interval_ms = self.deadline_ms = interval_ms
            self._slot = self.slot_at(now_ms)
            self._given_back = None

    def give_back(self) -> None:
        if self._slot is not None and self._given_back != self._slot:
            self._given_back = self._slot
            self._slot -= 1


class Scheduler:
    """The jobs of one link."""

    def __init__(self, jobs: "Sequence[Job]") -> None:
        self.jobs = jobs
        self._turn = 0

    def take(self, now_ms: int, spare: bool = True) -> "Job | None":
        """The most urgent job that is due, which counts as run from here on; None when none is due.

        Those that have not run for many turns first, then lower priority numbers, then the nearest deadline,
        then the order of the jobs; then, if there is capacity to `spare`, those that have more to read.
        """
        best: Job | None = None
        best_slot: int | None = None
        best_rank = (0, 0, 0)
        self._turn += 1
        for job in self.jobs:
            slot = job.due_slot(now_ms)
            if slot is None and not (spare and job.more_ms is not None and job.more_ms <= now_ms):
                continue
            if self._turn - job.turn > _OVERTAKEN:
                rank = (0, job.priority, job.turn)
            elif slot is not None:
                rank = (1, job.priority, job.starts_ms(slot) + job.deadline_ms)
            else:
                rank = (2, job.turn, 0)
            if best is None or rank < best_rank:
                best, best_slot, best_rank = job, slot, rank
        if best is not None:
            best.turn = self._turn
            if best_slot is not None:
                best.take(best_slot)
        return best

    def take_urgent(self, now_ms: int, above: int, below: int) -> "Job | None":
        """Likewise of the jobs with priority numbers between these, the lowest number; for what may run while
        another job does. It takes no turn."""
        best: Job | None = None
        for job in self.jobs:
            nearer = above < job.priority < below and (best is None or job.priority < best.priority)
            if nearer and job.due_slot(now_ms) is not None:
                best = job
        if best is not None:
            slot = best.due_slot(now_ms)
            assert slot is not None
            best.turn = self._turn
            best.take(slot)
        return best

    def give_back(self, job: Job) -> None:
        """The job could not run for want of a link: its slot is due once more, but only once, so that
        a job that breaks the link each time can't keep the others from running."""
        job.give_back()

    def wait_ms(self, now_ms: int, spare_in_ms: int = 0) -> int:
        """How long until `take` should be asked again: 0 when a job is due, and never longer than
        30 s, because the wall clock may jump meanwhile. `spare_in_ms`: when there will be capacity for
        those that have more to read."""
        wait: int = _LOOK_AGAIN_MS
        for job in self.jobs:
            if job.due_slot(now_ms) is not None:
                return 0
            if job.more_ms is not None:
                wait = min(wait, max(job.more_ms - now_ms, spare_in_ms))
            wait = min(wait, job.starts_ms(job.slot_at(now_ms) + 1) - now_ms)
        return wait
