"""Live values for people and home automation: JSON, best effort. The record is the frames."""

from .._compat import TYPE_CHECKING
from . import registry, topics
from .model import KIND_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .model import Value


def live_topic(meter: bytes, kind: int, concentrator: "str | None") -> str:
    """Where the newest values of a kind stand, retained, best effort."""
    return topics.topic(meter, "live-" + KIND_NAMES[kind], concentrator)


def live(values: "Iterable[Value]", time_s: int) -> bytes:
    """JSON: "time" (seconds, UTC) and by property its number as a decimal, in the registry's unit."""
    text = ['{"time": %d' % time_s]
    for value in values:
        name = registry.name(value.prop) if isinstance(value.prop, int) else None
        if name and value.mantissa is not None:
            text.append('"%s": %s' % (name, decimal(value.mantissa, value.exponent)))
    return (", ".join(text) + "}").encode()


def decimal(mantissa: int, exponent: int) -> str:
    """The number, exactly."""
    if exponent >= 0:
        return str(mantissa * 10**exponent)
    digits = str(abs(mantissa))
    digits = "0" * (1 - exponent - len(digits)) + digits
    return "%s%s.%s" % ("-" if mantissa < 0 else "", digits[:exponent], digits[exponent:])
