"""Threads for what blocks (looking up names, connecting, syncing), for which nobody waits at the end.

asyncio's own are waited for when the loop is closed and when the process ends, however long a name server or
a broker that says nothing keeps them: longer than a service may take to end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Threads(ThreadPoolExecutor):
    """A thread for each call; loops take nothing but a ThreadPoolExecutor. What has to be finished is awaited
    by who began it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name="osgp-gateway-call", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass
