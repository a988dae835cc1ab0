"""The two slots as halves of the firmware's ROMFS partition: what runs is executed where it lies in flash.

Nothing of gateway/ is imported here (slots.py says why).
"""

import hashlib
import sys

import vfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLOCK = 4096  # what flash erases at once


def segment() -> "tuple[Any, Any] | None":
    """The partition as a block device, and its memory-mapped bytes; None where the firmware has none."""
    rom_ioctl = getattr(vfs, "rom_ioctl", None)
    if rom_ioctl is None or rom_ioctl(1) < 1:
        return None
    device = rom_ioctl(2, 0)
    return device, memoryview(device)


class RomSlots:
    """`device`: the partition (esp32.Partition). `mapped`: a memoryview of the same bytes."""

    # A slot's digest is that of the image.
    whole = True

    def __init__(self, device: "Any", mapped: "Any") -> None:
        self._device = device
        self._mapped = mapped
        self._blocks = device.ioctl(4, 0) // 2  # of a slot
        self._at = 0
        self._block: Any = None

    def path(self, slot: str) -> str:
        return "/slot_" + slot

    def digest(self, slot: str, record: "dict[str, Any]") -> str:
        return hashlib.sha256(self._bytes(slot, record["size"])).digest().hex()

    def enter(self, slot: str) -> None:
        # The interpreter mounts whatever lies at the partition's beginning: that is slot a, which may be the
        # wrong one or half written.
        for path in ("/rom", "/rom/lib"):
            if path in sys.path:
                sys.path.remove(path)
        path = self.path(slot)
        vfs.mount(vfs.VfsRom(self._bytes(slot, self._blocks * _BLOCK)), path)
        sys.path.insert(0, path)

    def room(self) -> int:
        """Bytes that an image may have."""
        return int(self._blocks * _BLOCK)

    def begin(self, slot: str, size: int) -> None:
        self._at = self._first(slot)
        self._block = bytearray(_BLOCK)
        self._filled = 0

    def write(self, data: "Any") -> None:
        """The image's next bytes, of any number."""
        done = 0
        while done < len(data):
            count = min(_BLOCK - self._filled, len(data) - done)
            self._block[self._filled : self._filled + count] = data[done : done + count]
            self._filled += count
            done += count
            if self._filled == _BLOCK:
                self._flush()

    def abandon(self) -> None:
        """Nothing more is written."""
        self._block = None

    def end(self, slot: str, record: "dict[str, Any]") -> str:
        """What was written, read back: its digest."""
        if self._filled:
            self._flush()
        self._block = None
        return self.digest(slot, record)

    def _flush(self) -> None:
        self._device.writeblocks(self._at, self._block)  # erases first
        self._at += 1
        self._filled = 0

    def _first(self, slot: str) -> int:
        return 0 if slot == "a" else int(self._blocks)

    def _bytes(self, slot: str, size: int) -> "Any":
        at = self._first(slot) * _BLOCK
        return self._mapped[at : at + size]
