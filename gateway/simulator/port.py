"""The meter's side of the line: takes bytes from whatever is plugged in, paces what goes back."""

import asyncio
from collections.abc import Callable

from .. import clock
from ..errors import Expired
from .channels import Channel, OpticalChannel
from .faulty import FaultyLine, LineFaults
from .pacing import LATENCY_MS, transmission_ms

# Protocols end unfinished requests by pauses. In scaled time those are less than a scheduler holds up a
# process, so a few real milliseconds are always allowed.
_LEAST_REAL_MS = 5


class Port:
    """One port of the meter. A transport plugs itself in and calls `arrived`; one at a time, the newest
    counts. With `faults` the line to it is a bad one; `reset` breaks the connection. The line runs
    `speed` times as fast as it would; time-outs, which the client knows nothing of, do not."""

    def __init__(
        self,
        channel: Channel,
        paced: bool,
        faults: LineFaults | None = None,
        reset: Callable[[], None] = lambda: None,
        speed: int = 1,
    ) -> None:
        self._channel = channel
        self._paced = paced
        self._speed = speed
        channel.begin(paced, _LEAST_REAL_MS * clock.scale() if clock.scale() > 1 else 0)
        self._inbox = bytearray()
        self._signal = asyncio.Event()
        self._send: Callable[[bytes], None] | None = None
        self._not_before = self._line_ms()
        self.line = FaultyLine(faults, self._receive, self._transmit, reset) if faults else None
        if isinstance(channel, OpticalChannel):
            channel.overheard = self._out

    def plug(self, send: Callable[[bytes], None]) -> None:
        """From now on responses go to `send`; what an earlier transport left unfinished is forgotten."""
        self.unplug()
        self._send = send

    def unplug(self) -> None:
        self._send = None
        self._inbox.clear()
        if self.line is not None:
            self.line.forget()
        self._channel.line_lost()

    def arrived(self, data: bytes) -> None:
        if self.line is None:
            self._receive(data)
        else:
            self.line.to_meter(data)

    async def run(self) -> None:
        """Serve until cancelled."""
        if self.line is None:
            await self._serve()
        else:
            await asyncio.gather(self._serve(), self.line.run())

    async def _serve(self) -> None:
        while True:
            await self._wait()
            if self._inbox:
                await self._take()
            else:
                await self._give(self._channel.tick(clock.monotonic_ms()))

    async def _wait(self) -> None:
        """Until bytes are there or something is due."""
        self._signal.clear()
        if self._inbox:
            return
        # Alerts can come up at any time without a byte arriving, so someone has to look now and then.
        patience = self._channel.due_in_ms(clock.monotonic_ms())
        try:
            await clock.wait_for_ms(self._signal.wait(), 1000 if patience is None else max(1, patience))
        except Expired:
            return

    async def _take(self) -> None:
        data = bytes(self._inbox)
        self._inbox.clear()
        now = clock.monotonic_ms()
        if self._paced:
            arrival = transmission_ms(len(data), self._channel.baud) // self._speed
            await clock.sleep_ms(arrival)
            now += arrival
        baud = self._channel.baud
        await self._give(self._channel.receive(data, now), baud)

    async def _give(self, responses: list[bytes], baud: int | None = None) -> None:
        for response in responses:
            if not self._paced:
                self._out(response)
            elif baud is None:
                await self._send_paced(response, self._line_ms(), self._channel.baud)
            else:
                start = max(self._line_ms() + LATENCY_MS, self._not_before)
                self._not_before = start + self._channel.request_every_ms
                await self._send_paced(response, start, baud)
            self._channel.sent(response)

    async def _send_paced(self, response: bytes, start: int, baud: int) -> None:
        sent = 0
        for piece in self._channel.pieces(len(response), baud):
            await clock.sleep_ms((start + piece.due_ms - self._line_ms()) // self._speed)
            self._out(response[sent : piece.end])
            sent = piece.end

    def _line_ms(self) -> int:
        """The time by which the line's pace is measured."""
        return clock.monotonic_ms() * self._speed

    def _out(self, data: bytes) -> None:
        if self.line is None:
            self._transmit(data)
        else:
            self.line.to_client(data)

    def _receive(self, data: bytes) -> None:
        self._inbox += data
        self._signal.set()

    def _transmit(self, data: bytes) -> None:
        if self._send is not None and data:
            self._send(data)
