"""The end of commands that run until they are ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ending() -> Iterator[asyncio.Event]:
    """An event that is set by Ctrl-C, SIGTERM and a closed terminal, which do nothing else meanwhile."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    # What is ignored from outside stays so: nohup means it.
    numbers = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, ended.set)
    try:
        yield ended
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def reloading(wanted: bool) -> Iterator[asyncio.Event]:
    """Within `ending`: an event that SIGHUP sets in place of ending, where that is `wanted`."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    if wanted:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    try:
        yield asked
    finally:
        if wanted:
            loop.remove_signal_handler(signal.SIGHUP)
