"""Alarms: each bit of BT03 that is set or cleared is an Event; so are the alarms of devices in ET14.

`code` is the bit: 8 x byte + bit of BT03 (16 is Low Battery, byte 2 bit 0), and 256 x slot + bit for the
device in slot 1, 2...: bits 0 to 15 are ET14's MEP alarms, 16 to 23 the alarms that the device reported, 24
says that it is lost. Names are in event_names.py. `argument` is 1 for set and 0 for cleared.

An alarm has neither time nor number in the meter. Its id is made of the raw status after the change (as
`stamp`) and of a number (`sequence`) that the cursor keeps, one more for each change: reading again from an
old cursor gives the same ids. The first number is the gateway's clock, so that a lost cursor does not count
through the same numbers again. Its time is when the gateway saw it.

BT03 is in the optical guide only. A meter that refuses it over MEP is not asked again on that connection;
its alarms then are ET14's and those that its event logs tell of (alarms_logged.py), which have the time,
the number and the stamp of their entry. One look in four is at the logs, so that a look takes about one
exchange still.
"""

import binascii

from ... import clock
from ..._compat import TYPE_CHECKING, const
from ...errors import Refused, TableError
from ...transmission.model import ALARM, Event
from ..layouts.alarms import BT03
from ..layouts.devices import ET14
from ..layouts.general import BT00
from .common import Step, now

if TYPE_CHECKING:
    from ..tables import Tables

_MAX_STATUS = const(32)  # BT00.17 is 4 or 9
_UNKNOWN = const(255)  # in place of the status's length
# Not there, or not for us: security clearance (3), no such table (4, 5); MEP guide, table 2.6.
_NOT_HERE = (3, 4, 5)
# BT03's bits of devices: MEP installed, M-Bus alarm, auto-discovery complete, manufacturer's log entry.
_DEVICE_BYTE = const(6)
_DEVICE_BITS = const(0x87)
# BT03's first bit says that the meter meters, which is no alarm.
_NOT_METERING = const(0xFE)
# Its alarm of devices stays set until all of theirs were cleared (ET14): a second one only shows in ET14.
_DEVICE_ALARM = const(0x02)
_LOOK_MS = const(180000)
# BT03 of firmware that may not have this alarm yet: it came with 2.10.
_OLD_SIZE = const(8)
_SLOT = const(4)  # bytes of a device's state: MEP alarms, device alarms, lost
_MAX_SLOTS = const(16)
_LOOKS = const(4)


class _Cursor:
    """`number`: of the next change; `status`: BT03 as last seen; `devices`: _SLOT bytes each; `logs`: of the
    event logs. `new`: status and devices are not known."""

    def __init__(self, raw: "bytes | None") -> None:
        self.number = clock.utc_ms() // 1000 & 0xFFFFFFFF
        self.status = b""
        self.devices = b""
        self.logs = b""
        self.new = True
        if not raw or len(raw) < 8 or _check(raw[:-2]) != raw[-2:]:
            return
        at = 6 + raw[4]
        if raw[4] == _UNKNOWN:
            self.logs = raw[6:-2]
            return
        self.number = int.from_bytes(raw[:4], "little")
        self.status = raw[6:at]
        self.devices = raw[at : at + raw[5]]
        self.logs = raw[at + raw[5] : -2]
        self.new = False

    def pack(self) -> bytes:
        number = self.number & 0xFFFFFFFF
        raw = number.to_bytes(4, "little")
        if self.new:
            raw += bytes((_UNKNOWN, 0)) + self.logs
        else:
            raw += bytes((len(self.status), len(self.devices))) + self.status + self.devices + self.logs
        return raw + _check(raw)


def _check(raw: bytes) -> bytes:
    return (binascii.crc32(raw) & 0xFFFF).to_bytes(2, "little")


def since(utc_seconds: int) -> bytes:
    """A cursor that begins with what is set now, for BT03 and ET14 keep no past alarms, and with what the
    event logs tell from that time on, where they stand in for BT03."""
    from .events import entries_since

    cursor = _Cursor(None)
    cursor.logs = entries_since(utc_seconds)
    return cursor.pack()


async def _status(tables: "Tables") -> "bytes | None":
    """BT03; None where the meter refuses it."""
    memo = tables.memo
    size: int | None = memo.get("alarms")
    if size == 0:
        return None
    if size is None:
        length: int = (await tables.get(BT00, "manufacturer_status_length"))["manufacturer_status_length"]
        if length > _MAX_STATUS:
            raise TableError(
                "BT00 claims %d bytes of status, at most %d are believed" % (length, _MAX_STATUS)
            )
        size = BT03.size({}) + length
    for _ in range(2):
        try:
            data = await tables.part(BT03, 0, size)
        except Refused as refusal:
            if refusal.code not in _NOT_HERE:
                raise
            continue
        memo["alarms"] = size
        memo["seen"] = BT03.table, data
        return bytes((data[0] & _NOT_METERING,)) + data[1:]
    memo["alarms"] = 0
    return None


async def _devices(tables: "Tables") -> "bytes | None":
    """_SLOT bytes for each slot of ET14; None where the meter lacks it."""
    if tables.memo.get("no_devices"):
        return None
    table = await tables.get_if_there(ET14, "occupancy", "devices")
    if table is None:
        tables.memo["no_devices"] = True
        return None
    state = bytearray()
    for i, device in enumerate(table["devices"]):
        if table["occupancy"] >> i & 1:
            alarms = device["alarms"]
            lost = 1 if device["status"] in (2, 4) else 0
            state.extend(bytes((alarms & 0xFF, alarms >> 8, device["device_alarms"], lost)))
        else:
            state.extend(bytes(_SLOT))
    return bytes(state)


def _changes(cursor: _Cursor, before: bytes, after: bytes, first_code: int) -> "list[Event]":
    events = []
    time = now()
    for bit in range(8 * max(len(before), len(after))):
        was = before[bit >> 3] >> (bit & 7) & 1 if bit >> 3 < len(before) else 0
        is_ = after[bit >> 3] >> (bit & 7) & 1 if bit >> 3 < len(after) else 0
        if was != is_:
            events.append(Event(ALARM, time, first_code + bit, cursor.number, after, bytes((is_,))))
            cursor.number += 1
    return events


async def _step(tables: "Tables", cursor: _Cursor) -> Step:
    events: list[Event] = []
    status = await _status(tables)
    look = cursor.new
    more = False
    if status is None:
        memo = tables.memo
        turn: int = memo.get("alarms_turn", 0)
        look = look or turn > 0
        if not turn:
            from .alarms_logged import read_logged

            logged = await read_logged(tables, cursor.logs)
            events = list(logged.items)  # type: ignore[arg-type]
            cursor.logs = logged.cursor
            more = logged.more
        memo = tables.memo  # dropped meanwhile where the dimensions moved
        memo["alarms_turn"] = 0 if more else (turn + 1) % _LOOKS
    else:
        before = cursor.status
        events = _changes(cursor, before, status, 0)
        at = _DEVICE_BYTE
        look = look or (before[at : at + 1] or b"\0")[0] & _DEVICE_BITS != (
            (status[at : at + 1] or b"\0")[0] & _DEVICE_BITS
        )
        if len(status) <= _OLD_SIZE or status[at] & _DEVICE_ALARM:
            looked = tables.memo.get("devices_looked")
            look = look or looked is None or clock.monotonic_ms() - looked >= _LOOK_MS
        cursor.status = status
    if look:
        tables.memo["devices_looked"] = clock.monotonic_ms()
    devices = await tables.steady(lambda: _devices(tables)) if look else None
    if devices is not None:
        for i in range(max(len(devices), len(cursor.devices)) // _SLOT):
            at, end = _SLOT * i, _SLOT * i + _SLOT
            events.extend(_changes(cursor, cursor.devices[at:end], devices[at:end], 256 * (i + 1)))
        cursor.devices = devices
    cursor.new = False
    return Step(events, cursor.pack(), more)


async def read(tables: "Tables", cursor: "bytes | None") -> Step:
    """What was set or cleared since the cursor, in the order of the bits; at first all that is set. One
    exchange of few bytes when nothing changed. There is more only in event logs. Raises Refused,
    TableError and what Meter.read raises."""
    # BT03's length does not depend on the dimensions that move, so it is read without a look at them.
    return await _step(tables, _Cursor(cursor))
