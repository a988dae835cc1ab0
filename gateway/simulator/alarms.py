"""The meter's alarms: bits of BT03 that stay set until someone clears them (optical guide, BT03)."""

from dataclasses import dataclass

from .events import MANUFACTURER, REVERSE, TAMPER
from .generations import Generation

# Name, byte and bit of BT03, firmware it came with.
_ALARMS = {
    "clock error": (1, 6, (2, 0)),
    "measurement error": (1, 7, (2, 0)),
    "low battery": (2, 0, (2, 0)),
    "power failure": (2, 3, (2, 0)),
    "cover removed": (2, 4, (2, 0)),
    "reverse energy": (2, 5, (2, 0)),
    "load profile overflow": (4, 0, (2, 0)),
    "self-read occurred": (4, 1, (2, 0)),
    "phase loss": (4, 4, (2, 0)),
    "phase inversion": (4, 5, (2, 0)),
    "general error": (4, 7, (2, 0)),
    "invalid password": (5, 0, (2, 0)),
    "current on missing phase": (5, 2, (2, 0)),
    "mep installed or removed": (6, 0, (2, 10)),
    "m-bus alarm": (6, 1, (2, 10)),
    "event log overflow pending": (6, 6, (2, 12)),
    "manufacturer log entry": (6, 7, (2, 12)),
    "dimension change": (7, 0, (2, 12)),
    "magnetic tamper": (7, 1, (2, 12)),
    "power quality": (7, 3, (2, 12)),
    "event log unread": (7, 4, (2, 12)),
    "load profile unread": (7, 6, (3, 10)),
    "unbalanced voltage": (8, 0, (3, 60)),
}

# The events of those that have a standard number (ANSI C12.19).
_STANDARD_EVENTS = {
    "clock error": 42,
    "measurement error": 43,
    "low battery": 44,
    "cover removed": TAMPER,
    "reverse energy": REVERSE,
}
# What other events tell already.
_SILENT = frozenset(
    [
        "power failure",
        "load profile overflow",
        "self-read occurred",
        "manufacturer log entry",
        "event log unread",
        "event log overflow pending",
        "load profile unread",
    ]
)
_FIRST_MANUFACTURER_BYTE = 4


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm was set or cleared at `stamp`, the meter's UTC."""

    name: str
    byte: int
    bit: int
    is_set: bool
    stamp: int


class Alarms:
    def __init__(self, g: Generation) -> None:
        self._size = 4 + g.alarm_bytes
        self._places = {
            name: (byte, bit) for name, (byte, bit, since) in _ALARMS.items() if g.number >= since
        }
        self._set: set[str] = set()
        self.history: list[Change] = []

    @property
    def names(self) -> list[str]:
        """The alarms this firmware knows."""
        return list(self._places)

    def change(self, name: str, is_set: bool, stamp: int) -> bool:
        """Set or clear one; False when it is so already, or when the firmware does not know it. Raises
        ValueError for what is no alarm at all."""
        check_name(name)
        if name not in self._places or (name in self._set) == is_set:
            return False
        if is_set:
            self._set.add(name)
        else:
            self._set.remove(name)
        self.history.append(Change(name, *self._places[name], is_set, stamp))
        return True

    def bt03(self) -> bytes:
        out = bytearray(self._size)
        out[0] = 1  # metering mode
        for name in self._set:
            byte, bit = self._places[name]
            out[byte] |= 1 << bit
        return bytes(out)


def check_name(name: object) -> None:
    """Raises ValueError for what is no alarm at all."""
    if name not in _ALARMS:
        raise ValueError("no alarm is called %r; there are: %s" % (name, ", ".join(_ALARMS)))


def event_of(name: str) -> int | None:
    """The event that tells of an alarm, if any."""
    if name in _SILENT:
        return None
    byte, bit, _ = _ALARMS[name]
    return _STANDARD_EVENTS.get(name, MANUFACTURER + 8 * (byte - _FIRST_MANUFACTURER_BYTE) + bit)
