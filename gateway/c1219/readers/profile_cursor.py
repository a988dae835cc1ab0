"""How far load profiles have been read, in bytes.

The cursor is 1, then optionally 0 and 5 bytes of UTC seconds (where data sets begin that are not named), and
for each data set its number from 1, its configuration (ET21.78), the sequence of a block (BT63.5), the next
interval in it, and the number of valid intervals that BT63 gave then: 13 bytes, least significant first. It
is checked against the meter; what does not fit is as if never read.
"""

from ..._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    # configuration, block sequence, next interval, valid intervals then
    Mark = tuple[int, int, int, int]

_VERSION = const(1)
_SINCE = const(0)
_MARK_SIZE = const(13)
NOT_SEEN = const(0xFFFF)  # valid intervals that no block can have: look again


def since(utc_seconds: int) -> bytes:
    """The cursor that begins with the first interval that ends at that time or later."""
    value = min(max(utc_seconds, 0), 0xFFFFFFFFFF)
    return bytes((_VERSION, _SINCE)) + value.to_bytes(5, "little")


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def marks_of(cursor: "bytes | None") -> "tuple[dict[int, Mark], int | None]":
    """What the cursor says: by data set (from 0), and where others begin. Nothing, when it is no cursor."""
    marks: dict[int, Mark] = {}
    start = None
    if not cursor or cursor[0] != _VERSION:
        return marks, start
    at = 1
    if len(cursor) >= 7 and cursor[1] == _SINCE:
        start = _number(cursor, 2, 5)
        at = 7
    if (len(cursor) - at) % _MARK_SIZE:
        return {}, None
    while at < len(cursor):
        if not 1 <= cursor[at] <= 4:
            return {}, None
        marks[cursor[at] - 1] = (
            _number(cursor, at + 1, 4),
            _number(cursor, at + 5, 4),
            _number(cursor, at + 9, 2),
            _number(cursor, at + 11, 2),
        )
        at += _MARK_SIZE
    return marks, start


def cursor_of(marks: "dict[int, Mark]", start: "int | None") -> bytes:
    out = bytearray(bytes((_VERSION,)) if start is None else since(start))
    for number in sorted(marks):
        configuration, sequence, following, seen = marks[number]
        out.extend(bytes((number + 1,)))
        out.extend(configuration.to_bytes(4, "little"))
        out.extend(sequence.to_bytes(4, "little"))
        out.extend(following.to_bytes(2, "little"))
        out.extend(seen.to_bytes(2, "little"))
    return bytes(out)
