"""The tables of the load profile, laid out from its recorders.

MEP guide, chapter 4: BT60 to BT63, ET21, ET42, ET62, ET66; optical guide, ET21 (what grew when).
"""

from collections.abc import Sequence

from .calendar import LocalTime, long_date
from .generations import Generation
from .profile import MOST_CHANNELS, MOST_SETS, Configuration, DataSet, Recorder, last_interval_dates

_INT32 = 0x20  # BT60.6, BT61.6, BT62 "Format"
_EXTENDED_AND_SIMPLE_STATUS = 1 << 10 | 1 << 11
_END_READINGS = 1 << 4
_SCALAR_DIVISOR = 6  # bit of set 1
_MOST_BLOCKS = 9530
_MOST_INTERVALS = 1440


def element_bytes(g: Generation) -> int:
    """The size of one data set's element in ET21."""
    for since, size in (((3, 50), 131), ((3, 30), 107), ((3, 10), 94), ((2, 10), 83)):
        if g.number >= since:
            return size
    return 38


def sets_of(g: Generation) -> int:
    """How many data sets the firmware knows."""
    return MOST_SETS if g.has_load_profile_map else 1


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def _flags(c: Configuration) -> int:
    flags = _EXTENDED_AND_SIMPLE_STATUS | (_END_READINGS if c.end_readings else 0)
    for index, data_set in enumerate(c.sets):
        flags |= bool(data_set.scaling) << (_SCALAR_DIVISOR + index)
    return flags


def options(c: Configuration, data_set: DataSet) -> int:
    """ET21.93: what the guide calls "must be zero" follows the configuration here."""
    return int(c.end_readings) | bool(data_set.scaling) << 1


def bt60(g: Generation, c: Configuration) -> bytes:
    memory = (104_832 if not g.gen4 else 233_856).to_bytes(4, "little")
    most = _words(_MOST_BLOCKS, _MOST_INTERVALS) + bytes([MOST_CHANNELS, 255])
    return memory + _words(_flags(c)) + bytes([_INT32]) + most * sets_of(g)


def bt61(g: Generation, c: Configuration) -> bytes:
    memory = sum(data_set.blocks * c.block_bytes(data_set) for data_set in c.sets)
    out = memory.to_bytes(4, "little") + _words(_flags(c)) + bytes([_INT32])
    for data_set in c.sets:
        out += _words(data_set.blocks, data_set.intervals)
        out += bytes([data_set.channels, data_set.interval_code])
    return out


def bt62(c: Configuration) -> bytes:
    out = bytearray()
    for index, data_set in enumerate(c.sets):
        for source in c.mapping(index):
            out += bytes([0, source, source if c.end_readings else 0])
        out.append(_INT32)
        out += _words(*(scalar for scalar, _ in data_set.scaling))
        out += _words(*(divisor for _, divisor in data_set.scaling))
    return bytes(out)


def bt63(recorders: Sequence[Recorder]) -> bytes:
    out = bytearray()
    for recorder in recorders:
        last = recorder.last
        out.append(recorder.overflow << 1 | recorder.active << 2 | recorder.active << 5)
        number = (last.sequence - 1) % len(recorder.slots) if last else 0
        out += _words(recorder.valid_blocks, number)
        out += (last.sequence if last else 0).to_bytes(4, "little")
        out += _words(recorder.unread, last.valid if last else 0)
    return bytes(out)


def et21(g: Generation, recorders: Sequence[Recorder], local: LocalTime) -> bytes:
    size = element_bytes(g)
    return b"".join(_et21_element(g, recorder, local)[:size] for recorder in recorders)


def _et21_element(g: Generation, recorder: Recorder, local: LocalTime) -> bytes:
    c, data_set, last = recorder.configuration, recorder.data_set, recorder.last
    if not recorder.active:
        return bytes(131)
    size = c.block_bytes(data_set)
    number = (last.sequence - 1) % len(recorder.slots) if last else 0
    base = 0x10000 * recorder.number + number * size
    header = c.header_bytes(data_set)
    at = base + header + (last.last_index if last else 0) * data_set.interval_bytes
    out = bytearray()
    for address in (base, at, size):
        out += address.to_bytes(4, "little")
    out += _words(header, recorder.valid_blocks, last.valid if last else 0)
    out += _words(number, last.last_index if last else 0)
    out += bytes([c.simple_offset(data_set), data_set.simple_bytes, header, data_set.interval_bytes])
    out += bytes([data_set.status_bytes, recorder.flags, data_set.channels, data_set.interval_code])
    sources = bytes(c.mapping(recorder.number - 1)).ljust(MOST_CHANNELS, b"\0")
    first_mbus = [channel for channel, source in enumerate(data_set.sources) if source >= 256]
    out += sources[:8] + bytes(32) + sources[8:]
    out += recorder.identifier.to_bytes(4, "little")
    out += bytes([min(first_mbus, default=data_set.channels)])
    out += long_date(last.start) if last else bytes(6)
    out += bytes([c.block_start // 60, c.block_start % 60]) + bytes(2) + bytes([options(c, data_set)])
    utc, local_time = last_interval_dates(recorder, local)
    # The guide's offsets leave byte 100 without a field.
    out += utc + bytes(1) + local_time + (104_832).to_bytes(4, "little") + bytes(20)
    return bytes(out)


def et42_set(c: Configuration, data_set: DataSet) -> bytes:
    """The 14 bytes that ET42 has about one data set."""
    out = c.block_bytes(data_set).to_bytes(4, "little") + _words(data_set.blocks)
    size = data_set.interval_bytes if data_set.blocks else 0
    out += bytes([data_set.channels, data_set.interval_code if data_set.blocks else 0, size])
    out += bytes([options(c, data_set)]) + _words(data_set.intervals)
    return out + bytes([c.block_start // 60, c.block_start % 60])


def et42_more_sets(c: Configuration) -> bytes:
    """The bit mask of active data sets 2 to 4, and what follows it in ET42."""
    mask = 0
    out = bytearray()
    for index, data_set in enumerate(c.sets[1:]):
        if data_set.blocks:
            mask |= 1 << index
            out += et42_set(c, data_set) + _words(*data_set.sources)
    return bytes([mask]) + bytes(out)


def et62(g: Generation) -> bytes:
    """Display of the load profile: four characters an identifier, five on generation 4."""
    width = 5 if g.gen4 else 4

    def name(text: str) -> bytes:
        return text.ljust(width).encode("ascii") + bytes(1)

    out = bytes(1) + b"".join(name(text) for text in ("P01", "DATE", "TIME", "STAT"))
    # Eight digits before the point, none behind it, leading zeros hidden.
    out += b"".join(name("CH%02d" % (n + 1)) + bytes([8 << 3 | 0x80]) for n in range(MOST_CHANNELS))
    if g.number >= (3, 70):
        out += name("") + name("NUM")
    return out


def et66(c: Configuration) -> bytes:
    """Extended sources by the numbers that stand for them, 112 and up, 16 for each data set."""
    out = bytearray(MOST_SETS * MOST_CHANNELS * 2)
    for index, data_set in enumerate(c.sets):
        for channel, source in enumerate(data_set.sources):
            if source >= 256:
                at = 2 * (MOST_CHANNELS * index + channel)
                out[at : at + 2] = _words(source)
    return bytes(out)
