"""The verifier that flashing writes opens the page to who knows the password, and to nobody else."""

import json
from hashlib import pbkdf2_hmac

import pytest

from gateway.errors import ConfigurationError
from gateway.host.page_password import verifier
from gateway.web.login import Denied, Login, parse_verifier
from tests.page_client import PageClient


def test_what_is_kept_of_a_password_opens_to_the_password_alone():
    kept = verifier("Grüße vom Zähler".encode())
    assert "Grüße".encode() not in kept
    login = Login(parse_verifier(json.loads(kept)))
    for password, opens in (("Grüße vom Zähler", True), ("Grüsse vom Zähler", False)):
        hello = login.challenge(0)
        salted = pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(hello["salt"]), hello["iterations"])
        client = PageClient(salted)
        if opens:
            assert client.logged_in(login.prove(client.proof(hello), 0))
        else:
            with pytest.raises(Denied):
                login.prove(client.proof(hello), 0)


def test_a_short_password_is_refused():
    with pytest.raises(ConfigurationError, match="needs 8"):
        verifier(b"short")
