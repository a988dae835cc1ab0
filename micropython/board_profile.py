"""The board's pins: /config/profile.json, which tools/flash.py chose from micropython/boards/."""

import json

from gateway._compat import TYPE_CHECKING
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Any

PATH = "config/profile.json"
_PINS = ("rx", "tx", "enable", "supply", "led", "button")
_LAST_PIN = 48


class Profile:
    """`uart`: the number of the line to the meter. `pins`: by name ("rx", "tx", "enable", "supply" of an
    RS-232 converter, "led", "button") GPIO number and active level; those that a board lacks are missing.

    `own`: the configuration's "board", which goes before the profile. Raises ConfigurationError.
    """

    def __init__(self, own: "dict[str, Any]", path: str = PATH) -> None:
        try:
            with open(path) as file:
                given = json.load(file)
        except OSError:
            given = {}  # only the configuration says it
        except ValueError:
            raise ConfigurationError("%s: is no valid JSON; flash the board anew" % path) from None
        pins = dict(given.get("pins", {}))
        pins.update(own.get("pins", {}))
        self.uart = own.get("uart", given.get("uart", 1))
        self.pins: dict[str, tuple[int, int]] = {}
        for name in own:
            if name not in ("uart", "pins"):
                raise ConfigurationError("board.%s: there is no such field" % name)
        for name, pin in pins.items():
            if name not in _PINS:
                raise ConfigurationError(
                    "board.pins.%s: there is no such pin; there are %s" % (name, ", ".join(_PINS))
                )
            if pin is None:
                continue  # the profile has it, this board has not
            number, active = (pin.get("pin"), pin.get("active", 1)) if isinstance(pin, dict) else (None, 1)
            if (
                not isinstance(number, int)
                or isinstance(number, bool)
                or not 0 <= number <= _LAST_PIN
                or active not in (0, 1)
            ):
                raise ConfigurationError('board.pins.%s: takes {"pin": GPIO number, "active": 0 or 1}' % name)
            self.pins[name] = number, active
        if not isinstance(self.uart, int) or not 0 <= self.uart < 3:
            raise ConfigurationError("board.uart: takes 0 to 2")
        if not ("rx" in self.pins and "tx" in self.pins):
            raise ConfigurationError(
                "board.pins: rx and tx have to be given: %s names no pins of the line to the meter" % path
            )
