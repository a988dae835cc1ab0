"""Tables that say how other tables are laid out and what is in them, consistent with one another.

MEP guide, chapter 4: BT00, BT01, BT15, BT20 (optical guide), BT21, BT22, BT27, ET11, ET36, ET42, ET66.
"""

from collections.abc import Iterable
from random import Random

from .events import bt71
from .generations import Generation
from .image import EXTENDED, et
from .mbus_types import et57
from .profile import Configuration
from .profile_tables import et42_more_sets, et42_set
from .registers import DEMAND_KINDS
from .service import ADVANCED_WRITES

# BT22's sources in BT23's order. The guide has no number for apparent energy: the numbers of the apparent
# power of the same quadrants stand there.
SUMMATION_SOURCES = (0, 1, 2, 3, 4, 5, 6, 7, 26, 27, 28, 108, 109, 110, 111, 216, 217, 218, 219)

# BT27's sources in BT28's order; firmware versions added to its end.
PRESENT_SOURCES = (
    *range(8, 26),
    *range(81, 85),
    *range(104, 108),
    *range(185, 200),
    *range(202, 208),
    *range(208, 216),
    *range(216, 233),
    *range(233, 236),
    *range(236, 245),
)

# What is collected with each demand: the other energies of the same interval.
_COINCIDENT_SOURCES = {8: (10, 11), 9: (10, 11), 10: (8, 9), 11: (8, 9)}

_MEP_CLIENT_SLOT = 4

# ET04.116, the version of the interface definitions.
IDT_VERSION_OFFSET = 116


def devices(g: Generation) -> int:
    """Four M-Bus devices and the MEP clients (ET11.0)."""
    return _MEP_CLIENT_SLOT + channels(g)


def channels(g: Generation) -> int:
    """MEP clients (ET11.34)."""
    return 2 if g.gen4 else 1


def demand_sources(g: Generation) -> list[int]:
    """The source of each configured demand (BT22), the kinds in turn."""
    kinds = list(DEMAND_KINDS)
    return [kinds[index % len(kinds)] for index in range(g.demands)]


def coincident_sources(g: Generation) -> list[tuple[int, int]]:
    """Source and index of the demand it goes with, two for each demand (BT22)."""
    return [
        (source, index)
        for index, demand in enumerate(demand_sources(g))
        for source in _COINCIDENT_SOURCES[demand]
    ]


def bt00(g: Generation, tables: Iterable[int]) -> bytes:
    """General configuration; its ANSI C12.19 sets of tables used and written follow the guide's fields."""
    extended_bytes = 20 if g.gen4 else 13
    sizes = (10, extended_bytes, 2, 12)
    head = bytes([2 << 1, 0b00101010, 0x88]) + b"ELON" + bytes([2, 0, 255, 12, 1, 0])
    head += bytes([*sizes, g.alarm_bytes, 4 if g.gen4 else 3])
    used = list(tables)
    written = [table for table in used if table in ADVANCED_WRITES]
    sets = _bitmap((t for t in used if t < EXTENDED), 10)
    sets += _bitmap((t - EXTENDED for t in used if t >= EXTENDED), extended_bytes)
    sets += bytes(2) + _bitmap((17,), 12)
    sets += _bitmap((t for t in written if t < EXTENDED), 10)
    sets += _bitmap((t - EXTENDED for t in written if t >= EXTENDED), extended_bytes)
    return head + sets


def bt01(g: Generation, serial: str) -> bytes:
    """Manufacturer, model, versions, and the manufacturer's serial number as 16 BCD digits."""
    major, minor = hardware(g)[:2]
    packed = (major << 12 | minor << 5).to_bytes(2, "big") + g.packed_version.to_bytes(2, "big")
    return b"ELON" + model(g).encode("ascii") + packed + bytes.fromhex(manufacturer_serial(serial))


def model(g: Generation) -> str:
    return "83334-3I" if g.gen4 else "83332-3I"


def hardware(g: Generation) -> tuple[int, int, int]:
    """Version of the hardware: major, minor, build."""
    return (4 if g.gen4 else 3), 0, 0


def manufacturer_serial(serial: str) -> str:
    """Of a meter with this utility's serial number; another meter has another one, and that is all there is
    to know."""
    return "%016d" % Random(serial).randrange(10**16)


def et03(g: Generation, serial: str) -> bytes:
    """The utility's serial number, and the checksum of the firmware."""
    data = serial.encode("ascii")[:29].ljust(30, b"\0") + bytes(113)
    return data[:137] + image_crc(g).to_bytes(2, "little") + data[139:]


def image_crc(g: Generation) -> int:
    """ET03, of the legally relevant firmware."""
    return Random("image %d.%d.%d" % g.version).randrange(1, 1 << 16)


def program_id(g: Generation) -> bytes:
    """ET04."""
    return b"OSGP" + g.packed_version.to_bytes(2, "big") + b"\x01\x01"


def bt15(g: Generation) -> bytes:
    ct_meter = g.ct_ratio * g.vt_ratio > 1
    head = (1).to_bytes(4, "little") + bytes(4) + bytes([ct_meter])
    return head + g.ct_ratio.to_bytes(4, "little") + g.vt_ratio.to_bytes(4, "little")


def bt20(g: Generation) -> bytes:
    """The most of everything; on firmware up to 2.10 also what there is."""
    demands = 8 if g.knows_demand else 0
    flags = 0x03 | (0x3C if g.knows_demand else 0)
    dims = (g.self_reads, g.max_summations, demands, 2 * demands, int(g.knows_demand))
    return bytes([flags, 0x0E if g.knows_demand else 0x0C, *dims, g.tiers, demands, g.present_values])


def bt21(g: Generation) -> bytes:
    """What there is."""
    flags = 0x03 | (0x3C if g.demands else 0)
    own = 0x0E if g.demands else 0x0C
    dims = (min(g.self_reads, 12), g.summations, g.demands, g.coincidents, int(g.demands > 0))
    return bytes([flags, own, *dims, g.tiers, g.demands, g.present_values])


def bt22(g: Generation) -> bytes:
    coincidents = coincident_sources(g)
    all_maximum = ((1 << g.demands) - 1).to_bytes((g.demands + 7) // 8, "little")
    return (
        bytes(SUMMATION_SOURCES[: g.summations])
        + bytes(demand_sources(g))
        + all_maximum
        + bytes(source for source, _ in coincidents)
        + bytes(index for _, index in coincidents)
    )


def bt27(g: Generation) -> bytes:
    """Present demands 1 to 8 are sources 88 to 95."""
    return bytes(range(88, 88 + g.demands)) + bytes(PRESENT_SOURCES[: g.present_values])


def et11(g: Generation) -> bytes:
    """Dimensions of the extended tables; later firmware added to its end."""
    data = bytes([devices(g), 66, 36, 5, 6]) + (517).to_bytes(2, "little")
    data += g.transaction_request_bytes.to_bytes(2, "little") + (1785).to_bytes(2, "little")
    data += bytes([25, 16, 22, 0, 0, 0, 0, 10, 10, 65, 120, 6, 10, 10, 16, 80, 10])
    data += (261).to_bytes(2, "little") + (769).to_bytes(2, "little")
    data += bytes([6, 7, channels(g), 10]) + (1250).to_bytes(2, "little") + bytes([3])
    return data[: g.dimension_bytes]


def _logs(g: Generation) -> tuple[tuple[int, int, int, int, bool], ...]:
    """ET36: table, entry size, most entries, entries now, whether a length precedes each entry."""
    return (
        (31, 232, 255, 2, False),
        (32, 525, 255, 8, True),
        (38, 35, 255, 10, False),
        (41, 0, 255, 0, False),
        (45, 525, 253, g.recurring_reads, True),
        (75, 143, 253, 0, False),
        (81, 12, 253, g.outage_entries if g.number >= (3, 70) else 0, False),
    )


def et36(g: Generation, unread: frozenset[int] = frozenset()) -> bytes:
    """`unread` are the tables that have entries no head-end has read."""
    logs = _logs(g)
    data = bytearray([len(logs)])
    for table, size, most, now, has_length in logs:
        for word in (table | 1 << 11, size, most, now):
            data += word.to_bytes(2, "little")
        data += bytes([has_length]) + bytes(8)
    bits = sum(1 << place for place, (table, *_) in enumerate(logs) if table in unread)
    return bytes(data) + bits.to_bytes((len(logs) + 7) // 8, "little")


def tier_bytes(g: Generation) -> int:
    """The size of one tier (or of the totals) in BT23: ET42.21."""
    demand = 5 + 4 + 4 + 4
    return 4 * g.summations + demand * g.demands + 4 * g.coincidents


def et42(g: Generation, profile: Configuration, billing_definition: int = 1) -> bytes:
    """Interface definition: the changeable dimensions of all tables in one place."""
    flags = 0x1F if g.demands else 0x10
    logs = _logs(g)
    fixed = bytearray([len(logs)])
    fixed += (0).to_bytes(2, "little") + bytes(2) + billing_definition.to_bytes(2, "little")
    fixed += bytes([flags]) + bt21(g)[2:] + bytes([15 if g.demands else 0, 1])
    fixed += tier_bytes(g).to_bytes(2, "little")
    fixed += et42_set(profile, profile.sets[0])
    fixed += bt71(g)[:1] + g.events.to_bytes(2, "little") + bytes([2])
    log_list = b"".join(bytes([now]) + size.to_bytes(2, "little") for _, size, _, now, _ in logs)
    sources = bytes(demand_sources(g)) + bytes(source for source, _ in coincident_sources(g))
    sources += b"".join(source.to_bytes(2, "little") for source in profile.sets[0].sources)
    types = [et57()[at : at + 4] for at in range(0, 64, 4)]
    types = [entry for entry in types if entry != bytes(4)]
    tail = log_list + sources + bytes([len(types)]) + b"".join(types)
    if g.has_load_profile_map:
        tail += et42_more_sets(profile)
    if g.number >= (3, 60):
        required = g.extended_reads.to_bytes(2, "little")
        if g.number >= (3, 70):
            required += bytes([0]) + g.alternate_events.to_bytes(2, "little") + bytes([g.energy_unit, 9])
        tail += bytes([1 + len(required)]) + required
    fixed_length = 3 + len(fixed)
    length = fixed_length + len(tail)
    return length.to_bytes(2, "little") + bytes([fixed_length]) + bytes(fixed) + tail


def _bitmap(members: Iterable[int], size: int) -> bytes:
    bits = 0
    for member in members:
        if member < 8 * size:
            bits |= 1 << member
    return bits.to_bytes(size, "little")


# Tables whose data no generation here lays out yet, by size: enough to be read and to be absent on none.
def plain_sizes(g: Generation) -> dict[int, int]:
    """Sizes of the tables that start as zeros."""
    # Before 3.0 all procedures answer in BT08 (ET50.30.1).
    answers = {et(59): 4 + 12} if g.number >= (3, 0) else {}
    return answers | {
        4: 2 * (10 + (20 if g.gen4 else 13)) + 6,
        7: 2 + 1 + 255,
        8: 2 + 1 + 1 + 12,
        et(3): 143,
        et(4): g.system_bytes,
        et(13): devices(g) * 66,
        et(34): devices(g) * 22,
        et(50): channels(g) * (35 + 6 * 6),
        et(52): g.transaction_request_bytes,
        et(53): 1785,
        et(54): g.status_bytes,
        et(58): devices(g) * 20,
    }


def et04(g: Generation) -> bytes:
    """System information: the fields a reader may look at, the rest zero."""
    data = bytearray(g.system_bytes)
    data[13] = 50
    data[14:22] = program_id(g)
    data[53:56] = bytes([10, 4, 4])
    data[56:62] = b"".join(word.to_bytes(2, "little") for word in (10, 100, 230))
    data[63:65] = (60).to_bytes(2, "little")
    # What was not measured is marked as skipped in the load profile.
    data[71] = 1 << 3
    data[IDT_VERSION_OFFSET] = 1
    return bytes(data)


def et29(g: Generation) -> bytes:
    """Hardware configuration: a port for MEP client 1, three phases."""
    data = bytearray(54 if g.gen4 else 24)
    data[1] = 1 << 2
    data[5] = 1 << 1
    return bytes(data)


def et51(g: Generation) -> bytes:
    """What the meter expects of MEP clients; the defaults, one record for each."""
    words = (60).to_bytes(2, "little"), (600).to_bytes(2, "little"), (300).to_bytes(2, "little")
    record = bytes([1]) + words[0] + bytes([30]) + words[1] + words[2] + bytes([1, 0])
    return record * channels(g)


def et54_flags(g: Generation) -> bytes:
    """ET54.0: several load profile data sets; another energy unit. One MEP client (backward compatible)."""
    return (g.has_load_profile_map << 2 | (g.energy_unit > 1) << 6).to_bytes(2, "little")


def et55(g: Generation) -> bytes:
    """Meter configuration: of use to a reader is the energy register unit at the table's end."""
    if g.number < (3, 70):
        return bytes(128)
    start = et55_varying(g)
    data = bytearray(start + (62 if g.gen4 else 40))
    data[start + 10 : start + 16] = b"".join(word.to_bytes(2, "little") for word in (15, 600, 1008))
    data[start + 39] = g.energy_unit
    return bytes(data)


def et55_varying(g: Generation) -> int:
    """Where ET55 goes on behind the step tariffs, whose number varies: the guide's A."""
    return (147 if g.gen4 else 146) + 4 * (g.tiers - 1)


def et70(g: Generation, channel: int) -> bytes:
    """From 4.0 on byte 142 is the number of the port the client talks to."""
    return bytes(142) + bytes([channel]) + bytes(13) if g.gen4 else bytes(142)
