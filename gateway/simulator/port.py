"""The meter's side of the line: takes bytes from whatever is plugged in, paces what goes back."""

import asyncio
from collections.abc import Callable

from .. import clock
from ..errors import Expired
from .meter import VirtualMeter
from .pacing import LATENCY_MS, REQUEST_EVERY_MS, pieces, transmission_ms

# A pause as long as this ends an unfinished request. In scaled time that is less than a scheduler holds up a
# process, so a few real milliseconds are always allowed.
_GAP_MS = 50
_GAP_REAL_MS = 5
# With no line rate to go by, it is well below the client's response timeout of 500 ms.
_GAP_FAST_MS = 200


class Port:
    """One MEP port. A transport plugs itself in and calls `arrived`; one at a time, the newest counts."""

    def __init__(self, meter: VirtualMeter, paced: bool) -> None:
        self._meter = meter
        self._paced = paced
        meter.mep.gap_ms = max(_GAP_MS if paced else _GAP_FAST_MS, _GAP_REAL_MS * clock.scale())
        self._inbox = bytearray()
        self._signal = asyncio.Event()
        self._send: Callable[[bytes], None] | None = None
        self._not_before = clock.monotonic_ms()

    def plug(self, send: Callable[[bytes], None]) -> None:
        """From now on responses go to `send`; what an earlier transport left unfinished is forgotten."""
        self.unplug()
        self._send = send

    def unplug(self) -> None:
        self._send = None
        self._inbox.clear()
        self._meter.mep.line_lost()

    def arrived(self, data: bytes) -> None:
        self._inbox += data
        self._signal.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._wait()
            if self._inbox:
                await self._take()
            else:
                self._out(self._meter.alert(clock.monotonic_ms()))

    async def _wait(self) -> None:
        """Until bytes are there or an alert is due."""
        self._signal.clear()
        if self._inbox:
            return
        # Alerts can come up at any time without a byte arriving, so someone has to look now and then.
        patience = self._meter.alert_in_ms(clock.monotonic_ms())
        try:
            await clock.wait_for_ms(self._signal.wait(), 1000 if patience is None else max(1, patience))
        except Expired:
            return

    async def _take(self) -> None:
        data = bytes(self._inbox)
        self._inbox.clear()
        now = clock.monotonic_ms()
        if self._paced:
            arrival = transmission_ms(len(data), self._meter.baud)
            await clock.sleep_ms(arrival)
            now += arrival
        baud = self._meter.baud
        for response in self._meter.receive(data, now):
            if not self._paced:
                self._out(response)
                continue
            start = max(clock.monotonic_ms() + LATENCY_MS, self._not_before)
            self._not_before = start + REQUEST_EVERY_MS
            await self._send_paced(response, start, baud)

    async def _send_paced(self, response: bytes, start: int, baud: int) -> None:
        sent = 0
        for piece in pieces(len(response), baud):
            await clock.sleep_ms(start + piece.due_ms - clock.monotonic_ms())
            self._out(response[sent : piece.end])
            sent = piece.end

    def _out(self, data: bytes) -> None:
        if self._send is not None and data:
            self._send(data)
