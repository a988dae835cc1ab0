"""What the board's firmware runs first: puts the application that is to run on the module path."""

import sys

import machine

try:
    # An ESP32 starts at 160 MHz (MicroPython, docs/esp32/quickref.rst).
    machine.freq(240000000)
except ValueError:
    pass  # an ESP32-C3 starts at the most it can do
try:
    import slots

    slots.choose()
except Exception as error:
    # Raised from here, it would keep the firmware from running main.py, which starts the board anew.
    sys.print_exception(error)  # type: ignore[attr-defined]
