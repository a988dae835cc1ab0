"""Holds what a meter is asked to what the guide advises: no more than one read a second on average."""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import Refused
from ..meter import Meter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

# What a backfill leaves in the bucket, so that alarms and present values never wait for it.
_RESERVE_MS = const(120000)


class Bucket:
    """Tokens for reads: `per_hour` flow in evenly, those unused are kept for up to five minutes, so in
    no hour more than 13/12 of `per_hour` go out. One per meter, for longer than its connections.

    `used`: tokens since the start. `waited_ms`: how long reads had to wait for them.
    """

    def __init__(self, per_hour: int) -> None:
        self.used = 0
        self.waited_ms = 0
        self._cost_ms = 3600000 // per_hour
        self._most_ms = 300000
        self._credit_ms = self._most_ms
        self._at_ms = clock.monotonic_ms()

    def spare_in_ms(self) -> int:
        """How long until more than the reserve of urgent reads is there: two minutes' worth."""
        self._fill()
        missing: int = _RESERVE_MS - self._credit_ms
        return max(missing, 0)

    async def take(self) -> None:
        """Returns when a token may be spent; at once while there are any."""
        self._fill()
        self._credit_ms -= self._cost_ms
        self.used += 1
        if self._credit_ms < 0:
            self.waited_ms -= self._credit_ms
            await clock.sleep_ms(-self._credit_ms)

    def _fill(self) -> None:
        now = clock.monotonic_ms()
        self._credit_ms = min(self._credit_ms + max(now - self._at_ms, 0), self._most_ms)
        self._at_ms = now


class LinkBudget(Meter):
    """A meter whose reads and writes wait for their tokens: one for each message.

    `heard_ms`: when its last answer came (monotonic), refusals of a table included.
    `before_read`, when set: a coroutine function for what goes ahead of a message.
    """

    before_read: "Callable[[], Awaitable[None]] | None" = None

    def __init__(self, meter: Meter, bucket: Bucket) -> None:
        self.max_read = meter.max_read
        self.authenticated = meter.authenticated
        self.resyncs = meter.resyncs
        self.heard_ms: int | None = None
        self._meter = meter
        self._bucket = bucket
        meter.on_alert = self._alert

    def _alert(self) -> None:
        if self.on_alert is not None:
            self.on_alert()

    def read(
        self, table: int, offset: "int | None" = None, count: "int | None" = None
    ) -> "Coroutine[Any, Any, bytes]":
        """As Meter.read; between its messages others may go ahead."""
        if count and self.max_read and count > self.max_read:
            return self._parted(table, offset or 0, count)
        return self._read(table, offset, count)

    async def _parted(self, table: int, at: int, count: int) -> bytes:
        pieces = []
        while self.max_read and count > self.max_read:
            size = self.max_read
            pieces.append(await self._read(table, at, size))
            at += size
            count -= size
        pieces.append(await self._read(table, at, count))
        return b"".join(pieces)

    async def _read(self, table: int, offset: "int | None", count: "int | None") -> bytes:
        if self.before_read is not None:
            await self.before_read()
        await self._bucket.take()
        return await self._ask(self._meter.read(table, offset, count))  # type: ignore[no-any-return]

    async def write(self, table: int, data: bytes, offset: "int | None" = None) -> None:
        await self._bucket.take()
        await self._ask(self._meter.write(table, data, offset))

    async def _ask(self, exchange: "Awaitable[Any]") -> "Any":
        try:
            answer = await exchange
            self.heard_ms = clock.monotonic_ms()
            return answer
        except Refused:
            self.heard_ms = clock.monotonic_ms()
            raise
        finally:
            self.max_read = self._meter.max_read
            self.resyncs = self._meter.resyncs

    @property
    def security(self) -> str:  # type: ignore[override]
        return self._meter.security

    def traffic(self) -> "tuple[int, int, int]":
        return self._meter.traffic()

    async def release(self) -> None:
        await self._meter.release()

    async def close(self) -> None:
        await self._meter.close()
