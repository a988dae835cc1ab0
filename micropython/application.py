"""The board's application: what it is doing and why, and everything that makes it do it.

It works when there is a configuration; without one, or with one that is wrong, or when somebody held the
button, it offers its set-up; after crashes in a row it is in safe mode: Wi-Fi, page and update only.
"""

import asyncio
import gc
import sys

import crashes
import lamp

from gateway import clock
from gateway._compat import TYPE_CHECKING, const, real_sleep_ms, real_wait_for_ms
from gateway.core.tasks import TaskGroup
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from typing import Any

    from progress_watch import ProgressWatch
    from timekeeper import Timekeeper
    from wifi import Station

    from gateway.core.gateway import Gateway
    from gateway.core.supervisor import Worker

# Collecting early keeps what stays together at the heap's beginning. Left to itself the interpreter collects
# when the heap is full, and what was loaded meanwhile stands scattered between garbage: then no kilobyte in a
# piece is left while tens are free.
_COLLECT_EVERY = const(4096)
# How long the start waits for network time before the meter's clock is taken.
_TIME_MS = const(20000)
# Safe mode ends by itself: what was wrong may have been outside.
_SAFE_MS = const(1800000)
# How often is looked whether all moves, and shown how it is, in steps of the lamp; how often the status on
# the broker tells of the board; how long a restart may take to make durable what was read.
_LOOK = const(120)
_SHOW = const(8)
_TELL_MS = const(600000)
_SYNC_MS = const(5000)
_LINES = const(24)
BUTTON = "the button was held"

WORKING = "working"
SET_UP = "set-up"
SAFE_MODE = "safe mode"


class Application:
    """`mode`: WORKING, SET_UP or SAFE_MODE. `reset`: why the board started, in words; `crashed`: how many
    starts before this one crashed in a row. `problems`: what is wrong with the configuration, "" for nothing.
    `station`, `time`, `watch`, `gateway`: None where the mode has none. `lines`: what was logged last, where
    a page is served.
    """

    def __init__(self, crashed: int, reset: str) -> None:
        self.mode = WORKING
        self.reset = reset
        self.crashed = crashed
        self.problems = ""
        self.station: Station | None = None
        self.gateway: Gateway | None = None
        self.lines: list[tuple[int, int, str, str]] | None = None  # number, UTC ms, level, text
        self._count = 0
        self._started_ms = clock.monotonic_ms()
        self.lamp: lamp.Lamp | None = None
        self.time: Timekeeper | None = None
        self.watch: ProgressWatch | None = None
        self._proven = False
        self._ending = False
        self._slot: dict[str, Any] = {}  # what runs, as slots.report has it
        self._told_ms: int | None = None

    def log(self, level: str, text: str) -> None:
        sys.stderr.write("%s %s\n" % (level, text))
        if self.lines is not None:
            self._count += 1
            self.lines.append((self._count, clock.utc_ms(), level, text))
            if len(self.lines) > _LINES:
                self.lines.pop(0)

    async def run(self) -> None:
        """Until cancelled. What is raised is a crash."""
        self.log("info", "starting: %s" % self.reset)
        report_s, page = self._start()
        async with TaskGroup() as group:
            group.spawn(self._step())
            if self.station is not None:
                group.spawn(self._keep_time())
            if self.gateway is not None:
                group.spawn(self._work(report_s))
            if page or self.mode == SET_UP:
                group.spawn(self._serve_page(page))

    def _start(self) -> "tuple[int, dict[str, Any] | None]":
        # No name of the modules may outlive this.
        import slots
        import starting

        self._slot = slots.report()
        try:
            return starting.start(self)
        finally:
            starting.forget()

    async def _work(self, report_s: int) -> None:
        gateway = self.gateway
        assert gateway is not None
        assert self.time is not None
        until = clock.monotonic_ms() + _TIME_MS
        while self.time.expected and clock.monotonic_ms() < until:
            await clock.sleep_ms(250)
        if report_s:
            from reports import run

            await run(self, gateway, report_s)
        else:
            await gateway.run()

    async def _serve_page(self, settings: "dict[str, Any] | None") -> None:
        """`settings`: of the configuration; None in set-up."""
        self.lines = []
        from page import serve

        await serve(self, settings)

    async def _keep_time(self) -> None:
        assert self.station is not None and self.time is not None
        while True:
            if self.station.connected:
                await self.time.ask()
            await clock.sleep_ms(1000)

    async def _step(self) -> None:
        """What hardware and people wait for: LED, button, watchdog, Wi-Fi. Their time is never scaled."""
        steps = 0
        assert self.lamp is not None
        while True:
            self.lamp.step()
            if self.lamp.held and self.mode != SET_UP:
                self.restart(BUTTON)
            if steps % 4 == 0:
                if self.station is not None:
                    self.station.step()
                self._look(steps % _LOOK == 0)
            if steps % _SHOW == 0 and self.gateway is not None:
                self._show(self.gateway)
            steps += 1
            await real_sleep_ms(lamp.STEP_MS)

    def _look(self, thoroughly: bool) -> None:
        """Every second; feeds the watchdog while all moves."""
        if self.mode == SAFE_MODE and self.uptime_ms() > _SAFE_MS:
            self.restart("safe mode has lasted half an hour")
        gateway = self.gateway
        if gateway is None:
            return
        if self.watch is not None:
            if thoroughly:
                self.watch.look(gateway.status())
            self.watch.feed()
        if not self._proven:
            self._prove(gateway)

    def _prove(self, gateway: "Gateway") -> None:
        if gateway.sender.acknowledged_ms is not None:
            import proof

            self._proven = True
            self._slot["state"] = "good"
            proof.prove(gateway)
            proof.forget()
        elif self._slot["state"] == "trial":
            import slots

            if slots.overdue(self.uptime_ms()):
                self.restart("the new version did not reach the broker in time")

    def _show(self, gateway: "Gateway") -> None:
        assert self.lamp is not None and self.station is not None
        if not self.station.connected:
            self.lamp.shows = lamp.NO_WIFI
        elif not _well(gateway.broker_worker):
            self.lamp.shows = lamp.NO_BROKER
        elif not all(_well(worker) for worker in gateway.supervisor.workers):
            self.lamp.shows = lamp.NO_METER
        else:
            self.lamp.shows = lamp.WELL
        now = clock.monotonic_ms()
        if self._told_ms is None or now - self._told_ms >= _TELL_MS:
            self._told_ms = now
            gateway.tell({"board": self.board()})

    def uptime_ms(self) -> int:
        return clock.monotonic_ms() - self._started_ms

    def board(self) -> "dict[str, Any]":
        """Of the board itself (docs/status.md)."""
        import esp32

        regions = esp32.idf_heap_info(esp32.HEAP_DATA)
        return {
            "mode": self.mode,
            "reset": self.reset,
            "crashes": self.crashed,
            "uptimeS": self.uptime_ms() // 1000,
            "heapFree": gc.mem_free(),  # type: ignore[attr-defined]
            "systemFree": sum([region[1] for region in regions]),
            "systemLeastFree": sum([region[3] for region in regions]),
        }

    def status(self) -> "dict[str, Any]":
        """How everything is: that of the gateway (docs/status.md), and of the board."""
        status: dict[str, Any] = {"nowMs": clock.utc_ms(), "monotonicMs": clock.monotonic_ms()}
        if self.gateway is not None:
            status = self.gateway.status()
        status["board"] = self.board()
        status["application"] = self._slot
        if self.problems:
            status["problems"] = self.problems
        if self.station is not None:
            status["wifi"] = self.station.status()
        if self.time is not None:
            status["time"] = self.time.status()
        return status

    def restart(self, why: str) -> None:
        """On purpose, as soon as what was read is durable."""
        if not self._ending:
            self._ending = True
            self.log("info", "restarting: %s" % why)
            asyncio.create_task(self._end(why))  # noqa: RUF006 - it ends everything

    async def _end(self, why: str) -> None:
        try:
            if self.gateway is not None:
                await clock.wait_for_ms(self.gateway.outbox.sync(), _SYNC_MS)
        except GatewayError:
            pass  # the meter keeps what it stores
        crashes.restart(why)


def _well(worker: "Worker") -> bool:
    return worker.state in ("working", "idle")


def run(crashed: int, reset: str) -> None:
    """Until Ctrl-C. What is raised is a crash."""
    gc.threshold(_COLLECT_EVERY)  # type: ignore[attr-defined]
    application = Application(crashed, reset)
    running: list[asyncio.Task[None] | None] = []
    ended = asyncio.Event()

    async def start() -> None:
        running.append(asyncio.current_task())
        try:
            await application.run()
        finally:
            ended.set()

    async def stop() -> None:
        if running[0]:
            running[0].cancel()
        await real_wait_for_ms(ended.wait(), 10000)

    try:
        asyncio.run(start())
    except KeyboardInterrupt:
        # MicroPython's loop keeps the tasks of a run that was interrupted; the next run goes on with them.
        asyncio.run(stop())
