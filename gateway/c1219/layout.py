"""One engine for all tables: resolves a declared layout with the meter's dimensions, and decodes.

A layout is a tuple of fields in the order of the guide; a field is a tuple of up to five:

    (name, kind, repeat, when, bits)

name    "" for reserved bytes, which nothing decodes
kind    a kind of types.py, or a tuple of fields: a record
repeat  None for one; a number or the name of a dimension for an array; for BYTES and TEXT the length
when    None for always; the name of a dimension that must not be 0; or the firmware version, packed as
        in BT01.14, from which on the field exists
bits    ((name, first bit, width), ...): the field is an integer of bit fields, decoded in its place

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


def _size_of(kind: "Any", dims: "Dimensions") -> int:
    if isinstance(kind, tuple):
        return size(kind, dims)
    return 1 if BYTES <= kind <= TEXT else kind & 15


def _shape(field: "tuple[Any, ...]", dims: "Dimensions") -> "tuple[int, int]":
    """(number of elements, bytes of one) of a field; (0, 0) when it is not there."""
    when = field[3] if len(field) > 3 else None
    repeat = field[2] if len(field) > 2 else None
    try:
        if when is not None and not (dims[when] if isinstance(when, str) else dims["firmware"] >= when):
            return 0, 0
        count = 1 if repeat is None else dims[repeat] if isinstance(repeat, str) else repeat
    except KeyError as missing:
        raise TableError(
            "field %s needs the dimension %s, which is not known" % (field[0], missing)
        ) from None
    if not 0 <= count <= _MAX_SIZE:
        raise TableError("field %s has the dimension %d" % (field[0], count))
    each = _size_of(field[1], dims)
    # Elements of an array without bytes say nothing, and any number of them would fit.
    return (count if each or repeat is None else 0), each


def size(fields: "Fields", dims: "Dimensions") -> int:
    """Bytes of the fields; TableError when the dimensions make it more than any table can be."""
    total = 0
    for field in fields:
        count, each = _shape(field, dims)
        total += count * each
        if total > _MAX_SIZE:
            raise TableError("dimensions that make field %s end beyond %d bytes" % (field[0], _MAX_SIZE))
    return total


def _element(kind: "Any", data: "bytes | memoryview", dims: "Dimensions") -> "Any":
    if isinstance(kind, tuple):
        return _decode(kind, data, dims, ())
    raw = bytes(data)
    if kind < 0x10:
        return unsigned(raw)
    if kind < BYTES:
        return signed(raw)
    if kind == TEXT:
        return text(raw)
    return raw


def _decode(
    fields: "Fields", data: "bytes | memoryview", dims: "Dimensions", names: "Sequence[str]"
) -> "Table":
    values: Table = {}
    at = 0
    for field in fields:
        count, each = _shape(field, dims)
        end = at + count * each
        name, kind = field[0], field[1]
        if name and (not names or name in names):
            if isinstance(kind, int) and BYTES <= kind <= TEXT:
                values[name] = _element(kind, data[at:end], dims)
            elif len(field) > 2 and field[2] is not None:
                values[name] = [
                    _element(kind, data[at + i * each : at + (i + 1) * each], dims) for i in range(count)
                ]
            elif count:
                whole = _element(kind, data[at:end], dims)
                if len(field) > 4:
                    for bit_name, first, width in field[4]:
                        values[bit_name] = whole >> first & (1 << width) - 1
                else:
                    values[name] = whole
        at = end
    return values


class Layout:
    """A declared table. `table`: its number, extended tables from 2048 on. `needs`: the groups of
    dimensions (Tables loads them) that resolve it."""

    def __init__(self, table: int, fields: "Fields", needs: "Sequence[str]" = ()) -> None:
        self.table = table
        self.fields = fields
        self.needs = needs

    @property
    def name(self) -> str:
        return "%s%02d" % ("ET" if self.table >= 2048 else "BT", self.table & 2047)

    def size(self, dims: "Dimensions") -> int:
        """Bytes of the whole table; TableError when no table can be so long."""
        try:
            return size(self.fields, dims)
        except TableError as error:
            raise TableError("%s: %s" % (self.name, error)) from None

    def decode(self, data: "bytes | bytearray", dims: "Dimensions", names: "Sequence[str]" = ()) -> "Table":
        """The named top-level fields, or all. Single fields that this meter lacks are missing from the
        answer, arrays are empty. `data` holds the table from its start; what follows is ignored.
        Too short, or with a value that can't be: TableError."""
        needed = self.size(dims)
        if len(data) < needed:
            raise TableError("%s has %d bytes, its dimensions ask for %d" % (self.name, len(data), needed))
        return _decode(self.fields, memoryview(data), dims, names)

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
        for offset, count in _pieces(self.fields, dims, 0, limit, names):
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
    fields: "Fields", dims: "Dimensions", at: int, limit: int, names: "Sequence[str]"
) -> "Iterator[tuple[int, int]]":
    """(offset, count) of what must not be torn: records that fit `limit`, else what they are made of."""
    for field in fields:
        count, each = _shape(field, dims)
        kind = field[1]
        if not field[0] or (names and field[0] not in names):
            pass
        elif isinstance(kind, int) and BYTES <= kind <= TEXT:
            if count:
                yield at, count
        else:
            for i in range(count):
                if isinstance(kind, tuple) and limit and each > limit:
                    yield from _pieces(kind, dims, at + i * each, limit, ())
                elif each:
                    yield at + i * each, each
        at += count * each
