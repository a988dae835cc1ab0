"""Feeds the service manager's watchdog with the gateway's progress, and keeps its status line.

What is progress says core/progress.py. When a part stands still the watchdog is not fed any more, and that
this runs at all shows that the event loop does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import clock
from ..core.progress import Progress
from .logs import log
from .notify import Notifier
from .status_text import headline

# Without a watchdog, how often the status line is looked at.
_LOOK_MS = 10_000

Status = dict[str, Any]


class Watchdog:
    """`status`: Gateway.status, as docs/status.md has it. `sync_ms`: how often the outbox is synced at least.

    `run` until cancelled. Tasks may pause for a minute by themselves (an idle port, a replaced meter), so
    the manager's interval has to be a few minutes; half of it is what a part may stand still.
    """

    def __init__(self, notifier: Notifier, status: Callable[[], Status], sync_ms: int) -> None:
        self._notifier = notifier
        self._status = status
        self._progress = Progress(sync_ms)
        self._hung: set[str] = set()

    async def run(self) -> None:
        # The manager's clock is not scaled as ours may be in tests.
        interval = self._notifier.watchdog_ms
        pause = _LOOK_MS if interval is None else min(interval * clock.scale() // 8, _LOOK_MS)
        while True:
            self.look()
            await clock.sleep_ms(pause)

    def look(self) -> bool:
        """Whether all moves; the manager is told."""
        status = self._status()
        self._notifier.status(headline(status))
        interval = self._notifier.watchdog_ms
        if interval is None:
            return True
        allowed = interval * clock.scale() // 2
        hung = set(self._progress.hung(status, allowed))
        for name in sorted(hung - self._hung):
            log(
                "error",
                f"{name}: has stood still for more than {allowed // 1000} s; until it moves the service "
                "manager is not told that all is well, and restarts the gateway",
            )
        self._hung = hung
        if not hung:
            self._notifier.alive()
        return not hung
