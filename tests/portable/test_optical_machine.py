"""One request and its answer in packets, with every fault of a line; no clock, no line."""

import unittest

from gateway.drivers import events
from gateway.drivers.optical.machine import Machine
from gateway.errors import NoAnswer, ProtocolError
from tests.optical_fakes import ACK, NAK, packet_of, packets_of

READ = bytes.fromhex("3F001700000000") + b"\x04"
ANSWER = b"\0\0\x04good\x5c"
LONG = bytes([at * 13 & 0x7F for at in range(500)])


class Pair:
    """A machine and what it does, as (kind, value) without the times."""

    def __init__(self, size=64, packets=1):
        self.machine = Machine(256, 992)
        self.machine.packet_size = size
        self.machine.packets = packets

    def begin(self, request=READ):
        self.machine.begin(request)
        return self.machine.output()

    def hear(self, *pieces):
        found = []
        for piece in pieces:
            for kind, value in self.machine.receive(piece):
                if kind != events.TAKEN:
                    found.append((kind, value))
        return found

    def silence(self):
        event = self.machine.silence()
        return [event] if event else []


REPLY = (events.REPLY, ACK)
REFUSE = (events.REPLY, NAK)
AGAIN = (events.SEND, None)


def done(answer=ANSWER):
    return (events.ANSWER, answer)


class MachineTest(unittest.TestCase):
    def setUp(self):
        self.pair = Pair()
        self.machine = self.pair.machine

    def failure(self, found, kind=ProtocolError):
        self.assertEqual(found[-1][0], events.FAILED)
        self.assertTrue(isinstance(found[-1][1], kind))
        self.assertFalse(any(event == events.ANSWER for event, _ in found))
        return found[-1][1]

    # one packet each way

    def test_request_and_answer(self):
        self.assertEqual(self.pair.begin(), packet_of(READ))
        self.assertEqual(self.machine.receive(ACK), [(events.TAKEN, 6000)])
        self.assertEqual(self.pair.hear(packet_of(ANSWER)), [REPLY, done()])

    def test_whole_byte_by_byte_and_with_more_behind(self):
        data = ACK + packet_of(ANSWER)
        for pieces in ([data], [data[at : at + 1] for at in range(len(data))], [data + b"\x55\x06\xee"]):
            pair = Pair()
            pair.begin()
            self.assertEqual(pair.hear(*pieces), [REPLY, done()])

    def test_the_toggle_bit_is_another_with_each_new_packet_and_the_same_in_a_repetition(self):
        self.assertEqual(self.pair.begin(), packet_of(READ, 0))
        self.pair.hear(ACK + packet_of(ANSWER))
        self.assertEqual(self.pair.begin(), packet_of(READ, 0x20))
        self.assertEqual(self.pair.silence(), [AGAIN])
        self.assertEqual(self.machine.output(), packet_of(READ, 0x20))
        self.pair.hear(ACK + packet_of(ANSWER, 0x20))
        self.assertEqual(self.pair.begin(), packet_of(READ, 0))

    # faults on the way out

    def test_the_first_packet_spoiled_by_the_switch_of_a_shared_port_is_repeated(self):
        first = self.pair.begin(b"\x20")
        self.assertEqual(self.pair.hear(NAK), [AGAIN])
        self.assertEqual(self.machine.output(), first)
        self.assertEqual(self.pair.hear(ACK + packet_of(ANSWER)), [REPLY, done()])

    def test_nak_and_silence_together_three_times_and_no_more(self):
        for faults in ("nnnn", "ssss", "nsns"):
            pair = Pair()
            first = pair.begin()
            for at, fault in enumerate(faults):
                found = pair.hear(NAK) if fault == "n" else pair.silence()
                if at < 3:
                    self.assertEqual(found, [AGAIN])
                    self.assertEqual(pair.machine.output(), first)
            error = self.failure(found, NoAnswer if faults == "ssss" else ProtocolError)
            self.assertIn("tried 4 times", str(error))

    def test_a_lost_acknowledgement_is_made_good_by_the_answer(self):
        self.pair.begin()
        self.pair.hear(ACK + packet_of(ANSWER))
        self.pair.begin()
        self.assertEqual(self.pair.hear(packet_of(ANSWER, 0x20)), [REPLY, done()])

    def test_before_the_first_acknowledgement_of_a_session_no_packet_counts(self):
        first = self.pair.begin()
        self.assertEqual(self.pair.hear(packet_of(b"\0old")), [])
        self.assertEqual(self.pair.silence(), [AGAIN])
        self.assertEqual(self.machine.output(), first)
        self.assertEqual(self.pair.hear(ACK, packet_of(ANSWER, 0x20)), [REPLY, done()])

    def test_an_acknowledgement_that_comes_twice_is_one(self):
        self.pair.begin()
        self.assertEqual(self.pair.hear(ACK + ACK + packet_of(ANSWER)), [REPLY, done()])

    def test_an_acknowledgement_too_early_is_none(self):
        self.machine.begin(READ)
        self.assertEqual(self.pair.hear(ACK + packet_of(ANSWER)), [])
        self.machine.output()
        self.assertEqual(self.pair.silence(), [AGAIN])

    def test_the_echo_of_an_optical_head_is_no_answer(self):
        self.pair.begin()
        self.pair.hear(ACK + packet_of(ANSWER))
        sent = self.pair.begin()
        self.assertEqual(self.pair.hear(sent), [])
        self.assertEqual(self.pair.hear(ACK + packet_of(ANSWER, 0x20)), [REPLY, done()])

    def test_noise_is_no_acknowledgement(self):
        self.pair.begin()
        self.assertEqual(self.pair.hear(b"\x55\xaa\x07" + b"\xee\0\0"), [])
        self.assertTrue(self.machine.unfinished)
        self.assertEqual(self.pair.silence(), [])  # for the cut-off packet
        self.assertEqual(self.pair.silence(), [AGAIN])  # for the acknowledgement

    # faults on the way in

    def test_a_spoiled_answer_is_refused_and_its_repetition_taken(self):
        self.pair.begin()
        whole = packet_of(ANSWER)
        self.assertEqual(self.pair.hear(ACK + whole[:-1] + b"\xff"), [REFUSE])
        self.assertEqual(self.pair.hear(whole), [REPLY, done()])

    def test_a_byte_corrupted_anywhere_never_gives_data(self):
        whole = packet_of(ANSWER, 0x20)
        for at in range(len(whole)):
            for flip in (1, 0x80, 0xFF, whole[at] ^ 0xEE, whole[at] ^ 6):
                if not flip:
                    continue
                pair = Pair()
                pair.begin()
                pair.hear(ACK)
                found = pair.hear(whole[:at] + bytes((whole[at] ^ flip,)) + whole[at + 1 :])
                if not found and pair.machine.unfinished:
                    found = pair.silence()
                self.assertEqual(found, [] if at == 0 else [REFUSE])
                self.assertEqual(pair.hear(whole), [REPLY, done()])

    def test_a_lost_byte_anywhere_never_gives_data(self):
        whole = packet_of(ANSWER, 0x20)
        for at in range(len(whole)):
            pair = Pair()
            pair.begin()
            found = pair.hear(ACK + whole[:at] + whole[at + 1 :])
            if pair.machine.unfinished:
                found += pair.silence()
            self.assertFalse(any(kind == events.ANSWER for kind, _ in found))
            self.assertEqual(pair.hear(whole), [REPLY, done()])

    def test_an_answer_that_stays_spoiled_is_given_up(self):
        self.pair.begin()
        self.pair.hear(ACK)
        for _ in range(3):
            self.assertEqual(self.pair.hear(packet_of(ANSWER)[:-1] + b"\xff"), [REFUSE])
        error = self.failure(self.pair.hear(packet_of(ANSWER)[:-1] + b"\xff"))
        self.assertIn("came spoiled", str(error))
        self.assertEqual(self.pair.hear(packet_of(ANSWER)), [])

    def test_an_answer_that_stays_away_is_given_up(self):
        self.pair.begin()
        self.pair.hear(ACK)
        self.assertIn("did not answer it", str(self.failure(self.pair.silence(), NoAnswer)))

    def test_the_last_packet_once_more_is_acknowledged_and_is_no_answer_to_the_next_request(self):
        self.pair.begin()
        self.pair.hear(ACK + packet_of(ANSWER))
        self.pair.begin()
        self.assertEqual(self.pair.hear(packet_of(ANSWER)), [REPLY])  # our acknowledgement was lost
        self.assertEqual(self.pair.hear(ACK + packet_of(ANSWER)), [REPLY])
        self.assertEqual(self.pair.hear(packet_of(ANSWER, 0x20)), [REPLY, done()])

    def test_a_late_repetition_of_the_last_session_is_no_identification(self):
        self.pair.begin(b"\x21")
        self.pair.hear(ACK + packet_of(b"\0", 0x20))
        self.machine.restart()
        self.pair.begin(b"\x20")
        self.assertEqual(self.pair.hear(ACK + packet_of(b"\0", 0x20)), [REPLY])
        self.assertEqual(self.pair.hear(packet_of(ANSWER, 0)), [REPLY, done()])

    def test_after_a_failure_the_same_packet_is_a_new_one(self):
        self.pair.begin(b"\x20")
        self.pair.hear(ACK + packet_of(ANSWER))
        self.pair.begin(READ)
        self.machine.abandon()
        self.machine.restart()
        self.pair.begin(b"\x20")
        self.assertEqual(self.pair.hear(ACK + packet_of(ANSWER)), [REPLY, done()])

    # several packets

    def test_a_long_request_goes_packet_by_packet(self):
        pair = Pair(64, 4)
        request = LONG[:150]
        expected = packets_of(request, 64)
        self.assertEqual(len(expected), 3)
        self.assertEqual(pair.begin(request), expected[0])
        self.assertEqual(pair.hear(ACK), [AGAIN])
        self.assertEqual(pair.machine.output(), expected[1])
        self.assertEqual(pair.hear(NAK), [AGAIN])
        self.assertEqual(pair.machine.output(), expected[1])
        self.assertEqual(pair.hear(ACK), [AGAIN])
        self.assertEqual(pair.machine.output(), expected[2])
        self.assertEqual(pair.hear(ACK + packet_of(b"\0")), [REPLY, done(b"\0")])

    def test_a_request_that_fits_no_packets_is_refused(self):
        self.assertRaises(ValueError, self.machine.begin, bytes(57))
        self.assertRaises(ValueError, self.machine.begin, b"")
        self.machine.begin(bytes(56))

    def test_a_packet_in_the_middle_of_a_long_request_is_no_answer(self):
        pair = Pair(64, 4)
        pair.begin()
        pair.hear(ACK + packet_of(ANSWER))
        pair.begin(LONG[:150])
        self.assertEqual(pair.hear(packet_of(ANSWER, 0x20)), [])

    def test_a_long_answer_is_put_together(self):
        for toggle in (0, 1):
            pair = Pair()
            pair.begin()
            parts = packets_of(LONG, 256, toggle)
            self.assertEqual(len(parts), 3)
            self.assertEqual(pair.machine.receive(ACK + parts[0])[1:], [REPLY, (events.TAKEN, 6000)])
            self.assertEqual(pair.hear(parts[0]), [REPLY])  # twice
            self.assertEqual(pair.hear(parts[1][:-1] + b"\xff"), [REFUSE])
            self.assertEqual(pair.hear(parts[1]), [REPLY])
            self.assertEqual(pair.hear(parts[2]), [REPLY, done(LONG)])

    def test_start_bytes_in_a_spoiled_packet_are_waited_out(self):
        whole = packet_of(b"\xee" * 40)
        self.pair.begin()
        self.assertEqual(self.pair.hear(ACK + whole[:-1] + b"\xff"), [])
        self.assertEqual(self.pair.silence(), [REFUSE])
        self.assertEqual(self.pair.hear(whole), [REPLY, done(b"\xee" * 40)])

    def test_packets_out_of_order_are_never_put_together(self):
        parts = packets_of(LONG, 64, 0)
        orders = ([1], [0, 2], [0, 0x40, 1], [0, 1, 0], [8], [0, 8])
        for order in orders:
            pair = Pair()
            pair.begin()
            pair.hear(ACK)
            found = []
            for at in order:
                found += pair.hear(packet_of(b"single", 0x20) if at == 0x40 else parts[at])
            self.failure(found)

    def test_an_answer_longer_than_any_that_fits_is_refused(self):
        pair = Pair()
        pair.begin()
        pair.hear(ACK)
        found = []
        for part in packets_of(bytes(2000), 256):
            found += pair.hear(part)
            if found[-1][0] == events.FAILED:
                break
        self.failure(found)

    def test_a_single_packet_with_a_sequence_number_is_refused(self):
        self.pair.begin()
        self.failure(self.pair.hear(ACK + packet_of(ANSWER, 0, 1)))

    def test_nothing_is_heard_while_nobody_asks(self):
        self.assertEqual(self.pair.hear(packet_of(ANSWER) + ACK + NAK), [])
        self.assertEqual(self.pair.silence(), [])
        self.pair.begin()
        self.machine.abandon()
        self.assertEqual(self.pair.hear(ACK + packet_of(ANSWER)), [])

    def test_messages_say_what_was_asked_and_never_a_password(self):
        self.pair.begin(b"\x51" + b"secret secret secret")
        for _ in range(3):
            self.pair.silence()
            self.machine.output()
        error = self.failure(self.pair.silence(), NoAnswer)
        self.assertIn("the password", str(error))
        self.assertFalse("secret" in str(error))


if __name__ == "__main__":
    unittest.main()
