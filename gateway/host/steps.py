"""One kind of reading from a meter, step by step: the same over the port and through the running service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from ..core import cursors, kinds
from ..errors import TableError
from ..transmission.model import Event, Reading, Series

Item = Reading | Series | Event

_STANDING = 5  # steps that bring nothing and do not move; what is recorded meanwhile may cause some


async def steps(
    ask: Callable[..., Awaitable[Any]],
    kind: int,
    since: int | None,
    pause: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Sequence[Item]]:
    """`ask(read, ...)` gives what `read(tables, ...)` gives. What the meter stores comes from `since` (UTC
    seconds) on, oldest first, with a `pause` after each step; the rest comes in one step."""
    if not kinds.is_stepwise(kind):
        yield await ask(_now, kind)
        return
    read_step, cursor_since = cursors.reader(kind)
    cursor = None if since is None else cursor_since(since)
    standing = 0
    while standing < _STANDING:
        step = await ask(read_step, cursor)
        yield step.items
        if not step.more:
            return
        standing = 0 if step.items or step.cursor != cursor else standing + 1
        cursor = step.cursor
        if pause is not None:
            await pause()
    raise TableError("it does not stand still long enough to be read: try again")


async def _now(tables: Any, kind: int) -> Any:
    return await kinds.read_kind(kind, tables)
