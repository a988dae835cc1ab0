"""The MEP client with RC4 security, a machine without I/O (MEP guide, chapter 2 and appendices A and B).

    state      what happens                        next       event
    IDLE       begin                               READY
    READY      output                              WAITING    (the frame)
    WAITING    00, authenticated                   IDLE       ANSWER
               0C, authenticated                   READY      SEND: anew, with the meter's number
               0B                                  READY      SEND: the same bytes, once anew if proven
               another code, authenticated         IDLE       FAILED: Refused
               digest does not fit                 WAITING    IGNORED
               nothing                             READY      SEND: first the same bytes, then anew
               nothing but damaged bytes           READY      SEND: anew, or FAILED if not patient
               0A                                  READY      SEND: anew
               any of these too often              IDLE       FAILED
    any        two zero bytes for a length                    ALERT
               abandon                             IDLE

Nothing of an answer is looked at before its digest fits the request that waits: an answer to an earlier
request, however late, and a damaged one are the same to it. Only 0B and 0A need no digest, because a meter
that refuses the key, or takes nothing but TLS, can't make one that fits, and all they can do is to end an
exchange.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import ConfigurationError, ProtocolError
from .. import events
from ..c1218 import OK, describe
from .digest import DIGEST_BYTES, Digest, key_bits
from .exchange import READY, WAITING, Exchange
from .framing import MAX_MESSAGE, frame
from .key import KEY_BYTES
from .messages import AUTHENTICATION_FAILURE, INVALID_SEQUENCE, SERVICE_SEQUENCE
from .rc4 import Rc4

if TYPE_CHECKING:
    from typing import Any

    Event = tuple[int, Any]

SECURITY_OVERHEAD = 12  # sequence number and digest of a request

# Appendix B: makes the encryption key out of the MEP key.
_CONSTANT = b"\x38\x8b\x8f\xbc\x36\xa8\x55\x85\x87\xaf\xc9\x0f\xb2\x3a\x3b\x99"

# Silence is answered first with the same bytes ("Response timeout"), then, in case that number is used up
# ("RC4 Authentication"), anew.
_MAX_REPEATS = const(2)
# 0C names the last number used (the worked example) or the next (table 2.5): one more than it fits the
# meter's window of 8 either way, yet the number itself gets its turn too.
_AFTER_RESYNC = (1, 0, 1)
# The first byte of an encrypted or a damaged request can look like table traffic of TLS by chance.
_MAX_STANDS = const(3)
# 0B comes once in a while on a good line, and each time counts as an alarm at the meter.
_MAX_REFUSALS = const(3)
# A request that noise has damaged is refused too. Where noise has been seen it takes more to believe that the
# key is wrong, and a lot where the key was proven. The refusals themselves tell: their digest runs over the
# request as the meter heard it (table 2.5, appendix A), so to the same bytes they are the same, unless noise
# has damaged these, each time differently.
_MAX_REFUSALS_IN_NOISE = const(8)
_MAX_REFUSALS_OF_THE_RIGHT_KEY = const(24)
# The same refusal so often is the key's. Noise that spoils nothing but the request's digest, which the
# refusal's does not cover, makes equal ones, too; so with a key that was proven it takes more of them.
_EQUAL_REFUSALS = const(2)
_EQUAL_REFUSALS_OF_THE_RIGHT_KEY = const(5)


class Machine(Exchange):
    """See Exchange. `key`: 16 bytes; `encrypt`: whether requests, and so answers, are encrypted; `sequence`:
    any number, the meter's first 0C sets it right.

    `resyncs` counts 0C answers: when it moves, dimensions may have changed (ET04.116, IDT version).
    """

    def __init__(self, key: bytes, encrypt: bool = False, sequence: int = 0) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigurationError("a MEP key has %d bytes, this has %d" % (KEY_BYTES, len(key)))
        Exchange.__init__(self)
        self.resyncs = 0
        self._bits = key_bits(key)
        self._encryption_key = Rc4(key).crypt(_CONSTANT) if encrypt else None
        self._sequence = sequence
        self._heard_whole = False  # whether one of them came often enough
        self._refused_with: list[bytes] = []  # the refusals of this frame

    def begin(self, message: bytes) -> None:
        """Start an exchange with a C12.18 request."""
        if len(message) + SECURITY_OVERHEAD > MAX_MESSAGE:
            raise ValueError("a MEP request takes %d bytes at most" % (MAX_MESSAGE - SECURITY_OVERHEAD))
        self._request = message
        self._tries = 0
        self._repeats = 0
        self._resyncs = 0
        self._stands = 0
        self._unproven = 0
        self._garbage = False
        self.damaged = False
        self._build()

    def silence(self) -> "Event | None":
        """The time for an answer is over."""
        if self._state != WAITING:
            self.pause()
            return None
        messages = self._framer.behind_noise()
        self.pause()
        for message in messages:
            response = self._proven(message)
            if response is not None:
                return self._believe(response)
        if self._repeats == _MAX_REPEATS or (self.damaged and not self.patient):
            from .responses import no_answer

            return self._fail(no_answer(self._request, self._tries, self._unproven, self._garbage))
        self._repeats += 1
        # A damaged answer tells that the request has arrived, and its number is used up.
        if self._repeats > 1 or self.damaged:
            self._build()
        self._state = READY
        return events.SEND, None

    def hesitate(self) -> None:
        """The key was refused the last time: one more refusal is enough."""
        self._refusals = _MAX_REFUSALS - 1

    def abandon(self) -> None:
        """Nobody waits for this exchange any more; an answer that still comes is not believed."""
        self._done()

    def _build(self) -> None:
        number = self._sequence
        self._sequence = (number + 1) & 0xFFFFFFFF
        body: bytes | bytearray = self._request + bytes(
            (number >> 24, number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF)
        )
        self._digest = Digest(self._bits)
        self._digest.update(body)
        proof = self._digest.copy().final()
        self._cipher = None
        if self._encryption_key is not None:
            key = bytearray(self._encryption_key)
            for at in range(DIGEST_BYTES):
                key[at] ^= proof[at]
            self._cipher = Rc4(key)
            body = self._cipher.crypt(body)
        self._frame = frame(body + proof)
        self._refused_with = []
        self._state = READY

    def _judge(self, message: bytes) -> "Event":
        response = self._proven(message)
        if response is not None:
            return self._believe(response)
        # Appendix B: 0B is never encrypted. It has no data, and a digest that no guide specifies, or none.
        if message[0] == AUTHENTICATION_FAILURE and len(message) in (1, 1 + DIGEST_BYTES):
            return self._refused(message)
        if message[0] == SERVICE_SEQUENCE and len(message) in (1, 1 + DIGEST_BYTES):
            return self._not_the_time()
        self._unproven += 1
        self.damaged = self._noisy = True
        return events.IGNORED, None

    def _garbled(self) -> None:
        self._garbage = self.damaged = self._noisy = True

    def _proven(self, message: bytes) -> "bytes | None":
        """The response in `message` if its digest fits the request that waits."""
        if len(message) <= DIGEST_BYTES:
            return None
        response: bytes | bytearray = message[:-DIGEST_BYTES]
        if self._cipher is not None:
            response = self._cipher.crypt(response, False)
        digest = self._digest.copy()
        digest.update(response)
        return bytes(response) if digest.proves(message[-DIGEST_BYTES:]) else None

    def _believe(self, response: bytes) -> "Event":
        code = response[0]
        if code == AUTHENTICATION_FAILURE:
            return self._refused(response)
        self._refusals = 0
        self._heard_whole = False
        self.proven = True
        if code == OK:
            self.abandon()
            return events.ANSWER, response
        if code == INVALID_SEQUENCE:
            return self._resynchronise(response)
        from ..refusals import refusal
        from .responses import RIGHTS

        return self._fail(refusal(code, self._request, RIGHTS))

    def _resynchronise(self, response: bytes) -> "Event":
        if len(response) != 5:
            return self._fail(
                ProtocolError("%s: answer 0C without a sequence number" % describe(self._request))
            )
        self.resyncs += 1
        if self._resyncs == len(_AFTER_RESYNC):
            from .responses import out_of_step

            return self._fail(out_of_step(self._request, self._resyncs + 1))
        number = response[1] << 24 | response[2] << 16 | response[3] << 8 | response[4]
        self._sequence = (number + _AFTER_RESYNC[self._resyncs]) & 0xFFFFFFFF
        self._resyncs += 1
        self._build()
        return events.SEND, None

    def _not_the_time(self) -> "Event":
        self._stands += 1
        if self._stands == _MAX_STANDS:
            from .responses import tls_stands

            return self._fail(tls_stands(self._request))
        self._build()
        return events.SEND, None

    def _refused(self, message: bytes) -> "Event":
        self._refusals += 1
        if self._refused_with and message not in self._refused_with:
            self._noisy = True
        self._refused_with.append(message)
        equal = _EQUAL_REFUSALS_OF_THE_RIGHT_KEY if self.proven else _EQUAL_REFUSALS
        if len(message) > 1 and self._refused_with.count(message) >= equal:
            self._heard_whole = True
        most = _MAX_REFUSALS
        if self._noisy and not self._heard_whole:
            most = _MAX_REFUSALS_OF_THE_RIGHT_KEY if self.proven else _MAX_REFUSALS_IN_NOISE
        if self._refusals >= most:
            from .responses import key_refused

            return self._fail(key_refused())
        if self.proven and self._refusals == 1:
            self._build()  # its number may be used up; from then on the same bytes tell noise from the key
        self._state = READY
        return events.SEND, None

    def _fail(self, error: Exception) -> "Event":
        self.abandon()
        return events.FAILED, error
