"""A recording of the optical port in words."""

from __future__ import annotations

from ..drivers import c1218
from ..drivers.optical.failures import RIGHTS, describe, refused
from ..drivers.optical.packets import ACKNOWLEDGED, PACKET, SPOILED, Framer
from ..drivers.optical.services import table_data
from ..drivers.refusals import refusal
from ..errors import ProtocolError
from .record import EVENT, SENT, Recording

_LARGEST_PACKET = 8192  # C12.18: the length of its data fits 13 bits
_SECURITY = 0x51


def transcript(recording: Recording) -> list[str]:
    """A line for everything that went over the line."""
    about = recording.about
    lines = [
        f"{about.get('protocol')} on {about.get('port')} at {about.get('baud')} baud, "
        f"started {about.get('started')}"
    ]
    sent = _Side("->")
    received = _Side("<-", sent)
    for entry in recording.entries:
        if entry.what == EVENT:
            found = [f"-- {entry.text}"]
        else:
            found = (sent if entry.what == SENT else received).take(entry.data)
        lines += [f"{entry.ms / 1000:10.3f}  {line}" for line in found]
    return lines


class _Side:
    """What one side says. `asked`: the other side, where that is the one that asks."""

    def __init__(self, arrow: str, asked: _Side | None = None) -> None:
        self.message = b""
        self._arrow = arrow
        self._asked = asked
        self._framer = Framer(_LARGEST_PACKET)
        self._parts = b""
        self._last: tuple[int, int] | None = None

    def take(self, data: bytes) -> list[str]:
        if self._asked is None and data[6:7] == bytes((_SECURITY,)):
            # Its CRC was blanked with the password.
            self.message = data[6:]
            return [f"{self._arrow} {describe(self.message)}, not recorded"]
        found: list[str] = []
        at = 0
        while True:
            at = self._framer.take(data, at)
            kind = self._framer.found
            if kind is None:
                return found
            if kind == PACKET:
                found.append(f"{self._arrow} {self._packet()}")
            else:
                word = {ACKNOWLEDGED: "ACK", SPOILED: "a spoiled packet"}.get(kind, "NAK")
                found.append(f"{self._arrow} {word}")

    def _packet(self) -> str:
        framer = self._framer
        mark = (framer.control, framer.check)
        if mark == self._last:
            return "the same packet again"
        self._last = mark
        self._parts += framer.data
        if framer.sequence:
            return f"packet of a longer message, {framer.sequence} to come"
        self.message, self._parts = self._parts, b""
        if self._asked is None:
            return describe(self.message)
        return _answer(self._asked.message, self.message)


def _answer(request: bytes, answer: bytes) -> str:
    code = answer[0]
    is_table = request[:1] in (b"\x30", b"\x3f", b"\x40", b"\x4f")
    if code != c1218.OK and request:
        return str(refusal(code, request, RIGHTS) if is_table else refused(request, code))
    if not is_table:
        return answer.hex(" ")
    try:
        data = table_data(request, answer)
    except ProtocolError as error:
        return str(error)
    return f"00, {len(data)} bytes: {data.hex(' ')}" if data else "00, done"
