"""Commands to a gateway and their results (docs/custody.md, "Commands"): formats, and when to refuse.

Commands go end to end: they are sealed under a key that only the gateway reading the meter and its owner's
cloud have, so a concentrator on the way can neither make nor change one. A gateway with a clock checks the
time, and that numbers rise; one without gives out a challenge, good for one command.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError
from .model import KIND_NAMES
from .sealing import elements_of, hmac_sha256, seal, unseal

if TYPE_CHECKING:
    from typing import Any

COMMAND = const(16)
RESULT = const(17)
CHALLENGE = const(18)
PIECE = const(19)
WANT = const(20)

# Actions, and what their arguments are.
READ_NOW = const(1)  # kind of reading
BACKFILL = const(2)  # kind of reading, from and to (UTC seconds, `to` not included)
SET_INTERVAL = const(3)  # kind of reading, milliseconds (0: the default schedule's)
SELF_TEST = const(4)  # none
UPDATE = const(5)  # bytes of the bundle, whether its version may be lower than what runs (0, 1)
ACTION_NAMES = ("", "read-now", "backfill", "set-interval", "self-test", "update")

# How a command ended.
DONE = const(0)
FAILED = const(1)  # tried, and the text says what came back
REFUSED = const(2)  # not tried: not allowed here, or nonsense
EXPIRED = const(3)  # its time is over, or not yet come
REPEATED = const(4)  # its number was used; the earlier result holds
UNKNOWN = const(5)  # an action of a later version
RUNNING = const(6)  # taken and not yet ended: another result will follow

# A command is no longer than this, of whatever version.
MAX_COMMAND = const(512)
# Of a bundle, in one message: what finds room on a board's heap.
MAX_PIECE = const(1024)

# The longest a command may be valid, and by how much clocks may differ (seconds).
MAX_VALIDITY = const(86400)
MAX_SKEW = const(300)

_KIND = (0, len(KIND_NAMES) - 1)
_U32 = (0, 0xFFFFFFFF)
_U63 = (0, 0x7FFFFFFFFFFFFFFF)
_ARGUMENTS = {
    READ_NOW: (_KIND,),
    BACKFILL: (_KIND, _U32, _U32),
    SET_INTERVAL: (_KIND, _U32),
    SELF_TEST: (),
    UPDATE: (_U32, (0, 1)),
}
_MAX_TEXT = const(1024)
_TAG = const(8)


def command_key(credential: bytes) -> bytes:
    """The end-to-end key from the credential that cloud and gateway share for the meter."""
    return hmac_sha256(credential, b"osgp-gateway command key 1")


def tag_of(payload: bytes) -> bytes:
    """What a result says which command it answers: the last bytes of the command's message."""
    return bytes(payload[-_TAG:])


class Command:
    """`number`: rises from command to command and is never used twice. `issued`, `expires`: UTC seconds.
    `challenge`: 8 bytes that the gateway gave out, or b"" where its clock is to be used. `action` with
    `arguments` as above; unknown actions decode, to be answered with UNKNOWN."""

    def __init__(
        self,
        number: int,
        issued: int,
        expires: int,
        challenge: bytes,
        action: int,
        arguments: "tuple[Any, ...]",
    ) -> None:
        self.number = number
        self.issued = issued
        self.expires = expires
        self.challenge = challenge
        self.action = action
        self.arguments = arguments

    def encode(self, key: bytes, meter: bytes) -> bytes:
        """Raises FrameError when arguments don't fit the action."""
        _check_arguments(self.action, list(self.arguments))
        return seal(
            key,
            meter,
            COMMAND,
            [self.number, self.issued, self.expires, self.challenge, self.action, self.arguments],
        )

    def verdict(self, now: "int | None", last: int, challenge: bytes) -> int:
        """DONE if it may be executed, else REPEATED, EXPIRED or UNKNOWN.

        `now`: UTC seconds, or None without a trusted clock; then only `challenge`, the one given out and
        not yet answered (b"": none), proves that the command is fresh. `last`: the highest number taken so
        far, kept durably by whoever has a place for it; take the number, and the challenge, before executing.
        """
        verdict: int = DONE
        if self.number <= last:
            verdict = REPEATED
        elif self.action not in _ARGUMENTS:
            verdict = UNKNOWN
        elif self.challenge or now is None:
            if not challenge or self.challenge != challenge:
                verdict = EXPIRED
        elif not self.issued - MAX_SKEW <= now < self.expires or self.expires - self.issued > MAX_VALIDITY:
            verdict = EXPIRED
        return verdict


class Result:
    """`number`, `tag`: of the command (tag_of). `status`: how it ended; `text`: for people, 1,024 bytes.
    `last`: the highest number taken so far."""

    def __init__(self, number: int, tag: bytes, status: int, text: str, last: int) -> None:
        self.number = number
        self.tag = tag
        self.status = status
        self.text = text
        self.last = last

    def encode(self, key: bytes, meter: bytes) -> bytes:
        if len(self.text.encode()) > _MAX_TEXT:
            raise FrameError("the text of a result is too long: %d bytes are allowed" % _MAX_TEXT)
        return seal(key, meter, RESULT, [self.number, self.tag, self.status, self.text, self.last])


class Challenge:
    """A command with these 8 bytes will be taken, once, whatever its time. `last`: the highest number taken
    so far."""

    def __init__(self, challenge: bytes, last: int) -> None:
        self.challenge = challenge
        self.last = last

    def encode(self, key: bytes, meter: bytes) -> bytes:
        return seal(key, meter, CHALLENGE, [self.challenge, self.last])


class Want:
    """A gateway that carries out an update asks for a part of the bundle. `tag`: of the command; `offset`,
    `count`: bytes, at most MAX_PIECE."""

    def __init__(self, tag: bytes, offset: int, count: int) -> None:
        self.tag = tag
        self.offset = offset
        self.count = count

    def encode(self, key: bytes, meter: bytes) -> bytes:
        return seal(key, meter, WANT, [self.tag, self.offset, self.count])


class Piece:
    """The part of the bundle that was asked for."""

    def __init__(self, tag: bytes, offset: int, data: bytes) -> None:
        self.tag = tag
        self.offset = offset
        self.data = data

    def encode(self, key: bytes, meter: bytes) -> bytes:
        return seal(key, meter, PIECE, [self.tag, self.offset, self.data])


def is_piece(payload: bytes) -> bool:
    """What a sealed message says that it is; `decode` believes nothing of it yet."""
    return bool(payload[2] == PIECE)


def decode(meter: bytes, payload: bytes, key: bytes) -> "Command | Result | Challenge | Want | Piece":
    """Raises FrameError for everything that is not a whole, authentic message about `meter`."""
    kind, elements = unseal(key, meter, payload)
    if kind == COMMAND:
        number, issued, expires, challenge, action, arguments = elements_of(
            elements, _U63, _U63, _U63, bytes, _U32, list
        )
        _check_challenge(challenge)
        _check_arguments(action, arguments)
        return Command(number, issued, expires, challenge, action, tuple(arguments))
    if kind == RESULT:
        number, tag, status, text, last = elements_of(elements, _U63, _TAG, (0, 255), str, _U63)
        if len(text.encode()) > _MAX_TEXT:
            raise FrameError("the text of a result is too long")
        return Result(number, tag, status, text, last)
    if kind == CHALLENGE:
        challenge, last = elements_of(elements, 8, _U63)
        return Challenge(challenge, last)
    if kind == WANT:
        return Want(*elements_of(elements, _TAG, _U32, (1, MAX_PIECE)))
    if kind == PIECE:
        tag, offset, data = elements_of(elements, _TAG, _U32, bytes)
        if not 0 < len(data) <= MAX_PIECE:
            raise FrameError("a piece of a bundle can't have %d bytes" % len(data))
        return Piece(tag, offset, data)
    raise FrameError("kind %d is no message of commands" % kind)


def _check_challenge(challenge: bytes) -> None:
    if len(challenge) not in (0, 8):
        raise FrameError("a challenge has 8 bytes, or none")


def _check_arguments(action: int, arguments: "list[Any]") -> None:
    if action in _ARGUMENTS:
        elements_of(arguments, *_ARGUMENTS[action])
        if action == BACKFILL and arguments[1] >= arguments[2]:
            raise FrameError("a backfill ends before it begins")
