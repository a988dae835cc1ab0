"""A board with power, as tests on CPython see it: it starts again when it is reset."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.interpreter import ROOT, micropython
from tests.patience import PATIENCE_S

WDT_RESET = b"3"
_LOOK_S = 0.1


class Board:
    """`application`: a directory with its bytecode. `root`: of the board's file system; `starts`: since power
    came first; `said`: what it wrote on its console, by lines. `watchdog_s`: how long it may be left unfed,
    whatever it was set to; None: no watchdog is there.
    """

    def __init__(self, directory: Path, application: Path, profile: str = "generic-esp32") -> None:
        self.root = directory / "flash"
        self.hardware = directory / "hardware"
        self.line = directory / "line"
        self.starts = 0
        self.said: list[str] = []
        self.watchdog_s: float | None = None
        self.process: asyncio.subprocess.Process | None = None
        self._application = application
        self._new = asyncio.Event()
        self._seen = 0
        self._tasks: list[asyncio.Task[None]] = []
        (self.root / "config").mkdir(parents=True)
        self.hardware.mkdir()
        for name in ("boot.py", "main.py"):
            shutil.copy(ROOT / "micropython" / name, self.root)
        shutil.copy(ROOT / f"micropython/boards/{profile}.json", self.root / "config/profile.json")

    def install(self, settings: dict[str, Any], **secrets: str) -> None:
        """The configuration, and files beside it."""
        (self.root / "config/board.json").write_text(json.dumps(settings))
        for name, content in secrets.items():
            file = self.root / "config" / name
            file.write_text(content + "\n")
            file.chmod(0o600)

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
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    while self._seen < len(self.said):
                        self._seen += 1
                        if text in self.said[self._seen - 1]:
                            return self.said[self._seen - 1]
                    self._new.clear()
                    await self._new.wait()
        except TimeoutError:
            pytest.fail(f"the board did not say {text!r} but\n" + "\n".join(self.said))

    def power_on(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.hardware / "reset_cause").unlink()
            (self.hardware / "rtc").unlink()
        self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._watch())]

    async def power_off(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def __aenter__(self) -> "Board":
        self.power_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.power_off()

    async def _live(self) -> None:
        environment = {
            **os.environ,
            "OSGP_BOARD": str(self.hardware),
            "OSGP_UART": str(self.line),
            "OSGP_APPLICATION": str(self._application),
        }
        while True:
            (self.hardware / "wdt").unlink(missing_ok=True)
            self.starts += 1
            self.process = await asyncio.create_subprocess_exec(
                micropython(),
                "-X",
                "heapsize=2M",
                str(ROOT / "tests/board_hardware/firmware.py"),
                cwd=self.root,
                env=environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                umask=0o077,
            )
            assert self.process.stderr
            async for line in self.process.stderr:
                self.said.append(line.decode().rstrip())
                self._new.set()
            await self.process.wait()
            if self.process.returncode != -signal.SIGKILL:
                return  # its program has ended, for the console

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
