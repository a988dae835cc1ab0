"""The power outage log, ET81 (firmware 3.70 and on, where it is configured): each outage a Reading.

Its time is the outage's end. Both stamps are local, converted by the meter's own calendar; the id is made
of the entry as the meter stored it and of its number. Overwritten entries are declared like lost events.
"""

import binascii

from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ...transmission.model import EVENT, Reading, Timestamp, Value
from ..circular import MARK_SIZE, Ring, extended_logs, mark_sequence
from ..layouts.logs import ET81
from ..local_time import local_time
from ..types import seconds_of
from .clock import rfc3339
from .common import Step, fault, now, prop, text_value

if TYPE_CHECKING:
    from ..local_time import LocalTime
    from ..tables import Tables

_SIZE = const(12)  # two stamps
_AT_ONCE = const(16)
_TRIES = const(5)


def _check(raw: bytes) -> bytes:
    return (binascii.crc32(raw) & 0xFFFF).to_bytes(2, "little")


def _utc(stamp: bytes, rules: "LocalTime") -> "tuple[int, int, bool] | None":
    try:
        local = seconds_of(stamp)
    except TableError:
        local = None
    if local is None:
        return None
    return rules.utc_of(local)


def _reading(entry: bytes, number: int, rules: "LocalTime") -> Reading:
    start = _utc(entry[:6], rules)
    end = _utc(entry[6:], rules)
    reading = Reading(EVENT, now(), [], stored=(ET81.table, number, entry))
    values = []
    if start:
        offset = start[1]
        sign = "-" if offset < 0 else "+"
        text = "%s%s%02d:%02d" % (rfc3339(start[0] + 60 * offset), sign, abs(offset) // 60, abs(offset) % 60)
        values.append(text_value("OSGP_power_outage_start", text))
    if start and end:
        values.append(Value(prop("OSGP_power_outage_duration"), end[0] - start[0], 0, "s"))
    if start and end:
        reading.time = Timestamp(end[0], "", end[1])
        if not start[2] or not end[2]:
            reading.faults = [fault("OSGP_local_time_ambiguous")]
    else:
        reading.faults = [fault("OSGP_stamp_invalid")]
    reading.values = values
    return reading


async def read(tables: "Tables", cursor: bytes) -> Step:
    """The outages behind the cursor: b"" at first, or 4 bytes, the time they begin with."""
    entries, size = (await extended_logs(tables)).get(ET81.table, (0, 0))
    if not entries:
        return Step([], cursor)
    if size < _SIZE or size > 64:
        raise TableError("ET36 claims power outages of %d bytes, %d are known" % (size, _SIZE))
    ring = Ring(tables, ET81, entries, size, _SIZE)
    mark = since = b""
    if len(cursor) == 4:
        since = cursor
    elif len(cursor) in (MARK_SIZE + 2, MARK_SIZE + 6) and _check(cursor[:-2]) == cursor[-2:]:
        mark = cursor[:MARK_SIZE]
        since = cursor[MARK_SIZE:-2]  # as long as the first reading is not through
    begin = int.from_bytes(since, "little")
    for _ in range(_TRIES):
        head = await ring.head()
        first, number, known = await ring.unread(head, mark)
        limit = tables.meter.max_read
        count = min(number, entries - first, _AT_ONCE, max(1, limit // size) if limit else number)
        if count <= 0:
            return Step([], cursor)
        raw = await ring.read(first, 0, count * size)
        written = ring.written(head, await ring.head())
        if written is None:
            continue
        rules = await local_time(tables)
        readings: list[Reading] = []
        before = mark_sequence(mark) if mark else None
        for i in range(count):
            if ring.lost(first + i, head, written):
                continue
            entry = raw[i * size : i * size + _SIZE]
            sequence = head[2] - (head[1] - first - i) % entries & 0xFFFF
            reading = _reading(entry, sequence, rules)
            if before is not None and not known and sequence != (before + 1 & 0xFFFF):
                reading.faults = list(reading.faults) + [fault("OSGP_events_lost")]
            before, known = sequence, True
            mark = ring.mark(first + i, sequence, entry)
            if reading.time.seconds >= begin:
                readings.append(reading)
        if before is None:
            continue
        more = number > count or written > 0
        raw = mark + since if more else mark
        return Step(readings, raw + _check(raw), more)
    raise TableError("the power outage log was cleared or overwritten during each of %d reads" % _TRIES)
