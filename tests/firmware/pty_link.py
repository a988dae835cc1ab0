"""A serial line or pseudo-terminal on the unix port, for exercises of a driver alone."""

import asyncio
import termios

from gateway._compat import TYPE_CHECKING, const
from gateway.drivers.link import Link
from gateway.errors import LinkError

if TYPE_CHECKING:
    from typing import Any

_BUFFER = const(512)  # more than the longest MEP frame
_VTIME = const(5)
_VMIN = const(6)
# Linux's codes for line rates (asm-generic/termbits.h).
RATES = {300: 7, 1200: 9, 2400: 11, 4800: 12, 9600: 13, 19200: 14, 38400: 15, 57600: 4097, 115200: 4098}


class PtyLink(Link):
    """The line at `path`, raw, 8 data bits; raises LinkError when it can't be opened."""

    def __init__(self, path: str, baud: int) -> None:
        self._path = path
        try:
            self._file: Any = open(path, "r+b")  # noqa: SIM115
        except OSError as error:
            raise LinkError(
                "can't open the line %s: %s; is the meter's side there, and may this user use it?"
                % (path, error)
            ) from None
        try:
            termios.setraw(self._file.fileno())  # type: ignore[attr-defined]
            self.set_baud(baud)
        except (OSError, LinkError):
            self._file.close()
            raise
        self._reader: Any = asyncio.StreamReader(self._file)  # type: ignore[arg-type]
        self._buffer = bytearray(_BUFFER)

    async def read(self) -> bytes:
        try:
            count = await self._reader.readinto(self._buffer)
        except OSError as error:
            raise self._gone(error) from None
        if not count:  # ready and empty: the other side hung up
            raise self._gone("end of file")
        return bytes(memoryview(self._buffer)[:count])

    async def write(self, data: bytes) -> None:
        try:
            self._reader.write(data)
            await self._reader.drain()
        except OSError as error:
            raise self._gone(error) from None

    def set_baud(self, rate: int) -> None:
        code = RATES.get(rate)
        if code is None:
            raise LinkError("the line %s can't run at %d baud" % (self._path, rate))
        fd = self._file.fileno()
        attributes: Any = termios.tcgetattr(fd)
        attributes[4] = attributes[5] = code
        # With anything but 0 here a read would block all other tasks until enough bytes came.
        attributes[6][_VMIN] = attributes[6][_VTIME] = 0
        termios.tcsetattr(fd, termios.TCSANOW, attributes)

    async def close(self) -> None:
        self._file.close()

    def _gone(self, why: object) -> LinkError:
        return LinkError("the line %s is gone (%s)" % (self._path, why))
