"""The adaptive range coder: binary decisions at less than a bit each, in integers below 2**29.

The model is that of an adaptive Rice code (columns.py): the quotient's unary digits and the first bit of
its remainder are decided by probabilities that learn, all other bits are put as they are. Probabilities
are those of a zero, in 4096ths, and learn the faster the fewer decisions they have seen.
"""

from array import array

from .._compat import TYPE_CHECKING, bit_length, const
from ..errors import FrameError

if TYPE_CHECKING:
    from .bits import BitReader, BitWriter

    Mark = tuple[tuple[int, int, int, int, int], array[int], bytes]

CONTEXTS = const(132)
_ALL = const(0xFFFFFFF)  # 28 bits
_TOP = const(0x100000)  # below 20 bits a byte is shifted out
_LOW = const(0xFFFFF)


class _Model:
    def __init__(self) -> None:
        self.chances = array("H", bytes(2 * CONTEXTS))
        for context in range(CONTEXTS):
            self.chances[context] = 2048
        self.seen = bytearray(CONTEXTS)

    def learn(self, context: int, bit: int) -> None:
        rate = self.seen[context]
        if rate < 3:
            self.seen[context] = rate + 1
        chance = self.chances[context]
        if bit:
            self.chances[context] = chance - (chance >> rate + 2)
        else:
            self.chances[context] = chance + ((4096 - chance) >> rate + 2)


class RangeEncoder(_Model):
    """Collects bytes; `mark` and `back` undo a trial."""

    def __init__(self) -> None:
        super().__init__()
        self.out = bytearray()
        self._low = 0
        self._range = _ALL
        self._byte = -1  # held back, because a carry may still reach it and the full bytes behind it
        self._full = 0

    def put(self, context: int, bit: int) -> None:
        bound = (self._range >> 12) * self.chances[context]
        if bit:
            self._low += bound
            self._range -= bound
        else:
            self._range = bound
        self.learn(context, bit)
        while self._range < _TOP:
            self._range <<= 8
            self._shift()

    def put_plain(self, value: int, width: int) -> None:
        """`width` bits without a model."""
        while width > 8:
            width -= 8
            self.put_plain(value >> width & 0xFF, 8)
        self._range >>= width
        self._low += self._range * (value & ((1 << width) - 1))
        while self._range < _TOP:
            self._range <<= 8
            self._shift()

    def _shift(self) -> None:
        top = self._low >> 20
        self._low = (self._low & _LOW) << 8
        if top == 0xFF:
            self._full += 1
            return
        if self._byte >= 0:
            self.out.append(self._byte + (top >> 8))
        for _ in range(self._full):
            self.out.append(0xFF + (top >> 8) & 0xFF)
        self._full = 0
        self._byte = top & 0xFF

    def mark(self) -> "Mark":
        state = (len(self.out), self._low, self._range, self._byte, self._full)
        return state, self.chances[:], bytes(self.seen)

    def back(self, mark: "Mark") -> None:
        state, self.chances, seen = mark
        length, self._low, self._range, self._byte, self._full = state
        self.out = self.out[:length]
        self.seen = bytearray(seen)

    def size(self) -> int:
        """Bits put so far, to within a bit or so."""
        return 8 * (len(self.out) + self._full) + (8 if self._byte >= 0 else 0) + 28 - bit_length(self._range)

    def finish(self, writer: "BitWriter") -> None:
        """Write everything at the end of `writer`, as short as it goes: the reader finds zeros behind it."""
        last = self._low + self._range - 1
        for keep in range(28, -1, -1):
            value = last >> keep << keep
            if value >= self._low:
                break
        self._low = value
        for _ in range(4):
            self._shift()
        self._shift()
        out = self.out
        length = len(out)
        while length and not out[length - 1]:
            length -= 1
        for i in range(length):
            writer.put(out[i], 8)


class RangeDecoder(_Model):
    def __init__(self, reader: "BitReader") -> None:
        super().__init__()
        self._reader = reader
        self._range = _ALL
        self._code = reader.get_padded(28)
        self._check()

    def _check(self) -> None:
        # No encoder writes a code outside its range; without the check such codes would grow for ever.
        if self._code >= self._range:
            raise FrameError("the range-coded part of a frame is damaged")

    def get(self, context: int) -> int:
        bound = (self._range >> 12) * self.chances[context]
        if self._code < bound:
            self._range = bound
            bit = 0
        else:
            self._code -= bound
            self._range -= bound
            bit = 1
        self.learn(context, bit)
        while self._range < _TOP:
            self._range <<= 8
            self._code = self._code << 8 | self._reader.get_padded(8)
        return bit

    def get_plain(self, width: int) -> int:
        value = 0
        while width > 8:
            width -= 8
            value = value << 8 | self.get_plain(8)
        self._range >>= width
        part: int = min(self._code // self._range, (1 << width) - 1)
        self._code -= part * self._range
        self._check()
        while self._range < _TOP:
            self._range <<= 8
            self._code = self._code << 8 | self._reader.get_padded(8)
        return value << width | part
