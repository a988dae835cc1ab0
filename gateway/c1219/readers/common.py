"""What readers share."""

from ... import clock
from ..._compat import TYPE_CHECKING
from ...transmission.model import Timestamp, Value
from ...transmission.registry import fault_number
from ...transmission.registry import number as property_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...transmission.model import Event, Reading, Series


def now() -> Timestamp:
    """The gateway's clock, whole seconds."""
    return Timestamp(clock.utc_ms() // 1000)


def prop(name: str) -> "int | str":
    """The registry's number of a property, or its name where the registry lacks it."""
    number = property_number(name)
    return name if number is None else number


def fault(name: str) -> "int | str":
    """The registry's number of a fault code, or its text where the registry lacks it."""
    number = fault_number(name)
    return name if number is None else number


def text_value(name: str, text: str) -> Value:
    return Value(prop(name), None, text=text)


class Step:
    """What one call of a reader with a cursor brought.

    `items`: model objects, oldest first, at most one frame's worth; `cursor`: what to give the next call
    once the items are in the outbox; `more`: whether there is more to read right now; `interval_s`: how
    many seconds apart the meter stores such items, the least where it has several rhythms (a load
    profile's interval length), None where it has none or it is not known.
    """

    def __init__(
        self,
        items: "Sequence[Reading | Series | Event]",
        cursor: bytes,
        more: bool = False,
        interval_s: "int | None" = None,
    ) -> None:
        self.items = items
        self.cursor = cursor
        self.more = more
        self.interval_s = interval_s
