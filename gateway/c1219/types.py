"""Data types of the tables (MEP guide, chapter 4, "Data Types"): bytes in, values out.

Multi-byte integers are least significant byte first. Times are decoded to seconds since
1970-01-01T00:00:00 on the clock they belong to, UTC or local; who knows the offset converts them.
"""

from .._compat import const
from ..errors import TableError

# Kinds of fields, as layouts name them. Integers: the size in bytes, signed ones with bit 4 set.
U8 = const(1)
U16 = const(2)
U24 = const(3)
U32 = const(4)
U48 = const(6)
I8 = const(0x11)
I16 = const(0x12)
I24 = const(0x13)
I32 = const(0x14)
I40 = const(0x15)
I48 = const(0x16)
BYTES = const(0x20)  # as many as the field repeats
TEXT = const(0x21)
# Times stay raw bytes: ids are made of them, and one wrong stamp must not spoil a whole table.
TIME = const(0x33)  # hour, minute, second
STIME = const(0x35)  # year, month, day, hour, minute
LTIME = const(0x36)  # year, month, day, hour, minute, second

_MONTH_DAYS = b"\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"


def unsigned(data: bytes) -> int:
    return int.from_bytes(data, "little")


def signed(data: bytes) -> int:
    """Two's complement of any width; MicroPython's from_bytes knows no sign."""
    value = int.from_bytes(data, "little")
    if data and data[-1] & 0x80:
        value -= 1 << (8 * len(data))
    return value


def text(data: bytes) -> str:
    """Characters up to the first NUL, without blanks at the ends; Latin-1 (BT00.0), controls as "?"."""
    out: list[str] = []
    for byte in data:
        if byte == 0:
            break
        out.append(chr(byte) if 0x20 <= byte < 0x7F or byte >= 0xA0 else "?")
    return "".join(out).strip()


def bcd(data: bytes) -> str:
    """Two digits a byte, the first in the high half; fillers (F) end it. Other halves: TableError."""
    out: list[str] = []
    for byte in data:
        for digit in (byte >> 4, byte & 15):
            if digit == 15:
                return "".join(out)
            if digit > 9:
                raise TableError("%s is not BCD" % "".join(["%02x" % b for b in data]))
            out.append(chr(48 + digit))
    return "".join(out)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def month_days(year: int, month: int) -> int:
    """Days of a month, 1 to 12."""
    return 29 if month == 2 and _is_leap(year) else _MONTH_DAYS[month - 1]


def seconds_of(stamp: bytes) -> "int | None":
    """Seconds since 1970-01-01T00:00:00 of an STIME or LTIME on its own clock; years are 2000..2099.

    All zero (never set) gives None. A stamp that is no date or time raises TableError.
    """
    if stamp == bytes(len(stamp)):
        return None
    year, month, day, hour, minute = stamp[0] + 2000, stamp[1], stamp[2], stamp[3], stamp[4]
    second = stamp[5] if len(stamp) > 5 else 0
    if (
        year > 2099
        or not 1 <= month <= 12
        or not 1 <= day <= month_days(year, month)
        or hour > 23
        or minute > 59
        or second > 59
    ):
        raise TableError("%s is not a date and time" % " ".join([str(b) for b in stamp]))
    days = 10957 + (year - 2000) * 365 + (year - 1997) // 4 + day - 1  # to 2000-01-01: 10957
    for earlier in range(1, month):
        days += month_days(year, earlier)
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def civil(seconds: int) -> "tuple[int, int, int, int, int, int]":
    """(year, month, day, hour, minute, second) of seconds since 1970, of the time around
    2000 to 2099."""
    days, rest = divmod(seconds, 86400)
    days -= 10957
    year = 2000
    while days < 0:  # a clock that was never set, west of Greenwich
        year -= 1
        days += 365 + _is_leap(year)
    while days >= 365 + _is_leap(year):
        days -= 365 + _is_leap(year)
        year += 1
    month = 1
    while days >= month_days(year, month):
        days -= month_days(year, month)
        month += 1
    return year, month, days + 1, rest // 3600, rest // 60 % 60, rest % 60
