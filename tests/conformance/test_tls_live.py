"""Our TLS clients against real servers: OpenSSL, mbed TLS (what meters run), MicroPython's."""

import subprocess
from pathlib import Path

import pytest

from gateway.drivers.mep.tls_alerts import BAD_RECORD_MAC, UNKNOWN_PSK_IDENTITY, TlsAlert
from gateway.drivers.mep.tls_client import TlsClient
from tests import tls_peers
from tests.interpreter import micropython
from tests.patience import PATIENCE_S

KEY = bytes(range(16))
OTHER_KEY = bytes(range(1, 17))
BASIC = b"\x64\0\0"
ADVANCED = b"\x64\0\1"
LONG = bytes(range(65, 91)) * 16

mbed_only = pytest.mark.skipif(
    not tls_peers.has_mbedtls(),
    reason="python-mbedtls has no wheel here; MicroPython's server, which is mbed TLS too, stands in for it",
)


@pytest.mark.parametrize("hint", [(), ("-psk_hint", "meter 4711")], ids=["plain", "with a hint"])
@pytest.mark.parametrize("identity", [BASIC, ADVANCED])
def test_openssl(identity, hint):
    with tls_peers.openssl(KEY, *hint) as port, tls_peers.connect(port) as connection:
        answers = tls_peers.talk(connection, TlsClient(identity, KEY), (b"first\n", LONG + b"\n"))
    assert answers == [b"tsrif\n", LONG[::-1] + b"\n"]


def test_openssl_refuses_a_wrong_key():
    with tls_peers.openssl(OTHER_KEY) as port, tls_peers.connect(port) as connection:
        with pytest.raises(TlsAlert) as caught:
            tls_peers.talk(connection, TlsClient(ADVANCED, KEY), ())
    assert caught.value.code == BAD_RECORD_MAC
    assert "bad record MAC" in str(caught.value)


def test_openssl_with_other_suites_only():
    with tls_peers.openssl(KEY, "-cipher", "PSK-AES128-CBC-SHA256") as port:
        with tls_peers.connect(port) as connection, pytest.raises(TlsAlert, match="handshake failure"):
            tls_peers.talk(connection, TlsClient(ADVANCED, KEY), ())


@mbed_only
@pytest.mark.parametrize("identity", [BASIC, ADVANCED])
def test_mbed_tls(identity):
    with tls_peers.mbed({identity: KEY}) as port, tls_peers.connect(port) as connection:
        answers = tls_peers.talk(connection, TlsClient(identity, KEY), (b"first\n", LONG))
    assert answers == [b"\ntsrif", LONG[::-1]]


@mbed_only
@pytest.mark.parametrize(
    "keys, code",
    [({BASIC: KEY}, UNKNOWN_PSK_IDENTITY), ({ADVANCED: OTHER_KEY}, BAD_RECORD_MAC)],
    ids=["wrong identity", "wrong key"],
)
def test_mbed_tls_refuses(keys, code):
    with tls_peers.mbed(keys) as port, tls_peers.connect(port) as connection:
        with pytest.raises(TlsAlert) as caught:
            tls_peers.talk(connection, TlsClient(ADVANCED, KEY), ())
    assert caught.value.code == code


@pytest.mark.parametrize("identity", [BASIC, ADVANCED])
def test_the_server_of_micropython(identity):
    with tls_peers.micropython_server(identity, KEY) as connection:
        answers = tls_peers.talk(connection, TlsClient(identity, KEY), (b"first\n", LONG))
    assert answers == [b"\ntsrif", LONG[::-1]]


def test_the_server_of_micropython_refuses_a_wrong_identity():
    with tls_peers.micropython_server(ADVANCED, KEY) as connection:
        with pytest.raises(TlsAlert) as caught:
            tls_peers.talk(connection, TlsClient(BASIC, KEY), ())
    assert caught.value.code == UNKNOWN_PSK_IDENTITY


def test_the_server_of_micropython_hangs_up_at_a_wrong_key():
    # mbed TLS as it is built there sends no alert for it: silence has to be taken for an answer.
    client = TlsClient(ADVANCED, OTHER_KEY)
    with tls_peers.micropython_server(ADVANCED, KEY) as connection, pytest.raises(ConnectionError):
        tls_peers.talk(connection, client, ())
    assert not client.established


def on_micropython(port: int, identity: bytes, key: bytes) -> "list[str]":
    """What micropython/mep_tls.py had to say, within twice a board's heap (objects have twice the size)."""
    script = Path(__file__).with_name("tls_exercise.py")
    result = subprocess.run(
        [micropython(), "-X", "heapsize=224k", str(script), str(port), identity.hex(), key.hex()],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("identity", [BASIC, ADVANCED])
def test_micropython_with_openssl(identity):
    with tls_peers.openssl(KEY) as port:
        heap, *answers = on_micropython(port, identity, KEY)
    assert answers == [str(b"tsrif\n"), str(LONG[::-1] + b"\n")]
    assert int(heap.split()[1]) < 8192


def test_micropython_with_openssl_and_a_wrong_key():
    with tls_peers.openssl(OTHER_KEY) as port:
        assert on_micropython(port, ADVANCED, KEY) == ["TlsAlert: TLS alert 20 (bad record MAC)"]


@mbed_only
def test_micropython_with_mbed_tls():
    with tls_peers.mbed({BASIC: KEY}) as port:
        assert on_micropython(port, BASIC, KEY)[1:] == [str(b"\ntsrif"), str(b"\n" + LONG[::-1])]


@mbed_only
def test_micropython_with_mbed_tls_and_a_wrong_identity():
    with tls_peers.mbed({BASIC: KEY}) as port:
        assert on_micropython(port, ADVANCED, KEY) == ["TlsAlert: TLS alert 115 (unknown PSK identity)"]
