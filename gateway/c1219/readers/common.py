"""What readers share."""

from ... import clock
from ...transmission.model import Timestamp, Value
from ...transmission.registry import fault_number
from ...transmission.registry import number as property_number


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
