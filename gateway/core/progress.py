"""Whether all that the gateway does moves: what a watchdog is fed with, on Linux and on a board.

A restart cures a task that hangs, not a broken cable. So each part counts as alive while it moves: a meter's
task that reads, waits for its time or tries again (`turnedAtMs`, `answeredAtMs` in docs/status.md); a
publisher that brings what waits, or has nothing to bring; an outbox that syncs.
"""

from .._compat import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class Progress:
    """`sync_ms`: how often the outbox is synced at least. Tasks may pause for a minute by themselves (an idle
    port, a replaced meter), so what a part may stand still has to be more."""

    def __init__(self, sync_ms: int) -> None:
        self._sync_ms = sync_ms
        self._moved: dict[str, tuple[int, int]] = {}  # by part: its last sign, and when it was seen first

    def hung(self, status: "dict[str, Any]", allowed_ms: int) -> "list[str]":
        """The parts that have stood still for longer than that, sorted. `status`: of Gateway.status; to be
        called several times within `allowed_ms`."""
        now = status["monotonicMs"]
        found: list[str] = []
        for meter in status["meters"]:
            sign = None if meter["state"] == "ended" else max(meter["turnedAtMs"], meter["answeredAtMs"] or 0)
            self._judge(found, "meter " + meter["name"], sign, now, allowed_ms)
        broker, outbox, local = status["broker"], status["outbox"], status.get("local")
        resting = broker["state"] == "working" and not outbox["waiting"]
        sign = None if resting else max(broker["turnedAtMs"], broker["acknowledgedAtMs"] or 0)
        self._judge(found, "broker", sign, now, allowed_ms)
        if local is not None:  # it waits for adapters, which may be silent
            at_work = local["state"] in ("working", "full")
            self._judge(found, "local broker", None if at_work else local["turnedAtMs"], now, allowed_ms)
        self._judge(found, "outbox", outbox["turnedAtMs"], now, allowed_ms + self._sync_ms)
        return sorted(found)

    def _judge(self, found: "list[str]", name: str, sign: "int | None", now: int, allowed_ms: int) -> None:
        """`sign`: None where none is expected."""
        if sign is None:
            self._moved.pop(name, None)
            return
        known = self._moved.get(name)
        if known is None or known[0] != sign:
            known = self._moved[name] = sign, now
        if now - known[1] > allowed_ms:
            found.append(name)
