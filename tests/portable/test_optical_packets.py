"""Packets of the optical port: what is one, what is none, and where the next begins."""

import unittest

from gateway.drivers.optical.packets import (
    ACKNOWLEDGED,
    PACKET,
    REJECTED,
    SPOILED,
    Framer,
    crc16,
    packet,
)
from tests.optical_fakes import crc_of, packet_of

IDENTIFY = bytes.fromhex("EE0000000001201310")
LARGEST = 64


def found_in(framer, *pieces):
    found = []
    for piece in pieces:
        at = 0
        while True:
            at = framer.take(piece, at)
            if framer.found is None:
                break
            found.append(framer.data if framer.found == PACKET else framer.found)
    return found


def bytewise(data):
    return [data[at : at + 1] for at in range(len(data))]


class PacketTest(unittest.TestCase):
    def test_crc(self):
        self.assertEqual(crc16(b"123456789"), 0x906E)
        data = bytes(range(256))
        self.assertEqual(crc16(data), int.from_bytes(crc_of(data), "little"))

    def test_the_worked_packet(self):
        self.assertEqual(packet(b"\x20"), IDENTIFY)

    def test_packets_are_as_the_standard_says(self):
        self.assertEqual(packet(b"abc", 0xE0, 7), packet_of(b"abc", 0xE0, 7))

    def test_whole_byte_by_byte_and_with_more_behind(self):
        data = packet_of(b"first", 0xC0, 1) + b"\x06" + packet_of(b"last", 0xA0, 0) + b"\x15"
        expected = [b"first", ACKNOWLEDGED, b"last", REJECTED]
        self.assertEqual(found_in(Framer(LARGEST), data), expected)
        self.assertEqual(found_in(Framer(LARGEST), *bytewise(data)), expected)
        for cut in range(len(data)):
            self.assertEqual(found_in(Framer(LARGEST), data[:cut], data[cut:]), expected)

    def test_what_a_packet_says(self):
        framer = Framer(LARGEST)
        found_in(framer, packet_of(b"data", 0xA0, 3))
        self.assertEqual((framer.control, framer.sequence), (0xA0, 3))
        self.assertEqual(framer.check, crc16(packet_of(b"data", 0xA0, 3)[:-2]))
        self.assertFalse(framer.unfinished)

    def test_noise_in_front_is_passed_over(self):
        for noise in (b"\0", b"\x7f\xff" * 30, bytes.fromhex("0011AA")):
            self.assertEqual(found_in(Framer(LARGEST), noise + packet_of(b"data")), [b"data"])

    def test_a_start_byte_in_the_noise_hides_no_packet(self):
        real = packet_of(b"data")
        head = b"\xee\0\0\0"
        for noise in (b"\xee", b"\xee\xee", head + b"\0\x05", head + b"\xff\xff", head + b"\0\0\x06"):
            for pieces in ([noise + real], bytewise(noise + real)):
                found = found_in(Framer(LARGEST), *pieces)
                self.assertEqual([x for x in found if x != SPOILED], [b"data"])
        # One that swallows the packet and what follows it.
        framer = Framer(LARGEST)
        self.assertEqual(
            found_in(framer, b"\xee\0\0\0\0\x08" + real + b"\x06" + packet_of(b"next")),
            [b"data", ACKNOWLEDGED, b"next"],
        )

    def test_a_packet_with_a_wrong_byte_is_spoiled_and_never_data(self):
        whole = packet_of(b"some data", 0x20)
        for at in range(len(whole)):
            for wrong in (0, 0xEE, 0x06, 0x15, 0xFF, whole[at] ^ 1, whole[at] ^ 0x80):
                if wrong == whole[at]:
                    continue
                damaged = whole[:at] + bytes((wrong,)) + whole[at + 1 :]
                framer = Framer(LARGEST)
                found = found_in(framer, damaged)
                self.assertTrue(all(kind in (SPOILED, ACKNOWLEDGED, REJECTED) for kind in found))
                if at > 0 and at not in (4, 5):
                    self.assertEqual(found, [] if framer.unfinished else [SPOILED])
                # And the line is as good as before once it was quiet.
                framer.reset()
                self.assertEqual(found_in(framer, whole), [b"some data"])

    def test_an_acknowledgement_within_a_spoiled_packet_is_none(self):
        damaged = packet_of(b"\x06\x15\x06")[:-1] + b"\xff"
        self.assertEqual(found_in(Framer(LARGEST), damaged), [SPOILED])
        self.assertEqual(found_in(Framer(LARGEST), damaged + b"\x06"), [SPOILED, ACKNOWLEDGED])

    def test_a_length_that_can_not_be_takes_no_memory_and_ends_with_silence(self):
        framer = Framer(LARGEST)
        for length in (b"\xff\xff", b"\0\x39", b"\0\0"):
            self.assertEqual(found_in(framer, b"\xee\0\0\0" + length + b"\x06" * 200), [])
            self.assertTrue(framer.unfinished)
            framer.reset()
            self.assertFalse(framer.unfinished)
        self.assertEqual(found_in(framer, packet_of(bytes(56))), [bytes(56)])


if __name__ == "__main__":
    unittest.main()
