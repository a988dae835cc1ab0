"""The sender's side of custody (docs/custody.md): what to send next, and what a receipt lets us forget.

A machine without I/O and without a clock: one for each hop, for all meters that are sent over it. The
caller says when the connection comes and goes, publishes what `next` gives, hands in what arrives on
custody/[smartMeterId], and calls `remind` now and then, or `stalled` when `waiting` has been true for some
time and nothing moved.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError
from ..transmission.custody import (
    MAX_CLAIMS,
    MAX_DROPS,
    MAX_MARKS,
    MAX_RUNS,
    MAX_STREAMS,
    Ask,
    Receipt,
    decode,
    range_digest,
)
from ..transmission.packer import pack, unpack
from ..transmission.sealing import key_id
from .outbox import CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .outbox import Entry, Outbox

# How many messages of each class go out in turn while all have some: events, profile and self-reads,
# registers, present values.
WEIGHTS = bytes((8, 4, 2, 2))

# After so many forgotten frames the receiver is told that it may forget their hashes.
_ANNOUNCE = const(64)

# So many openings of the receiver's storage (workers of a cloud) are remembered from ask to ask.
_KNOWN_SESSIONS = const(12)


class Message:
    """What to publish: a frame (`entry` is set) or, on the custody topic, an ask."""

    def __init__(self, meter: bytes, payload: bytes, entry: "Entry | None" = None) -> None:
        self.meter = meter
        self.payload = payload
        self.entry = entry


class _Meter:
    """Where one meter's conversation with the receiver stands.

    Unsettled: an ask is out (or wanted), no frame is sent and only its answer is believed. Settled: the
    answer came; frames go out, and receipts of this conversation are believed.
    """

    def __init__(self, meter: bytes, standing: "bytes | None") -> None:
        self.meter = meter
        self.settled = False
        self.nonce = b""
        self.ask: bytes | None = None  # out and not answered: repeated as it is
        self.published = False  # on this connection
        self.again = True  # begin with the first pending frame once settled
        self.claim = False  # frames that were sent are missing from receipts
        self.want = False  # ask when next there is something to send
        self.named: list[tuple[int, int]] = []
        self.told: list[tuple[int, int, int, int]] = []  # drops in the ask that is out
        self.forgotten = 0  # since the last ask
        self.cursors = [-1] * CLASSES
        self.credits = [0] * CLASSES
        self.flight: set[tuple[int, int, int]] = set()
        self.moved = False  # since it was last looked whether it had
        self.sent = [0] * CLASSES  # of our own epoch: every sequence below has been given out
        self.generation = b""
        self.before = b""  # the generation until the last change
        self.marks: list[
            tuple[bytes, int]
        ] = []  # (session, position) of believed receipts, newest session last
        if standing is not None:
            self._load(standing)

    def _load(self, standing: bytes) -> None:
        generation, marks = unpack(standing)
        self.generation = generation
        self.marks = [(session, position) for session, position in marks]

    def standing(self) -> bytes:
        return pack([self.generation, self.marks])

    def position(self, session: bytes) -> int:
        """The last commit of a session that we know of, or -1."""
        for known, position in self.marks:
            if known == session:
                return position
        return -1

    def mark(self, session: bytes, position: int) -> None:
        position = max(position, self.position(session))
        self.marks = [one for one in self.marks if one[0] != session] + [(session, position)]

    def unsettle(self) -> None:
        """Believe nothing until an ask is answered; one that is out already will do."""
        self.settled = False
        self.published = False
        if self.ask is None:
            self.nonce = b""

    def start_over(self) -> None:
        self.cursors = [-1] * CLASSES
        self.flight = set()
        self.again = False


class Sender:
    """Custody over one hop.

    `key` is the hop's (gateway.transmission.custody.hop_key), or None where there is no receiver that gives
    receipts and the broker's acknowledgement is taken for it (`custody = "broker"`). `random(count)`
    bytes, fit for cryptography. `on_rewind(meter, since)`: the receiver has lost what it stored after
    `since` (UTC seconds; 0: everything), so readers set their cursors back to it. `window`: frames per
    meter that may be on their way.

    Counters: `forgotten` frames, `refused` messages (forged, damaged, or about what was never sent),
    `mismatched` ranges, `rewinds`; `contested`: how often a generation came back that another had replaced,
    which a restored backup may cause once, and two receivers with one credential all the time.
    """

    def __init__(
        self,
        outbox: "Outbox",
        key: "bytes | None",
        random: "Callable[[int], bytes]",
        on_rewind: "Callable[[bytes, int], None] | None" = None,
        window: int = 32,
    ) -> None:
        self.forgotten = 0
        self.refused = 0
        self.mismatched = 0
        self.rewinds = 0
        self.contested = 0
        self._outbox = outbox
        self._key = key
        self._key_id = key_id(key) if key is not None else b""
        self._random = random
        self._on_rewind = on_rewind
        self._window = window
        self._up = False
        self._meters: dict[bytes, _Meter] = {}
        self._turn: list[bytes] = []

    def connected(self) -> None:
        self._up = True
        for one in self._meters.values():
            one.again = True
            one.unsettle()

    def disconnected(self) -> None:
        self._up = False

    @property
    def waiting(self) -> bool:
        """The receiver owes us an answer or receipts: `stalled` is due if nothing moves for long."""
        if self._up and self._key is not None:
            for one in self._meters.values():
                if one.flight or one.published:
                    return True
        return False

    def stalled(self) -> None:
        """Nothing came for a while: say again what is unanswered, ask again where receipts are missing."""
        for one in self._meters.values():
            self._stall(one)

    def remind(self) -> bool:
        """`stalled`, but only for meters for which nothing came since the last call: what others receive says
        nothing about them. Whether there were any."""
        found = False
        if self._up and self._key is not None:
            for one in self._meters.values():
                if (one.flight or one.published) and not one.moved:
                    self._stall(one)
                    found = True
                one.moved = False
        return found

    def _stall(self, one: _Meter) -> None:
        if not one.settled:
            one.published = False
        elif one.flight and self._key is not None:
            one.again = True
            one.claim = True
            one.unsettle()

    def check(self) -> None:
        """Ask about every meter soon, however quiet it is: now and then, so that a restored receiver is
        noticed in time."""
        for one in self._meters.values():
            one.want = True

    def next(self) -> "Message | None":
        """What to publish now, or None until something is appended, arrives, or stalls."""
        if not self._up:
            return None
        for meter in self._outbox.known_meters():
            if meter not in self._meters:
                self._meters[meter] = _Meter(meter, self._outbox.note(b"custody/" + meter))
                self._turn.append(meter)
        for i, meter in enumerate(self._turn):
            message = self._next_of(self._meters[meter])
            if message is not None:
                self._turn = self._turn[i + 1 :] + self._turn[: i + 1]
                return message
        return None

    def acknowledged(self, entry: "Entry") -> None:
        """The broker has taken a frame: enough where it is all the custody there is."""
        if self._key is None:
            self._forget(self._meters[entry.meter], entry.cls, entry.epoch, entry.sequence, entry.sequence)

    def receive(self, meter: bytes, payload: bytes) -> int:
        """Take what came on custody/[smartMeterId]. How many frames were forgotten for it."""
        one = self._meters.get(meter)
        key = self._key
        if one is None or key is None:
            return 0
        try:
            decoded = decode(meter, payload, lambda name: key if name == self._key_id else None)
        except FrameError:
            self.refused += 1
            return 0
        if decoded is None:
            return 0
        receipt = decoded[1]
        if not isinstance(receipt, Receipt):
            self.refused += 1
            return 0
        if receipt.nonce != one.nonce:
            return 0  # from before our last ask, or for someone else with our credential
        for cls, epoch, _, last, _ in receipt.ranges:
            if epoch == self._outbox.epoch and last >= one.sent[cls]:
                self.refused += 1
                return 0
        if not self._stand(one, receipt):
            return 0
        count = 0
        for cls, epoch, first, last, digest in receipt.ranges:
            count += self._check_range(one, cls, epoch, first, last, digest)
        one.moved = one.moved or count > 0
        if one.forgotten >= _ANNOUNCE:
            one.want = True
        return count

    def _stand(self, one: _Meter, receipt: Receipt) -> bool:
        """Learn where the receiver stands; False if its receipt can't be believed yet.

        The standing is noted before anything is forgotten, so no crash keeps the one without the other.
        """
        answer = not one.settled
        position = one.position(receipt.session)
        behind = answer and receipt.position < position
        if receipt.generation != one.generation or behind:
            # What is offered again may be there after all.
            one.want = not answer or one.generation != b""
            self._lost(one, receipt)
        elif answer:
            # All marks of the ask hold; the older ones can go, for this one was made after them.
            one.mark(receipt.session, receipt.position)
            one.marks = one.marks[-_KNOWN_SESSIONS:]
        elif position < 0:
            # A new opening of the storage: perhaps of a restored one. Only an ask brings that to light.
            one.want = True
            if len(one.marks) >= MAX_MARKS:
                return False
            one.mark(receipt.session, receipt.position)
        else:
            one.mark(receipt.session, receipt.position)
        self._outbox.set_note(b"custody/" + one.meter, one.standing())
        if answer:
            one.settled = one.moved = True
            one.published = False
            one.ask = None
            self._outbox.declared(one.meter, one.told)
            one.told = []
        if one.again:
            one.start_over()
        return True

    def _lost(self, one: _Meter, receipt: Receipt) -> None:
        """The receiver's storage is not the one that gave us earlier receipts."""
        known = one.generation
        if known and receipt.generation == one.before:
            self.contested += 1
        one.before = known
        one.generation = receipt.generation
        one.marks = [(receipt.session, receipt.position)]
        one.again = True
        self._outbox.offer_again(one.meter)
        if known:
            self.rewinds += 1
            if self._on_rewind is not None:
                self._on_rewind(one.meter, receipt.since)

    def _check_range(self, one: _Meter, cls: int, epoch: int, first: int, last: int, digest: bytes) -> int:
        pending = False
        count = 0
        for entry in self._held(one.meter, cls, epoch, first, last):
            count += 1
            pending = pending or not entry.kept
        if not pending:
            return 0
        if count <= last - first:
            # Some were given up or came here by another way: an ask names what we hold.
            return 0
        held = self._held(one.meter, cls, epoch, first, last)
        if range_digest(entry.sha256() for entry in held) != digest:
            self.mismatched += 1
            one.claim = True
            return 0
        return self._forget(one, cls, epoch, first, last)

    def _held(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> "Iterator[Entry]":
        """One after the other: a board has no memory for all those of a range."""
        for sequence in range(first, last + 1):
            entry = self._outbox.get(meter, cls, epoch, sequence)
            if entry is not None:
                yield entry

    def _forget(self, one: _Meter, cls: int, epoch: int, first: int, last: int) -> int:
        count = self._outbox.forget(one.meter, cls, epoch, first, last)
        one.flight = {f for f in one.flight if f[:2] != (cls, epoch) or not first <= f[2] <= last}
        one.forgotten += count
        self.forgotten += count
        return count

    def _next_of(self, one: _Meter) -> "Message | None":
        if self._key is None:
            if one.again:
                one.start_over()
        elif not one.settled or one.want:
            if one.ask is None:
                one.ask = self._make_ask(one, self._key)
                one.moved = True
            if one.published:
                return None
            one.published = True
            return Message(one.meter, one.ask)
        entry = self._pick(one)
        if entry is not None and (self._key is None or (entry.cls, entry.epoch) in one.named):
            self._take(one, entry)
            return Message(one.meter, entry.frame, entry)
        if entry is None and (one.flight or not self._outbox.drops(one.meter)):
            return None
        one.want = True  # a stream that the receiver was not asked about, or drops to declare
        return self._next_of(one)

    def _pick(self, one: _Meter) -> "Entry | None":
        """The next frame by weighted turns (smooth weighted round robin over the classes that have one)."""
        if len(one.flight) >= self._window:
            one.flight = {f for f in one.flight if self._is_pending(one.meter, f)}
            if len(one.flight) >= self._window:
                return None
        best = None
        total = 0
        for cls in range(CLASSES):
            entry = self._outbox.following(one.meter, cls, one.cursors[cls])
            if entry is not None:
                total += WEIGHTS[cls]
                one.credits[cls] += WEIGHTS[cls]
                if best is None or one.credits[cls] > one.credits[best.cls]:
                    best = entry
        if best is not None:
            one.credits[best.cls] -= total
        return best

    def _take(self, one: _Meter, entry: "Entry") -> None:
        one.cursors[entry.cls] = entry.place
        one.moved = one.moved or not one.flight
        one.flight.add((entry.cls, entry.epoch, entry.sequence))
        if entry.epoch == self._outbox.epoch:
            one.sent[entry.cls] = max(one.sent[entry.cls], entry.sequence + 1)

    def _is_pending(self, meter: bytes, number: "tuple[int, int, int]") -> bool:
        entry = self._outbox.get(meter, *number)
        return entry is not None and not entry.kept

    def _make_ask(self, one: _Meter, key: bytes) -> bytes:
        """Begin a conversation: what was receipted in an earlier one is not believed from here on."""
        one.nonce = self._random(8)
        one.settled = False
        one.published = False
        one.want = False
        one.forgotten = 0
        one.named = self._streams_to_name(one)
        one.told = self._outbox.drops(one.meter)[:MAX_DROPS]
        claims: list[tuple[int, int, int, bytes]] = []
        if one.claim:
            one.claim = False
            for number in sorted(one.flight):
                entry = self._outbox.get(one.meter, *number)
                if entry is not None and not entry.kept and len(claims) < MAX_CLAIMS:
                    claims.append((number[0], number[1], number[2], entry.sha256()))
        streams = [self._describe(one, cls, epoch) for cls, epoch in one.named]
        return Ask(one.nonce, one.generation, one.marks, streams, one.told, claims).encode(key, one.meter)

    def _streams_to_name(self, one: _Meter) -> "list[tuple[int, int]]":
        """Our own epoch, what comes next, what is on its way, then the oldest, as far as one ask goes."""
        named = [(cls, self._outbox.epoch) for cls in range(CLASSES)]
        for cls in range(CLASSES):
            entry = self._outbox.following(one.meter, cls, -1 if one.again else one.cursors[cls])
            if entry is not None:
                named.append((cls, entry.epoch))
        named += sorted((cls, epoch) for cls, epoch, _ in one.flight)
        named += self._outbox.streams(one.meter)
        unique: list[tuple[int, int]] = []
        for stream in named:
            if stream not in unique and len(unique) < MAX_STREAMS:
                unique.append(stream)
        return unique

    def _describe(self, one: _Meter, cls: int, epoch: int) -> "tuple[int, int, int, list[tuple[int, int]]]":
        runs = self._outbox.runs(one.meter, cls, epoch)
        low = runs[0][0] if runs else 0
        if epoch == self._outbox.epoch:
            # The receiver can't have what never left: it is not asked for that.
            sent = one.sent[cls]
            low = low if runs else self._outbox.next_sequence(one.meter, cls)
            runs = [(first, min(last, sent - 1)) for first, last in runs if first < sent]
        return cls, epoch, low, runs[:MAX_RUNS]
