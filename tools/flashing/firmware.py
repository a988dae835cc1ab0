"""MicroPython's firmware file: checked from its first byte to its last before anything is written.

The file is what micropython.org offers per board: boot loader, partition table and program in one piece, to
be written from the chip's boot loader address on.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from esptool.bin_image import LoadFirmwareImage
from esptool.targets import CHIP_DEFS
from esptool.util import FatalError

from gateway.errors import ConfigurationError

from . import partitions
from .partitions import Partition

# The first MicroPython that speaks TLS with a key known before (PSK), as meters want it.
FLOOR = (1, 29)

_IMAGE_MAGIC = 0xE9
_VERSION = re.compile(rb"MicroPython v(\d+)\.(\d+)(?:\.(\d+))?")
_HEADER_BYTES = 24
_FLASH_MB = {code: 1 << code for code in range(8)}  # image header, flash size in the upper half of byte 3


@dataclass(frozen=True)
class Firmware:
    """`data` belongs at `offset` in a flash of at least `flash_bytes`."""

    data: bytes
    chip: str
    offset: int
    flash_bytes: int
    table: list[Partition]
    version: str

    @property
    def program_bytes(self) -> int:
        """How much of its partition the program takes."""
        start = partitions.application(self.table).offset - self.offset
        return _image_bytes(self.data[start:], self.chip, "the program")


def read(path: Path, chip: str) -> Firmware:
    """Raises ConfigurationError, which says what is wrong with the file for a board with this chip."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror}") from None
    try:
        return check(data, chip)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{path}: {error}. Nothing was written; take the file for this board from "
            "https://micropython.org/download again"
        ) from None


def check(data: bytes, chip: str) -> Firmware:
    """Raises ConfigurationError for what is no firmware of MicroPython for this chip."""
    offset = CHIP_DEFS[chip].BOOTLOADER_FLASH_OFFSET
    _image_bytes(data, chip, "the boot loader")
    if len(data) <= partitions.PLACE + partitions.MOST_BYTES - offset:
        raise ConfigurationError(
            "ends before its partition table; is it a part of the firmware, such as one for an update?"
        )
    start = partitions.PLACE - offset
    table = partitions.parse(data[start : start + partitions.MOST_BYTES])
    program = partitions.application(table)
    image = data[program.offset - offset : program.end - offset]
    size = _image_bytes(image, chip, "the program")
    if offset + len(data) > program.end:
        raise ConfigurationError("holds more than boot loader, partition table and program")
    return Firmware(data, chip, offset, _FLASH_MB[data[3] >> 4] << 20, table, _version(image[:size]))


def _version(image: bytes) -> str:
    found = _VERSION.search(image)
    if not found:
        raise ConfigurationError("holds a program, but not MicroPython")
    major, minor, micro = (int(part or 0) for part in found.groups())
    version = f"{major}.{minor}.{micro}"
    if (major, minor) < FLOOR:
        raise ConfigurationError(
            f"is MicroPython {version}; the gateway needs {FLOOR[0]}.{FLOOR[1]} or later"
        )
    return version


def _image_bytes(data: bytes, chip: str, what: str) -> int:
    """The length of an image with its checksum and digest, which are checked, as is the chip."""
    if len(data) < _HEADER_BYTES or data[0] != _IMAGE_MAGIC:
        raise ConfigurationError(f"{what} does not begin as an image for Espressif's chips does")
    number = struct.unpack_from("<H", data, 12)[0]
    if number != CHIP_DEFS[chip].IMAGE_CHIP_ID:
        raise ConfigurationError(f"{what} is for {_chip_name(number)}, the board has an {chip}")
    try:
        image = LoadFirmwareImage(chip, data)
    except (FatalError, struct.error, RuntimeError, TypeError):
        raise ConfigurationError(f"{what} is cut off or damaged") from None
    if image.checksum != image.calculate_checksum():
        raise ConfigurationError(f"{what} is damaged: its checksum is wrong")
    if not image.append_digest:
        raise ConfigurationError(f"{what} has no SHA-256 at its end, so nobody can tell whether it is sound")
    size = int(image.data_length)
    if hashlib.sha256(data[:size]).digest() != image.stored_digest:
        raise ConfigurationError(f"{what} is damaged: its SHA-256 is wrong")
    return size + len(image.stored_digest)


def _chip_name(number: int) -> str:
    for name, chip in CHIP_DEFS.items():
        if getattr(chip, "IMAGE_CHIP_ID", None) == number:
            return f"an {name}"
    return f"an unknown chip ({number})"
