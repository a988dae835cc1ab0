"""Table layouts and readers under a meter that says anything."""

import functools
import importlib
import pkgutil
import zlib
from collections.abc import Callable, Coroutine

import gateway.c1219.layouts
from gateway.c1219.alerts import Client
from gateway.c1219.layout import Layout
from gateway.c1219.on_demand import OnDemand
from gateway.c1219.tables import Tables
from gateway.core import cursors
from gateway.errors import GatewayError, NoAnswer, Refused
from gateway.meter import Meter
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import frames, model
from tests.fuzz.engine import Decoder

START_MS = 1_790_000_000_000
KEY = bytes(16)
DIMENSIONS = 24  # numbers of 2 bytes in front of a table's data
MOST_READS = 400
MOST_BYTES = 65536  # of one read: no table that is read whole is longer


class Dimensions(dict):
    """Any dimension that a layout asks for, out of the input."""

    def __init__(self, numbers: bytes) -> None:
        super().__init__()
        self.numbers = numbers + bytes(2 * DIMENSIONS)

    def __missing__(self, name: str) -> int:
        at = 2 * (zlib.crc32(name.encode()) % DIMENSIONS)
        return self.numbers[at] | self.numbers[at + 1] << 8


@functools.cache
def layouts() -> dict[str, Layout]:
    """Every declared table by its name."""
    found = {}
    for module in pkgutil.iter_modules(gateway.c1219.layouts.__path__):
        for value in vars(importlib.import_module(f"gateway.c1219.layouts.{module.name}")).values():
            if isinstance(value, Layout):
                found[value.name] = value
    return dict(sorted(found.items()))


def table_decoders() -> list[Decoder]:
    return [table_decoder(layout) for layout in layouts().values()]


def table_decoder(layout: Layout) -> Decoder:
    def decode(data: bytes) -> None:
        dims = Dimensions(data[: 2 * DIMENSIONS])
        content = data[2 * DIMENSIONS :]
        table = layout.decode(content, dims)
        assert table is not None
        assert layout.size(dims) <= len(content)
        layout.reads(dims, 117, (), 48)

    seeds = []
    for number in range(1, 5):
        dims = bytes((number, 0)) * DIMENSIONS
        size = layout.size(Dimensions(dims))
        if size < 2000:
            seeds += [dims + bytes(size), dims + bytes(range(256)) * 8]
    # A decoded table is Python objects: some 60 bytes for each of its bytes.
    sound = [seed for seed in seeds if decodes(decode, seed)]
    return Decoder(f"table {layout.name}", decode, sound, memory=1 << 20, longest=2500)


def decodes(decode: Callable[[bytes], None], data: bytes) -> bool:
    try:
        decode(data)
    except GatewayError:
        return False
    return True


class Told(Meter):
    """A meter with what segments say: table (2), offset (3), size (2), data; zeros elsewhere."""

    max_read = 465

    def __init__(self, told: bytes) -> None:
        self.resyncs = None
        self.reads = 0
        self.tables: dict[int, list[tuple[int, bytes]]] = {}
        while len(told) >= 7:
            size = int.from_bytes(told[5:7], "big")
            part = int.from_bytes(told[2:5], "big"), told[7 : 7 + size]
            self.tables.setdefault(int.from_bytes(told[:2], "big"), []).append(part)
            told = told[7 + size :]

    async def read(self, table: int, offset: int | None = None, count: int | None = None) -> bytes:
        self.reads += 1
        if self.reads > MOST_READS:
            raise NoAnswer("asked too often")
        if table not in self.tables:
            raise Refused("no such table", 5, table)
        if offset is None:
            return b"".join(part for _, part in self.tables[table])
        assert count is not None and 0 < count <= MOST_BYTES, (table, offset, count)
        data = bytearray(count)
        for at, part in self.tables[table]:
            first, last = max(at, offset), min(at + len(part), offset + count)
            if first < last:
                data[first - offset : last - offset] = part[first - at : last - at]
        return bytes(data)

    async def write(self, table: int, data: bytes, offset: int | None = None) -> None:
        if table == 7:
            raise Refused("no procedures", 3, table)


class Heard(Meter):
    """The virtual meter; notes as segments what it says."""

    max_read = 465

    def __init__(self, meter: VirtualMeter) -> None:
        self.resyncs = None
        self.meter = meter
        self.told: dict[tuple[int, int], bytes] = {}
        self.pinned: dict[tuple[int, int], bytes] = {}

    async def write(self, table: int, data: bytes, offset: int | None = None) -> None:
        raise Refused("not now", 3, table)

    async def read(self, table: int, offset: int | None = None, count: int | None = None) -> bytes:
        try:
            if offset is None or count is None:
                offset, data = 0, self.meter.image.read(table)
            else:
                data = self.meter.image.read_part(table, offset, count)[1]
        except KeyError:
            raise Refused("no such table", 5, table) from None
        data = self.pinned.get((table, offset), data + bytes((count or 0) - len(data)))
        self.told[(table, offset)] = data
        return data

    def segments(self) -> bytes:
        return b"".join(segment(table, offset, data) for (table, offset), data in self.told.items())


def now(coroutine: Coroutine) -> object:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("a reader waits for something that is not the meter")


def sent(items: list) -> None:
    """What core does with a reader's items."""
    for part in frames.split(items):
        assert len(frames.encode(bytes(16), 0, 0, part)) <= frames.MAX_FRAME


def reader_decoders() -> list[Decoder]:
    found = []
    for kind in (model.IDENTITY, model.CLOCK, model.REGISTERS, model.PRESENT):
        read = plain(kind)
        found.append(
            Decoder(
                f"reader {model.KIND_NAMES[kind]}",
                plain_feed(read),
                plain_seeds(read),
                longest=6000,
                memory=1 << 21,
            )
        )
    for kind in cursors.KINDS:
        read = cursors.reader(kind)[0]
        name = f"reader {model.KIND_NAMES[kind]}"
        found.append(Decoder(name, step_feed(read), step_seeds(read), longest=14000, memory=1 << 22))
    found.append(Decoder("mep client", mep_client, mep_client_seeds(), longest=6000, memory=1 << 21))
    return found


def mep_client(data: bytes) -> None:
    """Registration, what an alert tells, and on-demand requests; no procedure is allowed."""
    client, on_demand = Client(200), OnDemand(3600)
    tables = Tables(Told(data))
    now(client.prepare(tables))
    for _ in range(2):
        sent(list(now(client.serve(tables))[0]))
        now(on_demand.ask(tables))
        on_demand._asked_s = dict.fromkeys(on_demand._asked_s, 0)


def mep_client_seeds() -> list[bytes]:
    seeds = []
    for meter in meters():
        for flags in (0, 0x0B):
            heard = Heard(meter)
            # Registered already, watching power, alerting.
            heard.pinned = {(2098, 30): bytes((flags,)), (2061, 272): b"\x1b"}
            tables = Tables(heard)
            client = Client(200)
            now(client.prepare(tables))
            now(client.serve(tables))
            now(OnDemand(3600).ask(tables))
            seeds.append(heard.segments())
            watching = b"\x08\0\xc8\0" + bytes(9) + b"\x09\0\xc8\0" + bytes(9) + bytes(104)
            seeds.append(seeds[-1] + segment(2119, 0, watching))
    return seeds


def segment(table: int, offset: int, data: bytes) -> bytes:
    return table.to_bytes(2, "big") + offset.to_bytes(3, "big") + len(data).to_bytes(2, "big") + data


def plain(kind: int) -> Callable:
    names = {
        model.IDENTITY: "identity",
        model.CLOCK: "clock",
        model.REGISTERS: "registers",
        model.PRESENT: "present",
    }
    return importlib.import_module(f"gateway.c1219.readers.{names[kind]}").read


def plain_feed(read: Callable) -> Callable[[bytes], None]:
    return lambda data: sent(now(read(Tables(Told(data)))))


def plain_seeds(read: Callable) -> list[bytes]:
    seeds = []
    for meter in meters():
        heard = Heard(meter)
        now(read(Tables(heard)))
        seeds.append(heard.segments())
    return seeds


def step_feed(read: Callable) -> Callable[[bytes], None]:
    """A cursor behind its length (255: none), then the segments; up to three steps."""

    def feed(data: bytes) -> None:
        size = data[0] if data else 255
        cursor = None if size == 255 else data[1 : 1 + size]
        tables = Tables(Told(data[1 if size == 255 else 1 + size :]))
        for _ in range(3):
            step = now(read(tables, cursor))
            sent(step.items)
            assert len(step.cursor) < 256
            cursor = step.cursor
            if not step.more:
                break

    return feed


def step_seeds(read: Callable) -> list[bytes]:
    seeds = []
    for meter in meters():
        cursor = None
        for _ in range(3):
            heard = Heard(meter)
            step = now(read(Tables(heard), cursor))
            begin = b"\xff" if cursor is None else bytes((len(cursor),)) + cursor
            seed = begin + heard.segments()
            if len(seed) < 14000:
                seeds.append(seed)
            cursor = step.cursor
    return seeds


@functools.cache
def meters() -> list[VirtualMeter]:
    """Of three generations, after a day in which much happened."""
    return [
        VirtualMeter(
            KEY, firmware=firmware, start_ms=START_MS, history_days=1, life="busy", monotonic=lambda: 0
        )
        for firmware in ("2.10", "3.80", "4.30")
    ]
