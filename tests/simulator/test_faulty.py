"""Bad lines: what they do to bytes, that the same seed does it again, and that the meter lives through it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway import clock
from gateway.errors import ConfigurationError, Expired, LinkError
from gateway.simulator.faulty import FaultyDirection, FaultyLine, LineFaults
from gateway.simulator.listen import pty_line, serve_tcp
from gateway.simulator.meter import VirtualMeter
from tests.faulty_lines import MeterLink, in_virtual_time
from tests.mep_probe import KEY, opened, read_message, request
from tests.patience import PATIENCE_S

DATA = bytes(range(256)) * 40
CERTAIN = 1_000_000


def carried(faults: LineFaults, data: bytes = DATA, share: int = len(DATA)) -> bytes:
    direction = FaultyDirection(faults, "test")
    parts = [data[at : at + share] for at in range(0, len(data), share)]
    return b"".join(piece.data for part in parts for piece in direction.carry(part, 0))


def test_shares() -> None:
    given = LineFaults.parse("corrupt=1%, lose=0.1%,late=0.02,seed=7")
    assert given == LineFaults(corrupt=10_000, lose=1_000, late=20_000, seed=7)
    assert LineFaults.parse("reset=0.0001%").reset == 1


@pytest.mark.parametrize(
    "text", ["", "corrupt", "corrupt=many", "bend=1%", "lose=101%", "lose=-1%", "seed=x"]
)
def test_wrong_shares(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--fault"):
        LineFaults.parse(text)


def test_a_good_line_carries_everything() -> None:
    assert carried(LineFaults()) == DATA


@pytest.mark.parametrize("share", [1, 16, 117, 1000])
def test_the_same_seed_does_the_same_whatever_the_pieces(share: int) -> None:
    faults = LineFaults.parse("corrupt=1%,lose=1%,double=1%,garbage=0.5%,seed=3")
    assert carried(faults, share=share) == carried(faults)
    assert carried(faults) != carried(LineFaults.parse("corrupt=1%,lose=1%,double=1%,garbage=0.5%,seed=4"))


def test_each_fault_does_what_it_says() -> None:
    corrupted = carried(LineFaults(corrupt=CERTAIN))
    assert len(corrupted) == len(DATA)
    assert all(sent != got for sent, got in zip(DATA, corrupted, strict=True))
    assert carried(LineFaults(lose=CERTAIN)) == b""
    assert carried(LineFaults(double=CERTAIN), b"abc") == b"aabbcc"
    burst = carried(LineFaults(garbage=CERTAIN), b"a")
    assert len(burst) > 1 and burst.endswith(b"a")
    late = FaultyDirection(LineFaults(late=CERTAIN), "test").carry(b"ab", 0)
    assert b"".join(piece.data for piece in late) == b"ab"
    assert all(piece.late_ms > 0 for piece in late)
    (reset,) = FaultyDirection(LineFaults(reset=CERTAIN), "test").carry(b"abc", 0)
    assert (reset.data, reset.reset) == (b"a", True)


def test_how_often() -> None:
    direction = FaultyDirection(LineFaults(corrupt=10_000, lose=1_000), "test")
    for _ in range(10):
        direction.carry(DATA, 0)
    assert 850 < direction.done["corrupt"] < 1200
    assert 60 < direction.done["lose"] < 150


def test_a_half_frame_ends_with_a_pause_or_an_answer() -> None:
    direction = FaultyDirection(LineFaults(half=CERTAIN), "test")
    assert [piece.data for piece in direction.carry(b"abc", 0)] == [b"a"]
    assert direction.carry(b"def", 19) == []
    assert [piece.data for piece in direction.carry(b"ghi", 39)] == [b"g"]
    direction.other_spoke()
    assert [piece.data for piece in direction.carry(b"jkl", 40)] == [b"j"]


async def test_late_bytes_keep_their_order() -> None:
    got = bytearray()
    line = FaultyLine(LineFaults(late=200_000), got.extend, got.extend, lambda: None)

    async def send() -> None:
        task = asyncio.create_task(line.run())
        for at in range(0, 500, 10):
            line.to_meter(DATA[at : at + 10])
        await clock.sleep_ms(200_000)
        task.cancel()

    await in_virtual_time(send())
    assert line.done["late"] > 50
    assert bytes(got) == DATA[:500]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.binary(max_size=60), max_size=10),
    st.lists(st.integers(0, 140_000), min_size=7, max_size=7),
)
@example(22459797, [b"\0", b"\0", b"\0\0"], [0, 57694, 140_000, 92049, 0, 108183, 140_000])
def test_any_faults_end(seed: int, parts: list[bytes], shares: list[int]) -> None:
    direction = FaultyDirection(LineFaults(*shares, seed), "test")
    for number, part in enumerate(parts):
        pieces = direction.carry(part, number * 7)
        assert sum(len(piece.data) for piece in pieces) <= 26 * len(part)
        assert all(piece.data for piece in pieces)


# In front of a meter.


async def persistent(link: MeterLink, meter: VirtualMeter, asked: bytes) -> bytes:
    """The response to a request that is repeated until a good one arrives."""
    for _ in range(200):
        frame = request(asked, meter.mep.sequence)
        got = bytearray()
        try:
            await link.write(frame)
            while True:
                try:
                    got += await clock.wait_for_ms(link.read(), 500)
                except Expired:
                    break
                for start in range(len(got)):
                    try:
                        message = opened(bytes(got[start:]), frame)
                    except AssertionError:
                        continue
                    if message[0] == 0:  # with a spoiled digest, a good request gets an 0B
                        return message
        except LinkError:
            await link.reopen()
        await clock.sleep_ms(300)
    raise AssertionError("no answer in 200 tries")


@pytest.mark.parametrize(
    "faults", ["corrupt=1%", "lose=1%", "double=1%", "late=2%", "garbage=2%", "half=2%", "reset=2%"]
)
async def test_a_read_gets_through_in_the_end(bad_line: Callable, faults: str) -> None:
    async def read() -> None:
        meter = VirtualMeter(KEY, firmware="3.10")
        link = await bad_line(meter, faults + ",seed=5")
        for _ in range(8):
            message = await persistent(link, meter, read_message(23, 0, 40))
            assert message[:3] == b"\0\0\x28"
        assert link.faults.total() > 0
        assert (link.resets > 0) == faults.startswith("reset")

    await in_virtual_time(read())


async def test_a_reset_ends_a_tcp_connection() -> None:
    meter = VirtualMeter(KEY)
    async with serve_tcp(meter, faults=LineFaults(reset=CERTAIN)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\0")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), PATIENCE_S)
        writer.close()


async def test_a_reset_puts_another_terminal_in_place(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    async with pty_line(VirtualMeter(KEY), link=link) as line:
        first = line.path
        line.reset()
        assert link.readlink() == Path(line.path or "")
        assert first is not None
