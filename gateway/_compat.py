"""The one portability seam: what CPython and MicroPython spell differently.

No other portable module looks at the interpreter or catches ImportError.
"""

import asyncio
import io
import os
import sys
import time

MICROPYTHON = sys.implementation.name == "micropython"

# mypy and pyright take a name TYPE_CHECKING for true; at run time typing-only imports are skipped,
# because MicroPython has no typing module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


if MICROPYTHON:
    # The redundant alias says that it is for others too. The folder of the same name in the repository has no
    # __init__.py and can't hide the builtin module.
    from micropython import const as const  # noqa: PLC0414

    # The ESP32 counts from 2000, the unix port from 1970 (micropython.md): one place knows.
    _EPOCH_SHIFT_MS = (0 if time.gmtime(0)[0] == 1970 else 946684800) * 1000

    def real_utc_ms() -> int:
        """Milliseconds since 1970-01-01T00:00:00Z by the interpreter's clock."""
        return time.time_ns() // 1000000 + _EPOCH_SHIFT_MS

    def bit_length(value: int) -> int:
        """Bits of the absolute value, 0 for 0; integers have no method for it here."""
        value = abs(value)
        length = 0
        while value > 15:
            value >>= 4
            length += 4
        return length + b"\0\1\2\2\3\3\3\3\4\4\4\4\4\4\4\4"[value]

    def trace(error: BaseException) -> str:
        """The error with its stack, for a log."""
        text = io.StringIO()
        sys.print_exception(error, text)  # type: ignore[attr-defined]
        return text.getvalue()

    def forget(package: str, only: str = "", between: str = ".") -> None:
        """Drop the modules of a package (or only one), whose memory is needed; they are imported again when
        needed. `between`: what stands between the package's name and a module's, once they are linked."""
        beginning = package + between + only
        for name in list(sys.modules):
            if name.startswith(beginning):
                del sys.modules[name]
                parent, _, leaf = name.rpartition(between)
                if parent in sys.modules:
                    delattr(sys.modules[parent], leaf)

    def fsync(file: "Any") -> None:
        """What was written to an open file is durable from here on: littlefs does so when it is flushed."""
        file.flush()

    def fsync_directory(path: str) -> None:
        """Likewise names that came or went: littlefs changes them durably."""

    async def call(function: "Callable[..., None]", *arguments: "Any") -> None:
        """Where there are threads, in one: for what keeps the processor waiting."""
        function(*arguments)

    real_ticks_ms = time.ticks_ms  # type: ignore[attr-defined]
    real_ticks_diff = time.ticks_diff  # type: ignore[attr-defined]
    real_sleep_ms = asyncio.sleep_ms  # type: ignore[attr-defined]
    real_wait_for_ms = asyncio.wait_for_ms  # type: ignore[attr-defined]
else:
    import traceback

    def trace(error: BaseException) -> str:
        """The error with its stack, for a log."""
        return "".join(traceback.format_exception(error))

    def const(value: "Any") -> "Any":
        """MicroPython folds constants wrapped in const(); here it is the value itself."""
        return value

    def real_utc_ms() -> int:
        """Milliseconds since 1970-01-01T00:00:00Z by the interpreter's clock."""
        return time.time_ns() // 1000000

    def bit_length(value: int) -> int:
        """Bits of the absolute value, 0 for 0."""
        return value.bit_length()

    def forget(package: str, only: str = "", between: str = ".") -> None:
        """On a board: drop the modules of a package, or one of them, whose memory is needed."""

    def fsync(file: "Any") -> None:
        """What was written to an open file is durable from here on."""
        file.flush()
        os.fsync(file.fileno())

    def fsync_directory(path: str) -> None:
        """Names that came or went in a directory are durable from here on."""
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    async def call(function: "Callable[..., None]", *arguments: "Any") -> None:
        """In a thread: for what keeps the processor waiting."""
        await asyncio.to_thread(function, *arguments)

    def real_ticks_ms() -> int:
        return time.monotonic_ns() // 1000000

    def real_ticks_diff(end: int, start: int) -> int:
        return end - start

    async def real_sleep_ms(ms: int) -> None:
        await asyncio.sleep(ms / 1000)

    async def real_wait_for_ms(awaitable: "Any", ms: int) -> "Any":
        # Not wait_for: before Python 3.12 it can swallow a cancellation that races with the result.
        async with asyncio.timeout(ms / 1000):
            return await awaitable


def getenv(name: str) -> "str | None":
    """The environment variable's value, or None; boards have no environment."""
    read = getattr(os, "getenv", None)
    return read(name) if read else None
