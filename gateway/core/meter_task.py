"""One meter: opens it, makes sure who it is, and reads it by its schedule."""

import asyncio

from .. import clock
from .._compat import TYPE_CHECKING, const, forget
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    Expired,
    FrameError,
    LinkError,
    NoAnswer,
    OutboxError,
    ProtocolError,
    Refused,
    TableError,
)
from ..transmission import frames, ids, model
from . import schedule
from .link_budget import Bucket, LinkBudget
from .scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from ..c1219.readers.identity import Identity
    from ..c1219.tables import Tables
    from ..meter import Meter
    from .outbox import Outbox
    from .supervisor import Log, Worker

_BAD_ANSWERS = const(3)  # in a row, before the connection is given up
_CLOSE_MS = const(3000)
_LOOK_AGAIN_MS = const(60000)


class MeterSettings:
    """One meter.

    `name`: the user's word for it in states and logs, unique. `open_meter`: a coroutine function that
    connects link and driver and gives a fresh Meter, raising LinkError or MeterError; called for each
    connection. `meter_id`: its smartMeterId (UUID as text); None takes the UUIDv5 of manufacturer and
    serial number. `serial`: the serial number it must have; None accepts the first one seen.
    `intervals_ms`: by kind of reading, where they differ from the default schedule; 0 leaves it out.
    `reads_per_hour`: the most it is asked for.
    """

    def __init__(
        self,
        name: str,
        open_meter: "Callable[[], Awaitable[Meter]]",
        meter_id: "str | None" = None,
        serial: "str | None" = None,
        intervals_ms: "Mapping[int, int] | None" = None,
        reads_per_hour: int = schedule.READS_PER_HOUR,
    ) -> None:
        self.name = name
        self.open_meter = open_meter
        self.meter_id = meter_id
        self.serial = serial
        self.intervals_ms = intervals_ms
        self.reads_per_hour = reads_per_hour


async def read_kind(kind: int, tables: "Tables") -> "list[Any]":
    """The model objects of one kind. Its reader is imported when needed and forgotten, for a board's sake,
    unless it is needed all the time."""
    if kind == model.IDENTITY:
        from ..c1219.readers.identity import read
    elif kind == model.CLOCK:
        from ..c1219.readers.clock import read
    elif kind == model.REGISTERS:
        from ..c1219.readers.registers import read
    elif kind == model.PRESENT:
        from ..c1219.readers.present import read
    else:
        raise ConfigurationError("no reader for readings of kind %d" % kind)
    try:
        return await read(tables)
    finally:
        if kind != model.PRESENT:
            _forget_readers()


def _forget_readers() -> None:
    forget("gateway.c1219.readers")
    forget("gateway.c1219.layouts")


class MeterTask:
    """A supervised worker; one for each meter, for as long as the gateway runs.

    `meter_id` (16 bytes) is None until the meter has said who it is. `identity`: manufacturer and
    serial number as one text, "" before. `last_ms`: by kind, UTC of the last reading that went into the
    outbox. `problems`: by kind, why it can't be read, in words. `bad_answers`: those not believed.
    """

    def __init__(self, settings: MeterSettings, outbox: "Outbox", log: "Log") -> None:
        self.settings = settings
        self.meter_id = ids.parse_uuid(settings.meter_id) if settings.meter_id else None
        self.identity = ""
        self.last_ms: dict[int, int] = {}
        self.problems: dict[int, str] = {}
        self.bad_answers = 0
        self.scheduler = Scheduler(schedule.jobs(settings.intervals_ms))
        self.bucket = Bucket(settings.reads_per_hour)
        self._outbox = outbox
        self._note = b"identity/" + settings.name.encode()
        self._log = log
        self._stranger = ""  # who answers in place of the meter that is expected
        self._expected = ""
        self._confirmed = asyncio.Event()

    async def run(self, worker: "Worker") -> None:
        """One connection after the other; what ends one is raised, for the supervisor to wait it out."""
        while True:
            meter = LinkBudget(await self.settings.open_meter(), self.bucket)
            try:
                tables = await self._meet(meter)
                if tables is not None:
                    await self._serve(tables, worker)
            finally:
                await _close(meter)
            worker.report(
                "replaced",
                "%s answers where %s is expected, and is not read. If the meter was exchanged on purpose, "
                "set its serial number in the configuration; else put the right one back"
                % (self._stranger, self._expected),
                "warning",
            )
            try:
                await clock.wait_for_ms(self._confirmed.wait(), _LOOK_AGAIN_MS)
            except Expired:
                pass

    def confirm(self) -> None:
        """A person says that the meter was replaced on purpose: who answers now is taken for it.

        Raises ConfigurationError where the configuration names a serial number: it decides alone.
        """
        if self.settings.serial is not None:
            raise ConfigurationError(
                "%s: the configuration names serial number %s; change it there"
                % (self.settings.name, self.settings.serial)
            )
        if self._stranger:
            self._outbox.set_note(self._note, self._stranger.encode())
            self._confirmed.set()

    async def _meet(self, meter: "Meter") -> "Tables | None":
        """The meter's tables, its identity in the outbox; None when it is not the one that is expected."""
        from ..c1219.readers.identity import identify, readings
        from ..c1219.tables import Tables

        tables = Tables(meter)
        try:
            who = await self._patiently(identify, tables)
            if not self._is_known(who):
                return None
            await self._read(model.IDENTITY, readings, tables, who)
        finally:
            _forget_readers()
        return tables

    def _is_known(self, who: "Identity") -> bool:
        """Whether this is the meter that is expected; from then on it is."""
        identity = "%s %s" % (who.manufacturer, who.serial)
        settings = self.settings
        noted = self._outbox.note(self._note)
        if settings.serial is not None:
            known = who.serial == settings.serial
            self._expected = "serial number " + settings.serial
        else:
            known = noted is None or noted == identity.encode()
            self._expected = noted.decode() if noted else identity
        if not known:
            self._stranger = identity
            self._confirmed.clear()
            return False
        self._stranger = ""
        if noted != identity.encode():
            self._outbox.set_note(self._note, identity.encode())
        if self.identity and self.identity != identity:
            self.scheduler = Scheduler(schedule.jobs(settings.intervals_ms))  # nothing of this one was read
        self.identity = identity
        if settings.meter_id is None:
            self.meter_id = ids.meter_individual_id(who.manufacturer, who.serial)
        return True

    async def _serve(self, tables: "Tables", worker: "Worker") -> None:
        """Reads what is due until the link goes."""
        while True:
            worker.report("working", self._problems(), "warning" if self.problems else "info")
            job = self.scheduler.take(clock.utc_ms())
            if job is None:
                await clock.sleep_ms(self.scheduler.wait_ms(clock.utc_ms()))
                continue
            try:
                await self._read(job.kind, read_kind, job.kind, tables)
            except (LinkError, NoAnswer):
                self.scheduler.give_back(job)
                raise

    async def _read(self, kind: int, ask: "Callable[..., Awaitable[Any]]", *arguments: "Any") -> None:
        """One kind, from the meter into the outbox. What only this kind suffers from is noted."""
        try:
            self._append(kind, await self._patiently(ask, *arguments))
        except (Refused, TableError, FrameError, OutboxError) as error:
            self.problems[kind] = str(error)
            return
        self.problems.pop(kind, None)
        self.last_ms[kind] = clock.utc_ms()

    def _append(self, kind: int, items: "list[Any]") -> None:
        meter_id = self.meter_id
        assert meter_id is not None
        cls = model.CLASS_OF_KIND[kind]
        try:
            self._outbox.append(meter_id, cls, _encoder(meter_id, items))
        except FrameError:
            # Seldom, so that the effort of splitting is not spent on each reading.
            for part in frames.split(items):
                self._outbox.append(meter_id, cls, _encoder(meter_id, part))

    def status(self) -> "dict[str, Any]":
        """See Gateway.status."""
        kinds = {
            model.KIND_NAMES[job.kind]: self._kind_status(job.kind, job.missed) for job in self.scheduler.jobs
        }
        kinds[model.KIND_NAMES[model.IDENTITY]] = self._kind_status(model.IDENTITY, 0)
        return {
            "name": self.settings.name,
            "meterId": ids.format_uuid(self.meter_id) if self.meter_id else "",
            "identity": self.identity,
            "reads": self.bucket.used,
            "badAnswers": self.bad_answers,
            "kinds": kinds,
        }

    def _kind_status(self, kind: int, missed: int) -> "dict[str, Any]":
        return {"lastMs": self.last_ms.get(kind), "problem": self.problems.get(kind, ""), "missed": missed}

    def _problems(self) -> str:
        return "; ".join(
            ["%s: %s" % (model.KIND_NAMES[kind], self.problems[kind]) for kind in sorted(self.problems)]
        )

    async def _patiently(self, ask: "Callable[..., Awaitable[Any]]", *arguments: "Any") -> "Any":
        """The answer; a good link gives a bad one now and then (MEP guide, 0B), so it is asked again."""
        for _ in range(_BAD_ANSWERS - 1):
            try:
                return await ask(*arguments)
            except (AuthenticationError, ProtocolError) as error:
                self.bad_answers += 1
                self._log("debug", "%s: asked again after a bad answer: %s" % (self.settings.name, error))
        return await ask(*arguments)


def _encoder(meter_id: bytes, items: "list[Any]") -> "Callable[[int, int], bytes]":
    return lambda epoch, sequence: frames.encode(meter_id, epoch, sequence, items)


async def _close(meter: "Meter") -> None:
    try:
        await clock.wait_for_ms(meter.close(), _CLOSE_MS)
    except Expired:
        pass  # the meter ends the session by its own time-out
