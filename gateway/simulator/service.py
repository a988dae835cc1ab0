"""The C12.18 requests of MEP over the meter's tables, with the rights of each key.

MEP guide, chapter 2, "C12.18 Packet Structure" (tables 2.6 and 2.7) and appendix C (who may write what).
"""

from .image import Image, et
from .mep_server import (
    MAX_MESSAGE,
    NO_PERMISSION,
    NOT_POSSIBLE,
    OK,
    TABLE_NOT_POSSIBLE,
    UNRECOGNIZED,
    UNSUPPORTED,
)
from .security import DIGEST_BYTES

FULL_READ = 0x30
PARTIAL_READ = 0x3F
FULL_WRITE = 0x40
PARTIAL_WRITE = 0x4F
# Requests of C12.18 that MEP has no use for: identify, terminate, indexed reads and writes, log-on,
# log-off, security, negotiate, wait.
_OTHER_C1218 = frozenset(
    [0x20, 0x21, *range(0x31, 0x3F), *range(0x41, 0x4F), 0x50, 0x51, 0x52, *range(0x60, 0x6C), 0x70]
)

# The most table data a response can carry: code, count and digest take the rest.
MAX_READ = MAX_MESSAGE - 1 - 2 - DIGEST_BYTES

# Tables C.1 and C.4, ET62 and ET71: what the basic key may write, and what the advanced key may write.
BASIC_WRITES = frozenset([7, et(50), et(51), et(52), et(71)])
ADVANCED_WRITES = BASIC_WRITES | frozenset(
    [7, 15, 23, 24, 33, 53, 54]
    + [et(number) for number in (1, 2, 3, 4, 5, 6, 7, 9, 13, 23, 34, 40, 47, 55, 57, 62, 67, 76, 77, 80)]
)


class TableService:
    """Answers C12.18 messages from an image. `past_end_is_error` decides what a read beyond a table's end
    gets: an error, or zeros (the guide states zeros for pending tables and is silent on the others). `most`
    is the most table data of one response, `writable` are the tables that the better keys may write."""

    def __init__(
        self, image: Image, most: int = MAX_READ, writable: frozenset[int] = ADVANCED_WRITES
    ) -> None:
        self._image = image
        self._most = most
        self._writable = writable
        self.past_end_is_error = True

    def answer(self, message: bytes, advanced: bool) -> bytes:
        """The response message: code, and for reads count and table data."""
        code = message[0]
        if code in (FULL_READ, PARTIAL_READ):
            return self._read(message)
        if code in (FULL_WRITE, PARTIAL_WRITE):
            return bytes([self._write(message, advanced)])
        return bytes([UNSUPPORTED if code in _OTHER_C1218 else UNRECOGNIZED])

    def _read(self, message: bytes) -> bytes:
        partial = message[0] == PARTIAL_READ
        if len(message) != 8 if partial else len(message) not in (3, 5):
            return bytes([NOT_POSSIBLE])
        table = int.from_bytes(message[1:3], "big")
        if table not in self._image:
            return bytes([TABLE_NOT_POSSIBLE])
        if partial:
            offset = int.from_bytes(message[3:6], "big")
            count = int.from_bytes(message[6:8], "big")
        else:
            # C12.18 has no length here and table 2.6 has one; without one the whole table is meant.
            size = self._image.read_part(table, 0, 0)[0]
            offset, count = 0, min(int.from_bytes(message[3:5], "big") or size, size)
        if not 0 < count <= self._most:
            return bytes([NOT_POSSIBLE])
        size, data = self._image.read_part(table, offset, count)
        if offset + count > size and self.past_end_is_error:
            return bytes([NOT_POSSIBLE])
        return bytes([OK]) + count.to_bytes(2, "big") + data.ljust(count, b"\0")

    def _write(self, message: bytes, advanced: bool) -> int:
        offset_bytes = 3 if message[0] == PARTIAL_WRITE else 0
        header = 1 + 2 + offset_bytes + 2
        if len(message) < header:
            return NOT_POSSIBLE
        table = int.from_bytes(message[1:3], "big")
        offset = int.from_bytes(message[3 : 3 + offset_bytes], "big")
        count = int.from_bytes(message[header - 2 : header], "big")
        data = message[header:]
        if table not in self._image or table not in self._writable:
            return TABLE_NOT_POSSIBLE
        if not advanced and table not in BASIC_WRITES:
            return NO_PERMISSION
        if not 0 < count <= len(data):
            return NOT_POSSIBLE
        if offset >= self._image.read_part(table, 0, 0)[0]:
            return NOT_POSSIBLE
        try:
            self._image.write(table, offset, data[:count])
        except KeyError:
            # Register data: the hardware lock goes before any key ("Hardware Lock").
            return NO_PERMISSION
        react = self._image.after_write.get(table)
        return OK if react is None or react(advanced) else NOT_POSSIBLE
