"""Procedures: BT07 starts one, BT08, ET59 or ET85 holds its result (MEP guide, chapter 4, "Calling
Procedures").

Only what a MEP client may call and this meter has a use for is carried out; the rest is unrecognized.
"""

from typing import TYPE_CHECKING

from . import events
from .alerts import DELTA_DATA
from .clients import FIRST_SLOT, REQUESTS
from .image import EXTENDED, et
from .mbus import WRITE_DATA
from .transactions import Transactions

if TYPE_CHECKING:
    from .meter import VirtualMeter

_REMOVE_DEVICE = EXTENDED + 17
_REQUEST_DEVICE = EXTENDED + 19
_POST_DATA = EXTENDED + 39
_LOCK_TRANSACTIONS = EXTENDED + 61

# Result codes.
_DONE = 0
_INVALID_PARAMETER = 2
_CONFLICT = 3
_NO_SUCH_DEVICE = 3
_NOT_ALLOWED = 5
_UNRECOGNIZED = 6
_QUEUE_FULL = 7

# Table C.2: what the basic key may start: EP16, EP17, EP61, and EP39 (chapter 2, "Access Levels").
_BASIC_PROCEDURES = frozenset(EXTENDED + number for number in (16, 17, 39, 61))

_FLAGS_OFFSET = 30  # ET50: bit 0 registered, bit 1 responses in ET59
_ANSWER_IN_ET59 = 2

_ON_DEMAND_KINDS = frozenset([1, 2, 3, 4, 5, 10])
_BY_INDEX = 10
_ALL_DEVICES = 0xFFFF
_MOST_DATA = 24  # ET11.11, less the length
_CLEAR_DELTA_ALERT = 12  # chapter 3, "Delta Data Alerts"


class Procedures:
    def __init__(self, meter: "VirtualMeter", transactions: Transactions) -> None:
        self._meter = meter
        self._image = meter.image
        self._transactions = transactions
        self._last_number = -1
        self._image.after_write[7] = self._start

    def _start(self, advanced: bool) -> bool:
        """Carry out what was written to BT07; False when its sequence number repeats the last one's."""
        request = self._image.read(7)
        procedure = int.from_bytes(request[:2], "little") & 0xFFF
        number = request[2]
        if number == self._last_number:
            return False
        self._last_number = number
        parameters, response = request[3:], b""
        if not advanced and procedure not in _BASIC_PROCEDURES:
            result = _NOT_ALLOWED
        elif procedure == _REMOVE_DEVICE:
            result = self._remove(parameters[0], int.from_bytes(parameters[1:3], "little"), advanced)
        elif procedure == _REQUEST_DEVICE:
            result, response = self._request_device(parameters)
        elif procedure == _POST_DATA:
            result = self._post(parameters[0])
        elif procedure == _LOCK_TRANSACTIONS and self._meter.generation.gen4:
            result = self._lock(parameters[0])
        else:
            result = _UNRECOGNIZED
        user = events.MEP_CLIENT if self._image.channel else events.NO_USER
        self._meter.life.note(events.PROCEDURE_INVOKED, procedure, user)
        answer = procedure.to_bytes(2, "little") + bytes([number, result]) + response
        table = self._answer_table()
        self._image.write(table, 0, answer.ljust(len(self._image.read(table)), b"\0"))
        return True

    def _answer_table(self) -> int:
        """MEP client 2 has ET85; client 1 chooses between ET59 and BT08; everyone else has BT08."""
        if self._image.channel == 2:
            return et(85)
        flags = self._image.read(et(50))[_FLAGS_OFFSET]
        chosen = self._image.channel == 1 and flags & _ANSWER_IN_ET59 and et(59) in self._image
        return et(59) if chosen else 8

    def _remove(self, action: int, handle: int, advanced: bool) -> int:
        """EP17: devices that the meter has nothing to do with any more. The basic key may take away a client,
        and no M-Bus device."""
        if action > 1:
            return _INVALID_PARAMETER
        clients, bus = self._meter.clients, self._meter.life.bus
        numbers = [n for n in clients.installed if handle in (clients.handle(n), _ALL_DEVICES)]
        slots = [s for s in bus.slots if not s.removed and handle in (s.device.handle, _ALL_DEVICES)]
        if slots and not advanced:
            return _NOT_ALLOWED
        for number in numbers:
            clients.remove(number)
        for slot in slots:
            bus.remove(slot)
        self._meter.life.schedule()
        return _DONE if numbers or slots else _NO_SUCH_DEVICE

    def _request_device(self, parameters: bytes) -> tuple[int, bytes]:
        """EP19: an on-demand request, whose result appears in ET15 when the device has answered."""
        transaction = int.from_bytes(parameters[:2], "little")
        handle = int.from_bytes(parameters[2:4], "little")
        kind = parameters[4]
        life, clients = self._meter.life, self._meter.clients
        if kind not in _ON_DEMAND_KINDS:
            return _INVALID_PARAMETER, b""
        if kind == _BY_INDEX:
            handle, kind = self._handle_at(handle), WRITE_DATA
        client = clients.number_of(handle)
        if life.bus.find(handle) is None and client is None:
            return _NO_SUCH_DEVICE, b""
        length = parameters[5] if kind == WRITE_DATA else 0
        if length > _MOST_DATA or (client and kind not in REQUESTS):
            return _INVALID_PARAMETER, b""
        data = parameters[6 : 6 + length]
        if client:
            place = clients.request(client, transaction, kind, data)
        else:
            place = life.request_device(transaction, handle, kind, data)
        return (_QUEUE_FULL, b"") if place is None else (_DONE, bytes([place]))

    def _handle_at(self, mask: int) -> int:
        """The handle of the device with the lowest bit of a mask of ET14's places; 0 when there is none."""
        index = (mask & -mask).bit_length() - 1
        slot = self._meter.life.bus.at(index)
        if slot is not None:
            return slot.device.handle
        number = index - FIRST_SLOT + 1
        return self._meter.clients.handle(number) if number in self._meter.clients.installed else 0

    def _post(self, kind: int) -> int:
        """EP39, of which the guide tells only that type 12 clears the delta data alert."""
        port = self._meter.ports[max(self._image.channel, 1) - 1]
        if not port.registered:
            return _CONFLICT
        if kind != _CLEAR_DELTA_ALERT:
            return _INVALID_PARAMETER
        port.clear_alert(DELTA_DATA)
        return _DONE

    def _lock(self, lock: int) -> int:
        """EP61: ET52 and ET53 for one client alone."""
        channel = self._image.channel
        if not channel:
            return _NOT_ALLOWED
        if lock > 1:
            return _INVALID_PARAMETER
        return _DONE if self._transactions.lock(channel if lock else 0, channel) else _CONFLICT
