"""Reads several tables at one instant: ET52 takes the requests, ET53 gives the responses (MEP guide,
chapter 4, "Table Transaction Guidelines").

A transaction wears the meter's memory (4 an hour at most), so it is used only where nothing else gives a
consistent read, and where the configuration allows writes. Table data inside is LSB first, the requests
themselves MSB first, as anywhere.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import Refused, TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..meter import Meter
    from .procedures import Procedures

    Part = tuple[int, int, int]  # table, offset, count

_ET52 = const(2100)
_ET53 = const(2101)
EP61 = const(2109)

_REQUESTS = const(0)
_RESPONSES = const(1)
_PARTIAL = const(2)
_HEADER = const(5)
_END = const(2)
_PARTIAL_READ = const(0x3F)

# The larger of the two sizes that ET53 has; ET52's depends on the firmware (ET11.7).
_MAX_RESPONSE = const(1785)


def encode(number: int, parts: "Sequence[Part]", most: int = 768) -> bytes:
    """What ET52 takes to read `parts` (table, offset, count) as transaction `number` (16 bits).

    `most`: ET11.7, bytes of ET52. Raises TableError when they do not fit.
    """
    body = bytearray()
    for table, offset, count in parts:
        body += bytes((8, 0, _PARTIAL_READ, table >> 8, table & 0xFF))
        body += bytes((offset >> 16, offset >> 8 & 0xFF, offset & 0xFF, count >> 8, count & 0xFF))
    size = _HEADER + len(body) + _END
    if size > most:
        raise TableError("a transaction of %d bytes does not fit into ET52, which has %d" % (size, most))
    mark = bytes((number & 0xFF, number >> 8))
    return bytes((size & 0xFF, size >> 8, _REQUESTS)) + mark + bytes(body) + mark


def size_of(head: bytes, number: int) -> int:
    """Bytes of the whole response, from its first five. Raises TableError when it is not the answer to
    transaction `number`."""
    size, kind = head[0] | head[1] << 8, head[2]
    if head[3] | head[4] << 8 != number:
        raise TableError("ET53 holds another transaction: it was overwritten, or not carried out")
    if kind not in (_RESPONSES, _PARTIAL):
        raise TableError("ET53 holds no responses but type %d" % kind)
    if not _HEADER + _END <= size <= _MAX_RESPONSE:
        raise TableError("ET53 claims %d bytes" % size)
    return size


def decode(data: bytes, number: int, parts: "Sequence[Part]") -> "list[bytes]":
    """The table data of each part. Raises Refused for a part that the meter refused, TableError when the
    response is torn, partial, or not to this transaction."""
    size = size_of(data, number)
    if size != len(data) or data[-2] | data[-1] << 8 != number:
        raise TableError("ET53 was overwritten while it was read")
    if data[2] == _PARTIAL:
        raise TableError("the responses of %d reads did not fit into ET53" % len(parts))
    found = []
    at = _HEADER
    end = size - _END
    for table, offset, count in parts:
        length = data[at] | data[at + 1] << 8 if at + 2 <= end else 0
        message = data[at + 2 : at + 2 + length]
        at += 2 + length
        if not length or at > end:
            raise TableError("ET53 ends within the response for table %d" % table)
        if message[0]:
            raise Refused(
                "reading table %d within a transaction: answer %02X" % (table, message[0]), message[0], table
            )
        if length != count + 3 or message[1] << 8 | message[2] != count:
            raise TableError("table %d, offset %d: asked for %d bytes, got others" % (table, offset, count))
        found.append(message[3:])
    if at != end:
        raise TableError("ET53 holds more than was asked for")
    return found


async def read(
    meter: "Meter",
    number: int,
    parts: "Sequence[Part]",
    most: int = 768,
    lock: "Procedures | None" = None,
) -> "list[bytes]":
    """The parts, all of one instant. `number`: another one than of the last transaction.

    `lock`: given on a meter with two MEP ports (ET54.0.8), whose clients share the tables; then they are
    locked meanwhile (EP61). Errors as for decode and Meter.
    """
    wanted = encode(number, parts, most)
    if lock is not None:
        await lock.call(EP61, b"\x01")
    try:
        await meter.write(_ET52, wanted, 0)
        head = await meter.read(_ET53, 0, _HEADER)
        return decode(await meter.read(_ET53, 0, size_of(head, number)), number, parts)
    finally:
        if lock is not None:
            await lock.call(EP61, b"\x00")
