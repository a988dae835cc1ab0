"""C12.18 table services, which both ports speak (MEP guide, chapter 2, tables 2.6 and 2.7; ANSI C12.18-1996).

The messages are as MEP carries them; the optical port adds a checksum to table data. Table numbers, offsets
and counts go most significant byte first; table data is passed through as it is.
"""

from .._compat import const
from ..errors import ProtocolError

OK = 0x00

PROCEDURES = 7  # BT07, procedure initiation

_FULL_READ = const(0x30)
_PARTIAL_READ = const(0x3F)
_FULL_WRITE = const(0x40)
_PARTIAL_WRITE = const(0x4F)

_MAX_TABLE = const(0xFFFF)
_MAX_OFFSET = const(0xFFFFFF)
_MAX_COUNT = const(0xFFFF)

# What an answer to a read holds besides table data: the code and the count.
READ_OVERHEAD = 3
# What a write holds besides table data: the code, table, offset and count.
WRITE_OVERHEAD = 8


def read_message(table: int, offset: int = 0, count: "int | None" = None) -> bytes:
    """Ask for `count` bytes of `table` from `offset`, or without `count` for the whole table.

    The full read goes without the length that table 2.6 gives it and C12.18 does not: meters in the
    field answer it, and a length that is not the table's could be taken at its word.
    """
    _check(0 <= table <= _MAX_TABLE, "table", table)
    if count is None:
        return bytes((_FULL_READ, table >> 8, table & 0xFF))
    return _partial(_PARTIAL_READ, table, offset, count)


def write_message(table: int, data: bytes, offset: "int | None" = None) -> bytes:
    """Put `data` into `table` from `offset` on, or as the whole table."""
    _check(0 <= table <= _MAX_TABLE, "table", table)
    count = len(data)
    if offset is not None:
        return _partial(_PARTIAL_WRITE, table, offset, count) + data
    _check(1 <= count <= _MAX_COUNT, "count", count)
    return bytes((_FULL_WRITE, table >> 8, table & 0xFF, count >> 8, count & 0xFF)) + data


def table_data(request: bytes, response: bytes) -> bytes:
    """The table data that `response` (code 00) carries; raises ProtocolError unless it fits `request`.

    For a write it is empty.
    """
    if is_write(request):
        return b""
    carried = len(response) - READ_OVERHEAD
    if carried < 0:
        raise ProtocolError("%s: the answer has no data" % describe(request))
    count = response[1] << 8 | response[2]
    if request[0] == _FULL_READ:
        if count > carried:
            raise ProtocolError(
                "%s: the table has %d bytes and does not fit into one answer, which carries %d; read it with "
                "offset and count" % (describe(request), count, carried)
            )
        asked = count
    else:
        asked = request[6] << 8 | request[7]
    if not carried == count == asked:
        raise ProtocolError(
            "%s: the answer says %d bytes and carries %d" % (describe(request), count, carried)
        )
    return response[READ_OVERHEAD:]


def table_of(request: bytes) -> int:
    return request[1] << 8 | request[2]


def is_full_read(request: bytes) -> bool:
    return bool(request[0] == _FULL_READ)


def is_write(request: bytes) -> bool:
    return request[0] in (_FULL_WRITE, _PARTIAL_WRITE)


def table_name(table: int) -> str:
    """BT23 for standard table 23, ET13 for manufacturer table 13 (2061), as the guides write them."""
    if table < 2048:
        return "BT%02d" % table
    return "ET%02d" % (table - 2048) if table < 4096 else "table 0x%04X" % table


def describe(request: bytes) -> str:
    """The request in words, for messages to people; without the data of a write."""
    code = request[0]
    name = table_name(table_of(request))
    if code == _FULL_READ:
        return "reading %s" % name
    if code == _FULL_WRITE:
        return "writing %s" % name
    return "%s %d bytes of %s from offset %d" % (
        "reading" if code == _PARTIAL_READ else "writing",
        request[6] << 8 | request[7],
        name,
        request[3] << 16 | request[4] << 8 | request[5],
    )


def _partial(code: int, table: int, offset: int, count: int) -> bytes:
    _check(1 <= count <= _MAX_COUNT, "count", count)
    _check(offset >= 0 and offset + count <= _MAX_OFFSET + 1, "offset", offset)
    return bytes(
        (
            code,
            table >> 8,
            table & 0xFF,
            offset >> 16,
            offset >> 8 & 0xFF,
            offset & 0xFF,
            count >> 8,
            count & 0xFF,
        )
    )


def _check(holds: bool, what: str, value: int) -> None:
    if not holds:
        raise ValueError("no table has the %s %d" % (what, value))
