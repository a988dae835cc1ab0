"""What has arrived and is not stored yet: bounded, and cut into batches.

A batch closes when an event is waiting, when it has so many messages or bytes, or a moment after its first
message: an event is stored at once, and what comes in bulk is stored in bulk. The bytes follow the work that
batches of late took, so that an event never waits long behind a batch, on a slow machine either.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from gateway.transmission import FrameError, frames, topics

from .decoding import MAX_PAYLOAD, Message

MAX_MESSAGES = 500
MOMENT_SECONDS = 0.05
# A batch is to be decoded and written, without the wait for the disk, within this.
WORK_SECONDS = 0.04
_LEAST_BYTES = 2 * 1024
_MOST_BYTES = 1024 * 1024
# What does not fit is not lost: the broker was not told that it came, and its sender has no receipt.
MAX_HELD_BYTES = 64 * 1024 * 1024
_OVERHEAD = 512  # bytes of a message beside its payload
_EVENTS_CLASS = 0


@dataclass(frozen=True)
class Arrived:
    """`number`: the broker's, to be acknowledged when it is stored; 0: nobody waits for that."""

    message: Message
    number: int


class Arrivals:
    """One connection's messages. `overflowed`: some were turned away; they come again on a new connection."""

    def __init__(self) -> None:
        self.overflowed = False
        self._urgent: deque[Arrived] = deque()
        self._bulk: deque[Arrived] = deque()
        self._held = 0  # bytes
        self._numbers: set[int] = set()
        self._news = asyncio.Event()
        self._closed = False
        self._bytes = 32 * 1024

    def __len__(self) -> int:
        return len(self._urgent) + len(self._bulk)

    def put(self, topic: str, payload: bytes, number: int) -> None:
        """`number`: 0 for messages that are not to be acknowledged. What is here already, said again by an
        impatient broker, is dropped."""
        if number and number in self._numbers:
            return
        message = Message(topic, payload[: MAX_PAYLOAD + 1], len(payload))
        size = _OVERHEAD + len(message.payload)
        if self._held + size > MAX_HELD_BYTES:
            self.overflowed = True
            return
        self._held += size
        if number:
            self._numbers.add(number)
        (self._urgent if _is_event(message) else self._bulk).append(Arrived(message, number))
        self._news.set()

    def close(self) -> None:
        """No more batches."""
        self._closed = True
        self._news.set()

    @property
    def closed(self) -> bool:
        return self._closed

    async def batch(self) -> list[Arrived]:
        """What is to be stored next, at least one message; nothing once closed."""
        while not len(self) and not self._closed:
            self._news.clear()
            await self._news.wait()
        loop = asyncio.get_running_loop()
        closes = loop.time() + MOMENT_SECONDS
        while not (self._closed or self._urgent or self._is_full()):
            self._news.clear()
            try:
                async with asyncio.timeout_at(closes):
                    await self._news.wait()
            except TimeoutError:
                break
        return [] if self._closed else self._cut()

    def stored(self, batch: list[Arrived], work_seconds: float) -> None:
        """The batch is off our hands; `work_seconds` that it took set the size of those to come."""
        size = 0
        for one in batch:
            size += _OVERHEAD + len(one.message.payload)
            self._numbers.discard(one.number)
        self._held -= size
        if work_seconds > WORK_SECONDS or size >= self._bytes // 2:
            factor = min(max(WORK_SECONDS / max(work_seconds, 1e-6), 0.25), 2.0)
            self._bytes = int(min(max(size * factor, _LEAST_BYTES), _MOST_BYTES))

    def _is_full(self) -> bool:
        return len(self._bulk) >= MAX_MESSAGES or self._held >= self._bytes

    def _cut(self) -> list[Arrived]:
        """Events first; but whoever floods us with events does not hold up all others."""
        batch: list[Arrived] = []
        size = 0
        for queue, share in ((self._urgent, 0.75), (self._bulk, 1.0), (self._urgent, 1.0)):
            while queue and len(batch) < share * MAX_MESSAGES and (size < share * self._bytes or not batch):
                one = queue.popleft()
                batch.append(one)
                size += _OVERHEAD + len(one.message.payload)
        return batch


def _is_event(message: Message) -> bool:
    if not message.topic.endswith("/" + topics.COMPACT):
        return False
    try:
        return frames.head(message.payload)[2] == _EVENTS_CLASS
    except FrameError:
        return False
