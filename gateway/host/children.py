"""Programs that the demo starts and ends, each in a session of its own: Ctrl-C reaches the demo only. A demo
that is killed takes them along (guarded.py)."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from ..errors import GatewayError

_END_S = 10
_TAIL_LINES = 5


class Child:
    """A running program; what it says goes to `log`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    async def ended(self) -> None:
        """Raises GatewayError when the program ends, which nobody asked for."""
        code = await self._process.wait()
        raise GatewayError(f"{self.name} ended by itself with {code}; it said: {self.tail()}")

    def tail(self) -> str:
        """The last lines of what the program said, indented."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n  ".join(["", *lines]) if lines else "nothing"

    async def stop(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _END_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


@contextlib.asynccontextmanager
async def running(name: str, module: str, arguments: Sequence[str], log: Path) -> AsyncIterator[Child]:
    """The module as a program for as long as the context lasts."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.host.guarded",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        await child.stop()
