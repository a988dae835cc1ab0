"""The files of an outbox, byte by byte (docs/outbox.md): records behind a header, each with a checksum.

A record's checksum goes on from that of the record before, and the first one's from the header's, which
holds random bytes: neither a torn record nor what an earlier file left behind in the same place passes.
"""

import binascii
import os
from array import array

from .._compat import MICROPYTHON, TYPE_CHECKING, const
from ..errors import OutboxError
from .files import is_spoiled
from .outbox import MAX_FRAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .files import File

# Kinds of files: the frames of a class (0 to 3), or the journal.
JOURNAL = const(9)

_MAGIC = b"OGO1"
HEADER = const(20)
_CHECK = const(4)
_MOST_HEAD = const(8)  # two variable-length integers
# So much is read at a time.
_CHUNK = 512 if MICROPYTHON else 65536
_GUESS = const(300)  # most frames and what is around them

# Tags of records in a file of frames; a frame has the number of its extent and 2.
_EXTENT = const(0)
_SEAL = const(1)
_FRAMES = const(2)
_EXTENT_BYTES = const(28)

_SEALED = b"OGOZ"
TRAILER = const(8)


class Head:
    """What a file says about itself in its first 20 bytes."""

    def __init__(self, kind: int, created: int, salt: bytes) -> None:
        self.kind = kind
        self.created = created  # UTC seconds
        body = _MAGIC + bytes((kind,)) + created.to_bytes(4, "big") + salt
        self.check = binascii.crc32(body)
        self.data = body + self.check.to_bytes(4, "big")

    @staticmethod
    def new(kind: int, created: int) -> "Head":
        return Head(kind, created, os.urandom(7))

    @staticmethod
    def read(file: "File") -> "Head":
        """Raises OutboxError for a file that begins otherwise."""
        data = file.read(0, HEADER)
        head = Head(data[4], int.from_bytes(data[5:9], "big"), data[9:16]) if len(data) == HEADER else None
        if head is None or head.data != data:
            raise OutboxError("it begins with no sound header")
        return head


def record(tag: int, payload: "bytes | bytearray", check: int) -> "tuple[bytes, int]":
    """The record's bytes and checksum; `check`: that of the record (or header) before."""
    body = _varint(tag) + _varint(len(payload)) + payload
    check = binascii.crc32(body, check)
    return body + check.to_bytes(_CHECK, "big"), check


def records(file: "File", start: int, check: int) -> "Iterator[tuple[int, int, int, bytes, int]]":
    """(offset, end, tag, payload, checksum) of each sound record from `start` on; ends at the first that is
    not, which is where a file was torn, or where it ends."""
    left = file.size() - start
    data = b""
    at = 0
    while True:
        parsed = _parse_head(data, at)
        total = _MOST_HEAD if parsed is None else parsed[2] + parsed[1] + _CHECK
        if len(data) - at < total:
            if parsed is not None and total > left:
                return
            data, at = file.read(start, max(total, _CHUNK)), 0
            parsed = _parse_head(data, 0)
            if parsed is None:
                return
            total = parsed[2] + parsed[1] + _CHECK
            if len(data) < total:
                if total > left or len(data) == left:
                    return
                data = file.read(start, total)
                if len(data) < total:
                    return
        if parsed is None:
            return
        tag, length, size = parsed
        payload = data[at + size : at + size + length]
        found = binascii.crc32(data[at : at + size + length], check)
        if found != int.from_bytes(data[at + total - _CHECK : at + total], "big"):
            return
        yield start, start + total, tag, payload, found
        start += total
        at += total
        left -= total
        check = found


def frame_at(file: "File", offset: int) -> "bytes | None":
    """The frame whose record begins there; None when it is damaged."""
    # The checksum that this record's goes on from stands right before it.
    data = file.read(offset - _CHECK, _GUESS)
    parsed = _parse_head(data, _CHECK)
    if parsed is None:
        return None
    _, length, size = parsed
    if length > MAX_FRAME:
        return None
    end = _CHECK + size + length
    if len(data) < end + _CHECK:
        data = file.read(offset - _CHECK, end + _CHECK)
    check = binascii.crc32(data[_CHECK:end], int.from_bytes(data[:_CHECK], "big"))
    if len(data) < end + _CHECK or check != int.from_bytes(data[end : end + _CHECK], "big"):
        return None
    return data[_CHECK + size : end]


def frame_in(data: "bytes | bytearray", at: int) -> bytes:
    """The frame whose record begins there, in bytes that were never out of our hands."""
    parsed = _parse_head(data, at)
    assert parsed is not None
    _, length, size = parsed
    return bytes(data[at + size : at + size + length])


class Extent:
    """Frames of one meter and epoch in one file whose sequences follow each other.

    `offsets`: where the record of each begins; None when only their number is known so far.
    """

    def __init__(self, meter: bytes, epoch: int, first: int) -> None:
        self.meter = meter
        self.epoch = epoch
        self.first = first
        self.count = 0
        self.offsets: array[int] = array("I")

    def declaration(self) -> bytes:
        return self.meter + self.epoch.to_bytes(4, "big") + self.first.to_bytes(8, "big")


def _extent(payload: bytes) -> "Extent | None":
    if len(payload) != _EXTENT_BYTES:
        return None
    return Extent(
        bytes(payload[:16]), int.from_bytes(payload[16:20], "big"), int.from_bytes(payload[20:28], "big")
    )


class Contents:
    """What a file of frames holds: its extents, where its last sound record ends, and that one's checksum.
    `sealed`: it is complete. `failed`: what follows could not be read."""

    def __init__(self, check: int) -> None:
        self.extents: list[Extent] = []
        self.end: int = HEADER
        self.check = check
        self.sealed = False
        self.failed = False


def scan(file: "File", check: int) -> Contents:
    """Read all records that are sound; `check`: the header's. Raises OutboxError when the file can't be read
    at present; where it is spoiled, what comes before counts."""
    contents = Contents(check)
    try:
        for offset, end, tag, payload, found in records(file, HEADER, check):
            if not _take(contents.extents, offset, tag, payload):
                break
            contents.end = end
            contents.check = found
    except OutboxError as error:
        if not is_spoiled(error):
            raise
        contents.failed = True
    return contents


def _take(extents: "list[Extent]", offset: int, tag: int, payload: bytes) -> bool:
    if tag == _EXTENT:
        extent = _extent(payload)
        if extent is not None:
            extents.append(extent)
        return extent is not None
    if not _FRAMES <= tag < _FRAMES + len(extents):
        return False  # a seal goes on from the header's checksum and can't come here
    extents[tag - _FRAMES].offsets.append(offset)
    extents[tag - _FRAMES].count += 1
    return True


def seal(extents: "Sequence[Extent]", offset: int, check: int, least: int) -> bytes:
    """The last record of a file, with what opening it needs to know, and the trailer that finds it.
    `check`: the header's, so that it can be proven without reading all records before. `least`: how long the
    file is already, with what an unfinished write left behind."""
    body = bytearray()
    for extent in extents:
        body += extent.declaration() + extent.count.to_bytes(4, "big")
    data, _ = record(_SEAL, body, check)
    return data + bytes(max(least - offset - len(data) - TRAILER, 0)) + offset.to_bytes(4, "big") + _SEALED


def seal_size(extents: int) -> int:
    """At most, without what `least` adds."""
    size: int = (_EXTENT_BYTES + 4) * extents + _MOST_HEAD + _CHECK + TRAILER
    return size


def sealed_contents(file: "File", check: int) -> "Contents | None":
    """What the seal says, without offsets; None when there is no sound one. `check`: the header's."""
    size = file.size()
    trailer = file.read(size - TRAILER, TRAILER) if size > HEADER + TRAILER else b""
    start = int.from_bytes(trailer[:4], "big")
    if trailer[4:] != _SEALED or not HEADER <= start < size:
        return None
    for _, _, tag, payload, _ in records(file, start, check):
        if tag != _SEAL or len(payload) % (_EXTENT_BYTES + 4):
            return None
        contents = Contents(check)
        contents.end = start
        contents.sealed = True
        for at in range(0, len(payload), _EXTENT_BYTES + 4):
            extent = _extent(payload[at : at + _EXTENT_BYTES])
            assert extent is not None
            extent.count = int.from_bytes(payload[at + _EXTENT_BYTES : at + _EXTENT_BYTES + 4], "big")
            contents.extents.append(extent)
        return contents
    return None


def frame_record(extent: int, frame: bytes, check: int) -> "tuple[bytes, int]":
    return record(extent + _FRAMES, frame, check)


def extent_record(extent: Extent, check: int) -> "tuple[bytes, int]":
    return record(_EXTENT, extent.declaration(), check)


def _varint(value: int) -> bytes:
    """7 bits a byte, the least first, the top bit set in all but the last."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _parse_head(data: "bytes | bytearray", at: int) -> "tuple[int, int, int] | None":
    """(tag, length, bytes of both) of a record's begin; None for what can't be one."""
    begin = at
    numbers = []
    for _ in range(2):
        value = 0
        shift = 0
        while True:
            if at >= len(data) or shift > 21:
                return None
            value |= (data[at] & 127) << shift
            at += 1
            shift += 7
            if data[at - 1] < 128:
                break
        numbers.append(value)
    return numbers[0], numbers[1], at - begin
