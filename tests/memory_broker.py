"""A broker in memory with the real receiver behind it, behind the gateway's Broker interface. Portable.

It loses connections, acknowledgements and messages as a test tells it to.
"""

import asyncio
import os

from gateway import clock
from gateway.core.broker import Broker
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.receiver import Receiver
from gateway.errors import BrokerError, FrameError
from gateway.transmission import frames, topics
from gateway.transmission.sealing import key_id


def number(meter, frame):
    _, _, cls, epoch, sequence = frames.head(frame)
    return cls, epoch, sequence


class Cloud:
    """Takes frames and gives receipts for them; `stored` in order of arrival, doubles left out."""

    def __init__(self, key):
        self.outbox = MemoryOutbox(10000000)
        self.receiver = Receiver(
            self.outbox,
            lambda meter, name: key if name == key_id(key) else None,
            number,
            os.urandom,
            clock.utc_ms() // 1000,
        )
        self.stored = []
        self.taken = 0
        self.away = False

    def take(self, topic, payload):
        """(topic, payload) to publish in answer."""
        if self.away:
            return []
        if topic.specific == topics.COMPACT:
            self.taken += 1
            if payload not in self.stored:
                self.stored.append(payload)
            self.receiver.frame(topic.meter, payload)
        elif topic.specific == topics.ASK:
            self.receiver.ask(topic.meter, payload)
        else:
            return []
        receipts = self.receiver.finish(clock.utc_ms() // 1000)
        return [(topics.custody(meter), receipt) for meter, receipt in receipts]


class MemoryBroker(Broker):
    """`published`: (topic, payload, retain) that arrived. Switches: `refuses` (an error that connecting
    raises), `mute` (takes messages and acknowledges none), `lose_acks` and `lose_next` (of so many
    messages the acknowledgement, or the message, is lost with the connection), `forbids` (topics that nobody
    may subscribe to)."""

    def __init__(self, cloud=None):
        self.cloud = cloud
        self.published = []
        self.subscribed = []
        self.connections = 0
        self.open = False
        self.unacknowledged = 0
        self.most_unacknowledged = 0
        self.refuses = None
        self.forbids = ()
        self.mute = False
        self.lose_acks = 0
        self.lose_next = 0
        self._connected = False
        self._inbox = []
        self._news = asyncio.Event()

    async def connect(self):
        await asyncio.sleep(0)
        if self.refuses is not None:
            raise self.refuses
        assert not self.open, "connected twice"
        self.open = True
        self.connections += 1
        self.subscribed = []
        self._inbox = []
        self._connected = True

    def lose_connection(self):
        self._connected = False
        self._news.set()

    def deliver(self, topic, payload):
        """As from another client; only to who has subscribed."""
        if self._connected and topic in self.subscribed:
            self._inbox.append((topic, payload))
            self._news.set()

    async def publish(self, topic, payload, retain=False):
        self._check()
        if self.lose_next:
            self.lose_next -= 1
            self.lose_connection()
            self._check()
        self.published.append((topic, payload, retain))
        if self.cloud is not None:
            for answer in self._ask_cloud(topic, payload):
                self.deliver(*answer)
        self.unacknowledged += 1
        self.most_unacknowledged = max(self.most_unacknowledged, self.unacknowledged)
        try:
            await asyncio.sleep(0)
            if self.lose_acks:
                self.lose_acks -= 1
                self.lose_connection()
            while self.mute and self._connected:
                self._news.clear()
                await self._news.wait()
        finally:
            self.unacknowledged -= 1
        self._check()

    def _ask_cloud(self, topic, payload):
        try:
            return self.cloud.take(topics.parse(topic), payload)
        except FrameError:
            return []

    async def subscribe(self, topic):
        self._check()
        await asyncio.sleep(0)
        if topic in self.forbids:
            raise BrokerError("refused the subscription to " + topic)
        self.subscribed.append(topic)

    async def receive(self):
        while not self._inbox:
            self._check()
            self._news.clear()
            await self._news.wait()
        return self._inbox.pop(0)

    async def close(self):
        self.open = False
        self.lose_connection()

    def _check(self):
        if not self._connected:
            raise BrokerError("the connection was lost")

    def frames(self):
        return [payload for topic, payload, _ in self.published if topic.endswith(topics.COMPACT)]

    def statuses(self):
        return [
            payload for topic, payload, retain in self.published if topic.endswith(topics.STATUS) and retain
        ]
