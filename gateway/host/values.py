"""Values and instants as people and JSON see them; never through a float."""

from __future__ import annotations

from ..transmission.event_names import alarm_name, event_name, is_manufacturers
from ..transmission.model import ALARM, Event, Timestamp, Value
from ..transmission.platform_json import format_number, format_time
from ..transmission.registry_descriptions import description


def meaning(prop: int | str) -> str:
    """What the property is, in words; empty for one that the registry does not know."""
    return description(prop) if isinstance(prop, int) else ""


def value_text(value: Value) -> str:
    """The text, or the number with exactly the digits that the exponent says: 22940e-2 is "229.40"."""
    if value.mantissa is None:
        return value.text or ""
    if value.exponent > 0:
        return str(value.mantissa * 10**value.exponent)
    return format_number(value.mantissa, value.exponent)


def utc_text(utc_ms: int) -> str:
    """Milliseconds since 1970 as 2026-11-22T13:54:28.123Z."""
    return format_time(Timestamp(utc_ms // 1000, f"{utc_ms % 1000:03d}"))


def event_text(event: Event) -> str:
    """What happened, in words; empty for a code that only the meter's documentation names."""
    if event.kind == ALARM:
        change = "set" if event.argument == b"\x01" else "cleared"
        return f"{alarm_name(event.code)} {change}".lstrip()
    return event_name(event.code) or ("manufacturer's event" if is_manufacturers(event.code) else "")
