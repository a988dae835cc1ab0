"""What proves and hides a MEP message: the digest, RC4, and the keys as utilities hand them out.

MEP guide, appendix A (digest), appendix B (encryption), chapter 2, "Access Levels" (keys).
"""

from pathlib import Path

from ..errors import ConfigurationError

DIGEST_BYTES = 8
KEY_BYTES = 16

# The digest walks one and a half times over the key, one message byte for each key bit, and always ends
# on a whole walk: 24 key bytes of 8 bits.
_WALK = KEY_BYTES + KEY_BYTES // 2
_BLOCK = _WALK * 8

# The constant that is mixed with the MEP key to get the encryption key.
_ENCRYPTION_CONSTANT = bytes.fromhex("388b8fbc36a8558587afc90fb23a3b99")


def digest(data: bytes, key: bytes) -> bytes:
    """The 8 bytes that authenticate `data` (a request, or a request and its response) under `key`."""
    blocks = max(1, -(-len(data) // _BLOCK))
    padded = data.ljust(blocks * _BLOCK, b"\0")
    state = [0] * DIGEST_BYTES
    position = 0
    for _ in range(blocks):
        for step in range(_WALK):
            key_byte = key[step % KEY_BYTES]
            carried = state[0]
            for cell in range(7, -1, -1):
                mixed = ~(state[cell] + cell) & 0xFF
                turned = (mixed << 1) + (mixed >> 7) if key_byte & 1 else -((mixed >> 1) + (mixed << 7))
                carried = (carried + padded[position] + turned) & 0xFF
                state[cell] = carried
                key_byte >>= 1
                position += 1
    return bytes(state)


class Rc4:
    """The RC4 stream cipher; one object is one stream, in both directions of an exchange."""

    def __init__(self, key: bytes) -> None:
        box = list(range(256))
        j = 0
        for i in range(256):
            j = (j + box[i] + key[i % len(key)]) & 0xFF
            box[i], box[j] = box[j], box[i]
        self._box = box
        self._i = 0
        self._j = 0

    def apply(self, data: bytes) -> bytes:
        """`data` encrypted or decrypted with the next bytes of the stream."""
        box, i, j = self._box, self._i, self._j
        out = bytearray()
        for byte in data:
            i = (i + 1) & 0xFF
            j = (j + box[i]) & 0xFF
            box[i], box[j] = box[j], box[i]
            out.append(byte ^ box[(box[i] + box[j]) & 0xFF])
        self._i, self._j = i, j
        return bytes(out)


def exchange_cipher(key: bytes, request_digest: bytes) -> Rc4:
    """The cipher of one exchange: it decrypts the request and goes on to encrypt the response."""
    mixed = bytearray(Rc4(key).apply(_ENCRYPTION_CONSTANT))
    for index, byte in enumerate(request_digest):
        mixed[index] ^= byte
    return Rc4(bytes(mixed))


def parse_key(text: str) -> bytes:
    """The 16 bytes of a key given as 16 or 20 ASCII characters, or 32 or 40 hex digits.

    Only the first 16 bytes count. Raises ValueError, which never holds the key.
    """
    text = text.strip()
    if len(text) in (32, 40):
        try:
            return bytes.fromhex(text)[:KEY_BYTES]
        except ValueError:
            raise ValueError("a key of %d characters must be hex digits only" % len(text)) from None
    if len(text) in (16, 20) and text.isascii() and text.isprintable():
        return text.encode("ascii")[:KEY_BYTES]
    raise ValueError(
        "a key is 16 or 20 ASCII characters, or 32 or 40 hex digits; this has %d characters" % len(text)
    )


def read_key_file(path: Path) -> bytes:
    """The key in a file. Raises ConfigurationError that names the file and never shows the key."""
    try:
        return parse_key(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError("key file %s: %s" % (path, reason)) from None
