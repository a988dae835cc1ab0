"""Frames in files: each wrapped with its meter's id, any number in a row.

An envelope is a MessagePack array of two byte strings, the meter's id (16) and the frame, so that any
MessagePack library reads such a file as a stream of objects.
"""

from .._compat import TYPE_CHECKING
from ..errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = b"\x92\xc4\x10"


def wrap(meter_id: bytes, frame: bytes) -> bytes:
    """One envelope."""
    size = len(frame)
    if len(meter_id) != 16 or size > 0xFFFF:
        raise FrameError("an envelope holds 16 bytes of meter id and at most 65535 of frame")
    head = bytes((0xC4, size)) if size < 256 else bytes((0xC5, size >> 8, size & 0xFF))
    return _START + meter_id + head + frame


def is_envelope(data: bytes) -> bool:
    """Whether a file begins with an envelope; a bare frame begins otherwise."""
    return data[:3] == _START


def unwrap(data: bytes) -> "Iterator[tuple[bytes, bytes]]":
    """The meter's id and the frame of each envelope. Raises FrameError where the file breaks off or
    holds anything else."""
    at = 0
    while at < len(data):
        if data[at : at + 3] != _START or len(data) < at + 21:
            raise FrameError("no envelope at byte %d: the meter's id and a frame are expected there" % at)
        meter_id = bytes(data[at + 3 : at + 19])
        code = data[at + 19]
        if code == 0xC4:
            size = data[at + 20]
            start = at + 21
        elif code == 0xC5 and len(data) > at + 21:
            size = data[at + 20] << 8 | data[at + 21]
            start = at + 22
        else:
            raise FrameError("the envelope at byte %d holds no bytes for a frame" % at)
        at = start + size
        if at > len(data):
            raise FrameError("the last envelope is cut off: %d bytes are missing" % (at - len(data)))
        yield meter_id, bytes(data[start:at])
