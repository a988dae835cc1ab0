"""CPython only: a TLS 1.2 client for exactly what meters speak, TLS_PSK_WITH_AES_256_GCM_SHA384.

A machine without I/O: records in, records out. No extensions, no session cache, no renegotiation, one suite,
so that there is nothing to be talked down to (MEP guide, chapter 2, "Using TLS Security to secure MEP Ports";
RFC 5246, 4279, 5288, 5487, 5746). Python's own ssl module can't do it: before 3.13 it has no PSK at all, and
OpenSSL takes the identity for a C string, while that of a meter's basic key ends with a zero byte.

    state      what comes                                next
    NEW        start                                     HELLO
    HELLO      ServerHello                               DONE
    DONE       ServerKeyExchange, at most once           DONE
               ServerHelloDone                           CCS        (ClientKeyExchange, CCS, Finished to send)
    CCS        ChangeCipherSpec                          FINISHED
    FINISHED   Finished, verified                        OPEN
    OPEN       application data                          OPEN
    any        anything else                             CLOSED, and ProtocolError
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...errors import ProtocolError
from .tls_alerts import ALERT_RECORD, CLOSE_NOTIFY, FATAL, TlsAlert

_NEW, _HELLO, _DONE, _CCS, _FINISHED, _OPEN, _CLOSED = range(7)

_CHANGE_CIPHER_SPEC = 20
_HANDSHAKE = 22
_APPLICATION_DATA = 23

_CLIENT_HELLO = 1
_SERVER_HELLO = 2
_SERVER_KEY_EXCHANGE = 12
_SERVER_HELLO_DONE = 14
_CLIENT_KEY_EXCHANGE = 16
_FINISHED_MESSAGE = 20
_HELLO_REQUEST = 0

_VERSION = b"\x03\x03"
_SUITE = b"\x00\xa9"  # RFC 5487
_RENEGOTIATION_SCSV = b"\x00\xff"  # RFC 5746
_RENEGOTIATION_INFO = b"\xff\x01"

_RECORD_HEADER = 5
_MESSAGE_HEADER = 4
_NONCE = 8  # the explicit part
_TAG = 16
_VERIFY_DATA = 12
_MASTER_SECRET = 48

# A MEP frame carries 475 bytes of records; RFC 5246 allows 16 KiB, and no more than this is ever held.
MAX_RECORD = 2048
MAX_MESSAGE = 1024
# Empty records, warnings and requests to renegotiate are to be ignored, which must not go on for ever.
_MAX_IDLE = 16


def _prf(secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """RFC 5246, section 5, with SHA-384."""
    seed = label + seed
    out = b""
    link = seed
    while len(out) < size:
        link = hmac.digest(secret, link, "sha384")
        out += hmac.digest(secret, link + seed, "sha384")
    return out[:size]


class _Direction:
    """One direction's record protection (RFC 5288). `number`: the next record's."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._cipher = AESGCM(key)
        self._salt = salt
        self.number = 0

    def seal(self, kind: int, data: bytes) -> bytes:
        nonce = self.number.to_bytes(_NONCE, "big")
        return nonce + self._cipher.encrypt(self._salt + nonce, data, self._about(kind, len(data)))

    def open(self, kind: int, body: bytes) -> bytes:
        size = len(body) - _NONCE - _TAG
        if size < 0:
            raise ProtocolError("a TLS record is too short to be authentic")
        try:
            return self._cipher.decrypt(self._salt + body[:_NONCE], body[_NONCE:], self._about(kind, size))
        except InvalidTag:
            raise ProtocolError(
                "a TLS record is not authentic: damaged, or not meant for this session"
            ) from None

    def _about(self, kind: int, size: int) -> bytes:
        number = self.number
        self.number += 1
        return number.to_bytes(8, "big") + bytes((kind,)) + _VERSION + size.to_bytes(2, "big")


class TlsClient:
    """One session; when it fails, another object begins the next.

    `identity` and `key`: the pre-shared key and its name. `random`: gives so many random bytes; tests put
    recorded ones in its place. Every method but `start` raises ProtocolError (TlsAlert when the server says
    why), after which the session is over.
    """

    def __init__(self, identity: bytes, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        self._identity = identity
        self._key = key
        self._state = _NEW
        self._client_random = random(32)
        self._server_random = b""
        self._master = b""
        self._transcript = hashlib.sha384()
        self._records = b""
        self._messages = b""
        self._hinted = False
        self._idle = 0
        self._due = 0
        self._write: _Direction | None = None
        self._read: _Direction | None = None
        self._next_read: _Direction | None = None

    @property
    def established(self) -> bool:
        """Whether both sides have proven the key and data may be sent."""
        return self._state == _OPEN

    def start(self) -> bytes:
        """The first records to send."""
        if self._state != _NEW:
            raise ValueError("a TLS session starts once")
        self._state = _HELLO
        suites = _SUITE + _RENEGOTIATION_SCSV
        return self._handshake(
            _CLIENT_HELLO,
            _VERSION + self._client_random + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\1\0",
        )

    def feed(self, records: bytes) -> bytes:
        """Take what came during the handshake; gives the records to send next, or none."""
        sent, data = self._take(records)
        if data:
            raise self._broken("table data before the handshake's end")
        return sent

    def wrap(self, data: bytes) -> bytes:
        """The record that carries `data`."""
        if self._state != _OPEN or self._write is None:
            raise ProtocolError("there is no TLS session")
        return self._record(_APPLICATION_DATA, data)

    def unwrap(self, records: bytes) -> bytes:
        """The data in the records that are complete by now."""
        if self._state != _OPEN:
            raise ProtocolError("there is no TLS session")
        self._due = self._read.number if self._read is not None else 0
        return self._take(records)[1]

    def skip(self) -> None:
        """Go on behind the one record for which `unwrap` took what the line had made of it: the server knows
        nothing of that, and its next record has the next number."""
        assert self._read is not None and self._master == b""
        self._state = _OPEN
        self._records = self._messages = b""
        self._read.number = self._due + 1

    def _take(self, records: bytes) -> tuple[bytes, bytes]:
        if self._state in (_NEW, _CLOSED):
            raise ProtocolError("there is no TLS session")
        self._records += records
        sent = data = b""
        try:
            while (found := self._next_record()) is not None:
                kind, body = found
                if kind == _APPLICATION_DATA and self._state == _OPEN:
                    data += body
                    self._busy(bool(body))
                elif kind == _HANDSHAKE and body:
                    self._messages += body
                    sent += self._take_messages()
                elif kind == _CHANGE_CIPHER_SPEC:
                    self._change_cipher_spec(body)
                elif kind == ALERT_RECORD:
                    self._alert(body)
                else:
                    raise self._broken("a record of type %d at the wrong time" % kind)
        except ProtocolError:
            self._state = _CLOSED
            raise
        return sent, data

    def _next_record(self) -> tuple[int, bytes] | None:
        """Type and content of the next record that is complete."""
        header = self._records[:_RECORD_HEADER]
        # An alert to the first message may come in the name of another version.
        versions = (b"\3\0", b"\3\1", b"\3\2", b"\3\3") if self._state == _HELLO else (_VERSION,)
        if header and not _CHANGE_CIPHER_SPEC <= header[0] <= _APPLICATION_DATA:
            raise self._broken("bytes that are no TLS record")
        if len(header) < _RECORD_HEADER:
            return None
        if header[1:3] not in versions:
            raise self._broken("a record of TLS version %d.%d" % (header[1], header[2]))
        size = int.from_bytes(header[3:], "big")
        if size > MAX_RECORD:
            raise self._broken("a record of %d bytes" % size)
        if len(self._records) < _RECORD_HEADER + size:
            return None
        body = self._records[_RECORD_HEADER : _RECORD_HEADER + size]
        self._records = self._records[_RECORD_HEADER + size :]
        return header[0], self._read.open(header[0], body) if self._read is not None else body

    def _take_messages(self) -> bytes:
        """Handshake messages, which may share records or stretch over several."""
        sent = b""
        while len(self._messages) >= _MESSAGE_HEADER:
            size = int.from_bytes(self._messages[1:_MESSAGE_HEADER], "big")
            if size > MAX_MESSAGE:
                raise self._broken("a handshake message of %d bytes" % size)
            if len(self._messages) < _MESSAGE_HEADER + size:
                break
            message = self._messages[: _MESSAGE_HEADER + size]
            self._messages = self._messages[_MESSAGE_HEADER + size :]
            sent += self._take_message(message[0], message[_MESSAGE_HEADER:], message)
        return sent

    def _take_message(self, kind: int, body: bytes, whole: bytes) -> bytes:
        if kind == _HELLO_REQUEST and not body:
            self._busy(False)  # RFC 5246, 7.4.1.1: may be ignored, and is no part of the handshake
            return b""
        if kind == _FINISHED_MESSAGE and self._state == _FINISHED:
            self._check_finished(body)
            return b""
        self._transcript.update(whole)
        if kind == _SERVER_HELLO and self._state == _HELLO:
            self._server_hello(body)
            return b""
        if kind == _SERVER_KEY_EXCHANGE and self._state == _DONE and not self._hinted:
            # The hint that names a key; a meter has no say in which key we use.
            if len(body) < 2 or len(body) != 2 + int.from_bytes(body[:2], "big"):
                raise self._broken("a ServerKeyExchange of wrong length")
            self._hinted = True
            return b""
        if kind == _SERVER_HELLO_DONE and self._state == _DONE and not body:
            return self._finish()
        raise self._broken("a handshake message of type %d at the wrong time" % kind)

    def _server_hello(self, body: bytes) -> None:
        if len(body) < 35 or body[34] > 32 or len(body) < 38 + body[34]:
            raise self._broken("a ServerHello that is too short")
        if body[:2] != _VERSION:
            raise self._broken("version %d.%d of TLS instead of 1.2" % (body[0], body[1]))
        rest = body[35 + body[34] :]
        if rest[:2] != _SUITE:
            raise self._broken("cipher suite %s instead of 00a9" % rest[:2].hex())
        if rest[2]:
            raise self._broken("compression")
        self._check_extensions(rest[3:])
        self._server_random = body[2:34]
        self._state = _DONE

    def _check_extensions(self, block: bytes) -> None:
        """Only the answer to our renegotiation SCSV may be there, and says that this is no renegotiation."""
        if not block:
            return
        if len(block) < 2 or len(block) != 2 + int.from_bytes(block[:2], "big"):
            raise self._broken("extensions of wrong length")
        if block[2:] and block[2:] != _RENEGOTIATION_INFO + b"\0\1\0":
            raise self._broken("extensions that were not asked for")

    def _finish(self) -> bytes:
        """What follows ServerHelloDone: our key exchange and the proof that we know the key."""
        zeros = len(self._key).to_bytes(2, "big") + bytes(len(self._key))
        premaster = zeros + len(self._key).to_bytes(2, "big") + self._key
        randoms = self._client_random + self._server_random
        self._master = _prf(premaster, b"master secret", randoms, _MASTER_SECRET)
        block = _prf(self._master, b"key expansion", self._server_random + self._client_random, 72)
        sent = self._handshake(_CLIENT_KEY_EXCHANGE, len(self._identity).to_bytes(2, "big") + self._identity)
        sent += self._record(_CHANGE_CIPHER_SPEC, b"\1")
        self._write = _Direction(block[:32], block[64:68])
        self._next_read = _Direction(block[32:64], block[68:72])
        sent += self._handshake(_FINISHED_MESSAGE, self._verify_data(b"client finished"))
        self._state = _CCS
        return sent

    def _change_cipher_spec(self, body: bytes) -> None:
        if self._state != _CCS or body != b"\1" or self._messages:
            raise self._broken("a ChangeCipherSpec at the wrong time")
        self._read = self._next_read
        self._state = _FINISHED

    def _check_finished(self, body: bytes) -> None:
        if not hmac.compare_digest(body, self._verify_data(b"server finished")):
            raise self._broken("a Finished that does not prove the key")
        if self._messages:
            raise self._broken("more handshake after Finished")
        self._master = b""
        self._state = _OPEN

    def _alert(self, body: bytes) -> None:
        if len(body) != 2:
            raise self._broken("an alert of %d bytes" % len(body))
        if body[0] == FATAL or body[1] == CLOSE_NOTIFY:
            raise TlsAlert(body[1])
        self._busy(False)

    def _busy(self, busy: bool) -> None:
        self._idle = 0 if busy else self._idle + 1
        if self._idle > _MAX_IDLE:
            raise self._broken("records without content, on and on")

    def _verify_data(self, label: bytes) -> bytes:
        return _prf(self._master, label, self._transcript.digest(), _VERIFY_DATA)

    def _handshake(self, kind: int, body: bytes) -> bytes:
        message = bytes((kind,)) + len(body).to_bytes(3, "big") + body
        self._transcript.update(message)
        return self._record(_HANDSHAKE, message)

    def _record(self, kind: int, body: bytes) -> bytes:
        if self._write is not None:
            body = self._write.seal(kind, body)
        return bytes((kind,)) + _VERSION + len(body).to_bytes(2, "big") + body

    def _broken(self, what: str) -> ProtocolError:
        return ProtocolError("TLS: the meter sent %s" % what)
