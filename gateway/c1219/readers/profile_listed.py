"""What a load profile's channels are on meters without ET66 or ET57: ET42 lists the extended sources channel
by channel, and the M-Bus data types (MEP guide, chapter 4, ET42; "Reading Load Profile Data").

What varies in length stands before them, so they are found step by step. A meter may list there the same
mapped numbers as BT62: then nothing says what they stand for.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ..layouts.profile import ET42, ET54_COMPATIBILITY, MORE_SETS

if TYPE_CHECKING:
    from ..tables import Tables

# Of the fixed section, as far as it is needed here; firmware may have more.
_LENGTH = const(2)
_LOGS = const(3)
_DEMANDS = const(13)
_COINCIDENTS = const(14)
_CHANNELS = const(29)
_LEAST = const(30)
_LOG_SIZE = const(3)
_TYPE_SIZE = const(4)
# A data set's element before its sources, and where in it the number of channels is.
_SET_SIZE = const(14)
_SET_CHANNELS = const(6)


async def _head(tables: "Tables") -> "tuple[bytes, int] | None":
    """The beginning of the fixed section, and where the first data set's sources are; None without ET42."""
    head = await tables.part_if_there(ET42, 0, _LEAST)
    if head is None:
        return None
    return head, head[_LENGTH] + _LOG_SIZE * head[_LOGS] + head[_DEMANDS] + head[_COINCIDENTS]


async def _types(tables: "Tables", head: bytes, at: int) -> "tuple[int, int]":
    """Where the M-Bus data types are, and how many."""
    at += 2 * head[_CHANNELS]
    return at + 1, (await tables.part(ET42, at, 1))[0]


async def listed_types(tables: "Tables") -> bytes:
    """The entries of ET57 that name a data type; empty where the meter lacks ET42."""
    found = await _head(tables)
    if found is None:
        return b""
    at, count = await _types(tables, *found)
    if found[0][_LENGTH] < _LEAST or at + _TYPE_SIZE * count > _size(found[0]):
        raise TableError("ET42 claims %d bytes, and %d M-Bus data types at %d" % (_size(found[0]), count, at))
    return await tables.part(ET42, at, _TYPE_SIZE * count) if count else b""


def _size(head: bytes) -> int:
    return head[0] | head[1] << 8


async def listed_sources(tables: "Tables", number: int, channels: int) -> "list[int]":
    """Of data set `number` (from 0), which has so many channels; empty where the meter lacks ET42, or it
    has nothing of that data set. Raises TableError where it contradicts BT61."""
    found = await _head(tables)
    if found is None:
        return []
    head, at = found
    count = head[_CHANNELS]
    if number:
        if not (await tables.part(ET54_COMPATIBILITY, 0, 1))[0] & MORE_SETS:
            return []
        at, types = await _types(tables, head, at)
        at += _TYPE_SIZE * types
        active = (await tables.part(ET42, at, 1))[0]
        if not active >> number - 1 & 1:
            return []
        at += 1
        for i in range(number):
            if active >> i & 1:
                count = (await tables.part(ET42, at + _SET_CHANNELS, 1))[0]
                at += _SET_SIZE
                if i < number - 1:
                    at += 2 * count
    if head[_LENGTH] < _LEAST or count != channels or at + 2 * count > _size(head):
        raise TableError(
            "ET42 claims %d bytes, %d of them in its fixed section, and %d channels in data set %d, which "
            "has %d (BT61)" % (_size(head), head[_LENGTH], count, number + 1, channels)
        )
    raw = await tables.part(ET42, at, 2 * count)
    return [raw[i] | raw[i + 1] << 8 for i in range(0, 2 * count, 2)]
