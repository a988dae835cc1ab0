"""The page's requests as a phone sends them: in set-up, with the password, from strangers."""

import asyncio
import json
import unittest

from gateway.errors import ConfigurationError, GatewayError
from gateway.web.api import Api, failure
from gateway.web.application import PageApplication
from gateway.web.http import HttpError, HttpMachine
from gateway.web.login import Login, parse_verifier
from tests.page_client import PageClient, verifier_of

SECRET = bytes(range(32))
ADDRESS = "192.168.4.1"


class Board(PageApplication):
    def __init__(self, address=""):
        self.address = address
        self.done = []

    def about(self):
        return {"name": "house", "version": "1"}

    def status(self):
        return {"live": {"values": []}, "meters": []}

    def history(self):
        return {"endMs": 1, "stepS": 300, "watts": []}

    def log(self, after):
        return [[after + 1, 1000, "info", "h\xe9llo"]]

    def settings(self):
        return {"name": "house"}, ["key_file"]

    def save(self, settings, secrets):
        if not settings:
            raise ConfigurationError("wifi.ssid: has to be given\nbroker: has to be given")
        self.done.append((settings, secrets))

    async def scan(self):
        return [{"ssid": "home", "rssi": -60, "open": False}]

    async def try_meter(self, settings, secrets):
        return {"serial": secrets.get("key_file"), "watts": 431}

    def update(self, size):
        self.done.append(size)

    async def update_data(self, at, data):
        self.done.append((at, data))

    async def update_finish(self):
        raise GatewayError("the update's signature is wrong")

    def restart(self):
        raise MemoryError("never said")


def asked(api, method, address, body=b"", proof="", host=""):
    """Status, headers and what the body says, as serve makes them."""
    text = "%s %s HTTP/1.1\r\nHost: %s\r\nX-Gateway: %s\r\nContent-Length: %d\r\n\r\n" % (
        method,
        address,
        host,
        proof,
        len(body),
    )
    try:
        request = HttpMachine().feed(text.encode() + body)
        response = asyncio.run(api.respond(request, 0))
    except GatewayError as error:
        response = failure(error)
    content = b"".join(response.parts)
    return response.status, response.head(None).decode(), json.loads(content) if content else response.file


class SetupTest(unittest.TestCase):
    def setUp(self):
        self.board = Board(ADDRESS)
        self.api = Api(self.board, None)

    def asked(self, method, path, body=None, proof="setup", host=ADDRESS):
        data = b"" if body is None else json.dumps(body).encode()
        return asked(self.api, method, "/api/" + path, data, proof, host)

    def test_every_probe_of_a_phone_leads_to_the_page(self):
        for host, address in (
            ("connectivitycheck.gstatic.com", "/generate_204"),
            ("captive.apple.com", "/hotspot-detect.html"),
            ("www.msftconnecttest.com", "/connecttest.txt"),
            ("detectportal.firefox.com", "/canonical.html"),
            ("anything.example", "/"),
        ):
            status, headers, _ = asked(self.api, "GET", address, host=host)
            self.assertEqual(status, 302)
            self.assertIn("Location: http://192.168.4.1/\r\n", headers)
        status, headers, file = asked(self.api, "GET", "/", host=ADDRESS)
        self.assertEqual((status, file), (200, "index.html"))
        self.assertIn("Content-Encoding: gzip\r\n", headers)

    def test_set_up_asks_for_no_password_and_takes_settings(self):
        self.assertEqual(
            asked(self.api, "GET", "/api/hello", host=ADDRESS)[2],
            {"name": "house", "version": "1", "setup": True},
        )
        self.assertEqual(self.asked("GET", "scan")[2]["networks"][0]["ssid"], "home")
        given = {"settings": {"name": "house"}, "secrets": {"key_file": "0123"}}
        self.assertEqual(self.asked("POST", "meter", given)[2], {"serial": "0123", "watts": 431})
        self.assertEqual(self.asked("POST", "settings", given)[0], 200)
        self.assertEqual(self.board.done, [({"name": "house"}, {"key_file": "0123"})])

    def test_what_is_wrong_comes_back_line_by_line(self):
        status, _, said = self.asked("POST", "settings", {"settings": {}, "secrets": {}})
        self.assertEqual((status, len(said["problems"])), (422, 2))
        for body in (None, [], {"settings": 1, "secrets": {}}, {"settings": {}, "secrets": {"a": 1}}):
            self.assertEqual(self.asked("POST", "settings", body)[0], 400)
        self.assertEqual(self.board.done, [])

    def test_another_site_s_page_can_do_nothing(self):
        given = {"settings": {"name": "x"}, "secrets": {}}
        self.assertEqual(self.asked("POST", "settings", given, proof="")[0], 401)
        self.assertEqual(self.asked("POST", "settings", given, host="evil.example")[0], 302)
        self.assertEqual(self.asked("GET", "settings", proof="")[0], 401)
        self.assertEqual(self.board.done, [])


class LoggedInTest(unittest.TestCase):
    def setUp(self):
        self.board = Board()
        login = Login(parse_verifier(verifier_of(SECRET, bytes(16), 4096)))
        self.api = Api(self.board, login)
        self.client = PageClient(SECRET)
        given = self.client.proof(asked(self.api, "GET", "/api/hello")[2])
        status, _, answer = asked(self.api, "POST", "/api/login", json.dumps(given).encode())
        self.assertEqual(status, 200)
        self.assertTrue(self.client.logged_in(answer))

    def asked(self, method, path, body=b""):
        path = "/api/" + path
        return asked(self.api, method, path, body, self.client.header(method, path, body))

    def test_what_it_shows(self):
        self.assertEqual(self.asked("GET", "status")[2], {"live": {"values": []}, "meters": []})
        self.assertEqual(self.asked("GET", "history")[2]["stepS"], 300)
        self.assertEqual(self.asked("GET", "log?after=7")[2], {"lines": [[8, 1000, "info", "h\xe9llo"]]})
        self.assertEqual(
            self.asked("GET", "settings")[2], {"settings": {"name": "house"}, "secrets": ["key_file"]}
        )
        self.assertEqual(self.asked("GET", "nothing")[0], 404)
        self.assertEqual(self.asked("POST", "nothing")[0], 404)
        self.assertEqual(self.asked("GET", "log?after=x")[0], 400)

    def test_without_a_proof_there_is_nothing_to_see(self):
        for path in ("status", "history", "log", "settings", "scan", "update", "restart", "nothing"):
            status, _, said = asked(self.api, "GET", "/api/" + path)
            self.assertEqual((status, said["error"]), (401, "the password is needed"))
        self.assertEqual(asked(self.api, "GET", "/etc/passwd")[0], 404)
        self.assertEqual(asked(self.api, "GET", "/../config/board.json")[0], 404)

    def test_secrets_travel_enciphered_or_not_at_all(self):
        body = json.dumps({"settings": {"a": 1}, "secrets": {"key_file": "0123"}}).encode()
        self.assertEqual(self.asked("POST", "settings", body)[0], 400)
        sealed = self.client.sealed({"key_file": "0123"})
        body = json.dumps({"settings": {"a": 1}, "secrets": sealed}).encode()
        self.assertNotIn(b"0123", body)
        self.assertEqual(self.asked("POST", "settings", body)[0], 200)
        self.assertEqual(self.board.done, [({"a": 1}, {"key_file": "0123"})])
        # Under another number it is noise.
        self.assertEqual(self.asked("POST", "settings", body)[0], 400)

    def test_an_update_comes_in_pieces(self):
        self.assertEqual(self.asked("POST", "update", b'{"size": 5}')[0], 200)
        self.assertEqual(self.asked("POST", "update/data?at=0", b"\0\1")[0], 200)
        self.assertEqual(self.asked("POST", "update/data?at=2", b"abc")[0], 200)
        self.assertEqual(self.board.done, [5, (0, b"\0\1"), (2, b"abc")])
        status, _, said = self.asked("POST", "update/finish")
        self.assertEqual((status, said["error"]), (409, "the update's signature is wrong"))

    def test_wrong_passwords_have_to_wait(self):
        stranger = PageClient(bytes(32))
        for _ in range(3):
            given = stranger.proof(asked(self.api, "GET", "/api/hello")[2])
            last = asked(self.api, "POST", "/api/login", json.dumps(given).encode())
        self.assertEqual((last[0], last[2]["wait"]), (429, 2))
        self.assertIn("Retry-After: 2\r\n", last[1])
        self.assertEqual(asked(self.api, "GET", "/api/hello")[2]["wait"], 2)
        self.assertEqual(self.asked("GET", "status")[0], 200)  # whoever is in stays in


class FailureTest(unittest.TestCase):
    def test_a_request_that_is_none(self):
        response = failure(HttpError(413, "too long"))
        said = json.loads(b"".join(response.parts))
        self.assertEqual((response.status, said), (413, {"error": "too long", "state": "failing"}))
