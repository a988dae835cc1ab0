"""The tables that the meter's life fills: logs, copies of registers, alarms, M-Bus, calendar, load profile.

MEP guide, chapter 4; optical guide: BT03, BT70, BT71.
"""

from typing import TYPE_CHECKING

from . import clients, definitions, events, mbus, mbus_types, profile_tables, tou
from .image import et

if TYPE_CHECKING:
    from .meter import VirtualMeter

DELTA_SOURCES = 10  # ET11.27
DELTA_ENTRY = 13
_UNUSED_SOURCE = 255

_POLL_MINUTES = 60

# ET54: how many entries ET74 and ET79 have.
_ET54_ET74_COUNT = 69
_ET54_ET79_COUNT = 80

# When the billing reads of the M-Bus devices come up: frequency, hour, minute (ET13).
_SCHEDULES = ((1, 0, 5), (0, 0, 10))


def unused_deltas() -> bytes:
    """ET71 after power-up: no source is watched."""
    return (_UNUSED_SOURCE.to_bytes(2, "little") + bytes(DELTA_ENTRY - 2)) * DELTA_SOURCES


def fill(meter: "VirtualMeter") -> None:
    """Put the tables into the image of a meter that begins."""
    g, image = meter.generation, meter.image
    image.keep(50, tou.bt50(g))
    image.keep(54, tou.bt54(g, meter.local))
    image.keep(70, events.bt70(g))
    image.keep(71, events.bt71(g))
    image.keep(et(13), bytes(definitions.devices(g) * mbus.CONFIG_BYTES))
    for at, entry in clients.unscheduled(definitions.devices(g)):
        image.write(et(13), at, entry)
    image.keep(et(34), bytes(definitions.devices(g) * mbus.POLL_BYTES))
    for slot, (frequency, hour, minute) in zip(meter.life.bus.slots, _SCHEDULES, strict=False):
        index = slot.device.index
        entry = mbus.configuration(index, frequency, hour, minute)
        image.write(et(13), index * mbus.CONFIG_BYTES, entry)
        image.write(et(34), index * mbus.POLL_BYTES + mbus.POLL_RATE_OFFSET, bytes([_POLL_MINUTES, 0]))
    image.keep(et(57), mbus_types.et57())
    image.keep(et(62), profile_tables.et62(g))
    if g.number >= (3, 50):
        image.keep(et(71), unused_deltas())
    if g.number >= (3, 60):
        image.keep(et(75), bytes(6))
        image.write(et(54), _ET54_ET74_COUNT, g.extended_reads.to_bytes(2, "little"))
    if g.gen4:
        image.keep(et(85), bytes(4 + 12))
    if g.number >= (3, 70):
        image.write(et(54), _ET54_ET79_COUNT, g.alternate_events.to_bytes(2, "little"))
    connect(meter)


def connect(meter: "VirtualMeter") -> None:
    """The tables that show the life the meter has now."""
    g, image, life = meter.generation, meter.image, meter.life
    image.compute(3, life.alarms.bt03)
    image.compute(24, lambda: life.previous_season)
    image.compute(25, lambda: life.previous_demands)
    image.compute(26, life.bt26)
    image.compute(63, lambda: profile_tables.bt63(life.profile))
    image.compute(74, life.events.logs["BT74"].image)
    image.compute(et(14), lambda: life.bus.et14(meter.clients.entries()))
    image.compute(et(15), life.bus.et15)
    image.compute(et(16), life.bus.et16)
    image.compute(et(21), lambda: profile_tables.et21(g, life.profile, meter.local))
    if g.number >= (3, 0):
        image.compute(et(36), lambda: definitions.et36(g, _unread(meter)))
        image.compute(et(45), life.bus.log.image)
    if g.number >= (3, 60):
        image.compute(et(74), life.bus.more.image)
    if g.number >= (3, 70):
        image.compute(et(79), life.events.logs["ET79"].image)
        image.compute(et(81), life.outage_log.image)


def define(meter: "VirtualMeter") -> None:
    """The tables that a reconfiguration changes."""
    g, image, configuration = meter.generation, meter.image, meter.life.configuration
    if g.number >= (3, 0):
        image.keep(et(42), definitions.et42(g, configuration))
    if g.has_load_profile_map:
        image.keep(et(66), profile_tables.et66(configuration))
    image.keep(60, profile_tables.bt60(g, configuration))
    image.keep(61, profile_tables.bt61(g, configuration))
    image.keep(62, profile_tables.bt62(configuration))
    for recorder in meter.life.profile:
        table = 63 + recorder.number
        if recorder.active:
            size = recorder.data_set.blocks * configuration.block_bytes(recorder.data_set)
            image.compute_parts(table, size, recorder.part)
        else:
            image.remove(table)


def _unread(meter: "VirtualMeter") -> frozenset[int]:
    logs = {45: meter.life.bus.log, 81: meter.life.outage_log}
    return frozenset(table for table, log in logs.items() if log.unread)
