"""Circular logs: BT74, ET79, ET45, ET74 and ET81 have one form (MEP guide, chapter 4, ET36): a header that
says how many entries are valid, where the newest is and its sequence number, and an array of entries.

A log moves while it is read. What was read is proven by the header read again behind it: entries whose
places were written meanwhile are not believed.
"""

import binascii

from .._compat import TYPE_CHECKING, const
from ..errors import TableError
from .layouts.logs import ET36, ET36_COUNT

if TYPE_CHECKING:
    from .layout import Layout
    from .tables import Tables

_MAX_ENTRIES = const(8192)
_MAX_LOGS = const(16)  # the guide has 7
MARK_SIZE = const(10)


class Ring:
    """A log of `count` entries of `size` bytes behind the header that `layout` declares.

    A mark (MARK_SIZE bytes) is how a cursor remembers an entry: its place, its sequence number and a
    checksum over its first `probe` bytes.
    """

    def __init__(self, tables: "Tables", layout: "Layout", count: int, size: int, probe: int) -> None:
        if count > _MAX_ENTRIES:
            raise TableError(
                "%s claims %d entries, at most %d are believed" % (layout.name, count, _MAX_ENTRIES)
            )
        self._tables = tables
        self._layout = layout
        self.name = layout.name
        self.count = count
        self.size = size
        self._probe = probe
        self._start = layout.size({})
        # Of the header's fields only the sequence number of the event logs has 4 bytes.
        self._mask = 0xFFFFFFFF if self._start == 11 else 0xFFFF

    async def head(self) -> "tuple[int, int, int]":
        """(valid entries, place of the newest, its sequence number), from one answer."""
        table = await self._tables.get(self._layout)
        valid, last = table["valid"], table["last"]
        if valid > self.count or (valid and last >= self.count):
            raise TableError(
                "%s claims %d valid entries, the last at %d, of %d" % (self.name, valid, last, self.count)
            )
        return valid, last, table["sequence"]

    async def read(self, place: int, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on in the entry at `place`, or beyond it in those that follow."""
        at = self._start + place * self.size + offset
        return await self._tables.part(self._layout, at, count)

    def mark(self, place: int, sequence: int, entry: bytes) -> bytes:
        check = binascii.crc32(entry[: self._probe]) & 0xFFFFFFFF
        return place.to_bytes(2, "little") + sequence.to_bytes(4, "little") + check.to_bytes(4, "little")

    def ends_with(self, head: "tuple[int, int, int]", mark: bytes) -> bool:
        """Whether the header says that the marked entry is the newest; proof where numbers are never used
        twice, and saves a look at it."""
        valid, last, number = head
        place = int.from_bytes(mark[:2], "little") if mark else -1
        return valid > 0 and last == place and number & self._mask == mark_sequence(mark)

    async def unread(self, head: "tuple[int, int, int]", mark: bytes) -> "tuple[int, int, bool]":
        """(place of the first entry behind the marked one, how many there are, True); where the marked
        entry is not in its place any more, all entries from the oldest on, and False."""
        valid, last, _ = head
        if not valid:
            return 0, 0, False
        if mark:
            place = int.from_bytes(mark[:2], "little")
            if place < self.count and (last - place) % self.count < valid:
                entry = await self.read(place, 0, self._probe)
                if self.mark(place, 0, entry)[6:] == mark[6:]:
                    return (place + 1) % self.count, (last - place) % self.count, True
        return (last - valid + 1) % self.count, valid, False

    def written(self, before: "tuple[int, int, int]", after: "tuple[int, int, int]") -> "int | None":
        """How many places behind the newest entry of `before` were written until `after`; None when that
        can't be told: the log was cleared, or may have turned over completely."""
        if after == before:
            return 0
        if not self.count:
            return None
        moved = (after[2] - before[2]) & self._mask
        places = (after[1] - before[1]) % self.count
        if not moved or moved >= self.count or after[0] < before[0] or not places:
            return None
        return places

    def lost(self, place: int, head: "tuple[int, int, int]", written: int) -> bool:
        """Whether the entry at `place` is among the `written` places behind the newest of `head`."""
        return (place - head[1] - 1) % self.count < written


def mark_sequence(mark: bytes) -> int:
    return int.from_bytes(mark[2:6], "little")


async def extended_logs(tables: "Tables") -> "dict[int, tuple[int, int]]":
    """(entries configured, bytes of one) of each log that ET36 lists, by its table; empty without ET36."""
    memo = tables.memo
    known: dict[int, tuple[int, int]] | None = memo.get("extended_logs")
    if known is not None:
        return known
    logs: dict[int, tuple[int, int]] = {}
    count = await tables.get_if_there(ET36_COUNT)
    if count:
        dims = {"logs": count["logs"]}
        if dims["logs"] > _MAX_LOGS:
            raise TableError("ET36 claims %d logs, at most %d are believed" % (dims["logs"], _MAX_LOGS))
        data = await tables.part(ET36, 0, ET36.size(dims))
        for log in ET36.decode(data, dims)["dimensions"]:
            logs[log["table"]] = log["entries"], log["size"]
    memo["extended_logs"] = logs
    return logs
