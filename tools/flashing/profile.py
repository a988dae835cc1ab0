"""Board profiles: what micropython/boards/ says of each, with pins that the configuration may change."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from source_tree import ROOT

from gateway.errors import ConfigurationError

DIRECTORY = ROOT / "micropython/boards"

PINS = ("rx", "tx", "enable", "supply", "led", "button")
NEEDED = ("rx", "tx")

# What is wired to the flash chip or can only be read (ESP32 and ESP32-C3 datasheets, chapter "Pins").
_GPIO = {
    "esp32": frozenset(range(40)) - {6, 7, 8, 9, 10, 11, 20, 24, 28, 29, 30, 31},
    "esp32c3": frozenset(range(22)) - {11, 12, 13, 14, 15, 16, 17},
}
_INPUT_ONLY = {"esp32": frozenset(range(34, 40)), "esp32c3": frozenset[int]()}
_INPUTS = ("rx", "button")
# Of a password that is typed on a phone: nothing that looks like something else.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_PASSWORD = 10


@dataclass(frozen=True)
class Profile:
    """A board: `pins` by use as {"pin": GPIO, "active": level}, the level where there is one. `password`: of
    its access point while it is set up, another one for each board."""

    name: str
    title: str
    chip: str
    flash_mb: int
    uart: int
    pins: Mapping[str, Mapping[str, int]]
    note: str = field(default="")
    password: str = field(default="", repr=False)

    @property
    def flash_bytes(self) -> int:
        return self.flash_mb << 20

    def with_pins(self, changes: Mapping[str, tuple[int, int | None] | None]) -> Profile:
        """The profile with other pins: (GPIO, active level or None as it is) by use; None: there is none.
        Raises ConfigurationError with all that is wrong."""
        pins = {use: dict(pin) for use, pin in self.pins.items()}
        for use, change in changes.items():
            if change is None:
                pins.pop(use, None)
                continue
            number, level = change
            pin = {"pin": number}
            if use not in NEEDED:
                pin["active"] = pins.get(use, {}).get("active", 1) if level is None else level
            pins[use] = pin
        changed = Profile(
            self.name, self.title, self.chip, self.flash_mb, self.uart, pins, self.note, self.password
        )
        problems = changed.problems()
        if problems:
            raise ConfigurationError("\n".join(problems))
        return changed

    def problems(self) -> list[str]:
        found = [
            f"{self.name}: the meter's line needs the pin {use}" for use in NEEDED if use not in self.pins
        ]
        used: dict[int, str] = {}
        for use, pin in self.pins.items():
            number = pin["pin"]
            if number not in _GPIO[self.chip]:
                found.append(f"{self.name}: {use}: there is no GPIO {number} to use on an {self.chip}")
            elif use not in _INPUTS and number in _INPUT_ONLY[self.chip]:
                found.append(f"{self.name}: {use}: GPIO {number} of an {self.chip} can only be read")
            if number in used:
                found.append(f"{self.name}: {use}: GPIO {number} is {used[number]} already")
            used[number] = use
        return found

    def as_json(self) -> bytes:
        """What the board reads as /config/profile.json."""
        return json.dumps(
            {
                "name": self.name,
                "title": self.title,
                "chip": self.chip,
                "flash_mb": self.flash_mb,
                "uart": self.uart,
                "pins": {use: dict(pin) for use, pin in self.pins.items()},
                "setup": {"password": self.password},
            }
        ).encode()


def names() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def load(name: str) -> Profile:
    """Raises ConfigurationError, which names the boards that are known."""
    if name not in names():
        raise ConfigurationError(f"there is no board {name!r}; known are {', '.join(names())}")
    values = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    return Profile(**values, password="".join(secrets.choice(_LETTERS) for _ in range(_PASSWORD)))
