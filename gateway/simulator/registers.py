"""What the meter has counted: energy integrated over the household's power, in totals and tiers, and the
demand registers.

Accumulators hold watt-milliseconds (or var-, VA-milliseconds), so every value is exact at every instant.
"""

from dataclasses import dataclass, field
from math import isqrt
from typing import Protocol

from .household import SLOT_MS, PhasePower

WH_MS = 3_600_000
DEMAND_INTERVAL_MS = 15 * 60_000

# Accumulators by name; the first four are what the meter's power is split into.
ACCUMULATORS = (
    "forward",
    "reverse",
    "import_reactive",
    "export_reactive",
    "q1",
    "q2",
    "q3",
    "q4",
    "va_q1",
    "va_q2",
    "va_q3",
    "va_q4",
)
_QUADRANT = ("", "q1", "q2", "q3", "q4")
_VA_QUADRANT = ("", "va_q1", "va_q2", "va_q3", "va_q4")
# What demand registers average; source ids of BT22: forward and reverse W, import and export var.
DEMAND_KINDS = {8: "forward", 9: "reverse", 10: "import_reactive", 11: "export_reactive"}


def apparent_mva(active: int, reactive: int) -> int:
    """Milli-VA of watts and var."""
    return isqrt((active * active + reactive * reactive) * 1_000_000)


def quadrant(active: int, reactive: int) -> int:
    """1 to 4, counted against the clock from importing both."""
    if active >= 0:
        return 1 if reactive >= 0 else 4
    return 2 if reactive >= 0 else 3


def flows(phases: tuple[PhasePower, PhasePower, PhasePower]) -> tuple[tuple[str, int], ...]:
    """The power of all phases together, by accumulator, in W, var and VA; what does not flow is absent."""
    one, two, three = phases
    active = one.active + two.active + three.active
    reactive = one.reactive + two.reactive + three.reactive
    here = quadrant(active, reactive)
    apparent = (
        apparent_mva(one.active, one.reactive)
        + apparent_mva(two.active, two.reactive)
        + apparent_mva(three.active, three.reactive)
    )
    return (
        ("forward" if active >= 0 else "reverse", abs(active)),
        ("import_reactive" if reactive >= 0 else "export_reactive", abs(reactive)),
        (_QUADRANT[here], abs(reactive)),
        (_VA_QUADRANT[here], apparent // 1000),
    )


@dataclass
class MaximumDemand:
    """The highest average of one source in one tier; the stamp is the meter's UTC at the interval's end."""

    value: int = 0
    utc_ms: int | None = None
    # What earlier maxima add up to, those that were reset.
    cumulative: int = 0
    coincident: dict[str, int] = field(default_factory=dict)


class Block:
    """One set of registers: the totals, or one tier."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys(ACCUMULATORS, 0)
        self.maximum = {source: MaximumDemand() for source in DEMAND_KINDS}

    def wh(self, name: str) -> int:
        return self.sums[name] // WH_MS


class World(Protocol):
    """What the registers need of the world; instants are run time, which never steps."""

    start_ms: int

    def power_at(self, slot: int) -> tuple[PhasePower, PhasePower, PhasePower]: ...

    def steady_until(self, slot: int) -> int: ...

    def outage_after(self, run_ms: int) -> tuple[int, int] | None: ...

    def tier_at(self, run_ms: int) -> int: ...

    def next_hour_ms(self, run_ms: int) -> int: ...

    def clock_at(self, run_ms: int) -> int: ...


class Registers:
    """Counts from the start of `world` on."""

    def __init__(self, world: World, tiers: int) -> None:
        self.now_ms = world.start_ms
        self.total = Block()
        self.tiers = [Block() for _ in range(tiers)]
        self.present_demand = dict.fromkeys(DEMAND_KINDS, 0)
        self._world = world
        self._interval = dict.fromkeys(ACCUMULATORS, 0)

    def advance(self, to_ms: int) -> None:
        """Count up to `to_ms`, which may not lie before the last one."""
        while self.now_ms < to_ms:
            interval_end = (self.now_ms // DEMAND_INTERVAL_MS + 1) * DEMAND_INTERVAL_MS
            end = min(self._world.next_hour_ms(self.now_ms), interval_end, to_ms)
            tier = self.tiers[self._world.tier_at(self.now_ms)]
            outage = self._world.outage_after(self.now_ms)
            if outage is not None and outage[0] <= self.now_ms:
                end = min(end, outage[1])
            else:
                if outage is not None:
                    end = min(end, outage[0])
                self._count(tier, end)
            self.now_ms = end
            if end == interval_end:
                self._close_interval(tier)

    def reset_demands(self) -> None:
        """Maxima begin anew."""
        for block in (self.total, *self.tiers):
            for source, maximum in block.maximum.items():
                block.maximum[source] = MaximumDemand(cumulative=maximum.cumulative + maximum.value)

    def _count(self, tier: Block, end: int) -> None:
        """Add the energy from now to `end`, all of it in one tier."""
        sums = dict.fromkeys(ACCUMULATORS, 0)
        start = self.now_ms
        while start < end:
            slot = start // SLOT_MS
            until = min(self._world.steady_until(slot) * SLOT_MS, end)
            span = until - start
            for name, power in flows(self._world.power_at(slot)):
                sums[name] += power * span
            start = until
        for name, amount in sums.items():
            if amount:
                self.total.sums[name] += amount
                tier.sums[name] += amount
                self._interval[name] += amount

    def _close_interval(self, tier: Block) -> None:
        average = {name: amount // DEMAND_INTERVAL_MS for name, amount in self._interval.items()}
        self._interval = dict.fromkeys(ACCUMULATORS, 0)
        stamp = self._world.clock_at(self.now_ms)
        for source, name in DEMAND_KINDS.items():
            self.present_demand[source] = average[name]
            for block in (self.total, tier):
                if average[name] > block.maximum[source].value:
                    block.maximum[source] = MaximumDemand(
                        average[name], stamp, block.maximum[source].cumulative, dict(average)
                    )
