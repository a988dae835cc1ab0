"""Our MessagePack on both interpreters; tests/transmission proves it equal to the msgpack package."""

import binascii
import unittest

from gateway.errors import FrameError
from gateway.transmission.packer import pack, unpack, unpack_from

SHORTEST = (
    (0, "00"),
    (127, "7f"),
    (128, "cc80"),
    (255, "ccff"),
    (256, "cd0100"),
    (65535, "cdffff"),
    (65536, "ce00010000"),
    (4294967295, "ceffffffff"),
    (4294967296, "cf0000000100000000"),
    (18446744073709551615, "cfffffffffffffffff"),
    (-1, "ff"),
    (-32, "e0"),
    (-33, "d0df"),
    (-128, "d080"),
    (-129, "d1ff7f"),
    (-32768, "d18000"),
    (-32769, "d2ffff7fff"),
    (-2147483648, "d280000000"),
    (-2147483649, "d3ffffffff7fffffff"),
    (-9223372036854775808, "d38000000000000000"),
    (None, "c0"),
    (False, "c2"),
    (True, "c3"),
    ("", "a0"),
    ("\u00e9", "a2c3a9"),
    (b"", "c400"),
    (b"\x01", "c40101"),
    ([], "90"),
    ([1, [2]], "92019102"),
    ({}, "80"),
    ({1: "a"}, "8101a161"),
)


class TestPacker(unittest.TestCase):
    def test_the_shortest_form_and_back(self):
        for value, text in SHORTEST:
            self.assertEqual(pack(value), binascii.unhexlify(text))
            self.assertEqual(unpack(binascii.unhexlify(text)), value)

    def test_lengths_at_their_borders(self):
        for length in (15, 16, 31, 32, 255, 256, 65535, 65536):
            for value in ("x" * length, b"x" * length):
                self.assertEqual(unpack(pack(value)), value)
        for length in (15, 16, 300):
            self.assertEqual(unpack(pack(list(range(length)))), list(range(length)))
            some = {i: -i for i in range(length)}
            self.assertEqual(unpack(pack(some)), some)

    def test_longer_forms_are_read_too(self):
        for text, value in (
            ("cc01", 1),
            ("d3ffffffffffffffff", -1),
            ("d90161", "a"),
            ("db0000000161", "a"),
            ("dc000101", [1]),
            ("dd0000000101", [1]),
            ("de00010102", {1: 2}),
            ("df000000010102", {1: 2}),
            ("c50001ff", b"\xff"),
            ("c600000001ff", b"\xff"),
        ):
            self.assertEqual(unpack(binascii.unhexlify(text)), value)

    def test_what_can_not_be_packed(self):
        deep = []
        for _ in range(20):
            deep = [deep]
        for value in (1.5, 18446744073709551616, -9223372036854775809, object(), deep, {1: 0.5}):
            self.assertRaises(FrameError, pack, value)

    def test_what_can_not_be_unpacked(self):
        for text in (
            "",
            "c1",
            "ca00000000",
            "cb0000000000000000",
            "c70100ff",
            "d40100",
            "cd01",
            "a261",
            "a1ff",
            "c402ff",
            "92c0",
            "dd7fffffff",
            "dfffffffff",
            "ddffffffff00",
            "c6ffffffff",
            "81c0",
            "8190c0",
            "8180c0",
            "c0c0",
            "91" * 20 + "c0",
        ):
            self.assertRaises(FrameError, unpack, binascii.unhexlify(text))

    def test_objects_in_a_row(self):
        data = pack([1]) + pack("two")
        first, at = unpack_from(data, 0)
        self.assertEqual((first, unpack_from(data, at)), ([1], ("two", len(data))))
