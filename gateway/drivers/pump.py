"""Drives a machine over a link: all waiting of a driver happens here, through gateway.clock.

One reader task for the link; one exchange at a time, which is up to the caller.
"""

import asyncio

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import Expired, GatewayError, LinkError, Refused
from . import events

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from .link import Link

    Event = tuple[int, Any]

    class Machine(Protocol):
        """See events.py."""

        @property
        def unfinished(self) -> bool: ...
        def begin(self, message: bytes) -> None: ...
        def output(self) -> bytes: ...
        def receive(self, data: bytes) -> list[Event]: ...
        def pause(self) -> None: ...
        def silence(self) -> Event | None: ...
        def abandon(self) -> None: ...


# What adapters, operating system and event loop add to every wait, in real milliseconds however time is
# scaled: 16 ms in a USB adapter's latency timer alone. Without it, a meter that takes all its time would
# never be heard.
_MARGIN_MS = const(50)
# Within a frame: the meter pauses 25 ms (MEP guide, "Response timing"), adapters and serial servers gather
# bytes. Only a frame that was cut off waits so long, so it is generous.
_GAP_MS = const(250)
# Before a reply, the line turns around.
_TURN_MS = const(1)
_GAP_BYTES = const(32)  # a UART's queue may gather that many before it tells
# A line that takes no bytes for so long is stuck.
_STALL_MS = const(5000)


class Pump:
    """`baud`: the line's rate; `response_ms`: the machine's time-out from a request's last byte to the
    answer's first two; `spacing_ms`: the least time between requests; `largest`: bytes of the largest
    frame; `on_alert`: called for every alert; `within_ms`: how long bytes of one frame may be apart.
    `exchanges`, `answers`, `retries`: see Meter.traffic.
    """

    def __init__(
        self,
        link: "Link",
        machine: "Machine",
        *,
        baud: int,
        response_ms: int,
        spacing_ms: int,
        largest: int,
        on_alert: "Callable[[], None]",
        within_ms: int = _GAP_MS,
    ) -> None:
        self._link = link
        self._machine = machine
        self._margin_ms = _MARGIN_MS * clock.scale()
        self._response_ms = response_ms + self._margin_ms
        self._spacing_ms = spacing_ms
        self._within_ms = within_ms
        self._largest = largest
        self._run_at(baud)
        self._stall_ms = _STALL_MS + self._margin_ms
        self._on_alert = on_alert
        self._reader: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._pending: list[Event] = []
        self._gone = ""
        self._idle = True
        now = clock.monotonic_ms()
        self._last_byte_at = now
        self._free_at = now
        self._answer_by = now
        self._give_up_at = now
        self._request_ms = 0  # what a sending takes
        self.exchanges = 0
        self.answers = 0
        self.retries = 0

    async def exchange(self, message: bytes) -> bytes:
        """The machine's answer to `message`; raises its error, or LinkError.

        May be cancelled at any time: what then still comes of the answer is not believed.
        """
        if self._reader is None:
            self._reader = asyncio.create_task(self._receive())
        self._machine.begin(message)
        self.exchanges += 1
        again = False
        self._idle = False
        event: Event = (events.SEND, None)
        try:
            while True:
                kind, value = event
                if kind == events.ANSWER:
                    self.answers += 1
                    return bytes(value)
                if kind == events.FAILED:
                    self.answers += isinstance(value, Refused)
                    raise value
                if kind == events.SEND:
                    self.retries += again
                    again = True
                    await self._settle()
                    await self._send()
                elif kind == events.IGNORED:
                    # A meter that is late answers every sending, and these are so far apart.
                    self._answer_by = clock.monotonic_ms() + self._response_ms + self._request_ms
                elif kind == events.REPLY:
                    await clock.sleep_ms(_TURN_MS)
                    await self._write(value)
                    self._answer_by = max(self._answer_by, clock.monotonic_ms() + self._response_ms)
                elif kind == events.TAKEN:
                    self._answer_by = clock.monotonic_ms() + value + self._margin_ms
                    self._give_up_at = self._answer_by + self._patience_ms
                event = await self._next()
        finally:
            self._machine.abandon()
            self._idle = True

    def traffic(self) -> "tuple[int, int, int]":
        return self.exchanges, self.answers, self.retries

    async def set_baud(self, rate: int) -> None:
        """Go on at another rate, between two exchanges; raises LinkError."""
        await self.flush()
        self._link.set_baud(rate)
        self._run_at(rate)

    def use(self, machine: "Machine") -> None:
        """Go on with another machine; between exchanges."""
        self._machine = machine

    async def flush(self) -> None:
        """Wait until what was sent last has left: who sets the rate or closes a link throws away the rest."""
        left = self._free_at - self._spacing_ms - clock.monotonic_ms()
        await clock.sleep_ms(max(left, 0) + self._margin_ms)

    async def close(self) -> None:
        """Close the link; never raises for a dead one."""
        self._lose("it was closed")
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        try:
            await self._link.close()
        except (GatewayError, OSError):
            pass

    def _run_at(self, baud: int) -> None:
        self._baud = baud
        self._gap_ms = self._within_ms + self._line_ms(_GAP_BYTES) + self._margin_ms
        # By then the answer is there, even behind a late one to an earlier request.
        self._patience_ms = 2 * (self._response_ms + self._line_ms(self._largest) + self._gap_ms)

    def _line_ms(self, count: int) -> int:
        """How long `count` bytes of 10 bits are on the line."""
        return count * 10000 // self._baud + 1

    async def _settle(self) -> None:
        """Wait until a request may be sent: the last one is long enough ago and the line is quiet."""
        wait = self._free_at - clock.monotonic_ms()
        if wait > 0:
            await clock.sleep_ms(wait)
        give_up_at = clock.monotonic_ms() + self._patience_ms
        while self._machine.unfinished and not self._gone:
            self._arrived.clear()
            until = min(self._last_byte_at + self._gap_ms, give_up_at)
            await self._wait(until)
            if not self._arrived.is_set() and until == min(self._last_byte_at + self._gap_ms, give_up_at):
                self._machine.pause()

    async def _send(self) -> None:
        self._pending.clear()
        frame = self._machine.output()
        self._request_ms = self._line_ms(len(frame)) + _TURN_MS
        sent_at = await self._write(frame)
        self._answer_by = sent_at + self._response_ms
        self._give_up_at = sent_at + self._patience_ms

    async def _write(self, frame: bytes) -> int:
        """Send it; gives the time at which the line has taken the last byte."""
        self._check()
        line_ms = self._line_ms(len(frame))
        writing = self._link.write(frame)
        try:
            if self._link.stalls:
                await clock.wait_for_ms(writing, line_ms + self._stall_ms)
            else:
                await writing  # a time-out takes a task
        except Expired:
            self._lose("it takes no bytes")
            self._check()
        except LinkError as error:
            self._lose(str(error))
            raise
        finally:
            sent_at = clock.monotonic_ms() + line_ms
            self._free_at = sent_at + self._spacing_ms
        return sent_at

    async def _next(self) -> "Event":
        """The machine's next event, for which it may have to be told that time is over."""
        while True:
            self._arrived.clear()
            if self._pending:
                return self._pending.pop(0)
            self._check()
            until = self._until()
            await self._wait(until)
            if not self._arrived.is_set() and until == self._until():
                event = self._machine.silence()
                if event is not None:
                    return event

    def _until(self) -> int:
        """When time is over, unless something arrives."""
        until = self._last_byte_at + self._gap_ms if self._machine.unfinished else self._answer_by
        return min(until, self._give_up_at)

    async def _wait(self, until: int) -> None:
        """Until something arrives or time is over."""
        wait = until - clock.monotonic_ms()
        if wait > 0:
            try:
                await clock.wait_for_ms(self._arrived.wait(), wait)
            except Expired:
                # What came while the whole program was held up is still to be read.
                await clock.sleep_ms(1)

    async def _receive(self) -> None:
        try:
            while True:
                data = await self._link.read()
                if not data:
                    raise LinkError("the line ended")
                now = clock.monotonic_ms()
                # During an exchange this is for _wait to tell: it does not take our own delay for the line's.
                if self._idle and now - self._last_byte_at > self._gap_ms:
                    self._machine.pause()
                self._last_byte_at = now
                unfinished = self._machine.unfinished
                for event in self._machine.receive(data):
                    if event[0] == events.ALERT:
                        self._on_alert()
                    else:
                        self._pending.append(event)
                # What goes on with a frame wakes nobody: its bytes come in many pieces, and each would cost a
                # board as much as the frame.
                if self._pending or self._machine.unfinished != unfinished:
                    self._arrived.set()
        except Exception as error:
            self._lose(str(error) if isinstance(error, LinkError) else "reading it failed: %r" % error)

    def _lose(self, reason: str) -> None:
        self._gone = self._gone or reason
        self._arrived.set()

    def _check(self) -> None:
        if self._gone:
            raise LinkError("the line to the meter is gone: %s" % self._gone)
