"""Recordings of the optical port, without the password, which goes over that line as it is."""

from __future__ import annotations

from ..drivers.link import Link
from ..drivers.optical.packets import ACK, NAK, OVERHEAD, START, crc16
from .record import RECEIVED, SENT, Recorder, RecordingLink

_SERVICE_AT = 6  # in a packet, behind its head
_SECURITY = 0x51  # C12.18: the service that carries the password
_SHORT = 4  # bytes of data; an answer to that service has no more


class OpticalRecordingLink(RecordingLink):
    """Notes zeros in place of a password and the CRC over it.

    Optical heads hear what they send, in pieces and not always rightly: what comes after a password was sent
    is held back until the next thing happens, and then all of it that is no short packet is zeros too.
    """

    def __init__(self, link: Link, recorder: Recorder) -> None:
        self._held: bytearray | None = None
        super().__init__(link, recorder)

    def _bytes(self, what: str, data: bytes) -> None:
        if what == RECEIVED:
            if self._held is None:
                super()._bytes(what, data)
            else:
                self._held += data
            return
        self._release()
        if data[:1] == bytes((START,)) and data[_SERVICE_AT : _SERVICE_AT + 1] == bytes((_SECURITY,)):
            data = data[: _SERVICE_AT + 1] + bytes(len(data) - _SERVICE_AT - 1)
            self._held = bytearray()
        super()._bytes(SENT, data)

    def _event(self, text: str) -> None:
        self._release()
        super()._event(text)

    def _release(self) -> None:
        if self._held:
            super()._bytes(RECEIVED, harmless(bytes(self._held)))
        self._held = None


def harmless(data: bytes) -> bytes:
    """`data` with zeros for all that is no short whole packet and no acknowledgement, which behind noise
    could as well be a byte of it."""
    kept = bytearray(len(data))
    at = 0
    noise = False
    while at < len(data):
        size = 1 if data[at] in (ACK, NAK) and not noise else _short_packet(data[at:])
        kept[at : at + size] = data[at : at + size]
        noise = not size
        at += size or 1
    return bytes(kept)


def _short_packet(data: bytes) -> int:
    """The size of the packet that `data` begins with, 0 when that is none or has more data."""
    if data[0] != START or len(data) <= OVERHEAD:
        return 0
    size = (data[4] << 8 | data[5]) + OVERHEAD
    whole = size <= min(len(data), OVERHEAD + _SHORT)
    return size if whole and crc16(data[: size - 2]) == data[size - 2] | data[size - 1] << 8 else 0
