"""Columns: many integers of one kind, each column in the smallest of a few codings.

A column is: the order of differences (2 bits), whether what remains is signed (1 bit), the codec (3
bits), the first values as they are (as many as the order says), and what remains in that codec.
"""

from .._compat import TYPE_CHECKING, bit_length, const
from ..errors import FrameError
from .bits import MAX_INT, BitReader, BitWriter, uint_cost, unzigzag, zigzag
from .coder import RangeDecoder, RangeEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

CONSTANT = const(0)
RUNS = const(1)
PACKED = const(2)
RICE = const(3)
VARINT = const(4)
RANGE = const(5)

_LONGEST = const(20)  # unary digits of a Rice quotient; longer ones escape
_CAP = const(0x3FFFFF)  # 22 bits: what a value counts for at most in the running mean


class Rice:
    """Adaptive Rice parameter: follows a running mean (in 16ths) that gives the newest value 3/4."""

    def __init__(self, k: int) -> None:
        self.mean = 16 << k
        self.k = k

    def next(self, value: int) -> None:
        self.mean += ((min(value, _CAP) << 4) - self.mean) * 3 >> 2
        self.k = bit_length(self.mean * 11 >> 8)


def put_column(writer: BitWriter, coder: RangeEncoder, values: "Sequence[int]") -> None:
    """`values` (at least one), smallest of all codings; the reader knows how many there are."""
    order = _best_order(values)
    first, rest, signed = _differences(values, order)
    k = _start_parameter(rest)
    codec = _best_codec(rest, k)
    if codec != CONSTANT and len(rest) > 7:
        # Only a trial tells what the range coder makes of it; its model goes on from column to column.
        mark = coder.mark()
        before = coder.size()
        _put_range(coder, rest, k)
        if coder.size() - before < _cost(codec, rest, k):
            codec = RANGE
        else:
            coder.back(mark)
    writer.put(order << 4 | signed << 3 | codec, 6)
    for value in first:
        writer.put_number(zigzag(value))
    if codec in (RICE, RANGE):
        writer.put_uint(k, 2)
    if codec == CONSTANT:
        writer.put_number(rest[0])
    elif codec == RUNS:
        _put_runs(writer, rest)
    elif codec == PACKED:
        _put_packed(writer, rest)
    elif codec == RICE:
        _put_rice(writer, rest, k)
    elif codec == VARINT:
        _put_varints(writer, rest)


class ColumnReader:
    """Reads the columns of one frame. Columns in the range coder stand at the frame's end, behind all
    the rest, and are filled in by `finish`."""

    def __init__(self, reader: BitReader) -> None:
        self._reader = reader
        self._late: list[tuple[list[int], int, bool, int, int, list[int]]] = []

    def read(self, count: int) -> "list[int]":
        """A column of `count` values (at least one); it may be empty until `finish`. Raises FrameError."""
        reader = self._reader
        order = reader.get(2)
        signed = reader.get(1) == 1
        codec = reader.get(3)
        if order > 2 or order >= count or codec > RANGE:
            raise FrameError(
                "a column has order %d and codec %d, which this version does not know" % (order, codec)
            )
        first = [unzigzag(reader.get_number()) for _ in range(order)]
        k = reader.get_uint(2) if codec in (RICE, RANGE) else 0
        if k > 24:
            raise FrameError("a column has a Rice parameter of %d" % k)
        left = count - order
        values: list[int] = []
        if codec == RANGE:
            self._late.append((first, left, signed, order, k, values))
            return values
        if codec == CONSTANT:
            rest = [reader.get_number()] * left
        elif codec == RUNS:
            rest = _get_runs(reader, left)
        elif codec == PACKED:
            rest = _get_packed(reader, left)
        elif codec == RICE:
            rest = _get_rice(reader, left, k)
        else:
            rest = _get_varints(reader, left)
        _restore(values, first, rest, signed, order)
        return values

    def finish(self) -> None:
        if self._late:
            decoder = RangeDecoder(self._reader)
            for first, left, signed, order, k, values in self._late:
                _restore(values, first, _get_range(decoder, left, k), signed, order)


def _restore(values: "list[int]", first: "list[int]", rest: "list[int]", signed: bool, order: int) -> None:
    if signed:
        rest = [unzigzag(value) for value in rest]
    for start in reversed(first):
        row = [start]
        for value in rest:
            row.append(row[-1] + value)
        rest = row
    if min(rest) < -MAX_INT - 1 or max(rest) > MAX_INT:
        raise FrameError("a value does not fit into 64 bits")
    values.extend(rest)


def _differences(values: "Sequence[int]", order: int) -> "tuple[list[int], Sequence[int], bool]":
    """The first values of each order, what remains as numbers from 0 up, and whether these are signed."""
    first = []
    rest = values
    for _ in range(order):
        first.append(rest[0])
        rest = [rest[i + 1] - rest[i] for i in range(len(rest) - 1)]
    signed = min(rest) < 0
    return first, [zigzag(value) for value in rest] if signed else rest, signed


def _best_order(values: "Sequence[int]") -> int:
    if min(values) == max(values):
        return 0
    best = order = 0
    best_bits = -1
    while order < min(3, len(values)):
        first, rest, _ = _differences(values, order)
        if min(rest) == max(rest):
            bits = 6 + bit_length(rest[0])
        else:
            bits = _cost(RICE, rest, _start_parameter(rest))
        for value in first:
            bits += 7 + bit_length(value)
        if best_bits < 0 or bits < best_bits:
            best, best_bits = order, bits
        order += 1
    return best


def _start_parameter(rest: "Sequence[int]") -> int:
    count = min(len(rest), 8)
    total = 0
    for i in range(count):
        total += min(rest[i], int(_CAP))
    return bit_length(total * 11 // (16 * count))


def _best_codec(rest: "Sequence[int]", k: int) -> int:
    best: int = RICE
    if min(rest) == max(rest):
        return int(CONSTANT)
    bits = _cost(RICE, rest, k)
    for codec in (RUNS, PACKED, VARINT):
        other = _cost(codec, rest, k)
        if other < bits:
            best, bits = codec, other
    return best


def _cost(codec: int, rest: "Sequence[int]", k: int) -> int:
    """Bits that the codec takes."""
    bits = 0
    if codec == RICE:
        rice = Rice(k)
        bits = uint_cost(k, 2)
        for value in rest:
            quotient = value >> rice.k
            bits += quotient + 1 + rice.k if quotient < _LONGEST else _LONGEST + 7 + bit_length(value)
            rice.next(value)
    elif codec == RUNS:
        at = 0
        while at < len(rest):
            run = _run(rest, at)
            bits += uint_cost(rest[at], 2) + uint_cost(run - 1, 2)
            at += run
    elif codec == PACKED:
        low = min(rest)
        bits = 6 + bit_length(low) + 7 + len(rest) * bit_length(max(rest) - low)
    else:
        group = _group(rest)
        bits = 4
        for value in rest:
            bits += _groups(value, group) * (group + 1)
    return bits


def _run(rest: "Sequence[int]", at: int) -> int:
    end = at + 1
    while end < len(rest) and rest[end] == rest[at]:
        end += 1
    return end - at


def _put_runs(writer: BitWriter, rest: "Sequence[int]") -> None:
    at = 0
    while at < len(rest):
        run = _run(rest, at)
        writer.put_uint(rest[at], 2)
        writer.put_uint(run - 1, 2)
        at += run


def _get_runs(reader: BitReader, count: int) -> "list[int]":
    rest: list[int] = []
    while len(rest) < count:
        value = reader.get_uint(2)
        run = reader.get_uint(2) + 1
        if run > count - len(rest):
            raise FrameError("a run goes beyond the end of its column")
        rest.extend([value] * run)
    return rest


def _put_packed(writer: BitWriter, rest: "Sequence[int]") -> None:
    low = min(rest)
    width = bit_length(max(rest) - low)
    writer.put_number(low)
    writer.put(width, 7)
    for value in rest:
        writer.put(value - low, width)


def _get_packed(reader: BitReader, count: int) -> "list[int]":
    low = reader.get_number()
    width = reader.get(7)
    if width * count > reader.left():
        raise FrameError("a column is longer than its frame")
    return [low + reader.get(width) for _ in range(count)]


def _put_rice(writer: BitWriter, rest: "Sequence[int]", k: int) -> None:
    rice = Rice(k)
    for value in rest:
        quotient = value >> rice.k
        for _ in range(min(quotient, _LONGEST)):
            writer.put(1, 1)
        if quotient < _LONGEST:
            writer.put(0, 1)
            writer.put(value & ((1 << rice.k) - 1), rice.k)
        else:
            writer.put_number(value)
        rice.next(value)


def _get_rice(reader: BitReader, count: int, k: int) -> "list[int]":
    rice = Rice(k)
    rest = []
    for _ in range(count):
        quotient = 0
        while quotient < _LONGEST and reader.get(1):
            quotient += 1
        value = quotient << rice.k | reader.get(rice.k) if quotient < _LONGEST else reader.get_number()
        rest.append(value)
        rice.next(value)
    return rest


def _groups(value: int, group: int) -> int:
    return max(1, -(-bit_length(value) // group))


def _group(rest: "Sequence[int]") -> int:
    # Bits per group that suit the smaller half of the values; longer values take several groups.
    lengths = sorted([bit_length(value) for value in rest])
    return min(8, max(1, lengths[len(lengths) // 2]))


def _put_varints(writer: BitWriter, rest: "Sequence[int]") -> None:
    group = _group(rest)
    writer.put(group - 1, 3)
    for value in rest:
        for left in range(_groups(value, group) - 1, -1, -1):
            writer.put(1 if left else 0, 1)
            writer.put(value >> left * group & ((1 << group) - 1), group)


def _get_varints(reader: BitReader, count: int) -> "list[int]":
    group = reader.get(3) + 1
    rest = []
    for _ in range(count):
        value = 0
        more = 1
        while more:
            more = reader.get(1)
            value = value << group | reader.get(group)
            if bit_length(value) > 80:
                raise FrameError("a number of more than 64 bits")
        rest.append(value)
    return rest


def _contexts(k: int, before: int) -> int:
    """The first of six contexts for a quotient's digits, by the parameter and the quotient before."""
    return min(k, 6) * 18 + min(before, 2) * 6


def _put_range(coder: RangeEncoder, rest: "Sequence[int]", k: int) -> None:
    rice = Rice(k)
    quotient = 0
    for value in rest:
        k = rice.k
        context = _contexts(k, quotient)
        quotient = value >> k
        for i in range(min(quotient, _LONGEST)):
            coder.put(context + min(i, 5), 1)
        if quotient < _LONGEST:
            coder.put(context + min(quotient, 5), 0)
            if quotient < 2:
                # The remainder's first two bits have contexts of their own.
                node = 1
                while k and node < 4:
                    k -= 1
                    bit = value >> k & 1
                    coder.put(125 + 3 * quotient + node, bit)
                    node = node << 1 | bit
            coder.put_plain(value & ((1 << k) - 1), k)
        else:
            length = bit_length(value)
            coder.put_plain(length, 7)
            coder.put_plain(value, length)
        rice.next(value)


def _get_range(decoder: RangeDecoder, count: int, k: int) -> "list[int]":
    rice = Rice(k)
    rest = []
    quotient = 0
    for _ in range(count):
        k = rice.k
        context = _contexts(k, quotient)
        quotient = 0
        while quotient < _LONGEST and decoder.get(context + min(quotient, 5)):
            quotient += 1
        if quotient < _LONGEST:
            value = quotient
            if quotient < 2:
                node = 1
                while k and node < 4:
                    k -= 1
                    bit = decoder.get(125 + 3 * quotient + node)
                    node = node << 1 | bit
                    value = value << 1 | bit
            value = value << k | decoder.get_plain(k)
        else:
            value = decoder.get_plain(decoder.get_plain(7))
        rest.append(value)
        rice.next(value)
    return rest
