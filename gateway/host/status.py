"""The gateway's whole status on Linux (docs/status.md): what a board tells too, and what is more."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

from .. import clock
from ..core.gateway import Gateway
from ..core.outbox import Outbox

_LOOK_MS = 10_000


def version() -> str:
    """Of the installed program."""
    try:
        return importlib.metadata.version("osgp-gateway")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


class WholeStatus:
    """Call it for the status; `run`, beside the gateway, keeps an eye on how long frames wait."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._program = {"version": version(), "startedMs": clock.utc_ms()}
        self._waiting = _Waiting()

    async def run(self) -> None:
        while True:
            await clock.sleep_ms(_LOOK_MS)
            self._look()

    def __call__(self) -> dict[str, Any]:
        frames, oldest = self._look()
        status = self._gateway.status()
        status["program"] = self._program
        status["outbox"]["pendingFrames"] = frames
        status["outbox"]["oldestMs"] = oldest
        custody = self._gateway.sender.custody
        status["broker"]["refusedReceipts"] = custody.refused + custody.mismatched
        status["broker"]["rewinds"] = custody.rewinds
        problems = list(_problems(status))
        status["healthy"] = not problems
        status["problems"] = problems
        return status

    def _look(self) -> tuple[int, int | None]:
        return self._waiting.look(self._gateway.outbox)


class _Waiting:
    """How many frames wait to be receipted, and since when (UTC) the oldest of them does, at the earliest.

    Frames carry no time of their own. So for each stream two marks follow the oldest that waits: numbers, and
    when they were the next to come. With that, the time is right to the pace of looking and to the time that
    receipts take; of frames from before the start it is the start.
    """

    def __init__(self) -> None:
        self._looked = clock.utc_ms()
        self._marks: dict[tuple[bytes, int, int], list[tuple[int, int]]] = {}

    def look(self, outbox: Outbox) -> tuple[int, int | None]:
        now = clock.utc_ms()
        frames = 0
        marks: dict[tuple[bytes, int, int], list[tuple[int, int]]] = {}
        for meter in outbox.known_meters():
            for cls, epoch in outbox.streams(meter):
                runs = outbox.runs(meter, cls, epoch)
                frames += sum(last - first + 1 for first, last in runs)
                upcoming = runs[-1][1] + 1, now
                known = self._marks.get((meter, cls, epoch), [(0, self._looked), (runs[0][0], self._looked)])
                marks[(meter, cls, epoch)] = known if runs[0][0] < known[1][0] else [known[1], upcoming]
        self._marks = marks
        self._looked = now
        return frames, min((one[0][1] for one in marks.values()), default=None)


def _problems(status: dict[str, Any]) -> Iterator[str]:
    """What a person should look after, a line for each."""
    for meter in status["meters"]:
        name = meter["name"]
        if meter["state"] not in ("starting", "working", "idle"):
            yield f"{name}: {meter['state']}: {meter['reason']}"
            continue
        stale = [kind for kind, one in meter["kinds"].items() if one["staleMs"] is not None]
        if stale and meter["state"] != "idle":
            yield f"{name}: stale: {', '.join(stale)}"
    for what in ("broker", "local", "outbox"):
        one = status.get(what)
        if one is not None and (one["state"] not in ("starting", "working") or one["reason"]):
            yield ": ".join(part for part in (what, one["state"], one["reason"]) if part)
