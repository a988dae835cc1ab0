"""The board on its serial port, by esptool: what it is, and writing and reading its flash."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import serial
from esptool import cmds
from esptool.util import FatalError, flash_size_bytes

from .errors import FlashError, NoBoard
from .ports import open_port
from .show import Show

_ROM_BAUD = 115200
_ATTEMPTS = 4


class Board:
    """An ESP32 in its boot loader: `chip` as esptool calls it ("esp32c3"), `mac`, `flash_bytes`."""

    def __init__(self, esp: Any, show: Show) -> None:
        self._esp = esp
        self._show = show
        self.chip = esp.CHIP_NAME.lower().replace("-", "")
        self.mac = ":".join(f"{byte:02x}" for byte in esp.read_mac())
        self.flash_bytes = flash_size_bytes(cmds.detect_flash_size(esp)) or 0

    def erase(self) -> None:
        with self._step("Erasing the whole flash"):
            self._esp.erase_flash()

    def erase_region(self, offset: int, size: int, what: str) -> None:
        with self._step(f"Erasing {what}"):
            self._esp.erase_region(offset, size)

    def write(self, offset: int, data: bytes, what: str) -> None:
        with self._step(f"Writing {what}"):
            cmds.write_flash(self._esp, [(offset, data)], flash_size="keep")

    def verify(self, offset: int, data: bytes, what: str) -> None:
        """Have the chip read its flash and compare checksums; raises FlashError when they differ."""
        with self._step(f"Verifying {what}"):
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if self._esp.flash_md5sum(offset, len(data)) != digest:
                raise FlashError(f"{what} is not in flash as it was written; is the flash worn out?")

    def read(self, offset: int, size: int, what: str) -> bytes:
        with self._step(f"Reading {what}"):
            return bytes(cmds.read_flash(self._esp, offset, size, flash_size="keep"))

    def restart(self) -> None:
        with self._step("Restarting the board"):
            cmds.reset_chip(self._esp, "hard-reset")

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        try:
            with self._show.step(what):
                yield
        except (FatalError, serial.SerialException, OSError) as error:
            raise FlashError(f"{what} failed: {_first_line(error)}") from None


@contextlib.contextmanager
def connect(port: str, baud: int, show: Show, attempts: int = _ATTEMPTS) -> Iterator[Board]:
    """The board on this port, with esptool's own program in its memory, which makes flashing fast.

    Raises NoBoard when the port can't be opened or nobody answers.
    """
    line = open_port(port, _ROM_BAUD)
    try:
        show.install()
        try:
            with show.step(f"Connecting to the board on {port}"):
                board = Board(_start(line, baud, attempts), show)
        except (FatalError, serial.SerialException, OSError) as error:
            raise NoBoard(
                f"{port}: no ESP32 answers ({_first_line(error)}). Hold BOOT (on a module: GPIO 0 to ground) "
                "while it is plugged in or reset, and see that nothing else is connected to its RX and TX; "
                "a lower --baud helps with long cables"
            ) from None
        yield board
    finally:
        line.close()


def _start(line: Any, baud: int, attempts: int) -> Any:
    rom = cmds.detect_chip(line, _ROM_BAUD, connect_attempts=attempts)
    esp = cmds.run_stub(rom)
    if baud != _ROM_BAUD:
        esp.change_baud(baud)
    cmds.attach_flash(esp)
    return esp


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
