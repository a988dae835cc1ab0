"""The meter's side of the MEP protocol, a machine without I/O (MEP guide, chapter 2).

Bytes and the time go in, response frames come out. Who calls it paces the line.
"""

from collections.abc import Callable

from .security import DIGEST_BYTES, digest, exchange_cipher
from .tls_server import CODES as TLS_CODES
from .tls_server import TABLE as TLS_TABLE
from .tls_server import TlsServer

# A message is at most this long, without its two length bytes (chapter 2, overview).
MAX_MESSAGE = 476
_SEQUENCE_BYTES = 4
_LENGTH_BYTES = 2
# The shortest request: a code, the sequence number and the digest; or a TLS code and a byte.
_MIN_MESSAGE = 1 + _SEQUENCE_BYTES + DIGEST_BYTES
_MIN_TLS_MESSAGE = 2

# Response codes (table 2.5).
OK = 0x00
UNRECOGNIZED = 0x01
UNSUPPORTED = 0x02
NO_PERMISSION = 0x03
NOT_POSSIBLE = 0x04
TABLE_NOT_POSSIBLE = 0x05
AUTHENTICATION_FAILURE = 0x0B
INVALID_SEQUENCE = 0x0C

# A sequence number may run this far ahead ("RC4 Authentication").
_WINDOW = 8
# A new IDT version moves the sequence number by this ("Dynamic Sizing of Tables").
_IDT_JUMP = 25

ALERT = b"\0\0"
_ALERT_MS = 1000

# Runs one C12.18 message: (message, is_advanced) -> response message.
Service = Callable[[bytes, bool], bytes]


class MepServer:
    """One MEP port.

    `service` answers C12.18 messages; `keys` are the MEP advanced key and the MEP basic key, either may
    be None. `gap_ms` is how long an unfinished request may pause before it is dropped. With
    `repeats_answered`, the same bytes once more get the same response and run nothing (chapter 2,
    "Response timeout"); without, they get 0C ("RC4 Authentication": the guide says both). `first` is the
    first number of the window counted from the one that 0C names: 0 when that is the next number (table
    2.5), 1 when it is the last one (the worked example).

    With `tls` the port speaks TLS too; RC4 messages are refused while a session stands, and always when
    `tls_required` says so.
    """

    def __init__(
        self,
        service: Service,
        advanced_key: bytes | None,
        basic_key: bytes | None,
        sequence: int,
        gap_ms: int = 50,
        tls: TlsServer | None = None,
        tls_required: Callable[[], bool] = lambda: False,
    ) -> None:
        self._service = service
        self._keys = [(key, advanced) for key, advanced in ((advanced_key, True), (basic_key, False)) if key]
        if not self._keys:
            raise ValueError("a meter needs a MEP advanced key, a MEP basic key, or both")
        self.sequence = sequence
        self.gap_ms = gap_ms
        self.repeats_answered = True
        self.first = 0
        self.tls = tls
        self._tls_required = tls_required
        self.alerting = False
        self.refuse: Callable[[], bool] = lambda: False
        # Told of each request that passed all tests.
        self.heard: Callable[[], None] = lambda: None
        self._pending = bytearray()
        self._dropping = False
        self._last_byte_ms = 0
        self._hold_alerts_until = 0
        self._repeat: tuple[bytes, bytes] | None = None

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        """The response frames to what arrived; bytes of an unfinished request wait for more."""
        if now_ms - self._last_byte_ms > self.gap_ms:
            self._pending.clear()
            self._dropping = False
        self._last_byte_ms = now_ms
        if self._dropping:
            return []
        self._pending += data
        responses = []
        while len(self._pending) >= _LENGTH_BYTES:
            length = int.from_bytes(self._pending[:_LENGTH_BYTES], "big")
            if length and not self._least() <= length <= MAX_MESSAGE:
                # No request has this length, so no one knows where the next begins: wait for a pause.
                self._pending.clear()
                self._dropping = True
                break
            if len(self._pending) < _LENGTH_BYTES + length:
                break
            body = bytes(self._pending[_LENGTH_BYTES : _LENGTH_BYTES + length])
            del self._pending[: _LENGTH_BYTES + length]
            if body:
                self._hold_alerts_until = now_ms + _ALERT_MS
                responses.append(self._answer(body))
        return responses

    def _least(self) -> int:
        """The shortest message that can begin like this one."""
        if self.tls is None or (len(self._pending) > _LENGTH_BYTES and self._pending[2] not in TLS_CODES):
            return _MIN_MESSAGE
        return _MIN_TLS_MESSAGE

    def power_cut(self) -> None:
        """What lives in the meter's memory only is gone: a TLS session, the last response."""
        self.line_lost()
        self._repeat = None
        if self.tls is not None:
            self.tls.forget()

    def line_lost(self) -> None:
        """Forget an unfinished request: who sent it is gone."""
        self._pending.clear()
        self._dropping = False

    def definitions_changed(self) -> None:
        """The IDT version moved: the sequence number jumps, so that the client gets an 0C and looks."""
        self.sequence = (self.sequence + _IDT_JUMP) & 0xFFFFFFFF
        self._repeat = None

    def alert(self, now_ms: int) -> bytes:
        """An alert when one is due, else nothing; one a second, and none for a second after a frame."""
        if not self.alerting or now_ms < self._hold_alerts_until:
            return b""
        self._hold_alerts_until = now_ms + _ALERT_MS
        return ALERT

    def alert_in_ms(self, now_ms: int) -> int | None:
        """Milliseconds until an alert is due; None when there is nothing to say."""
        return max(0, self._hold_alerts_until - now_ms) if self.alerting else None

    def _answer(self, body: bytes) -> bytes:
        if self.repeats_answered and self._repeat is not None and self._repeat[0] == body:
            return self._repeat[1]
        if self.tls is not None and body[0] in TLS_CODES:
            message = self.tls.answer(body)
            if body[0] == TLS_TABLE and message[0] == OK:
                self.heard()
            frame = len(message).to_bytes(_LENGTH_BYTES, "big") + message
            self._repeat = (body, frame)
            return frame
        covered, received = body[:-DIGEST_BYTES], body[-DIGEST_BYTES:]
        if self.tls is not None and (self.tls.established or self._tls_required()):
            return _frame(bytes([AUTHENTICATION_FAILURE]), covered, self._keys[-1][0])
        for key, advanced in self._keys:
            for encrypted in (False, True):
                cipher = exchange_cipher(key, received) if encrypted else None
                plain = cipher.apply(covered) if cipher else covered
                if digest(plain, key) != received:
                    continue
                if self.refuse():
                    return _frame(bytes([AUTHENTICATION_FAILURE]), plain, key)
                message = self._authenticated(plain, advanced)
                proof = digest(plain + message, key)
                sent = cipher.apply(message) if cipher else message
                frame = (len(sent) + DIGEST_BYTES).to_bytes(_LENGTH_BYTES, "big") + sent + proof
                if message[0] != INVALID_SEQUENCE:
                    self._repeat = (body, frame)
                return frame
        return _frame(bytes([AUTHENTICATION_FAILURE]), covered, self._keys[-1][0])

    def _authenticated(self, plain: bytes, advanced: bool) -> bytes:
        number = int.from_bytes(plain[-_SEQUENCE_BYTES:], "big")
        ahead = (number - self.sequence) & 0xFFFFFFFF
        if not self.first <= ahead < self.first + _WINDOW:
            return bytes([INVALID_SEQUENCE]) + self.sequence.to_bytes(_SEQUENCE_BYTES, "big")
        self.sequence = (number + 1 - self.first) & 0xFFFFFFFF
        self.heard()
        return self._service(plain[:-_SEQUENCE_BYTES], advanced)


def _frame(message: bytes, request: bytes, key: bytes) -> bytes:
    proof = digest(request + message, key)
    return (len(message) + len(proof)).to_bytes(_LENGTH_BYTES, "big") + message + proof
