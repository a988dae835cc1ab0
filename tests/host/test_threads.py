"""What blocks in a thread: awaited by who began it, and by nobody at the end."""

import asyncio
import threading

import pytest

from gateway.host.threads import Threads
from tests.patience import PATIENCE_S


def test_results_and_errors_come_back():
    async def script() -> None:
        asyncio.get_running_loop().set_default_executor(Threads())
        assert await asyncio.to_thread(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 7, 0)

    asyncio.run(script())


def test_a_name_server_that_says_nothing_keeps_nobody_from_ending():
    begun, answered, over = threading.Event(), threading.Event(), threading.Event()

    def look_up() -> None:
        begun.set()
        answered.wait(PATIENCE_S)
        over.set()

    async def script() -> None:
        asyncio.get_running_loop().set_default_executor(Threads())
        looking = asyncio.create_task(asyncio.to_thread(look_up))
        await asyncio.to_thread(begun.wait)
        looking.cancel()

    asyncio.run(script())
    assert not over.is_set()
    answered.set()
    assert over.wait(PATIENCE_S)
