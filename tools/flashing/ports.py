"""Serial ports: finding the one with the board, and what to do when it can't be opened."""

from __future__ import annotations

import errno
import grp
import os
import sys
from collections.abc import Iterable
from typing import Any

import serial
from serial.tools import list_ports

from gateway.errors import ConfigurationError

from .errors import NoBoard

# USB vendors of what sits between a board and USB: Silicon Labs (CP210x), WCH (CH340, CH910x), FTDI,
# Prolific, Espressif (the C3's own USB).
_VENDORS = {0x10C4, 0x1A86, 0x0403, 0x067B, 0x303A}


def find(named: str | None, known: Iterable[Any] | None = None) -> str:
    """The port to use: the one named, or the only one that a board can be on. Raises ConfigurationError when
    there are several, NoBoard when there is none."""
    if named:
        return named
    ports = [port for port in (list_ports.comports() if known is None else known) if port.vid in _VENDORS]
    if not ports:
        raise NoBoard(
            "no board was found: no USB serial port has the id of one. Plug it in (the cable has to carry "
            "data), or name the port with --port"
        )
    if len(ports) > 1:
        listed = "\n".join(f"  --port {port.device}: {port.description}" for port in ports)
        raise ConfigurationError(f"there are several boards; say which one:\n{listed}")
    return str(ports[0].device)


def open_port(name: str, baud: int) -> Any:
    """The port, open for us alone. Raises NoBoard, which says what to do."""
    try:
        port = serial.serial_for_url(name, baudrate=baud, exclusive=True, do_not_open=True)
        port.open()
    except (serial.SerialException, ValueError, OSError) as error:
        raise NoBoard(why_not(name, error)) from None
    return port


def why_not(name: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.ENOENT or "FileNotFoundError" in text:
        return f"{name}: there is no such port. Is the board plugged in? Without --port it is looked for"
    if number in (errno.EACCES, errno.EPERM) or "PermissionError" in text:
        return f"{name}: you may not open this port. {_rights(name)}"
    if number in (errno.EBUSY, errno.EWOULDBLOCK) or "exclusively lock" in text:
        return f"{name}: another program has this port open. End it (a monitor, a gateway), then try again"
    return f"{name}: can't be opened: {text}"


def _rights(name: str) -> str:
    if not sys.platform.startswith("linux"):
        return "Close what uses it, or ask whoever administers this machine"
    try:
        group = grp.getgrgid(os.stat(name).st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    return f"Join its group, then log in again: sudo usermod -aG {group} $USER"
