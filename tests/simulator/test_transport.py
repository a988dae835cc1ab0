"""The line: TCP and pseudo terminal, the rate of a real port, cables that are pulled."""

import asyncio
import os
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import clock
from gateway.simulator.listen import pty_line, serve_pty, serve_tcp, tcp_line
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.pacing import SEGMENT_BYTES, Piece, pieces, transmission_ms
from tests.mep_probe import KEY, opened, read_message, request, write_message
from tests.patience import PATIENCE_S


@pytest.fixture
def meter() -> VirtualMeter:
    return VirtualMeter(KEY, firmware="4.30")


@pytest.fixture
def fast_time() -> Iterator[None]:
    clock.set_scale(50)
    yield
    clock.set_scale(1)


async def exchange(
    meter: VirtualMeter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
) -> bytes:
    frame = request(message, meter.mep.sequence)
    writer.write(frame)
    length = await reader.readexactly(2)
    return opened(length + await reader.readexactly(int.from_bytes(length, "big")), frame)


async def hung_up(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), PATIENCE_S) == b""
    except ConnectionError:
        return True


class Terminal:
    """A client's end of a pseudo terminal."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.buffer = bytearray()
        self.more = asyncio.Event()
        self.gone = False
        asyncio.get_running_loop().add_reader(self.fd, self._readable)

    def _readable(self) -> None:
        data = os.read(self.fd, 4096)
        self.buffer += data
        if not data:
            self.gone = True
            asyncio.get_running_loop().remove_reader(self.fd)
        self.more.set()

    async def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), PATIENCE_S)
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def exchange(self, meter: VirtualMeter, message: bytes) -> bytes:
        frame = request(message, meter.mep.sequence)
        os.write(self.fd, frame)
        length = await self.take(2)
        return opened(length + await self.take(int.from_bytes(length, "big")), frame)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)


def test_time_on_the_line() -> None:
    assert transmission_ms(96, 9600) == 100
    assert transmission_ms(1, 9600) == 2
    assert transmission_ms(1, 300) == 34


def test_pieces_cover_the_response_with_a_pause_after_each_segment() -> None:
    assert pieces(11, 9600) == [Piece(12, 11)]
    plan = pieces(478, 9600)
    assert plan[-1] == Piece(transmission_ms(478, 9600) + 4 * 25, 478)
    ends = {piece.end: piece.due_ms for piece in plan}
    assert {SEGMENT_BYTES * n for n in (1, 2, 3, 4)} <= ends.keys()
    after = min(end for end in ends if end > SEGMENT_BYTES)
    assert ends[after] - ends[SEGMENT_BYTES] >= 25
    assert ends[SEGMENT_BYTES] == transmission_ms(SEGMENT_BYTES, 9600)
    assert sorted(ends) == list(ends) and sorted(ends.values()) == list(ends.values())
    assert pieces(SEGMENT_BYTES, 9600)[-1].due_ms == transmission_ms(SEGMENT_BYTES, 9600)


async def test_tcp(meter: VirtualMeter) -> None:
    async with serve_tcp(meter) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await exchange(meter, reader, writer, read_message(52)))[0] == 0
        assert len(await exchange(meter, reader, writer, read_message(23, 400, 284))) == 287
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await exchange(meter, reader, writer, read_message(52)))[0] == 0
        writer.close()
    assert meter.requests == 3


async def test_tcp_byte_by_byte(meter: VirtualMeter) -> None:
    async with serve_tcp(meter) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        meter.mep.gap_ms = 60_000  # a busy machine may hold up any byte
        frame = request(read_message(21), meter.mep.sequence)
        for byte in frame:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert opened(await reader.readexactly(23), frame)[:3] == b"\x00\x00\x0a"
        writer.close()


async def test_the_newest_client_has_the_line(meter: VirtualMeter) -> None:
    async with serve_tcp(meter) as port:
        first, first_writer = await asyncio.open_connection("127.0.0.1", port)
        await exchange(meter, first, first_writer, read_message(52))
        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        assert await hung_up(first)
        assert (await exchange(meter, second, second_writer, read_message(52)))[0] == 0
        second_writer.close()


async def test_a_request_cut_off_by_a_lost_client_harms_no_other(meter: VirtualMeter) -> None:
    async with serve_tcp(meter) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(read_message(52), 5)[:9])
        await writer.drain()
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await exchange(meter, reader, writer, read_message(52)))[0] == 0
        writer.close()


async def test_tcp_line_pulled_and_plugged(meter: VirtualMeter) -> None:
    async with tcp_line(meter) as line:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.number)
        await exchange(meter, reader, writer, read_message(52))
        line.unplug()
        assert await hung_up(reader)
        reader, _ = await asyncio.open_connection("127.0.0.1", line.number)
        assert await hung_up(reader)
        line.plug()
        reader, writer = await asyncio.open_connection("127.0.0.1", line.number)
        assert (await exchange(meter, reader, writer, read_message(52)))[0] == 0
        writer.close()


async def test_pty_survives_its_client(meter: VirtualMeter) -> None:
    async with serve_pty(meter) as path:
        for _ in range(3):
            client = Terminal(path)
            assert (await client.exchange(meter, read_message(28)))[:3] == b"\x00\x01\x50"
            client.close()
    assert not Path(path).exists()


async def test_pty_is_transparent(meter: VirtualMeter) -> None:
    """Control characters, carriage returns and XON/XOFF pass in both directions, and nothing is echoed."""
    payload = bytes(range(1, 30)) + b"\x7f\x11\x13\xff\x0d\x0a\x04"
    async with serve_pty(meter) as path:
        client = Terminal(path)
        assert tty.tcgetattr(client.fd)[3] & (termios.ECHO | termios.ICANON) == 0
        assert (await client.exchange(meter, write_message(2050 + 48, 0, b"\x00" * 30)))[0] == 0
        frame = request(write_message(2098, 0, payload[:30]), meter.mep.sequence)
        os.write(client.fd, frame)
        assert opened(await client.take(11), frame) == b"\x00"
        assert (await client.exchange(meter, read_message(2098, 0, 30)))[3:] == payload[:30]
        client.close()


async def test_adapter_pulled_and_plugged_again(meter: VirtualMeter, tmp_path: Path) -> None:
    link = tmp_path / "ttyUSB0"
    async with pty_line(meter, link=link) as line:
        client = Terminal(str(link))
        await client.exchange(meter, read_message(52))
        line.unplug()
        assert not link.is_symlink()
        while not client.gone:
            client.more.clear()
            await asyncio.wait_for(client.more.wait(), PATIENCE_S)
        os.close(client.fd)
        line.plug()
        client = Terminal(str(link))
        assert (await client.exchange(meter, read_message(52)))[0] == 0
        client.close()
    assert not link.is_symlink()


async def test_a_full_terminal_loses_bytes_like_a_wire(meter: VirtualMeter) -> None:
    """A client that never reads does not stop the meter."""
    async with serve_pty(meter) as path:
        client = Terminal(path)
        asyncio.get_running_loop().remove_reader(client.fd)
        for _ in range(12):
            os.write(client.fd, request(read_message(2101, 0, 465), meter.mep.sequence))
            before = meter.requests
            while meter.requests == before:
                await asyncio.sleep(0.001)
        termios.tcflush(client.fd, termios.TCIFLUSH)
        asyncio.get_running_loop().add_reader(client.fd, client._readable)
        assert (await client.exchange(meter, read_message(52)))[0] == 0
        client.close()


@pytest.mark.usefixtures("fast_time")
async def test_paced_line_takes_its_time(meter: VirtualMeter) -> None:
    """A request of 22 bytes and a response of 478 at 9600 baud: transmission, segment pauses, latency."""
    async with serve_tcp(meter, paced=True) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            began = clock.monotonic_ms()
            message = await exchange(meter, reader, writer, read_message(2101, 0, 465))
            assert len(message) == 468
            assert (
                clock.monotonic_ms() - began >= transmission_ms(22, 9600) + 20 + pieces(478, 9600)[-1].due_ms
            )
        writer.close()


@pytest.mark.usefixtures("fast_time")
async def test_paced_meter_answers_at_most_once_in_100_ms(meter: VirtualMeter) -> None:
    meter.set_baud(115200)
    async with serve_tcp(meter, paced=True) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = clock.monotonic_ms()
        for _ in range(6):
            await exchange(meter, reader, writer, read_message(52))
        assert clock.monotonic_ms() - began >= 5 * 100
        writer.close()


@pytest.mark.usefixtures("fast_time")
async def test_the_rate_follows_et13(meter: VirtualMeter) -> None:
    """The rate that a client writes to ET13 is in force after the response."""
    async with serve_tcp(meter, paced=True) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await exchange(meter, reader, writer, write_message(2061, 4 * 66 + 6, b"\x01"))
        assert meter.baud == 300
        began = clock.monotonic_ms()
        await exchange(meter, reader, writer, read_message(52))
        assert clock.monotonic_ms() - began >= transmission_ms(17 + 20, 300)
        writer.close()


@pytest.mark.usefixtures("fast_time")
async def test_alerts_reach_a_registered_client(meter: VirtualMeter) -> None:
    async with serve_tcp(meter) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await exchange(meter, reader, writer, write_message(2098, 30, b"\x01"))
        meter.raise_alert(0x08)
        assert await asyncio.wait_for(reader.readexactly(4), PATIENCE_S) == b"\0\0\0\0"
        meter.raise_alert(0)
        writer.close()
