"""Ports as users write them, and the links they open: /dev/ttyUSB0, tcp://host:port."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..drivers.link import Link
from ..errors import ConfigurationError
from .serial_link import open_serial
from .tcp_link import open_tcp

DEFAULT_BAUD = 9600  # MEP guide, chapter 2; ET13 holds the meter's rate


class Port:
    """A parsed port: a serial `path`, or a TCP `host` and `number`."""

    def __init__(self, path: str = "", host: str = "", number: int = 0) -> None:
        self.path = path
        self.host = host
        self.number = number

    def __str__(self) -> str:
        if self.path:
            return self.path
        return (
            f"tcp://[{self.host}]:{self.number}" if ":" in self.host else f"tcp://{self.host}:{self.number}"
        )

    async def open(self, baud: int = DEFAULT_BAUD) -> Link:
        """A new link; raises LinkError."""
        if self.path:
            return await open_serial(self.path, baud)
        return await open_tcp(self.host, self.number)


def parse_port(text: str) -> Port:
    """The port that `text` names; raises ConfigurationError."""
    forms = "write /dev/ttyUSB0 (or another serial port's path) or tcp://host:port"
    if text == "pty":
        raise ConfigurationError(
            "a pseudo-terminal is made by the meter's side: start `osgp-gateway simulate --listen pty` "
            "and give the path that it prints"
        )
    if text.startswith("/"):
        return Port(path=text)
    if text.startswith("tcp:"):
        host, number = split_address(text.removeprefix("tcp:").removeprefix("//"), f"the port {text!r}")
        if not number:
            raise ConfigurationError(f"the port {text!r} needs a number from 1 to 65535")
        return Port(host=host, number=number)
    if "://" in text:
        raise ConfigurationError(f"the port {text!r} is of no known kind: {forms}")
    raise ConfigurationError(
        f"the port {text!r} is neither a path that starts with / nor a tcp:// address: {forms}"
    )


def split_address(text: str, what: str) -> tuple[str, int]:
    """Host and port number of "host:port" or "[v6]:port"; raises ConfigurationError naming `what`."""
    try:
        parts = urlsplit(f"//{text}")
        host, number = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{what} can't be read: {error}") from None
    if not host or number is None or parts.path or parts.query or parts.username:
        raise ConfigurationError(f"{what} must be host:port, as in 127.0.0.1:4059")
    return host, number
