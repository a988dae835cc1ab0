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
        if not self._esp.IS_STUB:
            self.write(0, b"\xff" * self.flash_bytes, "nothing over the whole flash")
            return
        with self._step("Erasing the whole flash"):
            self._esp.erase_flash()

    def erase_region(self, offset: int, size: int, what: str) -> None:
        if not self._esp.IS_STUB:
            self.write(offset, b"\xff" * size, f"nothing {what}")
            return
        with self._step(f"Erasing {what}"):
            self._esp.erase_region(offset, size)

    def write(self, offset: int, data: bytes, what: str) -> None:
        with self._step(f"Writing {what}"):
            cmds.write_flash(self._esp, [(offset, data)], flash_size="keep", compress=True)

    def verify(self, offset: int, data: bytes, what: str) -> None:
        """Have the chip read its flash and compare checksums; raises FlashError when they differ."""
        with self._step(f"Verifying {what}"):
            same = self._holds(offset, data)
        if not same:
            raise FlashError(f"{what} is not in flash as it was written; is the flash worn out?")

    def is_blank(self, offset: int, size: int) -> bool:
        with self._step("Looking what is on the board"):
            return self._holds(offset, b"\xff" * size)

    def _holds(self, offset: int, data: bytes) -> bool:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return bool(self._esp.flash_md5sum(offset, len(data)) == digest)

    def read(self, offset: int, size: int, what: str) -> bytes:
        with self._step(f"Reading {what}"):
            return bytes(cmds.read_flash(self._esp, offset, size, flash_size="keep"))

    def restart(self) -> None:
        """Whatever it runs now; one that was unplugged starts when it is plugged in."""
        with contextlib.suppress(FatalError, serial.SerialException, OSError):
            cmds.reset_chip(self._esp, "hard-reset")

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        try:
            with self._show.step(what):
                yield
        except (FatalError, serial.SerialException, OSError) as error:
            raise FlashError(f"{what} failed: {_first_line(error)}") from None


@contextlib.contextmanager
def connect(port: str, baud: int, show: Show, stub: bool = True) -> Iterator[Board]:
    """The board on this port; `stub`: with esptool's own program in its memory, which makes flashing fast.

    Raises NoBoard when the port can't be opened or nobody answers. Afterwards the board is started again.
    """
    line = open_port(port, _ROM_BAUD)
    try:
        show.install()
        try:
            with show.step(f"Connecting to the board on {port}"):
                board = Board(_start(line, baud, stub), show)
        except (FatalError, serial.SerialException, OSError) as error:
            raise NoBoard(
                f"{port}: no ESP32 answers ({_first_line(error)}). Hold BOOT (on a module: GPIO 0 to ground) "
                "while it is plugged in or reset, and see that nothing else is connected to its RX and TX; "
                "a lower --baud helps with long cables"
            ) from None
        try:
            yield board
        finally:
            board.restart()
    finally:
        line.close()


def _start(line: Any, baud: int, stub: bool) -> Any:
    esp = cmds.detect_chip(line, _ROM_BAUD, connect_attempts=_ATTEMPTS)
    if stub:
        esp = cmds.run_stub(esp)
    if baud != _ROM_BAUD:
        esp.change_baud(baud)
    cmds.attach_flash(esp)
    return esp


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
