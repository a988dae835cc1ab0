"""Alarms of a meter that keeps BT03 to itself, from its event logs: entries that tell of an alarm.

Which these are follows from the numbers that ANSI C12.19 gives its standard events, each of which is about
a standard bit of BT03; the numbers of the manufacturer's events are in no guide, so what they are about
can't be told. Time, number and stamp of such an alarm are the entry's. Events that tell that an alarm is
over are few: after the others it stays set, whatever becomes of it.
"""

from ..._compat import TYPE_CHECKING
from ...errors import Refused
from ...transmission.model import ALARM, Event
from .common import Step
from .events import entries

if TYPE_CHECKING:
    from ..tables import Tables

_NOT_HERE = (3, 4, 5)

# Event, bit of BT03, whether set.
_ABOUT = (
    b"\x01\x13\x01\x02\x13\x00"  # power down, up: Power Failure
    b"\x20\x01\x01\x21\x01\x00"  # Test Mode
    b"\x22\x02\x01\x23\x02\x00"  # Meter Shop Mode
    b"\x25\x09\x01"  # Configuration Error
    b"\x27\x0b\x01\x28\x0c\x01\x29\x0d\x01"  # RAM, ROM, Non-volatile Memory Failure
    b"\x2a\x0e\x01\x2b\x0f\x01"  # Clock, Measurement Error
    b"\x2c\x10\x01\x2d\x11\x01\x2e\x12\x01"  # Low Battery, Low Loss Potential, Demand Overload
    b"\x2f\x14\x01\x30\x15\x01"  # tamper attempt: Cover Removed; reverse rotation: Reverse Energy
)


async def read_logged(tables: "Tables", cursor: bytes) -> Step:
    """The alarms that the entries behind the cursor tell of; none where the meter has no logs for us."""
    memo = tables.memo
    if memo.get("no_event_logs"):
        return Step([], cursor)
    try:
        step = await entries(tables, cursor)
    except Refused as refusal:
        if refusal.code not in _NOT_HERE:
            raise
        memo["no_event_logs"] = True
        return Step([], cursor)
    alarms = []
    for event in step.items:
        assert isinstance(event, Event)
        for i in range(0, len(_ABOUT), 3):
            if _ABOUT[i] == event.code:
                state = _ABOUT[i + 2 : i + 3]
                alarms.append(
                    Event(ALARM, event.time, _ABOUT[i + 1], event.sequence, event.stamp, state, event.faults)
                )
    return Step(alarms, step.cursor, step.more)
