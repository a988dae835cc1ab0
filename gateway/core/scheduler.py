"""What is due next on one link: a machine without I/O and without a clock, told the UTC time.

Each kind of reading is one job in slots aligned to the clock: slot n begins at n * interval + offset
milliseconds after 1970-01-01T00:00:00Z. A job is due from the begin of a slot until it has run for that
slot or its deadline has passed. Slots never queue up: after a long read, a lost link or a stopped
process only the slot that runs now counts, and the ones before it are merged into it.

The wall clock may jump. Forward is like having been busy: each job is due at most once. Backward, a
job that has just run for a slot now in the future waits for it when it is near, and else goes on with
the next slot of the new time: it neither runs again at once nor waits until the old time comes back.
"""

from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOK_AGAIN_MS = const(30000)


class Job:
    """One kind of reading on one link.

    `priority`: the lower goes first. `deadline_ms`: how long after its slot began a run is still worth
    it; beyond, the slot is skipped. `missed` counts the times that slots were skipped or merged.
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

    def give_back(self) -> None:
        if self._slot is not None and self._given_back != self._slot:
            self._given_back = self._slot
            self._slot -= 1


class Scheduler:
    """The jobs of one link."""

    def __init__(self, jobs: "Sequence[Job]") -> None:
        self.jobs = jobs

    def take(self, now_ms: int) -> "Job | None":
        """The most urgent job that is due, which counts as run from here on; None when none is due.

        Lower priority numbers first, then the nearest deadline, then the order of the jobs.
        """
        best: Job | None = None
        best_slot = best_end = 0
        for job in self.jobs:
            slot = job.due_slot(now_ms)
            if slot is None:
                continue
            end = job.starts_ms(slot) + job.deadline_ms
            if best is None or (job.priority, end) < (best.priority, best_end):
                best, best_slot, best_end = job, slot, end
        if best is not None:
            best.take(best_slot)
        return best

    def give_back(self, job: Job) -> None:
        """The job could not run for want of a link: its slot is due once more, but only once, so that
        a job that breaks the link each time can't keep the others from running."""
        job.give_back()

    def wait_ms(self, now_ms: int) -> int:
        """How long until `take` should be asked again: 0 when a job is due, and never longer than
        30 s, because the wall clock may jump meanwhile."""
        wait: int = _LOOK_AGAIN_MS
        for job in self.jobs:
            if job.due_slot(now_ms) is not None:
                return 0
            wait = min(wait, job.starts_ms(job.slot_at(now_ms) + 1) - now_ms)
        return wait
