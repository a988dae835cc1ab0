"""The default schedule: what is read how often, as data in one place."""

from .._compat import TYPE_CHECKING, const
from ..transmission import model
from .scheduler import Job

if TYPE_CHECKING:
    from collections.abc import Mapping

# Priorities: the lower goes first, and what is below OVERTAKEN goes ahead of what is being read with a higher
# one, at its next message. ASKED: what the meter's alerts or people ask for.
ASKED = const(20)
OVERTAKEN = const(40)

# Kind, interval and offset in ms, priority, and how many messages one run takes when nothing has piled up
# (firmware 4.30). At the start what is live goes first; later on what is rare is
# punctual (scheduler.py). A load profile's interval is the meter's own where it tells one; its offset leaves
# the meter a minute to store an interval that has ended. A run's deadline is the begin of the next interval.
DEFAULT = (
    (model.ALARM, 3 * 1000, 0, 10, 1),
    (model.PRESENT, 10 * 1000, 0, 30, 1),
    (model.REGISTERS, 15 * 60 * 1000, 0, 40, 2),
    (model.CLOCK, 60 * 60 * 1000, 0, 45, 3),
    (model.LOAD_PROFILE, 15 * 60 * 1000, 60 * 1000, 50, 5),
    (model.EVENT, 60 * 1000, 0, 60, 3),
    (model.MBUS, 60 * 60 * 1000, 0, 70, 16),
    (model.SELF_READ, 24 * 60 * 60 * 1000, 0, 80, 4),
)

# The guide advises one read a second on average (MEP guide, chapter 3).
READS_PER_HOUR = 3600


# What need not come at the full minute is read somewhat later, up to a minute, by each further meter of a
# process: many do not ask all at once.
_SPREAD = (model.ALARM, model.PRESENT, model.EVENT, model.MBUS, model.SELF_READ)
_SPREAD_MS = const(60 * 1000)


def jobs(intervals_ms: "Mapping[int, int] | None" = None, place: int = 0) -> list[Job]:
    """The jobs of one meter: the default schedule with other intervals by kind; 0 leaves a kind out.
    `place`: of the meter among those of the process."""
    changed = intervals_ms or {}
    # Thousandths, whose multiples lie evenly however many there are.
    share = place * 618 % 1000
    made = []
    for kind, default, offset, priority, _ in DEFAULT:
        interval = changed.get(kind, default)
        if interval:
            later = share * min(interval, _SPREAD_MS) // 1000 if kind in _SPREAD else 0
            made.append(Job(kind, interval, priority, offset + later))
    return made


def reads_in_an_hour(intervals_ms: "Mapping[int, int]") -> int:
    """How many messages the schedule takes in an hour; what has piled up is read in what is left."""
    reads = 0
    for kind, interval, _, _, messages in DEFAULT:
        every = intervals_ms.get(kind, interval)
        if every:
            reads += messages * 3600000 // every
    return reads
