"""What somebody asks of a meter's task; loaded with the first request."""

import asyncio

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import ConfigurationError, FrameError, OutboxError, Refused, TableError
from ..transmission import model
from ..transmission.packer import pack
from . import cursors, schedule
from .scheduler import Job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from ..c1219.tables import Tables
    from .meter_task import MeterTask

    Answer = tuple[bool, str]

_SHORTEST_MS = const(1000)
_LONGEST_MS = const(31 * 86400000)


class Request:
    """`ask(tables)`: gives the answer. `kind`: which may not be read already when it runs; -1: any may."""

    def __init__(self, kind: int, ask: "Callable[[Tables], Awaitable[Answer]]") -> None:
        self.kind = kind
        self._ask = ask
        self._answer: Answer | None = None
        self._done = asyncio.Event()

    async def run(self, tables: "Tables") -> None:
        ok, text = False, "the connection to the meter was lost meanwhile"
        try:
            ok, text = await self._ask(tables)
        except (Refused, TableError, FrameError, OutboxError, ConfigurationError) as error:
            text = str(error)
        finally:
            self.answered(ok, text)

    def answered(self, ok: bool, text: str) -> None:
        self._answer = ok, text
        self._done.set()

    async def answer(self) -> "Answer":
        await self._done.wait()
        assert self._answer is not None
        return self._answer


def _name(kind: int) -> str:
    return model.KIND_NAMES[kind].replace("-", " ")


async def read_now(task: "MeterTask", kind: int) -> "Answer":
    """See MeterTask.read_now."""
    if not model.IDENTITY <= kind < len(model.KIND_NAMES):
        return False, "there are no readings of kind %d" % kind

    async def ask(tables: "Tables") -> "Answer":
        job = task.job(kind) or Job(kind, 1, 0)
        if not await task.collect(job, tables):
            return False, task.problems[kind]
        return True, "%s: read%s" % (_name(kind), ", more follows" if job.more_ms == 0 else "")

    return await task.ask(Request(kind, ask))


async def self_test(task: "MeterTask") -> "Answer":
    """See MeterTask.self_test."""

    async def ask(tables: "Tables") -> "Answer":
        from ..c1219.readers.identity import identify

        began = clock.monotonic_ms()
        who = await task.patiently(identify, tables)
        took = clock.monotonic_ms() - began
        found = "%s %s" % (who.manufacturer, who.serial)
        if found != task.identity:
            return False, "%s answers where %s is expected" % (found, task.identity)
        problems = task.trouble()
        text = "%s answers within %d ms" % (found, took)
        text += "; of %d reads %d answers were not believed" % (task.bucket.used, task.bad_answers)
        return not problems, text + ("; " + problems if problems else "")

    return await task.ask(Request(-1, ask))


def backfill(task: "MeterTask", kind: int, from_s: int, to_s: int) -> "Answer":
    """See MeterTask.backfill."""
    if kind not in cursors.KINDS or kind == model.ALARM:
        return False, "only what the meter stores can be read again: load profile, events, self-reads, M-Bus"
    if not 0 <= from_s <= to_s:
        return False, "it would end before it begins"
    if task.meter_id is None:
        return False, "%s has not yet said who it is" % task.settings.name
    if task.job(kind) is None:
        return False, "%s: left out of the schedule" % _name(kind)
    cursors.read_again(task.outbox, task.meter_id, kind, from_s, to_s)
    task.read_again()
    return True, "%s: is read again, after what is more urgent" % _name(kind)


def set_interval(task: "MeterTask", kind: int, interval_ms: int) -> "Answer":
    """See MeterTask.set_interval."""
    if kind not in [row[0] for row in schedule.DEFAULT]:
        return False, "there are no scheduled readings of kind %d" % kind
    if interval_ms and not _SHORTEST_MS <= interval_ms <= _LONGEST_MS:
        return False, "an interval is between 1 s and 31 days"
    settings = task.settings
    changed = task.changed_intervals()
    if interval_ms:
        changed[kind] = interval_ms
    else:
        changed.pop(kind, None)
    intervals = dict(settings.intervals_ms or {})
    intervals.update(changed)
    reads = schedule.reads_in_an_hour(intervals)
    if interval_ms and reads > settings.reads_per_hour:
        return False, "with that the schedule took some %d reads an hour, of which %d are allowed" % (
            reads,
            settings.reads_per_hour,
        )
    flat: list[Any] = []
    for each in sorted(changed):
        flat += [each, changed[each]]
    task.outbox.set_note(task.intervals_note, pack(flat) if flat else None)
    task.reschedule()
    if not interval_ms:
        return True, "%s: read as configured" % _name(kind)
    return True, "%s: read every %d ms" % (_name(kind), interval_ms)
