"""Transactions: requests in ET52 are carried out together, their responses stand in ET53.

MEP guide, chapter 4, "Table Transaction Guidelines", ET52, ET53.
"""

from collections.abc import Callable

from .image import Image, et
from .service import TableService

_REQUESTS = 0
_RESPONSES = 1
_PARTIAL_RESPONSES = 2
_HEADER = 5  # size (2), type (1), number (2)
_NUMBER = 2
_LOCK_MS = 10_000
_LOCKED_OFFSET = 97 + 6 * 7  # ET54: 97 + ET11.32 * ET11.33


class Transactions:
    """`now_ms` tells the time, for the lock that a client may have."""

    def __init__(self, image: Image, service: TableService, now_ms: Callable[[], int]) -> None:
        self._image = image
        self._service = service
        self._now_ms = now_ms
        self._locked_until = 0
        self._holder = 0
        self._last: bytes | None = None
        self._running = False
        image.after_write[et(52)] = self._written

    def _written(self, advanced: bool) -> bool:
        """Carry the transaction out when its end is there; the same one twice in a row runs once, and one
        that writes ET52 starts no other."""
        if self._running:
            return True
        if self._locked_by() not in (0, self._image.channel):
            return False
        held = self._image.read(et(52))
        size = int.from_bytes(held[:2], "little")
        if held[2] != _REQUESTS or not _HEADER + _NUMBER <= size <= len(held):
            return True
        transaction = held[:size]
        if transaction[-_NUMBER:] != transaction[3:_HEADER] or transaction == self._last:
            return True
        self._last = transaction
        self._running = True
        try:
            self._carry_out(transaction, advanced)
        finally:
            self._running = False
        return True

    def lock(self, holder: int, asker: int) -> bool:
        """EP61: `holder` is the channel that gets the tables, 0 for none; False when another one has them."""
        if self._locked_by() not in (0, asker):
            return False
        self._holder = holder
        self._locked_until = self._now_ms() + _LOCK_MS
        self._show(holder)
        return True

    def _show(self, holder: int) -> None:
        """In ET54, "MEP TX Locked" and "MEP TX Lock Channel"."""
        self._image.write(et(54), _LOCKED_OFFSET, bytes([holder > 0, holder]))

    def _locked_by(self) -> int:
        if self._holder and self._now_ms() >= self._locked_until:
            self._holder = 0
            self._show(0)
        return self._holder

    def _carry_out(self, transaction: bytes, advanced: bool) -> None:
        number = transaction[3:_HEADER]
        room = len(self._image.read(et(53))) - _HEADER - _NUMBER
        responses = bytearray()
        kind = _RESPONSES
        rest = transaction[_HEADER:-_NUMBER]
        while rest:
            length = int.from_bytes(rest[:2], "little")
            message = rest[2 : 2 + length]
            if not length or len(message) < length:
                kind = _PARTIAL_RESPONSES
                break
            response = self._service.answer(message, advanced)
            if len(responses) + 2 + len(response) > room:
                kind = _PARTIAL_RESPONSES
                break
            responses += len(response).to_bytes(2, "little") + response
            rest = rest[2 + length :]
        total = _HEADER + len(responses) + _NUMBER
        answer = total.to_bytes(2, "little") + bytes([kind]) + number + bytes(responses) + number
        self._image.write(et(53), 0, answer)
