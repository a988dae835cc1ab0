"""A task group and a bounded queue that behave the same on both interpreters.

MicroPython's asyncio has neither, and its tasks keep no result that could be asked for later, so both
are made of create_task and Event alone.
"""

import asyncio

from .._compat import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


class TaskGroup:
    """`async with TaskGroup() as group: group.spawn(coroutine())`; the block's end waits for all tasks.

    The first task that fails cancels its siblings, and its error is raised at the block's end once all
    have ended; later errors are dropped. Cancelling whoever waits there cancels the tasks, waits for
    them, and goes on as CancelledError. A task that is cancelled alone just ends. The block itself
    should only spawn: a failure does not interrupt it.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []  # those that have started and not ended
        self._left = 0  # those not ended
        self._closing = False
        self._error: BaseException | None = None
        self._ended = asyncio.Event()

    def spawn(self, coroutine: "Coroutine[Any, Any, Any]") -> "asyncio.Task[None]":
        """Start a task; also from within the group's own tasks."""
        self._left += 1
        return asyncio.create_task(self._run(coroutine))

    async def _run(self, coroutine: "Coroutine[Any, Any, Any]") -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            if self._closing:
                coroutine.close()
            else:
                await coroutine
        except asyncio.CancelledError:
            pass
        except Exception as error:
            if self._error is None:
                self._error = error
                self._cancel(task)
        finally:
            self._tasks.remove(task)
            self._left -= 1
            self._ended.set()

    def _cancel(self, sparing: "asyncio.Task[None] | None" = None) -> None:
        # A task that has not started would never run its `finally`: it sees _closing instead.
        self._closing = True
        for task in self._tasks:
            if task is not sparing:
                task.cancel()

    async def __aenter__(self) -> "TaskGroup":
        return self

    async def __aexit__(self, kind: "Any", error: "BaseException | None", trace: "Any") -> None:
        if kind is not None:
            self._cancel()
        cancelled = None
        while self._left:
            self._ended.clear()
            try:
                await self._ended.wait()
            except asyncio.CancelledError as cancellation:
                cancelled = cancellation
                self._cancel()
        if cancelled is not None:
            raise cancelled
        if kind is None and self._error is not None:
            raise self._error


class Queue:
    """First in, first out, at most `limit` items. Two answers to the full queue, by method:

    `put` waits for room, so that a fast producer runs at its consumer's pace. `push` never waits: the
    oldest item goes, and `dropped` counts it. `get` waits for an item. Any number of producers and
    consumers; a cancelled `put` has put nothing, a cancelled `get` has taken nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self._items: list[Any] = []  # MicroPython's deque takes the memory for `limit` items at once
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: "Any") -> None:
        if len(self._items) >= self.limit:
            self._items.pop(0)
            self.dropped += 1
        self._items.append(item)
        self._changed.set()

    async def put(self, item: "Any") -> None:
        while len(self._items) >= self.limit:
            self._changed.clear()
            await self._changed.wait()
        self._items.append(item)
        self._changed.set()

    async def get(self) -> "Any":
        while not self._items:
            self._changed.clear()
            await self._changed.wait()
        self._changed.set()
        return self._items.pop(0)
