"""What the channels of a load profile are: properties, exponents, units, and how a count becomes a value.

Sources (BT62) are those of BT22. 112 to 163 stand for 16-bit extended source ids (ET66, and ET42 on a meter
without it): 0x4000 with an M-Bus device's index in bits 8 to 11 and a data type in bits 0 to 4, which ET57
describes by the start of an M-Bus record (EN 13757-3: DIF and VIF). Such a channel is
"OSGP_mbus_<device>_data_type_<type>"; where ET57 gives no one meaning to it, the recorded 32 bits stand for
themselves and the name ends with "_raw". So do the channels without a source from ET21.82 on, in which old
firmware records a telegram ("OSGP_mbus_segment_1_raw").
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import Refused
from ..layouts.extended import ET11
from ..layouts.profile import ET34, ET57, ET66, FIRST_MAPPED
from ..layouts.registers import BT22
from ..sources import PRESENT_DEMAND, UNUSED, Resolver, demand_name, name_of
from .energy import energy_shift
from .profile_values import INTEGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..tables import Tables
    from .profile_values import Channel

    # exponent, unit, coding
    Meaning = tuple[int, str | None, int]

_LAST_MAPPED = const(163)
_MBUS = const(4)  # bits 12 to 15 of an extended source id
_POLL_RATE = const(4)  # in a device's entry of ET34

# By the data field of a DIF: the coding. Others are longer than a channel, or no numbers.
_CODINGS = {1: 1, 2: 2, 3: 3, 4: INTEGER, 9: 9, 10: 10, 11: 11, 12: 12}

# Runs of VIFs: first, how many, the exponent of the first, the unit (as the registry has it).
_VIFS = (
    (0x00, 8, -6, "kWh"),
    (0x08, 8, -6, "MJ"),
    (0x10, 8, -6, "m3"),
    (0x28, 8, -6, "kW"),
    (0x38, 8, -6, "m3/h"),
    (0x58, 4, -3, "degreeCelsius"),
    (0x5C, 4, -3, "degreeCelsius"),
    (0x60, 4, -3, "K"),
    (0x64, 4, -3, "degreeCelsius"),
    (0x68, 4, -3, "bar"),
)
_UNCORRECTED = const(0x3A)  # a VIFE: not converted to base conditions; the unit is the same


def meaning(header: bytes) -> "Meaning | None":
    """What a record that begins so holds: (exponent, unit, coding); None where that can't be told."""
    coding = _CODINGS.get(header[0] & 15) if header else None
    if coding is None:
        return None
    at = 0
    while header[at] & 0x80:  # DIFEs: storage, tariff, subunit
        at += 1
        if at >= len(header):
            return None
    at += 1
    if at >= len(header):
        return None
    vif = header[at]
    while header[at] & 0x80:
        at += 1
        # An extension beyond the three bytes of an entry without a second one.
        if at >= len(header) or header[at] & 0x7F != _UNCORRECTED:
            return None
    for first, count, exponent, unit in _VIFS:
        if first <= vif & 0x7F < first + count:
            return exponent + (vif & 0x7F) - first, unit, coding
    return None


async def _data_types(tables: "Tables") -> "dict[int, Meaning | None]":
    """M-Bus data types with what they mean; None for those with two meanings or no clear one."""
    types: dict[int, Meaning | None] = {}
    dims = await tables.get_if_there(ET11, "et57_entries")
    count = dims["et57_entries"] if dims else 0
    raw = await tables.part_if_there(ET57, 0, 4 * count) if count else None
    if raw is None:
        from .profile_listed import listed_types

        raw = await listed_types(tables)
    entries = ET57.decode(raw, {"data_types": len(raw) // 4})["types"]
    headers: list[tuple[int, bytes]] = []
    for entry in entries:
        if entry["type"] == 1:
            headers.append((entry["mdt"], entry["header"]))
        elif entry["type"] == 3 and headers:
            headers[-1] = (headers[-1][0], headers[-1][1] + entry["header"])
        elif entry["type"] == 2:
            headers.append((entry["mdt"], b""))  # of a MEP client: what it is, only that one knows
    for mdt, header in headers:
        found = meaning(header)
        types[mdt] = found if types.get(mdt, found) == found else None
    return types


def _fraction(numerator: int, denominator: int) -> "tuple[int, int, int]":
    """The fraction as (integer, decimal exponent, denominator that remains)."""
    a, b = numerator, denominator
    while b:
        a, b = b, a % b
    numerator //= a
    denominator //= a
    exponent = 0
    for prime, other in ((2, 5), (5, 2)):
        while denominator % prime == 0:
            denominator //= prime
            numerator *= other
            exponent -= 1
    while numerator % 10 == 0:
        numerator //= 10
        exponent += 1
    return numerator, exponent, denominator


class Sources:
    """Names the sources of all data sets; reads what that needs when it is needed."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._mapped: dict[int, int] = {}
        self._listed: dict[int, Sequence[int]] = {}  # by data set
        self._types: dict[int, Meaning | None] | None = None
        self._polls: dict[int, int] = {}  # by device
        self._demands: bytes | None = None
        self._shift: int | None = None

    async def channels(
        self,
        number: int,
        sources: "list[int]",
        ends: "list[int]",
        scalars: "list[int]",
        divisors: "list[int]",
        first_segment: int,
        demands: "bytes | None" = None,
    ) -> "tuple[list[Channel], list[Channel], bool]":
        """Of data set `number`: (columns of the intervals, columns of the end readings, whether any is an
        M-Bus device's). `demands`: of BT22, where others than those of now."""
        if self._shift is None:
            self._shift = await energy_shift(self._tables)
        resolver = Resolver(self._shift)
        is_mbus = False
        found: list[list[Channel]] = [[], []]
        for part in range(2):
            chosen = ends if part else sources
            for place in range(len(chosen)):
                source = await self._extended(chosen[place], number, sources)
                told: Meaning | None = None
                like = None
                minutes = 0
                if source == UNUSED:
                    if part or place < first_segment:
                        continue
                    name = "OSGP_mbus_segment_%d_raw" % (place - first_segment + 1)
                elif source >> 12 == _MBUS:
                    is_mbus = True
                    name = "OSGP_mbus_%d_data_type_%d" % (source >> 8 & 15, source & 31)
                    told = await self._data_type(source & 31)
                    minutes = await self._asked_every(source >> 8 & 15)
                    if told is None:
                        name += "_raw"
                elif PRESENT_DEMAND <= source < PRESENT_DEMAND + 16:
                    name, like = demand_name(source, demands or await self._selected())
                else:
                    name = name_of(source)
                    like = name
                factor, shift, rest = 1, 0, 1
                if not part and scalars and scalars[place] and divisors[place]:
                    factor, shift, rest = _fraction(divisors[place], scalars[place])
                    if rest > 1:
                        # No decimal number: what was recorded, under a name that says so.
                        name = "%s_times_%d" % (name, rest)
                if part:
                    name = "OSGP_end_reading_" + (name[5:] if name[:5] in ("OBIS_", "OSGP_") else name)
                resolver.add(name, like)
                column = resolver.columns[-1]
                assert column is not None
                prop, exponent, unit = column
                coding = INTEGER
                if told is not None:
                    exponent, unit, coding = told
                found[part].append((place, prop, exponent + shift, unit, coding, factor, minutes))
        return found[0], found[1], is_mbus

    async def _extended(self, source: int, number: int, sources: "list[int]") -> int:
        if not FIRST_MAPPED <= source <= _LAST_MAPPED:
            return source
        nth = source - FIRST_MAPPED
        if nth not in self._mapped:
            raw = await self._tables.part_if_there(ET66, 2 * nth, 2)
            if raw is None:
                return await self._listed_as(source, number, sources)
            self._mapped[nth] = raw[0] | raw[1] << 8
        return self._mapped[nth]

    async def _listed_as(self, source: int, number: int, sources: "list[int]") -> int:
        """What ET42 has for the first channel with this source."""
        listed = self._listed.get(number)
        if listed is None:
            from .profile_listed import listed_sources

            listed = self._listed[number] = await listed_sources(self._tables, number, len(sources))
        if source not in sources or not listed:
            return source
        return listed[sources.index(source)]

    async def _data_type(self, mdt: int) -> "Meaning | None":
        if self._types is None:
            self._types = await _data_types(self._tables)
        return self._types.get(mdt)

    async def _asked_every(self, device: int) -> int:
        """How many minutes apart an M-Bus device is asked for its load profile; 0: with each interval."""
        if device not in self._polls:
            dims = await self._tables.get_if_there(ET11, "config_entry_2_size")
            size = dims["config_entry_2_size"] if dims else 0
            raw = None
            if size >= _POLL_RATE + 2:
                try:
                    raw = await self._tables.part_if_there(ET34, size * device + _POLL_RATE, 2)
                except Refused:
                    pass  # no permission
            self._polls[device] = raw[0] | raw[1] << 8 if raw else 0
        return self._polls[device]

    async def _selected(self) -> bytes:
        if self._demands is None:
            found = await self._tables.get_if_there(BT22, "demands")
            self._demands = bytes(found["demands"]) if found else b""
        return self._demands
