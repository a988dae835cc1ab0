"""A recording of a MEP port taken apart: which request was answered by what (MEP guide, chapter 2)."""

from __future__ import annotations

from ..drivers.mep.digest import DIGEST_BYTES
from ..drivers.mep.framing import ALERT, MESSAGE, Framer
from ..drivers.mep.machine import SECURITY_OVERHEAD
from .record import RECEIVED, SENT, Entry, Recording

# After so long a pause nobody goes on with a frame, and the next byte begins one.
_GAP_MS = 300

NOISE = "noise"
FRAME = "frame"
ALERTED = "alert"


class Arrival:
    """Something that came from the meter, whole: `what` is FRAME, ALERTED or NOISE.

    `delay_ms`: since the request went out. `data`: a frame's message without its length, or the bytes of
    noise, which is all that begins no frame or ends none.
    """

    def __init__(self, delay_ms: int, what: str, data: bytes) -> None:
        self.delay_ms = delay_ms
        self.what = what
        self.data = data


class Exchange:
    """One sent frame and what came until the next.

    `request`: the C12.18 message, or None where the frame can't be read: encrypted, or no MEP request.
    `sequence`: the number it was sent with.
    """

    def __init__(self, ms: int, frame: bytes) -> None:
        self.ms = ms
        self.frame = frame
        self.request = plain_request(frame[2:])
        self.sequence = int.from_bytes(frame[-SECURITY_OVERHEAD:-DIGEST_BYTES], "big")
        self.arrivals: list[Arrival] = []


def plain_request(message: bytes) -> bytes | None:
    """The C12.18 request in a digest-secured MEP message, or None: encrypted ones look like no request.

    Reads and writes, whole (30, 40) and in part (3F, 4F), have the length that they name (table 2.6).
    """
    request = message[:-SECURITY_OVERHEAD]
    if len(request) < 3:
        return None
    expected = {
        0x30: 3,
        0x3F: 8,
        0x40: 5 + int.from_bytes(request[3:5], "big"),
        0x4F: 8 + int.from_bytes(request[6:8], "big"),
    }.get(request[0])
    return request if len(request) == expected else None


def exchanges(recording: Recording) -> list[Exchange]:
    """The exchanges in the order in which they were recorded; what came before the first is left out."""
    found: list[Exchange] = []
    pieces: list[Entry] = []
    for entry in recording.entries:
        if entry.what == SENT:
            _finish(found, pieces)
            found.append(Exchange(entry.ms, entry.data))
            pieces = []
        elif entry.what == RECEIVED:
            pieces.append(entry)
    _finish(found, pieces)
    return found


def _finish(found: list[Exchange], pieces: list[Entry]) -> None:
    if found:
        found[-1].arrivals = arrivals(pieces, found[-1].ms)


def arrivals(pieces: list[Entry], since_ms: int) -> list[Arrival]:
    """What the pieces make up; a frame in many pieces has arrived with its last."""
    found: list[Arrival] = []
    framer = Framer()
    pending = b""
    last_ms = since_ms
    for piece in pieces:
        if pending and piece.ms - last_ms > _GAP_MS:
            found.append(Arrival(last_ms - since_ms, NOISE, pending))
            framer.reset()
            pending = b""
        last_ms = piece.ms
        delay = piece.ms - since_ms
        at = 0
        while at < len(piece.data):
            start = at
            at = framer.take(piece.data, at)
            pending += piece.data[start:at]
            if framer.found == MESSAGE:
                found.append(Arrival(delay, FRAME, framer.message()))
                pending = b""
            elif framer.found == ALERT:
                found.append(Arrival(delay, ALERTED, pending))
                pending = b""
    if pending:
        found.append(Arrival(last_ms - since_ms, NOISE, pending))
    return found
