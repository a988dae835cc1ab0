"""The vectors of custody and commands, made again by docs/custody.md with other people's libraries."""

import hashlib
import hmac
import json
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import FrameError
from gateway.transmission import commands, custody

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "custody.json").read_text())
METER = bytes.fromhex(VECTORS["meter"])
CREDENTIAL = bytes.fromhex(VECTORS["credential"])


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def test_keys():
    hop = mac(CREDENTIAL, b"osgp-gateway custody hop key 1")
    command = mac(CREDENTIAL, b"osgp-gateway command key 1")
    assert (hop.hex(), command.hex()) == (VECTORS["hop_key"], VECTORS["command_key"])
    assert mac(hop, b"osgp-gateway key id")[:4].hex() == VECTORS["hop_key_id"]
    assert mac(command, b"osgp-gateway key id")[:4].hex() == VECTORS["command_key_id"]


def sealed(kind, key, elements):
    tag = bytes(16)
    body = msgpack.packb([1, kind, mac(key, b"osgp-gateway key id")[:4], *elements, tag])[:-16]
    return body + mac(key, b"osgp-gateway" + METER + body)[:16]


def flat(pairs):
    return [part for pair in pairs for part in pair]


def elements(kind, f):
    octets = bytes.fromhex
    if kind == "asks":
        marks = flat((octets(session), position) for session, position in f["marks"])
        streams = [[c, e, low, flat(runs)] for c, e, low, runs in f["streams"]]
        claims = [[c, e, s, octets(sha)] for c, e, s, sha in f["claims"]]
        return [octets(f["nonce"]), octets(f["generation"]), marks, streams, f["drops"], claims]
    if kind == "receipts":
        ranges = [[*one[:4], octets(one[4])] for one in f["ranges"]]
        nonce, generation, session = octets(f["nonce"]), octets(f["generation"]), octets(f["session"])
        return [nonce, generation, f["since"], session, f["position"], ranges]
    if kind == "commands":
        return [*f[:3], octets(f[3]), *f[4:]]
    if kind == "results":
        return [f[0], octets(f[1]), *f[2:]]
    return [octets(f[0]), f[1]]


@pytest.mark.parametrize(
    ("kind", "number"), [("asks", 1), ("receipts", 2), ("commands", 16), ("results", 17), ("challenges", 18)]
)
def test_messages(kind, number):
    key = bytes.fromhex(VECTORS["hop_key" if number < 16 else "command_key"])
    for one in VECTORS[kind]:
        assert sealed(number, key, elements(kind, one["fields"])).hex() == one["message"], one["name"]


def test_digest():
    hashes = b"".join(hashlib.sha256(bytes.fromhex(f)).digest() for f in VECTORS["digest"]["frames"])
    assert hashlib.sha256(hashes).hexdigest() == VECTORS["digest"]["digest"]


def trees():
    leaf = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.binary(max_size=40)
        | st.text(max_size=5)
    )
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=6), max_leaves=30)


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.sampled_from([1, 2, 16, 17, 18, 3]), st.lists(trees(), max_size=8))
def test_authentic_nonsense_is_refused_or_understood(kind, parts):
    """Whoever has the key may still be wrong: one clear error, or a message within its bounds."""
    key = bytes(32)
    payload = sealed(kind, key, parts)
    for decode in (
        lambda: custody.decode(METER, payload, lambda name: key),
        lambda: commands.decode(METER, payload, key),
    ):
        try:
            decode()
        except FrameError as error:
            assert str(error)


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.binary(max_size=80))
def test_garbage_is_refused(payload):
    with pytest.raises(FrameError):
        custody.decode(METER, payload, lambda name: bytes(32))
