"""The TLS codes of a MEP port (MEP guide, chapter 2, tables 2.1 to 2.3, "PSK Identity Hint")."""

from collections.abc import Callable, Iterator, Mapping

from .tls_engine import TlsFailed, TlsSession, require

TERMINATE = 0x57
HANDSHAKE = 0x58
HANDSHAKE_CONTINUED = 0x59
TABLE = 0x80
CODES = frozenset([TERMINATE, HANDSHAKE, HANDSHAKE_CONTINUED, TABLE])

# Response codes (table 2.3; 0A from table 2.1).
SUCCESS = 0x00
TLS_ERROR = 0x01
WRONG_IDENTITY_OR_KEY = 0x03
INVALID_STATE = 0x0A

# Key ids at the end of an identity; a client id of 2 bytes stands before it.
BASIC_KEY_ID = 0
ADVANCED_KEY_ID = 1
IDENTITY_BYTES = 3

# What a record takes beside its plain text: header, explicit nonce, tag.
RECORD_OVERHEAD = 5 + 8 + 16


class TlsServer:
    """The TLS side of one MEP port, a machine without I/O: a body of code and records in, response code and
    records out. `service` runs a C12.18 message under the rights of the session's key. Either key may be
    None. Raises ConfigurationError when there is no TLS library."""

    def __init__(
        self,
        service: Callable[[bytes, bool], bytes],
        advanced_key: bytes | None,
        basic_key: bytes | None,
    ) -> None:
        require()
        self._service = service
        self._keys = _Keys({ADVANCED_KEY_ID: advanced_key, BASIC_KEY_ID: basic_key})
        self._session: TlsSession | None = None
        self.handshakes = 0

    @property
    def established(self) -> bool:
        """A session stands."""
        return self._session is not None and self._session.established

    @property
    def identity(self) -> bytes | None:
        """What the session's client called itself; None without a session."""
        return self._keys.identity if self.established else None

    def forget(self) -> None:
        """Lose the session, as a meter without power does."""
        self._session = None

    def answer(self, body: bytes) -> bytes:
        """The response to a request of one of CODES."""
        code, data = body[0], body[1:]
        try:
            if code == TERMINATE:
                self.forget()
                return bytes([SUCCESS if data else TLS_ERROR])
            if code == HANDSHAKE:
                self._keys.identity = None
                self._session = TlsSession(self._keys)
            session = self._session
            if session is None or session.established != (code == TABLE):
                return bytes([INVALID_STATE])
            if code == TABLE:
                return bytes([SUCCESS]) + self._table(session, data)
            records = session.handshake(data)
            self.handshakes += session.established
            return bytes([SUCCESS]) + records
        except TlsFailed as failure:
            self.forget()
            return bytes([WRONG_IDENTITY_OR_KEY if failure.wrong_key else TLS_ERROR]) + failure.alert

    def _table(self, session: TlsSession, records: bytes) -> bytes:
        message = session.open(records)
        if not message:
            raise TlsFailed(b"", wrong_key=False)
        identity = self._keys.identity or b""
        return session.seal(self._service(message, identity[-1:] == bytes([ADVANCED_KEY_ID])))


class _Keys(Mapping[str, bytes]):
    """Looks an identity's key up by its last byte, and remembers the identity: client ids are not checked."""

    def __init__(self, keys: dict[int, bytes | None]) -> None:
        self._keys = keys
        self.identity: bytes | None = None

    def __getitem__(self, name: str) -> bytes:
        identity = name.encode("utf-8")
        key = self._keys.get(identity[-1]) if len(identity) == IDENTITY_BYTES else None
        if key is None:
            raise KeyError("unknown identity")
        self.identity = identity
        return key

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
