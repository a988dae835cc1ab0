"""One meter: opens it, makes sure who it is, and reads it by its schedule.

What is urgent overtakes what is being read at its next message: alarms first, then alerts and what somebody
asks for, then present values. It runs in between, on the same tables, so a reader finds at each message what
it would find if its own message had taken longer. A board has room for one reader at a time: there only what
the meter or a person asks for runs in between.
"""

import asyncio

from .. import clock
from .._compat import MICROPYTHON, TYPE_CHECKING, const
from ..errors import ConfigurationError, Expired, LinkError, NoAnswer
from ..transmission import ids, model
from ..transmission.packer import unpack
from . import kinds, schedule
from .collector import Collector
from .link_budget import Bucket, LinkBudget
from .scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from ..c1219.readers.identity import Identity
    from ..c1219.tables import Tables
    from ..meter import Meter
    from .alert_watch import AlertWatch
    from .meter_settings import MeterSettings
    from .outbox import Outbox
    from .requests import Request
    from .scheduler import Job
    from .supervisor import Log, Worker

    Work = tuple[int, int, Callable[[Any], Awaitable[None]], Any]  # priority, kind, what to call with what

_CLOSE_MS = const(2000)
_LOOK_AGAIN_MS = const(60000)
# To end a session and begin another takes about as long.
_WORTH_RELEASING_MS = const(1000)
_MAX_REQUESTS = const(8)


class _Overtaken(Exception):
    """What is being read makes room for alarms."""


class MeterTask(Collector):
    """A supervised worker; one for each meter, for as long as the gateway runs. See Collector, too.

    `identity`: manufacturer and serial number as one text, "" before it is known.
    """

    def __init__(self, settings: "MeterSettings", outbox: "Outbox", log: "Log") -> None:
        Collector.__init__(self, settings, outbox, log)
        self.identity = ""
        self.bucket = Bucket(settings.reads_per_hour)
        self.intervals_note = b"intervals/" + settings.name.encode()
        self.scheduler = Scheduler(self._jobs())
        self._note = b"identity/" + settings.name.encode()
        self._stranger = ""  # who answers in place of the meter that is expected
        self._expected = ""
        self._confirmed = asyncio.Event()
        self._wake = asyncio.Event()
        self._watch: AlertWatch | None = None
        self._requests: list[Request] = []
        self._running: list[tuple[int, int]] = []  # priority and kind, what overtakes last
        self._tables: Tables | None = None
        self._given_up = -1  # the kind that made room for alarms

    async def run(self, worker: "Worker") -> None:
        """One connection after the other; what ends one is raised, for the supervisor to wait it out."""
        while True:
            await self._leave_alone(worker)
            meter = LinkBudget(await self.settings.open_meter(), self.bucket)
            self.vitals.connected(meter)
            client = self.settings.client
            if client is not None:
                if self._watch is None:
                    from .alert_watch import AlertWatch

                    self._watch = AlertWatch(self, client, self._wake.set)
                self._watch.connected()
                meter.on_alert = self._watch.raised
            try:
                tables = await self._meet(meter)
                if tables is not None:
                    await self._serve(meter, tables, worker)
            finally:
                self._refuse_requests()
                self.vitals.disconnected()
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
            self.outbox.set_note(self._note, self._stranger.encode())
            self._confirmed.set()

    def read_again(self) -> None:
        """Cursors were set back: what they passed is read again now."""
        for job in self.scheduler.jobs:
            if model.SELF_READ <= job.kind <= model.MBUS:
                job.more_ms = 0
        self._wake.set()

    async def read_now(self, kind: int) -> "tuple[bool, str]":
        """Read a kind once, ahead of all but alarms. Whether the outbox has it, and in words what was done or
        why not; of what the meter stores step by step, more may follow."""
        from .requests import read_now

        return await read_now(self, kind)

    async def self_test(self) -> "tuple[bool, str]":
        """Whether the meter answers, is the right one, and all that is read of it can be read; in words, too.
        Writes nothing to the meter."""
        from .requests import self_test

        return await self_test(self)

    async def backfill(self, kind: int, from_s: int, to_s: int) -> "tuple[bool, str]":
        """Have what the meter stored between these times (UTC seconds) read once more, besides the rest.
        Whether that was taken on, which then outlives a restart, and in words what follows or why not."""
        from .requests import backfill

        return backfill(self, kind, from_s, to_s)

    def set_interval(self, kind: int, interval_ms: int) -> "tuple[bool, str]":
        """Another interval for a kind, which outlives a restart; 0: that of the configuration again."""
        from .requests import set_interval

        return set_interval(self, kind, interval_ms)

    def job(self, kind: int) -> "Job | None":
        """The scheduled job of a kind."""
        for job in self.scheduler.jobs:
            if job.kind == kind:
                return job
        return None

    def changed_intervals(self) -> "dict[int, int]":
        """In ms, by kind: those that differ from the configuration."""
        note = self.outbox.note(self.intervals_note)
        flat = unpack(note) if note is not None else ()
        return {flat[i]: flat[i + 1] for i in range(0, len(flat), 2)}

    def _jobs(self) -> "list[Job]":
        intervals = dict(self.settings.intervals_ms or {})
        intervals.update(self.changed_intervals())
        self._follows_the_meter = model.LOAD_PROFILE not in intervals
        return schedule.jobs(intervals, self.settings.place)

    def reschedule(self) -> None:
        """Intervals have changed: jobs go on with theirs."""
        jobs = self._jobs()
        for i in range(len(jobs)):
            held = self.job(jobs[i].kind)
            if held is not None:
                held.set_interval(jobs[i].interval_ms, clock.utc_ms())
                jobs[i] = held
        self.scheduler.jobs = jobs
        self._wake.set()

    async def ask(self, request: "Request") -> "tuple[bool, str]":
        """The request's answer, at once where the meter can't be asked now."""
        if self._tables is None:
            return False, "%s can't be asked: there is no connection to it now" % self.settings.name
        if len(self._requests) >= _MAX_REQUESTS:
            return False, "%s has %d requests waiting already" % (self.settings.name, _MAX_REQUESTS)
        self._requests.append(request)
        self._wake.set()
        return await request.answer()

    def _refuse_requests(self) -> None:
        self._tables = None
        for request in self._requests:
            request.answered(False, "the connection to %s has ended" % self.settings.name)
        self._requests = []

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
            who = await self.patiently(identify, tables)
            if not self._is_known(who):
                return None
            if clock.source() != clock.NETWORK:
                from .meter_time import take

                await self.patiently(take, tables, self.settings.name, self.log)
            await self._read(tables, model.IDENTITY, readings, tables, who)
        finally:
            kinds.forget_readers()
        return tables

    def _is_known(self, who: "Identity") -> bool:
        """Whether this is the meter that is expected; from then on it is."""
        identity = "%s %s" % (who.manufacturer, who.serial)
        settings = self.settings
        noted = self.outbox.note(self._note)
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
            self.outbox.set_note(self._note, identity.encode())
        if self.identity and self.identity != identity:
            self.scheduler = Scheduler(self._jobs())  # nothing of this one was read
        self.identity = identity
        if settings.meter_id is None:
            self.meter_id = ids.meter_individual_id(who.manufacturer, who.serial)
        if noted is not None and noted != identity.encode() and self.meter_id is not None:
            self._drop_cursors(self.meter_id)
        return True

    async def _serve(self, meter: LinkBudget, tables: "Tables", worker: "Worker") -> None:
        """Reads what is due until the link goes, or the time of day comes at which the port is left alone:
        then nothing of ours may stand there, not even a session that waits."""
        self._running = []
        self._tables = tables
        meter.before_read = self._let_overtake
        while not self.settings.idle_ms(clock.utc_ms()):
            problems = self.trouble()
            worker.report("working", problems, "warning" if problems else "info")
            self._wake.clear()
            spare_in = self.bucket.spare_in_ms()
            asked = self._asked(spare_in)
            if asked is not None:
                await self._run(*asked)
                continue
            job = self.scheduler.take(clock.utc_ms(), not spare_in)
            if job is not None:
                await self._run(job.priority, job.kind, self._run_job, job)
                continue
            wait = self.scheduler.wait_ms(clock.utc_ms(), spare_in)
            alert_in = self._watch.wait_ms(spare_in) if self._watch is not None else None
            await self._rest(meter, wait if alert_in is None else min(wait, alert_in))

    async def _let_overtake(self) -> None:
        """Before each message of what is being read: what is more urgent goes ahead, each kind once, so that
        what they overtake gets on however slow the line is."""
        below, kind = self._running[-1]
        above = 0
        if MICROPYTHON:
            # A board has no room for a second reader, so present values wait until this one is done.
            assert self._tables is not None
            if len(self._running) > 1 or below <= schedule.ASKED or self._tables.traces:
                return
            below = min(below, schedule.ASKED + 1)
            if "seen" not in self._tables.memo or kind in (self._given_up, model.MBUS):
                above = schedule.ASKED - 1  # devices are asked with writes, which are not given up halfway
        while True:
            work = self._urgent(above, below)
            if work is None:
                return
            above = work[0]
            # A task of its own begins with an empty stack: a board's is too small for both.
            await asyncio.create_task(self._run(*work))

    def _urgent(self, above: int, below: int) -> "Work | None":
        """What of the priorities between these may overtake, the most urgent first."""
        now = clock.utc_ms()
        job = self.scheduler.take_urgent(now, above, min(below, schedule.ASKED))
        if job is not None and MICROPYTHON:
            return job.priority, job.kind, self._glance, job
        if job is None:
            if above < schedule.ASKED < below:
                asked = self._asked(self.bucket.spare_in_ms())
                if asked is not None:
                    return asked
            job = self.scheduler.take_urgent(now, max(above, schedule.ASKED), min(below, schedule.OVERTAKEN))
        return None if job is None else (job.priority, job.kind, self._run_job, job)

    def _asked(self, spare_in_ms: int) -> "Work | None":
        """What the meter or a person asks for."""
        watch = self._watch
        if watch is not None:
            if watch.unprepared:
                return schedule.ASKED, -1, watch.prepare, self._tables
            if watch.wait_ms(spare_in_ms) == 0:
                return schedule.ASKED, -1, self._serve_alert, self._tables
        for request in self._requests:
            # A kind that is being read has its cursor on the way.
            if request.kind not in [running[1] for running in self._running]:
                self._requests.remove(request)
                return schedule.ASKED, request.kind, request.run, self._tables
        return None

    async def _run(
        self, priority: int, kind: int, work: "Callable[[Any], Awaitable[None]]", what: "Any"
    ) -> None:
        self._running.append((priority, kind))
        try:
            await work(what)
        finally:
            self._running.pop()
            if not self._running and kind != model.PRESENT:
                kinds.forget_readers()

    async def _run_job(self, job: "Job") -> None:
        assert self._tables is not None
        try:
            await self.collect(job, self._tables)
        except (LinkError, NoAnswer):
            self.scheduler.give_back(job)
            raise
        except _Overtaken:
            self._given_up = job.kind  # the next time it gets on
            self.scheduler.give_back(job)
            job.more_ms = 0
        else:
            if self._given_up == job.kind:
                self._given_up = -1

    async def _glance(self, job: "Job") -> None:
        """At alarms, without their reader. When they changed, what is being read is given up, and is read
        anew after them."""
        assert self._tables is not None
        table, seen = self._tables.memo["seen"]
        if await self._tables.meter.read(table, 0, len(seen)) != seen:
            self.scheduler.give_back(job)
            raise _Overtaken
        self.has_read(job.kind, ())

    async def _serve_alert(self, tables: "Tables") -> None:
        assert self._watch is not None
        asked = await self._watch.serve(tables)
        for job in self.scheduler.jobs:
            if job.kind in asked:
                job.more_ms = 0

    def _forget(self, tables: "Tables", kind: int) -> None:
        # What was overtaken still needs its own.
        if len(self._running) < 2:
            Collector._forget(self, tables, kind)

    async def _rest(self, meter: "Meter", wait_ms: int) -> None:
        """Until something is due, or wakes this task."""
        if wait_ms >= _WORTH_RELEASING_MS:
            await meter.release()
        since = clock.monotonic_ms()
        try:
            await clock.wait_for_ms(self._wake.wait(), wait_ms)
        except Expired:
            pass
        if self._watch is not None:
            self._watch.rested(since)

    def status(self) -> "dict[str, Any]":
        """See Gateway.status."""
        kinds = {
            model.KIND_NAMES[job.kind]: self._kind_status(job.kind, job.missed, job.interval_ms)
            for job in self.scheduler.jobs
        }
        kinds[model.KIND_NAMES[model.IDENTITY]] = self._kind_status(model.IDENTITY)
        status = self.vitals.status()
        status["link"]["reads"] = self.bucket.used
        status["link"]["badAnswers"] = self.bad_answers
        status["name"] = self.settings.name
        status["meterId"] = ids.format_uuid(self.meter_id) if self.meter_id else ""
        status["identity"] = self.identity
        status["kinds"] = kinds
        return status

    def _kind_status(self, kind: int, missed: int = 0, interval_ms: "int | None" = None) -> "dict[str, Any]":
        return {
            "lastMs": self.last_ms.get(kind),
            "ageMs": self.vitals.age_ms(kind),
            "intervalMs": interval_ms,
            "staleMs": self.vitals.stale.get(kind),
            "problem": self.problems.get(kind, ""),
            "missed": missed,
        }

    def look(self, worker: "Worker") -> bool:
        """Whether other kinds are stale than at the last look, which is logged."""
        stale = self.vitals.look(self.scheduler.jobs)
        if stale is None:
            return False
        text = "nothing is stale any more"
        if stale:
            text = "stale, not read for long: " + ", ".join([model.KIND_NAMES[kind] for kind in stale])
        level = "warning" if stale and worker.state != "idle" else "info"
        self.log(level, "%s: %s" % (self.settings.name, text))
        return True

    @property
    def expected_id(self) -> "bytes | None":
        """Of the meter that is there or, until it has said who it is, of the one that was."""
        noted = self.outbox.note(self._note)
        if self.meter_id is None and noted is not None:
            return ids.meter_individual_id(*noted.decode().rsplit(" ", 1))
        return self.meter_id


async def _close(meter: "Meter") -> None:
    try:
        await clock.wait_for_ms(meter.close(), _CLOSE_MS)
    except Expired:
        pass  # the meter ends the session by its own time-out
