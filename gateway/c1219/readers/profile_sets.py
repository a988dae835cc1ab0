"""The data sets of a load profile as they are configured now, and where the meter stands in them."""

from ..._compat import TYPE_CHECKING, const
from ...errors import Refused, TableError
from ..layout import Layout
from ..layouts.profile import BT63, ET21, ET21_SIZE, ET21_START

if TYPE_CHECKING:
    from typing import Any

    from ..layout import Table
    from ..tables import Tables
    from .profile_values import Channel

# The most that is believed: 1440 intervals a block are the guide's most (BT60), and ET21.23 counts the
# bytes of their status up to 255; 16 channels; the guide's largest memory for load profiles is 233,856 bytes.
_MAX_INTERVALS = const(2040)
_MAX_CHANNELS = const(16)
_MAX_TABLE = const(0x400000)
_STATE_SIZE = const(13)


class DataSet:
    """One data set; `number` from 0, `table`: BT64 to BT67, which no layout holds whole; `columns` and
    `end_columns` of its series, and in `past` those of intervals that ended before a time, oldest first."""

    blocks: int
    intervals: int
    seconds: int
    channels: int
    block_size: int
    header_size: int
    interval_size: int
    status_offset: int
    status_size: int
    configuration: int
    first_segment: int

    def __init__(self, number: int) -> None:
        self.number = number
        self.table = Layout(64 + number, ())
        self.columns: list[Channel] = []
        self.end_columns: list[Channel] = []
        self.past: list[tuple[int, list[Channel], list[Channel]]] = []
        self.is_mbus = False

    def take_geometry(self, entry: "Table") -> None:
        """What ET21 says; TableError for what can't be, or does not go with BT61."""
        self.block_size = entry["block_size"]
        self.header_size = entry["header_size"]
        self.interval_size = entry["interval_size"]
        self.status_offset = entry["status_offset"]
        self.status_size = entry["status_size"]
        self.configuration = entry.get("configuration", 0)
        self.first_segment = entry.get("first_segment", 0) or self.channels
        extended = self.channels // 2 + 1
        if (
            not 1 <= self.intervals <= _MAX_INTERVALS
            or self.channels > _MAX_CHANNELS
            or entry["channels"] != self.channels
            or self.interval_size != extended + 4 * self.channels
            or entry["channel_offset"] != extended
            or self.status_size * 8 < self.intervals
            or self.status_offset < 5
            or self.status_offset + self.status_size > self.header_size
            or self.header_size + self.intervals * self.interval_size > self.block_size
            or self.blocks * self.block_size > _MAX_TABLE
        ):
            raise TableError(
                "data set %d of the load profile claims %d blocks of %d bytes, each with %d intervals of %d "
                "bytes and %d channels (BT61, ET21): that can't be, and is not read"
                % (
                    self.number + 1,
                    self.blocks,
                    self.block_size,
                    self.intervals,
                    self.interval_size,
                    self.channels,
                )
            )

    def is_still(self, entry: "Table") -> bool:
        """Whether ET21 says what the geometry was taken from."""
        return bool(
            entry.get("configuration", 0) == self.configuration
            and entry["block_size"] == self.block_size
            and entry["interval_size"] == self.interval_size
            and entry["header_size"] == self.header_size
            and entry["status_offset"] == self.status_offset
        )

    def check(self, state: "Table") -> None:
        """TableError for what BT63 can't say of this data set; where no block is valid, nothing counts."""
        if state["valid_blocks"] > self.blocks or (
            state["valid_blocks"] and state["last_block"] >= self.blocks
        ):
            raise TableError(
                "BT63 claims %d valid blocks, the last at %d, in data set %d, which has %d"
                % (state["valid_blocks"], state["last_block"], self.number + 1, self.blocks)
            )

    def offset(self, state: "Table", age: int) -> int:
        """Where in the table the block begins that is `age` blocks older than the newest."""
        place: int = (state["last_block"] - age) % self.blocks * self.block_size
        return place

    def columns_at(self, end: int) -> "tuple[list[Channel], list[Channel]]":
        """(columns, end columns) of an interval that ended then."""
        for until, columns, end_columns in self.past:
            if end < until:
                return columns, end_columns
        return self.columns, self.end_columns

    def last_interval(self, header: "bytes | bytearray") -> int:
        """The highest interval that a block's simple status marks as processed; -1: none."""
        for i in range(self.intervals - 1, -1, -1):
            if header[self.status_offset + (i >> 3)] >> (i & 7) & 1:
                return i
        return -1

    def processed(self, header: "bytes | bytearray", first: int, end: int) -> int:
        """The first interval from `first` on that is marked as processed; `end`, when none is before that."""
        while first < end and not header[self.status_offset + (first >> 3)] >> (first & 7) & 1:
            first += 1
        return first


class Profile:
    """All data sets that can be read. `et21`: the dimensions of its elements. `states`: BT63 by data set
    as it was after the last step, for the next. `rest`: what was read and holds, but not yet delivered.
    `trouble`: why a data set is missing here."""

    def __init__(self, et21: "dict[str, int]") -> None:
        self.et21 = et21
        self.sets: list[DataSet] = []
        self.states: dict[int, Table] | None = None
        self.rest: Any = None
        self.trouble: TableError | None = None

    def interval_s(self) -> int:
        """The length of the shortest intervals; there is at least one data set."""
        return min([each.seconds for each in self.sets])

    def goes_on(self, number: int) -> bool:
        """Whether something is left to do after this data set."""
        return self.trouble is not None or number != self.sets[-1].number


async def entry_of(tables: "Tables", profile: Profile, each: DataSet) -> "Table":
    """The data set's element of ET21; what firmware before 3.10 or 2.10 lacks is missing from it."""
    offset = ET21_START + ET21_SIZE * each.number
    while True:
        dims = profile.et21
        try:
            return ET21.decode(await tables.part(ET21, offset, ET21.size(dims)), dims)
        except Refused as refusal:
            if refusal.code not in (4, 5) or not dims["has_configuration"]:
                raise
            dims = dict(dims)
            dims["has_progress" if dims["has_progress"] else "has_configuration"] = 0
            profile.et21 = dims


async def states_of(tables: "Tables", profile: Profile) -> "dict[int, Table]":
    """BT63's elements of the data sets, as they are."""
    first, last = profile.sets[0].number, profile.sets[-1].number
    raw = await tables.part(BT63, _STATE_SIZE * first, _STATE_SIZE * (last - first + 1))
    states = {}
    for each in profile.sets:
        at = _STATE_SIZE * (each.number - first)
        states[each.number] = BT63.decode(raw[at : at + _STATE_SIZE], {})
    return states
