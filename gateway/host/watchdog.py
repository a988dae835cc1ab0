"""Feeds the service manager's watchdog with the gateway's progress, and keeps its status line.

A restart cures a task that hangs, not a broken cable. So each part counts as alive while it moves: a meter's
task that reads, waits for its time or tries again (`turnedAtMs`, `answeredAtMs` in docs/status.md); a
publisher that brings what waits, or has nothing to bring; an outbox that syncs. When one of them stands still
the watchdog is not fed any more, and that this runs at all shows that the event loop does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import clock
from .logs import log
from .notify import Notifier
from .status_text import headline

# Without a watchdog, how often the status line is looked at.
_LOOK_MS = 10_000
# How long a concentrator waits for adapters that have nothing to say.
_ADAPTERS_MS = 60_000

Status = dict[str, Any]


class Watchdog:
    """`status`: Gateway.status, as docs/status.md has it. `sync_ms`: how often the outbox is synced at least.

    `run` until cancelled. Tasks may pause for a minute by themselves (an idle port, a replaced meter), so
    the manager's interval has to be a few minutes; half of it is what a part may stand still.
    """

    def __init__(self, notifier: Notifier, status: Callable[[], Status], sync_ms: int) -> None:
        self._notifier = notifier
        self._status = status
        self._sync_ms = sync_ms
        self._moved: dict[str, tuple[int, int]] = {}  # by part: its last sign, and when it was seen first
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
        now = status["monotonicMs"]
        allowed = interval * clock.scale() // 2
        hung = {
            name
            for name, (sign, more) in _signs(status, self._sync_ms).items()
            if now - self._since(name, sign, now) > allowed + more
        }
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

    def _since(self, name: str, sign: int | None, now: int) -> int:
        """Since when a part has given no other sign; `now` where none is expected."""
        if sign is None:
            self._moved.pop(name, None)
            return now
        known = self._moved.get(name)
        if known is None or known[0] != sign:
            self._moved[name] = sign, now
        return self._moved[name][1]


def _signs(status: Status, sync_ms: int) -> dict[str, tuple[int | None, int]]:
    """By part: its last sign of life (monotonic; None where none is expected), and how long it may pause by
    itself besides."""
    signs: dict[str, tuple[int | None, int]] = {}
    for meter in status["meters"]:
        sign = max(meter["turnedAtMs"], meter["answeredAtMs"] or 0)
        signs[f"meter {meter['name']}"] = None if meter["state"] == "ended" else sign, 0
    broker, outbox = status["broker"], status["outbox"]
    resting = broker["state"] == "working" and not outbox["waiting"]
    signs["broker"] = None if resting else max(broker["turnedAtMs"], broker["acknowledgedAtMs"] or 0), 0
    if "local" in status:
        signs["local broker"] = status["local"]["turnedAtMs"], _ADAPTERS_MS
    signs["outbox"] = outbox["turnedAtMs"], sync_ms
    local = status.get("local")
    if local is not None:  # it waits for adapters, which may be silent
        at_work = local["state"] in ("working", "full")
        signs["local broker"] = None if at_work else local["turnedAtMs"], 0
    return signs
