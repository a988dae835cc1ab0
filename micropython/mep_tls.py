"""MicroPython only: the interpreter's own TLS as a client without I/O, with the suite that meters speak.

The same interface as gateway/drivers/mep/tls_client.py. mbed TLS runs over a stream that is two buffers here:
it is never waited for, because reading an empty one says "nothing yet".
"""

import io

import tls

from gateway._compat import TYPE_CHECKING, const
from gateway.drivers.mep.tls_alerts import TlsAlert, alert_in
from gateway.errors import ProtocolError

if TYPE_CHECKING:
    from typing import Any

_SUITE = "TLS-PSK-WITH-AES-256-GCM-SHA384"
_CHANGE_CIPHER_SPEC = const(20)
_HANDSHAKE = const(22)
_MOST = const(512)  # more than a MEP frame carries


class _Buffers(io.IOBase):
    def __init__(self) -> None:
        self.arrived = b""
        self.leaving = b""

    def readinto(self, target: "Any") -> "int | None":
        count = min(len(target), len(self.arrived))
        if not count:
            return None
        target[:count] = self.arrived[:count]
        self.arrived = self.arrived[count:]
        return count

    def write(self, data: "Any") -> int:
        self.leaving += bytes(data)
        return len(data)


class TlsClient:
    """One session; when it fails, another object begins the next. Every method but `start` raises
    ProtocolError (TlsAlert when the server says why during the handshake)."""

    def __init__(self, identity: bytes, key: bytes) -> None:
        context: Any = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_NONE  # a pre-shared key comes without certificates
        context.set_ciphers([_SUITE])
        context.psk_identity = identity
        context.psk_key = key
        self._buffers = _Buffers()
        self._stream: Any = context.wrap_socket(self._buffers, do_handshake_on_connect=False)
        self._followed = b""
        self._changed = False
        self.established = False

    def start(self) -> bytes:
        self._read()
        return self._sent()

    def feed(self, records: bytes) -> bytes:
        alert = alert_in(records) if not self._changed else None
        if self._read(records):
            raise ProtocolError("TLS: the meter sent table data before the handshake's end")
        if alert is not None:
            raise TlsAlert(alert)
        self._follow(records)
        return self._sent()

    def wrap(self, data: bytes) -> bytes:
        if not self.established:
            raise ProtocolError("there is no TLS session")
        try:
            taken = self._stream.write(data)
        except OSError as error:
            raise self._broken(error) from None
        if taken != len(data):
            raise self._broken("it takes no more")
        return self._sent()

    def unwrap(self, records: bytes) -> bytes:
        if not self.established:
            raise ProtocolError("there is no TLS session")
        return self._read(records)

    def _read(self, records: bytes = b"") -> bytes:
        """The data that comes of `records`; while the handshake is on, reading drives it."""
        self._buffers.arrived += records
        found = b""
        try:
            while True:
                data = self._stream.read(_MOST)
                if data is None:
                    return found
                if not data:
                    raise self._broken("it was closed")
                found += data
        except OSError as error:
            alert = alert_in(records) if not self._changed else None
            broken = self._broken(error)
            raise (TlsAlert(alert) if alert is not None else broken) from None

    def _follow(self, records: bytes) -> None:
        """Mark the handshake's end, which the interpreter does not tell: the first record after
        ChangeCipherSpec was the Finished, and mbed TLS would have refused a wrong one."""
        followed = self._followed + records
        while len(followed) >= 5:
            end = 5 + (followed[3] << 8 | followed[4])
            if end > len(followed):
                break
            if followed[0] == _CHANGE_CIPHER_SPEC:
                self._changed = True
            elif self._changed and followed[0] == _HANDSHAKE:
                self.established = True
            followed = followed[end:]
        self._followed = followed

    def _sent(self) -> bytes:
        sent = self._buffers.leaving
        self._buffers.leaving = b""
        return sent

    def _broken(self, why: object) -> ProtocolError:
        self.established = False
        return ProtocolError("TLS: the session failed (%s)" % why)
