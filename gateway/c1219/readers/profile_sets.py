"""The data sets of a load profile as they are configured now, and where the meter stands in them.

Dimensions come from BT61, geometry from ET21 (whose offsets are the real ones: the formula for the simple
status in BT64 holds only with end readings), what is recorded from BT62.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import Refused, TableError
from ..layout import Layout
from ..layouts.profile import BT60, BT61, BT62, BT63, ET21, ET21_SIZE, ET21_START
from .profile_columns import Sources

if TYPE_CHECKING:
    from typing import Any

    from ..layout import Table
    from ..tables import Tables
    from .profile_columns import Channel

# The most that is believed: 1440 intervals a block are the guide's most (BT60), and ET21.23 counts the
# bytes of their status up to 255; 16 channels; the guide's largest memory for load profiles is 233,856 bytes.
_MAX_INTERVALS = const(2040)
_MAX_CHANNELS = const(16)
_MAX_TABLE = const(0x400000)
_INT32 = const(32)
_DAY_CODE = const(84)
_STATE_SIZE = const(13)
_TRIES = const(3)

# Packed firmware versions (BT01.14); modules number their firmware from 1 on.
_V2_00 = const(0x2000)
_V3_10 = const(0x3140)


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


async def load(tables: "Tables") -> Profile:
    """Raises TableError when the meter is configured anew all the time."""
    for _ in range(_TRIES):
        actual = await tables.get(BT61)
        profile = await _load(tables, actual)
        # The dimensions must go with the configuration id, which is read after them.
        if await tables.get(BT61) == actual:
            return profile
    raise TableError("the load profile's dimensions (BT61) changed during each of %d reads" % _TRIES)


async def _load(tables: "Tables", actual: "Table") -> Profile:
    firmware = (await tables.dimensions(("firmware",)))["firmware"]
    profile = Profile(
        {"has_configuration": 1, "has_progress": 1 if firmware >= _V3_10 or firmware < _V2_00 else 0}
    )
    most: Table | None = None
    sources = Sources(tables)
    at = 0
    for number in range(len(actual["sets"])):
        claim = actual["sets"][number]
        if most is None:
            # The guide makes scalars and divisors in BT62 depend on BT60, not on BT61.
            most = await tables.get_if_there(BT60, "flags") or actual
        channels = claim["channels"]
        dims = {"channels": channels, "scaled_channels": channels if most["scalars"] >> number & 1 else 0}
        if claim["blocks"] and claim["intervals"] and channels:
            each = DataSet(number)
            try:
                await _load_set(tables, profile, each, claim)
                control = BT62.decode(await tables.part(BT62, at, BT62.size(dims)), dims)
                await _load_columns(each, control, sources, actual["end_readings"])
                if not number:
                    await _load_past(tables, each, control, sources)
            except TableError as error:
                profile.trouble = error
            else:
                profile.sets.append(each)
        at += BT62.size(dims)
    return profile


async def _load_set(tables: "Tables", profile: Profile, each: DataSet, claim: "Table") -> None:
    each.blocks = claim["blocks"]
    each.intervals = claim["intervals"]
    each.channels = claim["channels"]
    entry = await entry_of(tables, profile, each)
    each.take_geometry(entry)
    minutes = claim["interval_time"]
    if minutes == _DAY_CODE and not entry.get("ansi", 0):
        minutes = 1440
    if not minutes:
        raise TableError("data set %d of the load profile has intervals of 0 minutes" % (each.number + 1))
    each.seconds = 60 * minutes


async def _load_columns(each: DataSet, control: "Table", sources: Sources, end_readings: int) -> None:
    if control["format"] != _INT32:
        raise TableError(
            "data set %d of the load profile is recorded in format %d (BT62); only INT32 (32) is known"
            % (each.number + 1, control["format"])
        )
    ends = []
    if end_readings and each.status_offset >= 5 + 4 * each.channels:
        ends = [channel["end_source"] for channel in control["channels"]]
    each.columns, each.end_columns, each.is_mbus = await sources.channels(
        each.number,
        [channel["source"] for channel in control["channels"]],
        ends,
        control["scalars"],
        control["divisors"],
        each.first_segment,
    )


async def _load_past(tables: "Tables", each: DataSet, control: "Table", sources: Sources) -> None:
    """The columns that an end reading's source went with may have changed with it."""
    from .profile_changes import changes

    channels = control["channels"]
    for until, listed, demands in await changes(tables, each.channels):
        ends = []
        if each.end_columns:
            for i in range(each.channels):
                alike = channels[i]["end_source"] == channels[i]["source"]
                ends.append(listed[i] if alike else channels[i]["end_source"])
        columns, end_columns, is_mbus = await sources.channels(
            each.number, listed, ends, control["scalars"], control["divisors"], each.first_segment, demands
        )
        each.past.append((until, columns, end_columns))
        each.is_mbus = each.is_mbus or is_mbus


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
