"""Stands in for MicroPython's `machine` of the ESP32 port, as far as the application uses it.

A board has all this in its firmware, so it is to take little of the heap here: what is needed now and then is
in machine_seldom.py, which is loaded for that and forgotten.
"""

import errno
import io
import sys

import world

from micropython import const

_POLL = const(3)
_GET_FILENO = const(10)

timers = {}  # those that run, by number


def __getattr__(name):
    import machine_seldom

    sys.modules.pop("machine_seldom")
    return getattr(machine_seldom, name)


class Pin:
    IN = 1
    OUT = 3
    PULL_DOWN = 1
    PULL_UP = 2

    def __init__(self, number, mode=-1, pull=-1, value=None):
        if not isinstance(number, int) or not 0 <= number < 49:
            raise ValueError("invalid pin")
        self._number = number
        self._idle = 1 if pull == Pin.PULL_UP else 0
        self._mode = mode
        self._level = None
        if value is not None or mode == Pin.OUT:
            self.value(value or 0)

    def value(self, level=None):
        world.look()
        if level is None:
            if self._mode == Pin.OUT:
                return self._level
            return int(world.read("pin.%d" % self._number, b"%d" % self._idle))
        level = 1 if level else 0
        if level != self._level:
            self._level = level
            world.write("level.%d" % self._number, b"%d" % level)
            world.record("pin %d %d" % (self._number, level))
        return None


class UART(io.IOBase):
    """At the terminal that OSGP_UART names. A line that is not there is silent, as a real one is."""

    def __init__(self, number, baudrate=115200, **settings):
        if not 0 <= number < 3:
            raise ValueError("UART(%d) does not exist" % number)
        self.number = number
        self.file = None
        self.silence = None
        self.init(baudrate, **settings)

    def init(self, *rate, **settings):
        __getattr__("set_up")(self, *rate, **settings)

    def deinit(self):
        __getattr__("turn_off")(self)

    def _lose(self):
        __getattr__("lose")(self)

    def readinto(self, target, *_):
        if self.file is None:
            return None
        try:
            count = self.file.readinto(target)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            count = 0
        if count == 0:
            self._lose()
        return count or None

    def write(self, data, *_):
        if self.file is None:
            return len(data)
        try:
            return self.file.write(data)
        except OSError:
            self._lose()
            return len(data)

    def any(self):
        return 0

    def txdone(self):
        return True

    def flush(self):
        pass

    def ioctl(self, request, argument):
        if request == _GET_FILENO:
            return (self.file or self.silence).fileno()
        if request == _POLL:
            return argument
        return 0


class WDT:
    """Armed for good once it is made; the board around this process resets it when it is not fed."""

    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout <= 0:
            raise ValueError("WDT timeout too short")
        if world.read("broken"):
            raise RuntimeError(world.read("broken").decode())
        self._timeout = timeout
        world.record("wdt %d" % timeout)
        self.feed()

    def feed(self):
        world.write("wdt", b"%d" % self._timeout)
