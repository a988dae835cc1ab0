"""The board's LED and button. They are for people, so their time is never scaled (gateway/clock.py)."""

from machine import Pin

from gateway._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from typing import Any

# How often `step` is called, and for how many of these steps the button has to be held: three seconds.
STEP_MS = const(250)
_HELD = const(12)

# What is shown: sixteen steps, the first in the highest bit; then again (docs/board.md).
WELL = const(0x8000)  # a short flash every four seconds
NO_METER = const(0xA000)  # two
NO_WIFI = const(0xA800)  # three
NO_BROKER = const(0xAA00)  # four
SET_UP = const(0xF0F0)  # a second on, a second off
SAFE_MODE = const(0xAAAA)  # fast
STARTING = const(0xFFFF)  # on


class Lamp:
    """`pins`: as Profile.pins; a board may lack either. `shows`: one of the patterns. `held`: somebody holds
    the button."""

    def __init__(self, pins: "dict[str, tuple[int, int]]") -> None:
        self.shows = STARTING
        self.held = False
        self._at = 0
        self._pressed = 0
        self._led: Any = None
        self._button: Any = None
        if "led" in pins:
            number, self._lit = pins["led"]
            self._led = Pin(number, Pin.OUT, value=self._lit)
        if "button" in pins:
            number, self._down = pins["button"]
            pull = Pin.PULL_DOWN if self._down else Pin.PULL_UP
            self._button = Pin(number, Pin.IN, pull)

    def step(self) -> None:
        if self._led is not None:
            on = self.shows >> (15 - self._at) & 1
            self._led.value(self._lit if on else 1 - self._lit)
            self._at = (self._at + 1) % 16
        if self._button is not None:
            self._pressed = self._pressed + 1 if self._button.value() == self._down else 0
            self.held = self._pressed >= _HELD
