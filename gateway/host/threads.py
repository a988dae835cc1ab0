"""Threads for what blocks (looking up names, connecting, syncing), for which nobody waits at the end.

asyncio's own are waited for when the loop is closed and when the process ends, however long a name server or
a broker that says nothing keeps them: longer than a service may take to end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

# But for what is about to return: a thread that ends in the middle of Python code, with an import's lock say,
# would take that along. Those that wait for somebody hold nothing.
_LAST_S = 0.2


class Threads(ThreadPoolExecutor):
    """A thread for each call; loops take nothing but a ThreadPoolExecutor. What has to be finished is awaited
    by who began it."""

    def __init__(self) -> None:
        super().__init__()
        self._running: set[threading.Thread] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                if not future.set_running_or_notify_cancel():
                    return
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            finally:
                self._running.discard(thread)

        thread = threading.Thread(target=work, name="osgp-gateway-call", daemon=True)
        self._running.add(thread)
        thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        until = time.monotonic() + _LAST_S
        for thread in list(self._running):
            if thread.is_alive():
                thread.join(max(until - time.monotonic(), 0))
