"""Makes inputs for decoders, and judges what becomes of them.

An input must end in a result or in an error of ours, within its time and its memory. Inputs follow from
seed, decoder and number alone: whoever repeats a run, with however many processes, gets the same.
"""

import contextlib
import gc
import random
import resource
import signal
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence

from gateway.errors import GatewayError

CHUNK = 1000  # inputs with one generator
# Every input runs under this much address space more than the process had: a claim of gigabytes fails at
# once. What an input really allocates is traced for each of these many.
ROOF = 1 << 30
TRACE_EACH = 16
SECONDS = 5  # for one input

INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
WIDE = (
    b"\xff\xff",
    b"\x00\x00",
    b"\x7f\xff",
    b"\xff\x7f",
    b"\x80\x00",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
)


class Decoder:
    """`feed(data)` decodes one input; anything it raises but a GatewayError is a fault. `seeds`: sound inputs
    to begin with, as many and as different as there are. `tokens`: pieces of the format. `memory`: bytes
    that decoding one input may take at most. `longest`: bytes of an input."""

    def __init__(
        self,
        name: str,
        feed: Callable[[bytes], object],
        seeds: Sequence[bytes],
        *,
        tokens: Sequence[bytes] = (),
        memory: int = 1 << 20,
        longest: int = 1024,
    ) -> None:
        self.name = name
        self.feed = feed
        self.seeds = list(seeds) or [b""]
        self.tokens = [*tokens, *WIDE]
        self.memory = memory
        self.longest = longest


class Fault(Exception):
    """What an input did that no input may do."""

    def __init__(self, decoder: str, data: bytes, what: str) -> None:
        super().__init__(f"{decoder}: {what}, on {len(data)} bytes: {data[:64].hex()}")
        self.decoder = decoder
        self.data = data
        self.what = what


class _TooSlow(BaseException):
    pass


def inputs(decoder: Decoder, seed: int, start: int, count: int) -> Iterator[bytes]:
    """Inputs `start` to `start + count` of the decoder; `start` is a multiple of CHUNK."""
    chance = random.Random()
    for number in range(start, start + count):
        if number % CHUNK == 0:
            chance.seed(f"{seed}/{decoder.name}/{number}")
        yield _input(decoder, chance)


def _input(decoder: Decoder, chance: random.Random) -> bytes:
    drawn = chance.random()
    if drawn < 0.05:
        return chance.randbytes(chance.randrange(decoder.longest))
    if drawn < 0.10:
        return chance.randbytes(chance.randrange(24))
    if drawn < 0.15:
        return b"".join(chance.choices(decoder.tokens, k=chance.randrange(1, 12)))[: decoder.longest]
    data = bytearray(chance.choice(decoder.seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        _mutate(data, decoder, chance)
    return bytes(data[: decoder.longest])


def _mutate(data: bytearray, decoder: Decoder, chance: random.Random) -> None:
    size = len(data)
    # Heads say how the rest is read: they change more often.
    at = chance.randrange(min(size, 32) if chance.random() < 0.4 else size) if size else 0
    way = chance.randrange(10)
    if not size or way == 0:
        data[at:at] = chance.randbytes(chance.randrange(1, 9))
    elif way == 1:
        data[at] ^= 1 << chance.randrange(8)
    elif way == 2:
        data[at] = chance.choice(INTERESTING)
    elif way == 3:
        data[at] = chance.randrange(256)
    elif way == 4:
        wide = chance.choice(WIDE)
        data[at : at + len(wide)] = wide
    elif way == 5:
        del data[at : at + chance.choice((1, 1, 2, 4, 16, 64))]
    elif way == 6:
        end = at + chance.choice((1, 2, 4, 8, 32, 128))
        data[at:at] = data[at:end] * chance.choice((1, 1, 2, 8))
    elif way == 7:
        del data[at:]
    elif way == 8:
        token = chance.choice(decoder.tokens)
        data[at : at + (len(token) if chance.random() < 0.5 else 0)] = token
    else:
        other = chance.choice(decoder.seeds)
        data[at:] = other[chance.randrange(len(other) + 1) :]


def try_one(decoder: Decoder, data: bytes, traced: bool) -> None:
    """Raises Fault."""
    if traced:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
    try:
        decoder.feed(data)
    except GatewayError:
        pass
    except _TooSlow:
        raise Fault(decoder.name, data, f"takes longer than {SECONDS} s") from None
    except MemoryError:
        raise Fault(decoder.name, data, "takes all memory") from None
    except Exception as error:
        raise Fault(decoder.name, data, f"{type(error).__name__}: {error}") from error
    if traced:
        took = tracemalloc.get_traced_memory()[1] - before
        if took > decoder.memory:
            raise Fault(decoder.name, data, f"takes {took} bytes of memory, {decoder.memory} are allowed")


@contextlib.contextmanager
def bounds(roof: int | None = ROOF) -> Iterator[None]:
    """Within it no input can take much memory or time unnoticed. One process, main thread."""

    def ring(*_: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if roof is not None:
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + roof, limits[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def run(decoder: Decoder, seed: int, start: int, count: int) -> Iterator[Fault]:
    """Judges these inputs, within `bounds`."""
    # The traced ones together, because tracing costs several times the time even of what is not looked at.
    traced: list[bytes] = []
    for number, data in enumerate(inputs(decoder, seed, start, count)):
        if number % TRACE_EACH == 0:
            traced.append(data)
        else:
            yield from _judged(decoder, data, False)
    gc.collect()
    tracemalloc.start()
    try:
        for data in traced:
            yield from _judged(decoder, data, True)
    finally:
        tracemalloc.stop()


def _judged(decoder: Decoder, data: bytes, traced: bool) -> Iterator[Fault]:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        try_one(decoder, data, traced)
    except Fault as fault:
        found = fault
    else:
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    yield found


def name_of(data: bytes) -> str:
    """The name of an input's file in the corpus."""
    return f"{zlib.crc32(data):08x}.bin"
