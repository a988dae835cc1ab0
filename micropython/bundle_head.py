"""The head of a signed application bundle: what is in it, for whom, and who says so (docs/update.md).

A bundle is this head of 144 bytes and a ROMFS image. The signature is over the head, the head has the
image's hash.
"""

import hashlib

from slots import number

from gateway._compat import TYPE_CHECKING, const
from gateway.errors import UpdateError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"OGB1"
HEAD = 144
# Signed in place of the head alone, so that the key can't have signed it for anything else.
CONTEXT = b"osgp-gateway bundle 1"
# That a board's image is bytecode only: good for all processors of these boards.
FAMILY = "esp32"

_SIGNED = const(80)
_KEY_ID = const(4)


def key_id(key: bytes) -> bytes:
    """The 4 bytes by which a bundle names the public key it is to be checked with."""
    return hashlib.sha256(key).digest()[:_KEY_ID]


def parse_keys(text: str) -> "list[bytes]":
    """Public keys of 64 hex digits, one a line. Raises UpdateError."""
    keys = []
    for line in text.split():
        try:
            keys.append(bytes.fromhex(line))
        except ValueError:
            keys.append(b"")
        if len(keys[-1]) != 32:
            raise UpdateError("a key for updates has 64 hex digits, not %d characters" % len(line))
    return keys


class Bundle:
    """`head`: its bytes. Raises UpdateError for what is no head of a bundle; nothing of it is believed before
    `verify`.

    `version`: numbers with dots; `family` of boards; `bytecode`: MicroPython's version of it; `size` and
    `digest` (SHA-256) of the image; `key_id` of who signed.
    """

    def __init__(self, head: "bytes | bytearray") -> None:
        head = bytes(head)
        if len(head) < HEAD or head[:3] != MAGIC[:3]:
            raise UpdateError("this is no application bundle: it begins %s" % head[:4].hex())
        if head[:4] != MAGIC:
            raise UpdateError(
                "this bundle has format %r, known here is %r: update by flashing" % (head[3:4], MAGIC[3:])
            )
        self.bytecode = head[4]
        self.version = _text(head[8:24])
        self.family = _text(head[24:40])
        self.size = int.from_bytes(head[40:44], "big")
        self.digest = head[44:76].hex()
        self.key_id = head[76:_SIGNED]
        self._signed = head[:_SIGNED]
        self._signature = head[_SIGNED:HEAD]
        if head[5:8] != bytes(3):
            raise UpdateError("this bundle needs something that is not known here: update by flashing")
        try:
            number(self.version)
        except ValueError:
            raise UpdateError("%r is no version: numbers and dots" % self.version) from None

    async def verify(self, keys: "Sequence[bytes]") -> None:
        """Raises UpdateError unless one of these public keys signed it."""
        from ed25519 import verify

        if not keys:
            raise UpdateError("no key for updates was put on this board; flash it with one")
        for key in keys:
            if key_id(key) == self.key_id:
                if not await verify(key, CONTEXT + self._signed, self._signature):
                    raise UpdateError("the bundle's signature is wrong: it is forged or damaged")
                return
        raise UpdateError("the bundle was signed with another key (%s) than this board's" % self.key_id.hex())


def _text(field: bytes) -> str:
    text = field.rstrip(b"\0")
    if [byte for byte in text if not 32 < byte < 127]:
        raise UpdateError("this bundle's head is damaged: %s" % field.hex())
    return text.decode()
