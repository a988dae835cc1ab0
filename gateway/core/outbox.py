"""The outbox as the rest of core sees it: what must survive until someone else has it.

Every frame in it is known by meter, class, epoch and sequence (docs/custody.md). A frame is *pending*
until the receiver has receipted it; then it is *kept* while its space is not needed, because a receiver
restored from a backup will want it again.
"""

import hashlib

from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The largest frame an outbox takes (docs/transmission-format.md).
MAX_FRAME = const(8192)

CLASSES = const(4)

# More ranges of drops than this per meter are joined, naming frames between them too.
_MAX_DROPS = const(16)


def join_drop(ranges: "list[tuple[int, int, int, int]]", cls: int, epoch: int, first: int, last: int) -> None:
    """Add a range to the drops of a meter, joined with a near one."""
    for i, (c, e, f, n) in enumerate(ranges):
        near = f <= last + 1 and first <= n + 1
        if (c, e) == (cls, epoch) and (near or len(ranges) >= _MAX_DROPS):
            ranges[i] = (c, e, min(f, first), max(n, last))
            return
    ranges.append((cls, epoch, first, last))


class Entry:
    """One frame in the outbox.

    `place` rises in the order of appending within a meter and class, and is never used twice in one opening.
    `kept`: the receiver has it; it only waits for its space to be needed.
    """

    def __init__(self, meter: bytes, cls: int, epoch: int, sequence: int, place: int, frame: bytes) -> None:
        self.meter = meter
        self.cls = cls
        self.epoch = epoch
        self.sequence = sequence
        self.place = place
        self.frame = frame
        self.kept = False

    def sha256(self) -> bytes:
        return hashlib.sha256(self.frame).digest()


class Outbox:
    """Frames between their making and their receipt.

    Calls that only touch memory are plain functions; what they change is durable after the next `sync`.
    After a crash any of the frames since may be there or not. Notes, receipts and drops are there as of one
    sync, and never without the frames before them: so a note written before `forget` is never lost where the
    forgetting is not.

    When space runs out, kept frames go first, oldest first; then the oldest pending frames of the
    present class, which become `drops`. Frames of other classes are never dropped: `append` refuses.
    """

    # Bytes taken, and those there are.
    used: int
    capacity: int
    # Present values that gave way, files that are not as they were written, bytes that power took in the
    # middle of a write.
    dropped = 0
    damaged = 0
    torn = 0

    # Random, 32 bits, drawn anew at each opening: a number is never used twice, not after a rolled-back
    # flash or a cloned card either.
    epoch = 0

    # So much is in memory only that a sync should not wait.
    due = False

    # Called with the class after each append, so that who waits for work learns of it.
    on_append: "Callable[[int], None] | None" = None

    def append(self, meter: bytes, cls: int, encode: "Callable[[int, int], bytes]") -> Entry:
        """Take a frame of our own; `encode(epoch, sequence)` makes its bytes.

        Sequences count from 0 per meter and class. Raises OutboxError when there is no room or the
        frame is too long; then nothing has changed and the sequence is not used up. What `encode`
        raises passes through in the same way.
        """
        raise NotImplementedError

    def append_foreign(self, meter: bytes, cls: int, epoch: int, sequence: int, frame: bytes) -> Entry:
        """Take another sender's frame unmodified (a concentrator's side).

        A frame already here, pending or kept, with the same bytes is returned as it is. Raises OutboxError
        when there is no room, or when other bytes are pending under the same number: then its sender
        must not get a receipt yet and will offer it again.
        """
        raise NotImplementedError

    async def sync(self) -> None:
        """Return once all that was changed before the call is durable. Raises OutboxError."""
        raise NotImplementedError

    def meters(self) -> "Sequence[bytes]":
        """Meters with pending frames or drops to declare."""
        raise NotImplementedError

    def known_meters(self) -> "Sequence[bytes]":
        """All meters that it holds anything of, what is kept included."""
        raise NotImplementedError

    def following(self, meter: bytes, cls: int, place: int) -> "Entry | None":
        """The first pending frame of a meter and class with a greater place (-1: from the start)."""
        raise NotImplementedError

    def get(self, meter: bytes, cls: int, epoch: int, sequence: int) -> "Entry | None":
        """The frame, pending or kept, or None."""
        raise NotImplementedError

    def streams(self, meter: bytes) -> "list[tuple[int, int]]":
        """(class, epoch) of all pending frames, in the order in which they began."""
        raise NotImplementedError

    def runs(self, meter: bytes, cls: int, epoch: int) -> "list[tuple[int, int]]":
        """Pending sequences as ascending runs (first, last) without gaps."""
        raise NotImplementedError

    def next_sequence(self, meter: bytes, cls: int) -> int:
        """What the next `append` will use; everything below has been appended under our own epoch."""
        raise NotImplementedError

    def forget(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> int:
        """The receiver has these: pending ones become kept. How many did."""
        raise NotImplementedError

    def offer_again(self, meter: bytes) -> int:
        """The receiver lost its storage: what is kept becomes pending, in its old order. How many."""
        raise NotImplementedError

    def whole_since(self, cls: int) -> "int | None":
        """UTC seconds: all frames of a class that were appended since then are here, pending or kept. None
        where that can't be told."""
        return None

    def drops(self, meter: bytes) -> "list[tuple[int, int, int, int]]":
        """(class, epoch, first, last) of pending frames that gave way, oldest first, not yet declared."""
        raise NotImplementedError

    def add_drop(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> None:
        """Another sender declared these to us; they are passed on like our own (a concentrator's side)."""
        raise NotImplementedError

    def declared(self, meter: bytes, drops: "Sequence[tuple[int, int, int, int]]") -> None:
        """The receiver knows of these drops."""
        raise NotImplementedError

    def note(self, name: bytes) -> "bytes | None":
        """A small record: a cursor, or what custody remembers of its receiver."""
        raise NotImplementedError

    def set_note(self, name: bytes, value: "bytes | None") -> None:
        """Write, replace or (None) remove a record, in the order of the calls around it."""
        raise NotImplementedError

    def losses(self) -> "Sequence[bytes]":
        """Meters of which readings were spoiled in here that they may still hold themselves; told once."""
        return ()

    def close(self) -> None:
        """Give files back; does not sync."""
        raise NotImplementedError
