"""An update that a command began: the bundle is asked for piece by piece (docs/update.md).

Loaded for an update only.
"""

import asyncio

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import Expired, UpdateError
from ..transmission.commands import MAX_PIECE, Piece

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# How long a piece may take until it is asked for again; doubles while none comes.
_PATIENCE_MS = const(5000)
_MOST_PATIENCE_MS = const(60000)
# Without any piece for so long, who had the bundle is gone.
_SILENCE_MS = const(600000)
# How many seals of pieces are checked for each that was asked for.
_CHECKS = const(4)


class Updater:
    """What can replace the program: a board's has slots, elsewhere there is none."""

    def start(self, size: int, lower: bool) -> "Any":
        """What takes a bundle of `size` bytes: it has `write(data)`, `finish(note)` and `unneeded`, as
        micropython/ota.py. Raises UpdateError."""
        raise NotImplementedError

    def outcome(self, note: str) -> "tuple[bool, str] | None":
        """How the update that finished with `note` went, in words, too; None while it is on trial."""
        raise NotImplementedError

    def ended(self) -> None:
        """The bundle is taken, or will not be: what it needed can be forgotten."""

    def restart(self) -> None:
        """To try what was taken."""
        raise NotImplementedError


class Transfer:
    """`tag`: of the command. `ask(offset, count)`: says that these bytes are wanted."""

    def __init__(self, tag: bytes, ask: "Callable[[int, int], None]") -> None:
        self._tag = tag
        self._ask = ask
        self._offset = 0
        self._count = 0
        self._data = b""
        self._error = ""
        self._checks = 0
        self._news = asyncio.Event()

    def has_time(self) -> bool:
        """Whether one more message may be looked at, which may be a piece; counts it."""
        self._checks -= 1
        return self._checks >= 0

    def take(self, piece: "Any") -> None:
        """An authentic message; what was not asked for is dropped."""
        wanted = isinstance(piece, Piece) and piece.tag == self._tag and piece.offset == self._offset
        if wanted and len(piece.data) == self._count and not self._data:
            self._data = piece.data
            self._news.set()

    def stop(self, why: str) -> None:
        self._error = why
        self._news.set()

    async def run(self, updater: Updater, size: int, lower: bool) -> str:
        """ "" when what was taken is to be tried: the gateway restarts; else what there is to say. Raises
        UpdateError."""
        update = updater.start(size, lower)
        while self._offset < size and not update.unneeded:
            data = await self._piece(min(MAX_PIECE, size - self._offset))
            await update.write(data)
            self._offset += len(data)
        if update.unneeded:
            return "version %s is what runs" % update.bundle.version
        await update.finish(self._tag.hex())
        return ""

    async def _piece(self, count: int) -> bytes:
        self._count = count
        self._data = b""
        patience = _PATIENCE_MS
        began = clock.monotonic_ms()
        while clock.monotonic_ms() - began < _SILENCE_MS:
            self._news.clear()
            self._checks = _CHECKS
            self._ask(self._offset, count)
            try:
                await clock.wait_for_ms(self._news.wait(), patience)
            except Expired:
                patience = min(2 * patience, _MOST_PATIENCE_MS)
            if self._error:
                raise UpdateError(self._error)
            if self._data:
                return self._data
        raise UpdateError(
            "no more of the bundle came for %d minutes, %d bytes had; send the command again"
            % (_SILENCE_MS // 60000, self._offset)
        )
