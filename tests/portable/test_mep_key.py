"""MEP keys in every form that utilities hand out, and what is refused."""

import unittest

from gateway.drivers.mep.key import parse_key
from gateway.errors import ConfigurationError


class KeyTest(unittest.TestCase):
    def refused(self, text, *words):
        with self.assertRaises(ConfigurationError) as caught:
            parse_key(text)
        message = str(caught.exception)
        for word in words:
            self.assertIn(word, message)
        if len(text.strip()) > 3:
            self.assertFalse(text.strip()[:4] in message, "the message shows the key")
        self.assertEqual(caught.exception.exit_code, 2)

    def test_16_characters(self):
        self.assertEqual(parse_key("abcDEF!~ 1234567"), (b"abcDEF!~ 1234567", "16 ASCII characters"))

    def test_20_characters_count_to_the_16th(self):
        self.assertEqual(
            parse_key("ABCDEFGHIJKLMNOPQRST"),
            (b"ABCDEFGHIJKLMNOP", "20 ASCII characters, of which the first 16 count"),
        )

    def test_32_hex_digits(self):
        self.assertEqual(
            parse_key("00112233445566778899aAbBcCdDeEfF"),
            (bytes(range(0, 256, 17)), "32 hex digits"),
        )

    def test_40_hex_digits_count_to_the_32nd(self):
        self.assertEqual(
            parse_key("0102030405060708090a0b0c0d0e0f10a1a2a3a4"),
            (bytes(range(1, 17)), "40 hex digits, of which the first 32 count"),
        )

    def test_characters_that_happen_to_be_hex_digits_are_characters(self):
        for text in ("0123456789abcdef", "0123456789abcdef0123"):
            key, form = parse_key(text)
            self.assertEqual(key, b"0123456789abcdef")
            self.assertIn("%d ASCII characters" % len(text), form)
            self.assertIn("cut off", form)

    def test_white_space_around_the_key_does_not_count(self):
        for text in ("ABCDEFGHIJKLMNOP\n", "  ABCDEFGHIJKLMNOP\r\n", "\tABCDEFGHIJKLMNOP \n\n"):
            self.assertEqual(parse_key(text), (b"ABCDEFGHIJKLMNOP", "16 ASCII characters"))

    def test_other_lengths_are_refused_and_named(self):
        for length in (0, 1, 15, 17, 19, 21, 31, 33, 34, 39, 41, 47, 64):
            self.refused("0" * length, "%d characters" % length, "16 or 20", "32 or 40")

    def test_digits_that_are_not_hex_are_refused_and_counted(self):
        self.refused("0123456789abcdef0123456789abcdeg", "32 characters", "1 are not")
        self.refused("zz23456789abcdef0123456789abcdef01234567", "40 characters", "2 are not")
        self.refused(" 1 2 3 4 5 6 7 8 9 a b c d e f 0 1 ".strip() + "  x", "characters")

    def test_separators_and_prefixes_are_refused(self):
        digits = "00112233445566778899aabbccddeeff"
        self.refused("0x" + digits, "34 characters")
        self.refused(":".join([digits[at : at + 2] for at in range(0, 32, 2)]), "47 characters", "separators")

    def test_what_is_not_printable_ascii_is_refused(self):
        self.refused("ABCDEFGHIJKLMN\u00d8P", "16 characters", "not printable ASCII")
        self.refused("ABCDEFGHIJKLMNO\0", "16 characters", "not printable ASCII")
        self.refused("\ufeffABCDEFGHIJKLMNOP", "17 characters", "not printable ASCII")
        self.refused("ABCDEFGH\nABCDEFGHIJK", "20 characters", "not printable ASCII")
        self.refused("\uff10" * 32, "32 characters", "32 are not")
