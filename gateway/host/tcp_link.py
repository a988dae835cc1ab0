"""A serial port behind TCP: ser2net, an ESP32 bridge, or the virtual meter."""

from __future__ import annotations

import asyncio
import errno
import socket

from .. import clock
from ..errors import Expired, LinkError
from .stream_link import StreamLink

_CONNECT_MS = 10_000


class TcpLink(StreamLink):
    """A connected TCP stream; it has no baud rate of its own."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"the connection to tcp://{host}:{port}")

    def advice(self) -> str:
        return (
            "The serial server or virtual meter there ended, or lets in one client only; it is tried again."
        )


async def open_tcp(host: str, port: int) -> TcpLink:
    """Connect to `host`:`port`; raises LinkError with what came back."""
    link = TcpLink(host, port)
    loop = asyncio.get_running_loop()
    tried = f"can't connect to tcp://{host}:{port}: "
    try:
        transport, _ = await clock.wait_for_ms(loop.create_connection(lambda: link, host, port), _CONNECT_MS)
    except Expired:
        raise LinkError(
            tried + f"no answer within {_CONNECT_MS // 1000} s. Is {host} the right machine?"
        ) from None
    except socket.gaierror as error:
        raise LinkError(tried + f"the name {host} was not found ({error.strerror}).") from None
    except OSError as error:
        raise LinkError(tried + _came_back(error)) from None
    # A bridge that lost power says nothing: have the system ask.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return link


def _came_back(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError) or error.errno == errno.ECONNREFUSED:
        return "connection refused, nothing listens there. Is the serial server (or `simulate`) running?"
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "there is no route to it. Is this machine on the right network?"
    return f"{error.strerror or error}."
