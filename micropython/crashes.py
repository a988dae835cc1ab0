"""What became of the starts before this one: how many crashed in a row, and a log of crashes in flash.

Nothing of gateway/ is imported here: main.py needs this also when the application can't be imported.
"""

import io
import os
import sys
import time

import durable_file
import machine

_COUNT = "log/crashes"
_LOG = "log/crash.txt"
# How much of the log is kept, and of one crash: the newest.
_MOST_BYTES = 4096
_MOST_OF_ONE = 1500
# The end of what was told is found again by so many bytes.
_TAIL = 256
# After so many crashes in a row the board starts in safe mode.
MOST = 3
# Where even what comes after safe mode crashes, flash is not to be worn by logs.
_PAUSE_S = 60
# Marks in the memory that outlives a reset, before the reason.
_ASKED = "asked:"
_CRASHED = "crash:"


def began() -> "tuple[int, str]":
    """For the start, once: how many starts before it crashed in a row, and why it took place, in words.

    Power that came back counts as a new beginning. A reset that nobody asked for is a crash, also when
    nothing could be written down: the hardware watchdog's, or one of the firmware itself.
    """
    memory = machine.RTC()
    told = bytes(memory.memory()).decode()
    memory.memory(b"")
    cause = machine.reset_cause()
    count = _counted()
    if cause == machine.PWRON_RESET:
        crashed, why = 0, "the power came"
    elif told.startswith(_ASKED):
        crashed, why = 0, told[len(_ASKED) :]
    elif told.startswith(_CRASHED):
        crashed, why = count + 1, "the program crashed: " + told[len(_CRASHED) :]
    elif cause == machine.WDT_RESET:
        crashed, why = count + 1, "the hardware watchdog: the program had stood still"
        note(why)
    elif cause == machine.HARD_RESET:
        crashed, why = count + 1, "the firmware crashed, or the reset button was pressed"
        note(why)
    else:
        crashed, why = count, "the program was started anew"
    if crashed != count:
        _count(crashed)
    return crashed, why


def well() -> None:
    """What runs has proven itself: crashes before it are no row any more. The log stays until it is told."""
    if _counted():
        _count(0)


def note(what: "str | BaseException") -> str:
    """Write a crash down; gives it in one line."""
    text = what if isinstance(what, str) else _trace(what)
    now = time.gmtime()
    head = "%d s after the start" % (time.ticks_ms() // 1000)  # type: ignore[attr-defined]
    if now[0] >= 2020:
        head += ", %04d-%02d-%02d %02d:%02d:%02d UTC" % now[:6]
    entry = "%s\n%s\n" % (head, text.strip())
    if len(entry) > _MOST_OF_ONE:
        entry = "...\n".join((entry[: _MOST_OF_ONE // 3], entry[-_MOST_OF_ONE * 2 // 3 :]))
    try:
        _make_directory()
        kept = durable_file.read(_LOG) or b""
        durable_file.write(_LOG, (kept + entry.encode())[-_MOST_BYTES:])
    except OSError:
        pass  # a full or broken flash is no reason not to start again
    return text.strip().split("\n")[-1][:120]


def log() -> bytes:
    """What was noted and not yet forgotten."""
    return durable_file.read(_LOG) or b""


def forget(told: bytes) -> None:
    """The log as it was told need not be kept; what was noted meanwhile is."""
    kept = log()
    if kept == told:
        durable_file.remove(_LOG)
        return
    # Its beginning may have given way meanwhile.
    last = told[-_TAIL:]
    at = kept.rfind(last)
    if at >= 0:
        durable_file.write(_LOG, kept[at + len(last) :])


def restart(why: str) -> None:
    """On purpose."""
    machine.RTC().memory((_ASKED + why).encode())
    machine.reset()


def crash(error: BaseException) -> None:
    """Note it and begin again, whatever becomes of the note."""
    try:
        machine.RTC().memory((_CRASHED + note(error)).encode())
    except Exception:
        machine.RTC().memory((_CRASHED + type(error).__name__).encode())
    if _counted() > MOST:
        time.sleep(_PAUSE_S)
    machine.reset()


def _counted() -> int:
    text = durable_file.read(_COUNT) or b"0"
    return int(text) if text.isdigit() else 0


def _count(number: int) -> None:
    try:
        _make_directory()
        durable_file.write(_COUNT, b"%d" % number)
    except OSError:
        pass


def _make_directory() -> None:
    try:
        os.mkdir("log")
    except OSError:
        pass


def _trace(error: BaseException) -> str:
    text = io.StringIO()
    sys.print_exception(error, text)  # type: ignore[attr-defined]
    return text.getvalue()
