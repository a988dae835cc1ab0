"""A concentrator's side towards its adapters: takes their frames into its outbox and gives receipts.

A machine without I/O around the ledger. Hashes of frames live in memory only, for what a ledger forgets
costs a repetition at most; sessions and generations are notes of the outbox, so that adapters learn when
its storage has gone back.
"""

import hashlib

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError, OutboxError
from ..transmission.ledger import MAX_LOOSE, Ledger, LedgerStore, Stream
from ..transmission.model import REGISTERS_CLASS
from ..transmission.packer import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..transmission.ledger import Key
    from .outbox import Outbox

_MAX_SESSIONS = const(32)


class OutboxLedgerStore(LedgerStore):
    """Ledger tables beside an outbox; durable with the outbox's next sync, as far as they must be."""

    def __init__(self, outbox: "Outbox") -> None:
        self._outbox = outbox
        self._streams: dict[Key, Stream] = {}
        self._loose: dict[bytes, list[bytes]] = {}

    def load(self, keys: "Iterable[Key]") -> "dict[Key, Stream]":
        return {key: self._streams[key] for key in keys if key in self._streams}

    def save(self, streams: "dict[Key, Stream]") -> None:
        for stream in streams.values():
            stream.saved()
        self._streams.update(streams)

    def trim(self, meter: bytes, before: int, most: int) -> None:
        ages = sorted((s.touched, key) for key, s in self._streams.items() if key[0] == meter)
        for i, (touched, key) in enumerate(ages):
            if touched < before or i < len(ages) - most:
                del self._streams[key]

    def forget_hashes(self, meter: bytes) -> None:
        """Vouch no longer for what was passed on and has left the outbox: it may be nowhere now."""
        for key, stream in self._streams.items():
            if key[0] == meter:
                stream.hashes = {
                    sequence: sha256
                    for sequence, sha256 in stream.hashes.items()
                    if self._holds(key, sequence, sha256)
                }
        self._loose[meter] = []

    def _holds(self, key: "Key", sequence: int, sha256: bytes) -> bool:
        meter, cls, epoch = key
        entry = self._outbox.get(meter, cls, epoch, sequence)
        try:
            return entry is not None and entry.sha256() == sha256
        except OutboxError:
            return False

    def add_loose(self, meter: bytes, sha256: bytes) -> None:
        loose = self._loose.setdefault(meter, [])
        if sha256 not in loose:
            loose.append(sha256)
        if len(loose) > MAX_LOOSE:
            loose.pop(0)

    def remove_loose(self, meter: bytes, sha256: bytes) -> None:
        if sha256 in self._loose.get(meter, ()):
            self._loose[meter].remove(sha256)

    def has(self, meter: bytes, sha256: bytes) -> bool:
        return sha256 in self._loose.get(meter, ()) or any(
            key[0] == meter and sha256 in stream.hashes.values() for key, stream in self._streams.items()
        )

    def asked(self, meter: bytes, cls: "int | None" = None, epoch: int = 0) -> "list[bytes]":
        """Key ids of those who asked about a stream, or (None) about any of the meter."""
        if cls is None:
            return [one.key_id for key, one in self._streams.items() if key[0] == meter and one.key_id]
        stream = self._streams.get((meter, cls, epoch))
        return [stream.key_id] if stream is not None and stream.key_id else []

    def add_drop(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> None:
        self._outbox.add_drop(meter, cls, epoch, first, last)

    def generation(self, meter: bytes) -> "tuple[bytes, int] | None":
        note = self._outbox.note(b"generation/" + meter)
        if note is None:
            return None
        generation, since = unpack(note)
        return generation, since

    def set_generation(self, meter: bytes, generation: bytes, since: int) -> None:
        self._outbox.set_note(b"generation/" + meter, pack([generation, since]))

    def session(self, session: bytes) -> "tuple[int, int] | None":
        for one, position, utc in self._sessions():
            if one == session:
                return position, utc
        return None

    def advance(self, session: bytes, old: int, position: int, now: int) -> bool:
        if old == 0:
            earlier = self._sessions()[1 - _MAX_SESSIONS :]
            self._outbox.set_note(b"ledger/earlier", pack(earlier))
        elif self.session(session) is None or self.session(session)[0] != old:  # type: ignore[index]
            return False
        self._outbox.set_note(b"ledger/session", pack([session, position, now]))
        return True

    def last_commit(self, opened: int) -> int:
        times = [utc for one, _, utc in self._sessions() if int.from_bytes(one[:4], "big") <= opened]
        return max(times) if times else 0

    def _sessions(self) -> "list[tuple[bytes, int, int]]":
        """Oldest first; the current one has a note of its own, for it is written with each batch."""
        earlier = self._outbox.note(b"ledger/earlier")
        current = self._outbox.note(b"ledger/session")
        sessions = unpack(earlier) if earlier is not None else []
        if current is not None:
            sessions.append(unpack(current))
        return [(one, position, utc) for one, position, utc in sessions]


class Receiver:
    """Call `frame` and `ask` for what arrives, then `finish`, then the outbox's sync, and only then publish
    what `finish` gave. After an error of the outbox, throw it away and make a new one.

    `strangers` counts frames of streams that no adapter with a key has asked about: they are not taken, so
    that nobody fills the outbox, or the cloud, who has no more than the right to publish. `full` counts
    those that there was no room for."""

    def __init__(
        self,
        outbox: "Outbox",
        find_key: "Callable[[bytes, bytes], bytes | None]",
        number: "Callable[[bytes, bytes], tuple[int, int, int]]",
        random: "Callable[[int], bytes]",
        now: int,
    ) -> None:
        """`number(meter, frame)`: its class, epoch and sequence; raises FrameError for what can't be read.
        `find_key`, `random`, `now` as for Ledger."""
        self.strangers = 0
        self.full = 0
        self._outbox = outbox
        self._find_key = find_key
        self._number = number
        self._random = random
        self._store = OutboxLedgerStore(outbox)
        self._ledger = Ledger(self._store, find_key, random, now)

    def frame(self, meter: bytes, payload: bytes) -> bool:
        """Take an adapter's frame; False, and its adapter keeps it, if it is a stranger's or has no room."""
        sha256 = hashlib.sha256(payload).digest()
        try:
            cls, epoch, sequence = self._number(meter, payload)
        except FrameError:
            return self._may_send(meter, self._store.asked(meter)) and self._unreadable(
                meter, payload, sha256
            )
        if not self._may_send(meter, self._store.asked(meter, cls, epoch)):
            return False
        try:
            self._outbox.append_foreign(meter, cls, epoch, sequence, payload)
        except OutboxError:
            # Where another frame holds the number, this one has to wait for it.
            self.full += self._outbox.get(meter, cls, epoch, sequence) is None
            return False
        self._ledger.frame(meter, cls, epoch, sequence, sha256)
        return True

    def ask(self, meter: bytes, payload: bytes) -> bool:
        """Take an adapter's ask; False when it names no key of ours. Raises FrameError."""
        return self._ledger.ask(meter, payload)

    def rewind(self, meter: bytes, since: int) -> None:
        """The next receiver has lost what it stored of this meter (Sender's `on_rewind`): adapters are told
        so, as they may still keep what we do not. `since` is on our clock: what we gave receipts for
        before it is safe; 0 where that is not known."""
        self._store.forget_hashes(meter)
        self._store.set_generation(meter, self._random(8), since)

    def finish(self, now: int) -> "list[tuple[bytes, bytes]]":
        """(meter, receipt) to publish after the outbox's sync. Raises OutboxError; see Ledger.finish."""
        return self._ledger.finish(now)

    def _may_send(self, meter: bytes, names: "list[bytes]") -> bool:
        for name in names:
            if self._find_key(meter, name) is not None:
                return True
        self.strangers += 1
        return False

    def _unreadable(self, meter: bytes, payload: bytes, sha256: bytes) -> bool:
        """What can't be read here goes on under a number of our own: perhaps the cloud can read it."""
        if not self._store.has(meter, sha256):
            try:
                self._outbox.append(meter, REGISTERS_CLASS, lambda epoch, sequence: payload)
            except OutboxError:
                self.full += 1
                return False
        self._ledger.unreadable(meter, sha256)
        return True
