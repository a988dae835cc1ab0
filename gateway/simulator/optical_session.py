"""Sessions on the optical port: the services of ANSI C12.18-1996 over the meter's tables.

Who logged on with which key decides what may be read (optical guide, chapter 1, "Security and Keys", and the
"Read access" of each table).
"""

from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigurationError
from .image import et
from .optical_packets import OVERHEAD
from .service import FULL_READ, FULL_WRITE, PARTIAL_READ, PARTIAL_WRITE, TableService

# Services.
IDENTIFY = 0x20
TERMINATE = 0x21
LOGON = 0x50
SECURITY = 0x51
LOGOFF = 0x52
NEGOTIATE = 0x60
_NEGOTIATE_LAST = 0x6B
WAIT = 0x70

# Response codes.
OK = 0x00
ERROR = 0x01
NOT_SUPPORTED = 0x02
INSUFFICIENT_CLEARANCE = 0x03
NOT_POSSIBLE = 0x04
INVALID_STATE = 0x0A

# Identification: ANSI C12.18, version 1.0, no features.
_IDENTITY = bytes([OK, 0, 1, 0, 0])

# Codes of the negotiate service; the last two came with a later edition.
_BAUD_CODES = {
    1: 300,
    2: 600,
    3: 1200,
    4: 2400,
    5: 4800,
    6: 9600,
    7: 14400,
    8: 19200,
    9: 28800,
    10: 57600,
    11: 38400,
    12: 115200,
}
DEFAULT_BAUD = 9600

PASSWORD_BYTES = 20

# "Read access: Open" in the optical guide: BT00, BT01, ET03.
_OPEN = frozenset([0, 1, et(3)])
# "Read access: MK, PK": BT04, ET21, ET51. The read-only key is told off.
_NOT_FOR_READ_ONLY = frozenset([4, et(21), et(51)])

# Rights, by key.
NO_KEY = 0
READ_ONLY = 1
PROVISIONING = 2
UNIQUE = 3

# States.
BASE = "base"
IDENTIFIED = "identified"
SESSION = "session"


def password_of(data: bytes) -> bytes:
    """A password as it is compared: shorter ones are filled up with zeros by some and spaces by others."""
    return data.rstrip(b"\0 ")


def read_password_file(path: Path) -> bytes:
    """The optical key in a file: up to 20 ASCII characters, or 40 hex digits.

    Raises ConfigurationError that names the file and never shows the key.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError("password file %s: %s" % (path, reason)) from None
    if len(text) == 2 * PASSWORD_BYTES:
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    if text and len(text) <= PASSWORD_BYTES and text.isascii() and text.isprintable():
        return text.encode("ascii")
    raise ConfigurationError(
        "password file %s: a password is 1 to 20 ASCII characters, or 40 hex digits; this has %d characters"
        % (path, len(text))
    )


class OpticalKeys:
    """The passwords of a meter, each may be None: the unique, the provisioning and the read-only key."""

    def __init__(
        self, unique: bytes | None, provisioning: bytes | None = None, read_only: bytes | None = None
    ) -> None:
        by_rights = {UNIQUE: unique, PROVISIONING: provisioning, READ_ONLY: read_only}
        self._keys = [(password_of(key), rights) for rights, key in by_rights.items() if key]
        if not self._keys:
            raise ValueError("an optical port needs at least one password")

    def rights(self, password: bytes) -> int:
        """The rights of the key that fits; NO_KEY when none does."""
        given = password_of(password)
        return next((rights for key, rights in self._keys if key == given), NO_KEY)


class OpticalSession:
    """The states and services behind the packets.

    `packet_bytes` and `packets` are the most this meter negotiates, `bauds` the rates it takes. `room` says
    how long a response may be. What was negotiated takes effect when the answer has been acknowledged:
    `settle` gives it then. `wait_ms` is how long the channel may stay quiet before the session is over, once.
    """

    def __init__(
        self,
        tables: TableService,
        keys: OpticalKeys,
        room: Callable[[], int],
        *,
        packet_bytes: int = 256,
        packets: int = 64,
        bauds: frozenset[int] = frozenset([2400, 4800, 9600, 19200, 28800, 38400, 57600]),
    ) -> None:
        self._tables = tables
        self._keys = keys
        self._room = room
        self.packet_bytes = packet_bytes
        self.packets = packets
        self.bauds = bauds
        # Wrong passwords since the last right one, in whichever session; `refused` hears of each.
        self.failures = 0
        self.refused: Callable[[], None] = lambda: None
        self.reset()

    def reset(self) -> None:
        """The base state."""
        self.state = BASE
        self.rights = NO_KEY
        self.baud = DEFAULT_BAUD
        self.wait_ms: int | None = None
        self._agreed: tuple[int, int, int] | None = None
        self._leaving = False

    def settle(self) -> tuple[int, int] | None:
        """The response has arrived over there: packet size and count that hold from now on, if they changed.

        After the answer to "terminate" the state is the base state.
        """
        if self._leaving:
            self.reset()
            return None
        agreed, self._agreed = self._agreed, None
        if agreed is None:
            return None
        self.baud = agreed[2]
        return agreed[:2]

    def answer(self, message: bytes) -> bytes:
        """The response to a request message."""
        self.wait_ms = None
        response = self._serve(message)
        return response if len(response) <= self._room() else bytes([NOT_POSSIBLE])

    def _serve(self, message: bytes) -> bytes:
        code = message[0]
        if code == IDENTIFY:
            return self._identify(message)
        if code == TERMINATE:
            return self._terminate(message)
        if NEGOTIATE <= code <= _NEGOTIATE_LAST:
            return self._negotiate(message)
        if code == WAIT:
            return self._wait(message)
        if code == LOGON:
            return self._logon(message)
        if code == SECURITY:
            return self._security(message)
        if code == LOGOFF:
            return self._logoff(message)
        if code in (FULL_READ, PARTIAL_READ):
            return self._read(message)
        if code in (FULL_WRITE, PARTIAL_WRITE):
            return self._write(message)
        return bytes([NOT_SUPPORTED])

    def _identify(self, message: bytes) -> bytes:
        if self.state != BASE:
            return bytes([INVALID_STATE])
        if len(message) != 1:
            return bytes([ERROR])
        self.state = IDENTIFIED
        return _IDENTITY

    def _terminate(self, message: bytes) -> bytes:
        if self.state == BASE:
            return bytes([INVALID_STATE])
        if len(message) != 1:
            return bytes([ERROR])
        self._leaving = True
        return bytes([OK])

    def _negotiate(self, message: bytes) -> bytes:
        if self.state != IDENTIFIED:
            return bytes([INVALID_STATE])
        rates = message[0] - NEGOTIATE
        if len(message) != 4 + rates:
            return bytes([ERROR])
        size = min(int.from_bytes(message[1:3], "big"), self.packet_bytes)
        count = min(message[3], self.packets)
        if size <= OVERHEAD or not count:
            return bytes([ERROR])
        # Without a rate that both know, the one in use stays.
        known = [_BAUD_CODES[code] for code in message[4:] if _BAUD_CODES.get(code) in self.bauds]
        baud = max(known, default=self.baud)
        self._agreed = (size, count, baud)
        code = next(code for code, rate in _BAUD_CODES.items() if rate == baud)
        return bytes([OK]) + size.to_bytes(2, "big") + bytes([count, code])

    def _wait(self, message: bytes) -> bytes:
        if self.state == BASE:
            return bytes([INVALID_STATE])
        if len(message) != 2:
            return bytes([ERROR])
        self.wait_ms = message[1] * 1000
        return bytes([OK])

    def _logon(self, message: bytes) -> bytes:
        if self.state != IDENTIFIED:
            return bytes([INVALID_STATE])
        # The user's number and name are required, and not looked at.
        if len(message) != 1 + 2 + 10:
            return bytes([ERROR])
        self.state = SESSION
        return bytes([OK])

    def _security(self, message: bytes) -> bytes:
        if self.state != SESSION:
            return bytes([INVALID_STATE])
        if len(message) != 1 + PASSWORD_BYTES:
            return bytes([ERROR])
        self.rights = self._keys.rights(message[1:])
        self.failures = 0 if self.rights else self.failures + 1
        if not self.rights:
            self.refused()
        return bytes([OK if self.rights else INSUFFICIENT_CLEARANCE])

    def _logoff(self, message: bytes) -> bytes:
        if self.state != SESSION:
            return bytes([INVALID_STATE])
        if len(message) != 1:
            return bytes([ERROR])
        self.state = IDENTIFIED
        self.rights = NO_KEY
        return bytes([OK])

    def _read(self, message: bytes) -> bytes:
        if self.state != SESSION:
            return bytes([INVALID_STATE])
        if len(message) != (3 if message[0] == FULL_READ else 8):
            return bytes([ERROR])
        table = int.from_bytes(message[1:3], "big")
        if self.rights < _reader(table):
            return bytes([INSUFFICIENT_CLEARANCE])
        response = self._tables.answer(message, advanced=True)
        return response + checksum(response[3:]) if response[0] == OK else response

    def _write(self, message: bytes) -> bytes:
        if self.state != SESSION:
            return bytes([INVALID_STATE])
        header = 5 if message[0] == FULL_WRITE else 8
        count = int.from_bytes(message[header - 2 : header], "big")
        if len(message) != header + count + 1 or message[-1:] != checksum(message[header:-1]):
            return bytes([ERROR])
        if self.rights < PROVISIONING:
            return bytes([INSUFFICIENT_CLEARANCE])
        return self._tables.answer(message[:-1], advanced=True)


def checksum(data: bytes) -> bytes:
    """The two's complement of the sum of table data."""
    return bytes([-sum(data) & 0xFF])


def _reader(table: int) -> int:
    """The rights it takes to read a table."""
    if table in _OPEN:
        return NO_KEY
    return PROVISIONING if table in _NOT_FOR_READ_ONLY else READ_ONLY
