"""How fast the line and the meter are (MEP guide, chapter 2, "MEP Protocol Timing")."""

from dataclasses import dataclass

# A start bit, eight data bits, a stop bit.
BITS_PER_BYTE = 10
SEGMENT_BYTES = 117
SEGMENT_PAUSE_MS = 25
REQUEST_EVERY_MS = 100
# How long the meter thinks before it answers; well within the client's 500 ms.
LATENCY_MS = 20
# Bytes that are handed to the transport together.
_CHUNK = 16


def transmission_ms(count: int, baud: int) -> int:
    """The time `count` bytes are on the line, rounded up."""
    return -(-count * BITS_PER_BYTE * 1000 // baud)


@dataclass(frozen=True)
class Piece:
    """Bytes up to `end` of a response have left the meter `due_ms` after its first bit."""

    due_ms: int
    end: int


def pieces(length: int, baud: int, segment: int = SEGMENT_BYTES) -> list[Piece]:
    """When which bytes of a response of `length` bytes have been sent, with a pause after each segment."""
    plan = []
    for end in sorted({*range(_CHUNK, length, _CHUNK), *range(segment, length, segment), length}):
        pauses = (end - 1) // segment
        plan.append(Piece(transmission_ms(end, baud) + pauses * SEGMENT_PAUSE_MS, end))
    return plan
