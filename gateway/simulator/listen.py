"""Where the virtual meter's line ends: a TCP port or a pseudo terminal.

A real line has one far end. A second TCP client takes the line over: the first is disconnected.
"""

import asyncio
import errno
import os
import termios
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from .channels import Channel
from .faulty import LineFaults
from .meter import VirtualMeter
from .port import Port

_READ_BYTES = 4096


class _TcpClient(asyncio.Protocol):
    def __init__(self, server: "TcpLine") -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.took_over(transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is self._server.current:
            self._server.port.arrived(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.left(self._transport)


class TcpLine:
    """A listening socket in front of the meter. While it is pulled, clients are turned away at once."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.number = 0
        self.current: asyncio.Transport | None = None
        self._pulled = False

    def plug(self) -> None:
        self._pulled = False

    def unplug(self) -> None:
        self._pulled = True
        if self.current is not None:
            self.current.abort()

    def reset(self) -> None:
        """Break the connection; the client may connect again at once."""
        if self.current is not None:
            self.current.abort()

    def took_over(self, transport: asyncio.Transport) -> None:
        if self._pulled:
            transport.abort()
            return
        if self.current is not None:
            self.current.abort()
        self.current = transport
        self.port.plug(transport.write)

    def left(self, transport: asyncio.Transport | None) -> None:
        if transport is self.current:
            self.current = None
            self.port.unplug()


@asynccontextmanager
async def tcp_line(
    meter: VirtualMeter | Channel,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    paced: bool = False,
    faults: LineFaults | None = None,
    speed: int = 1,
) -> AsyncIterator[TcpLine]:
    """Serve the meter on TCP, on a line that the caller may unplug and plug again; port 0 is any free one."""

    def reset() -> None:
        line.reset()

    served = Port(_channel(meter), paced, faults, reset, speed)
    line = TcpLine(served)
    listener = await asyncio.get_running_loop().create_server(lambda: _TcpClient(line), host, port)
    line.number = listener.sockets[0].getsockname()[1]
    task = asyncio.create_task(served.run())
    try:
        yield line
    finally:
        listener.close()
        line.unplug()
        await _end(task)


@asynccontextmanager
async def serve_tcp(
    meter: VirtualMeter | Channel,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    paced: bool = False,
    faults: LineFaults | None = None,
    speed: int = 1,
) -> AsyncIterator[int]:
    """Serve the meter on TCP; gives the port number."""
    async with tcp_line(meter, host=host, port=port, paced=paced, faults=faults, speed=speed) as line:
        yield line.number


class PtyLine:
    """A pseudo terminal that can be pulled and plugged in again like a USB adapter.

    `path` is the terminal to open, or None while it is pulled. With `link`, a symbolic link of that name
    leads to it as long as it is there.
    """

    def __init__(self, port: Port, link: Path | None) -> None:
        self._port = port
        self._link = link
        self._master = -1
        self._slave = -1
        self.path: str | None = None

    def plug(self) -> None:
        if self.path is not None:
            return
        # The far end stays open here too, so that the line survives a client that closes and comes back.
        self._master, self._slave = os.openpty()
        _make_raw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.path)
        self._port.plug(self._write)
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def unplug(self) -> None:
        if self.path is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        self._port.unplug()
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self.path = None

    def reset(self) -> None:
        """Take the terminal away and put another one in its place. Without a link to lead there, no one would
        find it: then nothing happens."""
        if self._link is not None:
            self.unplug()
            self.plug()

    def _readable(self) -> None:
        with suppress(BlockingIOError):
            self._port.arrived(os.read(self._master, _READ_BYTES))

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._master, data)
        except OSError as error:
            # No one reads and the buffer is full: a wire does not wait either.
            if error.errno != errno.EAGAIN:
                raise


def _make_raw(terminal: int) -> None:
    """No echo, no line editing; a read returns what is there at once, for clients that poll."""
    tty.setraw(terminal)
    attributes = termios.tcgetattr(terminal)
    attributes[6][termios.VMIN] = 0
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


@asynccontextmanager
async def pty_line(
    meter: VirtualMeter | Channel,
    *,
    link: Path | None = None,
    paced: bool = False,
    faults: LineFaults | None = None,
    speed: int = 1,
) -> AsyncIterator[PtyLine]:
    """Serve the meter on a pseudo terminal that the caller may unplug and plug again."""

    def reset() -> None:
        line.reset()

    port = Port(_channel(meter), paced, faults, reset, speed)
    line = PtyLine(port, link)
    line.plug()
    task = asyncio.create_task(port.run())
    try:
        yield line
    finally:
        line.unplug()
        await _end(task)


@asynccontextmanager
async def serve_pty(
    meter: VirtualMeter | Channel,
    *,
    link: Path | None = None,
    paced: bool = False,
    faults: LineFaults | None = None,
    speed: int = 1,
) -> AsyncIterator[str]:
    """Serve the meter on a pseudo terminal; gives the path to open."""
    async with pty_line(meter, link=link, paced=paced, faults=faults, speed=speed) as line:
        assert line.path is not None
        yield str(link) if link is not None else line.path


def _channel(meter: VirtualMeter | Channel) -> Channel:
    """A port of a meter; of a whole meter, the first MEP client's."""
    return meter.ports[0] if isinstance(meter, VirtualMeter) else meter


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
