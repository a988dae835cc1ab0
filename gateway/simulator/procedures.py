"""Procedures: BT07 starts one, BT08 or ET59 holds its result (MEP guide, chapter 4, "Calling Procedures").

Only what a MEP client may call and this meter has a use for is carried out; the rest is unrecognized.
"""

from .image import EXTENDED, Image, et

_REMOVE_DEVICE = EXTENDED + 17

# Result codes.
_DONE = 0
_INVALID_PARAMETER = 2
_NOT_ALLOWED = 5
_UNRECOGNIZED = 6

# Table C.2: what the basic key may start: EP16, EP17, EP61, and EP39 (chapter 2, "Access Levels").
_BASIC_PROCEDURES = frozenset(EXTENDED + number for number in (16, 17, 39, 61))

_FLAGS_OFFSET = 30  # ET50: bit 0 registered, bit 1 responses in ET59
_ANSWER_IN_ET59 = 2


class Procedures:
    def __init__(self, image: Image) -> None:
        self._image = image
        self._last_number = -1
        image.after_write[7] = self._start

    def _start(self, advanced: bool) -> bool:
        """Carry out what was written to BT07; False when its sequence number repeats the last one's."""
        request = self._image.read(7)
        procedure = int.from_bytes(request[:2], "little") & 0xFFF
        number = request[2]
        if number == self._last_number:
            return False
        self._last_number = number
        if not advanced and procedure not in _BASIC_PROCEDURES:
            result = _NOT_ALLOWED
        elif procedure == _REMOVE_DEVICE:
            result = self._remove(request[3])
        else:
            result = _UNRECOGNIZED
        flags = self._image.read(et(50))[_FLAGS_OFFSET]
        answer = procedure.to_bytes(2, "little") + bytes([number, result])
        self._image.write(et(59) if flags & _ANSWER_IN_ET59 else 8, 0, answer)
        return True

    def _remove(self, action: int) -> int:
        """EP17: the client is no longer registered."""
        if action > 1:
            return _INVALID_PARAMETER
        flags = self._image.read(et(50))[_FLAGS_OFFSET]
        self._image.write(et(50), _FLAGS_OFFSET, bytes([flags & 0xFE]))
        return _DONE
