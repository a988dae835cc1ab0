"""Ends a MicroPython process of the unix port with Ctrl-C's signal, without harm.

The port raises KeyboardInterrupt wherever the signal finds it, within an allocation or a collection as well;
what it was changing stays half changed, and what runs afterwards may crash. A process that sleeps waits for
events and changes nothing.
"""

import asyncio
import signal
from pathlib import Path

_LOOKS = 5


def _sleeps(number: int) -> bool:
    # The state comes behind the name, which may hold anything.
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "S"


async def interrupted(child: asyncio.subprocess.Process, seconds: float = 60) -> tuple[bytes, bytes]:
    """What it said, on both streams; TimeoutError when it neither rests nor ends."""
    async with asyncio.timeout(seconds):
        looks = 0
        while child.returncode is None and looks < _LOOKS:
            looks = looks + 1 if _sleeps(child.pid) else 0
            await asyncio.sleep(0.01)
        if child.returncode is None:
            child.send_signal(signal.SIGINT)
        return await child.communicate()
