"""The meter's memory: numbered tables of bytes, some kept, some computed at the moment they are read.

A table is numbered as in a request: basic tables BTnn from 0, extended tables ETnn from 2048.
"""

from collections.abc import Callable, Iterable

EXTENDED = 2048

# A part of a table that is too big to be built whole: offset and count, within its size.
Part = Callable[[int, int], bytes]

# What a write sets off; the new bytes are in place when it runs, and it says whether they were accepted.
AfterWrite = Callable[[bool], bool]


def et(number: int) -> int:
    """The table number of an extended table: et(3) is ET03."""
    return EXTENDED + number


def name_of(table: int) -> str:
    """The guide's name of a table: BT23, ET03."""
    return "ET%02d" % (table - EXTENDED) if table >= EXTENDED else "BT%02d" % table


class Image:
    def __init__(self) -> None:
        self._kept: dict[int, bytearray] = {}
        self._live: dict[int, Callable[[], bytes]] = {}
        self._parts: dict[int, tuple[int, Part]] = {}
        self._patches: dict[int, dict[int, bytes]] = {}
        self.after_write: dict[int, AfterWrite] = {}
        # The port whose request is being served (ET70.142): MEP client 1 or 2, or 0 for the optical port.
        self.channel = 1
        # Called before a table is looked at: whoever owns the meter's life brings it up to the moment.
        self.before_access: Callable[[], None] = lambda: None

    def keep(self, table: int, data: bytes) -> None:
        """`table` holds `data` until someone writes it."""
        self._forget(table)
        self._kept[table] = bytearray(data)

    def compute(self, table: int, build: Callable[[], bytes]) -> None:
        """`table` is what `build` gives at the moment of reading."""
        self._forget(table)
        self._live[table] = build

    def compute_parts(self, table: int, size: int, part: Part) -> None:
        """`table` has `size` bytes, of which `part` gives what is asked for."""
        self._forget(table)
        self._parts[table] = (size, part)

    def remove(self, table: int) -> None:
        """The meter has no such table (any more)."""
        self._forget(table)
        self._patches.pop(table, None)

    def _forget(self, table: int) -> None:
        for tables in (self._kept, self._live, self._parts):
            tables.pop(table, None)

    def patch(self, table: int, offset: int, data: bytes) -> None:
        """From now on `table` reads as if it held `data` at `offset`, whatever it computes."""
        self._patches.setdefault(table, {})[offset] = data

    def unpatch(self, table: int) -> None:
        """Take all patches off `table`."""
        self._patches.pop(table, None)

    def tables(self) -> Iterable[int]:
        return sorted(self._kept.keys() | self._live.keys() | self._parts.keys())

    def __contains__(self, table: int) -> bool:
        return table in self._kept or table in self._live or table in self._parts

    def read(self, table: int) -> bytes:
        """The whole table as it is now. Raises KeyError when there is none."""
        self.before_access()
        if table in self._parts:
            size, part = self._parts[table]
            data = bytearray(part(0, size))
        else:
            build = self._live.get(table)
            data = bytearray(build()) if build else bytearray(self._kept[table])
        for offset, patch in self._patches.get(table, {}).items():
            data[offset : offset + len(patch)] = patch
        return bytes(data)

    def read_part(self, table: int, offset: int, count: int) -> tuple[int, bytes]:
        """The size of the table, and its bytes from `offset` on: `count`, or fewer where it ends. Raises
        KeyError when there is none."""
        if table not in self._parts or table in self._patches:
            held = self.read(table)
            return len(held), held[offset : offset + count]
        self.before_access()
        size, part = self._parts[table]
        return size, part(offset, max(0, min(count, size - offset)))

    def write(self, table: int, offset: int, data: bytes) -> None:
        """Put `data` into a kept table; what lies beyond its end is dropped (table 2.7, "Length").

        Raises KeyError when the table is absent or computed.
        """
        held = self._kept[table]
        fits = data[: max(0, len(held) - offset)]
        held[offset : offset + len(fits)] = fits
