"""A Link over an asyncio transport: what serial lines and TCP connections have in common."""

from __future__ import annotations

import asyncio

from ..drivers.link import Link
from ..errors import LinkError

# More than any exchange of either port carries; a line that floods us is left to the kernel's buffers.
_RECEIVE_LIMIT = 65536


class StreamLink(Link, asyncio.Protocol):
    """Bytes in and out of one transport. `name` is what messages call the line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._ended = asyncio.Event()
        self._lost: str | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Without a buffer of its own the transport pauses us until the system has taken every byte.
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._arrived.set()
        if len(self._received) > _RECEIVE_LIMIT and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._lose("the other side closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(str(exc) if exc else "it was closed")
        self._ended.set()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        self._arrived.set()
        self._drained.set()

    # Link

    def gone(self) -> LinkError:
        """The error for a line that went away."""
        return LinkError(f"{self.name} went away: {self._lost}. {self.advice()}")

    def advice(self) -> str:
        """What a person can do when the line went away."""
        raise NotImplementedError

    async def read(self) -> bytes:
        while not self._received:
            if self._lost is not None:
                raise self.gone()
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._received)
        self._received.clear()
        if self._transport is not None and self._lost is None:
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        if self._lost is not None or self._transport is None:
            raise self.gone()
        self._transport.write(data)
        await self._drained.wait()
        if self._lost is not None:
            raise self.gone()

    async def close(self) -> None:
        self._lose("it was closed")
        if self._transport is not None:
            if not self._transport.is_closing():
                # Not close(): what is still unsent belongs to an exchange that nobody waits for.
                self._transport.abort()
            await self._ended.wait()
