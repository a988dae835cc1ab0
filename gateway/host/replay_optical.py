"""Plays a recording of the optical port back as the meter.

Packets, their toggle bits and repetitions are the player's own (ANSI C12.18), and so is the password, which
is not in a recording. What the meter said to a request comes from the recording: the recorded answers to
equal requests in their order, of which the last one stays, and at once, for how long the meter thought is
nothing that a client depends on. A table request that is not in the recording is answered 04 and noted in
`unknown`; services that make and end sessions, where they are not in it, are answered as a meter does.

What it can't show again: spoiled packets, silence, and rates; the line has the one that it has.
"""

from __future__ import annotations

from ..drivers import c1218
from ..drivers.optical.failures import describe
from ..drivers.optical.packets import PACKET, Framer
from ..drivers.optical.services import PASSWORD_BYTES
from ..errors import ConfigurationError
from ..simulator.optical_packets import OpticalPackets
from ..simulator.pacing import Piece
from .record import EVENT, SENT, Recording

_LARGEST_PACKET = 8192  # C12.18: the length of its data fits 13 bits

_IDENTIFY, _TERMINATE, _SECURITY = 0x20, 0x21, 0x51
_NEGOTIATE = range(0x60, 0x6C)
_TABLES = (0x30, 0x3F, 0x40, 0x4F)
_IDENTITY = bytes.fromhex("0000010000")
_DONE = b"\x00"
_NOT_ALLOWED = b"\x03"
_NOT_POSSIBLE = b"\x04"
_OUT_OF_STATE = b"\x0a"
_PACKET_BYTES = 512
_PACKETS = 255


def answers(recording: Recording) -> dict[bytes, list[bytes]]:
    """The recorded answers to each request, in their order; the password's request is `51` alone."""
    found: dict[bytes, list[bytes]] = {}
    sent, received = _Messages(), _Messages()
    request: bytes | None = None
    for entry in recording.entries:
        if entry.what == EVENT:
            continue
        if entry.what != SENT:
            for message in received.take(entry.data, sent.last):
                if request is not None and message:
                    found.setdefault(request, []).append(message)
                    request = None
        elif entry.data[6:7] == bytes((_SECURITY,)):
            request = bytes((_SECURITY,))  # its CRC was blanked with the password
        else:
            for message in sent.take(entry.data, None):
                request = message
    return found


class _Messages:
    """Whole messages of one side. `last`: what tells its last packet from others."""

    def __init__(self) -> None:
        self.last: tuple[int, int] | None = None
        self._framer = Framer(_LARGEST_PACKET)
        self._parts = b""

    def take(self, data: bytes, echo: tuple[int, int] | None) -> list[bytes]:
        """What is completed by `data`; a packet `echo` is what an optical head heard of itself."""
        found: list[bytes] = []
        at = 0
        while True:
            at = self._framer.take(data, at)
            if self._framer.found is None:
                return found
            mark = (self._framer.control, self._framer.check)
            if self._framer.found != PACKET or mark in (self.last, echo):
                continue
            self.last = mark
            self._parts += self._framer.data
            if not self._framer.sequence:
                found.append(self._parts)
                self._parts = b""


class OpticalPlayer:
    """The meter's side; a machine without I/O, and a Channel for the virtual meter's lines."""

    request_every_ms = 0

    def __init__(self, recording: Recording, password: bytes) -> None:
        """`password`: what clients have to send. Raises ConfigurationError for a recording that can't be
        played."""
        if recording.about.get("protocol") != "optical":
            raise ConfigurationError(
                f"a recording of the protocol {recording.about.get('protocol')!r} is none of an optical port"
            )
        self._answers = answers(recording)
        if not any(request[0] in _TABLES for request in self._answers):
            raise ConfigurationError("no table is read or written in this recording")
        self.unknown: list[str] = []
        self.baud = int(recording.about.get("baud") or 9600)
        self._password = password.ljust(PASSWORD_BYTES, b"\0")
        self._packets = OpticalPackets(self._answer, self._acknowledged)
        self._trusted = False
        self._open = False
        self._agreed: tuple[int, int] | None = None
        self._ending = False

    def begin(self, paced: bool, least_ms: int) -> None:
        self._packets.response_ms = max(self._packets.response_ms, 8 * least_ms)
        self._packets.character_ms = max(self._packets.character_ms, least_ms)

    def pieces(self, length: int, baud: int) -> list[Piece]:
        raise NotImplementedError("a recording is not played at the line's pace")

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        return self._packets.receive(data, now_ms)

    def tick(self, now_ms: int) -> list[bytes]:
        return self._packets.tick(now_ms)

    def due_in_ms(self, now_ms: int) -> int | None:
        return self._packets.due_in_ms(now_ms)

    def line_lost(self) -> None:
        self._packets.forget()
        self._base()

    def sent(self, data: bytes) -> None:
        pass

    def _base(self) -> None:
        self._packets.restart()
        self._trusted = self._open = self._ending = False
        self._agreed = None

    def _acknowledged(self) -> None:
        if self._ending:
            self._base()
        elif self._agreed is not None:
            self._packets.limit, self._packets.most = self._agreed
            self._agreed = None

    def _answer(self, request: bytes) -> bytes:
        service = request[0]
        if service in _TABLES:
            return self._recorded(request) if self._trusted else _NOT_ALLOWED
        if service == _SECURITY:
            self._trusted = request[1:].ljust(PASSWORD_BYTES, b"\0") == self._password
            return _DONE if self._trusted else _NOT_ALLOWED
        if service == _IDENTIFY:
            if self._open:
                return _OUT_OF_STATE
            self._open = True
            return self._recorded(request, _IDENTITY)
        if service in _NEGOTIATE and len(request) >= 4:
            size = min(int.from_bytes(request[1:3], "big"), _PACKET_BYTES)
            usual = _DONE + size.to_bytes(2, "big") + bytes((min(request[3], _PACKETS), *request[4:][-1:]))
            answer = self._recorded(request, usual)
            if answer[0] == c1218.OK and len(answer) >= 4:
                self._agreed = int.from_bytes(answer[1:3], "big"), answer[3]
            return answer
        self._ending = service == _TERMINATE
        return _DONE

    def _recorded(self, request: bytes, usual: bytes | None = None) -> bytes:
        found = self._answers.get(request)
        if found:
            return found.pop(0) if len(found) > 1 else found[0]
        if usual is None:
            self.unknown.append(describe(request))
        return usual or _NOT_POSSIBLE
