"""Events in frames: entries of a meter's logs, each with what gives it its id."""

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError
from .bits import BitReader, BitWriter
from .model import Event, Timestamp
from .readings import get_fault, put_fault
from .stamps import checked, get_stamp, put_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence


# A user stands as 0 for not known, as 1, 2, 3 for 65535 (nobody), 65534, 65533, else as itself + 4.
_USUAL_USERS = const(65536)
_USERS = const(4)


def put_events(writer: BitWriter, events: "Sequence[Event]") -> None:
    time: Timestamp | None = None
    before: Event | None = None
    for event in events:
        put_stamp(writer, event.time, time)
        time = event.time
        writer.put_int(checked(event.code), 5)
        if before is None:
            writer.put_int(checked(event.sequence), 12)
        else:
            writer.put_int(checked(event.sequence) - before.sequence - 1, 1)
        usual = event.stamp == civil(time.seconds)
        writer.put(1 if usual else 0, 1)
        if not usual:
            writer.put_bytes(event.stamp, 2)
        writer.put_bytes(event.argument, 1)
        user = event.user
        if user is not None and not 0 <= user < _USUAL_USERS:
            raise FrameError("%d does not fit into a user's 16 bits" % user)
        writer.put_uint(0 if user is None else user + _USERS if user < 65533 else _USUAL_USERS - user, 1)
        writer.put_uint(len(event.faults), 0)
        for fault in event.faults:
            put_fault(writer, fault)
        before = event


def get_events(reader: BitReader, kind: int, count: int) -> "list[Event]":
    events: list[Event] = []
    time: Timestamp | None = None
    sequence = 0
    for i in range(count):
        time = get_stamp(reader, time)
        code = checked(reader.get_int(5))
        sequence = checked(sequence + 1 + reader.get_int(1) if i else reader.get_int(12))
        stamp = civil(time.seconds) if reader.get(1) else reader.get_bytes(2)
        if stamp is None:
            raise FrameError("an event's time has no year of two digits")
        argument = reader.get_bytes(1)
        code_of_user = reader.get_uint(1)
        if code_of_user > 65532 + _USERS:
            raise FrameError("an event's user does not fit into 16 bits")
        user = code_of_user - _USERS if code_of_user >= _USERS else _USUAL_USERS - code_of_user
        faults = []
        for _ in range(reader.get_uint(0)):
            faults.append(get_fault(reader))
        events.append(
            Event(kind, time, code, sequence, stamp, argument, faults, user if code_of_user else None)
        )
    return events


def civil(seconds: int) -> "bytes | None":
    """The UTC time as meters write it: year of the century, month, day, hour, minute, second (LTIME_DATE
    of the MEP guide). None outside the years 2000 to 2099."""
    days, rest = divmod(seconds - 951868800, 86400)  # since 1 March 2000
    if not 0 <= days + 60 < 36525:
        return None
    year = (4 * days + 3) // 1461
    day = days - 1461 * year // 4
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month += 3
    if month > 12:
        month -= 12
        year += 1
    return bytes((year, month, day + 1, rest // 3600, rest // 60 % 60, rest % 60))
