"""The default schedule: what is read how often, as data in one place."""

from .._compat import TYPE_CHECKING
from ..transmission import model
from .scheduler import Job

if TYPE_CHECKING:
    from collections.abc import Mapping

# Kind, interval in ms, priority. The rarer goes first, so that a slow link never starves it.
DEFAULT = (
    (model.REGISTERS, 15 * 60 * 1000, 10),
    (model.CLOCK, 60 * 60 * 1000, 20),
    (model.PRESENT, 10 * 1000, 30),
)

# The guide advises one read a second on average (MEP guide, chapter 3).
READS_PER_HOUR = 3600


def jobs(intervals_ms: "Mapping[int, int] | None" = None) -> list[Job]:
    """The jobs of one meter: the default schedule with other intervals by kind; 0 leaves a kind out."""
    changed = intervals_ms or {}
    return [
        Job(kind, changed.get(kind, interval), priority)
        for kind, interval, priority in DEFAULT
        if changed.get(kind, interval)
    ]
