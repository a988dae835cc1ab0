"""Values and instants as people and JSON see them; never through a float."""

from __future__ import annotations

import datetime

from ..transmission import registry
from ..transmission.model import Timestamp, Value


def property_name(prop: int | str) -> str:
    if isinstance(prop, str):
        return prop
    return registry.name(prop) or f"property {prop}"


def meaning(prop: int | str) -> str:
    """What the property is, in words; empty for one that the registry does not know."""
    from ..transmission.registry_descriptions import description

    return description(prop) if isinstance(prop, int) else ""


def value_text(value: Value) -> str:
    """The text, or the number with exactly the digits that the exponent says: 22940e-2 is "229.40"."""
    if value.mantissa is None:
        return value.text or ""
    if value.exponent >= 0:
        return str(value.mantissa) + "0" * value.exponent if value.mantissa else "0"
    digits = str(abs(value.mantissa)).rjust(1 - value.exponent, "0")
    sign = "-" if value.mantissa < 0 else ""
    return f"{sign}{digits[: value.exponent]}.{digits[value.exponent :]}"


def instant_text(time: Timestamp) -> str:
    """RFC 3339, with offset and fraction as the source gave them."""
    local = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=time.seconds, minutes=time.offset or 0)
    text = f"{local:%Y-%m-%dT%H:%M:%S}" + (f".{time.fraction}" if time.fraction else "")
    if time.offset is None:
        return text + "Z"
    hours, minutes = divmod(abs(time.offset), 60)
    return f"{text}{'-' if time.offset < 0 else '+'}{hours:02d}:{minutes:02d}"


def utc_text(utc_ms: int) -> str:
    """Milliseconds since 1970 as 2026-11-22T13:54:28.123Z."""
    return instant_text(Timestamp(utc_ms // 1000, f"{utc_ms % 1000:03d}"))
