"""MEP frames on the wire (MEP guide, chapter 2, tables 2.2 to 2.5).

Two bytes of length, most significant first and not counting themselves, then the message; a length of
zero is an alert ("Alert Sequence"). The frames of TLS and of RC4 security look alike from here.
"""

from ..._compat import const

MAX_MESSAGE = 476  # "MEP Protocol Overview": without the two bytes of length

_LENGTH_BYTES = const(2)
MAX_FRAME = _LENGTH_BYTES + MAX_MESSAGE
# So many bytes of noise in front of the largest frame are still seen through.
_NOISE = const(32)
_CANDIDATES = const(4)

MESSAGE = 1
ALERT = 2
GARBAGE = 3


def frame(message: "bytes | bytearray") -> bytes:
    return bytes((len(message) >> 8, len(message) & 0xFF)) + message


class Framer:
    """Takes received bytes apart. No received length makes it allocate more than the largest frame.

    After a length that no frame can have, nobody knows where the next frame begins: every byte is
    garbage until `reset`, which whoever knows the time calls when the line has been quiet.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(_NOISE + MAX_FRAME)
        self._end = _LENGTH_BYTES
        self.found: int | None = None
        self.reset()

    def reset(self) -> None:
        """What is unfinished will not be finished: the next byte begins a frame."""
        self._have = 0
        self._need = _LENGTH_BYTES
        self._lost = False
        self._after_alert = False

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and not ended, or everything is garbage at present."""
        return self._lost or self._have > 0

    def take(self, data: bytes, start: int) -> int:
        """Take bytes of `data` from `start` on until something is complete; gives the index after it.

        `found` is then MESSAGE, ALERT, GARBAGE, or None: all taken, more needed.
        """
        self.found = None
        if self._lost:
            return self._keep(data, start)
        while start < len(data):
            end = min(start + self._need - self._have, len(data))
            self._buffer[self._have : self._have + end - start] = data[start:end]
            self._have += end - start
            start = end
            if self._have < self._need:
                break
            if self._need > _LENGTH_BYTES:
                self.found = MESSAGE
                self._end = self._need
                self._have = 0
                self._after_alert = False
                self._need = _LENGTH_BYTES
                break
            length = self._buffer[0] << 8 | self._buffer[1]
            if not length:
                self.found = ALERT
                self._have = 0
                self._after_alert = True
                break
            if length > MAX_MESSAGE:
                self._lost = True
                return self._keep(data, start)
            self._need = _LENGTH_BYTES + length
        return start

    def _keep(self, data: bytes, start: int) -> int:
        self.found = GARBAGE
        size = len(data) - start
        if self._have + size <= len(self._buffer):
            self._buffer[self._have : self._have + size] = data[start:]
        self._have += size
        return len(data)

    def behind_noise(self) -> "list[bytes]":
        """What may be messages among the unfinished bytes: those whose length fits the end of them all.

        A line that spoils the moment before an answer (a level shifter that switches on, say) does so
        each time, and asking again would not help.
        """
        have = self._have
        if have > len(self._buffer):
            return []
        view = memoryview(self._buffer)
        found = []
        # The noise was a zero, and made an alert of itself and the length's first byte.
        if self._after_alert and have > 1 and view[0] == have - 1:
            found.append(bytes(view[1:have]))
        for start in range(1, have - _LENGTH_BYTES):
            if view[start] << 8 | view[start + 1] == have - start - _LENGTH_BYTES:
                found.append(bytes(view[start + _LENGTH_BYTES : have]))
        return found[:_CANDIDATES]

    def message(self) -> bytes:
        """The message just found, without its length; to be fetched before the next `take`."""
        return bytes(memoryview(self._buffer)[_LENGTH_BYTES : self._end])
