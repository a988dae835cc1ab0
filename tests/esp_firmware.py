"""A firmware file as MicroPython's build makes it, but for the program in it, which only says its name.

Only the real file, on a real board, proves that it starts.
"""

import functools
import hashlib
import random
import struct

from esptool.bin_image import ELFSection, ESP32C3FirmwareImage, ESP32FirmwareImage
from esptool.targets import CHIP_DEFS

APP, DATA = 0, 1
# Label, type, subtype, offset, size: as MicroPython has it (ports/esp32/partitions-4MiBplus.csv), and as
# micropython/firmware/partitions.csv.
STOCK = (
    ("nvs", DATA, 0x02, 0x9000, 0x6000),
    ("phy_init", DATA, 0x01, 0xF000, 0x1000),
    ("factory", APP, 0x00, 0x10000, 0x1F0000),
)
WITH_ROMFS = (
    *STOCK[:2],
    ("factory", APP, 0x00, 0x10000, 0x1D0000),
    ("romfs", DATA, 0x8F, 0x1E0000, 0x100000),
)
_IMAGES = {"esp32": ESP32FirmwareImage, "esp32c3": ESP32C3FirmwareImage}
_MB = {2: 1, 4: 2, 8: 3, 16: 4}
_RAM = {"esp32": 0x3FFB0000, "esp32c3": 0x3FC80000}


def partition_table(partitions: tuple = STOCK) -> bytes:
    table = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, subtype, offset, size, label.encode(), 0)
        for label, kind, subtype, offset, size in partitions
    )
    table += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(table).digest()
    return table.ljust(0xC00, b"\xff")


def program(chip: str, content: bytes, flash_mb: int = 4) -> bytes:
    image = _IMAGES[chip]()
    image.flash_size_freq = _MB[flash_mb] << 4
    image.segments = [
        ELFSection(b"all", _RAM[chip], content.ljust(len(content) + -len(content) % 4, b"\0"), 0)
    ]
    data = image.save(None)
    assert data is not None
    return data


@functools.cache
def firmware(
    chip: str = "esp32", version: str = "1.29.0", partitions: tuple = STOCK, flash_mb: int = 4
) -> bytes:
    offset = CHIP_DEFS[chip].BOOTLOADER_FLASH_OFFSET
    loader = program(chip, b"boot loader " * 500, flash_mb)
    table = partition_table(partitions)
    start = next(where for _, kind, _, where, _ in partitions if kind == APP)
    words = b"3.4.0; MicroPython v%s on 2026-08-01\0" % version.encode()
    content = words + random.Random(1).randbytes(30000)
    data = loader.ljust(0x8000 - offset, b"\xff") + table
    return data.ljust(start - offset, b"\xff") + program(chip, content, flash_mb)
