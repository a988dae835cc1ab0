"""What a meter's registers and devices show at a moment, as values: for the truth."""

from typing import TYPE_CHECKING

from . import definitions, measured
from .calendar import LocalTime, utc_datetime
from .generations import Generation
from .registers import DEMAND_KINDS, Block, Registers

if TYPE_CHECKING:
    from .mbus import Slot
    from .measured import Counters
    from .meter import VirtualMeter


def registers(
    held: Registers, g: Generation, openings: list[dict[str, int]], counters: "Counters", local: LocalTime
) -> dict[str, object]:
    """BT23: summations and demands of the totals and of each tier, in its order."""
    blocks = [
        measured.summations(block, g, opening, None if index else counters)
        for index, (block, opening) in enumerate(zip([held.total, *held.tiers], openings, strict=True))
    ]
    return {
        "sources": list(definitions.SUMMATION_SOURCES[: g.summations]),
        "energy_unit": g.energy_unit,
        "totals": blocks[0],
        "tiers": blocks[1:],
        "demand_resets": counters.demand_resets & 0xFF if g.demands else None,
        "demands": [_demands(block, g, local) for block in [held.total, *held.tiers]],
    }


def _demands(block: Block, g: Generation, local: LocalTime) -> list[dict[str, object]]:
    shown: list[dict[str, object]] = []
    for index, source in enumerate(definitions.demand_sources(g)):
        maximum = block.maximum[source]
        stamp = None if maximum.utc_ms is None else local_text(local.local_ms(maximum.utc_ms))[:16]
        shown.append(
            {
                "source": source,
                "stamp": stamp,
                "cumulative": maximum.cumulative,
                "continuous": maximum.cumulative + maximum.value,
                "maximum": maximum.value,
                "coincidents": [
                    [other, maximum.coincident.get(DEMAND_KINDS[other], 0)]
                    for other, owner in definitions.coincident_sources(g)
                    if owner == index
                ],
            }
        )
    return shown


def present(meter: "VirtualMeter") -> dict[str, object]:
    """BT28 at this moment: demands by their source, and values by theirs, in its order."""
    g, now = meter.generation, meter.life.now_ms
    values = measured.present_values(g, meter.world.present_at(now), meter.world.average_at(now))
    demands = measured.present_demands(meter.registers, g)
    return {
        "demands": [list(pair) for pair in zip(definitions.demand_sources(g), demands, strict=True)],
        "values": [[source, values[source]] for source in definitions.PRESENT_SOURCES[: g.present_values]],
    }


def local_clock(meter: "VirtualMeter") -> dict[str, object]:
    """What the meter's clock says in local time, and its tier, counted from 0."""
    utc_ms = meter.world.clock_at(meter.life.now_ms)
    ahead = (meter.local.local_ms(utc_ms) - utc_ms) // 60_000
    return {
        "time": local_text(meter.local.local_ms(utc_ms)),
        "minutes_ahead": ahead,
        "tier": meter.world.tier_at(meter.life.now_ms),
    }


def device(slot: "Slot", status: int) -> dict[str, object]:
    """What ET14 says of an M-Bus device."""
    return {
        "device": slot.device.index,
        "handle": slot.device.handle,
        "status": status,
        "alarms": slot.alarms,
        "device_alarms": slot.device_alarms,
        "attempts": slot.attempts,
        "answers": slot.answers,
        "customer": "METER %d" % (slot.device.index + 1),
    }


def local_text(local_ms: int) -> str:
    """A local moment as 2024-01-31T12:00:00, no zone named."""
    return utc_datetime(local_ms).strftime("%Y-%m-%dT%H:%M:%S")
