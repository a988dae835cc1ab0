"""What happens to the meter as time passes: intervals end, power fails and comes back, clocks are set.

Nothing runs by itself: whoever looks at the meter brings its life up to that moment, happening by happening
in the order of run time. The same happenings give the same life, however often someone looks.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from . import measured
from .definitions import SUMMATION_SOURCES
from .profile import DEVICE_MISSING, POWER_FAIL, SKIPPED, Configuration, Interval, Recorder
from .profile_tables import sets_of

if TYPE_CHECKING:
    from .meter import VirtualMeter

Action = Callable[[int], None]

# Sources 29 to 72 are eleven registers of each of four tiers (MEP guide, "Source IDs").
_TIER_SOURCES = range(29, 73)
_TIER_REGISTERS = 11
_PRESENT_DEMANDS = range(88, 96)
_MBUS_SOURCES = range(0x4000, 0x5000)

# At the same instant: what the clock brings comes before what someone planned.
_BY_CLOCK = 0
_PLANNED = 1


class Life:
    """The history of one meter from its world's start on."""

    def __init__(self, meter: "VirtualMeter", configuration: Configuration) -> None:
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
        self.configure_profile(configuration, meter.world.start_ms)

    @property
    def powered(self) -> bool:
        return self._power_up_ms is None

    def advance(self, to_ms: int) -> None:
        """Let everything happen that is due by `to_ms`."""
        if self._busy:
            return
        self._busy = True
        try:
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
        return best[0], best[2]

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

    # Power and clock.

    def cut_power(self, run_ms: int, seconds: int) -> None:
        """The power goes off now, for so long."""
        end = run_ms + 1000 * seconds
        self._meter.world.outages.append((run_ms, end))
        self._power_up_ms = end
        for recorder in self.profile:
            recorder.flags |= POWER_FAIL

    def _power_up(self, run_ms: int) -> None:
        self._power_up_ms = None
        start, end = self._meter.world.outages[-1]
        self._meter.counters.outages += 1
        self._meter.counters.outage_seconds += (end - start) // 1000
        clock = self._meter.world.clock_at(run_ms)
        snapshot = Snapshot(self._meter, run_ms)
        for recorder in self.profile:
            if recorder.active:
                recorder.catch_up(clock, snapshot, self._meter.local)

    def set_clock(self, run_ms: int, utc_ms: int) -> None:
        """Someone sets the meter's clock now."""
        world = self._meter.world
        old = world.clock_at(run_ms)
        world.set_clock(run_ms, utc_ms)
        snapshot = Snapshot(self._meter, run_ms)
        for recorder in self.profile:
            if recorder.active and utc_ms != old:
                recorder.clock_set(utc_ms, utc_ms < old, snapshot, self._meter.local)


class Snapshot:
    """The value of any source at one moment, up to which the registers have counted."""

    def __init__(self, meter: "VirtualMeter", run_ms: int) -> None:
        self._meter = meter
        self._run_ms = run_ms
        self._registers: dict[int | None, list[int]] = {}
        self._present: dict[bool, dict[int, int]] = {}

    def __call__(self, source: int, stuffed: bool) -> tuple[int, int]:
        """Value and status; for a moment that was missed, only registers have one."""
        if source in SUMMATION_SOURCES:
            return self._block(None)[SUMMATION_SOURCES.index(source)], 0
        if source in _TIER_SOURCES:
            tier, register = divmod(source - _TIER_SOURCES.start, _TIER_REGISTERS)
            return self._block(tier)[register], 0
        if source in _MBUS_SOURCES:
            return 0, DEVICE_MISSING
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
