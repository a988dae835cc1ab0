"""Runs named workers, each on its own: what fails is started again after a while, the rest goes on."""

import gc
import random

from .. import clock
from .._compat import TYPE_CHECKING, const, trace
from ..errors import GatewayError
from .tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Log = Callable[[str, str], None]  # level ("debug", "info", "warning", "error"), text
    Work = Callable[["Worker"], Awaitable[None]]

_FIRST_WAIT_MS = const(1000)
_LONGEST_WAIT_MS = const(30000)


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
        self._work = work
        self._log = log
        self._well_since: int | None = None  # monotonic

    def report(self, state: str, reason: str = "", level: str = "info") -> None:
        """The worker's own word on how it is; a change is logged, a repetition is not.

        "working" means that what failed before works again.
        """
        if state == "working" and self._well_since is None:
            self._well_since = clock.monotonic_ms()
        self._change(state, reason, level)

    def _change(self, state: str, reason: str, level: str) -> bool:
        if (state, reason) == (self.state, self.reason):
            return False
        self.state = state
        self.reason = reason
        self.since_ms = clock.utc_ms()
        self._log(level, "%s: %s" % (self.name, state + ": " + reason if reason else state))
        if self.on_change is not None:
            self.on_change()
        return True

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        try:
            news = self._change("failing", describe(error), "warning")
            if news and not isinstance(error, GatewayError):
                self._log("debug", trace(error))
        except MemoryError:
            # Words and traces take memory too; to go on without them beats ending everything.
            self.state = "failing"
            gc.collect()

    def status(self) -> "dict[str, Any]":
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "sinceMs": self.since_ms,
            "failures": self.failures,
        }

    async def run(self) -> None:
        """The work, again and again until it ends by itself or is cancelled.

        The wait grows from 1 s to 30 s, each time shortened by chance by up to a half so that many
        gateways do not come back in step. It starts over when the work went well for longer than the
        last wait. The state stays "failing" until the worker reports otherwise: `since_ms` says since
        when it has failed.
        """
        wait = 0
        while True:
            self._well_since = None
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
