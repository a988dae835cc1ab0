"""Self-reads: BT26, the registers as the meter stored them at season and month ends and by its calendar.

Each is a Reading of what a Registers reading holds, at the time the meter stored it: a local stamp, converted
by the meter's own rules, with the fault OSGP_local_time_ambiguous where these leave a choice. It carries the
season, and where demands are configured the number of the billing definition (BIDN) it was stored under; the
fault OSGP_other_configuration says that today's is another one, so that demands may be of other sources.

Entries form a ring with 16-bit sequence numbers. The cursor is 1, the sequence of the last entry delivered
and its raw stamp; or 2 and 5 bytes of UTC seconds to begin at. One that does not fit the meter's entries
means the oldest.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ...transmission.model import SELF_READ, Reading, Timestamp, Value
from ..layouts.self_reads import BT26, BT26_ENTRY, BT26_HEAD, ET42_BILLING
from ..local_time import local_time
from ..types import seconds_of
from .common import Step, fault, now, prop
from .registers import columns_of, values_of

if TYPE_CHECKING:
    from ..layout import Dimensions, Table
    from ..local_time import LocalTime
    from ..sources import Columns
    from ..tables import Tables

_LAST = const(1)
_SINCE = const(2)
_SEQUENCES = const(0xFFFF)
_TRIES = const(3)
_ENTRIES = const(6)  # where they begin
# Values of a step: well below a frame's 8 KiB, and what a board can hold at once.
_VALUES = const(256)


def since(utc_seconds: int) -> bytes:
    """The cursor that begins with the first self-read of that time or later."""
    value = min(max(utc_seconds, 0), 0xFFFFFFFFFF)
    return bytes((_SINCE,)) + value.to_bytes(5, "little")


async def read(tables: "Tables", cursor: "bytes | None") -> Step:
    """The next self-reads after the cursor, oldest first."""
    step: Step = await tables.steady(lambda: _read(tables, cursor))
    return step


async def _read(tables: "Tables", cursor: "bytes | None") -> Step:
    dims = await tables.dimensions(BT26_ENTRY.needs)
    if not dims["self_reads"]:
        return Step([], cursor or b"")
    for _ in range(_TRIES):
        ring = _Ring(tables, dims, await tables.get(BT26))
        first = await ring.first(cursor)
        if first is None:
            return Step([], cursor or b"")
        maker = await _maker(tables)
        raw = await ring.entries(first)
        after = _Ring(tables, dims, await tables.get(BT26))
        tables.release(BT26)
        if all(after.offset(sequence) == ring.offset(sequence) for sequence, _ in raw):
            items = [maker.reading(sequence, data) for sequence, data in raw]
            sequence = raw[-1][0]
            mark = bytes((_LAST, sequence & 255, sequence >> 8)) + _stamp(raw[-1][1], dims)
            return Step(items, mark, sequence != after.sequence)
    raise TableError("BT26 was overwritten during each of %d reads" % _TRIES)


def _stamp(raw: bytes, dims: "Dimensions") -> bytes:
    """The entry's stamp as it is; empty where BT21 has none."""
    stamp: bytes = BT26_HEAD.decode(raw, dims, ("stamp",)).get("stamp", b"")
    return stamp


class _Ring:
    """Where entries stand, by BT26's header."""

    def __init__(self, tables: "Tables", dims: "Dimensions", header: "Table") -> None:
        self.sequence: int = header["sequence"]
        self._tables = tables
        self._dims = dims
        self._valid: int = header["valid"]
        self._last: int = header["last"]
        self._places: int = dims["self_reads"]
        self._size = BT26_ENTRY.size(dims)
        if self._valid > self._places or (self._valid and self._last >= self._places):
            raise TableError(
                "BT26 claims %d entries, the last at %d, where BT21 has %d"
                % (self._valid, self._last, self._places)
            )

    def offset(self, sequence: int) -> int:
        """Where the entry is; -1 when it is not there (any more)."""
        age: int = self.sequence - sequence & _SEQUENCES
        if age >= self._valid:
            return -1
        offset: int = _ENTRIES + (self._last - age) % self._places * self._size
        return offset

    async def first(self, cursor: "bytes | None") -> "int | None":
        """The sequence of the first entry behind the cursor; None when there is none."""
        if not self._valid:
            return None
        oldest: int = self.sequence - self._valid + 1 & _SEQUENCES
        if cursor and cursor[0] == _LAST and len(cursor) >= 3:
            last = cursor[1] | cursor[2] << 8
            if self.offset(last) >= 0:
                if last == self.sequence:
                    return None
                # Numbers come again after 65,536 entries; with the same stamp they do not.
                if await self._stamp_of(last) == cursor[3:]:
                    return _next(last, 1)
        elif cursor and cursor[0] == _SINCE and len(cursor) == 6:
            return await self._seek(oldest, int.from_bytes(cursor[1:], "little"))
        return oldest

    async def _stamp_of(self, sequence: int) -> bytes:
        size = BT26_HEAD.size(self._dims)
        return _stamp(await self._tables.part(BT26, self.offset(sequence), size), self._dims)

    async def _seek(self, oldest: int, start: int) -> "int | None":
        local = await local_time(self._tables)
        low, high = 0, self._valid
        middle = before = 0
        while low < high:
            seconds = _seconds(await self._stamp_of(_next(oldest, middle)))
            # One that is older than those before it was stored with a wrong clock.
            if seconds is None or local.utc_of(seconds)[0] >= start or seconds < before:
                high = middle
            else:
                low = middle + 1
                before = seconds
            middle = (low + high) // 2
        return _next(oldest, low) if low < self._valid else None

    async def entries(self, first: int) -> "list[tuple[int, bytes]]":
        """(sequence, bytes) of as many entries as a step takes and stand in a row."""
        offset = self.offset(first)
        count = max(_VALUES * 4 // self._size, 1)
        count = min(count, (self.sequence - first & _SEQUENCES) + 1)
        count = min(count, self._places - (offset - _ENTRIES) // self._size)
        size = self._size
        data = await self._tables.gather(BT26, first, offset, count * size)
        return [(_next(first, i), bytes(data[i * size : (i + 1) * size])) for i in range(count)]


def _next(sequence: int, count: int) -> int:
    following: int = sequence + count & _SEQUENCES
    return following


def _seconds(stamp: bytes) -> "int | None":
    try:
        return seconds_of(stamp)
    except TableError:
        return None


class _Maker:
    """Makes readings of entries."""

    def __init__(
        self, dims: "Dimensions", columns: "Columns", owners: bytes, local: "LocalTime", billing: "int | None"
    ) -> None:
        self._dims = dims
        self._columns = columns
        self._owners = owners
        self._local = local
        self._billing = billing

    def reading(self, sequence: int, data: bytes) -> Reading:
        entry = BT26_ENTRY.decode(data, self._dims)
        stamp: bytes = entry.get("stamp", b"")
        time, faults = _time(stamp, self._local)
        values = values_of(entry["registers"], self._columns, self._owners, self._local)
        if "season" in entry:
            values.append(Value(prop("OSGP_season"), entry["season"]))
        if "billing_definition" in entry:
            definition = entry["billing_definition"]
            values.append(Value(prop("OSGP_billing_definition"), definition))
            if self._billing is not None and definition != self._billing:
                faults.append(fault("OSGP_other_configuration"))
        return Reading(SELF_READ, time, values, faults, (sequence, stamp))


async def _maker(tables: "Tables") -> _Maker:
    columns, owners = await columns_of(tables)
    local = await local_time(tables)
    dims = await tables.dimensions(BT26_ENTRY.needs)
    billing = await _billing_definition(tables) if dims["demands"] else None
    return _Maker(dims, columns, owners, local, billing)


def _time(stamp: bytes, local: "LocalTime") -> "tuple[Timestamp, list[int | str]]":
    seconds = _seconds(stamp)
    if seconds is None:
        return now(), [fault("OSGP_stamp_invalid")]
    utc, offset, certain = local.utc_of(seconds)
    return Timestamp(utc, "", offset), [] if certain else [fault("OSGP_local_time_ambiguous")]


async def _billing_definition(tables: "Tables") -> "int | None":
    """The number in effect now; a change of it is a change of the interface version."""
    memo = tables.memo
    if "billing_definition" not in memo:
        table = await tables.get_if_there(ET42_BILLING)
        memo["billing_definition"] = table["billing_definition"] if table else None
    number: int | None = memo["billing_definition"]
    return number
