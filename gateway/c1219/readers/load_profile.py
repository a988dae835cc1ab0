"""Load profiles: BT64 to BT67, each data set's blocks of intervals, from where the cursor stands.

A block is a row of intervals on one grid of time; blocks form a ring. The meter goes on while it is read, so
every step is bracketed: BT63 before, BT63 and ET21 after the data. A block that was overwritten, or a data
set that was configured anew in between, is not published. What held after the data of one step serves as
what holds before the next one's: a block that stands at the same place before and after stood there all
the time, however long ago "before" is.

Rows are the intervals that the meter marks as processed (simple status), with the interval's end in UTC.
Values are as recorded, energies as BT23 counts them; there is none (None) where the meter says that what
stands there is none: skipped, opted out, still awaited from a device, or not decrypted. Statuses are faults:
of the whole row, or when not all channels have them, of one column. End readings, where a meter has them,
are columns of their own ("OSGP_end_reading_...") with a value in the row of a block's last interval.
"""

from ..._compat import MICROPYTHON, TYPE_CHECKING, const, forget
from ...errors import GatewayError, Refused, TableError
from ...transmission.model import LOAD_PROFILE, Column, Series
from ...transmission.registry import COLUMN_FAULTS
from ..layouts.profile import BT64_END
from ..types import seconds_of
from .common import Step, fault
from .profile_cursor import NOT_SEEN, cursor_of, marks_of
from .profile_cursor import since as since  # noqa: PLC0414 - for whoever reads kinds
from .profile_sets import entry_of, states_of
from .profile_values import is_stuffed, value

if TYPE_CHECKING:
    from ..layout import Table
    from ..tables import Tables
    from .profile_cursor import Mark
    from .profile_sets import DataSet, Profile
    from .profile_values import Channel

    # block sequence, header, first interval, end of the intervals, their bytes
    Block = tuple[int, bytes | bytearray, int, int, bytes | bytearray]
    # what delivers it, where the step before ended, blocks, BT63 after they were read
    Rest = tuple["_Part", Mark, list[Block], Table]

_SEQUENCES = const(0xFFFFFFFF)
_TRIES = const(3)

# What is read at once, before it is checked that the meter did not move on. Of that a step gives as many
# values as a board can hold as objects, and as many bits as a frame of 8 KiB has room for.
_READ_SIZE = 896 if MICROPYTHON else 5632
_STEP_VALUES = 192 if MICROPYTHON else 480
_FRAME_BITS = const(60000)
_ROW_BITS = const(16)
_VALUE_BITS = const(36)
_FAULT_BITS = const(40)

# A block without a valid end time is published all the same, from 2000-01-01 on.
_NO_TIME = const(946684800)

# Faults by channel status and by bit of the common status (BT64, "Extended Status Field Description").
_STATUSES = (
    "", "overflow", "partial", "long", "skipped", "test", "status_6", "status_7", "undecrypted",
    "clock_error", "device_missing", "not_current", "opted_out", "status_13", "status_14", "placeholder",
)  # fmt: skip
_COMMON = ("dst", "power_fail", "clock_forward", "clock_backward")
# Statuses in place of a value: skipped, undecrypted, opted out, placeholder.
_VOID = b"\x04\x08\x0c\x0f"


async def read(tables: "Tables", cursor: "bytes | None") -> Step:
    """The next part of what the meter recorded after the cursor: Series of one data set, one a block.

    Raises TableError for dimensions and contents that can't be, once what other data sets have is read.
    """
    step = _rest(tables, cursor)
    if step is None:
        step = await tables.steady(lambda: _read(tables, cursor))
    if not step.more:
        tables.untrace()
    return step


def _rest(tables: "Tables", cursor: "bytes | None") -> "Step | None":
    """What is left of what was read for the step before, when the cursor is still where that ended."""
    profile: Profile | None = tables.memo.get("load_profile")
    rest: Rest | None = profile.rest if profile else None
    if profile is None or rest is None:
        return None
    profile.rest = None
    part, mark, blocks, after = rest
    marks, start = marks_of(cursor)
    number = part.each.number
    if marks.get(number) != mark:
        return None
    part.items = []
    part.deliver(blocks, after)
    marks[number] = part.mark
    more = part.more or profile.goes_on(number)
    return Step(part.items, cursor_of(marks, start), more, profile.interval_s())


async def _read(tables: "Tables", cursor: "bytes | None") -> Step:
    for _ in range(_TRIES):
        memo = tables.memo  # of this moment: what is derived from dropped dimensions goes with them
        profile: Profile | None = memo.get("load_profile")
        if profile is None:
            profile = await _load(tables)
            memo["load_profile"] = profile
        try:
            step = await _attempt(tables, profile, cursor)
        except (Refused, TableError):
            _drop(tables)
            raise
        if step is not None:
            return step
    raise TableError("the load profile was overwritten or configured anew during each of %d reads" % _TRIES)


async def _load(tables: "Tables") -> "Profile":
    from .profile_loading import load

    try:
        return await load(tables)
    finally:
        # A board has no room for it beside what is read then.
        forget("gateway.c1219.readers", "profile_loading")
        forget("gateway.c1219.readers", "profile_changes")


def _drop(tables: "Tables") -> None:
    """It is not configured so any more."""
    tables.memo.pop("load_profile", None)
    tables.untrace()


async def _attempt(tables: "Tables", profile: "Profile", cursor: "bytes | None") -> "Step | None":
    """None: what was read does not belong together."""
    marks, start = marks_of(cursor)
    trouble: GatewayError | None = profile.trouble
    if not profile.sets:
        if trouble is not None:
            raise trouble
        return Step([], cursor_of(marks, start))
    interval_s = profile.interval_s()
    states = profile.states
    profile.states = None
    stale = states is not None
    while True:
        if states is None:
            states = await states_of(tables, profile)
        for i in range(len(profile.sets)):
            each = profile.sets[i]
            state = states[each.number]
            try:
                each.check(state)
                mark = marks.get(each.number)
                if mark is None and start is not None and state["valid_blocks"]:
                    marks[each.number] = mark = await _seek(tables, each, state, start)
                if not _has_news(each, state, mark):
                    continue
                part = _Part(tables, profile, each, state, mark)
                if not await part.run():
                    return None
                marks[each.number] = part.mark
            except (Refused, TableError) as error:
                if not each.is_still(await entry_of(tables, profile, each)):
                    _drop(tables)
                    return None
                trouble = error
                continue
            if part.items or part.more:
                more = part.more or trouble is not None or profile.goes_on(each.number)
                return Step(part.items, cursor_of(marks, start), more, interval_s)
        if not stale:
            break
        stale = False  # what held after the step before says nothing of what came since
        states = None
    if trouble is not None:
        raise trouble
    return Step([], cursor_of(marks, start), False, interval_s)


def _age(state: "Table", sequence: int) -> int:
    """How many blocks before the newest; valid_blocks or more when it is not there (any more)."""
    age: int = state["sequence"] - sequence & _SEQUENCES
    return age


def _has_news(each: "DataSet", state: "Table", mark: "Mark | None") -> bool:
    if not state["valid_blocks"]:
        return False
    if mark is None or mark[0] != each.configuration:
        return True
    return bool(mark[1] != state["sequence"] or mark[3] != state["valid_intervals"])


def _end_of(block: "bytes | bytearray") -> "int | None":
    try:
        return seconds_of(bytes(block[:5]))
    except TableError:
        return None


async def _seek(tables: "Tables", each: "DataSet", state: "Table", start: int) -> "Mark":
    """Where the first interval is that ends at `start` or later.

    A block that ended before an older one did was written with a wrong clock: what is older is not left out.
    """
    blocks = state["valid_blocks"]
    low, high = 0, blocks
    middle = before = 0
    while low < high:
        offset = each.offset(state, blocks - 1 - middle)
        end = _end_of(await tables.part(each.table, offset, BT64_END.size({})))
        if end is None or end >= start or end < before:
            high = middle
        else:
            low = middle + 1
            before = end
        middle = (low + high) // 2
    age = max(blocks - 1 - low, 0)
    header = await tables.part(each.table, each.offset(state, age), each.header_size)
    end = _end_of(header)
    first = 0
    if end is not None and (end >= start or low == blocks):
        last = each.last_interval(header)
        first = min(max(last - (end - start) // each.seconds, 0), last + 1)
    return each.configuration, state["sequence"] - age & _SEQUENCES, first, NOT_SEEN


class _Part:
    """One step in one data set. `mark`: where it ends; `more`: whether the data set has more right now."""

    def __init__(
        self, tables: "Tables", profile: "Profile", each: "DataSet", state: "Table", mark: "Mark | None"
    ) -> None:
        self.items: list[Series] = []
        self.mark: Mark = (0, 0, 0, 0)
        self.more = True
        self._tables = tables
        self._profile = profile
        self.each = each
        self._state = state
        self._bits = 0
        self._values = 0
        self._in_progress = 0
        self._open: list[int | str] = []  # faults of the row before
        self._oldest = state["sequence"] - state["valid_blocks"] + 1 & _SEQUENCES
        self._begin = self._oldest, 0
        if mark and mark[0] == each.configuration and _age(state, mark[1]) < state["valid_blocks"]:
            self._begin = mark[1], mark[2]

    async def run(self) -> bool:
        """Reads, and makes Series of it; False: the meter moved on, and what came counts for nothing."""
        each, state = self.each, self._state
        sequence, first = self._begin
        if first >= each.intervals and sequence != state["sequence"]:
            sequence = sequence + 1 & _SEQUENCES
            first = 0
        if sequence == state["sequence"]:
            blocks: list[Block] | None = await self._newest(sequence, first)
        else:
            blocks = await self._finished(sequence, first)
        if blocks is None:
            return False
        entry = await entry_of(self._tables, self._profile, each)
        states = await states_of(self._tables, self._profile)
        if not each.is_still(entry):
            _drop(self._tables)
            return False
        after = states[each.number]
        each.check(after)
        for block in blocks:
            age = _age(after, block[0])
            if age >= after["valid_blocks"] or each.offset(after, age) != each.offset(
                state, _age(state, block[0])
            ):
                return False
        self._tables.release(each.table)
        in_progress = entry.get("in_progress", 0)
        if self._in_progress and not in_progress:
            return False  # devices answered after their values were read
        self._in_progress = in_progress
        self._profile.states = states
        self.deliver(blocks, after)
        return True

    def deliver(self, blocks: "list[Block]", after: "Table") -> None:
        """Series of what was read and holds; what is too much for a step is kept for the next."""
        self._bits = self._values = 0
        while blocks:
            sequence, header, first, end, data = blocks[0]
            following = self._take(blocks[0], after)
            blocks = blocks[1:]
            if following < end:
                at = (following - first) * self.each.interval_size
                blocks.insert(0, (sequence, header, following, end, data[at:]))
            if not blocks:
                break
            # A block that does not fit whole begins a step of its own.
            more = (blocks[0][3] - blocks[0][2]) * len(self.each.columns)
            if following < end or self._values + more > _STEP_VALUES:
                self._profile.rest = (self, self.mark, blocks, after)
                break

    def _room(self, size: int) -> int:
        return max(size // self.each.interval_size, 1)

    async def _gather(self, sequence: int, offset: int, count: int) -> bytearray:
        each = self.each
        # What devices have not yet answered (ET21.91) stands there with a value that is none.
        what = (each.configuration << 32 | sequence) << 16 | self._in_progress
        return await self._tables.gather(each.table, what, offset, count)

    async def _finished(self, sequence: int, first: int) -> "list[Block]":
        """The rest of a block, or as many blocks as fit and stand in a row."""
        each = self.each
        age = _age(self._state, sequence)
        offset = each.offset(self._state, age)
        header_size = each.header_size
        if first:
            header = await self._tables.part(each.table, offset, header_size)
            first = each.processed(header, first, each.intervals - 1)
            end = min(first + self._room(_READ_SIZE), each.intervals)
            offset += header_size + first * each.interval_size
            data = await self._gather(sequence, offset, (end - first) * each.interval_size)
            return [(sequence, header, first, end, data)]
        count = min(_READ_SIZE // each.block_size, age, each.blocks - offset // each.block_size)
        if count < 1:
            end = min(self._room(_READ_SIZE - header_size), each.intervals)
            data = await self._gather(sequence, offset, header_size + end * each.interval_size)
            return [(sequence, data[:header_size], 0, end, data[header_size:])]
        data = await self._gather(sequence, offset, count * each.block_size)
        blocks: list[Block] = []
        for i in range(count):
            at = i * each.block_size
            blocks.append(
                (
                    sequence + i & _SEQUENCES,
                    data[at : at + header_size],
                    0,
                    each.intervals,
                    data[at + header_size : at + each.block_size],
                )
            )
        return blocks

    async def _newest(self, sequence: int, first: int) -> "list[Block] | None":
        """What the newest block has by now: its header says. None when that changed while it came."""
        each = self.each
        if each.is_mbus:
            self._in_progress = (await entry_of(self._tables, self._profile, each)).get("in_progress", 0)
        offset = each.offset(self._state, 0)
        header = await self._tables.part(each.table, offset, each.header_size)
        parts = 0 < self._tables.meter.max_read < each.header_size
        if parts and await self._tables.part(each.table, offset, each.header_size) != header:
            return None  # its time and status must be of one moment
        last = each.last_interval(header)
        if first > last + 1:
            # It had more when that was read: the meter began anew with the same numbers.
            return (
                await self._finished(self._oldest, 0)
                if self._oldest != sequence
                else await self._newest(sequence, 0)
            )
        first = each.processed(header, first, last)
        end = min(last + 1, first + self._room(_READ_SIZE))
        data: bytes | bytearray = b""
        if end > first:
            offset += each.header_size + first * each.interval_size
            data = await self._gather(sequence, offset, (end - first) * each.interval_size)
        return [(sequence, header, first, max(end, first), data)]

    def _take(self, block: "Block", after: "Table") -> int:
        """The block's rows, and where it stands then; gives the interval behind them."""
        each, state = self.each, self._state
        sequence, header, first, end, _ = block
        last = each.last_interval(header)
        newest = sequence == state["sequence"]
        held = False
        if newest and end == last + 1 > first and self._in_progress and self._in_progress - last in (0, 1):
            # ET21.91 (from 0 or from 1, the guide does not say): still waiting for what devices answer.
            held = True
            end = last
        following = self._rows(block, end, last)
        full = following < end
        seen = NOT_SEEN
        if newest and not full and not held and end == max(last + 1, first):
            seen = state["valid_intervals"]
        self.mark = (each.configuration, sequence, following, seen)
        self.more = (
            not newest
            or full
            or (not held and following <= last)
            or after["sequence"] != sequence
            or after["valid_intervals"] != state["valid_intervals"]
        )
        return following if full else block[3]

    def _rows(self, block: "Block", end: int, last: int) -> int:
        """A Series of the intervals before `end` that were processed; gives the interval behind them, or
        the first for which the frame has no room."""
        each = self.each
        sequence, header, first, _, data = block
        end_time = _end_of(header)
        untrusted = end_time is None
        if end_time is None:
            end_time = _NO_TIME + (last + 1) * each.seconds
        chosen = each.columns, each.end_columns
        if not untrusted:
            chosen = each.columns_at(end_time - (last - first) * each.seconds)
        columns = chosen[0] + chosen[1]
        # Lists that grow would take twice their room.
        most = min(end - first, _STEP_VALUES // max(len(columns), 1) + 1)
        mantissas: list[list[int | None]] = [[None] * most for _ in columns]
        times = [0] * most
        row = 0
        faults: list[tuple[int, int | str]] = []
        origins: list[tuple[int, int, int, int, int]] = []
        extended = each.channels // 2 + 1
        row_bits = _ROW_BITS + _VALUE_BITS * len(columns)
        self._open = []
        i = first
        while i < end:
            i = each.processed(header, i, end)
            if i == end:
                break
            if (
                each.past
                and not untrusted
                and each.columns_at(end_time - (last - i) * each.seconds) != chosen
            ):
                break
            time = end_time - (last - i) * each.seconds
            at = (i - first) * each.interval_size
            status = data[at : at + extended]
            found = self._faults(status, chosen[0])
            if untrusted:
                found.append(fault("OSGP_clock_untrusted"))
            values: list[int | None] = []
            for j in range(len(columns)):
                channel = columns[j]
                place = channel[0]
                count = None
                if j >= len(chosen[0]):
                    if i + 1 == each.intervals:
                        start = 5 + 4 * place
                        count = value(channel, bytes(header[start : start + 4]))
                elif _nibble(status, place + 1) not in _VOID:
                    start = at + extended + 4 * place
                    raw = bytes(data[start : start + 4])
                    count = value(channel, raw)
                    if not untrusted and not _nibble(status, place + 1) and is_stuffed(channel, raw, time):
                        count = None
                        found.append(COLUMN_FAULTS + 32 * int(fault("OSGP_interval_skipped")) + j)
                    elif count is None:
                        found.append(COLUMN_FAULTS + 32 * int(fault("OSGP_mbus_undecodable")) + j)
                values.append(count)
            bits = row_bits + _FAULT_BITS * len([one for one in found if one not in self._open])
            full = self._bits + bits > _FRAME_BITS or self._values + len(columns) > _STEP_VALUES
            if self._bits and full:
                break
            self._bits += bits
            self._values += len(columns)
            self._open = found
            times[row] = time
            for j in range(len(columns)):
                mantissas[j][row] = values[j]
            for one in found:
                faults.append((row, one))
            row += 1
            if origins and origins[-1][4] + origins[-1][0] == i:
                origins[-1] = (origins[-1][0] + 1,) + origins[-1][1:]
            else:
                origins.append((1, each.number + 1, each.configuration, sequence, i))
            i += 1
        if row:
            del times[row:]
            for some in mantissas:
                del some[row:]
            told = [
                Column(columns[j][1], mantissas[j], columns[j][2], columns[j][3]) for j in range(len(columns))
            ]
            self.items.append(Series(LOAD_PROFILE, times, told, None, faults, origins))
        return i

    def _faults(self, status: "bytes | bytearray", columns: "list[Channel]") -> "list[int | str]":
        """The common flags; a status that all channels have; else each column's own."""
        found = [fault("OSGP_interval_" + _COMMON[bit]) for bit in range(4) if status[0] >> 4 + bit & 1]
        own = [_nibble(status, channel[0] + 1) for channel in columns]
        if not own or not any(own):
            return found
        if min(own) == max(own):
            found.append(fault("OSGP_interval_" + _STATUSES[own[0]]))
            return found
        for column in range(len(own)):
            if own[column]:
                code = int(fault("OSGP_interval_" + _STATUSES[own[column]]))
                found.append(COLUMN_FAULTS + 32 * code + column)
        return found


def _nibble(status: "bytes | bytearray", nth: int) -> int:
    """The highest half byte is common to all channels, the next is channel 0's."""
    return status[nth >> 1] >> (0 if nth & 1 else 4) & 15
