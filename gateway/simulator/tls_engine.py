"""The TLS library behind the meter's MEP ports: mbed TLS, as in the meters themselves.

MEP guide, chapter 2, "Using TLS Security to secure MEP Ports": TLS 1.2, TLS_PSK_WITH_AES_256_GCM_SHA384.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError

_SUITE = "TLS-PSK-WITH-AES-256-GCM-SHA384"
_CHUNK = 4096
_UNKNOWN_IDENTITY = 0x6C80
_WRONG_MAC = 0x7180


class TlsFailed(Exception):
    """The session is over; `alert` is the record that says so to the client. `wrong_key` when the identity is
    unknown or the key is not the one that belongs to it."""

    def __init__(self, alert: bytes, wrong_key: bool) -> None:
        super().__init__("TLS session failed")
        self.alert = alert
        self.wrong_key = wrong_key


def require() -> None:
    """Raises ConfigurationError when the library is not there."""
    try:
        import mbedtls.tls  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "TLS on the virtual meter's ports needs python-mbedtls, which has wheels up to Python 3.12: "
            "pip install python-mbedtls"
        ) from None


class TlsSession:
    """The server's end of one session. `keys` maps identities, as text, to keys.

    The library takes identities for UTF-8, so a client id whose bytes are none can't get through.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        from mbedtls import exceptions, tls
        from mbedtls._tls import HandshakeStep

        configuration = tls.TLSConfiguration(
            validate_certificates=False,
            ciphers=(_SUITE,),
            lowest_supported_version=tls.TLSVersion.TLSv1_2,
            highest_supported_version=tls.TLSVersion.TLSv1_2,
            pre_shared_key_store=keys,
        )
        self._buffer: Any = tls.ServerContext(configuration).wrap_buffers()
        self._over = HandshakeStep.HANDSHAKE_OVER
        self.established = False
        self._want_read: type[Exception] = tls.WantReadError
        self._want_write: type[Exception] = tls.WantWriteError
        self._ragged: type[Exception] = tls.RaggedEOF
        self._error: type[Exception] = exceptions.TLSError

    def handshake(self, records: bytes) -> bytes:
        """Records that answer records of a handshake; none while more have to come. Raises TlsFailed."""
        self._buffer.receive_from_network(records)
        while self._buffer._handshake_state is not self._over:
            try:
                self._buffer.do_handshake()
            except self._want_write:
                continue
            except self._want_read:
                break
            except (self._error, ValueError) as error:
                raise self._failed(error) from None
        else:
            self.established = True
        return self._outgoing()

    def open(self, records: bytes) -> bytes:
        """The plain text of records. Raises TlsFailed."""
        self._buffer.receive_from_network(records)
        try:
            return bytes(self._buffer.read(_CHUNK))
        except self._want_read:
            return b""
        except (self._error, self._ragged, ValueError) as error:
            raise self._failed(error) from None

    def seal(self, message: bytes) -> bytes:
        """The record that holds `message`."""
        try:
            self._buffer.write(message)
        except self._want_write:
            pass
        return self._outgoing()

    def _outgoing(self) -> bytes:
        out = bytearray()
        while piece := self._buffer.peek_outgoing(_CHUNK):
            out += piece
            self._buffer.consume_outgoing(len(piece))
        return bytes(out)

    def _failed(self, error: Exception) -> TlsFailed:
        code = getattr(error, "err", 0)
        wrong_key = code == _UNKNOWN_IDENTITY or (code == _WRONG_MAC and not self.established)
        return TlsFailed(self._outgoing(), wrong_key)
