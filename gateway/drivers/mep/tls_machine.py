"""The MEP client with TLS, a machine without I/O (MEP guide, chapter 2, tables 2.1 to 2.3).

It carries the records of a TLS client (`TlsChannel`) in MEP frames: one code, then records.

    state      step      what happens                         next       event
    IDLE                 begin                                READY      (HELLO, or TABLE in a session)
    READY                output                               WAITING    (the frame)
    WAITING    HELLO     00 with records                      READY      SEND: CONTINUE
               CONTINUE  00 with records, handshake goes on   READY      SEND: CONTINUE
                         00, the session is established       READY      SEND: TABLE
                         03, 01, an alert about the key       READY      SEND: HELLO, as the other key; FAILED
               TABLE     00 with authentic records            IDLE       ANSWER, or FAILED: Refused
                         00 with others, to a read            READY      SEND: the request in the next record
                         0A: the meter has no session         READY      SEND: HELLO, once; then FAILED
                         another code, an alert                          as for damaged bytes
               TERMINATE anything                             IDLE       ANSWER
               HELLO     anything that is no TLS, twice       IDLE       FAILED: NoTls
               any       silence                              READY      SEND: the same bytes, then HELLO
               any       what does not fit, after such a      WAITING    TAKEN: until the line is quiet, then
                         repetition                                      as for silence
               any       damaged bytes                        READY      SEND: HELLO, or FAILED if not patient
               any       any of these too often               IDLE       FAILED

A session lives as long as every request gets its answer: an answer that is lost or damaged leaves both sides
with different record numbers, and an answer that comes late would be taken for the next one's. So an exchange
that does not end with its answer ends the session, and the next one begins with a handshake.

To TLS a repetition is a request too many: a meter, or a serial server before it, that answers after the
time-out answers both, and all that follows is one answer behind. Where that is seen, the line is left to get
quiet, and the next answers get more time.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import ProtocolError
from .. import events
from ..c1218 import OK, is_write
from .exchange import IDLE, READY, WAITING, Exchange
from .framing import MAX_MESSAGE, frame
from .messages import (
    SERVICE_SEQUENCE,
    TLS_ERROR,
    TLS_HANDSHAKE,
    TLS_HANDSHAKE_CONT,
    TLS_KEY_REFUSED,
    TLS_TABLE,
    TLS_TERMINATE,
)
from .tls_alerts import KEY_ALERTS, UNKNOWN_PSK_IDENTITY, TlsAlert, alert_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ...errors import MeterError

    Event = tuple[int, Any]

    class TlsChannel(Protocol):
        """A TLS client without I/O. Every method but `start` raises ProtocolError, which ends its session.
        It may have `skip()`, which goes on with it behind a record that `unwrap` found damaged."""

        @property
        def established(self) -> bool: ...
        def start(self) -> bytes: ...
        def feed(self, records: bytes) -> bytes: ...
        def wrap(self, data: bytes) -> bytes: ...
        def unwrap(self, records: bytes) -> bytes: ...

    # Makes one of the identity and the key.
    MakeTls = Callable[[bytes, bytes], TlsChannel]

# Code, record header, explicit nonce and tag.
TLS_OVERHEAD = 1 + 5 + 8 + 16

# "PSK Identity Hint": not validated by meters, kept in their events; the guide's own example has this one.
CLIENT_ID = const(100)

# A message for `begin`: end the session, so that RC4 is taken again.
TERMINATE = b""

# Sendings without an answer to be used: in a row, and all that an exchange may take.
_MAX_REPEATS = const(2)
_MAX_TRIES = const(12)
# Each time the meter may count an alarm. A key is refused if it is wrong, if it is the other of the meter's
# two, or if noise has damaged a part of the handshake that only Finished protects: the last two together
# take three tries.
_MAX_REFUSALS = const(3)
# Where the meter has taken the key before on this connection, it is noise that it refuses.
_MAX_REFUSALS_OF_THE_RIGHT_KEY = const(8)
# The same for a meter that knows no TLS.
_MAX_STRANGE = const(2)
# Where answers came late: how much longer they are waited for before a request is repeated, until so many
# exchanges were in time.
_LATE_MS = const(1500)
_IN_TIME = const(8)
# Where noise has been seen, in the answers, too.
_MAX_REFUSALS_IN_NOISE = const(24)
# Answers in a row that may be damaged within a session. A read's record that is lost does no harm: both sides
# count on.
_MAX_SKIPS = const(3)
# How many frames a meter may take for one flight of its handshake.
_MAX_PARTS = const(4)


class TlsMachine(Exchange):
    """See Exchange; in a session that it opens when there is none.

    `make_tls(identity, key)`: begins a TLS client, None for who only sends TERMINATE; `key`: 16 bytes;
    `levels`: the key ids to try, in this order. `level`: the key id that the meter has accepted, or None;
    `answered`: whether anything that came looked like TLS.
    """

    resyncs = None  # TLS has no sign that dimensions have changed

    def __init__(self, make_tls: "MakeTls | None", key: bytes, levels: "tuple[int, ...]") -> None:
        Exchange.__init__(self)
        self.level: int | None = None
        self.answered = False
        self._make_tls = make_tls
        self._key = key
        self._levels = levels
        self._at = 0  # in levels
        self._skips = 0  # in a row, across exchanges
        self._late = 0  # exchanges to be in time before lateness is forgotten
        self._overdue = self._waited = False  # whether an answer was; whether it was given more time
        self._behind = False  # whether answers are due that nobody asks for any more
        self._since = _IN_TIME  # exchanges since an answer stayed away
        self._tls: TlsChannel | None = None
        self._step = TLS_TABLE

    def begin(self, message: bytes) -> None:
        """Start an exchange with a C12.18 request, or with TERMINATE."""
        if len(message) + TLS_OVERHEAD > MAX_MESSAGE:
            raise ValueError("a MEP request over TLS takes %d bytes at most" % (MAX_MESSAGE - TLS_OVERHEAD))
        self._request = message
        self._tries = 0
        self._repeats = 0
        self._lost = 0
        self._strange = 0
        self._parts = 0
        self._problem = ""
        self.damaged = False
        if self._late and not self._overdue:
            self._late -= 1
        self._overdue = self._behind = False
        self._since += 1
        if message == TERMINATE:
            self._tls = None
            self._prepare(TLS_TERMINATE, b"\0")  # "at least one byte of data"
        elif self._tls is not None:
            self._prepare(TLS_TABLE, self._tls.wrap(message))
        else:
            self._hello()

    def output(self) -> bytes:
        """The frame to send; from here on answers count."""
        self._waited = False
        return Exchange.output(self)

    def silence(self) -> "Event | None":
        """The time for an answer is over."""
        if self._state != WAITING:
            self.pause()
            return None
        messages = self._framer.behind_noise()
        self.pause()
        for message in messages:
            if message[0] == OK and _are_records(message):
                return self._judge(message)
        if self._behind:
            self._behind = self.damaged = False
            return self._again()
        if self.damaged:
            return self._again()
        self._overdue = True
        if self._late and not self._waited and self._step != TLS_TERMINATE:
            self._waited = True
            return events.TAKEN, _LATE_MS
        self._since = 0
        if self._repeats or self._step == TLS_TERMINATE:
            return self._again()
        self._repeats += 1
        self._state = READY
        return events.SEND, None

    def hesitate(self) -> None:
        """The key was refused the last time: once more as each that it may be is enough."""
        self._refusals = _MAX_REFUSALS - len(self._levels)

    def abandon(self) -> None:
        """Nobody waits for this exchange any more; an answer that still comes is not believed."""
        if self._state != IDLE:
            self._tls = None
        self._done()

    def _hello(self) -> None:
        identity = bytes((CLIENT_ID & 0xFF, CLIENT_ID >> 8, self._levels[self._at]))
        self._parts = 0
        assert self._make_tls is not None
        self._tls = self._make_tls(identity, self._key)
        self._skips = 0
        self._prepare(TLS_HANDSHAKE, self._tls.start())

    def _prepare(self, step: int, records: bytes) -> None:
        self._step = step
        self._frame = frame(bytes((step,)) + records)
        self._state = READY

    def _judge(self, message: bytes) -> "Event":
        if self._behind:
            return events.IGNORED, None
        step = self._step
        code = message[0]
        records = message[1:]
        if step == TLS_TERMINATE:
            self._done()
            return events.ANSWER, message
        if step == TLS_TABLE:
            if code == SERVICE_SEQUENCE:
                return self._session_lost()
            if code != OK or alert_in(records) is not None:
                return self._spoiled("answer %02X: the request was not authentic" % code)
            return self._table_answer(records)
        alert = alert_in(records)
        if code == TLS_KEY_REFUSED or alert == UNKNOWN_PSK_IDENTITY:
            return self._refused()
        # mbed TLS can be built to send no alerts.
        if step == TLS_HANDSHAKE_CONT and (alert in KEY_ALERTS or (alert is None and code == TLS_ERROR)):
            return self._refused()
        if step == TLS_HANDSHAKE and (len(records) < 2 or not 20 <= records[0] <= 23 or records[1] != 3):
            if self.answered:
                return self._spoiled("no TLS records")
            return self._no_tls(code)
        if code != OK and alert is None:
            return self._spoiled("answer %02X to a handshake" % code)
        self.answered = True
        return self._handshake(records)

    def _handshake(self, records: bytes) -> "Event":
        tls = self._tls
        assert tls is not None
        try:
            reply = tls.feed(records)
        except ProtocolError as error:
            return self._spoiled(str(error))
        self._repeats = 0
        if tls.established:
            self._refusals = 0
            self.proven = True
            self.level = self._levels[self._at]
            self._prepare(TLS_TABLE, tls.wrap(self._request))
        else:
            # Without a reply the meter has more to say, for which it has to be asked.
            self._parts += not reply
            if self._parts > _MAX_PARTS:
                return self._spoiled("a handshake without end")
            self._prepare(TLS_HANDSHAKE_CONT, reply)
        return events.SEND, None

    def _table_answer(self, records: bytes) -> "Event":
        tls = self._tls
        assert tls is not None
        try:
            response = tls.unwrap(records)
        except ProtocolError as error:
            return self._skip(error)
        self._skips = 0
        if not response:
            return events.IGNORED, None
        if response[0] == OK:
            self._done()
            return events.ANSWER, response
        from ..refusals import refusal
        from .responses import RIGHTS

        refused = refusal(response[0], self._request, RIGHTS)
        self._done()
        return events.FAILED, refused

    def _skip(self, error: ProtocolError) -> "Event":
        """A damaged answer to a read ends the session only where it has to, or where answers may be late."""
        skip = getattr(self._tls, "skip", None)
        self._skips += 1
        if skip is None or isinstance(error, TlsAlert) or is_write(self._request):
            return self._spoiled(str(error))
        if self._since <= 1 or self._skips > _MAX_SKIPS or self._tries >= _MAX_TRIES:
            return self._spoiled(str(error))
        assert self._tls is not None
        skip()
        self._problem = str(error)
        self.damaged = self._noisy = True
        if not self.patient:
            self._done()
            return events.FAILED, error
        self._prepare(TLS_TABLE, self._tls.wrap(self._request))
        return events.SEND, None

    def _again(self) -> "Event":
        """Nothing or nothing usable came: all over, in a session of its own."""
        if (
            self._repeats >= _MAX_REPEATS
            or self._tries >= _MAX_TRIES
            or (self.damaged and not self.patient)
            or self._step == TLS_TERMINATE
        ):
            from .tls_responses import no_answer

            return self._fail(no_answer(self._request, self._tries, self._problem, self.damaged))
        self._repeats += 1
        self._hello()
        return events.SEND, None

    def _spoiled(self, problem: str) -> "Event":
        self._problem = problem
        self.damaged = self._noisy = True
        return self._await_quiet() if self._since <= 1 else self._again()

    def _await_quiet(self) -> "Event":
        """The answer may be to what was sent before."""
        self._since = _IN_TIME
        self._late = _IN_TIME
        self._behind = self._overdue = True
        return events.TAKEN, _LATE_MS

    def _session_lost(self) -> "Event":
        self._lost += 1
        if self._lost > 1:
            from .tls_responses import session_lost

            return self._fail(session_lost(self._request))
        self._hello()
        return events.SEND, None

    def _refused(self) -> "Event":
        if self._since <= 1:
            return self._await_quiet()
        self._refusals += 1
        if not self.proven:
            self._at = (self._at + 1) % len(self._levels)
        most = _MAX_REFUSALS
        if self.proven:
            most = _MAX_REFUSALS_IN_NOISE if self._noisy else _MAX_REFUSALS_OF_THE_RIGHT_KEY
        if self._refusals >= most:
            from .tls_responses import key_refused

            return self._fail(key_refused(self._levels))
        self._hello()
        return events.SEND, None

    def _no_tls(self, code: int) -> "Event":
        self._strange += 1
        if self._strange >= _MAX_STRANGE:
            from .tls_responses import no_tls

            return self._fail(no_tls(self._request, code))
        self._hello()
        return events.SEND, None

    def _fail(self, error: "MeterError") -> "Event":
        self.abandon()
        return events.FAILED, error


def _are_records(message: bytes) -> bool:
    """Whether all that follows the code is records of TLS 1.x, by their headers."""
    at = 1
    while at + 5 <= len(message):
        if not 20 <= message[at] <= 23 or message[at + 1] != 3:
            return False
        at += 5 + (message[at + 3] << 8 | message[at + 4])
    return at == len(message) and at > 1
