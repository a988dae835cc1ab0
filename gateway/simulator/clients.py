"""The MEP clients as meter and head-end know them: what they owe, what waits for them, their health.

MEP guide, chapter 2, "Alert Sequence", "MEP Client Health"; chapter 3, "Replacing a MEP Client Device";
chapter 4: ET13 to ET15, ET50, ET51, EP17, EP19.
"""

from typing import TYPE_CHECKING

from . import mbus
from .image import et

if TYPE_CHECKING:
    from .meter import VirtualMeter

# ET13.8: a scheduled read is due; a request waits in ET15.
SCHEDULED_READ = 1
ON_DEMAND = 1 << 1

# The first client's entry in ET13 and ET14, and its bit in masks of devices.
FIRST_SLOT = 4
_HANDLES = 1000
REQUESTS = frozenset([mbus.BILLING_READ, mbus.WRITE_DATA])

_ET50_RECORD = 35 + 6 * 6
_FLAGS = 30
_REGISTERED = 1
_ICONS = 31 + 6 * 6
_ET51_RECORD = 10
_MONITORED = 1 << 1
_RESET_NOW = 1 << 3
_DISABLED = 1 << 7

_ACTIVE = 3
_DOWN = 4
_FAILED_COMMUNICATION = 1 << 4
_NO_RESPONSE = 2
# EP19: the numbers of transactions that are the head-end's.
_HEAD_END = 0xFF00
_FAILED = 3


class _Client:
    """What ET14 tells of one client, and when it was last heard, in run time."""

    def __init__(self) -> None:
        self.installed = False
        self.alarms = 0
        self.heard_ms = 0


class Clients:
    def __init__(self, meter: "VirtualMeter", count: int) -> None:
        self._meter = meter
        self._all = [_Client() for _ in range(count)]
        # What the meter calls them: from 1000 on, and from 2000 on the second one.
        self.handles = [_HANDLES * (number + 1) for number in range(count)]
        # When each one's scheduled read is due, by the meter's clock.
        self.due: list[int | None] = [None] * count
        self._asked = 0

    def handle(self, number: int) -> int:
        return self.handles[number - 1]

    def number_of(self, handle: int) -> int | None:
        """Which client has this handle, if it is installed."""
        return next((number for number in self.installed if handle == self.handle(number)), None)

    def entries(self) -> list[bytes]:
        """Their entries of ET14."""
        return [self.status(number + 1) for number in range(len(self._all))]

    @property
    def installed(self) -> list[int]:
        return [number + 1 for number, client in enumerate(self._all) if client.installed]

    def _discover(self) -> None:
        """A client whose flag is set in ET50 is there. One that takes it back stays, and hears of nothing any
        more."""
        for number, client in enumerate(self._all):
            if self._flags(number + 1) & _REGISTERED and not client.installed:
                client.installed = True
                client.heard_ms = self._meter.life.now_ms
                self._meter.life.alarm("mep installed or removed")

    def written(self, _advanced: bool) -> bool:
        """ET50 was written."""
        self._discover()
        return True

    def configured(self, _advanced: bool) -> bool:
        """ET51 was written: a reset of a client is over at once."""
        table = et(51)
        for number in range(len(self._all)):
            flags = self._meter.image.read(table)[_ET51_RECORD * number]
            self._meter.image.write(table, _ET51_RECORD * number, bytes([flags & ~_RESET_NOW]))
        return True

    def remove(self, number: int) -> None:
        """EP17: nothing remains of a client but its data."""
        meter, at = self._meter, _ET50_RECORD * (number - 1)
        flags = self._flags(number) & ~_REGISTERED
        meter.image.write(et(50), at + _FLAGS, bytes([flags]))
        meter.image.write(et(50), at + _ICONS, bytes(2))
        self._all[number - 1] = _Client()
        for request in meter.life.bus.requests:
            if request and request.handle == self.handle(number) and not request.result:
                request.result = _FAILED
        meter.ports[number - 1].raise_alert(0)
        meter.life.alarm("mep installed or removed")

    def disabled(self, number: int) -> bool:
        """ET51: the meter has nothing to do with MEP clients."""
        return bool(self._settings(number)[0] & _DISABLED)

    # Health.

    def heard(self, number: int) -> None:
        """A request passed all tests."""
        self._all[number - 1].heard_ms = self._meter.life.now_ms

    def check(self) -> None:
        """Take notice of clients that have come, and of those that have been silent for too long."""
        self._discover()
        life = self._meter.life
        for number in self.installed:
            client = self._all[number - 1]
            late = client.heard_ms + self._patience_ms(number)
            if life.now_ms > late and not client.alarms & _FAILED_COMMUNICATION:
                client.alarms |= _FAILED_COMMUNICATION
                stamp = self._meter.world.clock_at(late)
                life.bus.changed(FIRST_SLOT + number - 1, self.handle(number), client.alarms, 0, stamp)
                life.alarm("m-bus alarm", stamp=stamp)

    def status(self, number: int) -> bytes:
        client = self._all[number - 1]
        entry = bytearray(mbus.STATUS_BYTES)
        if client.installed:
            baud = self._meter.image.read(et(13))[(FIRST_SLOT + number - 1) * mbus.CONFIG_BYTES + 6]
            down = self._meter.life.now_ms > client.heard_ms + self._patience_ms(number)
            entry[:4] = self.handle(number).to_bytes(2, "little") + bytes([_DOWN if down else _ACTIVE, baud])
            entry[14:16] = client.alarms.to_bytes(2, "little")
        return bytes(entry)

    def _patience_ms(self, number: int) -> int:
        settings = self._settings(number)
        return 1000 * int.from_bytes(settings[1:3], "little") if settings[0] & _MONITORED else 1 << 62

    # What the head-end wants.

    def schedule(self, clock: int, local_ms: int) -> None:
        """Work out when scheduled reads are due next (ET13)."""
        held = self._meter.image.read(et(13))
        for number in range(len(self._all)):
            at = (FIRST_SLOT + number) * mbus.CONFIG_BYTES
            due = mbus.next_read(held[at : at + 4], local_ms)
            self.due[number] = None if due is None else clock + due - local_ms

    def reads_due(self, clock: int) -> None:
        """Tell the clients whose scheduled reads are due."""
        for number, due in enumerate(self.due):
            if due is not None and due <= clock:
                self._meter.ports[number].add_alert(SCHEDULED_READ)

    def set_schedule(self, number: int, frequency: int, hour: int, minute: int, day: int) -> None:
        """The head-end wants a client's data now and then; what was due under the old schedule is not any
        more."""
        at = (FIRST_SLOT + number - 1) * mbus.CONFIG_BYTES
        self._meter.image.write(et(13), at, bytes([day, hour, minute, frequency]))
        self._meter.ports[number - 1].clear_alert(SCHEDULED_READ)
        self._meter.life.schedule()

    def ask(self, number: int, data: bytes) -> None:
        """The head-end wants a billing read of a client, or has data for it."""
        if number in self.installed:
            self._asked = (self._asked + 1) & 0xFF
            kind = mbus.WRITE_DATA if data else mbus.BILLING_READ
            self.request(number, _HEAD_END | self._asked, kind, data)

    def request(self, number: int, transaction: int, kind: int, data: bytes = b"") -> int | None:
        """Post a request to a client; gives its place in ET15, or None when all are waiting."""
        life = self._meter.life
        place = life.bus.post(transaction, self.handle(number), kind, data)
        if place is None:
            return None
        posted = life.bus.requests[place]
        port = self._meter.ports[number - 1]
        port.add_alert(ON_DEMAND)

        def expire(_run_ms: int) -> None:
            if posted is not None and not posted.result:
                posted.result = _NO_RESPONSE
            waiting = [r for r in life.bus.requests if r and not r.result and r.handle == self.handle(number)]
            if not waiting:
                port.clear_alert(ON_DEMAND)

        life.plan(life.now_ms + 1000 * self._settings(number)[3], expire)
        return place

    def _flags(self, number: int) -> int:
        return self._meter.image.read(et(50))[_ET50_RECORD * (number - 1) + _FLAGS]

    def _settings(self, number: int) -> bytes:
        """The client's record of ET51."""
        at = _ET51_RECORD * (number - 1)
        return self._meter.image.read(et(51))[at : at + _ET51_RECORD]


def unscheduled(devices: int) -> list[tuple[int, bytes]]:
    """Where and what to write into ET13 so that no client is asked for anything."""
    never = bytes([0, 0, 0, mbus.NEVER])
    return [(index * mbus.CONFIG_BYTES, never) for index in range(FIRST_SLOT, devices)]
