"""The receiver's side of custody: which frames are stored, and what their senders are told.

A machine without I/O. The caller opens a transaction of its storage, stores what a batch of messages
brought, tells the ledger of each, calls `finish`, commits, and only then publishes what `finish` gave.
What the ledger forgets costs its senders a repetition and never a frame, so all its tables are bounded.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import OutboxError
from .custody import MAX_RANGES, MAX_SPAN, Ask, Receipt, decode, range_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .custody import Range

    Key = tuple[bytes, int, int]  # meter, class, epoch

# Bounds of the ledger's tables.
MAX_HASHES = const(1024)  # per stream
MAX_STREAMS = const(512)  # per meter: more than a sender that is started again and again keeps frames of
MAX_LOOSE = const(256)  # per meter
# So many hashes of a stream stay although nobody asks about them any more: a sender that offers again what it
# keeps is told that it is here, where its epochs are short.
_STAY = const(64)
_MOST_RANGES = const(128)  # told at once; the rest when the sender asks again
STREAM_SECONDS = const(7 * 86400)  # a stream that nothing has touched for so long may go


class Stream:
    """One meter, class and epoch: the hashes of its stored frames, and who asked about it last.

    A store loads and saves it: `low`, `key_id`, `nonce`, `touched` (UTC seconds) as they are; of `hashes`
    (sequence -> SHA-256) only what `added`, `replaced` and `pruned` (nothing below remains) name. Without
    an ask `key_id` is b"" and nobody is told.
    """

    def __init__(self) -> None:
        self.low = 0
        self.key_id = b""
        self.nonce = b""
        self.touched = 0
        self.hashes: dict[int, bytes] = {}
        self.new = True
        self.added: set[int] = set()
        self.replaced: set[int] = set()
        self.pruned = 0

    def saved(self) -> None:
        """The changes are in the transaction: for stores that go on using this object."""
        self.new = False
        self.added = set()
        self.replaced = set()
        self.pruned = 0

    def add(self, sequence: int, sha256: bytes) -> bool:
        """False if other bytes are known under this number."""
        known = self.hashes.get(sequence)
        if known is None:
            self.hashes[sequence] = sha256
            self.added.add(sequence)
        return known is None or known == sha256

    def replace(self, sequence: int, sha256: "bytes | None") -> None:
        """Put another hash under this number, or (None) take it away."""
        self.added.discard(sequence)
        self.replaced.add(sequence)
        if sha256 is None:
            self.hashes.pop(sequence, None)
        else:
            self.hashes[sequence] = sha256

    def prune(self, low: int, stay: int = 0) -> None:
        """Nobody asks about sequences below `low` any more; the newest `stay` hashes stay all the same."""
        if stay:
            low = min(low, sorted(self.hashes)[-stay] if len(self.hashes) > stay else 0)
        below = [sequence for sequence in self.hashes if sequence < low]
        for sequence in below:
            del self.hashes[sequence]
            self.added.discard(sequence)
            self.replaced.discard(sequence)
        if below:
            self.pruned = max(self.pruned, low)

    def runs(self, first: int, last: int) -> "list[list[int]]":
        """The stored sequences from `first` to `last`, as ascending lists without gaps."""
        runs: list[list[int]] = []
        for sequence in sorted(s for s in self.hashes if first <= s <= last):
            if runs and runs[-1][-1] == sequence - 1 and len(runs[-1]) < MAX_SPAN:
                runs[-1].append(sequence)
            else:
                runs.append([sequence])
        return runs


class LedgerStore:
    """What a ledger keeps, inside the transaction that its caller has opened."""

    def load(self, keys: "Iterable[Key]") -> "dict[Key, Stream]":
        """The streams that exist, by (meter, class, epoch)."""
        raise NotImplementedError

    def save(self, streams: "dict[Key, Stream]") -> None:
        """Write the changes; see Stream."""
        raise NotImplementedError

    def trim(self, meter: bytes, before: int, most: int) -> None:
        """Delete streams of the meter not touched since `before`, and beyond `most` the oldest."""
        raise NotImplementedError

    def add_loose(self, meter: bytes, sha256: bytes) -> None:
        """Remember stored bytes whose number is not known; MAX_LOOSE per meter, the oldest go."""
        raise NotImplementedError

    def remove_loose(self, meter: bytes, sha256: bytes) -> None:
        """Forget them again; nothing if they are not there."""
        raise NotImplementedError

    def has(self, meter: bytes, sha256: bytes) -> bool:
        """Are these bytes known, loose or under any number of this meter? Asked for claims only."""
        raise NotImplementedError

    def add_drop(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> None:
        """A sender declared that these will not come; idempotent."""
        raise NotImplementedError

    def generation(self, meter: bytes) -> "tuple[bytes, int] | None":
        """(generation, since) of the meter, or None when there is none yet."""
        raise NotImplementedError

    def set_generation(self, meter: bytes, generation: bytes, since: int) -> None:
        raise NotImplementedError

    def session(self, session: bytes) -> "tuple[int, int] | None":
        """(position, UTC seconds of its last commit) of an opening of this storage."""
        raise NotImplementedError

    def advance(self, session: bytes, old: int, position: int, now: int) -> bool:
        """Set a session's position where it is `old` (0: make the session); False where it is not."""
        raise NotImplementedError

    def last_commit(self, opened: int) -> int:
        """The latest UTC seconds of a commit of all sessions opened at or before `opened` (0: none)."""
        raise NotImplementedError


class Ledger:
    """One opening of a storage. It lives no longer than its connection to the storage: after any error,
    a failed or doubtful commit above all, throw it away and open a new one."""

    def __init__(
        self,
        store: LedgerStore,
        find_key: "Callable[[bytes, bytes], bytes | None]",
        random: "Callable[[int], bytes]",
        now: int,
    ) -> None:
        """`find_key(meter, key id)`: the hop key of a sender that may speak for this meter, or None.
        `random(count)` bytes, fit for cryptography. `now`: UTC seconds."""
        self.store = store
        self.session = now.to_bytes(4, "big") + random(4)
        self.position = 0
        self._find_key = find_key
        self._random = random
        self._frames: list[tuple[Key, int, bytes]] = []
        self._asks: list[tuple[bytes, bytes, Ask]] = []
        self._streams: dict[Key, Stream] = {}
        self._receipts: dict[tuple[bytes, bytes, bytes], list[Range]] = {}

    def frame(self, meter: bytes, cls: int, epoch: int, sequence: int, sha256: bytes) -> None:
        """This frame has been stored, or was stored before, or is one we do not want and will not miss."""
        self._frames.append(((meter, cls, epoch), sequence, sha256))

    def unreadable(self, meter: bytes, sha256: bytes) -> None:
        """These bytes have been stored as a dead letter, but their number can't be read."""
        self.store.add_loose(meter, sha256)

    def ask(self, meter: bytes, payload: bytes) -> bool:
        """Take an ask; False when no key of this meter is named. Raises FrameError for a wrong one."""
        decoded = decode(meter, payload, lambda name: self._find_key(meter, name))
        if decoded is None or not isinstance(decoded[1], Ask):
            return False
        self._asks.append((meter, decoded[0], decoded[1]))
        return True

    def finish(self, now: int) -> "list[tuple[bytes, bytes]]":
        """(meter, receipt) to publish after the commit. Writes all that the store has to keep.

        Raises OutboxError when the storage has gone back behind what this ledger wrote: roll back, open
        a new ledger, and take the batch again.
        """
        if not self._frames and not self._asks:
            return []
        wanted = {key for key, _, _ in self._frames}
        for meter, _, ask in self._asks:
            wanted.update((meter, cls, epoch) for cls, epoch, _, _ in ask.streams)
            wanted.update((meter, cls, epoch) for cls, epoch, _, _ in ask.claims)
        self._streams = self.store.load(wanted)
        fresh = {key[0] for key in wanted if key not in self._streams}
        for key in wanted:
            self._streams.setdefault(key, Stream()).touched = now
        stored = self._store_frames()
        for meter, name, ask in self._asks:
            self._answer(meter, name, ask)
        self._tell(stored)
        for stream in self._streams.values():
            if len(stream.hashes) > MAX_HASHES:
                stream.prune(sorted(stream.hashes)[-MAX_HASHES])
        self.store.save(self._streams)
        for meter in fresh:
            self.store.trim(meter, now - STREAM_SECONDS, MAX_STREAMS)
        if not self.store.advance(self.session, self.position, self.position + 1, now):
            raise OutboxError("the storage has gone back behind position %d of its own" % self.position)
        self.position += 1
        receipts = self._seal()
        self._frames = []
        self._asks = []
        self._streams = {}
        self._receipts = {}
        return receipts

    def _store_frames(self) -> "dict[Key, set[int]]":
        stored: dict[Key, set[int]] = {}
        for key, sequence, sha256 in self._frames:
            if self._streams[key].add(sequence, sha256):
                stored.setdefault(key, set()).add(sequence)
            else:
                # Two frames under one number (a clone of a running machine, a forgery): both are stored, and
                # whoever claims the second by its hash gets a receipt.
                self.store.add_loose(key[0], sha256)
        return stored

    def _answer(self, meter: bytes, name: bytes, ask: Ask) -> None:
        self._check_marks(meter, ask)
        for cls, epoch, first, last in ask.drops:
            self.store.add_drop(meter, cls, epoch, first, last)
        claimed: dict[Key, set[int]] = {}
        for cls, epoch, sequence, sha256 in ask.claims:
            self._claim(meter, self._streams[(meter, cls, epoch)], sequence, sha256)
            claimed.setdefault((meter, cls, epoch), set()).add(sequence)
        receipts = self._receipts.setdefault((meter, name, ask.nonce), [])
        for cls, epoch, low, runs in ask.streams:
            key = (meter, cls, epoch)
            stream = self._streams[key]
            # One ask late, so that two copies of a running machine do not wipe out each other's hashes.
            stream.prune(min(low, stream.low), _STAY)
            stream.key_id, stream.nonce, stream.low = name, ask.nonce, low
            for first, last in runs:
                self._add_ranges(receipts, key, stream.runs(first, last), claimed.get(key, set()))

    def _check_marks(self, meter: bytes, ask: Ask) -> None:
        """A receipt of ours that we know nothing of shows that our storage was restored from a backup."""
        known = self.store.generation(meter)
        if known is None:
            self.store.set_generation(meter, self._random(8), 0)
            return
        if ask.generation != known[0]:
            return  # told of the change already, or about to be
        since = []
        for session, position in ask.marks:
            row = self.store.session(session)
            if row is None:
                # Every session that is older than the lost one was in the backup.
                since.append(self.store.last_commit(int.from_bytes(session[:4], "big")))
            elif row[0] < position:
                since.append(row[1])
        if since:
            self.store.set_generation(meter, self._random(8), min(since))

    def _claim(self, meter: bytes, stream: Stream, sequence: int, sha256: bytes) -> None:
        known = stream.hashes.get(sequence)
        if known == sha256:
            return
        if known is not None:
            self.store.add_loose(meter, known)
            stream.replace(sequence, None)
        if self.store.has(meter, sha256):
            self.store.remove_loose(meter, sha256)
            stream.replace(sequence, sha256)

    def _tell(self, stored: "dict[Key, set[int]]") -> None:
        """Receipts for what this batch brought and, in ranges of their own, for all before it."""
        for key, sequences in stored.items():
            stream = self._streams[key]
            if stream.key_id:
                receipts = self._receipts.setdefault((key[0], stream.key_id, stream.nonce), [])
                runs = stream.runs(min(stream.low, *sequences), max(sequences))
                # Newest first: should the message be full, the oldest can wait for an ask.
                runs.reverse()
                self._add_ranges(receipts, key, runs, sequences)

    def _add_ranges(
        self, receipts: "list[Range]", key: "Key", runs: "list[list[int]]", apart: "set[int]"
    ) -> None:
        """A range for each part of each run that lies wholly in or wholly outside of `apart`."""
        hashes = self._streams[key].hashes
        for run in runs:
            start = 0
            for i in range(1, len(run) + 1):
                if i == len(run) or (run[i] in apart) != (run[start] in apart):
                    digest = range_digest(hashes[sequence] for sequence in run[start:i])
                    one = (key[1], key[2], run[start], run[i - 1], digest)
                    if one not in receipts:
                        receipts.append(one)
                    start = i

    def _seal(self) -> "list[tuple[bytes, bytes]]":
        sealed = []
        for (meter, name, nonce), ranges in self._receipts.items():
            key = self._find_key(meter, name)
            generation = self.store.generation(meter)
            if key is None or generation is None:
                continue  # the sender's credential was withdrawn since it asked
            for i in range(0, max(len(ranges), 1), MAX_RANGES):
                receipt = Receipt(
                    nonce,
                    generation[0],
                    generation[1],
                    self.session,
                    self.position,
                    ranges[i : i + MAX_RANGES],
                )
                sealed.append((meter, receipt.encode(key, meter)))
        return sealed
