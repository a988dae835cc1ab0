"""Times in frames: seconds, fraction and offset exactly as received."""

from .._compat import const
from ..errors import FrameError
from .bits import MAX_INT, BitReader, BitWriter
from .model import Timestamp

_BASE = const(1704067200)  # 2024-01-01T00:00:00Z
_STEPS = (1, 10, 60, 900)  # a time that is a multiple of one of these takes fewer bits
_BITS = b"\x1d\x1a\x17\x13"
_MAX_DIGITS = const(64)
_MAX_SECONDS = const(0xFFFFFFFFFF)


def put_seconds(writer: BitWriter, seconds: int) -> None:
    step = 3
    while (seconds - _BASE) % _STEPS[step]:
        step -= 1
    writer.put(step, 2)
    writer.put_int((seconds - _BASE) // _STEPS[step], _BITS[step])


def get_seconds(reader: BitReader) -> int:
    step = reader.get(2)
    return checked_time(reader.get_int(_BITS[step]) * _STEPS[step] + _BASE)


def checked_time(seconds: int) -> int:
    if not -_MAX_SECONDS <= seconds <= _MAX_SECONDS:
        raise FrameError("a time of %d seconds since 1970 is out of range" % seconds)
    return seconds


def checked(value: int) -> int:
    if not -MAX_INT - 1 <= value <= MAX_INT:
        raise FrameError("%d does not fit into 64 bits" % value)
    return value


def put_offset(writer: BitWriter, offset: "int | None") -> None:
    """0: Z, 10: +01:00, 110: +02:00, 111: minutes follow."""
    if offset is None:
        writer.put(0, 1)
    elif offset == 60:
        writer.put(2, 2)
    elif offset == 120:
        writer.put(6, 3)
    else:
        if not -1440 < offset < 1440:
            raise FrameError("a time can't be %d minutes off UTC" % offset)
        writer.put(7, 3)
        writer.put_int(offset, 5)


def get_offset(reader: BitReader) -> "int | None":
    if not reader.get(1):
        return None
    if not reader.get(1):
        return 60
    if not reader.get(1):
        return 120
    offset = reader.get_int(5)
    if not -1440 < offset < 1440:
        raise FrameError("a time can't be %d minutes off UTC" % offset)
    return offset


def put_stamp(writer: BitWriter, stamp: Timestamp, before: "Timestamp | None") -> None:
    """`before`: a time written earlier that this one is likely close to."""
    if before is None:
        put_seconds(writer, checked_time(stamp.seconds))
        put_offset(writer, stamp.offset)
    else:
        writer.put_int(checked_time(stamp.seconds) - before.seconds, 5)
        same = stamp.offset == before.offset
        writer.put(1 if same else 0, 1)
        if not same:
            put_offset(writer, stamp.offset)
    digits = stamp.fraction
    writer.put(1 if digits else 0, 1)
    if digits:
        if len(digits) > _MAX_DIGITS or not all("0" <= digit <= "9" for digit in digits):
            raise FrameError("%r is no fraction of a second: up to %d digits" % (digits[:80], _MAX_DIGITS))
        writer.put_uint(len(digits) - 1, 2)
        for digit in digits:
            writer.put(int(digit), 4)


def get_stamp(reader: BitReader, before: "Timestamp | None") -> Timestamp:
    if before is None:
        seconds = get_seconds(reader)
        offset = get_offset(reader)
    else:
        seconds = checked_time(before.seconds + reader.get_int(5))
        offset = before.offset if reader.get(1) else get_offset(reader)
    fraction = ""
    if reader.get(1):
        count = reader.get_uint(2) + 1
        if count > _MAX_DIGITS:
            raise FrameError("a fraction of a second has %d digits" % count)
        for _ in range(count):
            digit = reader.get(4)
            if digit > 9:
                raise FrameError("a fraction of a second is no number")
            fraction += str(digit)
    return Timestamp(seconds, fraction, offset)
