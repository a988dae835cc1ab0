"""The page's HTTP and DNS machines: whole, byte by byte, with what browsers and strangers send."""

import random
import unittest

from gateway.web.dns import answer
from gateway.web.http import BODY, HttpError, HttpMachine, head

GET = (
    b"GET /api/log?after=12 HTTP/1.1\r\nHost: Board.local.:8080\r\nUser-Agent: a phone\r\n"
    b"Cookie: " + b"x" * 3000 + b"\r\nX-Gateway:  one 2 three \r\nAccept: */*\r\n\r\n"
)
POST = b"POST /api/settings HTTP/1.1\r\nhost: 192.168.4.1\r\nCONTENT-LENGTH: 7\r\n\r\n{'a':1}"


def fed(data, step=0, most=BODY):
    machine = HttpMachine(most)
    for at in range(0, len(data), step or len(data)):
        request = machine.feed(data[at : at + (step or len(data))])
        if request is not None:
            return request
    return None


class HttpTest(unittest.TestCase):
    def refused(self, status, data):
        for step in (0, 1, 100):
            with self.assertRaises(HttpError) as caught:
                fed(data, step)
            self.assertEqual(caught.exception.status, status)

    def test_requests_whole_and_in_pieces(self):
        for step in (0, 1, 2, 7, 512):
            request = fed(GET, step)
            self.assertEqual((request.method, request.path, request.query), ("GET", "/api/log", "after=12"))
            self.assertEqual((request.host, request.proof), ("board.local", "one 2 three"))
            request = fed(POST + b"GET / HTTP/1.1\r\n", step)
            self.assertEqual(
                (request.method, request.host, request.body), ("POST", "192.168.4.1", b"{'a':1}")
            )

    def test_less_than_a_request_is_none(self):
        for end in range(1, len(POST)):
            self.assertIsNone(fed(POST[:end]))

    def test_a_proxy_s_address_and_lone_line_feeds(self):
        request = fed(b"\r\nGET http://captive.example:80 HTTP/1.0\n\n")
        self.assertEqual((request.path, request.host), ("/", "captive.example"))
        self.assertEqual(fed(b"GET / HTTP/1.1\nHost: [fe80::1]\n\n").host, "[fe80::1]")

    def test_what_is_too_much_is_refused_before_it_is_kept(self):
        self.refused(414, b"GET /" + b"x" * 600)
        self.refused(431, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4000)
        self.refused(413, b"POST / HTTP/1.1\r\nContent-Length: %d\r\n" % (BODY + 1))
        machine = HttpMachine()
        machine.feed(b"GET / HTTP/1.1\r\nCookie: ")
        for _ in range(30):
            machine.feed(b"y" * 500)
            self.assertLess(len(machine._buffer), 1100)

    def test_what_is_no_request_is_said_to_be_none(self):
        for status, line in (
            (400, b"\x16\x03\x01\x02\x00\x01\n"),
            (400, b"GET /\r\n"),
            (400, b"GET index.html HTTP/1.1\r\n"),
            (400, b"GET /\xc3\xa9 HTTP/1.1\r\n"),
            (405, b"PUT / HTTP/1.1\r\n"),
            (505, b"GET / HTTP/2.0\r\n"),
        ):
            self.refused(status, line)
        for status, line in (
            (400, b"no header\r\n"),
            (400, b"Host : x\r\n"),
            (400, b" folded\r\n"),
            (400, b"Content-Length: -1\r\n"),
            (400, b"Content-Length: 1_0\r\n"),
            (400, b"Content-Length: 1\r\nContent-Length: 2\r\n"),
            (411, b"Transfer-Encoding: chunked\r\n"),
        ):
            self.refused(status, b"POST / HTTP/1.1\r\n" + line)

    def test_noise_ends_in_a_request_or_an_error(self):
        random.seed(5)
        for _ in range(300):
            data = bytearray(random.choice((GET[:60] + GET[-60:], POST)))
            for _ in range(random.randrange(1, 5)):
                data[random.randrange(len(data))] = random.getrandbits(8)
            try:
                request = fed(bytes(data), 1 + random.getrandbits(5))
            except HttpError:
                continue
            self.assertTrue(request is None or len(request.body) <= BODY)

    def test_an_answer_forbids_what_the_page_does_not_need(self):
        text = head(302, "text/plain", 0, ("Location: http://192.168.4.1/",)).decode()
        self.assertTrue(text.startswith("HTTP/1.1 302 OK\r\n"))
        self.assertTrue(text.endswith("\r\n\r\n"))
        for line in ("Content-Length: 0", "Location: http://192.168.4.1/", "Connection: close"):
            self.assertIn(line + "\r\n", text)
        self.assertIn("default-src 'none'; script-src 'self'", text)


def question(name, kind=1, cls=1, flags=1, more=b""):
    data = b"\xab\xcd" + bytes((flags, 0, 0, 1, 0, 0, 0, 0, 0, 1 if more else 0))
    for label in name.split("."):
        data += bytes((len(label),)) + label.encode()
    return data + bytes((0, 0, kind, 0, cls)) + more


class DnsTest(unittest.TestCase):
    def test_every_name_is_the_board(self):
        for name in ("connectivitycheck.gstatic.com", "captive.apple.com", "www.msftconnecttest.com", "a"):
            for more in (b"", b"\0\0\x29\x04\xd0\0\0\0\0\0\0"):  # EDNS, as Android sends it
                asked = question(name, more=more)
                reply = answer(asked, b"\xc0\xa8\x04\x01")
                end = len(asked) - len(more)
                self.assertEqual(reply[:12], b"\xab\xcd\x85\0\0\1\0\1\0\0\0\0")
                self.assertEqual(reply[12:end], asked[12:end])
                self.assertEqual(reply[end:], b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\xa8\x04\x01")

    def test_other_records_there_are_none(self):
        for kind in (28, 65, 5, 16):
            asked = question("captive.apple.com", kind, flags=0)
            self.assertEqual(answer(asked, bytes(4)), b"\xab\xcd\x84\0\0\1\0\0\0\0\0\0" + asked[12:])

    def test_what_is_no_question_gets_no_answer(self):
        asked = question("captive.apple.com")
        for data in (
            b"",
            asked[:-1],
            asked[:12],
            asked[:2] + b"\x80" + asked[3:],  # a reply
            asked[:2] + b"\x10" + asked[3:],  # another operation
            asked[:5] + b"\2" + asked[6:],
            asked[:12] + b"\xc0\x0c\0\1\0\1",
            question(".".join(["x" * 60] * 5)),
            asked + bytes(600),
        ):
            self.assertIsNone(answer(data, bytes(4)))

    def test_noise_gets_an_answer_of_its_own_or_none(self):
        random.seed(53)
        for _ in range(500):
            data = bytearray(question("captive.apple.com"))
            for _ in range(random.randrange(1, 5)):
                data[random.randrange(len(data))] = random.getrandbits(8)
            reply = answer(bytes(data[: random.randrange(len(data) + 1)]), bytes(4))
            self.assertTrue(reply is None or reply[:2] == bytes(data[:2]))
