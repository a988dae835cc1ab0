"""Tables that live: registers, present values and clocks, laid out from the meter's state.

MEP guide, chapter 4: BT23, BT28, BT52, BT53, BT55, and the source numbers after BT22.
"""

from dataclasses import dataclass
from math import isqrt

from .calendar import MINUTE_MS, LocalTime, day_of_week, long_date, short_date
from .definitions import PRESENT_SOURCES, coincident_sources, demand_sources
from .generations import Generation
from .household import PHASES, PhasePower
from .registers import (
    DEMAND_KINDS,
    WH_MS,
    Block,
    MaximumDemand,
    Registers,
    apparent_mva,
    quadrant,
)

# Energy accumulators have nine decimal digits (ET42, "Accumulator Rollover Digit").
ROLLOVER = 1_000_000_000

# Present values that are means over the last full ten minutes.
AVERAGED_SOURCES = frozenset([*range(205, 216), *range(233, 236)])

# Positions in a block of BT23.
_ENERGIES = ("forward", "reverse", "import_reactive", "export_reactive")
_QUADRANTS = ("q1", "q2", "q3", "q4", "va_q1", "va_q2", "va_q3", "va_q4")


@dataclass
class Counters:
    """What the meter counts besides energy: only the totals have them."""

    outage_seconds: int = 0
    outages: int = 0
    pulses_1: int = 0
    pulses_2: int = 0
    errors: int = 0
    demand_resets: int = 0


@dataclass(frozen=True)
class Present:
    """What the meter measures at one instant, before any transformer ratio is taken out."""

    phases: tuple[PhasePower, PhasePower, PhasePower]
    millivolts: tuple[int, int, int]
    millihertz: int


def summations(block: Block, g: Generation, opening: dict[str, int], counters: Counters | None) -> list[int]:
    """The values of one block of BT23, in its order, as many as it has."""
    return all_summations(block, g, opening, counters)[: g.summations]


def all_summations(
    block: Block, g: Generation, opening: dict[str, int], counters: Counters | None
) -> list[int]:
    """The values that a block of BT23 can have, in its order; tiers have no counters.

    `opening` is what stood in the accumulators, in Wh, when the meter came to life here.
    """

    def register(*names: str, sign: int = 1) -> int:
        first, rest = names[0], names[1:]
        sums = block.sums[first] + opening.get(first, 0) * WH_MS
        for name in rest:
            sums += sign * (block.sums[name] + opening.get(name, 0) * WH_MS)
        return max(0, sums) // (WH_MS * g.energy_unit) % ROLLOVER

    values = [register(name) for name in _ENERGIES]
    c = counters or Counters()
    values += [c.outage_seconds // g.outage_unit_seconds, c.outages]
    values += [register("forward", "reverse"), register("forward", "reverse", sign=-1)]
    values += [c.pulses_1, c.pulses_2, c.errors]
    return values + [register(name) for name in _QUADRANTS]


def bt23(
    registers: Registers, g: Generation, openings: list[dict[str, int]], counters: Counters, local: LocalTime
) -> bytes:
    """The reset counter (with demands), the totals, then each tier; `openings` in the same order."""
    out = bytearray([counters.demand_resets & 0xFF] if g.demands else b"")
    for index, block in enumerate([registers.total, *registers.tiers]):
        for value in summations(block, g, openings[index], None if index else counters):
            out += _int32(value)
        maxima = [block.maximum[source] for source in demand_sources(g)]
        for maximum in maxima:
            stamp = None if maximum.utc_ms is None else local.local_ms(maximum.utc_ms)
            out += bytes(5) if stamp is None else short_date(stamp)
            continuous = maximum.cumulative + maximum.value
            out += _int32(maximum.cumulative) + _int32(continuous) + _int32(maximum.value)
        for source, demand in coincident_sources(g):
            out += _int32(_coincident(maxima[demand], source))
    return bytes(out)


def _coincident(maximum: MaximumDemand, source: int) -> int:
    return maximum.coincident.get(DEMAND_KINDS[source], 0)


def bt28(registers: Registers, g: Generation, now: Present, average: Present) -> bytes:
    """Present demands, then present values in the order of BT27."""
    out = bytearray()
    for demand in present_demands(registers, g):
        out += _int32(demand)
    values = present_values(g, now, average)
    for source in PRESENT_SOURCES[: g.present_values]:
        out += _int32(values[source])
    return bytes(out)


def present_demands(registers: Registers, g: Generation) -> list[int]:
    """The averages of the last demand interval, as many as are configured."""
    return [registers.present_demand[source] for source in demand_sources(g)]


def present_values(g: Generation, now: Present, average: Present) -> dict[int, int]:
    """Present values by source number: W, var, VA, mA, mV, mHz, 1/1000, 1/100 of a degree.

    Sources without "Post CT/VT Ratio" are what the meter itself sees behind its transformers.
    """
    ratio = g.ct_ratio * g.vt_ratio
    active = sum(phase.active for phase in now.phases)
    reactive = sum(phase.reactive for phase in now.phases)
    apparent = [apparent_mva(p.active, p.reactive) for p in now.phases]
    values = {19: now.millihertz, 20: sum(apparent) // 1000 // ratio}
    for base, amount in ((8, active), (10, reactive)):
        values |= _both_ways(base, amount // ratio if amount >= 0 else -(-amount // ratio))
    values |= _both_ways(81, active) | _both_ways(83, reactive)

    here = quadrant(active, reactive)
    for q in (1, 2, 3, 4):
        values[103 + q] = abs(reactive) // ratio if q == here else 0
        values[215 + q] = values[20] if q == here else 0

    amperes = _milliamperes(now)
    average_amperes = _milliamperes(average)
    average_active = sum(phase.active for phase in average.phases)
    values |= _both_ways(208, average_active // ratio)
    for phase in PHASES:
        power = now.phases[phase]
        values[12 + phase] = amperes[phase] // g.ct_ratio
        values[197 + phase] = amperes[phase]
        values[233 + phase] = average_amperes[phase] // g.ct_ratio
        values[15 + phase] = values[202 + phase] = now.millivolts[phase] // g.vt_ratio
        values[205 + phase] = average.millivolts[phase] // g.vt_ratio
        values[(18, 21, 22)[phase]] = _per_mille(power.active, apparent[phase])
        values[23 + phase] = _per_mille(power.reactive, apparent[phase])
        _spread(values, 185 + phase, 188 + phase, power.active, ratio)
        _spread(values, 191 + phase, 194 + phase, power.active, 1)
        _spread(values, 210 + phase, 213 + phase, average.phases[phase].active, ratio)
        _spread(values, 239 + phase, 242 + phase, power.reactive, ratio)
        own = quadrant(power.active, power.reactive)
        for q in (1, 2, 3, 4):
            values[219 + 4 * phase + q] = apparent[phase] // 1000 // ratio if q == own else 0
        values[236 + phase] = 12_000 + now.millivolts[phase] % 37 - 18
    a, b, c = (values[12 + phase] for phase in PHASES)
    values[232] = isqrt(max(0, a * a + b * b + c * c - a * b - b * c - c * a))
    return values


def _milliamperes(present: Present) -> list[int]:
    return [
        apparent_mva(power.active, power.reactive) * 1000 // millivolts
        for power, millivolts in zip(present.phases, present.millivolts, strict=True)
    ]


def _both_ways(first: int, amount: int) -> dict[int, int]:
    """An amount as a pair of sources: towards the house, then away from it."""
    return {first: max(amount, 0), first + 1: max(-amount, 0)}


def _spread(values: dict[int, int], inward: int, outward: int, amount: int, ratio: int) -> None:
    values[inward] = max(amount, 0) // ratio
    values[outward] = max(-amount, 0) // ratio


def _per_mille(part: int, apparent_mva: int) -> int:
    """1000 * part / whole, rounded to the nearest, with the sign of `part`."""
    if not apparent_mva:
        return 0
    rounded = (abs(part) * 1_000_000 + apparent_mva // 2) // apparent_mva
    return rounded if part >= 0 else -rounded


def bt52(utc_ms: int, local: LocalTime) -> bytes:
    flags = day_of_week(utc_ms) | local.is_summer(utc_ms) << 3 | 1 << 4
    return long_date(utc_ms) + bytes([flags])


def bt53(local: LocalTime) -> bytes:
    """The hour of the change, the step in minutes, and the offset of local winter time in minutes."""
    return bytes([2, 0, 0, local.dst_minutes]) + local.offset_minutes.to_bytes(2, "little", signed=True)


def bt55(utc_ms: int, local: LocalTime, tier: int, season: int) -> bytes:
    """Updated once a minute: what it shows is the beginning of the minute."""
    shown = local.local_ms(utc_ms - utc_ms % MINUTE_MS)
    flags = day_of_week(shown) | local.is_summer(utc_ms) << 3 | 1 << 5 | 1 << 6
    return long_date(shown) + bytes([flags]) + (tier & 7 | season << 12).to_bytes(2, "little")


def _int32(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)
