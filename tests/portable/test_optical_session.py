"""Which service comes next, what its answer means, and how passwords are written."""

import unittest

from gateway.drivers.optical import services
from gateway.drivers.optical.password import parse_password
from gateway.drivers.optical.session import BASE, OPEN, Session
from gateway.errors import AuthenticationError, ConfigurationError, ProtocolError, Refused
from tests.optical_fakes import PASSWORD, table_answer

IDENTITY = b"\0\0\1\0\0"


class SessionTest(unittest.TestCase):
    def setUp(self):
        self.session = Session(PASSWORD, 0x1234, b"gateway")
        self.session.begin(256, 4, 0)

    def steps(self, *answers):
        """The requests that led to these answers."""
        asked = []
        for answer in answers:
            request = self.session.request()
            asked.append(request)
            self.session.answered(request, answer)
        return asked

    def test_a_session_is_opened_step_by_step(self):
        asked = self.steps(IDENTITY, b"\0\1\0\4\6", b"\0", b"\0")
        self.assertEqual(asked[0], b"\x20")
        self.assertEqual(asked[1], b"\x60\1\0\4")
        self.assertEqual(asked[2], b"\x50\x12\x34gateway   ")
        self.assertEqual(asked[3], b"\x51" + PASSWORD)
        self.assertEqual(self.session.state, OPEN)
        self.assertEqual(self.session.request(), None)
        self.assertEqual(self.session.agreed, (256, 4, 0))  # no rate was asked for

    def test_and_closed(self):
        self.steps(IDENTITY, b"\0\1\0\4\6", b"\0", b"\0")
        self.session.end()
        self.assertEqual(self.steps(b"\0", b"\0"), [b"\x52", b"\x21"])
        self.assertEqual(self.session.state, BASE)
        self.session.end()
        self.steps(b"\x0a", b"\x0a")  # it had ended already
        self.assertEqual(self.session.state, BASE)

    def test_a_session_left_over_is_terminated_first(self):
        asked = self.steps(b"\x0a", b"\0", IDENTITY)
        self.assertEqual(asked, [b"\x20", b"\x21", b"\x20"])
        self.session.begin(256, 4, 0)
        self.steps(b"\x0a", b"\0")
        self.assertRaises(Refused, self.steps, b"\x0a")
        self.assertEqual(self.session.state, BASE)

    def test_a_meter_that_does_not_negotiate_gets_the_protocols_defaults(self):
        for refusal in (b"\1", b"\2", b"\6", b"\x0a"):
            self.session.begin(256, 4, 19200)
            self.steps(IDENTITY, refusal)
            self.assertEqual(self.session.agreed, (64, 1, 0))
            self.assertEqual(self.session.request()[0], 0x50)

    def test_a_rate_is_offered_next_to_the_one_that_every_meter_knows(self):
        self.session.begin(256, 4, 19200)
        asked = self.steps(IDENTITY, b"\0\0\x80\2\x08")
        self.assertEqual(asked[1], b"\x62\1\0\4\x08\6")
        self.assertEqual(self.session.agreed, (128, 2, 19200))
        self.assertEqual(services.negotiate(64, 1, 9600), b"\x61\0\x40\1\6")

    def test_answers_to_a_negotiation_are_bounded(self):
        request = services.negotiate(256, 4, 19200)
        self.assertEqual(services.negotiated(request, b"\0\xff\xff\xff\6"), (256, 4, 9600))
        self.assertEqual(services.negotiated(request, b"\0\0\x40\1"), (64, 1, 0))
        for wrong in (b"\0\0\x1f\1\6", b"\0\1\0\0\6", b"\0\1\0\4\x0a", b"\0\1\0\4\xff", b"\0\1\0"):
            self.assertRaises(ProtocolError, services.negotiated, request, wrong)

    def test_what_can_be_no_identification_is_none(self):
        for wrong in (b"\0", b"\0\0\1"):
            self.session.begin(256, 4, 0)
            self.assertRaises(ProtocolError, self.steps, wrong)
            self.assertEqual(self.session.state, BASE)

    def test_errors_are_told_by_their_code(self):
        self.assertRaises(Refused, self.steps, b"\6")
        self.session.begin(256, 4, 0)
        try:
            self.steps(IDENTITY, b"\0\1\0\4\6", b"\3")
        except Refused as error:
            self.assertEqual(error.code, 3)
            self.assertIn("logon", str(error))
        else:
            self.fail("a refused logon")

    def test_a_refused_password_is_told_without_it(self):
        for code in (b"\1", b"\3", b"\5"):
            self.session.begin(256, 4, 0)
            try:
                self.steps(IDENTITY, b"\0\1\0\4\6", b"\0", code)
            except AuthenticationError as error:
                self.assertIn("refused the password", str(error))
                self.assertFalse(PASSWORD.decode() in str(error))
            else:
                self.fail("a refused password")
            self.assertEqual(self.session.state, BASE)


class TableTest(unittest.TestCase):
    READ = bytes.fromhex("3F0017000000") + b"\0\4"

    def test_data_is_given_when_count_and_checksum_fit(self):
        self.assertEqual(services.table_data(self.READ, table_answer(b"\1\2\3\xff")), b"\1\2\3\xff")
        self.assertEqual(services.checksum(b"\1\2\3\xff"), 0xFB)
        self.assertEqual(services.table_data(b"\x30\0\x17", table_answer(b"whole")), b"whole")

    def test_and_never_when_a_byte_is_wrong_or_missing(self):
        whole = table_answer(b"good")
        for at in range(1, len(whole)):
            for flip in (1, 0x55, 0x80, 0xFF):
                damaged = whole[:at] + bytes((whole[at] ^ flip,)) + whole[at + 1 :]
                self.assertRaises(ProtocolError, services.table_data, self.READ, damaged)
            self.assertRaises(ProtocolError, services.table_data, self.READ, whole[:at])
        self.assertRaises(ProtocolError, services.table_data, self.READ, whole + b"\0")
        self.assertRaises(ProtocolError, services.table_data, self.READ, table_answer(b"bad"))
        self.assertRaises(ProtocolError, services.table_data, self.READ, b"\0")

    def test_writes_carry_a_checksum(self):
        self.assertEqual(services.write_message(2100, b"\1\2"), bytes.fromhex("40083400020102FD"))
        partial = services.write_message(2100, b"\1\2", 5)
        self.assertEqual(partial, bytes.fromhex("4F083400000500020102FD"))
        self.assertEqual(services.table_data(services.write_message(7, b"\1"), b"\0"), b"")


class PasswordTest(unittest.TestCase):
    def test_the_two_forms(self):
        self.assertEqual(parse_password("optical password 20c\n"), (PASSWORD, "20 ASCII characters"))
        self.assertEqual(parse_password("00Ff" * 10), (b"\0\xff" * 10, "40 hex digits"))
        self.assertIn("all are hex digits", parse_password("0123456789abcdef0123")[1])

    def test_anything_else_is_refused_without_showing_it(self):
        for text in (
            "",
            "short",
            "x" * 16,
            "x" * 19,
            "x" * 21,
            "x" * 40,
            "0" * 39 + "g",
            "\xe9" * 20,
            "0" * 32,
        ):
            try:
                parse_password(text)
            except ConfigurationError as error:
                self.assertIn("20 ASCII characters or 40 hex digits", str(error))
                self.assertFalse("xxxx" in str(error))
            else:
                self.fail("%d characters" % len(text))


if __name__ == "__main__":
    unittest.main()
