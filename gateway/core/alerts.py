"""When to look at a meter's alert: a machine without I/O and without a clock, told the time."""

from .._compat import const

# An alert comes once a second while something waits, so this much quiet means that it has ended.
_ENDED_MS = const(10000)
_SERVED_MS = const(2000)
_FIRST_MS = const(4000)
_LONGEST_MS = const(900000)


class AlertGate:
    """Lets the first alert pass at once, those that follow a served one soon, and those that nobody can
    end ever more seldom, so that they do not disturb the rest. Times are monotonic milliseconds.

    `longest_ms`: the longest pause between two looks at the latter; None: a quarter of an hour. `seen`:
    alerts since the start. `passed`: how often they were looked at.
    """

    def __init__(self, longest_ms: "int | None" = None) -> None:
        self.longest_ms = longest_ms
        self.seen = 0
        self.passed = 0
        self._waiting = False
        self._last_ms: int | None = None
        self._not_before_ms: int | None = None
        self._pause_ms = 0

    def raised(self, now_ms: int) -> None:
        self.seen += 1
        self._waiting = True
        if self._last_ms is None or now_ms - self._last_ms > _ENDED_MS:
            self._not_before_ms = None
            self._pause_ms = 0
        self._last_ms = now_ms

    def wait_ms(self, now_ms: int, spare_in_ms: int = 0) -> "int | None":
        """How long until the alert should be looked at; None when there is none. Only the first one goes
        ahead of the time `spare_in_ms` when there is capacity to spare."""
        if not self._waiting:
            return None
        if self._not_before_ms is None:
            return 0
        return max(self._not_before_ms - now_ms, spare_in_ms)

    def handled(self, now_ms: int, served: bool) -> None:
        """It was looked at; `served`: something was done about it."""
        self.passed += 1
        self._waiting = False
        self._pause_ms = (
            _SERVED_MS if served else min(max(2 * self._pause_ms, _FIRST_MS), self.longest_ms or _LONGEST_MS)
        )
        self._not_before_ms = now_ms + self._pause_ms
