"""Stands in for MicroPython's `machine` of the ESP32 port, as far as the application uses it."""

import _thread
import errno
import io
import os
import socket
import termios
import time

import world

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_POLL = 3
_GET_FILENO = 10
_RATES = {
    300: 7,
    600: 8,
    1200: 9,
    2400: 11,
    4800: 12,
    9600: 13,
    14400: 0,
    19200: 14,
    28800: 0,
    38400: 15,
    57600: 4097,
    115200: 4098,
}


def reset():
    world.record("reset")
    world.end(HARD_RESET)


def reset_cause():
    return int(world.read("reset_cause", b"%d" % PWRON_RESET))


def freq(*hertz):
    if not hertz:
        return int(world.read("freq", b"160000000"))
    if hertz[0] not in (20000000, 40000000, 80000000, 160000000, 240000000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    world.write("freq", b"%d" % hertz[0])
    return None


def unique_id():
    return b"\x24\x6f\x28\x01\x02\x03"


class Timer:
    """One-shot only; its thread interrupts no C code, as on a board. OSGP_TIMER: how many times as fast as
    life it is."""

    ONE_SHOT = 0
    _started = {}

    def __init__(self, number):
        if not isinstance(number, int) or not 0 <= number < 2:
            raise ValueError("invalid Timer number")
        self._number = number

    def init(self, *, mode, period, callback):
        if mode != Timer.ONE_SHOT:
            raise ValueError("only one-shot timers stand in here")
        world.record("timer %d %d" % (self._number, period))
        mark = Timer._started[self._number] = object()
        _thread.start_new_thread(self._run, (mark, period, callback))

    def deinit(self):
        world.record("timer %d ended" % self._number)
        Timer._started.pop(self._number, None)

    def _run(self, mark, period, callback):
        time.sleep_ms(period // int(os.getenv("OSGP_TIMER") or 1))
        if Timer._started.get(self._number) is mark:
            callback(self)


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
        self._number = number
        self._file = None
        self._silence = None
        self.init(baudrate, **settings)

    def init(self, baudrate=0, bits=8, parity=None, stop=1, **settings):
        pins = " ".join(["%s=%s" % (name, settings[name]) for name in sorted(settings)])
        world.record("uart %d %d %s" % (self._number, baudrate, pins))
        if self._file is None:
            try:
                self._file = open(os.getenv("OSGP_UART") or "", "r+b")  # noqa: SIM115
                termios.setraw(self._file.fileno())
            except OSError:
                self._lose()
        if self._file is not None and baudrate:
            self._set_rate(baudrate)

    def _set_rate(self, rate):
        attributes = termios.tcgetattr(self._file.fileno())
        code = _RATES.get(rate, 0)
        if code:
            attributes[4] = attributes[5] = code
        attributes[6][5] = attributes[6][6] = 0
        termios.tcsetattr(self._file.fileno(), termios.TCSANOW, attributes)

    def _lose(self):
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._silence is None:
            self._silence = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def readinto(self, target, *_):
        if self._file is None:
            return None
        try:
            count = self._file.readinto(target)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            count = 0
        if count == 0:
            self._lose()
        return count or None

    def write(self, data, *_):
        if self._file is None:
            return len(data)
        try:
            return self._file.write(data)
        except OSError:
            self._lose()
            return len(data)

    def any(self):
        return 0

    def txdone(self):
        return True

    def flush(self):
        pass

    def deinit(self):
        world.record("uart %d off" % self._number)
        for one in (self._file, self._silence):
            if one is not None:
                one.close()
        self._file = self._silence = None

    def ioctl(self, request, argument):
        if request == _GET_FILENO:
            return (self._file or self._silence).fileno()
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


class RTC:
    def datetime(self, parts):
        world.record("clock %d-%d-%d %d %d:%d:%d %d" % parts)

    def memory(self, *data):
        if not data:
            return world.read("rtc")
        if len(data[0]) > 2048:
            raise ValueError("buffer too long")
        world.write("rtc", bytes(data[0]))
        return None
