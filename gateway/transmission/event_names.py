"""What the codes of events and alarms mean, in words. CPython only; frames carry the codes alone."""

import json
from functools import cache
from pathlib import Path

_MANUFACTURER = 2048  # codes of the manufacturer's own events, from here on
_SLOT = 256  # alarm codes of the device in slot 1, 2...


@cache
def _data() -> dict[str, dict[str, str]]:
    data: dict[str, dict[str, str]] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
    return data


def event_name(code: int) -> str:
    """What an entry of an event log tells of; "" where only the meter's own documentation knows."""
    return _data()["events"].get(str(code), "")


def is_manufacturers(code: int) -> bool:
    """Whether the meter's manufacturer defined the event."""
    return code >= _MANUFACTURER


def alarm_name(code: int) -> str:
    """What an alarm is called; "" for a bit that the guides leave open."""
    if code < _SLOT:
        return _data()["alarms"].get(str(code), "")
    name = _data()["devices"].get(str(code % _SLOT), "")
    return f"Device {code // _SLOT}: {name}" if name else ""
