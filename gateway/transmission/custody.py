"""Who has stored what: asks and receipts (docs/custody.md).

A sender asks where the receiver stands, the receiver says which frames it has stored durably. Both are
sealed under the hop's key. A frame is known by class, epoch and sequence; a range of frames is proven by
SHA-256 over the SHA-256 of each, so that a receiver keeps 32 bytes per frame and no frames.
"""

import hashlib

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError
from .sealing import elements_of, hmac_sha256, seal, sealed_with, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Run = tuple[int, int]
    Mark = tuple[bytes, int]
    StreamAsk = tuple[int, int, int, list[Run]]
    Drop = tuple[int, int, int, int]
    Claim = tuple[int, int, int, bytes]
    Range = tuple[int, int, int, int, bytes]

ASK = const(1)
RECEIPT = const(2)

# Bounds of one message; what does not fit is said in the next one.
MAX_MARKS = const(16)
MAX_STREAMS = const(32)
MAX_RUNS = const(8)
MAX_DROPS = const(32)
MAX_CLAIMS = const(16)
MAX_RANGES = const(32)
MAX_SPAN = const(1024)  # frames in one range of a receipt

_CLASS = (0, 3)
_U32 = (0, 0xFFFFFFFF)
_SEQUENCE = (0, 0xFFFFFFFFFF)  # as in frames
_U63 = (0, 0x7FFFFFFFFFFFFFFF)


def hop_key(credential: bytes) -> bytes:
    """The key of a hop from the credential (the MQTT password) that its sender has there."""
    return hmac_sha256(credential, b"osgp-gateway custody hop key 1")


def range_digest(hashes: "Iterable[bytes]") -> bytes:
    """SHA-256 over the SHA-256 of each frame, in order of sequence."""
    digest = hashlib.sha256()
    for one in hashes:
        digest.update(one)
    return digest.digest()


class Ask:
    """A sender to its receiver: where do you stand?

    `nonce`: 8 random bytes that name the conversation; receipts without it are not believed.
    `generation`: the receiver's, as last heard, or b"" when none was. `marks`: (session, position) of
    receipts that were believed: the receiver must know of them, or its storage has gone back behind
    them. `streams`: (class, epoch, low, runs): nothing below `low` is of interest any more, and `runs` of
    (first, last) are what the sender still holds. `drops`: (class, epoch, first, last) that gave way to
    others and will not come. `claims`: (class, epoch, sequence, SHA-256): frames without a receipt, for a
    receiver that has the bytes but could not read their number.
    """

    def __init__(
        self,
        nonce: bytes,
        generation: bytes,
        marks: "list[Mark]",
        streams: "list[StreamAsk]",
        drops: "list[Drop]",
        claims: "list[Claim]",
    ) -> None:
        self.nonce = nonce
        self.generation = generation
        self.marks = marks
        self.streams = streams
        self.drops = drops
        self.claims = claims

    def encode(self, key: bytes, meter: bytes) -> bytes:
        """Raises FrameError when a bound of this module is exceeded."""
        if (
            len(self.marks) > MAX_MARKS
            or len(self.streams) > MAX_STREAMS
            or len(self.drops) > MAX_DROPS
            or len(self.claims) > MAX_CLAIMS
            or any(len(runs) > MAX_RUNS for _, _, _, runs in self.streams)
        ):
            raise FrameError("an ask names more than one message may")
        streams = [[cls, epoch, low, _flat(runs)] for cls, epoch, low, runs in self.streams]
        return seal(
            key,
            meter,
            ASK,
            [self.nonce, self.generation, _flat(self.marks), streams, self.drops, self.claims],
        )


class Receipt:
    """A receiver to its sender: this is stored durably.

    `nonce`: of the ask whose conversation this belongs to. `generation`: 8 random bytes that change when
    the receiver's storage was found to have gone back; `since`: UTC seconds up to which it is known to have
    everything that it ever receipted for this meter (0: from the beginning on). `session`, `position`: the
    opening of the storage that says so, and the number of its commit. `ranges`: (class, epoch, first,
    last, digest).
    """

    def __init__(
        self,
        nonce: bytes,
        generation: bytes,
        since: int,
        session: bytes,
        position: int,
        ranges: "list[Range]",
    ) -> None:
        self.nonce = nonce
        self.generation = generation
        self.since = since
        self.session = session
        self.position = position
        self.ranges = ranges

    def encode(self, key: bytes, meter: bytes) -> bytes:
        """Raises FrameError when a bound of this module is exceeded."""
        if len(self.ranges) > MAX_RANGES or any(
            last - first >= MAX_SPAN for _, _, first, last, _ in self.ranges
        ):
            raise FrameError("a receipt names more than one message may")
        return seal(
            key,
            meter,
            RECEIPT,
            [self.nonce, self.generation, self.since, self.session, self.position, self.ranges],
        )


def decode(
    meter: bytes, payload: bytes, find_key: "Callable[[bytes], bytes | None]"
) -> "tuple[bytes, Ask | Receipt] | None":
    """The key id and the message; None when `find_key(key id)` gives no key: it is someone else's.

    Raises FrameError for everything that is not a whole, authentic message about `meter`.
    """
    name = sealed_with(payload)
    key = find_key(name)
    if key is None:
        return None
    kind, elements = unseal(key, meter, payload)
    if kind == ASK:
        return name, _ask(elements)
    if kind == RECEIPT:
        return name, _receipt(elements)
    raise FrameError("kind %d is neither an ask nor a receipt" % kind)


def _ask(elements: "list[Any]") -> Ask:
    nonce, generation, marks, streams, drops, claims = elements_of(elements, 8, bytes, list, list, list, list)
    if len(generation) not in (0, 8):
        raise FrameError("a generation has 8 bytes, or none")
    pairs = _pairs(marks, MAX_MARKS)
    for pair in pairs:
        elements_of(pair, 8, _U63)
    named = []
    for stream in _bounded(streams, MAX_STREAMS):
        cls, epoch, low, runs = elements_of(stream, _CLASS, _U32, _SEQUENCE, list)
        for run in _pairs(runs, MAX_RUNS):
            elements_of(run, _SEQUENCE, _SEQUENCE)
        named.append((cls, epoch, low, [(first, last) for first, last in _pairs(runs, MAX_RUNS)]))
    dropped = []
    for drop in _bounded(drops, MAX_DROPS):
        cls, epoch, first, last = elements_of(drop, _CLASS, _U32, _SEQUENCE, _SEQUENCE)
        dropped.append((cls, epoch, first, last))
    claimed = []
    for claim in _bounded(claims, MAX_CLAIMS):
        cls, epoch, sequence, sha256 = elements_of(claim, _CLASS, _U32, _SEQUENCE, 32)
        claimed.append((cls, epoch, sequence, sha256))
    return Ask(nonce, generation, [(session, at) for session, at in pairs], named, dropped, claimed)


def _receipt(elements: "list[Any]") -> Receipt:
    nonce, generation, since, session, position, ranges = elements_of(elements, 8, 8, _U63, 8, _U63, list)
    stored = []
    for one in _bounded(ranges, MAX_RANGES):
        cls, epoch, first, last, digest = elements_of(one, _CLASS, _U32, _SEQUENCE, _SEQUENCE, 32)
        if not first <= last < first + MAX_SPAN:
            raise FrameError("a range from %d to %d is out of its bounds" % (first, last))
        stored.append((cls, epoch, first, last, digest))
    return Receipt(nonce, generation, since, session, position, stored)


def _flat(pairs: "list[tuple[Any, Any]]") -> "list[Any]":
    return [element for pair in pairs for element in pair]


def _pairs(flat: "list[Any]", most: int) -> "list[list[Any]]":
    if len(flat) % 2:
        raise FrameError("half a pair")
    return [flat[i : i + 2] for i in range(0, len(_bounded(flat, 2 * most)), 2)]


def _bounded(items: "list[Any]", most: int) -> "list[Any]":
    if len(items) > most:
        raise FrameError("%d elements, but %d are allowed" % (len(items), most))
    return items
