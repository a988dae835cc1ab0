"""The meter's side of M-Bus: its schedule, what it read and where it put that.

MEP guide, chapter 3, "Reading M-Bus Scheduled Read Data" and "Reading On-Demand M-Bus Data"; chapter 4: ET13
to ET16, ET34, ET45, ET57, ET74, EP19.
"""

from dataclasses import dataclass, field

from . import definitions, readout
from .calendar import DAY_MS, HOUR_MS, MINUTE_MS, LocalTime, long_date, utc_datetime
from .generations import Generation
from .mbus_devices import Device
from .rings import LONG, SHORT, Ring

CONFIG_BYTES = 66  # ET11.1
STATUS_BYTES = 36  # ET11.2
POLL_BYTES = 22  # ET11.13, an entry of ET34
# How often the load profile may ask a device, in minutes, 0 for as often as it likes; a day's last interval
# does anyway.
POLL_RATE_OFFSET = 4
_DATA_BYTES = 517  # ET11.5
_ENTRY_BYTES = 525  # ET36, the default
_QUEUE = 5  # ET11.3
_WRITE_BYTES = 25  # ET11.11
_MULTICAST_BYTES = 65  # ET11.20

_HOURLY, _DAILY, _WEEKLY, _MONTHLY, NEVER = range(5)
_NEVER_DAY = 39
_FIRST_WEEKDAY = 32

# ET14, "MEP Alarms".
_DATA_COLLECTED = 1
_NEW_DEVICE_ALARM = 1 << 2
_FAILED_COMMUNICATION = 1 << 4
_ACTIVE = 1
_DOWN = 2

_BAUD_2400 = 4
_OSGP_NAMESPACE = 2 << 11
_SUCCESS = 4
_DELAYED = 2

# ET15.
BILLING_READ = 2
STATUS_READ = 3
WRITE_DATA = 4
_RESULT_SUCCESS = 1
_RESULT_NO_RESPONSE = 2
_RESULT_FAILED = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """A telegram that came in, and what it `says`. `stamp` is local time as if it were UTC; `tables` say
    where it was put."""

    device: int
    handle: int
    stamp: int
    scheduled: bool
    delayed: bool
    telegram: bytes
    says: dict[str, object]
    tables: tuple[str, ...]


@dataclass
class Slot:
    """What ET14 and ET16 hold about one device."""

    device: Device
    attempts: int = 0
    answers: int = 0
    alarms: int = 0
    device_alarms: int = 0
    last_attempt: bytes = bytes(6)
    status_read: bytes = bytes(6)
    entry: bytes = b""
    reading: Reading | None = None
    # EP17 took it away; what ET16 has of it stays.
    removed: bool = False


@dataclass(frozen=True, slots=True)
class AlarmChange:
    """ET14's alarms of a device as they are from `stamp` on, the meter's UTC."""

    device: int
    handle: int
    alarms: int
    device_alarms: int
    stamp: int


@dataclass
class Request:
    """An entry of ET15."""

    transaction: int
    handle: int
    kind: int
    data: bytes
    result: int = 0


@dataclass
class Bus:
    generation: Generation
    devices: list[Device]
    history: list[Reading] = field(default_factory=list)
    alarm_history: list[AlarmChange] = field(default_factory=list)

    def __post_init__(self) -> None:
        g = self.generation
        has_log = g.number >= (3, 0)
        self.slots = [Slot(device) for device in self.devices]
        self.log = Ring(g.recurring_reads if has_log else 0, _ENTRY_BYTES, SHORT)
        self.more = Ring(g.extended_reads if g.number >= (3, 60) else 0, _ENTRY_BYTES, LONG)
        self.requests: list[Request | None] = [None] * _QUEUE
        self._next_request = 0

    def read(
        self, slot: Slot, clock: int, local: LocalTime, *, scheduled: bool, delayed: bool = False
    ) -> bool:
        """Ask a device for its data and put them away; False when it does not answer."""
        stamp = local.local_ms(clock)
        slot.attempts += 1
        slot.last_attempt = long_date(stamp)
        if slot.device.missing:
            self._latch(slot, clock, _FAILED_COMMUNICATION)
            return False
        slot.answers += 1
        # Without a schedule of its own (ET13.4 is 0) the status comes with the data.
        slot.status_read = long_date(stamp)
        if slot.device.status & ~slot.device_alarms:
            self._latch(slot, clock, _NEW_DEVICE_ALARM, slot.device.status)
        telegram = slot.device.telegram(clock, local)
        # The length counts a zero behind the telegram. Mode 1, variable structure, no key.
        entry = long_date(stamp) + bytes([0, len(telegram) + 1]) + telegram + bytes(1)
        in_log = scheduled and slot.reading is not None and self.log.capacity > 0
        extended = in_log and self.more.capacity > 0 and self.log.full
        table = "ET74" if extended else "ET45" if in_log else "ET16"
        says = slot.device.says(clock, local)
        device = slot.device
        reading = Reading(device.index, device.handle, stamp, scheduled, delayed, telegram, says, (table,))
        self.history.append(reading)
        if in_log:
            head = bytes([_DELAYED if delayed else 0, _SUCCESS])
            handle = slot.device.handle.to_bytes(2, "little")
            name = bytes(2) if extended else _OSGP_NAMESPACE.to_bytes(2, "little")
            body = name + handle + head + entry
            (self.more if extended else self.log).append(len(body).to_bytes(2, "little") + body, reading)
        else:
            slot.entry = entry
            slot.reading = reading
            if scheduled:
                self._latch(slot, clock, _DATA_COLLECTED)
        return True

    def _latch(self, slot: Slot, clock: int, alarms: int, device_alarms: int = 0) -> None:
        """Alarms stay until a head-end clears them."""
        self._set_alarms(slot, clock, slot.alarms | alarms, slot.device_alarms | device_alarms)

    def clear_alarms(self, slot: Slot, clock: int) -> None:
        """A head-end clears a device's alarms."""
        self._set_alarms(slot, clock, 0, 0)

    def _set_alarms(self, slot: Slot, clock: int, alarms: int, device_alarms: int) -> None:
        if (alarms, device_alarms) == (slot.alarms, slot.device_alarms):
            return
        slot.alarms, slot.device_alarms = alarms, device_alarms
        self.changed(slot.device.index, slot.device.handle, alarms, device_alarms, clock)

    def changed(self, index: int, handle: int, alarms: int, device_alarms: int, clock: int) -> None:
        """ET14 shows other alarms of a device, or of a MEP client."""
        self.alarm_history.append(AlarmChange(index, handle, alarms, device_alarms, clock))

    def holds(self, reading: Reading) -> bool:
        return (
            self.log.holds(reading)
            or self.more.holds(reading)
            or any(slot.reading is reading for slot in self.slots)
        )

    # On-demand requests.

    def find(self, handle: int) -> Slot | None:
        return next((s for s in self.slots if s.device.handle == handle and not s.removed), None)

    def at(self, index: int) -> Slot | None:
        """The device at a place of ET14."""
        return next((s for s in self.slots if s.device.index == index and not s.removed), None)

    def remove(self, slot: Slot) -> None:
        """EP17: the meter asks it nothing more and forgets its status."""
        slot.removed = True
        slot.alarms = slot.device_alarms = 0
        for request in self.requests:
            if request and request.handle == slot.device.handle and not request.result:
                request.result = _RESULT_FAILED

    def post(self, transaction: int, handle: int, kind: int, data: bytes) -> int | None:
        """Queue a request; gives its place in ET15, or None when all are waiting."""
        place = self._next_request
        waiting = self.requests[place]
        if waiting is not None and not waiting.result:
            return None
        self.requests[place] = Request(transaction, handle, kind, data)
        self._next_request = (place + 1) % _QUEUE
        return place

    def complete(self, place: int, clock: int, local: LocalTime) -> None:
        """The device was asked."""
        request = self.requests[place]
        if request is None or request.result:
            return
        slot = self.find(request.handle)
        answered = slot is not None and not slot.device.missing
        if slot is not None and request.kind == BILLING_READ:
            answered = self.read(slot, clock, local, scheduled=False)
        elif slot is not None and request.kind == STATUS_READ:
            slot.attempts += 1
            if answered:
                slot.answers += 1
                slot.status_read = long_date(local.local_ms(clock))
        request.result = _RESULT_SUCCESS if answered else _RESULT_NO_RESPONSE

    # Tables.

    def et14(self, clients: list[bytes]) -> bytes:
        """`clients` are the entries of the MEP clients, empty ones for those that are not there."""
        places = definitions.devices(self.generation) - len(clients)
        entries = [self._status(slot) if (slot := self.at(i)) else bytes(STATUS_BYTES) for i in range(places)]
        entries += clients
        occupied = sum(1 << index for index, entry in enumerate(entries) if any(entry[:2]))
        return bytes(5) + bytes([occupied]) + b"".join(entries)

    def states(self) -> list[dict[str, object]]:
        """What ET14 says of the M-Bus devices, for the truth."""
        return [readout.device(slot, _status_code(slot)) for slot in self.slots if not slot.removed]

    def _status(self, slot: Slot) -> bytes:
        status = _status_code(slot)
        out = slot.device.handle.to_bytes(2, "little") + bytes([status, _BAUD_2400])
        out += len(slot.entry).to_bytes(2, "little")
        out += slot.attempts.to_bytes(4, "little") + slot.answers.to_bytes(4, "little")
        out += slot.alarms.to_bytes(2, "little")
        address = slot.device.index + 1 if self.generation.number >= (4, 30) else 0
        out += bytes([address]) + bytes(6) + bytes([slot.device_alarms])
        return out + slot.status_read + slot.last_attempt

    def et15(self) -> bytes:
        out = bytearray([self._next_request | self._oldest_request() << 4])
        for request in self.requests:
            if request is None:
                out += bytes(6)
                continue
            out += request.transaction.to_bytes(2, "little") + request.handle.to_bytes(2, "little")
            out += bytes([request.kind, request.result])
        for request in self.requests:
            data = request.data if request else b""
            out += bytes([len(data)]) + data.ljust(_WRITE_BYTES - 1, b"\0")
        return bytes(out) + bytes(_MULTICAST_BYTES)

    def _oldest_request(self) -> int:
        """The place of the request that is processed next."""
        places = [(self._next_request + step) % _QUEUE for step in range(_QUEUE)]
        waiting = (p for p in places if (request := self.requests[p]) and not request.result)
        return next(waiting, self._next_request)

    def et16(self) -> bytes:
        out = b"".join(slot.entry.ljust(_DATA_BYTES, b"\0") for slot in self.slots)
        return out.ljust(definitions.devices(self.generation) * _DATA_BYTES, b"\0")


def _status_code(slot: Slot) -> int:
    """A device's status in ET14."""
    return _DOWN if slot.device.missing and slot.alarms & _FAILED_COMMUNICATION else _ACTIVE


def configuration(index: int, frequency: int, hour: int, minute: int) -> bytes:
    """The entry of an M-Bus device in ET13."""
    entry = bytearray(CONFIG_BYTES)
    entry[:4] = bytes([0, hour, minute, frequency])
    entry[6] = _BAUD_2400
    entry[8:28] = (b"METER %d" % (index + 1)).ljust(20, b"\0")
    return bytes(entry)


def next_read(entry: bytes, local_ms: int) -> int | None:
    """When a device's billing read comes up next after a local moment, by its entry in ET13; None: never."""
    day, hour, minute, frequency = entry[:4]
    at = min(hour, 23) * HOUR_MS + min(minute, 59) * MINUTE_MS
    midnight = local_ms - local_ms % DAY_MS
    if frequency == _HOURLY:
        due = local_ms - local_ms % HOUR_MS + at % HOUR_MS
        return due if due > local_ms else due + HOUR_MS
    if frequency not in (_DAILY, _WEEKLY, _MONTHLY) or (frequency == _WEEKLY and day == _NEVER_DAY):
        return None
    for ahead in range(63):
        due = midnight + ahead * DAY_MS + at
        t = utc_datetime(due)
        fits = (
            frequency == _DAILY
            or (frequency == _WEEKLY and t.isoweekday() % 7 == day - _FIRST_WEEKDAY)
            or (frequency == _MONTHLY and t.day == max(day, 1))
        )
        if fits and due > local_ms:
            return due
    return None
