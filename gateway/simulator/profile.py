"""The load profile: data sets of intervals in circular blocks, recorded as the meter's clock passes them.

MEP guide, chapter 4: BT61 to BT67, ET21, ET66, and the extended status after BT64. The tables are laid out
in profile_tables.py. All instants are milliseconds; `clock` is what the meter's clock says, UTC.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from .calendar import MINUTE_MS, LocalTime, long_date, short_date

MOST_SETS = 4
MOST_CHANNELS = 16
DAY_MINUTES = 1440
# BT61.12: an interval of a day has a number of its own.
DAY_CODE = 84

# Bits of the common nibble.
DST = 1
POWER_FAIL = 2
CLOCK_FORWARD = 4
CLOCK_BACKWARD = 8

# A channel's nibble.
NO_STATUS = 0
PARTIAL = 2
LONG = 3
SKIPPED = 4
DEVICE_MISSING = 10
PLACEHOLDER = 15

# From here on a source is an extended one, which BT62 can name only through ET66.
_FIRST_EXTENDED = 256
_FIRST_MAPPED = 112

# The value of a source at this moment and its channel's status; `stuffed` when the moment itself was missed.
Sample = Callable[[int, bool], tuple[int, int]]


@dataclass(frozen=True)
class DataSet:
    """The configuration of one data set. `sources` are BT22's numbers or extended ones (0x4000 + 256 * index
    of the M-Bus device + M-Bus data type); `minutes` is 1 to 60, or 1440; `scaling` has a scalar and a
    divisor for each channel, or nothing."""

    sources: tuple[int, ...] = ()
    minutes: int = 15
    intervals: int = 0
    blocks: int = 0
    scaling: tuple[tuple[int, int], ...] = ()

    @property
    def channels(self) -> int:
        return len(self.sources)

    @property
    def interval_ms(self) -> int:
        return self.minutes * MINUTE_MS

    @property
    def interval_code(self) -> int:
        """BT61.12; 0 when nothing is recorded."""
        if not self.blocks:
            return 0
        return DAY_CODE if self.minutes == DAY_MINUTES else self.minutes

    @property
    def status_bytes(self) -> int:
        return self.channels // 2 + 1

    @property
    def interval_bytes(self) -> int:
        return self.status_bytes + 4 * self.channels

    @property
    def simple_bytes(self) -> int:
        return (self.intervals + 7) // 8


@dataclass(frozen=True)
class Configuration:
    """All data sets of a meter. `block_start` is the minute of the UTC day at which blocks begin."""

    sets: tuple[DataSet, ...]
    end_readings: bool = False
    block_start: int = 0

    def simple_offset(self, data_set: DataSet) -> int:
        return 5 + (4 * data_set.channels if self.end_readings else 0)

    def header_bytes(self, data_set: DataSet) -> int:
        return self.simple_offset(data_set) + data_set.simple_bytes

    def block_bytes(self, data_set: DataSet) -> int:
        if not data_set.blocks:
            return 0
        return self.header_bytes(data_set) + data_set.intervals * data_set.interval_bytes

    def mapping(self, index: int) -> list[int]:
        """The sources of a data set as BT62 names them: extended ones by their place in ET66."""
        first = _FIRST_MAPPED + MOST_CHANNELS * index
        return [
            source if source < _FIRST_EXTENDED else first + channel
            for channel, source in enumerate(self.sets[index].sources)
        ]


_ENERGIES = (0, 1, 2, 3)
_QUALITY = (15, 16, 17, 12, 13, 14, 19, 18, 21, 22, 8, 9, 10, 11, 23, 24)
# Forward energy, a water meter's volume, a heat meter's energy and volume (data types of ET57).
_METERS = (0, 0x4001, 0x4102, 0x4103)
_DAILY = (0, 29, 40, 51, 62, 4, 5)


def standard(
    known: int, sets: int = 1, *, end_readings: bool = False, scaling: bool = False, blocks: int = 40
) -> Configuration:
    """What this meter records by default: energies every 15 minutes, on firmware that knows more data sets
    and with more `sets` also M-Bus meters every hour, power quality every 5 minutes, and daily registers.
    `known` is how many data sets the firmware has; blocks of data sets 1 to 3 are days."""
    scalings = ((1, 10),) * len(_ENERGIES) if scaling else ()
    all_sets = (
        DataSet(_ENERGIES, 15, 96, blocks, scalings),
        DataSet(_METERS, 60, 24, blocks),
        DataSet(_QUALITY, 5, 288, min(blocks, 10), ((10, 1),) * 16 if scaling else ()),
        DataSet(_DAILY, DAY_MINUTES, 30, 4),
    )
    chosen = all_sets[: max(0, min(sets, known))]
    return Configuration(chosen + (DataSet(),) * (known - len(chosen)), end_readings)


@dataclass(frozen=True, slots=True)
class Interval:
    """What was recorded, for the truth. `end` is the meter's UTC at the interval's nominal end; end readings
    come with the last interval of a block, where they are configured. A year of them is many: `packed` holds
    the numbers of all channels as in BT64, values, statuses and end readings."""

    data_set: int
    configuration: int
    block: int
    index: int
    end: int
    common: int
    channels: int
    packed: bytes

    @property
    def values(self) -> tuple[int, ...]:
        return struct.unpack_from("<%di" % self.channels, self.packed)

    @property
    def statuses(self) -> tuple[int, ...]:
        return tuple(self.packed[4 * self.channels : 5 * self.channels])

    @property
    def end_readings(self) -> tuple[int, ...]:
        at = 5 * self.channels
        return struct.unpack_from("<%di" % ((len(self.packed) - at) // 4), self.packed, at)


@dataclass
class Block:
    sequence: int
    start: int
    data: bytearray
    last_index: int = 0
    valid: int = 0
    end: int = 0


@dataclass
class Recorder:
    """One data set at work. Blocks lie on a grid that begins at the start of blocks on 1970-01-01; what the
    clock jumps over stays unprocessed."""

    number: int
    configuration: Configuration
    identifier: int
    data_set: DataSet
    clock: int
    slots: list[Block | None] = field(default_factory=list)
    last: Block | None = None
    unread: int = 0
    overflow: bool = False
    flags: int = 0
    history: list[Interval] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = [None] * self.data_set.blocks
        self.interval_end = self._end_of(self.clock)
        self._fresh_block = False

    @property
    def active(self) -> bool:
        return self.data_set.blocks > 0

    @property
    def valid_blocks(self) -> int:
        return sum(block is not None for block in self.slots)

    def passed(self, sample: Sample, local: LocalTime, stuffed: bool = False) -> None:
        """The end of the interval in progress has come."""
        self._record(sample, local, stuffed)
        self.interval_end += self.data_set.interval_ms

    def catch_up(self, clock: int, sample: Sample, local: LocalTime) -> None:
        """Power is back: fill in what ended meanwhile."""
        self.flags |= POWER_FAIL
        while self.interval_end <= clock:
            self.passed(sample, local, stuffed=True)
            self.flags = POWER_FAIL
        if clock == self.interval_end - self.data_set.interval_ms:
            self.flags = 0

    def clock_set(self, clock: int, back: bool, sample: Sample, local: LocalTime) -> None:
        """The clock now says `clock`; it was set back, or forward."""
        duration = self.data_set.interval_ms
        start = self.interval_end - duration
        self.flags |= CLOCK_BACKWARD if back else CLOCK_FORWARD
        # Back into this interval or the one before makes this one longer; further back begins a new block.
        if start - duration <= clock < self.interval_end:
            return
        self._record(sample, local, False)
        self.interval_end = self._end_of(clock)
        self._fresh_block = back
        if clock != self.interval_end - duration:
            self.flags |= CLOCK_BACKWARD if back else CLOCK_FORWARD

    def part(self, offset: int, count: int) -> bytes:
        """Bytes of BT64 to BT67."""
        size = self.configuration.block_bytes(self.data_set)
        out = bytearray()
        while count > 0:
            number, inside = divmod(offset, size)
            block = self.slots[number]
            taken = min(count, size - inside)
            out += block.data[inside : inside + taken] if block else bytes(taken)
            offset += taken
            count -= taken
        return bytes(out)

    def in_meter(self, interval: Interval) -> bool:
        """Whether the meter still holds it."""
        return self.last is not None and interval.block > self.last.sequence - self.data_set.blocks

    def _end_of(self, clock: int) -> int:
        origin = self.configuration.block_start * MINUTE_MS
        duration = self.data_set.interval_ms
        return origin + ((clock - origin) // duration + 1) * duration

    def _record(self, sample: Sample, local: LocalTime, stuffed: bool) -> None:
        c = self.data_set
        start = self.interval_end - c.interval_ms
        origin = self.configuration.block_start * MINUTE_MS
        place = (start - origin) // c.interval_ms
        index = place % c.intervals
        block_start = start - index * c.interval_ms
        block = self.last
        if block is None or self._fresh_block or block.start != block_start:
            block = self._new_block(block_start)
        summer = local.is_summer(start) or local.is_summer(self.interval_end - 1)
        common = self.flags | (DST if summer else 0)
        because = NO_STATUS
        if self.flags & CLOCK_FORWARD:
            because = PARTIAL
        elif self.flags & CLOCK_BACKWARD:
            because = LONG
        self.flags = 0
        values, statuses, readings = [], [], []
        for channel, source in enumerate(c.sources):
            value, status = sample(source, stuffed)
            readings.append(value)
            if c.scaling:
                scalar, divisor = c.scaling[channel]
                value = value * scalar // divisor
            values.append(value)
            statuses.append(status or because)
        if not self.configuration.end_readings or index < c.intervals - 1:
            readings = []
        raw = struct.pack("<%di" % c.channels, *values)
        self._write(block, index, raw, [common, *statuses])
        # Scalars and divisors are for intervals; end readings are the registers as they stand.
        end_readings = struct.pack("<%di" % len(readings), *readings)
        block.data[5 : 5 + len(end_readings)] = end_readings
        block.end = self.interval_end
        block.last_index = index
        block.valid += 1
        self.history.append(
            Interval(
                self.number,
                self.identifier,
                block.sequence,
                index,
                self.interval_end,
                common,
                c.channels,
                raw + bytes(statuses) + end_readings,
            )
        )

    def _new_block(self, start: int) -> Block:
        sequence = self.last.sequence + 1 if self.last else 1
        block = Block(sequence, start, bytearray(self.configuration.block_bytes(self.data_set)))
        self.slots[(sequence - 1) % len(self.slots)] = block
        self.last = block
        self._fresh_block = False
        self.overflow |= self.unread == len(self.slots)
        self.unread = min(self.unread + 1, len(self.slots))
        return block

    def _write(self, block: Block, index: int, raw: bytes, nibbles: list[int]) -> None:
        c = self.data_set
        simple = self.configuration.simple_offset(c)
        block.data[:5] = short_date(self.interval_end)
        block.data[simple + index // 8] |= 1 << index % 8
        # Nibbles from the high one of the first byte on; an even number of channels leaves the last unused.
        statuses = bytearray(c.status_bytes)
        for place, nibble in enumerate(nibbles):
            statuses[place // 2] |= nibble << (0 if place % 2 else 4)
        at = self.configuration.header_bytes(c) + index * c.interval_bytes
        block.data[at : at + c.interval_bytes] = statuses + raw


def last_interval_dates(recorder: Recorder, local: LocalTime) -> tuple[bytes, bytes]:
    """ET21.94 and ET21.101: the end of the last interval, in UTC and in local time."""
    if recorder.last is None:
        return bytes(6), bytes(6)
    end = recorder.last.end
    return long_date(end), long_date(local.local_ms(end))
