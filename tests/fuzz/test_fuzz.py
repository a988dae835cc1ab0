"""The corpus of inputs that once found a fault, and a short share of `make fuzz`."""

import contextlib
import tracemalloc
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from tests.fuzz import engine
from tests.fuzz.decoders import decoders

CORPUS = sorted(Path(__file__).parent.glob("corpus/*/*.bin"))
SHARE = 100  # inputs of each decoder: some seconds in all


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_once_found_a_fault(path: Path) -> None:
    decoder = {name.replace(" ", "-"): one for name, one in decoders().items()}[path.parent.name]
    tracemalloc.start()
    try:
        with engine.bounds(None):
            engine.try_one(decoder, path.read_bytes(), True)
    finally:
        tracemalloc.stop()


def test_a_share_of_all_decoders() -> None:
    with engine.bounds(None):
        for decoder in decoders().values():
            for fault in engine.run(decoder, 1, 0, SHARE):
                raise fault


def test_seeds_get_far_into_the_decoder() -> None:
    """What mutation begins with: some of it is decoded, not refused."""
    for decoder in decoders().values():
        sound = 0
        for seed in decoder.seeds:
            assert len(seed) <= decoder.longest, decoder.name
            with contextlib.suppress(GatewayError):
                decoder.feed(seed)
                sound += 1
        assert sound, decoder.name


def test_the_engine_notices_every_sort_of_fault() -> None:
    def raises(data: bytes) -> None:
        if data[:1] == b"\xff":
            raise IndexError("index out of range")

    def hoards(data: bytes) -> bytes:
        return bytes(50_000 * len(data))

    def hangs(data: bytes) -> None:
        while b"\x80" in data:
            pass

    engine_seconds, engine.SECONDS = engine.SECONDS, 0.05
    try:
        for feed, what in ((raises, "IndexError"), (hoards, "bytes of memory"), (hangs, "takes longer")):
            decoder = engine.Decoder("one", feed, [b"abcdefgh" * 4], memory=100_000)
            with engine.bounds():
                faults = [
                    fault.what for _, fault in zip(range(1), engine.run(decoder, 1, 0, 1000), strict=False)
                ]
            assert faults and what in faults[0]
        claims = engine.Decoder("one", lambda data: bytes(engine.ROOF * 8), [b""])
        with engine.bounds(), pytest.raises(engine.Fault, match="takes all memory"):
            engine.try_one(claims, b"", False)
    finally:
        engine.SECONDS = engine_seconds


def test_inputs_follow_from_the_seed_alone() -> None:
    decoder = engine.Decoder("one", len, [b"abcdefgh" * 4])
    first = list(engine.inputs(decoder, 7, 0, 2 * engine.CHUNK))
    assert list(engine.inputs(decoder, 7, engine.CHUNK, engine.CHUNK)) == first[engine.CHUNK :]
    assert list(engine.inputs(decoder, 8, 0, engine.CHUNK)) != first[: engine.CHUNK]
    assert len(set(first)) > engine.CHUNK
