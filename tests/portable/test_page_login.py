"""The page's password: what proves it, what does not, and how long the next try has to wait."""

import json
import unittest

from gateway.errors import ConfigurationError
from gateway.transmission.sealing import hmac_sha256
from gateway.web.http import HttpMachine
from gateway.web.login import Denied, Login, parse_verifier, reveal
from tests.page_client import PageClient, salted, verifier_of

SALT = bytes(range(16))
SECRET = bytes(range(32, 64))
VERIFIER = verifier_of(SECRET, SALT, 4096)


def request(proof, method="GET", address="/api/status", body=b""):
    text = "%s %s HTTP/1.1\r\nX-Gateway: %s\r\nContent-Length: %d\r\n\r\n" % (
        method,
        address,
        proof,
        len(body),
    )
    return HttpMachine().feed(text.encode() + body)


def logged_in(login, now_ms=0):
    client = PageClient(SECRET)
    assert client.logged_in(login.prove(client.proof(login.challenge(now_ms)), now_ms))
    return client


class LoginTest(unittest.TestCase):
    def setUp(self):
        self.login = Login(parse_verifier(VERIFIER))

    def denied(self, *arguments):
        with self.assertRaises(Denied) as caught:
            self.login.check(*arguments)
        self.assertEqual(caught.exception.wait_s, 0)

    def test_a_password_s_keys_are_those_of_the_standard(self):
        # RFC 7677, section 3: the server's signature for user "user" with password "pencil".
        salt = bytes.fromhex("5b6d99689d12358eeca04b141236fa81")
        server = bytes.fromhex(verifier_of(salted(b"pencil", salt, 4096), salt, 4096)["server"])
        nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        said = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=%s,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=%s" % (
            nonce,
            nonce,
        )
        self.assertEqual(
            hmac_sha256(server, said.encode()).hex(),
            "eabae24d1062db75a9451ff0b6ea7e98c8546549ff741e672d3251b2397de46e",
        )

    def test_each_request_proves_itself_once(self):
        client = logged_in(self.login)
        proof = client.header("POST", "/api/settings?a=1", b"{}")
        good = request(proof, "POST", "/api/settings?a=1", b"{}")
        key, number = self.login.check(good, 1000)
        self.assertEqual(number, 1)
        self.denied(good, 1000)  # heard on the air and sent again
        for changed in (
            (client.header("GET", "/api/status"), "POST"),
            (client.header("GET", "/api/status"), "GET", "/api/settings"),
            (client.header("POST", "/api/status", b"1"), "POST", "/api/status", b"2"),
            ("", "GET"),
            ("%s 99 00" % client.session, "GET"),
            ("%s 9 %s" % ("0" * 16, proof[-64:]), "GET"),
        ):
            self.denied(request(*changed), 1000)
        self.login.check(request(client.header("GET", "/api/status")), 1000)
        sealed = bytes.fromhex(client.sealed({"key": "x" * 70}))
        key, number = self.login.check(request(client.header("GET", "/api/status")), 1000)
        self.assertEqual(json.loads(reveal(key, number, sealed)), {"key": "x" * 70})

    def test_a_session_ends_when_nobody_uses_it(self):
        client = logged_in(self.login)
        self.login.check(request(client.header("GET", "/api/status")), 500000)
        self.login.check(request(client.header("GET", "/api/status")), 1000000)
        self.denied(request(client.header("GET", "/api/status")), 1000000 + 600001)

    def test_sessions_and_challenges_are_few(self):
        first = logged_in(self.login)
        for _ in range(3):
            last = logged_in(self.login)
        self.denied(request(first.header("GET", "/api/status")), 0)
        self.login.check(request(last.header("GET", "/api/status")), 0)
        client = PageClient(SECRET)
        proof = client.proof(self.login.challenge(0))
        for _ in range(4):
            self.login.challenge(0)
        self.assertRaises(Denied, self.login.prove, proof, 0)

    def test_a_challenge_serves_once_and_not_for_long(self):
        client = PageClient(SECRET)
        proof = client.proof(self.login.challenge(0))
        self.login.prove(proof, 0)
        self.assertRaises(Denied, self.login.prove, proof, 0)
        proof = client.proof(self.login.challenge(0))
        self.assertRaises(Denied, self.login.prove, proof, 120001)

    def test_wrong_passwords_wait_longer_each_time(self):
        stranger = PageClient(bytes(32))
        now, waits = 0, []
        for _ in range(12):
            with self.assertRaises(Denied) as caught:
                self.login.prove(stranger.proof(self.login.challenge(now)), now)
            waits.append(caught.exception.wait_s)
            if waits[-1]:
                # The right one is not looked at either, so that nothing is learnt meanwhile.
                with self.assertRaises(Denied) as caught:
                    logged_in(self.login, now + 1)
                self.assertEqual(caught.exception.wait_s, waits[-1])
            now += 1000 * waits[-1]
        self.assertEqual(waits, [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
        logged_in(self.login, now)
        self.assertEqual(self.login.wait_s(now), 0)

    def test_nonsense_is_denied(self):
        for given in ({}, {"nonce": 1}, {"nonce": "00" * 16, "client": "zz" * 16, "proof": "00" * 32}):
            self.assertRaises(Denied, self.login.prove, given, 0)

    def test_a_damaged_verifier_is_told(self):
        for field, value in (("salt", "00"), ("stored", "00"), ("iterations", 1), ("server", 7)):
            wrong = dict(VERIFIER)
            wrong[field] = value
            self.assertRaises(ConfigurationError, parse_verifier, wrong)
        self.assertRaises(ConfigurationError, parse_verifier, None)
