"""The event logs, BT74 and from firmware 3.70 on ET79: each entry an Event, in the order of its number.

Both logs count with one counter, so together they are complete and each alone has gaps. A number that is in
neither was overwritten or cleared before it was read: the next entry carries the fault OSGP_events_lost, and
the distance of the numbers says how many. What was gone before the first read is no loss. Firmware before
3.70 counts from the beginning again when the log is reset: the first entry behind that carries
OSGP_events_reset. An entry that is in both logs comes once.

An entry stores the low 16 bits of its number, its time (UTC), who was logged in, a code of 12 bits (names:
event_names.py) and BT71.3 bytes of argument.
"""

import binascii

from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ...transmission.model import EVENT, Event, Timestamp
from ..circular import MARK_SIZE, Ring, mark_sequence
from ..layouts.logs import BT70, BT71, BT74, ET54, ET79, EVENT_ENTRY
from ..types import seconds_of
from .common import Step, fault, now

if TYPE_CHECKING:
    from ..tables import Tables

    Entry = tuple[int, int, bytes]  # number, place, bytes
    Head = tuple[int, int, int]
    Parts = tuple[list[list[Entry]], list[bool], int | None, bool, list[Head]]

# Firmware with an alternate log, packed as in BT01.14: meters from 3.70 on, Control Point and OSGP modules,
# which number their firmware from 1 on, from 1.20 on. Neither resets its numbers.
_V1_20 = const(0x1280)
_V2_00 = const(0x2000)
_V2_12 = const(0x2180)
_V3_70 = const(0x38C0)

_ENTRY_SIZE = const(12)
_MAX_ARGUMENT = const(64)
_AT_ONCE = const(32)  # entries of one log and step: far less than a frame
_TRIES = const(5)

# Cursor: since (4), the last number delivered (4), the number up to which gaps say nothing (4), flags (1),
# a mark for each log, a checksum (2); behind it that of the power outage log.
_TOP = const(1)  # flags: a number has been delivered
_FIRST = const(2)  # the first of the two marks is set, the second is the next bit
_HEAD_SIZE = const(13)
_CURSOR_SIZE = _HEAD_SIZE + 2 * MARK_SIZE + 2


class _Cursor:
    def __init__(self, raw: "bytes | None") -> None:
        self.since = 0
        self.top: int | None = None
        self.floor: int | None = None
        self.marks = [b"", b""]
        if raw is None or len(raw) != _CURSOR_SIZE or _check(raw[:-2]) != raw[-2:]:
            return  # the logs are read from their oldest entry on
        self.since = int.from_bytes(raw[:4], "little")
        flags = raw[12]
        if flags & _TOP:
            self.top = int.from_bytes(raw[4:8], "little")
            self.floor = int.from_bytes(raw[8:12], "little")
        for i in range(2):
            if flags & _FIRST << i:
                at = _HEAD_SIZE + i * MARK_SIZE
                self.marks[i] = raw[at : at + MARK_SIZE]

    def pack(self) -> bytes:
        flags = 0 if self.top is None else _TOP
        raw = self.since.to_bytes(4, "little")
        for number in (self.top, self.floor):
            raw += ((number or 0) & 0xFFFFFFFF).to_bytes(4, "little")
        marks = b""
        for i in range(2):
            if self.marks[i]:
                flags |= _FIRST << i
            marks += self.marks[i] or bytes(MARK_SIZE)
        raw += bytes((flags,)) + marks
        return raw + _check(raw)


def _check(raw: bytes) -> bytes:
    return (binascii.crc32(raw) & 0xFFFF).to_bytes(2, "little")


def since(utc_seconds: int) -> bytes:
    """A cursor that begins with the oldest entry from that time on, by the meter's clock."""
    return entries_since(utc_seconds) + max(0, min(utc_seconds, 0xFFFFFFFF)).to_bytes(4, "little")


def entries_since(utc_seconds: int) -> bytes:
    """As `since`, for `entries`."""
    cursor = _Cursor(None)
    cursor.since = max(0, min(utc_seconds, 0xFFFFFFFF))
    return cursor.pack()


async def _logs(tables: "Tables") -> "tuple[list[Ring], bool]":
    """The meter's event logs, and whether their numbers go on when a log is reset."""
    memo = tables.memo
    known: tuple[list[Ring], bool] | None = memo.get("event_logs")
    if known:
        return known
    firmware = (await tables.dimensions(("firmware",)))["firmware"]
    # Before 2.12 the dimensions in use are those of BT70 (optical guide, "Reading the Event Log").
    first, second = (BT70, BT71) if _V2_00 <= firmware < _V2_12 else (BT71, BT70)
    table = await tables.get_if_there(first) or await tables.get(second)
    argument = table["argument_length"]
    if argument > _MAX_ARGUMENT:
        raise TableError(
            "BT71 claims %d bytes of argument, at most %d are believed" % (argument, _MAX_ARGUMENT)
        )
    size = _ENTRY_SIZE + argument
    rings = [Ring(tables, BT74, table["history_entries"], size, size)]
    forever = firmware >= _V3_70 or _V1_20 <= firmware < _V2_00
    if forever:
        status = await tables.get_if_there(ET54, "alternate_entries")
        if status and status["alternate_entries"]:
            rings.append(Ring(tables, ET79, status["alternate_entries"], size, size))
    memo["event_logs"] = rings, forever
    return rings, forever


def _near(number: int, base: int) -> int:
    """A number of 32 bits, as the one next to `base` that ends so: beyond the last one numbers go on."""
    return base + ((number - base + 0x80000000) & 0xFFFFFFFF) - 0x80000000


async def _head(ring: Ring, base: "int | None") -> "Head":
    valid, last, number = await ring.head()
    return valid, last, number if base is None else _near(number, base)


async def _part(
    tables: "Tables", ring: Ring, mark: bytes, head: "Head", forever: bool
) -> "tuple[list[Entry], int, bool]":
    """Entries behind the mark, how many are left behind these, whether the marked entry is still there."""
    if forever and ring.ends_with(head, mark):
        return [], 0, True
    first, number, known = await ring.unread(head, mark)
    limit = tables.meter.max_read
    count = min(number, ring.count - first, _AT_ONCE, max(1, limit // ring.size) if limit else number)
    entries: list[Entry] = []
    if count > 0:
        raw = await ring.read(first, 0, count * ring.size)
        before = _near(mark_sequence(mark), head[2]) if known else None
        for i in range(count):
            entry = raw[i * ring.size : (i + 1) * ring.size]
            low = entry[6] | entry[7] << 8
            if before is None:  # the oldest: within 65,536 of the newest
                before = head[2] - (head[2] - low & 0xFFFF)
            else:
                before += (low - before - 1 & 0xFFFF) + 1
            entries.append((before, first + i, entry))
        # The newest has the header's number: what that adds came while this log was idle.
        missing = head[2] - entries[-1][0]
        if number == count and missing and not missing & 0xFFFF:
            entries = [(low + missing, place, entry) for low, place, entry in entries]
    return entries, number - count, known


async def _parts(tables: "Tables", rings: "list[Ring]", cursor: _Cursor, forever: bool) -> "Parts | None":
    """What each log has behind its mark, all of one moment: entries, whether the marks still stand, the
    number up to which nothing is missing (None: all), whether there is more, and the headers. None when the
    logs moved too much meanwhile."""
    heads: list[Head] = []
    base = cursor.top
    for ring in rings:
        heads.append(await _head(ring, base))
        base = heads[0][2] if base is None else base
    parts = []
    marks = []
    ends: list[int] = []
    more = False
    for i in range(len(rings)):
        entries, left, known = await _part(tables, rings[i], cursor.marks[i], heads[i], forever)
        parts.append(entries)
        marks.append(known)
        if left:
            more = True
            ends.append(entries[-1][0])
    if not any(parts):
        return parts, marks, None, False, heads
    for i in range(len(rings)):
        ring, before = rings[i], heads[i]
        after = await _head(ring, before[2])
        if after != before:
            # What this log got meanwhile may be older than what another log was read with.
            more = True
            ends.append(before[2])
        written = ring.written(before, after)
        if parts[i]:
            if written is None:
                return None
            kept = [entry for entry in parts[i] if not ring.lost(entry[1], before, written)]
            if not kept or (written and kept[-1][0] > before[2]):
                return None
            parts[i] = kept
    return parts, marks, min(ends) if ends else None, more, heads


def _events(
    rings: "list[Ring]", cursor: _Cursor, merged: "list[tuple[int, int, Entry]]", limit: "int | None"
) -> "list[Event]":
    """The entries up to `limit` as events; moves the cursor behind them."""
    events = []
    for number, i, entry in merged:
        if limit is not None and number > limit:
            break
        ring = rings[i]
        cursor.marks[i] = ring.mark(entry[1], number & 0xFFFFFFFF, entry[2])
        top = cursor.top
        if top is not None and number <= top:
            continue  # in both logs, or known although the log was laid out anew
        faults = []
        if top is not None and number > top + 1 and number > _near(cursor.floor or 0, number):
            faults.append(fault("OSGP_events_lost"))
        cursor.top = number
        event = _event(entry, faults)
        if event.time.seconds >= cursor.since:
            cursor.since = 0  # what follows came later, whatever the meter's clock did meanwhile
            events.append(event)
    return events


def _event(entry: "Entry", faults: "list[int | str]") -> Event:
    raw = entry[2]
    fields = EVENT_ENTRY.decode(raw, {})
    try:
        seconds = seconds_of(fields["time"])
    except TableError:
        seconds = None
    time = now() if seconds is None else Timestamp(seconds)
    if seconds is None:
        faults.append(fault("OSGP_stamp_invalid"))
    return Event(
        EVENT,
        time,
        fields["code"],
        entry[0] & 0xFFFFFFFF,
        fields["time"],
        raw[_ENTRY_SIZE:],
        faults,
        fields["user"],
    )


async def _step(tables: "Tables", raw: "bytes | None") -> Step:
    rings, forever = await _logs(tables)
    for _ in range(_TRIES):
        cursor = _Cursor(raw)
        found = await _parts(tables, rings, cursor, forever)
        if found is None:
            continue
        parts, marks, limit, more, heads = found
        merged: list[tuple[int, int, Entry]] = []
        for i in range(len(parts)):
            for entry in parts[i]:
                merged.append((entry[0], i, entry))
        merged.sort(key=lambda item: (item[0], item[1]))
        reset = False
        if merged and cursor.top is not None:
            newest = max([head[2] for head in heads])
            # The marked entry is gone; numbers that begin at or below it are others' unless they never do.
            reset = not marks[0] and merged[0][0] <= cursor.top and (not forever or newest < cursor.top)
        if reset:
            cursor.top = cursor.floor = 0
            if merged[0][0] == 0:
                cursor.top = -1
        elif merged and cursor.top is None:
            cursor.floor = max([parts[i][0][0] if parts[i] else heads[i][2] for i in range(len(parts))])
        events = _events(rings, cursor, merged, limit)
        if raw is not None and merged and limit is not None and merged[0][0] > limit:
            return Step([], raw, True)
        if reset and events:
            events[0].faults = [fault("OSGP_events_reset")] + list(events[0].faults)
        if not more:
            cursor.since = 0  # from here on everything counts, whatever the meter's clock does
        return Step(events, cursor.pack(), more)
    raise TableError("the event logs were cleared or overwritten during each of %d reads" % _TRIES)


async def entries(tables: "Tables", cursor: bytes) -> Step:
    """As `read`, of the event logs alone, whose cursor has a size of its own; b"": from the oldest on."""
    step: Step = await tables.steady(lambda: _step(tables, cursor))
    return step


async def read(tables: "Tables", cursor: "bytes | None") -> Step:
    """The entries behind the cursor, oldest first, about an exchange's worth from each log; when there are
    no more, the power outages of ET81 as Readings. A step may have no items and yet more to come. Raises
    Refused, TableError and what Meter.read raises."""
    whole = cursor or b""
    logs, outages = whole[:_CURSOR_SIZE], whole[_CURSOR_SIZE:]
    step = await entries(tables, logs)
    if step.more or step.items:
        return Step(step.items, step.cursor + outages, True)
    from .outages import read as read_outages

    last: Step = await tables.steady(lambda: read_outages(tables, outages))
    return Step(last.items, step.cursor + last.cursor, last.more)
