"""The partition table of an ESP32's flash, read from a firmware file or from the board.

Layout (ESP-IDF, "Partition Tables"): at 0x8000, up to 0xC00 bytes of entries of 32 bytes, each b"\\xaa\\x50",
type, subtype, offset, size, label, flags; then one entry b"\\xeb\\xeb" with the MD5 of those before it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.errors import ConfigurationError

PLACE = 0x8000
MOST_BYTES = 0xC00
BLOCK = 4096

APP, DATA = 0, 1
_ENTRY = struct.Struct("<2sBBII16sI")
_MAGIC, _MD5_MAGIC = b"\xaa\x50", b"\xeb\xeb"
# Where MicroPython keeps its file system: a partition of this name, or else all that no partition takes.
_FILE_SYSTEM_LABEL = "vfs"
_ROMFS_LABEL = "romfs"


@dataclass(frozen=True)
class Partition:
    label: str
    type: int
    subtype: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def parse(table: bytes) -> list[Partition]:
    """Raises ConfigurationError when this is no partition table or a damaged one."""
    found: list[Partition] = []
    for start in range(0, min(len(table), MOST_BYTES) - _ENTRY.size + 1, _ENTRY.size):
        entry = table[start : start + _ENTRY.size]
        if entry[:2] == _MD5_MAGIC:
            if hashlib.md5(table[:start], usedforsecurity=False).digest() != entry[16:]:
                raise ConfigurationError("the partition table is damaged: its checksum is wrong")
            break
        if entry[:2] != _MAGIC:
            break
        _, kind, subtype, offset, size, label, _ = _ENTRY.unpack(entry)
        name = label.split(b"\0")[0].decode("ascii", "replace")
        found.append(Partition(name, kind, subtype, offset, size))
    if not found:
        raise ConfigurationError(f"there is no partition table at 0x{PLACE:x}")
    return found


def application(table: Iterable[Partition]) -> Partition:
    """The first partition that holds a program; raises ConfigurationError without one."""
    for partition in sorted(table, key=lambda one: one.offset):
        if partition.type == APP:
            return partition
    raise ConfigurationError("the partition table has no place for a program")


def romfs(table: Iterable[Partition]) -> Partition | None:
    """Where MicroPython looks for a ROMFS image, which it mounts as /rom: it goes by the name
    (ports/esp32/esp32_partition.c)."""
    return next((one for one in table if one.type == DATA and one.label == _ROMFS_LABEL), None)


def file_system(table: Iterable[Partition], flash_bytes: int) -> Partition:
    """Where MicroPython has its file system on a flash of this size: a partition "vfs", or what lies behind
    the last one, as its start code registers it. Raises ConfigurationError when there is no room."""
    partitions = list(table)
    for one in partitions:
        if one.type == DATA and one.label == _FILE_SYSTEM_LABEL:
            found = one
            break
    else:
        end = max(one.end for one in partitions)
        found = Partition(_FILE_SYSTEM_LABEL, DATA, 0x81, end, flash_bytes - end)
    if found.end > flash_bytes or found.size <= 0:
        raise ConfigurationError(
            f"this firmware needs more than {flash_bytes >> 20} MB of flash: its file system would begin at "
            f"0x{found.offset:x}"
        )
    return found
