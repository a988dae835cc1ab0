"""Seals the small messages of custody and commands: HMAC-SHA256 around a MessagePack array.

A sealed message is an array of at most 15 elements that begins [version, kind, key id] and ends with a
tag of 16 bytes: the first half of HMAC-SHA256 over the word "osgp-gateway", the meter's id and all bytes
before the tag's value. The tag is checked before anything else is parsed.
"""

import hashlib

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError
from .packer import pack, unpack

if TYPE_CHECKING:
    from typing import Any

VERSION = const(1)
MAX_MESSAGE = const(8192)

_CONTEXT = b"osgp-gateway"
_TAG = const(16)
_KEY_ID = const(4)
_BLOCK = const(64)  # of SHA-256
_INNER = int.from_bytes(b"\x36" * _BLOCK, "big")
_OUTER = int.from_bytes(b"\x5c" * _BLOCK, "big")


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104); MicroPython has no hmac module."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    key = key + bytes(_BLOCK - len(key))
    number = int.from_bytes(key, "big")
    inner = hashlib.sha256((number ^ _INNER).to_bytes(_BLOCK, "big"))
    for part in parts:
        inner.update(part)
    outer = hashlib.sha256((number ^ _OUTER).to_bytes(_BLOCK, "big"))
    outer.update(inner.digest())
    return outer.digest()


def key_id(key: bytes) -> bytes:
    """The 4 bytes that name a key without giving it away."""
    return hmac_sha256(key, b"osgp-gateway key id")[:_KEY_ID]


def seal(key: bytes, meter: bytes, kind: int, elements: "list[Any]") -> bytes:
    """The message of `kind` about `meter` (its id, 16 bytes). Raises FrameError when it is too long."""
    body = pack([VERSION, kind, key_id(key)] + elements + [bytes(_TAG)])[:-_TAG]
    if len(body) + _TAG > MAX_MESSAGE:
        raise FrameError(
            "a message of %d bytes is too long: %d are allowed" % (len(body) + _TAG, MAX_MESSAGE)
        )
    return body + hmac_sha256(key, _CONTEXT, meter, body)[:_TAG]


def sealed_with(payload: bytes) -> bytes:
    """The key id a message names. Raises FrameError when it is no sealed message of our version."""
    # [fixarray, version, kind, bin 8 of 4 bytes, ...]: one form only, so no parser is needed yet.
    if not 9 + _TAG < len(payload) <= MAX_MESSAGE:
        raise FrameError("a sealed message can't have %d bytes" % len(payload))
    if payload[0] & 0xF0 != 0x90 or bytes(payload[3:5]) != b"\xc4\x04":
        raise FrameError("not a sealed message: it begins %s" % bytes(payload[:5]).hex())
    if payload[1] != VERSION:
        raise FrameError("a sealed message of version %d; known is %d" % (payload[1], VERSION))
    return bytes(payload[5:9])


def unseal(key: bytes, meter: bytes, payload: bytes) -> "tuple[int, list[Any]]":
    """Kind and elements (without version, kind, key id, tag). Raises FrameError."""
    sealed_with(payload)
    tag = hmac_sha256(key, _CONTEXT, meter, payload[:-_TAG])
    difference = 0
    for i in range(_TAG):
        difference |= tag[i] ^ payload[i - _TAG]
    if difference:
        raise FrameError("the tag is wrong: forged, damaged, about another meter, or another key")
    message = unpack(payload)
    if type(message[1]) is not int:
        raise FrameError("a sealed message whose kind is no number")
    return message[1], message[3:-1]


def elements_of(message: "list[Any]", *checks: "int | tuple[int, int] | type") -> "list[Any]":
    """`message` if each element passes its check, else FrameError.

    A check is a number (bytes of that length), a pair (an integer between the two, inclusive), or a type.
    """
    if type(message) is not list or len(message) != len(checks):
        raise FrameError("%d elements expected" % len(checks))
    for element, check in zip(message, checks):  # noqa: B905 - MicroPython's zip has no strict
        if type(check) is int:
            good = type(element) is bytes and len(element) == check
        elif type(check) is tuple:
            good = type(element) is int and check[0] <= element <= check[1]
        else:
            good = type(element) is check
        if not good:
            raise FrameError("an element is out of its bounds")
    return message
