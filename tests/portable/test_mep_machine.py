"""The MEP machine off the straight path: resynchronising, retries, refusals, error codes, encryption."""

import unittest

from gateway.drivers import events
from gateway.drivers.c1218 import read_message, table_data, write_message
from gateway.drivers.mep.machine import Machine
from gateway.drivers.mep.rc4 import Rc4
from gateway.drivers.mep.responses import TlsStands
from gateway.errors import AuthenticationError, ConfigurationError, NoAnswer, ProtocolError, Refused
from tests.mep_fakes import KEY, answer, digest_of, framed, number_of

READ = read_message(23, 0, 4)
REPLY = b"\0\0\x04\1\2\3\4"
SEND = (events.SEND, None)
IGNORED = (events.IGNORED, None)
ALERT = (events.ALERT, None)


def resync(request, number):
    return answer(request, b"\x0c" + number.to_bytes(4, "big"))


class MachineTest(unittest.TestCase):
    def setUp(self):
        self.machine = Machine(KEY, sequence=7)

    def ask(self, message=READ):
        self.machine.begin(message)
        return self.machine.output()

    def again(self, event):
        self.assertEqual(event, SEND)
        return self.machine.output()

    def failure(self, found):
        if isinstance(found, list):
            self.assertEqual(len(found), 1)
            found = found[0]
        kind, error = found
        self.assertEqual(kind, events.FAILED)
        return error

    def still_works(self):
        request = self.ask()
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [(events.ANSWER, REPLY)])

    # sequence numbers

    def test_the_number_counts_up_and_wraps(self):
        self.machine = Machine(KEY, sequence=0xFFFFFFFF)
        for number in (0xFFFFFFFF, 0, 1):
            request = self.ask()
            self.assertEqual(number_of(request), number)
            self.machine.receive(answer(request, REPLY))

    def test_after_0c_the_meters_number_plus_one(self):
        request = self.ask()
        request = self.again(self.machine.receive(resync(request, 0xFFFFFFFF))[0])
        self.assertEqual(number_of(request), 0)
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [(events.ANSWER, REPLY)])
        self.assertEqual(number_of(self.ask()), 1)

    def test_after_a_second_0c_the_meters_number_itself(self):
        request = self.ask()
        request = self.again(self.machine.receive(resync(request, 100))[0])
        request = self.again(self.machine.receive(resync(request, 200))[0])
        self.assertEqual(number_of(request), 200)
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [(events.ANSWER, REPLY)])
        self.assertEqual(self.machine.resyncs, 2)

    def test_0c_without_end_is_an_error(self):
        request = self.ask()
        for _ in range(3):
            request = self.again(self.machine.receive(resync(request, 100))[0])
        error = self.failure(self.machine.receive(resync(request, 100)))
        self.assertTrue(isinstance(error, ProtocolError))
        self.assertIn("second program", str(error))
        self.still_works()

    def test_0c_without_its_number_is_an_error(self):
        for number in (b"", b"\0\0\1", b"\0\0\0\0\1"):
            request = self.ask()
            error = self.failure(self.machine.receive(answer(request, b"\x0c" + number)))
            self.assertTrue(isinstance(error, ProtocolError))
        self.still_works()

    def test_0c_that_is_not_authenticated_changes_nothing(self):
        request = self.ask()
        self.assertEqual(self.machine.receive(framed(b"\x0c\0\0\1\0" + bytes(8))), [IGNORED])
        self.assertEqual(self.machine.receive(framed(b"\x0c\0\0\1\0")), [IGNORED])
        self.assertEqual(self.machine.resyncs, 0)
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [(events.ANSWER, REPLY)])

    # silence

    def test_silence_repeats_the_same_bytes_once_then_asks_anew(self):
        first = self.ask()
        self.assertEqual(self.again(self.machine.silence()), first)
        third = self.again(self.machine.silence())
        self.assertEqual(number_of(third), number_of(first) + 1)
        self.assertEqual(third[2:-12], READ)
        error = self.failure(self.machine.silence())
        self.assertTrue(isinstance(error, NoAnswer))
        self.assertIn("reading 4 bytes of BT23 from offset 0", str(error))
        self.assertIn("3 times", str(error))
        self.still_works()

    def test_a_late_answer_to_the_first_sending_serves_the_repetition(self):
        first = self.ask()
        self.again(self.machine.silence())
        self.assertEqual(self.machine.receive(answer(first, REPLY)), [(events.ANSWER, REPLY)])

    def test_an_answer_to_the_old_number_does_not_serve_the_new_one(self):
        first = self.ask()
        self.again(self.machine.silence())
        third = self.again(self.machine.silence())
        self.assertEqual(self.machine.receive(answer(first, REPLY)), [IGNORED])
        self.assertEqual(self.machine.receive(answer(third, REPLY)), [(events.ANSWER, REPLY)])

    def test_a_repetition_answered_0c_is_sent_anew(self):
        first = self.ask()
        self.assertEqual(self.again(self.machine.silence()), first)
        request = self.again(self.machine.receive(resync(first, number_of(first)))[0])
        self.assertEqual(number_of(request), number_of(first) + 1)
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [(events.ANSWER, REPLY)])

    def test_answers_before_the_frame_is_sent_do_not_count(self):
        request = self.ask()
        self.assertEqual(self.machine.silence(), SEND)
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [])
        self.assertIsNone(self.machine.silence())
        self.assertEqual(self.machine.output(), request)
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [(events.ANSWER, REPLY)])

    def test_silence_without_an_exchange_is_nothing(self):
        self.assertIsNone(self.machine.silence())

    # what is no answer

    def test_a_wrong_digest_is_ignored_and_reported_when_nothing_better_comes(self):
        for _ in range(3):
            request = self.ask() if not _ else self.again(self.machine.silence())
            spoiled = bytearray(answer(request, REPLY))
            spoiled[5] ^= 4
            self.assertEqual(self.machine.receive(bytes(spoiled)), [IGNORED])
        error = self.failure(self.machine.silence())
        self.assertTrue(isinstance(error, ProtocolError))
        self.assertIn("3 answers came whose digest does not fit", str(error))
        self.still_works()

    def test_a_length_that_no_frame_has_makes_garbage_until_the_line_is_quiet(self):
        request = self.ask()
        self.assertEqual(self.machine.receive(b"\x01\xdd" + answer(request, REPLY)), [])
        self.assertEqual(self.machine.receive(answer(request, REPLY) + b"\x55"), [])
        self.assertTrue(self.machine.unfinished)
        anew = self.again(self.machine.silence())
        self.assertFalse(self.machine.unfinished)
        self.assertEqual(self.machine.receive(answer(anew, REPLY)), [(events.ANSWER, REPLY)])

    def test_after_a_damaged_answer_the_request_gets_a_new_number(self):
        # The meter has used up the first, and would answer 0C to it.
        first = self.ask()
        self.machine.receive(answer(first, REPLY)[:-1])
        self.assertEqual(number_of(self.again(self.machine.silence())), number_of(first) + 1)
        self.assertTrue(self.machine.damaged)
        self.still_works()
        self.assertFalse(self.machine.damaged)

    def test_who_can_ask_for_less_hears_of_damage_at_once(self):
        self.machine.patient = False
        request = self.ask()
        self.assertEqual(self.again(self.machine.silence()), request)
        self.machine.receive(answer(request, REPLY)[:-1])
        self.assertTrue(isinstance(self.failure(self.machine.silence()), ProtocolError))
        self.still_works()

    def test_a_port_that_wants_tls_says_so(self):
        for digest in (b"", bytes(8)):
            self.ask()
            for _ in range(2):
                self.again(self.machine.receive(framed(b"\x0a" + digest))[0])
            error = self.failure(self.machine.receive(framed(b"\x0a" + digest)))
            self.assertTrue(isinstance(error, TlsStands))
            self.assertIn("wants TLS", str(error))
        self.still_works()

    def test_a_request_that_noise_has_damaged_does_not_make_the_key_wrong(self):
        self.still_works()
        self.ask()
        for at in range(23):
            self.again(self.machine.receive(framed(b"\x0b" + bytes((at,)) * 8))[0])
        error = self.failure(self.machine.receive(framed(b"\x0b" + bytes((23,)) * 8)))
        self.assertTrue(isinstance(error, AuthenticationError))

    def test_a_key_that_was_changed_at_the_meter_is_offered_three_times(self):
        for first, second in ((b"\x0b12345678", b"\x0babcdefgh"), (b"\x0b", b"\x0b")):
            self.still_works()
            request = self.ask()
            again = self.again(self.machine.receive(framed(first))[0])
            self.assertEqual(number_of(again), number_of(request) + 1)  # its number may have been used up
            self.assertEqual(self.again(self.machine.receive(framed(second))[0]), again)
            error = self.failure(self.machine.receive(framed(second)))
            self.assertTrue(isinstance(error, AuthenticationError))

    def test_a_key_that_was_refused_the_last_time_is_offered_once(self):
        self.machine.hesitate()
        self.ask()
        self.assertTrue(isinstance(self.failure(self.machine.receive(framed(b"\x0b"))), AuthenticationError))
        self.still_works()

    def test_the_longest_frame_is_taken(self):
        message = read_message(23, 0, 465)
        reply = b"\0\x01\xd1" + bytes(range(233)) + bytes(232)
        response = answer(self.ask(message), reply)
        self.assertEqual(len(response), 2 + 476)
        self.assertEqual(self.machine.receive(response), [(events.ANSWER, reply)])
        self.assertEqual(len(table_data(message, reply)), 465)

    def test_an_answer_behind_noise_is_found_when_the_line_is_quiet(self):
        for noise in (b"\0", b"\xff", b"\x01", b"\x13\x37\0", b"\0\0\0", bytes(range(1, 33)), b"\0\x40"):
            request = self.ask()
            found = self.machine.receive(noise + answer(request, REPLY))
            self.assertFalse([kind for kind, _ in found if kind != events.ALERT])
            self.assertEqual(self.machine.silence(), (events.ANSWER, REPLY), noise)
            self.assertFalse(self.machine.unfinished)

    def test_the_longest_answer_behind_noise_is_found(self):
        for noise, found in ((b"\xff" * 32, True), (b"\xff" * 33, False)):
            message = read_message(23, 0, 465)
            reply = b"\0\x01\xd1" + bytes(465)
            response = noise + answer(self.ask(message), reply)
            for at in range(len(response)):
                self.assertEqual(self.machine.receive(response[at : at + 1]), [])
            self.assertEqual(self.machine.silence() == (events.ANSWER, reply), found)
            self.machine.abandon()

    def test_nothing_behind_noise_is_believed_without_its_digest(self):
        request = self.ask()
        spoiled = bytearray(b"\xff" + answer(request, REPLY))
        spoiled[6] ^= 1
        for received in (bytes(spoiled), b"\xff" + framed(b"\x0b"), b"\xff" + framed(b"\x0b" + bytes(8))):
            self.ask()
            self.assertEqual(self.machine.receive(received), [])
            self.assertEqual(self.machine.silence(), SEND)

    def test_only_garbage_is_a_protocol_error(self):
        self.ask()
        for _ in range(2):
            self.machine.receive(b"\xff\xfe\xfd")
            self.again(self.machine.silence())
        error = self.failure(self.machine.silence())
        self.assertTrue(isinstance(error, ProtocolError))
        self.assertIn("baud rate", str(error))

    def test_a_frame_cut_off_is_forgotten_after_a_pause(self):
        request = self.ask()
        self.assertEqual(self.machine.receive(answer(request, REPLY)[:-1]), [])
        self.assertTrue(self.machine.unfinished)
        self.machine.pause()
        self.assertFalse(self.machine.unfinished)
        self.assertEqual(self.machine.receive(answer(request, REPLY)), [(events.ANSWER, REPLY)])

    def test_alerts_are_told_at_any_time(self):
        self.assertEqual(self.machine.receive(b"\0\0"), [ALERT])
        self.assertEqual(self.machine.receive(b"\0"), [])
        self.assertEqual(self.machine.receive(b"\0"), [ALERT])
        request = self.ask()
        self.assertEqual(self.machine.receive(b"\0\0\0\0\0\0"), [ALERT])
        self.assertEqual(
            self.machine.receive(b"\0\0" + answer(request, REPLY)), [ALERT, (events.ANSWER, REPLY)]
        )

    def test_frames_without_an_exchange_are_dropped(self):
        request = self.ask()
        self.machine.abandon()
        self.assertEqual(self.machine.receive(answer(request, REPLY) + b"\0\x01\x0b"), [])
        self.still_works()

    def test_an_abandoned_exchange_leaves_its_number_behind(self):
        first = self.ask()
        self.machine.abandon()
        second = self.ask()
        self.assertEqual(number_of(second), number_of(first) + 1)
        self.assertEqual(self.machine.receive(answer(first, REPLY)), [IGNORED])
        self.assertEqual(self.machine.receive(answer(second, REPLY)), [(events.ANSWER, REPLY)])

    # refusals

    def test_one_refusal_is_tried_again(self):
        for refusal in (framed(b"\x0b"), framed(b"\x0b" + bytes(8))):
            request = self.ask()
            # Only once the key is proven it is sure that the refused number may be left out.
            proven = self.machine.proven
            again = self.again(self.machine.receive(refusal)[0])
            self.assertEqual(number_of(again), number_of(request) + proven)
            self.assertEqual(again == request, not proven)
            self.assertEqual(self.machine.receive(answer(again, REPLY)), [(events.ANSWER, REPLY)])

    def test_a_refusal_with_a_digest_that_fits_is_one_too(self):
        request = self.ask()
        self.again(self.machine.receive(answer(request, b"\x0b"))[0])

    def test_the_third_refusal_in_a_row_ends_it(self):
        self.ask()
        self.again(self.machine.receive(framed(b"\x0b"))[0])
        self.again(self.machine.receive(framed(b"\x0b"))[0])
        error = self.failure(self.machine.receive(framed(b"\x0b")))
        self.assertTrue(isinstance(error, AuthenticationError))
        self.assertIn("refused the key", str(error))
        self.assertIn("alarm", str(error))
        self.assertEqual(error.exit_code, 3)

    def test_refusals_of_the_same_bytes_that_differ_tell_of_noise_and_not_of_the_key(self):
        request = self.ask()
        for at in range(7):
            again = self.again(self.machine.receive(framed(b"\x0b" + bytes((at,)) * 8))[0])
            self.assertEqual(again, request)
        self.assertEqual(self.machine.receive(answer(again, REPLY)), [(events.ANSWER, REPLY)])

    def test_refusals_of_the_same_bytes_that_are_the_same_are_believed_at_the_third(self):
        self.ask()
        for _ in range(2):
            self.again(self.machine.receive(framed(b"\x0b12345678"))[0])
        error = self.failure(self.machine.receive(framed(b"\x0b12345678")))
        self.assertTrue(isinstance(error, AuthenticationError))

    def test_two_refusals_that_are_the_same_are_believed_in_noise_too(self):
        self.ask()
        self.machine.receive(framed(b"\x0b12345678"))
        self.machine.output()
        self.machine.receive(framed(b"\x0babcdefgh"))
        self.machine.output()
        error = self.failure(self.machine.receive(framed(b"\x0b12345678")))
        self.assertTrue(isinstance(error, AuthenticationError))

    def test_a_key_that_stays_refused_is_not_hammered_and_recovers(self):
        self.test_the_third_refusal_in_a_row_ends_it()
        for _ in range(5):
            self.ask()
            self.failure(self.machine.receive(framed(b"\x0b")))
        self.still_works()
        self.ask()
        self.again(self.machine.receive(framed(b"\x0b"))[0])

    def test_refusals_doubled_on_the_line_count_once(self):
        self.ask()
        self.assertEqual(self.machine.receive(framed(b"\x0b") * 4), [SEND])

    def test_a_long_message_that_begins_with_0b_is_no_refusal(self):
        self.ask()
        self.assertEqual(self.machine.receive(framed(b"\x0b" + bytes(9))), [IGNORED])

    # codes

    def test_codes_are_typed_errors_that_say_what_to_do(self):
        for code, words in (
            (1, "firmware"),
            (2, "firmware lacks"),
            (3, "advanced key"),
            (4, "absent from this firmware or shorter"),
            (5, "not to be accessed"),
            (6, "busy"),
            (7, "not ready"),
            (8, "locked"),
            (10, "TLS"),
            (0x77, "does not name"),
        ):
            error = self.failure(self.machine.receive(answer(self.ask(), bytes((code,)))))
            self.assertTrue(isinstance(error, Refused))
            self.assertEqual((error.code, error.table, error.exit_code), (code, 23, 1))
            self.assertIn(words, str(error))
            self.assertIn("reading 4 bytes of BT23 from offset 0: the meter answered %02X" % code, str(error))
        self.still_works()

    def test_a_refused_procedure_call_says_to_call_again_with_the_next_number(self):
        error = self.failure(self.machine.receive(answer(self.ask(write_message(7, b"\x11\x08\x07")), b"\4")))
        self.assertIn("writing BT07", str(error))
        self.assertIn("procedure sequence number: call again with the next", str(error))

    def test_a_refused_full_read_says_that_the_table_may_be_too_long(self):
        error = self.failure(self.machine.receive(answer(self.ask(read_message(2101)), b"\4")))
        self.assertIn("reading ET53", str(error))
        self.assertIn("offset and count", str(error))

    def test_a_code_that_is_not_authenticated_is_not_believed(self):
        self.ask()
        for code in (1, 2, 3, 4, 5, 0x77):
            self.assertEqual(self.machine.receive(framed(bytes((code,)))), [IGNORED])
            self.assertEqual(self.machine.receive(framed(bytes((code,)) + bytes(8))), [IGNORED])

    # messages

    def test_a_count_that_does_not_fit_is_an_error(self):
        for reply in (
            b"\0",
            b"\0\0",
            b"\0\0\4\1\2\3",
            b"\0\0\3\1\2\3",
            b"\0\0\4\1\2\3\4\5",
            b"\0\0\5\1\2\3\4\5",
            b"\0\0\0",
        ):
            self.assertRaises(ProtocolError, table_data, READ, reply)

    def test_a_full_read_takes_what_the_table_has(self):
        self.assertEqual(read_message(52), b"\x30\0\x34")
        self.assertEqual(table_data(read_message(52), b"\0\0\2ab"), b"ab")
        self.assertEqual(table_data(read_message(52), b"\0\0\0"), b"")
        self.assertRaises(ProtocolError, table_data, read_message(52), b"\0\0\1ab")

    def test_a_full_read_that_does_not_fit_says_so(self):
        with self.assertRaises(ProtocolError) as caught:
            table_data(read_message(2101), b"\0\x06\xf9" + bytes(465))
        self.assertIn("1785 bytes", str(caught.exception))
        self.assertIn("offset and count", str(caught.exception))

    def test_numbers_out_of_range_are_refused(self):
        for arguments in (
            (-1, 0, 1),
            (65536, 0, 1),
            (1, -1, 1),
            (1, 1 << 24, 1),
            (1, 0, 0),
            (1, 0, 65536),
            (1, (1 << 24) - 1, 2),
        ):
            self.assertRaises(ValueError, read_message, *arguments)
        self.assertRaises(ValueError, write_message, 1, b"")
        self.assertRaises(ValueError, write_message, 65536, b"1")
        self.assertRaises(ValueError, write_message, 1, b"", 0)
        self.assertRaises(ValueError, self.machine.begin, bytes(465))

    def test_a_key_of_another_length_is_refused(self):
        for key in (b"", b"0123456789abcde", b"0123456789abcdef0123"):
            self.assertRaises(ConfigurationError, Machine, key)

    # digests at the end of a round: the guide's function can be called in two ways

    def test_both_digests_of_a_full_round_are_believed(self):
        for count in (177, 369):
            message = read_message(23, 0, count)
            reply = bytes((0, count >> 8, count & 0xFF)) + bytes([at & 0xFF for at in range(count)])
            for extra in (b"", bytes(192)):
                request = self.ask(message)
                covered = request[2:-8] + reply
                self.assertEqual(len(covered) % 192, 0)
                response = framed(reply + digest_of(covered + extra))
                self.assertEqual(self.machine.receive(response), [(events.ANSWER, reply)])


class MeterSide:
    """Appendix B from the meter's side: one key stream for the request and then its response."""

    CONSTANT = bytes.fromhex("388b8fbc36a8558587afc90fb23a3b99")

    def __init__(self, frame):
        key = Rc4(KEY).crypt(self.CONSTANT)
        for at in range(8):
            key[at] ^= frame[-8 + at]
        self.stream = Rc4(key)
        self.request = bytes(self.stream.crypt(frame[2:-8]))
        self.genuine = digest_of(self.request) == frame[-8:]

    def answer(self, reply):
        return framed(bytes(self.stream.crypt(reply)) + digest_of(self.request + reply))


class EncryptedTest(unittest.TestCase):
    def setUp(self):
        self.machine = Machine(KEY, encrypt=True, sequence=7)
        self.machine.begin(READ)
        self.frame = self.machine.output()
        self.meter = MeterSide(self.frame)

    def test_the_meter_reads_the_request(self):
        self.assertEqual(self.meter.request, READ + b"\0\0\0\7")
        self.assertTrue(self.meter.genuine)
        self.assertFalse(READ in self.frame)
        self.assertEqual(self.frame[:2], b"\0\x14")

    def test_answer(self):
        response = self.meter.answer(REPLY)
        self.assertFalse(REPLY in response)
        for at in range(len(response) - 1):
            self.assertEqual(self.machine.receive(response[at : at + 1]), [])
        self.assertEqual(self.machine.receive(response[-1:] + b"\0\0"), [(events.ANSWER, REPLY), ALERT])

    def test_answer_after_strange_frames(self):
        self.assertEqual(self.machine.receive(framed(b"\1\2\3" + bytes(30))), [IGNORED])
        self.assertEqual(self.machine.receive(self.meter.answer(REPLY)), [(events.ANSWER, REPLY)])

    def test_damage_never_yields_data(self):
        response = self.meter.answer(REPLY)
        for at in range(len(response)):
            spoiled = bytearray(response)
            spoiled[at] ^= 0x10
            found = self.machine.receive(bytes(spoiled))
            self.machine.pause()
            self.assertFalse([kind for kind, _ in found if kind == events.ANSWER])

    def test_an_answer_in_the_clear_is_not_believed(self):
        reply = framed(REPLY + digest_of(self.meter.request + REPLY))
        self.assertEqual(self.machine.receive(reply), [IGNORED])

    def test_0c_is_encrypted(self):
        self.assertEqual(self.machine.receive(self.meter.answer(b"\x0c\0\0\2\0")), [SEND])
        self.assertEqual(MeterSide(self.machine.output()).request, READ + b"\0\0\2\1")

    def test_0b_is_not_encrypted(self):
        self.assertEqual(self.machine.receive(framed(b"\x0b" + bytes(8))), [SEND])

    def test_error_codes_are_encrypted(self):
        kind, error = self.machine.receive(self.meter.answer(b"\3"))[0]
        self.assertEqual((kind, error.code), (events.FAILED, 3))

    def test_silence_repeats_the_same_bytes(self):
        self.assertEqual(self.machine.silence(), SEND)
        self.assertEqual(self.machine.output(), self.frame)
        self.assertEqual(self.machine.receive(self.meter.answer(REPLY)), [(events.ANSWER, REPLY)])
