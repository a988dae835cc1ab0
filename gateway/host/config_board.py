"""The part of the configuration that only a board has: Wi-Fi, clock, page and pins, for tools/flash.py."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from .config_fields import SecretFile, Section
from .secret_files import find_secret

_LAST_GPIO = 48
_PUBLIC_KEY = re.compile(r"[0-9a-fA-F]{64}")


def _pin(value: object) -> tuple[int, int | None] | None:
    """(GPIO, active level or None as the board's profile says) of 16, { pin = 5, active = 0 } or "none"."""
    if value == "none":
        return None
    given = value if isinstance(value, dict) else {"pin": value}
    number, level = given.get("pin"), given.get("active")
    if (
        not set(given) <= {"pin", "active"}
        or type(number) is not int
        or not 0 <= number <= _LAST_GPIO
        or not (level is None or (type(level) is int and level in (0, 1)))
    ):
        raise ValueError('must be the number of a GPIO, { pin = GPIO, active = 0 or 1 }, or "none"')
    return number, level


def _address(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError('must be an address such as "192.168.1.20"') from None


Pin = Annotated[
    tuple[int, int | None] | None,
    BeforeValidator(_pin),
    WithJsonSchema({"type": ["integer", "object", "string"]}),
]
Address = Annotated[str, AfterValidator(_address)]


def _keys_file(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be the path of a file, in quotes")
    path = find_secret(value, Path(info.context["base"]) if info.context else Path())
    try:
        keys = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: can't be read: {error}") from None
    if not keys or not all(_PUBLIC_KEY.fullmatch(key) for key in keys):
        raise ValueError(f"{path}: must hold public keys of 64 hex digits, one a line")
    return path


KeysFile = Annotated[Path, BeforeValidator(_keys_file), WithJsonSchema({"type": "string"})]


class PinsSection(Section):
    """Where a board differs from its profile: GPIO, { pin = GPIO, active = 0 or 1 }, or "none"."""

    rx: Pin = Field(default=None, description="line from the meter")
    tx: Pin = Field(default=None, description="line to the meter")
    enable: Pin = Field(default=None, description="ENABLE of the MEP port")
    supply: Pin = Field(default=None, description="supply of an RS-232 converter")
    led: Pin = Field(default=None, description="status LED")
    button: Pin = Field(default=None, description="button for set-up")

    def changes(self) -> dict[str, tuple[int, int | None] | None]:
        """What the file says, by use; None: the board has no such pin."""
        return {use: getattr(self, use) for use in sorted(self.model_fields_set)}


class BoardSection(Section):
    """What only a board has. On Linux it is checked, and means nothing."""

    wifi_ssid: str | None = Field(
        default=None, min_length=1, max_length=32, description="name of the Wi-Fi network"
    )
    wifi_password_file: SecretFile | None = Field(
        default=None, description="file with its password; without one the network is open"
    )
    country: str | None = Field(
        default=None, pattern="^[A-Z]{2}$", description="where the board stands, for its radio, as in DK"
    )
    hostname: str = Field(
        default="osgp-gateway", pattern="^[A-Za-z0-9-]{1,32}$", description="its name in the network"
    )
    address: Address | None = Field(default=None, description="its address; default: the network gives one")
    netmask: Address = Field(default="255.255.255.0", description="for address")
    gateway: Address | None = Field(default=None, description="the network's router, for address")
    dns: Address | None = Field(default=None, description="who resolves names; default: the router")
    ntp: str = Field(default="pool.ntp.org", min_length=1, description="server for the time of day")
    home_assistant: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        description="prefix of Home Assistant's discovery, as in homeassistant; without it there is none",
    )
    page_password_file: SecretFile | None = Field(
        default=None, description="file with the password of the board's page"
    )
    update_keys_file: KeysFile | None = Field(
        default=None, description="file with the public keys whose updates over the air the board takes"
    )
    pins: PinsSection = PinsSection()
