"""The page's side of its proofs, for tests on either interpreter (docs/page.md)."""

import hashlib
import json

from gateway.transmission.sealing import hmac_sha256


def salted(password, salt, iterations):
    """PBKDF2-HMAC-SHA256 (RFC 8018), one block; MicroPython has none."""
    last = hmac_sha256(password, salt, b"\0\0\0\1")
    total = int.from_bytes(last, "big")
    for _ in range(iterations - 1):
        last = hmac_sha256(password, last)
        total ^= int.from_bytes(last, "big")
    return total.to_bytes(32, "big")


def keys(secret):
    """Client key, stored key and server key of a salted password."""
    client = hmac_sha256(secret, b"Client Key")
    return client, hashlib.sha256(client).digest(), hmac_sha256(secret, b"Server Key")


def verifier_of(secret, salt, iterations):
    _, stored, server = keys(secret)
    return {
        "salt": salt.hex(),
        "iterations": iterations,
        "stored": stored.hex(),
        "server": server.hex(),
    }


class PageClient:
    """Knows a salted password; proves it and seals what it sends."""

    def __init__(self, secret):
        self._secret = secret
        self._client = b"client's own nonc"[:16]
        self._number = 0
        self._key = b""
        self.session = ""

    def proof(self, challenge):
        """What to post to /api/login."""
        client, stored, _ = keys(self._secret)
        self._said = self._client + bytes.fromhex(challenge["nonce"])
        mask = hmac_sha256(stored, self._said)
        proof = bytes([client[i] ^ mask[i] for i in range(32)])
        return {"nonce": challenge["nonce"], "client": self._client.hex(), "proof": proof.hex()}

    def logged_in(self, answer):
        """Take the session; whether the board has proven itself."""
        client, _, server = keys(self._secret)
        self._key = hmac_sha256(client, b"session", self._said)
        self.session = answer["session"]
        return hmac_sha256(server, self._said).hex() == answer["signature"]

    def header(self, method, address, body=b""):
        self._number += 1
        said = "%s %s %d\n" % (method, address, self._number)
        return "%s %d %s" % (
            self.session,
            self._number,
            hmac_sha256(self._key, said.encode(), body).hex(),
        )

    def sealed(self, secrets):
        """For the next request."""
        plain = json.dumps(secrets).encode()
        out = b""
        for at in range(0, len(plain), 32):
            stream = hmac_sha256(self._key, b"secret %d %d" % (self._number + 1, at >> 5))
            out += bytes([byte ^ stream[i] for i, byte in enumerate(plain[at : at + 32])])
        return out.hex()
