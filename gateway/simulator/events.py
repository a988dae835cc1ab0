"""The event logs: which events there are, which log they go to, one sequence of numbers for both.

MEP guide, chapter 4: BT74, ET79; optical guide: BT70, BT71. The numbers of standard events are those of ANSI
C12.19, table of history and event log codes. The guides do not number the manufacturer's: here they are 2048
and the place of the alarm they belong to.
"""

from dataclasses import dataclass

from .calendar import long_date
from .generations import Generation
from .rings import HISTORY, Ring

POWER_DOWN = 1
POWER_UP = 2
OLD_TIME = 3
NEW_TIME = 4
PROCEDURE_INVOKED = 9
LOG_CLEARED = 16
DEMAND_RESET = 20
SELF_READ = 21
DST_ON = 22
DST_OFF = 23
SEASON_CHANGED = 24
TAMPER = 47
REVERSE = 48
MANUFACTURER = 2048
# "Alternate Event Log Cleared"; its number is not in the guides.
ALTERNATE_LOG_CLEARED = MANUFACTURER + 150

NO_USER = 0xFFFF
CONCENTRATOR = 0xFFFE
MEP_CLIENT = 0xFFFD

_ENTRY_BYTES = 12 + 2
_STANDARD_BYTES = 8
_MANUFACTURER_BYTES = 19

# What the alternate log takes: these alone, and these too.
_ALTERNATE_ONLY = frozenset([DST_ON, DST_OFF, SEASON_CHANGED, PROCEDURE_INVOKED, ALTERNATE_LOG_CLEARED])
_BOTH = frozenset([OLD_TIME, NEW_TIME, TAMPER])


@dataclass(frozen=True, slots=True)
class Event:
    """`stamp` is the meter's UTC; `logs` are the tables it was written to."""

    sequence: int
    stamp: int
    code: int
    argument: bytes
    user: int
    logs: tuple[str, ...]


class EventLogs:
    """`sequence` is the number of the last event before this life."""

    def __init__(self, g: Generation, sequence: int) -> None:
        self._never_resets = g.number >= (3, 70)
        self.sequence = sequence
        self.logs = {"BT74": Ring(g.events, _ENTRY_BYTES, HISTORY, sequence)}
        if g.number >= (3, 70):
            self.logs["ET79"] = Ring(g.alternate_events, _ENTRY_BYTES, HISTORY, sequence)
        self.history: list[Event] = []
        self.resets: list[tuple[str, int]] = []

    def log(self, stamp: int, code: int, argument: int = 0, user: int = NO_USER) -> None:
        """Write an event to the logs that take it."""
        alternate = self.logs.get("ET79")
        has_alternate = alternate is not None and alternate.capacity > 0
        names = []
        if not has_alternate or code not in _ALTERNATE_ONLY:
            names.append("BT74")
        if has_alternate and code in _ALTERNATE_ONLY | _BOTH:
            names.append("ET79")
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        event = Event(self.sequence, stamp, code, argument.to_bytes(2, "little"), user, tuple(names))
        self.history.append(event)
        entry = long_date(stamp) + (event.sequence & 0xFFFF).to_bytes(2, "little")
        entry += user.to_bytes(2, "little") + code.to_bytes(2, "little") + event.argument
        for name in names:
            self.logs[name].append(entry, event, event.sequence)

    def clear(self, name: str, stamp: int) -> None:
        """Someone resets a log; that is the first event in it."""
        ring = self.logs[name]
        ring.clear()
        self.resets.append((name, stamp))
        if not self._never_resets:
            self.sequence = ring.sequence = 0
        self.log(stamp, LOG_CLEARED if name == "BT74" else ALTERNATE_LOG_CLEARED)


def bt70(g: Generation) -> bytes:
    """The most the logs can have; the alternate one is not in it. Before 2.12 it is where one looks for the
    dimensions in use (optical guide, "Reading the Event Log"): there the log has just that room."""
    return _dimensions(max(g.events, 200) if g.number >= (2, 12) else g.events, g)


def bt71(g: Generation) -> bytes:
    return _dimensions(g.events, g)


def _dimensions(entries: int, g: Generation) -> bytes:
    # Date, time and sequence number in each entry; two bytes of argument.
    manufacturer = _MANUFACTURER_BYTES if g.number >= (3, 0) else 10
    head = bytes([0b110, _STANDARD_BYTES, manufacturer, 2, 2])
    return head + entries.to_bytes(2, "little") + bytes(2)
