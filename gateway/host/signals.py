"""The end of commands that run until they are ended."""

from __future__ import annotations

import asyncio
import signal


async def until_ended() -> None:
    """Returns on SIGINT (Ctrl-C) or SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, ended.set)
    try:
        await ended.wait()
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
