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
from .alerts import AlertGate
from .link_budget import Bucket, LinkBudget
from .marks import mark
from .outbox import CLASSES
from .scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from ..c1219.alerts import Client
    from ..c1219.on_demand import OnDemand
    from ..c1219.readers.identity import Identity
    from ..c1219.tables import Tables
    from ..meter import Meter
    from .cursors import Pass
    from .horizon import Horizon
    from .outbox import Outbox
    from .scheduler import Job
    from .supervisor import Log, Worker

_BAD_ANSWERS = const(3)  # in a row, before the connection is given up
_CLOSE_MS = const(3000)
_LOOK_AGAIN_MS = const(60000)
_TRY_AGAIN_MS = const(120000)
# To end a session and begin another takes about as long.
_WORTH_RELEASING_MS = const(1000)
_DAY_S = const(86400)
# A meter may forget its client without a word, as with a power outage.
_PREPARE_MS = const(900000)
# Alerts are held back for a second after each request (MEP guide, chapter 2, "Alert Sequence timing"), so who
# never falls silent for so long has to look by himself.
_LISTEN_MS = const(1200)
_DEAF_MS = const(1500)


class MeterSettings:
    """One meter.

    `name`: the user's word for it in states and logs, unique. `open_meter`: a coroutine function that
    connects link and driver and gives a fresh Meter, raising LinkError or MeterError; called for each
    connection. `meter_id`: its smartMeterId (UUID as text); None takes the UUIDv5 of manufacturer and
    serial number. `serial`: the serial number it must have; None accepts the first one seen.
    `intervals_ms`: by kind of reading, where they differ from the default schedule; 0 leaves it out.
    `reads_per_hour`: the most it is asked for. `idle_s`: begin and end of the time of day (seconds since
    midnight, UTC) in which its port is left alone; None: it never is. `client`: what the
    meter alerts; None: nobody, and what alerts would tell is polled. `on_demand`: has the meter ask its M-Bus
    devices; None: what it has of them is read.
    """

    def __init__(
        self,
        name: str,
        open_meter: "Callable[[], Awaitable[Meter]]",
        meter_id: "str | None" = None,
        serial: "str | None" = None,
        intervals_ms: "Mapping[int, int] | None" = None,
        reads_per_hour: int = schedule.READS_PER_HOUR,
        idle_s: "tuple[int, int] | None" = None,
        client: "Client | None" = None,
        on_demand: "OnDemand | None" = None,
    ) -> None:
        self.name = name
        self.open_meter = open_meter
        self.meter_id = meter_id
        self.serial = serial
        self.intervals_ms = intervals_ms
        self.reads_per_hour = reads_per_hour
        self.idle_s = idle_s
        self.client = client
        self.on_demand = on_demand

    def idle_ms(self, now_ms: int) -> int:
        """How much longer the port is left alone; 0 when it is not."""
        if self.idle_s is None:
            return 0
        begin, end = self.idle_s
        passed: int = (now_ms - 1000 * begin) % (1000 * _DAY_S)
        left: int = 1000 * ((end - begin) % _DAY_S) - passed
        return max(left, 0)


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


async def _pass(going: "Pass", tables: "Tables") -> "Sequence[Any]":
    try:
        return await going.read(tables)
    finally:
        tables.spare()
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
        self._horizon: Horizon | None = None
        self._places = [-1] * CLASSES  # of the newest frames
        self.scheduler = Scheduler(schedule.jobs(settings.intervals_ms))
        self.bucket = Bucket(settings.reads_per_hour)
        self._outbox = outbox
        self._note = b"identity/" + settings.name.encode()
        self._log = log
        self._stranger = ""  # who answers in place of the meter that is expected
        self._expected = ""
        self._confirmed = asyncio.Event()
        self._wake = asyncio.Event()
        self.alerts = AlertGate()
        self._alert_problem = ""
        self._prepared_ms: int | None = None
        self._listened_ms = 0
        self._looking = False
        self._follows_the_meter = model.LOAD_PROFILE not in (settings.intervals_ms or {})

    async def run(self, worker: "Worker") -> None:
        """One connection after the other; what ends one is raised, for the supervisor to wait it out."""
        while True:
            await self._leave_alone(worker)
            meter = LinkBudget(await self.settings.open_meter(), self.bucket)
            self._meter = meter
            self._prepared_ms = None
            if self.settings.client is not None:
                meter.on_alert = self._alerted
            try:
                tables = await self._meet(meter)
                if tables is not None:
                    await self._serve(meter, tables, worker)
            finally:
                await _close(meter)
            if tables is not None:
                continue
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
            if self.meter_id is not None:
                self._drop_cursors(self.meter_id)
            self._outbox.set_note(self._note, self._stranger.encode())
            self._confirmed.set()

    def read_again(self) -> None:
        """Cursors were set back: what they passed is read again now."""
        for job in self.scheduler.jobs:
            if model.SELF_READ <= job.kind <= model.MBUS:
                job.more_ms = 0
        self._wake.set()

    def _drop_cursors(self, meter_id: bytes) -> None:
        from . import cursors, horizon

        cursors.drop(self._outbox, meter_id)
        horizon.drop(self._outbox, meter_id)
        self._horizon = None

    async def _leave_alone(self, worker: "Worker") -> None:
        """Waits while the time of day is one in which the port is left alone."""
        left = self.settings.idle_ms(clock.utc_ms())
        while left:
            worker.report("idle", "the port is left alone at this time of day")
            await clock.sleep_ms(min(left, _LOOK_AGAIN_MS))
            left = self.settings.idle_ms(clock.utc_ms())

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
        if noted is not None and noted != identity.encode() and self.meter_id is not None:
            self._drop_cursors(self.meter_id)
        return True

    async def _serve(self, meter: "Meter", tables: "Tables", worker: "Worker") -> None:
        """Reads what is due until the link goes, or the time of day comes at which the port is left alone:
        then nothing of ours may stand there, not even a session that waits."""
        while not self.settings.idle_ms(clock.utc_ms()):
            await self._prepare(tables)
            problems = self._problems()
            worker.report("working", problems, "warning" if problems else "info")
            self._wake.clear()
            spare_in = self.bucket.spare_in_ms()
            # A change that the meter watches for is worth the reserve.
            alert_in = self.alerts.wait_ms(clock.monotonic_ms(), 0 if self.alerts.longest_ms else spare_in)
            if alert_in == 0 or self._is_deaf():
                try:
                    await self._serve_alert(tables, alert_in == 0)
                finally:
                    _forget_readers()
                continue
            job = self.scheduler.take(clock.utc_ms(), not spare_in)
            if job is None:
                wait = self.scheduler.wait_ms(clock.utc_ms(), spare_in)
                await self._rest(meter, wait if alert_in is None else min(wait, alert_in))
                continue
            try:
                if model.SELF_READ <= job.kind <= model.MBUS:
                    await self._step(job, tables)
                else:
                    job.more_ms = None
                    await self._read(job.kind, read_kind, job.kind, tables)
            except (LinkError, NoAnswer):
                self.scheduler.give_back(job)
                raise

    async def _rest(self, meter: "Meter", wait_ms: int) -> None:
        """Until something is due, or wakes this task."""
        if wait_ms >= _WORTH_RELEASING_MS:
            await meter.release()
        since = clock.monotonic_ms()
        try:
            await clock.wait_for_ms(self._wake.wait(), wait_ms)
        except Expired:
            pass
        now = clock.monotonic_ms()
        if now - since >= _LISTEN_MS:
            self._listened_ms = now

    def _alerted(self) -> None:
        now = clock.monotonic_ms()
        self.alerts.raised(now)
        if not self.alerts.wait_ms(now):
            self._wake.set()

    async def _prepare(self, tables: "Tables") -> None:
        """Has the client registered, once in a while again."""
        client = self.settings.client
        now = clock.monotonic_ms()
        if client is None or (self._prepared_ms is not None and now - self._prepared_ms < _PREPARE_MS):
            return
        self._meter.before_read = None
        try:
            await self._patiently(client.prepare, tables)
        finally:
            _forget_readers()
        self.alerts.longest_ms = client.pause_ms
        self._prepared_ms = self._listened_ms = clock.monotonic_ms()
        self._meter.before_read = lambda: self._look_between(tables)

    def _is_deaf(self) -> bool:
        """Whether the meter had no moment to alert us for a while, and something may wait."""
        if self.alerts.longest_ms is None:
            return False
        deaf: bool = clock.monotonic_ms() - self._listened_ms >= _DEAF_MS
        return deaf

    async def _look_between(self, tables: "Tables") -> None:
        """While the meter watches for changes they come before what is being read."""
        if self.alerts.longest_ms is None or self._looking:
            return
        heard = self.alerts.wait_ms(clock.monotonic_ms()) == 0
        if heard or self._is_deaf():
            await self._serve_alert(tables, heard)

    async def _serve_alert(self, tables: "Tables", heard: bool) -> None:
        """Looks what the meter has to tell, and brings it or has it read. `heard`: it has alerted us."""
        client = self.settings.client
        assert client is not None
        items: Sequence[Any] = ()
        kinds: Sequence[int] = ()
        self._looking = True
        try:
            items, kinds = await self._patiently(client.serve, tables)
            for item in items:
                self._append(item.kind, [item])
                self.last_ms[item.kind] = clock.utc_ms()
        except (Refused, TableError, FrameError, OutboxError) as error:
            problem = "%s: an alert can't be served: %s" % (self.settings.name, error)
            if problem != self._alert_problem:
                self._alert_problem = problem
                self._log("warning", problem)
        finally:
            self._looking = False
            self._listened_ms = clock.monotonic_ms()
            if heard:
                # Also when the link goes: an alert that breaks it each time waits longer each time.
                self.alerts.handled(self._listened_ms, bool(items) or bool(kinds))
        for job in self.scheduler.jobs:
            if job.kind in kinds:
                job.more_ms = 0

    async def _ask_devices(self, tables: "Tables") -> "int | None":
        """Before M-Bus devices are read: in how many ms there may be more of them."""
        on_demand = self.settings.on_demand
        if on_demand is None:
            return None
        wait: int | None = None
        try:
            wait = await self._patiently(on_demand.ask, tables)
        except (Refused, TableError) as error:
            on_demand.problems["devices"] = str(error)
        else:
            on_demand.problems.pop("devices", None)
        return wait

    async def _step(self, job: "Job", tables: "Tables") -> None:
        """One step of a kind with a cursor, which moves only when the outbox has what the step brought."""
        from .cursors import Pass

        assert self.meter_id is not None
        going = Pass(self._outbox, job.kind, self.meter_id)
        began = clock.utc_ms() // 1000
        # Should this step fail: one day's self-reads do not wait for the next day.
        job.more_ms = clock.utc_ms() + _TRY_AGAIN_MS
        answers_in = await self._ask_devices(tables) if job.kind == model.MBUS else None
        read = await self._read(job.kind, _pass, going, tables)
        if not read:
            return
        more = going.done()
        job.more_ms = 0 if more else None
        if self._horizon is None or self._horizon.meter != self.meter_id:
            from .horizon import Horizon

            self._horizon = Horizon(self._outbox, self.meter_id)
        self._horizon.places = self._places
        self._horizon.step(job.kind, began, more)
        if answers_in is not None and job.more_ms is None:
            job.more_ms = clock.utc_ms() + answers_in
        step = going.step
        if job.kind == model.LOAD_PROFILE and step.interval_s and self._follows_the_meter:
            job.set_interval(1000 * step.interval_s, clock.utc_ms())

    async def _read(self, kind: int, ask: "Callable[..., Awaitable[Any]]", *arguments: "Any") -> bool:
        """One kind, from the meter into the outbox. What only this kind suffers from is noted."""
        try:
            self._append(kind, await self._patiently(ask, *arguments))
        except (Refused, TableError, FrameError, OutboxError) as error:
            self.problems[kind] = str(error)
            return False
        self.problems.pop(kind, None)
        self.last_ms[kind] = clock.utc_ms()
        return True

    def _append(self, kind: int, items: "Sequence[Any]") -> None:
        if not items:
            return
        meter_id = self.meter_id
        assert meter_id is not None
        cls = model.CLASS_OF_KIND[kind]
        items = mark(items, self._meter)
        try:
            self._places[cls] = self._outbox.append(meter_id, cls, _encoder(meter_id, items)).place
        except FrameError:
            # Seldom, so that the effort of splitting is not spent on each reading.
            for part in frames.split(items):
                self._places[cls] = self._outbox.append(meter_id, cls, _encoder(meter_id, part)).place

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
        found = ["%s: %s" % (model.KIND_NAMES[kind], self.problems[kind]) for kind in sorted(self.problems)]
        for one in (self.settings.client, self.settings.on_demand):
            if one is not None:
                found += ["%s: %s" % (what, one.problems[what]) for what in sorted(one.problems)]
        return "; ".join(found)

    async def _patiently(self, ask: "Callable[..., Awaitable[Any]]", *arguments: "Any") -> "Any":
        """The answer; a good link gives a bad one now and then (MEP guide, 0B), so it is asked again."""
        for _ in range(_BAD_ANSWERS - 1):
            try:
                return await ask(*arguments)
            except (AuthenticationError, ProtocolError) as error:
                self.bad_answers += 1
                self._log("debug", "%s: asked again after a bad answer: %s" % (self.settings.name, error))
        return await ask(*arguments)


def _encoder(meter_id: bytes, items: "Sequence[Any]") -> "Callable[[int, int], bytes]":
    return lambda epoch, sequence: frames.encode(meter_id, epoch, sequence, items)


async def _close(meter: "Meter") -> None:
    try:
        await clock.wait_for_ms(meter.close(), _CLOSE_MS)
    except Expired:
        pass  # the meter ends the session by its own time-out
