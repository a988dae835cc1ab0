"""A gateway's end of custody without a meter: real outbox in memory and custody machine, real MQTT client."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiomqtt

from gateway.core.custody import Sender
from gateway.core.memory_outbox import MemoryOutbox
from gateway.transmission import frames, topics
from gateway.transmission.custody import hop_key
from gateway.transmission.ids import row_id
from gateway.transmission.model import EVENT, PRESENT, Event, Reading, Timestamp, Value
from tests.patience import PATIENCE_S

PRESENT_CLASS = 3
EVENTS_CLASS = 0
# How long the cloud may be silent before it is asked again.
PATIENCE_SECONDS = 0.7


class TestSender:
    """`made`: the ids of all readings so far; `rewinds`: the times the cloud was found set back to."""

    __test__ = False

    def __init__(self, url: str, credential: bytes, meter: bytes) -> None:
        self.meter = meter
        self.made: list[bytes] = []
        self.rewinds: list[int] = []
        self.box = MemoryOutbox(8 << 20)
        self.box.on_append = lambda _cls: self._work.set()
        self.machine = Sender(
            self.box, hop_key(credential), os.urandom, lambda _meter, since: self.rewinds.append(since)
        )
        self._url = urlsplit(url)
        self._work = asyncio.Event()
        self._receipted = asyncio.Event()

    def make(self, count: int) -> None:
        for _ in range(count):
            number = len(self.made)
            reading = Reading(PRESENT, Timestamp(1_700_000_000 + number), [Value(0, number, -3, "kW")])
            entry = self.box.append(
                self.meter,
                PRESENT_CLASS,
                lambda epoch, sequence, one=reading: frames.encode(self.meter, epoch, sequence, [one]),
            )
            self.made.append(row_id(self.meter, entry.epoch, entry.cls, entry.sequence, 0))

    def make_event(self, sequence: int) -> None:
        event = Event(EVENT, Timestamp(1_700_000_000), 12, sequence, b"\x26\x01\x02\x03\x04\x05")
        self.box.append(
            self.meter, EVENTS_CLASS, lambda epoch, n: frames.encode(self.meter, epoch, n, [event])
        )

    def pending(self) -> int:
        return sum(
            last - first + 1
            for cls, epoch in self.box.streams(self.meter)
            for first, last in self.box.runs(self.meter, cls, epoch)
        )

    def receipted(self) -> set[bytes]:
        """The ids of the readings that this end believes to be stored."""
        waiting = {
            row_id(self.meter, epoch, cls, sequence, 0)
            for cls, epoch in self.box.streams(self.meter)
            for first, last in self.box.runs(self.meter, cls, epoch)
            for sequence in range(first, last + 1)
        }
        return set(self.made) - waiting

    async def settled(self, seconds: float = PATIENCE_S) -> None:
        """Returns once everything has its receipt."""
        async with asyncio.timeout(seconds):
            while self.pending() or not self.machine._meters[self.meter].settled:
                self._receipted.clear()
                await self._receipted.wait()

    async def check(self) -> None:
        self.machine.check()
        self._work.set()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                await self._connection()
            await asyncio.sleep(0.1)

    async def _connection(self) -> None:
        async with aiomqtt.Client(self._url.hostname, self._url.port, timeout=PATIENCE_S) as client:
            await client.subscribe(topics.custody(self.meter), qos=1)
            self.machine.connected()
            tasks = [asyncio.ensure_future(work) for work in (self._send(client), self._remind())]
            try:
                async for message in client.messages:
                    self.machine.receive(self.meter, message.payload)
                    self._work.set()
                    self._receipted.set()
            finally:
                self.machine.disconnected()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            self._work.clear()
            while message := self.machine.next():
                where = topics.topic(message.meter, topics.COMPACT, "there")
                await client.publish(
                    where if message.entry else topics.ask(message.meter), message.payload, qos=1
                )
            await self._work.wait()

    async def _remind(self) -> None:
        while True:
            forgotten = self.machine.forgotten
            await asyncio.sleep(PATIENCE_SECONDS)
            if self.machine.waiting and self.machine.forgotten == forgotten:
                self.machine.stalled()
                self._work.set()


@contextlib.asynccontextmanager
async def sending(url: str, credential: bytes, meter: bytes) -> AsyncIterator[TestSender]:
    sender = TestSender(url, credential, meter)
    running = asyncio.ensure_future(sender.run())
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
