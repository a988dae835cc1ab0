"""What the primary data set was recorded from before its channels changed: ET75 (MEP guide, chapter 4).

A meter that complies with Welmec 11.2 lets its channels change while it keeps what it recorded, under the
same configuration. Each entry has the sources until its time, which is that of the first interval with
others.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ..circular import Ring, extended_logs
from ..layout import Layout
from ..layouts.logs import ET75
from ..types import seconds_of

if TYPE_CHECKING:
    from ..tables import Tables

    # until when (UTC seconds), extended sources by channel, sources of demands
    Change = tuple[int, list[int], bytes]

# Firmware that has it, packed as in BT01.14: meters from 3.60 on, modules, numbered from 1 on, from 1.30 on.
_V1_30 = const(0x13C0)
_V2_00 = const(0x2000)
_V3_60 = const(0x3780)
_V4_00 = const(0x4000)

# "Primary Load Profile Index": a byte of ET55, one further from firmware 4.00 on.
_ET55 = Layout(2103, ())
_PRIMARY = const(109)

# An entry: time, sources of 16 channels (BT60.11), of 8 demands (BT20.4), and how they are shown.
_SOURCES = const(5)
_DEMANDS = const(37)
_NEEDED = const(45)
_MAX_SIZE = const(512)
_MAX_CHANGES = const(16)


async def _is_primary(tables: "Tables", number: int, firmware: int) -> bool:
    raw = await tables.part_if_there(_ET55, _PRIMARY + (firmware >= _V4_00), 1)
    return number == (raw[0] if raw else 0)


async def changes(tables: "Tables", number: int, channels: int) -> "list[Change]":
    """Of data set `number` (from 0), oldest first. Raises TableError for more than can be kept in mind."""
    firmware = (await tables.dimensions(("firmware",)))["firmware"]
    if not (firmware >= _V3_60 or _V1_30 <= firmware < _V2_00):
        return []
    entries, size = (await extended_logs(tables)).get(ET75.table, (0, 0))
    if not entries or not await _is_primary(tables, number, firmware):
        return []
    if not _NEEDED <= size <= _MAX_SIZE:
        raise TableError("ET36 claims entries of %d bytes for ET75, the guide has 143 or more" % size)
    ring = Ring(tables, ET75, entries, size, _NEEDED)
    valid, last, _ = await ring.head()
    found: list[Change] = []
    for age in range(valid - 1, -1, -1):
        raw = await ring.read((last - age) % entries, 0, _NEEDED)
        until = seconds_of(raw[:_SOURCES])
        if until is None:
            continue
        sources = [raw[_SOURCES + 2 * i] | raw[_SOURCES + 2 * i + 1] << 8 for i in range(channels)]
        if found and found[-1][1:] == (sources, raw[_DEMANDS:]):
            found.pop()  # what changed is nothing of what was recorded
        found.append((until, sources, raw[_DEMANDS:]))
    if len(found) > _MAX_CHANGES:
        raise TableError(
            "ET75 tells of %d changes of what data set %d of the load profile is recorded from, at most %d "
            "are taken into account" % (len(found), number + 1, _MAX_CHANGES)
        )
    return found
