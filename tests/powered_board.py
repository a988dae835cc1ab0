"""A board with power, as tests see it: starts again when it is reset, and does what hardware does."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.patience import PATIENCE_S

WDT_RESET = b"3"
_LOOK_S = 0.1
# What does not outlive the power.
_VOLATILE = ("reset_cause", "rtc", "wdt", "power", "freq")

_Found = TypeVar("_Found")


class PoweredBoard:
    """`hardware`: what the stand-ins read and write (tests/board_hardware/world.py); `line`: to the meter.
    `starts`: since power came first; `said`: what it wrote on its console, by lines. `watchdog_s`: how long
    it may be left unfed, whatever it was set to; None: no watchdog is there. `environment`: of its
    next starts.
    """

    def __init__(self, directory: Path) -> None:
        self.hardware = directory / "hardware"
        self.line = directory / "line"
        self.starts = 0
        self.said: list[str] = []
        self.watchdog_s: float | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.environment: dict[str, str] = {}
        self._new = asyncio.Event()
        self._seen = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.hardware.mkdir(exist_ok=True)

    def command(self) -> tuple[tuple[str, ...], Path]:
        """What stands for a start of its firmware, and the directory for that."""
        raise NotImplementedError

    def world(self, name: str, content: object) -> None:
        """What is around the board is so from now on (world.py)."""
        new = self.hardware / (name + ".new")
        new.write_text(content if isinstance(content, str) else json.dumps(content))
        new.rename(self.hardware / name)

    def record(self) -> list[str]:
        """What the board did with its hardware."""
        lines = (self.hardware / "record").read_text().splitlines()
        return [line.split(" ", 1)[1] for line in lines]

    async def says(self, text: str) -> str:
        """The next line with that text in it, of those that were not yet looked at."""

        async def look() -> str | None:
            while self._seen < len(self.said):
                self._seen += 1
                if text in self.said[self._seen - 1]:
                    return self.said[self._seen - 1]
            return None

        return await self.until(look, f"the board says {text!r}")

    async def until(self, look: Callable[[], Awaitable[_Found | None]], what: str) -> _Found:
        """What `look` gives once that is something; fails with what the board said when nothing comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while (found := await look()) is None:
                    self._new.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._new.wait(), _LOOK_S)
                return found
        pytest.fail(f"waited for: {what}; the board said\n" + "\n".join(self.said[-100:]))

    def power_on(self) -> None:
        for name in _VOLATILE:
            (self.hardware / name).unlink(missing_ok=True)
        self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._watch())]

    async def power_off(self) -> None:
        """Here and now, whatever it is doing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def dead(self) -> None:
        """Until it has lost its power, or its program has ended for the console."""
        await asyncio.wait_for(self._tasks[0], PATIENCE_S)
        await self.power_off()

    def cpu_s(self) -> float:
        """Of the processor, that this start has used so far."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    async def __aenter__(self) -> "PoweredBoard":
        self.power_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.power_off()

    async def _live(self) -> None:
        while True:
            (self.hardware / "wdt").unlink(missing_ok=True)
            self.starts += 1
            command, directory = self.command()
            self.process = await asyncio.create_subprocess_exec(
                *command,
                cwd=directory,
                env={**os.environ, "OSGP_BOARD": str(self.hardware), "OSGP_UART": str(self.line)}
                | self.environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                umask=0o077,
            )
            assert self.process.stderr
            async for line in self.process.stderr:
                self.said.append(line.decode(errors="replace").rstrip())
                self._new.set()
            await self.process.wait()
            if self.process.returncode != -signal.SIGKILL or (self.hardware / "power").exists():
                return

    async def _watch(self) -> None:
        """The hardware watchdog."""
        while True:
            await asyncio.sleep(_LOOK_S)
            fed = self.hardware / "wdt"
            if self.watchdog_s is None or not fed.exists() or self.process is None:
                continue
            age = asyncio.get_running_loop().time() - self._since(fed.stat().st_mtime_ns)
            if age > self.watchdog_s:
                (self.hardware / "reset_cause").write_bytes(WDT_RESET)
                self._fed = None
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()

    _fed: tuple[int, float] | None = None

    def _since(self, stamp: int) -> float:
        if self._fed is None or self._fed[0] != stamp:
            self._fed = stamp, asyncio.get_running_loop().time()
        return self._fed[1]
