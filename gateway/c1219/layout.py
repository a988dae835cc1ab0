"""One engine for all tables: resolves a declared layout with the meter's dimensions, and decodes.

A layout is a tuple of fields in the order of the guide; a field is a tuple of up to five:

    (name, kind, repeat, when, bits)

name    "" for reserved bytes, which nothing decodes
kind    a kind of types.py, or a tuple of fields: a record
repeat  None for one; a number or the name of a dimension for an array; for BYTES and TEXT the length
when    None for always; the name of a dimension that must not be 0; or the firmware version, packed as
        in BT01.14, from which on the field exists
bits    ((name, first bit, width), ...): the field is an integer of bit fields, decoded in its place

A layout is kept packed, since the tuples would take a board many times the room; what is built for one is
packed beforehand (tools/pack_layouts.py).

Dimensions are a dict of integers. Decoding gives a dict of values: integers, str for TEXT,
bytes for BYTES and times, lists for arrays, dicts for records.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import TableError
from .types import BYTES, TEXT, signed, text, unsigned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    Dimensions = dict[str, int]
    Fields = Sequence[tuple[Any, ...]]
    Table = dict[str, Any]

# Far more than any table here can hold; a meter that claims more is not believed.
_MAX_SIZE = const(8192)


# Packed: kind, flags, name; then what the flags say. A name is its length and its characters, a number two
# bytes from the lowest. Before a record's fields and before bit fields stands how many bytes these are; a bit
# field is its first bit, its width and its name.
_RECORD = const(0x7F)
_REPEATS = const(1)  # a number
_REPEATS_BY = const(2)  # a dimension
_SINCE = const(4)  # a firmware version
_WHEN = const(8)  # a dimension
_BITS = const(16)


def _number(value: int) -> bytes:
    return bytes((value & 0xFF, value >> 8))


def _string(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def packed(fields: "Fields") -> bytes:
    """A layout's fields as bytes."""
    out = bytearray()
    for field in fields:
        name, kind, repeat, when, bits = tuple(field) + (None,) * (5 - len(field))
        flags = 0
        rest = b""
        if isinstance(repeat, str):
            flags, rest = _REPEATS_BY, _string(repeat)
        elif repeat is not None:
            flags, rest = _REPEATS, _number(repeat)
        if isinstance(when, str):
            flags, rest = flags | _WHEN, rest + _string(when)
        elif when is not None:
            flags, rest = flags | _SINCE, rest + _number(when)
        if isinstance(kind, tuple):
            inner = packed(kind)
            kind, rest = _RECORD, rest + _number(len(inner)) + inner
        elif bits is not None:
            inner = b""
            for bit_name, first, width in bits:
                inner += bytes((first, width)) + _string(bit_name)
            flags, rest = flags | _BITS, rest + _number(len(inner)) + inner
        out.extend(bytes((kind, flags)) + _string(name) + rest)
    return bytes(out)


class _Field:
    """One field after the other, of `fields`: the one that was `read` last. `name`: where its name stands;
    `end`: where the next begins; `inner`: where the fields of a record or the bit fields begin. `count`
    elements of `each` bytes; 0 when it is not there.

    One object for all fields: on a board an object for each would be most of what a table's reading costs.
    """

    def __init__(self, fields: bytes, dims: "Dimensions") -> None:
        self._fields = fields
        self._dims = dims

    def read(self, at: int) -> None:
        """The field that begins at `at`."""
        fields = self._fields
        dims = self._dims
        self.kind = fields[at]
        flags = fields[at + 1]
        self.name = at + 2
        at += 3 + fields[at + 2]
        self.is_array = flags & (_REPEATS | _REPEATS_BY) != 0
        count = 1
        there = True
        try:
            if flags & _REPEATS:
                count = fields[at] | fields[at + 1] << 8
                at += 2
            elif flags & _REPEATS_BY:
                repeat = at
                at += 1 + fields[at]
            if flags & _SINCE:
                there = dims["firmware"] >= fields[at] | fields[at + 1] << 8
                at += 2
            elif flags & _WHEN:
                there = dims[_text(fields, at)] != 0
                at += 1 + fields[at]
            if flags & _REPEATS_BY and there:
                count = dims[_text(fields, repeat)]
        except KeyError as missing:
            raise TableError(
                "field %s needs the dimension %s, which is not known" % (_text(fields, self.name), missing)
            ) from None
        self.inner = 0
        self.has_bits = flags & _BITS != 0
        if self.has_bits or self.kind == _RECORD:
            self.inner = at + 2
            at += 2 + (fields[at] | fields[at + 1] << 8)
        self.end = at
        self.count = self.each = 0
        if not there:
            return
        if not 0 <= count <= _MAX_SIZE:
            raise TableError("field %s has the dimension %d" % (_text(fields, self.name), count))
        if self.kind == _RECORD:
            self.each = _size(fields, self.inner, at, dims)
        else:
            self.each = 1 if BYTES <= self.kind <= TEXT else self.kind & 15
        # Elements of an array without bytes say nothing, and any number of them would fit.
        self.count = count if self.each or not self.is_array else 0


def _text(fields: bytes, at: int) -> str:
    return fields[at + 1 : at + 1 + fields[at]].decode()


def _is_named(fields: bytes, at: int, names: "Sequence[bytes]") -> bool:
    """`names`: as they stand there; none: any."""
    if not names:
        return fields[at] > 0
    for name in names:  # noqa: SIM110 - a generator would be an object for each field
        if fields.startswith(name, at):
            return True
    return False


def _size(fields: bytes, at: int, end: int, dims: "Dimensions") -> int:
    """Bytes of the fields; TableError when the dimensions make it more than any table can be."""
    total = 0
    field = _Field(fields, dims)
    while at < end:
        field.read(at)
        total += field.count * field.each
        if total > _MAX_SIZE:
            raise TableError(
                "dimensions that make field %s end beyond %d bytes" % (_text(fields, field.name), _MAX_SIZE)
            )
        at = field.end
    return total


def _element(fields: bytes, field: _Field, data: "bytes | memoryview", dims: "Dimensions") -> "Any":
    kind = field.kind
    if kind == _RECORD:
        return _decode(fields, field.inner, field.end, data, dims, ())
    raw = bytes(data)
    if kind < 0x10:
        return unsigned(raw)
    if kind < BYTES:
        return signed(raw)
    if kind == TEXT:
        return text(raw)
    return raw


def _decode(
    fields: bytes,
    here: int,
    end: int,
    data: "bytes | memoryview",
    dims: "Dimensions",
    names: "Sequence[bytes]",
) -> "Table":
    values: Table = {}
    at = 0
    field = _Field(fields, dims)
    missing = len(names) or -1
    while here < end and missing:
        field.read(here)
        here = field.end
        each = field.each
        behind = at + field.count * each
        if _is_named(fields, field.name, names):
            name = _text(fields, field.name)
            missing -= 1
            if BYTES <= field.kind <= TEXT:
                values[name] = _element(fields, field, data[at:behind], dims)
            elif field.is_array:
                values[name] = [
                    _element(fields, field, data[at + i * each : at + (i + 1) * each], dims)
                    for i in range(field.count)
                ]
            elif field.count:
                whole = _element(fields, field, data[at:behind], dims)
                if field.has_bits:
                    bit = field.inner
                    while bit < field.end:
                        values[_text(fields, bit + 2)] = whole >> fields[bit] & (1 << fields[bit + 1]) - 1
                        bit += 3 + fields[bit + 2]
                else:
                    values[name] = whole
        at = behind
    return values


# Fields and dimensions whose size was asked for last, and that: whoever reads a table asks three times. What
# dimensions say does not change; when they are dropped, others take their place.
_sized: "list[Any]" = [None, None, 0]


class Layout:
    """A declared table. `table`: its number, extended tables from 2048 on. `needs`: the groups of
    dimensions (Tables loads them) that resolve it."""

    needs: "Sequence[str]" = ()

    def __init__(self, table: int, fields: "Fields | bytes", needs: "Sequence[str]" = ()) -> None:
        self.table = table
        self.fields = fields if isinstance(fields, bytes) else packed(fields)
        if needs:  # a board has many without
            self.needs = needs

    @property
    def name(self) -> str:
        return "%s%02d" % ("ET" if self.table >= 2048 else "BT", self.table & 2047)

    def size(self, dims: "Dimensions") -> int:
        """Bytes of the whole table; TableError when no table can be so long."""
        fields = self.fields
        if _sized[0] is not fields or _sized[1] is not dims:
            try:
                _sized[2] = _size(fields, 0, len(fields), dims)
            except TableError as error:
                raise TableError("%s: %s" % (self.name, error)) from None
            _sized[0], _sized[1] = fields, dims
        return int(_sized[2])

    def decode(self, data: "bytes | bytearray", dims: "Dimensions", names: "Sequence[str]" = ()) -> "Table":
        """The named top-level fields, or all. Single fields that this meter lacks are missing from the
        answer, arrays are empty. `data` holds the table from its start; what follows is ignored.
        Too short, or with a value that can't be: TableError."""
        needed = self.size(dims)
        if len(data) < needed:
            raise TableError("%s has %d bytes, its dimensions ask for %d" % (self.name, len(data), needed))
        wanted = [_string(name) for name in names]
        return _decode(self.fields, 0, len(self.fields), memoryview(data), dims, wanted)

    def reads(
        self, dims: "Dimensions", limit: int, names: "Sequence[str]" = (), gap: int = 0
    ) -> "list[tuple[int, int]]":
        """Partial reads, (offset, count), that fetch the named top-level fields, or all.

        No read is longer than `limit` (0: any), except for a value that is itself longer; no read
        ends within a value, nor within a record that fits one read: what the meter counts together
        comes in one answer. Fields at most `gap` bytes apart share a read.
        """
        plan: list[tuple[int, int]] = []
        start = end = -1
        self.size(dims)
        wanted = [_string(name) for name in names]
        for offset, count in _pieces(self.fields, 0, len(self.fields), dims, 0, limit, wanted):
            if start >= 0 and offset - end <= gap and (not limit or offset + count - start <= limit):
                end = offset + count
                continue
            if start >= 0:
                plan.append((start, end - start))
            start, end = offset, offset + count
        if start >= 0:
            plan.append((start, end - start))
        return plan


def _pieces(
    fields: bytes, here: int, end: int, dims: "Dimensions", at: int, limit: int, names: "Sequence[bytes]"
) -> "Iterator[tuple[int, int]]":
    """(offset, count) of what must not be torn: records that fit `limit`, else what they are made of."""
    field = _Field(fields, dims)
    missing = len(names) or -1
    while here < end and missing:
        field.read(here)
        here = field.end
        count, each = field.count, field.each
        if not _is_named(fields, field.name, names):
            at += count * each
            continue
        missing -= 1
        if BYTES <= field.kind <= TEXT:
            if count:
                yield at, count
        else:
            for i in range(count):
                if field.kind == _RECORD and limit and each > limit:
                    yield from _pieces(fields, field.inner, field.end, dims, at + i * each, limit, ())
                elif each:
                    yield at + i * each, each
        at += count * each
