"""The line to the meter: a UART, with the pins that switch its port and the converter's supply."""

import asyncio

from machine import UART, Pin

from gateway._compat import TYPE_CHECKING, const
from gateway.clock import sleep_ms
from gateway.drivers.link import Link
from gateway.errors import LinkError

if TYPE_CHECKING:
    from typing import Any

    from board_profile import Profile

# More than the longest MEP frame; a frame that is sent goes there as a whole, and nobody waits for the wire.
_BUFFER = const(512)
_RECEIVED = const(1024)
# What a converter needs after its supply came on, and a meter after its port was enabled.
_SETTLE_MS = const(100)


class UartLink(Link):
    """Of a Line: one at a time, used once. A line whose far end is away is silent; the driver finds out."""

    stalls = False  # a frame fits into the UART's buffer

    def __init__(self, line: "Line", uart: "Any") -> None:
        self._uart = uart
        self._reader: Any = asyncio.StreamReader(uart)
        self._buffer = line.buffer

    async def read(self) -> bytes:
        while True:
            count = await self._reader.readinto(self._buffer)
            if count:
                return bytes(memoryview(self._buffer)[:count])

    async def write(self, data: bytes) -> None:
        self._reader.write(data)
        await self._reader.drain()

    def set_baud(self, rate: int) -> None:
        # What was written is on the wire before the rate changes (machine.UART.init of the ESP32).
        self._uart.init(baudrate=rate)

    async def close(self) -> None:
        """The port stays enabled: whoever opens the line next finds a meter that is awake."""


class Line:
    """Where the line's links come from. Touches no hardware before the first one."""

    def __init__(self, profile: "Profile") -> None:
        self.buffer = bytearray(_BUFFER)
        self._number = profile.uart
        self._pins = profile.pins
        self._uart: Any = None

    async def open(self, baud: int) -> UartLink:
        """Raises LinkError where the board has no such line."""
        pins = self._pins
        try:
            if self._uart is None:
                self._uart = UART(
                    self._number,
                    baudrate=baud,
                    tx=pins["tx"][0],
                    rx=pins["rx"][0],
                    txbuf=_BUFFER,
                    rxbuf=_RECEIVED,
                )
                for name in ("supply", "enable"):
                    if name in pins:
                        number, active = pins[name]
                        Pin(number, Pin.OUT, value=active)
                        await sleep_ms(_SETTLE_MS)
            else:
                self._uart.init(baudrate=baud)
        except (ValueError, OSError) as error:
            self._uart = None
            raise LinkError(
                "can't open UART %d (tx on GPIO %d, rx on GPIO %d): %s; are these the board's pins?"
                % (self._number, pins["tx"][0], pins["rx"][0], error)
            ) from None
        return UartLink(self, self._uart)
