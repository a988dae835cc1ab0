"""MessagePack for both interpreters: integers up to 64 bits, bytes, text, arrays, maps, nil, booleans.

Writes the shortest form, as the msgpack package does; reads every form of these types. No floats
(measured values are integers with an exponent) and no extension types. Lengths are checked against
what is there before anything is allocated.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError

if TYPE_CHECKING:
    from typing import Any

_MAX_DEPTH = const(16)


def pack(value: "Any") -> bytes:
    """`value` as MessagePack. Raises FrameError for floats, other types, and integers beyond 64 bits."""
    out = bytearray()
    _pack(out, value, _MAX_DEPTH)
    return bytes(out)


def unpack(data: bytes) -> "Any":
    """The one object that `data` holds; arrays come as lists. Raises FrameError for anything else."""
    value, end = unpack_from(data, 0)
    if end != len(data):
        raise FrameError("%d bytes follow the end of a MessagePack object" % (len(data) - end))
    return value


def unpack_from(data: bytes, start: int) -> "tuple[Any, int]":
    """The object that begins at `start`, and where it ends. Raises FrameError."""
    return _unpack(data, start, _MAX_DEPTH)


def _pack(out: bytearray, value: "Any", depth: int) -> None:
    if not depth:
        raise FrameError("MessagePack is nested deeper than %d levels" % _MAX_DEPTH)
    if value is None:
        out.append(0xC0)
    elif value is True or value is False:
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        _pack_int(out, value)
    elif isinstance(value, str):
        text = value.encode()
        _head(out, len(text), 0xA0 if len(text) < 32 else 0, 0xD9)
        out.extend(text)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _head(out, len(value), 0, 0xC4)
        out.extend(value)
    elif isinstance(value, (list, tuple)):
        _head(out, len(value), 0x90 if len(value) < 16 else 0, 0xDC)
        for item in value:
            _pack(out, item, depth - 1)
    elif isinstance(value, dict):
        _head(out, len(value), 0x80 if len(value) < 16 else 0, 0xDE)
        for key, item in value.items():
            _pack(out, key, depth - 1)
            _pack(out, item, depth - 1)
    else:
        raise FrameError(
            "%s can't be packed: values are integers with an exponent, text or bytes" % type(value).__name__
        )


def _head(out: bytearray, length: int, short: int, code: int) -> None:
    # Text and bytes have lengths of 1, 2 and 4 bytes, arrays (DC) and maps (DE) only of 2 and 4.
    if short:
        out.append(short | length)
        return
    size = 1 if length < 0x100 and code < 0xDC else 2 if length < 0x10000 else 4
    out.append(code + size // 2 - (code >= 0xDC))
    out.extend(length.to_bytes(size, "big"))


def _pack_int(out: bytearray, value: int) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    code = 0xCC if value >= 0 else 0xD0
    for size in (1, 2, 4, 8):
        bits = 8 * size if value >= 0 else 8 * size - 1
        if value >> bits in (0, -1):
            out.append(code)
            out.extend((value & ((1 << 8 * size) - 1)).to_bytes(size, "big"))
            return
        code += 1
    raise FrameError("%d does not fit into 64 bits" % value)


def _unpack(data: bytes, at: int, depth: int) -> "tuple[Any, int]":
    if not depth:
        raise FrameError("MessagePack is nested deeper than %d levels" % _MAX_DEPTH)
    code, at = _take(data, at, 1)
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 0x100, at
    if code < 0x90:
        return _unpack_map(data, at, code & 15, depth)
    if code < 0xA0:
        return _unpack_array(data, at, code & 15, depth)
    if code < 0xC0:
        return _unpack_text(data, at, code & 31)
    if code == 0xC0:
        return None, at
    if code in (0xC2, 0xC3):
        return code == 0xC3, at
    if 0xC4 <= code <= 0xC6:
        length, at = _take(data, at, 1 << (code - 0xC4))
        _check(data, at, length)
        return bytes(data[at : at + length]), at + length
    if 0xCC <= code <= 0xCF:
        return _take(data, at, 1 << (code - 0xCC))
    if 0xD0 <= code <= 0xD3:
        size = 1 << (code - 0xD0)
        value, at = _take(data, at, size)
        return value - ((value >> (8 * size - 1)) << 8 * size), at
    if 0xD9 <= code <= 0xDB:
        length, at = _take(data, at, 1 << (code - 0xD9))
        return _unpack_text(data, at, length)
    if code in (0xDC, 0xDD):
        length, at = _take(data, at, 2 << (code - 0xDC))
        return _unpack_array(data, at, length, depth)
    if code in (0xDE, 0xDF):
        length, at = _take(data, at, 2 << (code - 0xDE))
        return _unpack_map(data, at, length, depth)
    raise FrameError("MessagePack type %02x is not used here: no floats, no extensions" % code)


def _check(data: bytes, at: int, length: int) -> None:
    if length > len(data) - at:
        raise FrameError(
            "MessagePack ends early: %d more bytes expected, %d there" % (length, len(data) - at)
        )


def _take(data: bytes, at: int, size: int) -> "tuple[int, int]":
    _check(data, at, size)
    return int.from_bytes(data[at : at + size], "big"), at + size


def _unpack_text(data: bytes, at: int, length: int) -> "tuple[str, int]":
    _check(data, at, length)
    try:
        return str(bytes(data[at : at + length]), "utf-8"), at + length
    except ValueError:
        raise FrameError("MessagePack text is not UTF-8") from None


def _unpack_array(data: bytes, at: int, length: int, depth: int) -> "tuple[list[Any], int]":
    _check(data, at, length)
    items = []
    for _ in range(length):
        item, at = _unpack(data, at, depth - 1)
        items.append(item)
    return items, at


def _unpack_map(data: bytes, at: int, length: int, depth: int) -> "tuple[dict[Any, Any], int]":
    _check(data, at, 2 * length)
    items = {}
    for _ in range(length):
        key, at = _unpack(data, at, depth - 1)
        if isinstance(key, (list, dict)):
            raise FrameError("a MessagePack map has an array or a map for a key")
        items[key], at = _unpack(data, at, depth - 1)
    return items, at
