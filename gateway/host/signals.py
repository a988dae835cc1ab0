"""The end of commands that run until they are ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def ending() -> Iterator[asyncio.Event]:
    """An event that is set by SIGINT (Ctrl-C) and SIGTERM, which do nothing else meanwhile."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in _ENDING:
        loop.add_signal_handler(number, ended.set)
    try:
        yield ended
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)
