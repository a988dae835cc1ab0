"""Who may use the page: proofs without the password, and requests that carry a proof each.

Salted challenge and response as in RFC 5802 (SCRAM) with SHA-256: the board keeps a verifier that opens
nothing by itself. Every later request proves its session with an HMAC over a number that only grows, method,
address and body, so that there is no token to steal or to send from another site. docs/page.md has the bytes.
"""

import hashlib
import os

from .._compat import TYPE_CHECKING, const
from ..errors import ConfigurationError, GatewayError
from ..transmission.sealing import hmac_sha256

if TYPE_CHECKING:
    from typing import Any

    from .http import Request

_CHALLENGES = const(4)
_SESSIONS = const(3)
_CHALLENGE_MS = const(120000)
_IDLE_MS = const(600000)
_FREE_TRIES = const(3)
_LONGEST_WAIT_S = const(300)
_LEAST_ITERATIONS = const(4096)


class Denied(GatewayError):
    """`wait_s`: how long no further try is looked at; 0: log in."""

    def __init__(self, message: str, wait_s: int = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def parse_verifier(given: "Any") -> "tuple[bytes, int, bytes, bytes]":
    """Salt, iterations, stored key and server key of {"salt", "iterations", "stored", "server"}, bytes in
    hex. Raises ConfigurationError."""
    try:
        salt, stored, server = [bytes.fromhex(given[name]) for name in ("salt", "stored", "server")]
        iterations = given["iterations"]
        if not isinstance(iterations, int) or iterations < _LEAST_ITERATIONS or len(salt) < 16:
            raise ValueError
        if len(stored) != 32 or len(server) != 32:
            raise ValueError
    except (ValueError, TypeError, KeyError):
        raise ConfigurationError(
            "the page's password: its verifier is damaged; set the password anew"
        ) from None
    return salt, iterations, stored, server


def _equal(one: bytes, other: bytes) -> bool:
    """Takes as long whether they are or not."""
    difference = len(one) ^ len(other)
    for i in range(min(len(one), len(other))):
        difference |= one[i] ^ other[i]
    return not difference


def _hex(text: str, size: int) -> bytes:
    try:
        data = bytes.fromhex(text)
    except (ValueError, TypeError):
        data = b""
    if len(data) != size:
        raise Denied("the proof is none")
    return data


class _Session:
    def __init__(self, key: bytes, now_ms: int) -> None:
        self.key = key
        self.number = 0
        self.used_ms = now_ms


class Login:
    """`verifier`: as parse_verifier gives it. `now_ms`: a monotonic clock, everywhere here."""

    def __init__(self, verifier: "tuple[bytes, int, bytes, bytes]") -> None:
        self._salt, self._iterations, self._stored, self._server = verifier
        self._challenges: list[tuple[bytes, int]] = []
        self._sessions: list[tuple[str, _Session]] = []
        self._failures = 0
        self._next_ms: int | None = None

    def wait_s(self, now_ms: int) -> int:
        """How long no password is looked at."""
        return 0 if self._next_ms is None else max(0, -(-(self._next_ms - now_ms) // 1000))

    def challenge(self, now_ms: int) -> "dict[str, Any]":
        nonce = os.urandom(16)
        self._challenges = self._challenges[1 - _CHALLENGES :] + [(nonce, now_ms)]
        return {
            "salt": self._salt.hex(),
            "iterations": self._iterations,
            "nonce": nonce.hex(),
            "wait": self.wait_s(now_ms),
        }

    def prove(self, given: "dict[str, Any]", now_ms: int) -> "dict[str, str]":
        """Session and the board's own proof, for {"nonce", "client", "proof"}. Raises Denied."""
        wait_s = self.wait_s(now_ms)
        if wait_s:
            raise Denied("too many wrong passwords", wait_s)
        nonce, client = _hex(given.get("nonce", ""), 16), _hex(given.get("client", ""), 16)
        proof = _hex(given.get("proof", ""), 32)
        found = [one for one in self._challenges if one[0] == nonce]
        self._challenges = [one for one in self._challenges if one[0] != nonce]
        if not found or now_ms - found[0][1] > _CHALLENGE_MS:
            raise Denied("the page was open for too long before the password came; try again")
        said = client + nonce
        mask = hmac_sha256(self._stored, said)
        key = bytes([proof[i] ^ mask[i] for i in range(32)])
        if not _equal(hashlib.sha256(key).digest(), self._stored):
            self._failures += 1
            if self._failures >= _FREE_TRIES:
                wait_s = min(1 << min(self._failures - _FREE_TRIES + 1, 9), _LONGEST_WAIT_S)
                self._next_ms = now_ms + 1000 * wait_s
            raise Denied("this is not the password", wait_s)
        self._failures = 0
        self._next_ms = None
        name = os.urandom(8).hex()
        session = _Session(hmac_sha256(key, b"session", said), now_ms)
        self._sessions = self._sessions[1 - _SESSIONS :] + [(name, session)]
        return {"session": name, "signature": hmac_sha256(self._server, said).hex()}

    def check(self, request: "Request", now_ms: int) -> "tuple[bytes, int]":
        """Key and number of a request that proves its session. Raises Denied."""
        parts = request.proof.split(" ")
        self._sessions = [one for one in self._sessions if now_ms - one[1].used_ms <= _IDLE_MS]
        for name, session in self._sessions:
            if len(parts) != 3 or parts[0] != name or not parts[1].isdigit() or len(parts[1]) > 9:
                continue
            number = int(parts[1])
            address = request.path + ("?" + request.query if request.query else "")
            said = "%s %s %d\n" % (request.method, address, number)
            tag = hmac_sha256(session.key, said.encode(), request.body)
            if number > session.number and _equal(tag, _hex(parts[2], 32)):
                session.number = number
                session.used_ms = now_ms
                return session.key, number
        raise Denied("the password is needed")


def reveal(key: bytes, number: int, sealed: bytes) -> bytes:
    """What request `number` sent enciphered: HMAC-SHA256 in counter mode, each number used once. That nobody
    changed it is what the request's own proof says."""
    plain = b""
    for at in range(0, len(sealed), 32):
        stream = hmac_sha256(key, b"secret %d %d" % (number, at >> 5))
        plain += bytes([byte ^ stream[i] for i, byte in enumerate(sealed[at : at + 32])])
    return plain
