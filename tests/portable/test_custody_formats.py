"""Asks and receipts: the vectors of docs/custody.md, and that nothing but the genuine article is believed."""

import binascii
import json
import unittest

from gateway.errors import FrameError
from gateway.transmission.custody import MAX_SPAN, Ask, Receipt, decode, hop_key, range_digest
from gateway.transmission.sealing import hmac_sha256, key_id, seal

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/custody.json"


def octets(text):
    return binascii.unhexlify(text)


def hexed(data):
    return str(binascii.hexlify(data), "ascii")


def ask_of(fields):
    return Ask(
        octets(fields["nonce"]),
        octets(fields["generation"]),
        [(octets(session), position) for session, position in fields["marks"]],
        [(c, e, low, [(f, n) for f, n in runs]) for c, e, low, runs in fields["streams"]],
        [(c, e, f, n) for c, e, f, n in fields["drops"]],
        [(c, e, s, octets(sha)) for c, e, s, sha in fields["claims"]],
    )


def receipt_of(fields):
    return Receipt(
        octets(fields["nonce"]),
        octets(fields["generation"]),
        fields["since"],
        octets(fields["session"]),
        fields["position"],
        [(c, e, f, n, octets(digest)) for c, e, f, n, digest in fields["ranges"]],
    )


class FormatsTest(unittest.TestCase):
    def setUp(self):
        with open(VECTORS) as file:
            self.vectors = json.load(file)
        self.meter = octets(self.vectors["meter"])
        self.key = hop_key(octets(self.vectors["credential"]))

    def find(self, name):
        return self.key if name == key_id(self.key) else None

    def messages(self):
        return [(one, ask_of) for one in self.vectors["asks"]] + [
            (one, receipt_of) for one in self.vectors["receipts"]
        ]

    def test_keys_and_digest(self):
        self.assertEqual(hexed(self.key), self.vectors["hop_key"])
        self.assertEqual(hexed(key_id(self.key)), self.vectors["hop_key_id"])
        import hashlib

        hashes = [hashlib.sha256(octets(frame)).digest() for frame in self.vectors["digest"]["frames"]]
        self.assertEqual(hexed(range_digest(hashes)), self.vectors["digest"]["digest"])

    def test_hmac(self):
        for one in self.vectors["hmac"]:
            data = octets(one["data"])
            self.assertEqual(hexed(hmac_sha256(octets(one["key"]), data)), one["mac"])
            self.assertEqual(hexed(hmac_sha256(octets(one["key"]), data[:7], data[7:])), one["mac"])

    def test_messages_decode_to_their_fields_and_back(self):
        for one, make in self.messages():
            name, message = decode(self.meter, octets(one["message"]), self.find)
            self.assertEqual(name, key_id(self.key))
            wanted = make(one["fields"])
            self.assertEqual(message.__dict__, wanted.__dict__)
            self.assertEqual(hexed(wanted.encode(self.key, self.meter)), one["message"])

    def test_any_changed_byte_is_refused(self):
        for one, _ in self.messages():
            payload = octets(one["message"])
            for i in range(len(payload)):
                changed = bytearray(payload)
                changed[i] ^= 1 << (i % 8)
                if 5 <= i < 9:
                    self.assertIsNone(decode(self.meter, bytes(changed), self.find))
                else:
                    self.assertRaises(FrameError, decode, self.meter, bytes(changed), self.find)

    def test_any_other_length_is_refused(self):
        payload = octets(self.vectors["receipts"][1]["message"])
        for i in range(len(payload)):
            self.assertRaises(FrameError, decode, self.meter, payload[:i], self.find)
        self.assertRaises(FrameError, decode, self.meter, payload + b"\0", self.find)
        self.assertRaises(FrameError, decode, self.meter, bytes(9000), self.find)

    def test_another_meter_or_key_is_refused(self):
        payload = octets(self.vectors["receipts"][1]["message"])
        self.assertRaises(FrameError, decode, bytes(16), payload, self.find)
        self.assertRaises(FrameError, decode, self.meter, payload, lambda name: hop_key(b"another"))

    def test_what_names_another_key_is_someone_elses(self):
        payload = Receipt(bytes(8), bytes(8), 0, bytes(8), 1, []).encode(hop_key(b"another"), self.meter)
        self.assertIsNone(decode(self.meter, payload, self.find))

    def test_authentic_but_out_of_bounds_is_refused(self):
        digest = bytes(32)
        for ranges in (
            [[4, 0, 0, 0, digest]],
            [[0, 1 << 32, 0, 0, digest]],
            [[0, 0, -1, 0, digest]],
            [[0, 0, 5, 4, digest]],
            [[0, 0, 0, MAX_SPAN, digest]],
            [[0, 0, 0, 1 << 40, digest]],
            [[0, 0, 0, 0, digest[1:]]],
            [[0, 0, 0, 0]],
            [[0, 0, True, 0, digest]],
            [0],
            [[0, 0, 0, 0, digest]] * 33,
        ):
            payload = seal(self.key, self.meter, 2, [bytes(8), bytes(8), 0, bytes(8), 1, ranges])
            self.assertRaises(FrameError, decode, self.meter, payload, self.find)
        for streams in (
            [[0, 0, 0, [1]]],
            [[0, 0, 0, [0, 0] * 9]],
            [[0, 0, 0, []]] * 33,
            [[0, 0, 0, [0, b""]]],
        ):
            payload = seal(self.key, self.meter, 1, [bytes(8), b"", [], streams, [], []])
            self.assertRaises(FrameError, decode, self.meter, payload, self.find)
        payload = seal(self.key, self.meter, 1, [bytes(8), b"12345", [], [], [], []])
        self.assertRaises(FrameError, decode, self.meter, payload, self.find)
        payload = seal(self.key, self.meter, 3, [])
        self.assertRaises(FrameError, decode, self.meter, payload, self.find)

    def test_what_does_not_fit_is_not_encoded(self):
        ranges = [(0, 0, 0, MAX_SPAN, bytes(32))]
        self.assertRaises(
            FrameError, Receipt(bytes(8), bytes(8), 0, bytes(8), 1, ranges).encode, self.key, self.meter
        )
        drops = [(3, 1, i, i) for i in range(33)]
        self.assertRaises(FrameError, Ask(bytes(8), b"", [], [], drops, []).encode, self.key, self.meter)

    def test_the_largest_messages_fit(self):
        big = 0xFFFFFFFFFF
        runs = [(big - i, big) for i in range(8)]
        ask = Ask(
            bytes(8),
            bytes(8),
            [(bytes(8), (1 << 63) - 1)] * 16,
            [(3, 0xFFFFFFFF, big, runs)] * 32,
            [(3, 0xFFFFFFFF, big, big)] * 32,
            [(3, 0xFFFFFFFF, big, bytes(32))] * 16,
        )
        back = decode(self.meter, ask.encode(self.key, self.meter), self.find)[1]
        self.assertTrue(back.marks == ask.marks and back.streams == ask.streams)
        self.assertTrue(back.drops == ask.drops and back.claims == ask.claims)
