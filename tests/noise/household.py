"""A meter behind a bad line, read by the whole gateway in virtual time, and compared with its truth.

The virtual meter has lived a busy day. Driver, tables, readers, schedule, cursors and outbox are the real
ones; the run ends when all that the meter stored before its beginning is in the outbox, and tells what is
there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from gateway import clock
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_settings import MeterSettings
from gateway.core.meter_task import MeterTask
from gateway.core.supervisor import Supervisor
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import TLS, Security
from gateway.drivers.optical.client import Client
from gateway.drivers.optical.meter import OpticalMeter
from gateway.errors import GatewayError
from gateway.meter import Meter
from gateway.simulator.faulty import LineFaults
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.simulator.scenario import Happening
from gateway.simulator.service import TableService
from gateway.transmission import frames, model, registry
from gateway.transmission.rows import rows
from tests import virtual_loop
from tests.faulty_lines import faulty_link

START_MS = 1_720_000_000_000  # 2024-07-03T09:46:40Z
KEY = bytes(range(0x30, 0x40))
PASSWORD = b"a password with 20 b"
# BT62's sources of the four channels.
CHANNELS = ("OBIS_1.8.0", "OBIS_2.8.0", "OBIS_3.8.0", "OBIS_4.8.0")
FIRMWARES = ("2.10", "3.10", "3.50", "3.70", "4.30")
DAY_MS = 86_400_000
LOOK_MS = 2000
# What stays beside the backfill: enough to see that it gets its turn.
INTERVALS_MS = {model.PRESENT: 60_000, model.ALARM: 60_000}


@dataclass
class Outcome:
    """Of one run. `wrong`: believed bytes and published values that are not the meter's, in words; `missing`,
    `doubled`: what the meter stored. `ms`: virtual time until all was there; `sent`, `received`: bytes on the
    line; `tried`, `succeeded`: exchanges (one request, one answer); `kept`: table bytes that arrived;
    `key_refused`: how often the meter was said to refuse the key."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    ms: int = 0
    sent: int = 0
    received: int = 0
    faults: int = 0
    tried: int = 0
    succeeded: int = 0
    kept: int = 0
    intervals: int = 0
    events: int = 0
    connections: int = 0
    key_refused: int = 0

    @property
    def good(self) -> bool:
        return not (self.wrong or self.missing or self.doubled)

    @property
    def air_ms(self) -> int:
        """How long the line carried bytes, of 10 bits at 9600 baud."""
        return (self.sent + self.received) * 10_000 // 9600


class CountedMep(MepMeter):
    """Counts the reads that go out, and those that arrive."""

    outcome: Outcome

    async def _exchange(self, message: bytes, patient: bool = True) -> bytes:
        self.outcome.tried += 1
        answer = await super()._exchange(message, patient)
        self.outcome.succeeded += 1
        return answer


class CountedClient(Client):
    outcome: Outcome

    async def exchange(self, request: bytes) -> bytes:
        self.outcome.tried += 1
        answer = await super().exchange(request)
        self.outcome.succeeded += 1
        return answer


class Witness(Meter):
    """Hands on what a driver believes, once it is found to be what the meter has served."""

    def __init__(self, meter: Meter, served: list[tuple[int, int, bytes]], outcome: Outcome) -> None:
        self.meter = meter
        self.authenticated = meter.authenticated
        self.served = served
        self.outcome = outcome
        meter.on_alert = lambda: self.on_alert and self.on_alert()
        self.follow()

    def follow(self) -> None:
        self.max_read = self.meter.max_read
        self.resyncs = self.meter.resyncs

    async def read(self, table: int, offset: int | None = None, count: int | None = None) -> bytes:
        self.served.clear()
        try:
            data = await self.meter.read(table, offset, count)
        finally:
            self.follow()
        start = offset or 0
        self.outcome.kept += len(data)
        if count is not None and len(data) != count:
            self.outcome.wrong.append(f"{len(data)} bytes of table {table} for {count}")
        reached = {0}
        for at in range(len(data)):
            if at in reached:
                reached |= {
                    at + len(part)
                    for number, begin, part in self.served
                    if (number, begin) == (table, start + at) and data[at : at + len(part)] == part
                }
        if len(data) not in reached:
            self.outcome.wrong.append(f"table {table}, {len(data)} bytes from {start}: not what was served")
        return data

    async def write(self, table: int, data: bytes, offset: int | None = None) -> None:
        await self.meter.write(table, data, offset)

    async def release(self) -> None:
        await self.meter.release()

    async def close(self) -> None:
        await self.meter.close()


@contextmanager
def listening(served: list[tuple[int, int, bytes]]):
    """`served` gets (table, offset, data) of every read that a virtual meter answers."""
    answer = TableService.answer

    def heard(self: TableService, message: bytes, advanced: bool) -> bytes:
        response = answer(self, message, advanced)
        if message[0] in (0x30, 0x3F) and response[0] == 0:
            begin = int.from_bytes(message[3:6], "big") if message[0] == 0x3F else 0
            served.append((int.from_bytes(message[1:3], "big"), begin, response[3:]))
        return response

    TableService.answer = heard  # type: ignore[method-assign]
    try:
        yield
    finally:
        TableService.answer = answer  # type: ignore[method-assign]


def firmware(security: str, seed: int) -> str:
    """Each seed has its own; only the newest speaks TLS."""
    return "4.30" if security == TLS else FIRMWARES[seed % len(FIRMWARES)]


def busy_day(seed: int) -> Iterator[Happening]:
    """What happened to the meter before the run, and what happens meanwhile; no part of it changes what the
    load profile records."""
    chance = Random(f"{seed} noise")
    for _ in range(30):
        yield START_MS - chance.randrange(DAY_MS), "log_event", (chance.randrange(2048, 2100),)
    for name in ("magnetic tamper", "cover removed", "reverse energy", "phase loss"):
        at = START_MS - chance.randrange(DAY_MS)
        yield at, "set_alarm", (name,)
        yield at + 600_000, "clear_alarm", (name,)
    for seconds in (3, 40, 1200):
        yield START_MS - 1000 * seconds - chance.randrange(DAY_MS), "cut_power", (seconds,)
    for seconds in (-3, 4):
        yield START_MS - chance.randrange(DAY_MS), "move_clock", (seconds,)
    for _ in range(6):
        yield START_MS + chance.randrange(300_000), "log_event", (chance.randrange(2048, 2100),)


class Household:
    def __init__(self, port: str, security: str, faults: LineFaults, hours: int) -> None:
        self.port = port
        self.security = security
        self.faults = faults
        self.limit_ms = hours * 3_600_000
        self.outcome = Outcome(faults.seed)
        self.served: list[tuple[int, int, bytes]] = []
        self.outbox = MemoryOutbox(64_000_000)
        self.intervals: Counter[tuple[int, int, int, int]] = Counter()
        self.events: Counter[int] = Counter()
        self.found: dict[object, tuple[object, ...]] = {}
        self.place = dict.fromkeys(set(model.CLASS_OF_KIND), -1)

    def run(self) -> Outcome:
        with listening(self.served):
            virtual_loop.run(self._run, START_MS)
        return self.outcome

    async def _run(self) -> None:
        begin = clock.monotonic_ms()
        self.meter = VirtualMeter(
            KEY,
            seed=self.faults.seed,
            firmware=firmware(self.security, self.faults.seed),
            start_ms=START_MS,
            history_days=1,
            life=list(busy_day(self.faults.seed)),
            monotonic=lambda: clock.monotonic_ms() - begin,
            optical_keys=OpticalKeys(PASSWORD) if self.port == "optical" else None,
            security="tls" if self.security == TLS else "rc4",
        )
        wanted = self._wanted()
        channel = self.meter.optical if self.port == "optical" else self.meter.ports[0]
        async with faulty_link(channel, self.faults, paced=True) as link:
            self._count(link)
            self.link = link
            self.task = MeterTask(
                MeterSettings("m", self._open, intervals_ms=INTERVALS_MS), self.outbox, lambda *_: None
            )
            supervisor = Supervisor(self._told)
            supervisor.add("m", self.task.run)
            running = asyncio.create_task(supervisor.run())
            try:
                while True:
                    await clock.sleep_ms(LOOK_MS)
                    self._look()
                    late = clock.monotonic_ms() - begin > self.limit_ms
                    if late or (wanted <= self.intervals.keys() | self.events.keys()):
                        break
            finally:
                self.outcome.ms = clock.monotonic_ms() - begin
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                self.outcome.faults = sum(link.faults.values())
        self._compare(wanted)

    def _count(self, link) -> None:
        write, arrived = link.write, link._arrived

        async def counted(data: bytes) -> None:
            self.outcome.sent += len(data)
            await write(data)

        def heard(data: bytes) -> None:
            self.outcome.received += len(data)
            arrived(data)

        link.write, link._arrived = counted, heard

    def _told(self, level: str, text: str) -> None:
        if "refused the" in text:
            self.outcome.key_refused += 1

    async def _open(self) -> Meter:
        self.outcome.connections += 1
        link = await self.link.reopen()
        link.port.plug(link._arrived)
        if self.port == "optical":
            driver: Meter = OpticalMeter(link, PASSWORD)
            driver._client.__class__ = CountedClient
            driver._client.outcome = self.outcome
        else:
            tls = None
            if self.security == TLS:
                from gateway.drivers.mep.tls_client import TlsClient

                tls = TlsClient
            driver = CountedMep(link, Security(KEY, self.security, tls, level=1 if tls else None))
            driver.outcome = self.outcome
        return Witness(driver, self.served, self.outcome)

    def _wanted(self) -> set[object]:
        """The keys of all that the meter has stored by now."""
        truth = self.meter.truth_document()
        return {_key(one) for one in truth["load_profile"]["intervals"] if one["in_meter"]} | {
            one["sequence"] for one in truth["events"]["entries"] if one["in_meter"]
        }

    def _look(self) -> None:
        """What is new in the outbox."""
        meter = self.task.meter_id
        if meter is None:
            return
        for cls in self.place:
            while (entry := self.outbox.following(meter, cls, self.place[cls])) is not None:
                self.place[cls] = entry.place
                frame = frames.decode(entry.frame, meter)
                if frame.kind == model.LOAD_PROFILE:
                    for series in frame.items:
                        self._take_series(series)
                elif frame.kind == model.EVENT:
                    for _, reading in rows(frame, meter):
                        self._take_event(reading)

    def _take_series(self, series: model.Series) -> None:
        names = [registry.name(c.prop) if isinstance(c.prop, int) else c.prop for c in series.columns]
        row = 0
        for count, number, configuration, block, first in series.origins:
            for index in range(first, first + count):
                key = (number, configuration, block, index)
                self.intervals[key] += 1
                values = {
                    name: column.mantissas[row]
                    for name, column in zip(names, series.columns, strict=True)
                    if column.mantissas[row] is not None
                }
                self.found[key] = (series.times[row], values)
                row += 1

    def _take_event(self, reading: model.Reading) -> None:
        values = {registry.name(v.prop) if isinstance(v.prop, int) else v.prop: v for v in reading.values}
        if "OSGP_event_sequence" not in values:
            return
        sequence = values["OSGP_event_sequence"].mantissa
        argument = values.get("OSGP_event_argument")
        self.events[sequence] += 1
        self.found[sequence] = (
            reading.time.seconds,
            values["OSGP_event_code"].mantissa,
            argument.text if argument else "",
        )

    def _compare(self, wanted: set[object]) -> None:
        outcome = self.outcome
        truth = self.meter.truth_document()
        recorded: dict[object, tuple[object, ...]] = {
            _key(one): (_seconds(one["end"]), dict(zip(CHANNELS, one["values"], strict=True)))
            for one in truth["load_profile"]["intervals"]
        }
        for one in truth["events"]["entries"]:
            recorded[one["sequence"]] = (_seconds(one["stamp"]), one["code"], one["argument"])
        for key, value in self.found.items():
            if recorded.get(key) != value:
                outcome.wrong.append(f"{key}: {value} where the meter has {recorded.get(key)}")
        outcome.missing = sorted(map(str, (wanted - self.found.keys()) & set(recorded)))
        for counted in (self.intervals, self.events):
            outcome.doubled += [str(key) for key, count in counted.items() if count > 1]
        outcome.intervals = len(self.intervals)
        outcome.events = len(self.events)


def _key(one: dict) -> tuple[int, int, int, int]:
    return one["data_set"], one["configuration"], one["block"], one["interval"]


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def run(port: str, security: str, faults: str, seed: int, hours: int = 24) -> Outcome:
    """One run; `faults` as for `simulate --fault`, without the seed."""
    try:
        return Household(port, security, LineFaults.parse(f"{faults},seed={seed}"), hours).run()
    except GatewayError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
