"""Ed25519 and SHA-512 against the vectors of RFC 8032 (7.1) and FIPS 180-4."""

import asyncio
import unittest

from ed25519 import verify
from sha512 import sha512

# Public key, message, signature: RFC 8032, 7.1, tests 1 to 3.
VECTORS = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
)
ORDER = 2**252 + 27742317777372353535851937790883648493


def verified(key, message, signature):
    return asyncio.run(verify(key, message, signature))


class TestEd25519(unittest.TestCase):
    def test_vectors(self):
        for key, message, signature in VECTORS:
            self.assertTrue(verified(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)))

    def test_any_change_is_found(self):
        key, message, signature = (bytes.fromhex(part) for part in VECTORS[2])
        self.assertFalse(verified(key, message + b"\0", signature))
        self.assertFalse(verified(bytes.fromhex(VECTORS[1][0]), message, signature))
        for at in (0, 31, 32, 62):
            changed = bytearray(signature)
            changed[at] ^= 1
            self.assertFalse(verified(key, message, bytes(changed)))

    def test_what_is_no_key_or_signature(self):
        key, message, signature = (bytes.fromhex(part) for part in VECTORS[2])
        scalar = int.from_bytes(signature[32:], "little") + ORDER
        for wrong in (b"", signature[:63], signature + b"\0", signature[:32] + scalar.to_bytes(32, "little")):
            self.assertFalse(verified(key, message, wrong))
        no_point = (2).to_bytes(32, "little")
        for wrong in (b"", key[:31], b"\xff" * 32, no_point):
            self.assertFalse(verified(wrong, message, signature))


class TestSha512(unittest.TestCase):
    def test_lengths_around_a_block(self):
        # FIPS 180-4, appendix C, and the lengths at which padding takes another block.
        for message, begins in (
            (b"abc", "ddaf35a193617aba"),
            (b"", "cf83e1357eefb8bd"),
            (bytes(111), "77ddd3a542e530fd"),
            (bytes(112), "2be2e788c8a8adea"),
            (bytes(128), "ab942f526272e456"),
        ):
            self.assertEqual(sha512(message)[:8].hex(), begins)


if __name__ == "__main__":
    unittest.main()
