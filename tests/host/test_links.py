"""Serial and TCP links: bytes both ways, and what happens when the line goes away or never was there."""

import asyncio
import grp
import os
import pty
import socket
import termios
import tty
from pathlib import Path

import pytest

from gateway.drivers.link import Link
from gateway.errors import ConfigurationError, LinkError
from gateway.host import serial_link
from gateway.host.links import Port, parse_port
from tests.brokers import free_port


class Adapter:
    """A USB adapter: a pseudo-terminal behind a stable name, as udev's /dev/serial/by-id gives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master = -1
        self.plug()

    def plug(self) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path.symlink_to(os.ttyname(slave))
        os.close(slave)

    def pull(self) -> None:
        self.path.unlink()
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self.master >= 0:
            self.pull()


@pytest.fixture
def adapter(tmp_path: Path):
    made = Adapter(tmp_path / "usb-adapter")
    yield made
    made.close()


async def read_exactly(link: Link, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await link.read()
    return data


EVERY_BYTE = bytes(range(256)) * 3


async def test_every_byte_passes_a_serial_line_both_ways(adapter: Adapter):
    link = await Port(path=str(adapter.path)).open(9600)
    await link.write(EVERY_BYTE)
    assert os.read(adapter.master, 4096) == EVERY_BYTE
    os.write(adapter.master, EVERY_BYTE)
    assert await read_exactly(link, len(EVERY_BYTE)) == EVERY_BYTE
    await link.close()


async def test_a_cancelled_read_loses_nothing(adapter: Adapter):
    link = await Port(path=str(adapter.path)).open()
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    os.write(adapter.master, b"abc")
    reading.cancel()
    await asyncio.wait([reading])
    assert await read_exactly(link, 3) == b"abc"
    await link.close()


async def test_a_pulled_adapter_is_noticed_at_once_and_opens_again_when_plugged_in(adapter: Adapter):
    link = await Port(path=str(adapter.path)).open()
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    adapter.pull()
    with pytest.raises(LinkError, match="went away.*plug it in again"):
        await reading
    with pytest.raises(LinkError, match="went away"):
        await link.write(b"x")
    with pytest.raises(LinkError, match="went away"):
        link.set_baud(19200)
    await link.close()
    with pytest.raises(LinkError, match="no such port"):
        await Port(path=str(adapter.path)).open()
    adapter.plug()
    link = await Port(path=str(adapter.path)).open()
    os.write(adapter.master, b"back")
    assert await read_exactly(link, 4) == b"back"
    await link.close()


async def test_an_adapter_pulled_while_writing(adapter: Adapter):
    link = await Port(path=str(adapter.path)).open()
    writing = asyncio.create_task(link.write(bytes(100_000)))  # more than the system's buffers take
    await asyncio.sleep(0)
    adapter.pull()
    with pytest.raises(LinkError, match="went away"):
        await writing
    await link.close()


async def test_the_rate_of_the_line_changes(adapter: Adapter):
    link = await Port(path=str(adapter.path)).open(9600)
    link.set_baud(19200)
    assert termios.tcgetattr(adapter.master)[4] == termios.B19200
    await link.close()


async def test_a_port_in_use_names_who_has_it(adapter: Adapter):
    link = await Port(path=str(adapter.path)).open()
    with pytest.raises(LinkError, match=rf"in use by .*\(process {os.getpid()}\)"):
        await Port(path=str(adapter.path)).open()
    await link.close()
    await (await Port(path=str(adapter.path)).open()).close()


async def test_a_missing_port_lists_those_that_exist(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serial_link, "existing_ports", lambda: ["/dev/ttyUSB7 (FT232R)"])
    with pytest.raises(LinkError, match=r"no such port. Ports of this machine: /dev/ttyUSB7 \(FT232R\)"):
        await Port(path="/dev/ttyNONE").open()
    monkeypatch.setattr(serial_link, "existing_ports", list)
    with pytest.raises(LinkError, match="no serial port at all"):
        await Port(path="/dev/ttyNONE").open()


async def test_no_rights_names_the_group(adapter: Adapter, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise serial_link.serial.SerialException(13, "could not open port")

    monkeypatch.setattr(serial_link.serial, "Serial", refuse)
    group = os.stat(adapter.path).st_gid
    with pytest.raises(LinkError, match=f"no rights.*{grp.getgrgid(group).gr_name}"):
        await Port(path=str(adapter.path)).open()


async def test_what_is_no_serial_port(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path, Path("/dev/null")):
        with pytest.raises(LinkError, match=f"can't open the serial port {path}: it is no serial port"):
            await Port(path=str(path)).open()


async def tcp_pair() -> tuple[Link, asyncio.StreamReader, asyncio.StreamWriter, asyncio.Server]:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda r, w: accepted.put_nowait((r, w)), "127.0.0.1", 0)
    link = await Port(host="127.0.0.1", number=server.sockets[0].getsockname()[1]).open()
    reader, writer = await accepted.get()
    return link, reader, writer, server


async def test_every_byte_passes_tcp_both_ways():
    link, reader, writer, server = await tcp_pair()
    async with server:
        await link.write(EVERY_BYTE)
        assert await reader.readexactly(len(EVERY_BYTE)) == EVERY_BYTE
        writer.write(EVERY_BYTE)
        assert await read_exactly(link, len(EVERY_BYTE)) == EVERY_BYTE
        link.set_baud(19200)  # without effect
        await link.close()
        assert await reader.read() == b""
        writer.close()


async def test_a_flood_does_not_fill_memory_and_loses_nothing():
    link, _, writer, server = await tcp_pair()
    flood = os.urandom(3_000_000)
    async with server:
        writer.write(flood)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(link._received) < 1_000_000
        assert await read_exactly(link, len(flood)) == flood
        await link.close()
        writer.close()


async def test_a_closed_connection_is_told_after_the_last_bytes():
    link, _, writer, server = await tcp_pair()
    async with server:
        writer.write(b"last words")
        writer.close()
        await writer.wait_closed()
        assert await read_exactly(link, 10) == b"last words"
        with pytest.raises(LinkError, match=r"went away: the other side closed the connection"):
            await link.read()
        await link.close()
        await link.close()


async def test_nobody_listens_and_no_such_name():
    port = free_port()
    with pytest.raises(LinkError, match=rf"tcp://127\.0\.0\.1:{port}: connection refused.*simulate"):
        await Port(host="127.0.0.1", number=port).open()
    with pytest.raises(LinkError, match=r"nowhere\.invalid was not found"):
        await Port(host="nowhere.invalid", number=1).open()


async def test_no_answer_to_the_connection_attempt(monkeypatch: pytest.MonkeyPatch):
    # A listener whose queue is full drops further attempts.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        monkeypatch.setattr("gateway.host.tcp_link._CONNECT_MS", 200)
        fillers = []
        with pytest.raises(LinkError, match="no answer within"):
            for _ in range(5):
                fillers.append(await Port(host=address[0], number=address[1]).open())
        for filler in fillers:
            await filler.close()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("/dev/ttyUSB0", "/dev/ttyUSB0"),
        ("tcp://meter.lan:4059", "tcp://meter.lan:4059"),
        ("tcp:127.0.0.1:1", "tcp://127.0.0.1:1"),
        ("tcp://[::1]:7", "tcp://[::1]:7"),
    ],
)
def test_ports_as_users_write_them(text: str, written: str):
    assert str(parse_port(text)) == written
    assert str(parse_port(str(parse_port(text)))) == written


@pytest.mark.parametrize(
    "text", ["", "ttyUSB0", "COM3", "pty", "tcp://", "tcp://:1", "tcp://h:0", "udp://h:1"]
)
def test_ports_that_are_none(text: str):
    with pytest.raises(ConfigurationError):
        parse_port(text)
