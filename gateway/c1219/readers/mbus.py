"""Devices behind the meter: their telegrams as they came, and how they are.

Scheduled reads are in the logs ET45 and ET74 (which hands its entries on to ET45), the first read of a device
and reads on demand in ET16. A telegram that is in several of them comes once. Each is a Reading of the
device's handle and the telegram in hexadecimal digits (transmission/mbus.py decodes it), at the local time
that the meter stored with it, in UTC; its id is made of the handle, that stamp and the telegram's checksum.

A device's state (ET14) is a Reading of its own each time when handle, status or alarms changed, at the
gateway's clock.
"""

import binascii

from ..._compat import TYPE_CHECKING, const
from ...errors import Refused, TableError
from ...transmission.model import MBUS, Reading, Timestamp, Value
from ..circular import MARK_SIZE, Ring, extended_logs, mark_sequence
from ..layouts.devices import DEVICE_DATA, ET13_CUSTOMER, ET14, ET45, ET74, RECURRING_ENTRY
from ..layouts.logs import ET54
from ..local_time import local_time
from ..types import seconds_of
from .common import Step, fault, now, prop, text_value

if TYPE_CHECKING:
    from ..layout import Table
    from ..tables import Tables

    Head = tuple[int, int, int]

# Firmware with ET74, packed as in BT01.14: from 3.60 on; modules, which number from 1 on, from 1.20 on.
_V1_20 = const(0x1280)
_V2_00 = const(0x2000)
_V3_60 = const(0x3780)

_ENTRY = const(8)  # bytes before the data in an entry of ET45 and ET74
_DATA = const(7)  # bytes of the data before its first telegram: DEVICE_DATA
_PROBE = const(28)  # of an entry: up to the first telegram's header
_MAX_SIZE = const(2048)  # of an entry; the guide's default is 525
_AT_ONCE = const(4)  # entries of a step: at their usual 525 bytes half a frame
_MEP_SLOTS = const(4)  # slots from here on (from 0) hold MEP devices
_MEP_HANDLES = const(1000)  # handles from here on are theirs
_TRIES = const(5)

# Cursor: since (4), marks of ET45 and ET74, the number of slots, for each of them a checksum of its data in
# ET16 (4) and of its state (2), checksums of the telegrams that came last, a checksum of all (2).
_RECENT = const(24)
_MAX_SLOTS = const(12)


class _Cursor:
    def __init__(self, raw: "bytes | None") -> None:
        self.since = 0
        self.marks = [b"", b""]
        self.data: list[bytes] = []
        self.states: list[bytes] = []
        self.recent: list[bytes] = []
        head = 5 + 2 * MARK_SIZE
        if not raw or len(raw) < head + 2 or _check(raw[:-2]) != raw[-2:]:
            return
        self.since = int.from_bytes(raw[:4], "little")
        for i in range(2):
            mark = raw[4 + i * MARK_SIZE : 4 + (i + 1) * MARK_SIZE]
            self.marks[i] = b"" if mark == b"\xff" * MARK_SIZE else mark
        at = head
        for _ in range(raw[head - 1]):
            self.data.append(raw[at : at + 4])
            self.states.append(raw[at + 4 : at + 6])
            at += 6
        while at + 4 <= len(raw) - 2:
            self.recent.append(raw[at : at + 4])
            at += 4

    def pack(self) -> bytes:
        raw = self.since.to_bytes(4, "little")
        for mark in self.marks:
            raw += mark or b"\xff" * MARK_SIZE
        raw += bytes((len(self.data),))
        for i in range(len(self.data)):
            raw += self.data[i] + self.states[i]
        raw += b"".join(self.recent)
        return raw + _check(raw)

    def new(self, readings: "list[Reading]") -> "list[Reading]":
        """Those that have not come lately, from `since` on; remembers them."""
        new = []
        for reading in readings:
            check = _sum(repr(reading.stored).encode())
            if check not in self.recent:
                self.recent = self.recent[1 - _RECENT :] + [check]
                if reading.time.seconds >= self.since:
                    new.append(reading)
        return new


def _sum(raw: bytes) -> bytes:
    return (binascii.crc32(raw) & 0xFFFFFFFF).to_bytes(4, "little")


def _check(raw: bytes) -> bytes:
    return _sum(raw)[:2]


def since(utc_seconds: int) -> bytes:
    """A cursor that begins with the oldest telegram from that time on, by the meter's clock."""
    cursor = _Cursor(None)
    cursor.since = max(0, min(utc_seconds, 0xFFFFFFFF))
    return cursor.pack()


async def _logs(tables: "Tables") -> "list[Ring | None]":
    """ET45 and ET74, None where the meter has not configured them."""
    memo = tables.memo
    known: list[Ring | None] | None = memo.get("mbus_logs")
    if known is not None:
        return known
    rings: list[Ring | None] = [None, None]
    entries, size = (await extended_logs(tables)).get(ET45.table, (0, 0))
    if size:
        if not _PROBE <= size <= _MAX_SIZE:
            raise TableError(
                "ET36 claims entries of %d bytes for ET45, %d to %d are believed" % (size, _PROBE, _MAX_SIZE)
            )
        if entries:
            rings[0] = Ring(tables, ET45, entries, size, _PROBE)
        firmware = (await tables.dimensions(("firmware",)))["firmware"]
        if firmware >= _V3_60 or _V1_20 <= firmware < _V2_00:
            status = await tables.get_if_there(ET54, "recurring_entries")
            if status and status["recurring_entries"]:
                rings[1] = Ring(tables, ET74, status["recurring_entries"], size, _PROBE)
    memo["mbus_logs"] = rings
    return rings


async def _time(tables: "Tables", stamp: bytes) -> "tuple[Timestamp, list[int | str]]":
    try:
        local = seconds_of(stamp)
    except TableError:
        local = None
    if local is None:
        return now(), [fault("OSGP_stamp_invalid")]
    utc, offset, certain = (await local_time(tables)).utc_of(local)
    return Timestamp(utc, "", offset), [] if certain else [fault("OSGP_local_time_ambiguous")]


def telegrams(data: bytes) -> "list[tuple[bytes, bool]]":
    """The telegrams behind DEVICE_DATA, each with whether it is whole; a length of 0 ends them."""
    found = []
    at = _DATA
    while at < len(data) and data[at]:
        end = at + 1 + data[at]
        found.append((data[at + 1 : end], end <= len(data)))
        at = end
    return found


async def _readings(tables: "Tables", handle: int, data: bytes, execution: int = 0) -> "list[Reading]":
    """A reading for each telegram of a device's data (time, info, telegrams)."""
    if len(data) <= _DATA:
        return []
    fields = DEVICE_DATA.decode(data, {})
    info = data[_DATA - 1]
    time, faults = await _time(tables, fields["time"])
    if execution == 2:
        faults.append(fault("OSGP_mbus_late"))
    if fields["failed"]:
        faults.append(fault("OSGP_mbus_not_authentic"))
    if handle >= _MEP_HANDLES:
        length = int.from_bytes(data[_DATA + 2 : _DATA + 4], "little")
        pieces = [(data[_DATA + 4 : _DATA + 4 + length], len(data) >= _DATA + 4 + length)]
        name = "OSGP_mbus_data"
    else:
        pieces = telegrams(data)
        name = "OSGP_mbus_telegram"
    readings = []
    for piece, whole in pieces:
        if not piece:
            continue
        text = str(binascii.hexlify(piece), "ascii")
        values = [text_value(name, text), Value(prop("OSGP_mbus_handle"), handle)]
        if name == "OSGP_mbus_telegram":
            values.append(Value(prop("OSGP_mbus_response_info"), info))
        some = list(faults)
        if not whole:
            some.append(fault("OSGP_mbus_incomplete"))
        stored = (handle, fields["time"], binascii.crc32(piece) & 0xFFFFFFFF)
        readings.append(Reading(MBUS, time, values, some, stored))
    return readings


async def _entry(tables: "Tables", ring: Ring, place: int) -> "tuple[bytes, bytes]":
    """Of an entry, what its mark is made of, and as much of it as it says it has."""
    raw = await ring.read(place, 0, _PROBE)
    # The length counts from the identifier or from the handle on (the guide's words fit both).
    size = min(ring.size, 4 + (raw[0] | raw[1] << 8))
    at = _PROBE
    limit = tables.meter.max_read or ring.size
    while at < size:
        piece = await ring.read(place, at, min(size - at, limit))
        raw += piece
        at += len(piece)
    return raw[:_PROBE], raw[:size]


async def _recurring(tables: "Tables", ring: Ring, which: int, raw: "bytes | None") -> "Step | None":
    """What a log has behind its mark, a few entries at once; None when there is nothing."""
    for _ in range(_TRIES):
        cursor = _Cursor(raw)
        mark = cursor.marks[which]
        head = await ring.head()
        first, number, known = await ring.unread(head, mark)
        count = min(number, _AT_ONCE)
        if not count:
            return None
        entries = []
        for i in range(count):
            place = (first + i) % ring.count
            entries.append((place,) + await _entry(tables, ring, place))
        written = ring.written(head, await ring.head())
        if written is None:
            continue
        items: list[Reading] = []
        moved = False
        for place, probe, entry in entries:
            if ring.lost(place, head, written):
                continue
            moved = True
            sequence = head[2] - (head[1] - place) % ring.count & 0xFFFF
            lost = not known and mark and not which and sequence != (mark_sequence(mark) + 1 & 0xFFFF)
            known = True
            cursor.marks[which] = ring.mark(place, sequence, probe)
            fields = RECURRING_ENTRY.decode(entry, {}) if len(entry) >= _ENTRY else {"handle": 0}
            if not fields["handle"]:
                continue
            readings = await _readings(tables, fields["handle"], entry[_ENTRY:], fields["execution"])
            if lost and readings:
                readings[0].faults = list(readings[0].faults) + [fault("OSGP_events_lost")]
            items.extend(cursor.new(readings))
        if moved:
            return Step(items, cursor.pack(), True)
    raise TableError("%s was cleared or overwritten during each of %d reads" % (ring.name, _TRIES))


async def _customer(tables: "Tables", slot: int) -> str:
    if slot >= _MEP_SLOTS:
        return ""
    size = (await tables.dimensions(("devices",)))["config_rest"] + 28
    try:
        data = await tables.part(ET13_CUSTOMER, slot * size + 8, 20)
    except Refused:
        return ""  # what the customer is called is no reason to lose the rest
    text: str = ET13_CUSTOMER.decode(data, {})["customer_id"]
    return text


async def _state(tables: "Tables", slot: int, device: "Table") -> Reading:
    values = [
        Value(prop("OSGP_mbus_slot"), slot + 1),
        Value(prop("OSGP_mbus_handle"), device["handle"]),
        Value(prop("OSGP_mbus_device_status"), device["status"]),
        Value(prop("OSGP_mbus_alarms"), device["alarms"]),
        Value(prop("OSGP_mbus_device_alarms"), device["device_alarms"]),
        Value(prop("OSGP_mbus_read_attempts"), device["attempts"]),
        Value(prop("OSGP_mbus_read_answers"), device["answers"]),
    ]
    customer = await _customer(tables, slot) if device["handle"] else ""
    if customer:
        values.append(text_value("OSGP_mbus_customer_id", customer))
    return Reading(MBUS, now(), values)


async def _latest(tables: "Tables", slot: int, device: "Table", size: int) -> bytes:
    """The slot's data in ET16, b"" when it has none or they were written while they were read."""
    length = min(size, device["data_length"])
    if length <= _DATA:
        return b""
    start = slot * size
    limit = tables.meter.max_read or length
    head = await tables.part(DEVICE_DATA, start, _DATA)
    data = b""
    while len(data) < length:
        data += await tables.part(DEVICE_DATA, start + len(data), min(limit, length - len(data)))
    if length > limit:
        again = await tables.part(DEVICE_DATA, start, _DATA)
        return data if again == head else b""
    return data


async def _devices(tables: "Tables", raw: "bytes | None") -> Step:
    """The devices' states that changed, and what is new in ET16."""
    cursor = _Cursor(raw)
    items: list[Reading] = []
    table = await tables.get_if_there(ET14, "occupancy", "devices")
    devices = table["devices"][:_MAX_SLOTS] if table else []
    while len(cursor.data) < len(devices):
        cursor.data.append(b"\0\0\0\0")
        cursor.states.append(b"\0\0")
    for slot, said_of in enumerate(devices):
        occupied = table is not None and table["occupancy"] >> slot & 1
        device = said_of if occupied else dict.fromkeys(said_of, 0)
        if not occupied and cursor.states[slot] == b"\0\0":
            continue
        said = (device["handle"], device["status"], device["alarms"], device["device_alarms"])
        state = _check(repr(said).encode()) if occupied else b"\0\0"
        if state != cursor.states[slot]:
            cursor.states[slot] = state
            items.append(await _state(tables, slot, device))
        if occupied:
            size = (await tables.dimensions(("devices",)))["data_size"]
            data = await _latest(tables, slot, device, size)
            if data and _sum(data) != cursor.data[slot]:
                cursor.data[slot] = _sum(data)
                items.extend(cursor.new(await _readings(tables, device["handle"], data)))
    cursor.since = 0
    return Step(items, cursor.pack())


async def _step(tables: "Tables", raw: "bytes | None") -> Step:
    rings = await _logs(tables)
    for which in range(2):
        ring = rings[which]
        step = await _recurring(tables, ring, which, raw) if ring else None
        if step:
            return step
    return await _devices(tables, raw)


async def read(tables: "Tables", cursor: "bytes | None") -> Step:
    """Telegrams behind the cursor, oldest first as far as the meter logs them, and states that changed.
    Raises Refused, TableError and what Meter.read raises."""
    step: Step = await tables.steady(lambda: _step(tables, cursor))
    return step
