"""Brings what one meter tells into the outbox, kind by kind, and keeps count of what can't be had."""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import FrameError, OutboxError, ProtocolError, Refused, TableError
from ..transmission import frames, ids, model
from . import kinds
from .marks import mark
from .outbox import CLASSES
from .vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from ..c1219.tables import Tables
    from ..meter import Meter
    from .horizon import Horizon
    from .meter_settings import MeterSettings
    from .outbox import Outbox
    from .scheduler import Job
    from .supervisor import Log

_BAD_ANSWERS = const(3)  # in a row, before the connection is given up
_TRY_AGAIN_MS = const(120000)


class Collector:
    """`meter_id` (16 bytes) is None until the meter has said who it is. `last_ms`: by kind, UTC of the last
    reading that went into the outbox. `problems`: by kind, why it can't be read, in words. `bad_answers`:
    those not believed. `onlookers`: are called with kind and items of whatever went into the outbox.
    """

    def __init__(self, settings: "MeterSettings", outbox: "Outbox", log: "Log") -> None:
        self.settings = settings
        self.meter_id = ids.parse_uuid(settings.meter_id) if settings.meter_id else None
        self.last_ms: dict[int, int] = {}
        self.problems: dict[int, str] = {}
        self.bad_answers = 0
        self.onlookers: list[Callable[[int, Sequence[Any]], None]] = []
        self.vitals = Vitals(settings.stale_after)
        self._horizon: Horizon | None = None
        self._places = [-1] * CLASSES  # of the newest frames
        self.outbox = outbox
        self.log = log
        self._follows_the_meter = True  # a load profile's intervals

    def collect(self, job: "Job", tables: "Tables") -> "Awaitable[bool]":
        """What is due of a job's kind, when awaited; False when it can't be read, which `problems` tells.

        Raises LinkError, NoAnswer, and what stays wrong however often it is asked.
        """
        if kinds.is_stepwise(job.kind):
            return self._step(job, tables)
        job.more_ms = None
        return self._read(tables, job.kind, kinds.read_kind, job.kind, tables)

    async def _step(self, job: "Job", tables: "Tables") -> bool:
        """One step of a kind with a cursor, which moves only when the outbox has what the step brought."""
        from .cursors import Pass

        assert self.meter_id is not None
        going = Pass(self.outbox, job.kind, self.meter_id)
        began = clock.utc_ms() // 1000
        # Should this step fail: one day's self-reads do not wait for the next day.
        job.more_ms = clock.utc_ms() + _TRY_AGAIN_MS
        answers_in = await self._ask_devices(tables) if job.kind == model.MBUS else None
        if not await self._read(tables, job.kind, going.read, tables):
            return False
        more = going.done()
        job.more_ms = 0 if more else None
        if self._horizon is None or self._horizon.meter != self.meter_id:
            from .horizon import Horizon

            self._horizon = Horizon(self.outbox, self.meter_id)
        self._horizon.places = self._places
        self._horizon.step(job.kind, began, more)
        if answers_in is not None and job.more_ms is None:
            job.more_ms = clock.utc_ms() + answers_in
        step = going.step
        if job.kind == model.LOAD_PROFILE and step.interval_s and self._follows_the_meter:
            job.set_interval(1000 * step.interval_s, clock.utc_ms())
        return True

    async def _ask_devices(self, tables: "Tables") -> "int | None":
        """Before M-Bus devices are read: in how many ms there may be more of them."""
        on_demand = self.settings.on_demand
        if on_demand is None:
            return None
        wait: int | None = None
        try:
            wait = await self.patiently(on_demand.ask, tables)
        except (Refused, TableError) as error:
            on_demand.problems["devices"] = str(error)
        else:
            on_demand.problems.pop("devices", None)
        return wait

    async def _read(
        self, tables: "Tables", kind: int, ask: "Callable[..., Awaitable[Any]]", *arguments: "Any"
    ) -> bool:
        """One kind, from the meter into the outbox. What only this kind suffers from is noted."""
        try:
            try:
                items = await self.patiently(ask, *arguments)
            finally:
                # Before it is encoded: a board has no room for both.
                self._forget(tables, kind)
            self.append(kind, items, tables.meter)
        except (Refused, TableError, FrameError, OutboxError) as error:
            self.problems[kind] = str(error)
            return False
        self.problems.pop(kind, None)
        self.has_read(kind, items)
        return True

    def has_read(self, kind: int, items: "Sequence[Any]") -> None:
        """Something of a kind is in the outbox, or there was nothing new."""
        self.last_ms[kind] = clock.utc_ms()
        self.vitals.has_read(kind, items)
        for onlooker in self.onlookers:
            onlooker(kind, items)

    def _forget(self, tables: "Tables", kind: int) -> None:
        """Readers, unless they are needed all the time."""
        if kind != model.PRESENT:
            tables.spare()
            kinds.forget_readers()

    def append(self, kind: int, items: "Sequence[Any]", meter: "Meter") -> None:
        if not items:
            return
        meter_id = self.meter_id
        assert meter_id is not None
        cls = model.CLASS_OF_KIND[kind]
        items = mark(items, meter)
        try:
            self._places[cls] = self.outbox.append(meter_id, cls, _encoder(meter_id, items)).place
        except FrameError:
            # Seldom, so that the effort of splitting is not spent on each reading.
            for part in frames.split(items):
                self._places[cls] = self.outbox.append(meter_id, cls, _encoder(meter_id, part)).place

    def _drop_cursors(self, meter_id: bytes) -> None:
        from . import cursors, horizon

        cursors.drop(self.outbox, meter_id)
        horizon.drop(self.outbox, meter_id)
        self._horizon = None

    def trouble(self) -> str:
        """All that can't be had, in words; "" when all is well."""
        found = ["%s: %s" % (model.KIND_NAMES[kind], self.problems[kind]) for kind in sorted(self.problems)]
        for one in (self.settings.client, self.settings.on_demand):
            if one is not None:
                found += ["%s: %s" % (what, one.problems[what]) for what in sorted(one.problems)]
        return "; ".join(found)

    async def patiently(self, ask: "Callable[..., Awaitable[Any]]", *arguments: "Any") -> "Any":
        """The answer; a good link gives a bad one now and then, so it is asked again."""
        for _ in range(_BAD_ANSWERS - 1):
            try:
                return await ask(*arguments)
            except ProtocolError as error:
                self.bad_answers += 1
                self.log("debug", "%s: asked again after a bad answer: %s" % (self.settings.name, error))
        return await ask(*arguments)


def _encoder(meter_id: bytes, items: "Sequence[Any]") -> "Callable[[int, int], bytes]":
    return lambda epoch, sequence: frames.encode(meter_id, epoch, sequence, items)
