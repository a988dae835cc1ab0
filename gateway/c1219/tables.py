"""The meter's tables, decoded with its own dimensions, which are read once and dropped when they move."""

import struct

from .._compat import MICROPYTHON, TYPE_CHECKING, const
from ..errors import Refused, TableError
from .layout import Layout
from .layouts.registers import BT20, BT21, LIMITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from ..meter import Meter
    from .layout import Dimensions, Table

# What a meter answers about a table it lacks: "table operation not possible", and on some firmware
# "requested operation not possible" (MEP guide, tables 2.6 and 2.7).
_ABSENT = (4, 5)
# Read on its own, and often: the rest of ET04's layout is only loaded for who asks for it.
_ET04 = Layout(2052, ())
_IDT_VERSION = const(116)
# Reading over this many bytes costs less than another exchange (9600 baud, one request per 100 ms).
_GAP = const(48)
# Packed firmware versions (BT01.14).
_V1_20 = const(0x1280)
_V2_00 = const(0x2000)
_V3_50 = const(0x3640)
_TRIES = const(3)
# What is kept before a traced answer: table, bytes, offset.
_TRACE = "<HHI"
_TRACE_BYTES = const(8)


class Tables:
    """Decoded tables of one meter over one connection.

    Dimensions are read when the first table asks for them. They hold for one interface version
    (IDT, ET04.116), so work that uses them runs inside `steady`. `memo` keeps what readers derive from
    the dimensions and is dropped with them.
    """

    def __init__(self, meter: "Meter") -> None:
        self.meter = meter
        self.memo: dict[str, Any] = {}
        self._dims: Dimensions = {}
        self._version: int | None = None
        self._known = False
        self._resyncs: int | None = None
        self._generation = 0
        self._traced: bytearray | None = None
        self._at = 0

    def forget(self) -> None:
        """Drop dimensions and all that was derived from them."""
        self.memo = {}
        self._dims = {}
        self._known = False
        self._generation += 1

    if MICROPYTHON:

        def spare(self) -> None:
            """Drop what holds on to a reader that is about to be forgotten, and would stand in memory twice
            once it is imported again."""
            self.memo.pop("load_profile", None)

    else:

        def spare(self) -> None:
            """On a board: drop what holds on to a reader that is about to be forgotten."""

    async def get(self, layout: "Layout", *names: str) -> "Table":
        """The named fields of a table, or the whole: partial reads with exact counts, neighbours
        together, records never torn where they fit one answer.

        Raises Refused where the meter refuses (a table it lacks, too), TableError where what it
        answers can't be right, and what Meter.read raises.
        """
        dims = await self.dimensions(layout.needs)
        data = bytearray(layout.size(dims))
        for offset, count in layout.reads(dims, self.meter.max_read, names, _GAP):
            data[offset : offset + count] = await self.part(layout, offset, count)
        return layout.decode(data, dims, names)

    async def part(self, layout: "Layout", offset: int, count: int) -> bytes:
        """These bytes of a table as they are, for tables that no layout can hold whole."""
        traced = self._traced
        head = b""
        if traced is not None:
            head = struct.pack(_TRACE, layout.table, count, offset)
            at = self._at
            while at < len(traced):
                begin = at + _TRACE_BYTES
                at = begin + struct.unpack_from(_TRACE, traced, at)[1]
                if traced[begin - _TRACE_BYTES : begin] == head:
                    self._at = at
                    return bytes(traced[begin:at])
        part = await self.meter.read(layout.table, offset, count)
        if len(part) != count:
            raise TableError(
                "%s: asked for %d bytes at %d, the meter gave %d" % (layout.name, count, offset, len(part))
            )
        if traced is not None and self._at == len(traced):
            traced += head + part
            self._at = len(traced)
        return part

    def trace(self) -> None:
        """What is asked from here on is asked in this order each time: answers are kept, and the next time
        the meter is only asked what it has not answered."""
        self._traced = self.memo.setdefault("traced", bytearray())
        self._at = 0

    @property
    def traces(self) -> bool:
        return self._traced is not None

    def end_trace(self) -> None:
        """What was answered is still kept."""
        self._traced = None

    def untrace(self) -> None:
        self.memo.pop("traced", None)

    async def gather(self, layout: "Layout", what: int, offset: int, count: int) -> bytearray:
        """As `part`, of much data that does not change while it is `what` (a sequence number) that stands
        there. What came is kept until `release`: after an error the same question goes on from there."""
        memo = self.memo
        key = "gathered/%d" % layout.table
        begun = memo.get(key)
        if begun is None or begun[0] != (what, offset, count):
            begun = memo[key] = [(what, offset, count), bytearray(count), 0]
        data: bytearray = begun[1]
        while begun[2] < count:
            size = min(self.meter.max_read or count, count - begun[2])
            data[begun[2] : begun[2] + size] = await self.part(layout, offset + begun[2], size)
            begun[2] += size
        return data

    def release(self, layout: "Layout") -> None:
        """What was gathered of the table has been used."""
        self.memo.pop("gathered/%d" % layout.table, None)

    async def get_if_there(self, layout: "Layout", *names: str) -> "Table | None":
        """As `get`, None when the meter lacks the table."""
        table: Table | None = await self._if_there(self.get, layout, *names)
        return table

    async def part_if_there(self, layout: "Layout", offset: int, count: int) -> "bytes | None":
        """As `part`, None when the meter lacks the table."""
        raw: bytes | None = await self._if_there(self.part, layout, offset, count)
        return raw

    async def _if_there(self, ask: "Callable[..., Awaitable[Any]]", *arguments: "Any") -> "Any":
        """Asks twice before it believes that a table is not there, because one bad answer here changes what
        all others mean."""
        for _ in range(2):
            try:
                return await ask(*arguments)
            except Refused as refusal:
                if refusal.code not in _ABSENT:
                    raise
        return None

    async def steady(self, work: "Callable[[], Awaitable[Any]]") -> "Any":
        """What `work` gives, once it ran through on dimensions that did not move meanwhile.

        A MEP server that changes its dimensions jumps its sequence number, so as long as the driver's
        count of resynchronisations stands still nothing is asked; other ports are asked each time.
        """
        for _ in range(_TRIES):
            if not self._known:
                await self._check_version()
            generation = self._generation
            try:
                result = await work()
            except (Refused, TableError):
                # Offsets by old dimensions may lie beyond the table, or on other data.
                await self._check_version()
                if generation == self._generation:
                    raise
                continue
            await self._check_version()
            if generation == self._generation:
                return result
        raise TableError("the meter's table dimensions (ET04.116) changed during each of %d reads" % _TRIES)

    async def dimensions(self, needs: "Sequence[str]") -> "Dimensions":
        """The dimensions with these groups loaded: "registers", "firmware", "step_thresholds",
        "calendar", "data_sets" (of load profiles), "devices", "requests" (on demand)."""
        for need in needs:
            if need not in self._dims:
                # Bound to the dictionary of this moment: a concurrent `forget` must not be undone.
                dims = self._dims
                dims.update(await getattr(self, "_load_" + need)())
                if dims is not self._dims:
                    raise TableError("the meter's table dimensions changed while they were read")
        return self._dims

    async def _check_version(self) -> None:
        resyncs = self.meter.resyncs
        if self._known and resyncs is not None and resyncs == self._resyncs:
            return
        try:
            version = (await self.part(_ET04, _IDT_VERSION, 1))[0]
        except Refused as refusal:
            if refusal.code not in _ABSENT:
                raise
            version = None
        if self._known and version != self._version:
            self.forget()
        self._version = version
        self._resyncs = resyncs
        self._known = True

    async def _load_registers(self) -> "Dimensions":
        table = await self.get_if_there(BT21)
        name = "BT21"
        if table is None:  # firmware 2.0 and 2.1
            table = await self.get(BT20)
            name = "BT20"
        for dimension, limit in LIMITS:
            if table[dimension] > limit:
                raise TableError(
                    "%s claims %d %s, at most %d are believed: not read further"
                    % (name, table[dimension], dimension.replace("_", " "), limit)
                )
        table["demand_flag_bytes"] = (table["demands"] + 7) // 8
        table["demand_times"] = table["occurrences"] if table["date_time"] else 0
        table["registers"] = 1
        return table

    async def _load_firmware(self) -> "Dimensions":
        from .layouts.general import BT01

        raw = (await self.get(BT01, "firmware"))["firmware"]
        return {"firmware": raw[0] << 8 | raw[1]}

    async def _load_calendar(self) -> "Dimensions":
        from .layouts.calendar import BT50

        table = await self.get(BT50)
        table["calendar"] = 1
        return table

    async def _load_data_sets(self) -> "Dimensions":
        firmware = (await self.dimensions(("firmware",)))["firmware"]
        # 3.50; Control Point and OSGP modules number their firmware from 1 on, and have them from 1.20.
        if firmware >= _V3_50 or _V1_20 <= firmware < _V2_00:
            from .layouts.profile import BT61, DATA_SET, FIRST_DATA_SET

            for count in (4, 3, 2):
                at = FIRST_DATA_SET + DATA_SET * (count - 1)
                if await self.part_if_there(BT61, at, DATA_SET) is not None:
                    return {"data_sets": count}
        return {"data_sets": 1}

    async def _load_step_thresholds(self) -> "Dimensions":
        table = await self.get_if_there(BT20, "tiers")
        tiers = table["tiers"] if table else (await self.dimensions(("registers",)))["tiers"]
        if not 1 <= tiers <= 8:
            raise TableError("BT20 claims %d tiers, 1 to 8 are believed" % tiers)
        return {"step_thresholds": tiers - 1}

    async def _load_requests(self) -> "Dimensions":
        """`requests` that ET15 holds, and an entry's bytes beyond what the guide lays out."""
        from .layouts.extended import ET11

        table = await self.get(ET11, "request_queue_size", "request_entry_size")
        count, size = table["request_queue_size"], table["request_entry_size"]
        # 5 and 6 in the guide; the queue's pointers have 4 bits.
        if count > 16 or not 6 <= size <= 64:
            raise TableError("ET11 claims %d on-demand requests of %d bytes" % (count, size))
        return {"requests": count, "request_rest": size - 6}

    async def _load_devices(self) -> "Dimensions":
        """`devices` slots for M-Bus and MEP devices, and a slot's bytes beyond what the guide lays out."""
        from .layouts.extended import ET11

        table = await self.get(ET11, "devices", "config_entry_size", "status_entry_size", "data_entry_size")
        sizes = (table["config_entry_size"], table["status_entry_size"], table["data_entry_size"])
        if not table["devices"]:
            sizes = (28, 36, 8)  # of entries that do not exist
        # 66, 36 and 517 in the guide; MEP devices have 8 bytes of configuration and flags at least.
        if table["devices"] > 16 or sizes[0] < 28 or sizes[1] < 36 or not 8 <= sizes[2] <= 4096:
            raise TableError(
                "ET11 claims %d devices with entries of %d, %d and %d bytes" % ((table["devices"],) + sizes)
            )
        return {
            "devices": table["devices"],
            "config_rest": sizes[0] - 28,
            "status_rest": sizes[1] - 36,
            "data_size": sizes[2],
        }
