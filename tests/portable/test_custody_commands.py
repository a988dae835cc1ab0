"""Commands, results and challenges: their vectors, and when a command is refused."""

import binascii
import json
import unittest

from gateway.errors import FrameError
from gateway.transmission import commands
from gateway.transmission.commands import Challenge, Command, Result, decode
from gateway.transmission.sealing import key_id, seal

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/custody.json"

CHALLENGE = b"12345678"


def octets(text):
    return binascii.unhexlify(text)


def hexed(data):
    return str(binascii.hexlify(data), "ascii")


class CommandsTest(unittest.TestCase):
    def setUp(self):
        with open(VECTORS) as file:
            self.vectors = json.load(file)
        self.meter = octets(self.vectors["meter"])
        self.key = commands.command_key(octets(self.vectors["credential"]))

    def test_keys(self):
        self.assertEqual(hexed(self.key), self.vectors["command_key"])
        self.assertEqual(hexed(key_id(self.key)), self.vectors["command_key_id"])

    def test_vectors_decode_to_their_fields_and_back(self):
        for one in self.vectors["commands"]:
            number, issued, expires, challenge, action, arguments = one["fields"]
            made = Command(number, issued, expires, octets(challenge), action, tuple(arguments))
            self.check(made, one)
        for one in self.vectors["results"]:
            number, tag, status, text, last = one["fields"]
            self.assertEqual(octets(tag), commands.tag_of(octets(self.vectors["commands"][1]["message"])))
            self.check(Result(number, octets(tag), status, text, last), one)
        for one in self.vectors["challenges"]:
            challenge, last = one["fields"]
            self.check(Challenge(octets(challenge), last), one)

    def test_parts_of_a_bundle(self):
        for made in (
            commands.Want(b"12345678", 5000, commands.MAX_PIECE),
            commands.Piece(b"12345678", 0, bytes(commands.MAX_PIECE)),
        ):
            message = made.encode(self.key, self.meter)
            self.assertEqual(commands.is_piece(message), type(made) is commands.Piece)
            back = decode(self.meter, message, self.key)
            self.assertTrue(type(back) is type(made))
            self.assertEqual(back.__dict__, made.__dict__)
        for wrong in (
            commands.Want(b"12345678", 0, 0),
            commands.Want(b"12345678", 0, commands.MAX_PIECE + 1),
            commands.Want(b"1234567", 0, 1),
            commands.Piece(b"12345678", 0, b""),
            commands.Piece(b"12345678", 0, bytes(commands.MAX_PIECE + 1)),
            commands.Piece(b"12345678", 1 << 32, b"1"),
        ):
            with self.assertRaises(FrameError):
                decode(self.meter, wrong.encode(self.key, self.meter), self.key)

    def check(self, made, one):
        self.assertEqual(hexed(made.encode(self.key, self.meter)), one["message"])
        back = decode(self.meter, octets(one["message"]), self.key)
        self.assertTrue(type(back) is type(made))
        self.assertEqual(back.__dict__, made.__dict__)

    def test_any_changed_byte_is_refused(self):
        for kind in ("commands", "results", "challenges"):
            payload = octets(self.vectors[kind][0]["message"])
            for i in range(len(payload)):
                changed = bytearray(payload)
                changed[i] ^= 1 << (i % 8)
                if 5 <= i < 9:
                    continue  # names another key, which only chooses what the tag is checked with
                self.assertRaises(FrameError, decode, self.meter, bytes(changed), self.key)
            self.assertRaises(FrameError, decode, bytes(16), payload, self.key)

    def test_arguments_must_fit(self):
        for action, arguments in (
            (commands.READ_NOW, ()),
            (commands.READ_NOW, (10,)),
            (commands.BACKFILL, (5, 10, 10)),
            (commands.SET_INTERVAL, (3, -1)),
            (commands.SELF_TEST, (0,)),
        ):
            command = Command(1, 0, 10, b"", action, arguments)
            self.assertRaises(FrameError, command.encode, self.key, self.meter)
            sealed = seal(self.key, self.meter, commands.COMMAND, [1, 0, 10, b"", action, arguments])
            self.assertRaises(FrameError, decode, self.meter, sealed, self.key)

    def test_a_command_is_good_once_and_for_its_time(self):
        command = Command(7, 1000, 2000, b"", commands.SELF_TEST, ())
        self.assertEqual(command.verdict(1500, 6, b""), commands.DONE)
        self.assertEqual(command.verdict(1500, 7, b""), commands.REPEATED)
        self.assertEqual(command.verdict(1500, 8, b""), commands.REPEATED)
        self.assertEqual(command.verdict(2000, 6, b""), commands.EXPIRED)
        self.assertEqual(command.verdict(1000 - commands.MAX_SKEW, 6, b""), commands.DONE)
        self.assertEqual(command.verdict(1000 - commands.MAX_SKEW - 1, 6, b""), commands.EXPIRED)

    def test_no_command_is_good_for_ever(self):
        command = Command(7, 1000, 1000 + commands.MAX_VALIDITY + 1, b"", commands.SELF_TEST, ())
        self.assertEqual(command.verdict(1500, 6, b""), commands.EXPIRED)

    def test_without_a_clock_only_the_open_challenge_counts(self):
        timed = Command(7, 1000, 2000, b"", commands.SELF_TEST, ())
        self.assertEqual(timed.verdict(None, 6, CHALLENGE), commands.EXPIRED)
        self.assertEqual(timed.verdict(None, 6, b""), commands.EXPIRED)
        answer = Command(7, 0, 0, CHALLENGE, commands.SELF_TEST, ())
        self.assertEqual(answer.verdict(None, 6, CHALLENGE), commands.DONE)
        self.assertEqual(answer.verdict(None, 6, b""), commands.EXPIRED)
        self.assertEqual(answer.verdict(None, 6, b"another8"), commands.EXPIRED)
        self.assertEqual(answer.verdict(1500, 6, b""), commands.EXPIRED)

    def test_an_action_of_a_later_version_is_answered(self):
        command = Command(7, 1000, 2000, b"", 99, (1, "what"))
        back = decode(self.meter, command.encode(self.key, self.meter), self.key)
        self.assertEqual(back.verdict(1500, 6, b""), commands.UNKNOWN)
