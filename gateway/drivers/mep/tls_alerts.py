"""TLS alerts that come in the clear, which is how a handshake fails (RFC 5246, section 7.2; RFC 4279)."""

from ..._compat import const
from ...errors import ProtocolError

ALERT_RECORD = 21
FATAL = 2

CLOSE_NOTIFY = 0
BAD_RECORD_MAC = 20
DECRYPT_ERROR = 51
UNKNOWN_PSK_IDENTITY = 115

# A server that finds the client's Finished wrong says one of these (RFC 4279, section 2; mbed TLS and OpenSSL
# the second): the keys of both sides differ, or the line has damaged it.
KEY_ALERTS = (UNKNOWN_PSK_IDENTITY, BAD_RECORD_MAC, DECRYPT_ERROR)

_RECORD_HEADER = const(5)

_NAMES = {
    CLOSE_NOTIFY: "close notify",
    10: "unexpected message",
    BAD_RECORD_MAC: "bad record MAC",
    22: "record overflow",
    40: "handshake failure",
    47: "illegal parameter",
    50: "decode error",
    DECRYPT_ERROR: "decrypt error",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
    UNKNOWN_PSK_IDENTITY: "unknown PSK identity",
}


class TlsAlert(ProtocolError):
    """The server ended the TLS session with alert `code`."""

    def __init__(self, code: int) -> None:
        super().__init__("TLS alert %d (%s)" % (code, _NAMES.get(code, "not named here")))
        self.code = code


def alert_in(records: bytes) -> "int | None":
    """The code of the first alert in plaintext `records` that ends a session; None without one."""
    at = 0
    while at + _RECORD_HEADER <= len(records):
        length = records[at + 3] << 8 | records[at + 4]
        body = at + _RECORD_HEADER
        if records[at] == ALERT_RECORD and length == 2 and body + 2 <= len(records):
            code: int = records[body + 1]
            if records[body] == FATAL or code == CLOSE_NOTIFY:
                return code
        at = body + length
    return None
