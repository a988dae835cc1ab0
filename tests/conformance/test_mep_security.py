"""Digest and RC4 against independent implementations: the worked vectors hold no encrypted exchange."""

import json

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.drivers import events
from gateway.drivers.c1218 import read_message
from gateway.drivers.mep.digest import Digest, key_bits
from gateway.drivers.mep.machine import Machine
from gateway.drivers.mep.rc4 import Rc4
from gateway.simulator import security
from tests.interpreter import ROOT
from tests.mep_profile import FEW

KEYS = st.binary(min_size=16, max_size=16)
DATA = st.integers(1, 465).flatmap(lambda count: st.binary(min_size=count, max_size=count))
CONSTANT = bytes.fromhex("388B8FBC36A8558587AFC90FB23A3B99")


def arc4(key: bytes):
    return Cipher(ARC4(key), None).encryptor()


@FEW
@given(KEYS, st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_rc4_is_the_real_rc4(key, parts):
    ours, real = Rc4(key), arc4(key)
    for part in parts:
        assert ours.crypt(part, advance=False) == ours.crypt(part, advance=False)
        assert bytes(ours.crypt(part)) == real.update(part)


@FEW
@given(KEYS, st.lists(st.binary(max_size=210), max_size=4))
@example(bytes(16), [bytes(192)])
@example(bytes(range(16)), [bytes(180), bytes(12), bytes(192)])
@example(bytes(range(16)), [])
def test_the_digest_of_parts_is_the_digest_of_the_whole(key, parts):
    digest = Digest(key_bits(key))
    for part in parts:
        digest.update(part)
    whole = b"".join(parts)
    expected = security.digest(whole, key)
    assert digest.copy().proves(expected)
    if whole:
        assert digest.final() == expected


def test_digests_of_the_vectors():
    vectors = json.loads((ROOT / "tests/vectors/mep_rc4.json").read_text())
    bits = key_bits(bytes.fromhex(vectors["key"]))
    for vector in vectors["exchanges"]:
        digest = Digest(bits)
        request = bytes.fromhex(vector["request"]["frame"])
        digest.update(request[2:-8])
        assert digest.copy().final() == request[-8:]
        response = bytes.fromhex(vector["response"]["frame"])
        digest.update(response[2:-8])
        assert digest.final() == response[-8:]


@FEW
@given(
    KEYS, st.integers(0, 2**32 - 1), st.integers(1, 465).flatmap(lambda n: st.binary(min_size=n, max_size=n))
)
def test_an_encrypted_exchange_is_appendix_b(key, number, data):
    machine = Machine(key, encrypt=True, sequence=number)
    message = read_message(23, 0, len(data))
    machine.begin(message)
    frame = machine.output()

    mixed = bytearray(arc4(key).update(CONSTANT))
    for at, byte in enumerate(frame[-8:]):
        mixed[at] ^= byte
    stream = arc4(bytes(mixed))
    plain = stream.update(frame[2:-8])
    assert plain == message + number.to_bytes(4, "big")
    assert security.digest(plain, key) == frame[-8:]

    reply = b"\0" + len(data).to_bytes(2, "big") + data
    body = stream.update(reply) + security.digest(plain + reply, key)
    assert machine.receive(len(body).to_bytes(2, "big") + body) == [(events.ANSWER, reply)]
