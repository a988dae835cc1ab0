"""An event loop whose time jumps to whatever is due next: for any number of tasks that wait only for each
other and for time. Faster than FakeClock, which runs on MicroPython too; not for bytes of real links."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

from gateway import clock


class _Never(selectors.DefaultSelector):
    """Nothing ever arrives from outside: instead of waiting, the loop's time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: Callable[[float], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise AssertionError("every task waits for something that no task will do")
            self.passed(timeout)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Never()
        self._now = 0.0
        super().__init__(selector)
        selector.passed = self._pass

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += seconds


def run(main: Callable[[], Awaitable[Any]], utc_ms: int) -> Any:
    """What the coroutine function `main` gives; meanwhile gateway.clock begins with `utc_ms` and runs on the
    loop's time."""
    loop = _Loop()
    real = clock.utc_ms, clock.monotonic_ms
    clock.monotonic_ms = lambda: round(1000 * loop.time())  # type: ignore[assignment]
    clock.utc_ms = lambda: utc_ms + round(1000 * loop.time())  # type: ignore[assignment]
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main())  # type: ignore[arg-type]
    finally:
        clock.utc_ms, clock.monotonic_ms = real
