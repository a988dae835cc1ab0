"""What happens to the meter as time passes: intervals end, power fails and comes back, clocks are set.

Nothing runs by itself: whoever looks at the meter brings its life up to that moment, happening by happening
in the order of run time. The same happenings give the same life, however often someone looks.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from . import alarms, events, mbus, measured, readout, tou
from .calendar import DAY_MS, MINUTE_MS, long_date, short_date
from .definitions import SUMMATION_SOURCES
from .generations import Generation
from .image import et
from .mbus_devices import Device
from .profile import (
    DEVICE_MISSING,
    PLACEHOLDER,
    POWER_FAIL,
    SKIPPED,
    Configuration,
    Interval,
    Recorder,
)
from .profile_tables import sets_of
from .rings import Ring

if TYPE_CHECKING:
    from .meter import VirtualMeter

Action = Callable[[int], None]

# Sources 29 to 72 are eleven registers of each of four tiers (MEP guide, "Source IDs").
_TIER_SOURCES = range(29, 73)
_TIER_REGISTERS = 11
_PRESENT_DEMANDS = range(88, 96)
_MBUS_SOURCES = range(0x4000, 0x5000)

# ET13.8: an M-Bus value in the load profile, for clients that want to hear of it (ET50.30.2).
MBUS_CHANGE = 1 << 3
# What a device takes to answer a request.
_ANSWER_MS = 3000
_OUTAGE_BYTES = 12

# At the same instant: what the clock brings comes before what someone planned.
_BY_CLOCK = 0
_PLANNED = 1


@dataclass(frozen=True)
class SelfRead:
    """A copy of BT23. `stamp` is local time as if it were UTC; `readout` what it shows."""

    sequence: int
    stamp: int
    season: int
    data: bytes
    generation: Generation
    readout: dict[str, object]


@dataclass(frozen=True, slots=True)
class Outage:
    """Both are the meter's UTC."""

    start: int
    end: int


class Life:
    """The history of one meter from its world's start on."""

    def __init__(
        self,
        meter: "VirtualMeter",
        configuration: Configuration,
        devices: list[Device],
        event_sequence: int = 0,
    ) -> None:
        self._meter = meter
        self._planned: list[tuple[int, int, Action]] = []
        self._numbers = count()
        self._busy = False
        self._power_up_ms: int | None = None
        self.now_ms = meter.world.start_ms
        self._configurations = 0
        self._past_intervals: list[Interval] = []
        self.past_configurations: list[tuple[int, Configuration]] = []
        self.profile: list[Recorder] = []
        g = meter.generation
        self.events = events.EventLogs(g, event_sequence)
        self.alarms = alarms.Alarms(g)
        self.bus = mbus.Bus(g, devices)
        self.self_reads: list[SelfRead] = []
        self.copies = Ring(0, 0)
        self.outages: list[Outage] = []
        self.outage_log = Ring(g.outage_entries if g.number >= (3, 70) else 0, _OUTAGE_BYTES)
        self.previous_season = bytes(6)
        self.previous_demands = bytes(6)
        self.configure_profile(configuration, meter.world.start_ms)
        self.resize()
        clock = meter.world.clock_at(self.now_ms)
        local_ms = meter.local.local_ms(clock)
        self._day = local_ms // DAY_MS
        self._season = tou.season_at(local_ms)
        self._summer = meter.local.is_summer(clock)
        self._calendar_due = clock
        self._mbus_due: list[int | None] = []

    @property
    def powered(self) -> bool:
        return self._power_up_ms is None

    def advance(self, to_ms: int) -> None:
        """Let everything happen that is due by `to_ms`."""
        if self._busy:
            return
        self._busy = True
        try:
            if not self._mbus_due:
                self.schedule()
            while True:
                due, action = self._next()
                if due > to_ms:
                    break
                self.now_ms = due
                self._meter.registers.advance(due)
                action(due)
            self.now_ms = max(self.now_ms, to_ms)
        finally:
            self._busy = False

    def plan(self, run_ms: int, action: Action) -> None:
        """Let `action` happen at `run_ms`, or at once when that has passed; it is given the moment."""
        heapq.heappush(self._planned, (run_ms, next(self._numbers), action))

    def _next(self) -> tuple[int, Action]:
        """The next happening. A meter without power has to wait for it."""
        if self._power_up_ms is not None:
            return self._power_up_ms, self._power_up
        ahead = self._meter.world.clock_at(self.now_ms) - self.now_ms
        best: tuple[int, int, Action] = (1 << 62, _PLANNED, self._never)
        if self._planned:
            best = (max(self._planned[0][0], self.now_ms), _PLANNED, self._run_planned)
        for recorder in self.profile:
            due = recorder.interval_end - ahead
            if recorder.active and (due, _BY_CLOCK) < best[:2]:
                best = (due, _BY_CLOCK, self._intervals_end)
        for read_due in (*self._mbus_due, *self._meter.clients.due):
            if read_due is not None and (read_due - ahead, _BY_CLOCK) < best[:2]:
                best = (read_due - ahead, _BY_CLOCK, self._scheduled_reads)
        if (self._calendar_due - ahead, _BY_CLOCK) < best[:2]:
            best = (self._calendar_due - ahead, _BY_CLOCK, self._calendar)
        return best[0], best[2]

    @property
    def clock(self) -> int:
        """What the meter's clock says at the moment the life has come to."""
        return self._meter.world.clock_at(self.now_ms)

    def note(
        self, code: int, argument: int = 0, user: int = events.NO_USER, stamp: int | None = None
    ) -> None:
        """Write an event to the logs."""
        stamp = self.clock if stamp is None else stamp
        self.events.log(stamp, code, argument, user)
        self.alarms.change("event log unread", True, stamp)

    def alarm(self, name: str, is_set: bool = True, stamp: int | None = None) -> None:
        """Set or clear an alarm, with its event."""
        stamp = self.clock if stamp is None else stamp
        if not self.alarms.change(name, is_set, stamp):
            return
        code = alarms.event_of(name)
        if code is not None and (is_set or code >= events.MANUFACTURER):
            self.note(code, int(is_set), stamp=stamp)

    # Calendar and copies of registers.

    def schedule(self) -> None:
        """Work out what the local clock brings next: after it moved, and when a schedule was changed."""
        meter, clock = self._meter, self.clock
        self._calendar_due = tou.next_change_ms(meter.local, clock)
        held = meter.image.read(et(13))
        now = meter.local.local_ms(clock)
        self._mbus_due = []
        for slot in self.bus.slots:
            at = slot.device.index * mbus.CONFIG_BYTES
            due = None if slot.removed else mbus.next_read(held[at : at + 4], now)
            self._mbus_due.append(None if due is None else clock + due - now)
        self._mbus_due = self._mbus_due or [None]
        meter.clients.schedule(clock, now)

    def _calendar(self, _run_ms: int) -> None:
        """The local clock shows another day, or summer time has begun or ended."""
        meter, clock = self._meter, self.clock
        summer = meter.local.is_summer(clock)
        if summer != self._summer:
            self._summer = summer
            self.note(events.DST_ON if summer else events.DST_OFF)
        local_ms = meter.local.local_ms(clock)
        day, season = local_ms // DAY_MS, tou.season_at(local_ms)
        # Whatever the clock jumped over, registers are copied once.
        if any(tou.is_self_read_day(day - back) for back in range(min(day - self._day, 31))):
            self.self_read()
        if season != self._season:
            self.previous_season = self._copied_registers()
            self._season = season
            self.note(events.SEASON_CHANGED, season)
        self._day = day
        self.schedule()

    def resize(self) -> None:
        """The registers have other dimensions: copies of the old ones are gone."""
        g = self._meter.generation
        size = len(self._registers())
        capacity = min(g.self_reads, 12) if g.has_bt21 else g.self_reads
        self.copies = Ring(capacity, 2 * bool(g.demands) + 6 + size, sequence=self.copies.sequence)
        self.previous_season = self.previous_demands = bytes(6 + size)

    def bt26(self) -> bytes:
        return self.copies.image()

    def self_read(self) -> None:
        """Copy the registers into BT26."""
        copy = self._copied_registers()
        stamp = self._meter.local.local_ms(self.clock)
        sequence = self.copies.sequence + 1
        read = SelfRead(sequence, stamp, self._season, copy[6:], self._meter.generation, self.readout())
        billing = (1).to_bytes(2, "little") if self._meter.generation.demands else b""
        self.copies.append(billing + copy, read)
        self.self_reads.append(read)
        self.note(events.SELF_READ)
        self.alarm("self-read occurred")

    def reset_demands(self) -> None:
        """Maximum demands begin anew; BT25 keeps the old ones."""
        self.previous_demands = self._copied_registers()
        self._meter.registers.reset_demands()
        self._meter.counters.demand_resets += 1
        self.note(events.DEMAND_RESET)

    def _copied_registers(self) -> bytes:
        stamp = short_date(self._meter.local.local_ms(self.clock))
        return stamp + bytes([self._season]) + self._registers()

    def readout(self) -> dict[str, object]:
        """What BT23 shows now."""
        meter = self._meter
        return readout.registers(
            meter.registers, meter.generation, meter.openings, meter.counters, meter.local
        )

    def _registers(self) -> bytes:
        meter = self._meter
        return measured.bt23(meter.registers, meter.generation, meter.openings, meter.counters, meter.local)

    # M-Bus.

    def _scheduled_reads(self, _run_ms: int) -> None:
        due = [d is not None and d <= self.clock for d in self._mbus_due]
        for slot, is_due in zip(self.bus.slots, due, strict=True):
            if is_due:
                self._read_device(slot)
        self._meter.clients.reads_due(self.clock)
        self.schedule()

    def _read_device(self, slot: mbus.Slot, delayed: bool = False) -> None:
        before = slot.alarms
        self.bus.read(slot, self.clock, self._meter.local, scheduled=True, delayed=delayed)
        if slot.alarms & ~before:
            self.alarm("m-bus alarm")
        if self.bus.log.unread:
            self.alarm("manufacturer log entry")

    def request_device(self, transaction: int, handle: int, kind: int, data: bytes) -> int | None:
        """EP19: the place in ET15, or None when it is full; the device answers a little later."""
        place = self.bus.post(transaction, handle, kind, data)
        if place is not None:
            self.plan(
                self.now_ms + _ANSWER_MS,
                lambda _: self.bus.complete(place, self.clock, self._meter.local),
            )
        return place

    def _never(self, _run_ms: int) -> None:
        raise AssertionError("the end of time")

    def _run_planned(self, run_ms: int) -> None:
        heapq.heappop(self._planned)[2](run_ms)

    # Load profile.

    def configure_profile(self, configuration: Configuration, run_ms: int) -> None:
        """From now on the load profile records this; what it recorded is gone from the meter."""
        g = self._meter.generation
        if len(configuration.sets) != sets_of(g):
            raise ValueError("firmware %d.%d has %d data sets" % (*g.number, sets_of(g)))
        self._past_intervals += self.recorded()
        self._configurations += 1
        identifier = self._meter.profile_identifier(self._configurations)
        clock = self._meter.world.clock_at(run_ms)
        self.configuration = configuration
        self.past_configurations.append((identifier, configuration))
        self.profile = [
            Recorder(index + 1, configuration, identifier, data_set, clock)
            for index, data_set in enumerate(configuration.sets)
        ]

    def recorded(self) -> list[Interval]:
        """Every interval of the present configuration, those that blocks have since overwritten included."""
        return [interval for recorder in self.profile for interval in recorder.history]

    def all_intervals(self) -> list[tuple[Interval, bool]]:
        """Every interval ever recorded, and whether the meter still holds it."""
        kept = [(i, recorder.in_meter(i)) for recorder in self.profile for i in recorder.history]
        return [(interval, False) for interval in self._past_intervals] + kept

    def _intervals_end(self, run_ms: int) -> None:
        clock = self._meter.world.clock_at(run_ms)
        snapshot = Snapshot(self._meter, run_ms)
        for recorder in self.profile:
            if recorder.active and recorder.interval_end == clock:
                recorder.passed(snapshot, self._meter.local)
        self._after_intervals(snapshot)

    def _after_intervals(self, snapshot: "Snapshot") -> None:
        if snapshot.asked_mbus:
            self._meter.alert_clients(MBUS_CHANGE)
        self.alarm("load profile unread")
        if self.profile[0].overflow:
            self.alarm("load profile overflow")

    # Power and clock.

    def cut_power(self, run_ms: int, seconds: int) -> None:
        """The power goes off now, for so long."""
        end = run_ms + 1000 * seconds
        self._meter.world.outages.append((run_ms, end))
        self._power_up_ms = end
        self._meter.power_lost()
        for recorder in self.profile:
            recorder.flags |= POWER_FAIL

    def _power_up(self, run_ms: int) -> None:
        self._power_up_ms = None
        start, end = self._meter.world.outages[-1]
        self._meter.counters.outages += 1
        self._meter.counters.outage_seconds += (end - start) // 1000
        meter, clock = self._meter, self.clock
        began = meter.world.clock_at(start)
        outage = Outage(began, clock)
        self.outages.append(outage)
        entry = long_date(meter.local.local_ms(began)) + long_date(meter.local.local_ms(clock))
        self.outage_log.append(entry, outage)
        self.note(events.POWER_DOWN, stamp=began)
        self.note(events.POWER_UP)
        self.alarm("power failure", stamp=began)
        snapshot = Snapshot(meter, run_ms)
        for recorder in self.profile:
            if recorder.active:
                recorder.catch_up(clock, snapshot, meter.local)
        for slot, due in zip(self.bus.slots, self._mbus_due, strict=False):
            if due is not None and due <= clock:
                self._read_device(slot, delayed=True)
        meter.clients.reads_due(clock)
        self._calendar(run_ms)

    def set_clock(self, run_ms: int, utc_ms: int) -> None:
        """Someone sets the meter's clock now."""
        world = self._meter.world
        old = world.clock_at(run_ms)
        world.set_clock(run_ms, utc_ms)
        if utc_ms == old:
            return
        snapshot = Snapshot(self._meter, run_ms)
        for recorder in self.profile:
            if recorder.active:
                recorder.clock_set(utc_ms, utc_ms < old, snapshot, self._meter.local)
        self.note(events.OLD_TIME, stamp=old)
        self.note(events.NEW_TIME)
        self._calendar(run_ms)


class Snapshot:
    """The value of any source at one moment, up to which the registers have counted."""

    def __init__(self, meter: "VirtualMeter", run_ms: int) -> None:
        self._meter = meter
        self._run_ms = run_ms
        self._registers: dict[int | None, list[int]] = {}
        self._minute = meter.world.clock_at(run_ms) // MINUTE_MS % 1440
        self.asked_mbus = False
        self._present: dict[bool, dict[int, int]] = {}

    def __call__(self, source: int, stuffed: bool) -> tuple[int, int]:
        """Value and status; for a moment that was missed, only registers have one."""
        if source in SUMMATION_SOURCES:
            return self._block(None)[SUMMATION_SOURCES.index(source)], 0
        if source in _TIER_SOURCES:
            tier, register = divmod(source - _TIER_SOURCES.start, _TIER_REGISTERS)
            return self._block(tier)[register], 0
        if source in _MBUS_SOURCES:
            return self._mbus(source >> 8 & 7, source & 31, stuffed)
        if stuffed:
            return 0, SKIPPED
        if source in _PRESENT_DEMANDS:
            values = measured.present_demands(self._meter.registers, self._meter.generation)
            place = source - _PRESENT_DEMANDS.start
            return (values[place], 0) if place < len(values) else (0, SKIPPED)
        averaged = source in measured.AVERAGED_SOURCES
        if averaged not in self._present:
            world = self._meter.world
            now = world.present_at(self._run_ms)
            # Averages cost sixty times as much, so only who asks for one pays.
            average = world.average_at(self._run_ms) if averaged else now
            self._present[averaged] = measured.present_values(self._meter.generation, now, average)
        value = self._present[averaged].get(source)
        return (0, SKIPPED) if value is None else (value, 0)

    def _mbus(self, index: int, data_type: int, stuffed: bool) -> tuple[int, int]:
        """What a device says. Devices run on batteries, so only so often (ET34); zero when nothing came."""
        at = index * mbus.POLL_BYTES + mbus.POLL_RATE_OFFSET
        rate = int.from_bytes(self._meter.image.read(et(34))[at : at + 2], "little")
        if rate and self._minute % rate and not stuffed:
            return 0, SKIPPED
        slot = self._meter.life.bus.at(index)
        if slot is None or slot.device.missing:
            return 0, DEVICE_MISSING
        if stuffed:
            return 0, PLACEHOLDER
        self.asked_mbus = True
        clock = self._meter.world.clock_at(self._run_ms)
        value = slot.device.value(data_type, clock, self._meter.local)
        return (0, SKIPPED) if value is None else (value, 0)

    def _block(self, tier: int | None) -> list[int]:
        if tier not in self._registers:
            meter = self._meter
            block = meter.registers.total if tier is None else meter.registers.tiers[tier]
            self._registers[tier] = measured.all_summations(
                block,
                meter.generation,
                meter.openings[0 if tier is None else 1 + tier],
                meter.counters if tier is None else None,
            )
        return self._registers[tier]
