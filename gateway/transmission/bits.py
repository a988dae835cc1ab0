"""Bits, most significant first, and the codes that frames are made of (docs/transmission-format.md)."""

from .._compat import bit_length, const
from ..errors import FrameError

MAX_INT = const(0x7FFFFFFFFFFFFFFF)
_MAX_BYTES = const(8192)  # of one text or byte string


def zigzag(value: int) -> int:
    """0, -1, 1, -2, 2... as 0, 1, 2, 3, 4..."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(code: int) -> int:
    return -((code + 1) >> 1) if code & 1 else code >> 1


def uint_cost(value: int, k: int) -> int:
    """Bits that put_uint takes."""
    return 2 * bit_length((value >> k) + 1) - 1 + k


class BitWriter:
    """Grows a bytearray; keeps fewer than 24 bits in hand, so that a board needs no big integers."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._acc = 0
        self._held = 0

    def put(self, value: int, width: int) -> None:
        """The low `width` bits of `value`, which has no others."""
        while width > 16:
            width -= 16
            self.put((value >> width) & 0xFFFF, 16)
        held = self._held + width
        acc = self._acc << width | value & 0xFFFF
        while held >= 8:
            held -= 8
            self.out.append(acc >> held & 0xFF)
        self._acc = acc & ((1 << held) - 1)
        self._held = held

    def put_uint(self, value: int, k: int) -> None:
        """Exp-Golomb code of order k: as many ones as x = (value >> k) + 1 has bits below its first, a
        zero, these bits, and the low k bits of the value."""
        x = (value >> k) + 1
        more = bit_length(x) - 1
        for _ in range(more):
            self.put(1, 1)
        self.put(0, 1)
        self.put(x - (1 << more), more)
        self.put(value & ((1 << k) - 1), k)

    def put_int(self, value: int, k: int) -> None:
        self.put_uint(zigzag(value), k)

    def put_number(self, value: int) -> None:
        """A number of any size: its length in 6 bits (from 63 on 63 and 4 bits more), and the bits
        below its first. Differences of 64-bit numbers take up to 68."""
        length = bit_length(value)
        self.put(min(length, 63), 6)
        if length >= 63:
            self.put(length - 63, 4)
        if length:
            self.put(value - (1 << (length - 1)), length - 1)

    def put_bytes(self, value: bytes, k: int) -> None:
        """The length by put_uint with k, then the bytes."""
        if len(value) > _MAX_BYTES:
            raise FrameError("%d bytes in one piece are more than a frame holds" % len(value))
        self.put_uint(len(value), k)
        for byte in value:
            self.put(byte, 8)

    def put_text(self, value: str) -> None:
        self.put_bytes(value.encode(), 4)

    def finish(self) -> bytearray:
        """Everything, filled up with zero bits to a whole byte."""
        if self._held:
            self.put(0, 8 - self._held)
        return self.out


class BitReader:
    """Reads what BitWriter wrote. Every method raises FrameError when the bits end early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0  # in bits
        self._end = 8 * len(data)

    def left(self) -> int:
        return max(0, self._end - self._at)

    def get(self, width: int) -> int:
        at = self._at
        end = at + width
        if end > self._end:
            raise FrameError("the frame ends early")
        self._at = end
        return int.from_bytes(self._data[at >> 3 : (end + 7) >> 3], "big") >> (-end & 7) & ((1 << width) - 1)

    def get_padded(self, width: int) -> int:
        """As get, with zeros behind the end: the range coder leaves its last zeros away."""
        missing = self._at + width - self._end
        if missing <= 0:
            return self.get(width)
        value = self.get(width - missing) << missing if missing < width else 0
        self._at += min(missing, width)
        return value

    def get_uint(self, k: int) -> int:
        data = self._data
        at = start = self._at
        end = self._end
        while at < end and data[at >> 3] << (at & 7) & 128:
            at += 1
        more = at - start
        if more > 64:
            raise FrameError("a number of more than 64 bits")
        self._at = at + 1
        if at >= end:
            raise FrameError("the frame ends early")
        value = self.get(more + k)
        return ((1 << more) - 1 << k) + value

    def get_int(self, k: int) -> int:
        return unzigzag(self.get_uint(k))

    def get_number(self) -> int:
        length = self.get(6)
        if length == 63:
            length += self.get(4)
        return 1 << (length - 1) | self.get(length - 1) if length else 0

    def get_bytes(self, k: int) -> bytes:
        length = self.get_uint(k)
        if 8 * length > self.left():
            raise FrameError("the frame ends early: %d bytes expected, %d there" % (length, self.left() // 8))
        value = bytearray(length)
        for i in range(length):
            value[i] = self.get(8)
        return bytes(value)

    def get_text(self) -> str:
        try:
            return str(self.get_bytes(4), "utf-8")
        except ValueError:
            raise FrameError("a text is not UTF-8") from None
