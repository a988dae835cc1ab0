"""The hardware watchdog, fed with the gateway's progress."""

import crashes
import machine

from gateway import clock
from gateway._compat import TYPE_CHECKING
from gateway.core.progress import Progress

if TYPE_CHECKING:
    from typing import Any


class ProgressWatch:
    """Armed from its making on, for good: only a reset ends it. `seconds`: until it bites; half of that is
    what a part of the gateway may stand still."""

    def __init__(self, seconds: int, sync_ms: int) -> None:
        self._allowed_ms = 500 * seconds * clock.scale()
        self._progress = Progress(sync_ms)
        self._hung: list[str] = []
        self._hardware: Any = machine.WDT(timeout=1000 * seconds)

    def look(self, status: "dict[str, Any]") -> None:
        """`status`: Gateway.status; every ten seconds or so."""
        hung = self._progress.hung(status, self._allowed_ms)
        if hung and not self._hung:
            # Now, since nothing can be written down once the watchdog bites.
            crashes.note("stood still: %s" % ", ".join(hung))
        self._hung = hung

    def feed(self) -> None:
        """While all moves. That this is called shows that the event loop does."""
        if not self._hung:
            self._hardware.feed()
