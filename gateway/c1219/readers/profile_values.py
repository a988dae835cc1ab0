"""How four recorded bytes of a load profile become a value."""

from ..._compat import TYPE_CHECKING, const
from ..types import signed

if TYPE_CHECKING:
    # A column of the series: which of the interval's values (or end readings) it is, property, exponent,
    # unit, coding, factor, how many minutes apart its device is asked (0: with each interval). A value is the
    # count in this coding, times the factor, with the exponent.
    Channel = tuple[int, int | str, int, str | None, int, int, int]

# Codings of a count: 1 to 4 signed integer of that many bytes, 8 and more binary coded decimal of as many
# bytes beyond 8.
INTEGER = const(4)
_BCD = const(8)


def value(channel: "Channel", raw: bytes) -> "int | None":
    """The mantissa of four recorded bytes; None for what is no number in this coding.

    The meter fills up what is shorter with zeros, so the sign of an M-Bus device's 16-bit value is in its
    own last byte.
    """
    coding, factor = channel[4], channel[5]
    if coding < _BCD:
        return signed(raw[:coding]) * factor
    digits = _digits(raw[: coding - _BCD])
    return None if digits is None else digits * factor


def is_stuffed(channel: "Channel", raw: bytes, end: int) -> bool:
    """Whether that is no count, but what a meter puts where a device was not asked (MEP guide, chapter 3,
    "Load Profile Poll Rate"), for an interval that ended then (UTC). Some mark it as skipped, some do not
    (ET04.71.3)."""
    return channel[6] > 0 and not any(raw) and end // 60 % 1440 % channel[6] > 0


def _digits(raw: bytes) -> "int | None":
    """Binary coded decimal, least significant byte first; F in the first digit is a minus (EN 13757-3)."""
    value = 0
    for i in range(len(raw) - 1, -1, -1):
        high, low = raw[i] >> 4, raw[i] & 15
        if i == len(raw) - 1 and high == 15:
            if low > 9:
                return None
            rest = _digits(raw[:i] + bytes((low,)))
            return None if rest is None else -rest
        if high > 9 or low > 9:
            return None
        value = value * 100 + high * 10 + low
    return value
