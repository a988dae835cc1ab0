"""The serial line on Linux, through pyserial-asyncio; no other file knows that library."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import getpass
import grp
import os
import termios
from pathlib import Path

import serial
import serial_asyncio
from serial.tools import list_ports

from ..errors import LinkError
from .stream_link import StreamLink


class _Transport(serial_asyncio.SerialTransport):  # type: ignore[misc]
    def _fatal_error(self, exc: Exception, message: str = "") -> None:
        # The library would print a traceback; a pulled adapter is no fault of the program and reaches
        # the reader and the writer as a LinkError.
        self._abort(exc)

    def _abort(self, exc: Exception | None) -> None:
        # The library waits, and the whole program with it, until the line has taken what is unsent; a hung
        # adapter never takes it.
        with contextlib.suppress(OSError, termios.error):
            self._serial.reset_output_buffer()
        super()._abort(exc)


class SerialLink(StreamLink):
    """An open serial port, locked against a second program."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the serial line {path}")
        self.path = path

    def advice(self) -> str:
        return "If it is a USB adapter, plug it in again; the port is opened again as soon as it is there."

    def set_baud(self, rate: int) -> None:
        if self._lost is not None or self._transport is None:
            raise self.gone()
        try:
            self._transport.get_extra_info("serial").baudrate = rate
        except (OSError, ValueError, termios.error) as error:
            raise LinkError(f"can't set {self.path} to {rate} baud: {_words(error)}") from None


async def open_serial(path: str, baud: int) -> SerialLink:
    """Open `path` with 8 data bits, no parity, one stop bit; raises LinkError with what to do."""
    link = SerialLink(path)
    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except (OSError, ValueError, termios.error) as error:
        raise LinkError(_cannot_open(path, baud, error)) from None
    _Transport(asyncio.get_running_loop(), link, port)
    # connection_made comes from the event loop, before anything that is scheduled after it.
    await asyncio.sleep(0)
    return link


def existing_ports() -> list[str]:
    """The serial ports of this machine, each with what its adapter calls itself."""
    found = []
    for port in sorted(list_ports.comports(), key=lambda port: str(port.device)):
        about = port.description if port.description not in (None, "n/a") else ""
        found.append(f"{port.device} ({about})" if about else str(port.device))
    return found


def _cannot_open(path: str, baud: int, error: Exception) -> str:
    code = _code(error)
    tried = f"can't open the serial port {path}: "
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        ports = existing_ports()
        if ports:
            return tried + f"there is no such port. Ports of this machine: {', '.join(ports)}."
        return tried + (
            "there is no such port, and this machine has no serial port at all. Is the adapter plugged in? "
            "(`dmesg | tail` shows what the system made of it)"
        )
    if code in (errno.EACCES, errno.EPERM):
        return tried + _no_rights(path)
    if code in (errno.EBUSY, errno.EAGAIN):
        holders = _holders(path)
        who = f"by {', '.join(holders)}" if holders else "by another program (`sudo fuser -v` tells which)"
        return (
            tried + f"it is in use {who}. Stop that first: two programs on one line spoil each other's data."
        )
    if isinstance(error, ValueError):
        return tried + f"{baud} is no rate that it can run at."
    if code == errno.ENOTTY or (os.path.exists(path) and not Path(path).is_char_device()):
        return tried + "it is no serial port."
    return tried + f"{_words(error)}."


def _no_rights(path: str) -> str:
    try:
        group = grp.getgrgid(os.stat(path).st_gid).gr_name
    except (KeyError, OSError):
        group = "dialout"
    user = getpass.getuser()
    if group == "root":
        return f"no rights to it, user {user} may not read and write it. A udev rule can give it to dialout."
    return (
        f"no rights to it. It belongs to the group {group}: `sudo usermod -aG {group} {user}`, "
        "then log in again (for a systemd service: SupplementaryGroups=" + group + ")."
    )


def _holders(path: str) -> list[str]:
    """Programs that have `path` open, as far as this user may see them: "minicom (process 4711)"."""
    try:
        device = os.stat(path).st_rdev
    except OSError:
        return []
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            holds = any(_device_of(descriptor) == device for descriptor in (process / "fd").iterdir())
            if holds:
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
        except OSError:
            continue
    return found


def _device_of(descriptor: Path) -> int | None:
    try:
        status = descriptor.stat()
    except OSError:
        return None
    return status.st_rdev if descriptor.is_char_device() else None


def _code(error: BaseException | None) -> int | None:
    """The system's error number; the library leaves it in the error's context, at times."""
    if error is None:
        return None
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) else _code(error.__context__)


def _words(error: Exception) -> str:
    code = _code(error)
    return str(error) if code is None else os.strerror(code)
