"""What the values of the gateway's configuration look like: types of fields, and their parsing.

Each parser raises ValueError with words that can stand behind the field's name.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema

from ..errors import ConfigurationError
from .links import parse_port, split_address
from .meter_access import read_key, read_password
from .secret_files import find_secret, read_secret
from .tls import tls_context

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+)\s*(ms|s|min|h|d)")
_LONGEST_MS = 366 * 86_400_000
_TIMES_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
# One level of an MQTT topic (MQTT 3.1.1, 4.7), and readable in logs and file names.
_TOPIC_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

# Where in the file, and why.
Finding = tuple[tuple[str | int, ...], str]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def parse_duration(text: object) -> int:
    """Milliseconds of "10s", "15min", "1h"; 0 for "off"."""
    if text == "off":
        return 0
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError('must be a duration in quotes, such as "10s", "15min" or "1h", or "off"')
    value = int(match[1]) * _UNITS_MS[match[2]]
    if not 0 < value <= _LONGEST_MS:
        raise ValueError('must be between "1ms" and "366d", or "off"')
    return value


def duration_text(ms: int) -> str:
    """The duration as a person would write it into the file."""
    for unit, size in reversed(_UNITS_MS.items()):
        if ms % size == 0:
            return f"{ms // size}{unit}"
    raise AssertionError("every duration is a number of milliseconds")


def _profile_interval(value: object) -> int | None:
    return None if value == "auto" else _interval(parse_duration(value))


def _times_of_day(value: object) -> tuple[int, int]:
    """(begin, end) of "02:00-03:30", in seconds since midnight."""
    match = _TIMES_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError('must be two times of day (UTC) in quotes, such as "02:00-03:30"')
    hours = [int(part) for part in match.groups()]
    begin, end = hours[0] * 3600 + hours[1] * 60, hours[2] * 3600 + hours[3] * 60
    if begin == end:
        raise ValueError("must end at another time of day than it begins")
    return begin, end


def _interval(value: int) -> int:
    if 0 < value < 1000:
        raise ValueError('must be at least "1s": a meter answers few requests a second')
    return value


def _port(text: str) -> str:
    return str(_reason(parse_port, text))


def _reason(function: Callable[..., Any], *arguments: object) -> Any:
    """pydantic collects ValueError only; our own errors keep their words."""
    try:
        return function(*arguments)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _base(info: ValidationInfo) -> Path:
    return Path(info.context["base"]) if info.context else Path()


def _secret_file(value: object, info: ValidationInfo) -> Path:
    path = find_secret(_path_text(value), _base(info))
    _reason(read_secret, path)
    return path


def _key_file(value: object, info: ValidationInfo) -> Path:
    path = _secret_file(value, info)
    _reason(read_key, path)
    return path


def _password_file(value: object, info: ValidationInfo) -> Path:
    path = _secret_file(value, info)
    _reason(read_password, path)
    return path


def _ca_file(value: object, info: ValidationInfo) -> Path:
    path = _base(info) / Path(_path_text(value)).expanduser()
    _reason(tls_context, path)
    return path


def _state_dir(value: object, info: ValidationInfo) -> Path:
    return _base(info) / Path(_path_text(value)).expanduser()


def _path_text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be the path of a file, in quotes")
    return value


def _topic_level(value: str) -> str:
    if not _TOPIC_LEVEL.fullmatch(value):
        raise ValueError(
            "must be 1 to 64 letters, digits, points, hyphens or underscores (it becomes part of topics)"
        )
    return value


def _meter_id(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError(
            "is no UUID (as in 01234567-89ab-cdef-0123-456789abcdef); without it the id follows from the "
            "meter's manufacturer and serial number"
        ) from None


def _broker_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"can't be read: {error}") from None
    if parts.scheme not in ("mqtt", "mqtts"):
        raise ValueError(
            "must start with mqtts:// (with TLS) or mqtt:// (plain), as in mqtts://broker.example:8883"
        )
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password: use username and password_file")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or port == 0:
        raise ValueError("must be scheme, host and port only, as in mqtts://broker.example:8883")
    return value


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _loopback_address(value: str) -> str:
    try:
        host, _ = split_address(value, "the address")
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    if not is_loopback(host):
        raise ValueError(
            f"must be an address of this machine alone, as 127.0.0.1:9466, not {host}: metrics go without "
            "encryption and password. For others, put a reverse proxy before it"
        )
    return value


Duration = Annotated[
    int, BeforeValidator(parse_duration), AfterValidator(_interval), WithJsonSchema({"type": "string"})
]
ProfileInterval = Annotated[
    int | None, BeforeValidator(_profile_interval), WithJsonSchema({"type": "string"})
]
TimesOfDay = Annotated[tuple[int, int], BeforeValidator(_times_of_day), WithJsonSchema({"type": "string"})]
SecretFile = Annotated[Path, BeforeValidator(_secret_file), WithJsonSchema({"type": "string"})]
KeyFile = Annotated[Path, BeforeValidator(_key_file), WithJsonSchema({"type": "string"})]
PasswordFile = Annotated[Path, BeforeValidator(_password_file), WithJsonSchema({"type": "string"})]
CaFile = Annotated[Path, BeforeValidator(_ca_file), WithJsonSchema({"type": "string"})]
TopicLevel = Annotated[str, AfterValidator(_topic_level)]
MeterId = Annotated[str, AfterValidator(_meter_id)]
Port = Annotated[str, AfterValidator(_port)]
LoopbackAddress = Annotated[str, AfterValidator(_loopback_address)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
StateDir = Annotated[Path, BeforeValidator(_state_dir), WithJsonSchema({"type": "string"})]


def host_name() -> str:
    """The host's name as one level of a topic."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64].strip("-.")
    return name or "gateway"
