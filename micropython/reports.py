"""Reports on the console, for who develops: loaded only where "report_seconds" is set."""

import gc
import json
import sys

from gateway import clock
from gateway._compat import TYPE_CHECKING
from gateway.core.tasks import TaskGroup

if TYPE_CHECKING:
    from typing import Any

    from application import Application

    from gateway.core.gateway import Gateway


async def run(application: "Application", gateway: "Gateway", step_s: int) -> None:
    """The gateway, and now and then and at its end a line of JSON: seconds since the start, bytes alive on
    the heap after a collection, free ones, and the status."""
    try:
        async with TaskGroup() as group:
            group.spawn(gateway.run())
            group.spawn(_repeat(application, step_s))
    finally:
        _report(application)


async def _repeat(application: "Application", step_s: int) -> None:
    while True:
        await clock.sleep_ms(1000 * step_s)
        _report(application)


def _report(application: "Application") -> None:
    gc.collect()
    said: dict[str, Any] = {
        "seconds": application.uptime_ms() // 1000,
        "heapBytes": gc.mem_alloc(),  # type: ignore[attr-defined]
        "heapFree": gc.mem_free(),  # type: ignore[attr-defined]
    }
    said.update(application.status())
    json.dump(said, sys.stdout)  # as a text it would take kilobytes in a piece
    print()
