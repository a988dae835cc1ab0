"""What unix_main runs: the gateway, its reports, and an orderly end."""

import asyncio
import gc
import json
import sys

from gateway import clock
from gateway._compat import TYPE_CHECKING
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from typing import Any

    from gateway.core.gateway import Gateway


def log(level: str, text: str) -> None:
    sys.stderr.write("%s %s\n" % (level, text))


def make(path: str) -> "tuple[Gateway, int, int]":
    from unix_config import make

    made = make(path, log)
    for name in ("unix_config", "mep_config", "optical_config"):
        sys.modules.pop(name, None)
    return made


def report(gateway: "Gateway", started_ms: int) -> None:
    gc.collect()
    alive = gc.mem_alloc()  # type: ignore[attr-defined]
    said: dict[str, Any] = {
        "seconds": (clock.monotonic_ms() - started_ms) // 1000,
        "heapBytes": alive,
        "heapFree": gc.mem_free(),  # type: ignore[attr-defined]
    }
    said.update(gateway.status())
    print(json.dumps(said))


async def run(path: str) -> None:
    gateway, seconds, step = make(path)
    started_ms = clock.monotonic_ms()
    running = asyncio.create_task(gateway.run())
    left = seconds
    try:
        while not running.done() and (left > 0 or not seconds):
            await clock.sleep_ms(1000 * (min(step, left) if seconds else step))
            left -= step
            report(gateway, started_ms)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        report(gateway, started_ms)


def serve(path: str) -> int:
    """Until the configured seconds are over, or Ctrl-C; the exit code."""
    tasks: list[asyncio.Task[None] | None] = []
    ended = asyncio.Event()

    async def start() -> None:
        tasks.append(asyncio.current_task())
        try:
            await run(path)
        finally:
            ended.set()

    async def stop() -> None:
        if tasks[0]:
            tasks[0].cancel()
        await clock.wait_for_ms(ended.wait(), 10000)

    try:
        asyncio.run(start())
    except KeyboardInterrupt:
        # MicroPython's loop keeps the tasks of a run that was interrupted; the next run goes on with them.
        asyncio.run(stop())
    except GatewayError as error:
        sys.stderr.write("%s\n" % error)
        return error.exit_code
    return 0
