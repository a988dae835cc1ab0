"""Registers: BT23 in the order of BT22, as one Reading: totals, every tier, demands, coincidents.

The table has no time of its own: the reading carries the gateway's clock when the last answer had come
in. A block (the totals, or one tier) that fits one answer is read in one; a larger table takes several,
total first, so a sum over tiers may be some counts ahead of the total, but no value is torn and the
values of one block belong together. Self-reads (BT26) hold the same blocks.

Values have the transformer ratios applied. Tiers carry what the guide populates there: energies, not
outages, pulse inputs and errors. Demands keep the time the meter gave them as the value's date; it is
local, converted by the meter's own rules of daylight saving time. Coincidents are named after both sources:
"OSGP_coincident_3.7.0_at_1.6.0".
"""

from array import array

from ..._compat import MICROPYTHON, TYPE_CHECKING
from ...errors import TableError
from ...transmission.model import REGISTERS, Reading, Timestamp, Value
from ..layouts.registers import BT22, BT23
from ..local_time import local_time
from ..sources import (
    APPARENT_ENERGY,
    SUMMATION_ORDER,
    UNUSED,
    Resolver,
    default_order,
    name_of,
    obis_name,
    obis_of,
)
from ..types import seconds_of
from .common import now, prop
from .energy import energy_shift

if TYPE_CHECKING:
    from typing import Any

    from ..layout import Dimensions, Table
    from ..local_time import LocalTime
    from ..sources import Columns
    from ..tables import Tables

# Packed firmware versions (BT01.14). Meters of 2.0x count outages in minutes.
_V2_00 = 0x2000
_V2_10 = 0x2140

_OUTAGE_DURATION = 4

_NOT_IN_TIERS = b"\x04\x05\x1a\x1b\x1c"


def _add_summation(resolver: "Resolver", dims: "Dimensions", position: int, source: int, tier: int) -> None:
    code = obis_of(source)
    if APPARENT_ENERGY <= position < APPARENT_ENERGY + 4 and (code is None or code[1] != 8):
        # The guide gives these summations of firmware 4 a place, but no source id.
        name = "OSGP_apparent_energy_quadrant_%d" % (position - APPARENT_ENERGY + 1)
        resolver.add("%s_tier_%d" % (name, tier) if tier else name)
    elif source == UNUSED or (tier and source in _NOT_IN_TIERS):
        resolver.skip()
    elif source == _OUTAGE_DURATION and _V2_00 <= dims["firmware"] < _V2_10:
        resolver.add("OSGP_power_outage_minutes")
    else:
        resolver.add(name_of(source, tier), name_of(source))


def _demand_name(source: int, d: int, tier: int, what: str) -> str:
    code = obis_of(source)
    if code is None:
        name = "%s_%s" % (name_of(source), what)
        return "%s_tier_%d" % (name, tier) if tier else name
    return obis_name(code[0], d, tier)


def _without_prefix(name: str) -> str:
    return name[5:] if name[:5] in ("OBIS_", "OSGP_") else name


def _add_block(resolver: "Resolver", dims: "Dimensions", selection: "Table", tier: int) -> None:
    """The columns of one block in the order of BT23's fields."""
    for position in range(dims["summations"]):
        _add_summation(resolver, dims, position, selection["summations"][position], tier)
    maxima = []
    for i in range(dims["demands"]):
        source = selection["demands"][i]
        code = obis_of(source)
        alike = "OBIS_%d.7.0" % code[0] if code else name_of(source)
        is_maximum = selection["maximum"][i >> 3] >> (i & 7) & 1
        maximum = _demand_name(source, 6 if is_maximum else 3, tier, "maximum" if is_maximum else "minimum")
        maxima.append(maximum)
        names = [maximum] * dims["occurrences"]
        if dims["continuous"]:
            names.insert(0, "OSGP_continuous_" + _without_prefix(_demand_name(source, 2, tier, "cumulative")))
        if dims["cumulative"]:
            names.insert(0, _demand_name(source, 2, tier, "cumulative"))
        for name in names:
            if source == UNUSED:
                resolver.skip()
            else:
                resolver.add(name, alike)
    for i in range(dims["coincidents"]):
        source = selection["coincidents"][i]
        owner = selection["coincident_demands"][i]
        at = _without_prefix(maxima[owner]) if owner < len(maxima) else "demand_%d" % (owner + 1)
        for _ in range(dims["occurrences"]):
            if source == UNUSED:
                resolver.skip()
            else:
                resolver.add(
                    "OSGP_coincident_%s_at_%s" % (_without_prefix(name_of(source)), at), name_of(source)
                )


async def columns_of(tables: "Tables") -> "tuple[Columns, bytes]":
    """The columns of all blocks of REGISTERS, and for each coincident the index of its demand."""
    memo = tables.memo  # of this moment: what is derived from dropped dimensions goes with them
    known: tuple[Columns, bytes] | None = memo.get("registers")
    if known is not None:
        return known
    dims = await tables.dimensions(BT23.needs)
    if dims["demands"] or dims["coincidents"]:
        # Without BT22 nobody knows what a demand is a demand of.
        selection = await tables.get(BT22)
    else:
        found = await tables.get_if_there(BT22, "summations")
        selection = found or {"summations": default_order(SUMMATION_ORDER, dims["summations"])}
        selection["coincident_demands"] = ()
    resolver = Resolver(await energy_shift(tables))
    dims = await tables.dimensions(("registers", "firmware"))
    for tier in range(dims["tiers"] + 1):
        _add_block(resolver, dims, selection, tier)
    known = resolver.columns, bytes(selection["coincident_demands"])
    memo["registers"] = known
    return known


def _date(stamp: bytes, local: "LocalTime | None") -> "Timestamp | None":
    try:
        seconds = seconds_of(stamp)
    except TableError:
        return None  # the value itself is good
    if seconds is None or local is None:
        return None
    seconds, offset, _ = local.utc_of(seconds)
    return Timestamp(seconds, "", offset)


def _block(block: "Table", owners: bytes, local: "LocalTime | None") -> "list[tuple[int, Timestamp | None]]":
    """(count, time) of a block's values in the order of its columns."""
    cells: list[tuple[int, Timestamp | None]] = [(count, None) for count in block["summations"]]
    times = []
    for demand in block["demands"]:
        dates = [_date(stamp, local) for stamp in demand["times"]]
        times.append(dates)
        for name in ("cumulative", "continuous"):
            if name in demand:
                cells.append((demand[name], None))
        for i, count in enumerate(demand["values"]):
            cells.append((count, dates[i] if i < len(dates) else None))
    for i, coincident in enumerate(block["coincidents"]):
        dates = times[owners[i]] if owners[i] < len(times) else []
        for j, count in enumerate(coincident["values"]):
            cells.append((count, dates[j] if j < len(dates) else None))
    return cells


async def local_of(tables: "Tables") -> "LocalTime | None":
    """What converts the stamps of demands; None where there are none."""
    dims = await tables.dimensions(BT23.needs)
    return await local_time(tables) if dims["demands"] and dims["date_time"] else None


class Values:
    """A list of values, each made when it is asked for: of all that a board reads, registers would take the
    most memory as objects."""

    def __init__(self, first: "list[Value]", columns: "Columns") -> None:
        self._first = first
        self._columns = columns
        self._places = array("H")  # of their columns
        # A list that grows would need twice the room in a piece.
        self._counts = [0] * columns.used()
        self._dates: dict[int, Timestamp] = {}
        self._others: list[Value] = []
        self._last = -1
        self._made: Any = None

    def add(self, place: int, count: int, date: "Timestamp | None") -> None:
        """What stands in a column."""
        i = len(self._places)
        self._places.append(place)
        self._counts[i] = count
        if date is not None:
            self._dates[i] = date

    def append(self, value: Value) -> None:
        """Behind all columns."""
        self._others.append(value)

    def __len__(self) -> int:
        return len(self._first) + len(self._places) + len(self._others)

    def __getitem__(self, i: "Any") -> "Any":
        if isinstance(i, slice):
            return [self[j] for j in range(len(self))[i]]
        if i < 0:
            i += len(self)
        if i < len(self._first):
            return self._first[i]
        i -= len(self._first)
        count = len(self._places)
        if i >= count:
            return self._others[i - count]
        if i != self._last:
            column = self._columns[self._places[i]]
            assert column is not None
            self._made = Value(column[0], self._counts[i], column[1], column[2], date=self._dates.get(i))
            self._last = i
        return self._made


def values_of(table: "Table", columns: "Columns", owners: bytes, local: "LocalTime | None") -> "Any":
    """The values of decoded REGISTERS, as a list; on a board as Values."""
    first = [Value(prop("OBIS_0.1.0"), table["demand_resets"])] if "demand_resets" in table else []
    values = Values(first, columns)
    at = 0
    for block in [table["total"]] + table["tiers"]:
        for count, date in _block(block, owners, local):
            if columns[at] is not None:
                values.add(at, count, date)
            at += 1
    return values if MICROPYTHON else [values[i] for i in range(len(values))]


async def _read(tables: "Tables") -> Reading:
    columns, owners = await columns_of(tables)
    local = await local_of(tables)
    table = await tables.get(BT23)
    return Reading(REGISTERS, now(), values_of(table, columns, owners, local))


async def read(tables: "Tables") -> "list[Reading]":
    return [await tables.steady(lambda: _read(tables))]
