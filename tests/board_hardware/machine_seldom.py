"""What of `machine` is needed now and then (machine.py)."""

import _thread
import os
import socket
import termios
import time

import machine
import world

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

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
    """The board stops here and now, and starts again."""
    world.record("reset")
    world.write("reset_cause", b"%d" % HARD_RESET)
    os.system("kill -9 $PPID")
    time.sleep(10)


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

    def __init__(self, number):
        if not isinstance(number, int) or not 0 <= number < 2:
            raise ValueError("invalid Timer number")
        self._number = number

    def init(self, *, mode, period, callback):
        if mode != Timer.ONE_SHOT:
            raise ValueError("only one-shot timers stand in here")
        world.record("timer %d %d" % (self._number, period))
        mark = machine.timers[self._number] = object()
        _thread.start_new_thread(self._run, (mark, period, callback))

    def deinit(self):
        world.record("timer %d ended" % self._number)
        machine.timers.pop(self._number, None)

    def _run(self, mark, period, callback):
        time.sleep_ms(period // int(os.getenv("OSGP_TIMER") or 1))
        if machine.timers.get(self._number) is mark:
            callback(self)


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


def set_up(uart, baudrate=0, bits=8, parity=None, stop=1, **settings):
    """UART.init."""
    pins = " ".join(["%s=%s" % (name, settings[name]) for name in sorted(settings)])
    world.record("uart %d %d %s" % (uart.number, baudrate, pins))
    if uart.file is None:
        try:
            uart.file = open(os.getenv("OSGP_UART") or "", "r+b")  # noqa: SIM115
            termios.setraw(uart.file.fileno())
        except OSError:
            lose(uart)
    if uart.file is not None and baudrate:
        attributes = termios.tcgetattr(uart.file.fileno())
        code = _RATES.get(baudrate, 0)
        if code:
            attributes[4] = attributes[5] = code
        attributes[6][5] = attributes[6][6] = 0
        termios.tcsetattr(uart.file.fileno(), termios.TCSANOW, attributes)


def lose(uart):
    if uart.file is not None:
        uart.file.close()
        uart.file = None
    if uart.silence is None:
        uart.silence = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def turn_off(uart):
    """UART.deinit."""
    world.record("uart %d off" % uart.number)
    for one in (uart.file, uart.silence):
        if one is not None:
            one.close()
    uart.file = uart.silence = None
