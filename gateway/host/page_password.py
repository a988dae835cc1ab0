"""What a board keeps of its page's password, for whoever flashes it (docs/page.md)."""

import hashlib
import hmac
import json
import os
import unicodedata

from gateway.errors import ConfigurationError

ITERATIONS = 50000  # as the page itself does
LEAST = 8


def verifier(password: bytes) -> bytes:
    """The content of "page.password_file". Raises ConfigurationError for a password that is too short."""
    text = unicodedata.normalize("NFKC", password.decode("utf-8", "replace"))
    if len(text) < LEAST:
        raise ConfigurationError(f"the page's password has {len(text)} characters; it needs {LEAST}")
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", text.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    made = {"salt": salt.hex(), "iterations": ITERATIONS, "stored": stored.hex(), "server": server.hex()}
    return json.dumps(made).encode()
