"""One connection to the page, from bytes to bytes: slow clients, those that go, and what breaks inside."""

import asyncio
import os
import unittest

from gateway import clock
from gateway.errors import GatewayError
from gateway.web.api import Response
from gateway.web.server import serve

_FILE = "page-server-test.gz"


class Reader:
    """Gives the pieces, and then nothing for ever, or the connection's end."""

    def __init__(self, pieces, ends=False):
        self._pieces = list(pieces)
        self._ends = ends

    async def read(self, _):
        if self._pieces:
            return self._pieces.pop(0)
        while not self._ends:
            await asyncio.sleep(1)
        return b""


class Writer:
    """`takes`: how many bytes go out before the client takes no more."""

    def __init__(self, takes=1000000):
        self.sent = b""
        self._takes = takes

    def write(self, data):
        self.sent += data

    async def drain(self):
        while len(self.sent) > self._takes:
            await asyncio.sleep(1)


class Api:
    def __init__(self, answer):
        self.answer = answer

    async def respond(self, request, now_ms):
        self.asked = request.method, request.path
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ServerTest(unittest.TestCase):
    def setUp(self):
        clock.set_scale(1000)
        self.logged = []

    def tearDown(self):
        clock.set_scale(1)

    def served(self, api, pieces, ends=False, takes=1000000):
        writer = Writer(takes)
        asyncio.run(
            serve(Reader(pieces, ends), writer, api, ".", lambda level, text: self.logged.append(level))
        )
        return writer.sent

    def test_an_answer_in_parts(self):
        api = Api(Response(200, (b"{", b"}")))
        sent = self.served(api, [b"GET /api/a HT", b"TP/1.1\r\n\r\n"])
        self.assertEqual(api.asked, ("GET", "/api/a"))
        self.assertTrue(sent.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(sent.endswith(b"\r\n\r\n{}"))
        self.assertTrue(self.served(api, [b"HEAD / HTTP/1.1\r\n\r\n"]).endswith(b"\r\n\r\n"))

    def test_a_file_as_it_lies_in_the_image(self):
        content = bytes(range(256)) * 5
        with open(_FILE, "wb") as file:
            file.write(content)
        try:
            response = Response(200, kind="text/css", file=_FILE[:-3], more=("Content-Encoding: gzip",))
            sent = self.served(Api(response), [b"GET / HTTP/1.1\r\n\r\n"])
        finally:
            os.remove(_FILE)
        self.assertTrue(sent.endswith(b"\r\n\r\n" + content))
        self.assertIn(b"\r\nContent-Length: 1280\r\n", sent)

    def test_who_is_slow_is_left(self):
        api = Api(Response(200, (bytes(600), b"never")))
        self.assertEqual(self.served(api, [b"GET / HTTP/1.1\r\nX: "]), b"")
        self.assertEqual(self.served(api, [b"GET / HTTP"], ends=True), b"")
        sent = self.served(api, [b"GET / HTTP/1.1\r\n\r\n"], takes=700)
        self.assertFalse(sent.endswith(b"never"))
        self.assertEqual(self.logged, [])

    def test_what_fails_is_said(self):
        sent = self.served(Api(GatewayError("no")), [b"GET / HTTP/1.1\r\n\r\n"])
        self.assertTrue(sent.startswith(b"HTTP/1.1 409 "))
        self.assertTrue(self.served(Api(None), [b"nonsense\r\n"]).startswith(b"HTTP/1.1 400 "))
        self.assertEqual(self.logged, [])
        sent = self.served(Api(MemoryError("at 0x1234")), [b"GET / HTTP/1.1\r\n\r\n"])
        self.assertTrue(sent.startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"0x1234", sent)
        self.assertEqual(self.logged, ["error"])
