"""Runs named workers, each on its own: what fails is started again after a while, the rest goes on."""

import gc
import random

from .. import clock
from .._compat import TYPE_CHECKING, const, trace
from ..errors import GatewayError, NoAnswer
from .tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Log = Callable[[str, str], None]  # level ("debug", "info", "warning", "error"), text
    Work = Callable[["Worker"], Awaitable[None]]

_FIRST_WAIT_MS = const(1000)
_LONGEST_WAIT_MS = const(30000)
# What flaps is told ten times, then once in ten minutes.
_LINES = const(10)
_LINE_MS = const(600000)
# So many different reasons are told of one trouble, which some errors word anew with each attempt.
_REASONS = const(4)


def describe(error: Exception) -> str:
    """What went wrong, in words for a status: our own errors speak for themselves."""
    text = str(error)
    if isinstance(error, GatewayError) and text:
        return text
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__


class Worker:
    """A name, what runs under it, and how it is.

    `state`: "starting", "working" (or a word of the worker's own), "failing" (it is started again
    after a wait) or "ended". `reason`: why, in words, "" where nothing needs saying. `since_ms`: UTC
    of the last change of either; `on_change` is called after each. `failures`: since the start.
    `turned_ms`: monotonic time of its last sign of life: an attempt that began or failed, or a report of its
    own, news or not. Whoever works for long reports again and again: a watchdog takes silence for a hang.
    """

    def __init__(
        self, name: str, work: "Work", log: "Log", on_change: "Callable[[], None] | None" = None
    ) -> None:
        self.name = name
        self.on_change = on_change
        self.state = "starting"
        self.reason = ""
        self.since_ms = clock.utc_ms()
        self.failures = 0
        self.turned_ms = clock.monotonic_ms()
        self._work = work
        self._log = log
        self._well_since: int | None = None  # monotonic
        self._told: list[int] = []  # hashes of what was logged since it last worked
        self._lines = _LINES
        self._lines_at = clock.monotonic_ms()
        self._untold = 0

    def report(self, state: str, reason: str = "", level: str = "info") -> None:
        """The worker's own word on how it is; a change is logged, a repetition is not.

        "working" means that what failed before works again.
        """
        self.turned_ms = clock.monotonic_ms()
        if state == "working":
            if self._well_since is None:
                self._well_since = self.turned_ms
            if self._told:
                self._told = []
        self._change(state, reason, level)

    def _change(self, state: str, reason: str, level: str) -> bool:
        """Whether that was logged."""
        if (state, reason) == (self.state, self.reason):
            return False
        if state != self.state:
            self.since_ms = clock.utc_ms()
        self.state = state
        self.reason = reason
        told = self._tell(level, "%s: %s" % (self.name, state + ": " + reason if reason else state))
        if self.on_change is not None:
            self.on_change()
        return told

    def _tell(self, level: str, text: str) -> bool:
        """Log it, unless it was logged since all was well, or too much is. Whether it was."""
        now = clock.monotonic_ms()
        earned = min((now - self._lines_at) // _LINE_MS, _LINES - self._lines)
        self._lines += earned
        self._lines_at = now if self._lines == _LINES else self._lines_at + earned * _LINE_MS
        # Whoever is silent is so whatever he was asked.
        what = hash(self.state if self.state == NoAnswer.state else text)
        if what in self._told or len(self._told) >= _REASONS:
            return False
        if not self._lines:
            self._untold += 1
            return False
        self._told.append(what)
        self._lines -= 1
        if self._untold:
            text += " (%d changes before were not logged)" % self._untold
            self._untold = 0
        if not self._lines:
            text += " (it changes too often: more in 10 minutes)"
        self._log(level, text)
        return True

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        self.turned_ms = clock.monotonic_ms()
        state = error.state if isinstance(error, GatewayError) else "failing"
        try:
            told = self._change(state, describe(error), "warning")
            if told and not isinstance(error, GatewayError):
                self._log("debug", trace(error))
        except MemoryError:
            # Words and traces take memory too; to go on without them beats ending everything.
            self.state = state
            gc.collect()

    def status(self) -> "dict[str, Any]":
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "sinceMs": self.since_ms,
            "failures": self.failures,
            "turnedAtMs": self.turned_ms,
        }

    async def run(self) -> None:
        """The work, again and again until it ends by itself or is cancelled.

        The wait grows from 1 s to 30 s, each time shortened by chance by up to a half so that many
        gateways do not come back in step. It starts over when the work went well for longer than the
        last wait. The state stays that of the error until the worker reports otherwise: `since_ms` says
        since when it has failed.
        """
        wait = 0
        while True:
            self._well_since = None
            self.turned_ms = clock.monotonic_ms()
            try:
                await self._work(self)
            except Exception as error:
                self._fail(error)
            else:
                self._change("ended", "", "info")
                return
            if self._well_since is not None and clock.monotonic_ms() - self._well_since > wait:
                wait = 0
            wait = min(max(wait * 2, _FIRST_WAIT_MS), _LONGEST_WAIT_MS)
            await clock.sleep_ms(wait - random.getrandbits(16) * wait // 2 // 65536)


class Supervisor:
    """The workers; `run` them all until cancelled."""

    def __init__(self, log: "Log") -> None:
        self.workers: list[Worker] = []
        self._log = log

    def add(self, name: str, work: "Work") -> Worker:
        """`work(worker)` is awaited when `run` starts; it says how it is with `worker.report`."""
        worker = Worker(name, work, self._log)
        self.workers.append(worker)
        return worker

    async def run(self) -> None:
        async with TaskGroup() as group:
            for worker in self.workers:
                group.spawn(worker.run())

    def states(self) -> "list[dict[str, Any]]":
        """For status output, in the order of adding."""
        return [worker.status() for worker in self.workers]
