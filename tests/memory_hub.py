"""A broker in memory for several clients: subscriptions with wildcards, retained messages, wills. Portable.

What it holds for clients that are away is nothing at all: it stands for a broker whose store is wiped.
"""

import asyncio

from gateway.core.broker import Broker
from gateway.errors import BrokerError


def matches(pattern, topic):
    levels = topic.split("/")
    for n, level in enumerate(pattern.split("/")):
        if level == "#":
            return True
        if n >= len(levels) or level not in ("+", levels[n]):
            return False
    return len(pattern.split("/")) == len(levels)


class Hub:
    """`published`: (client's name, topic, payload) of all that arrived. `away`: nobody can connect."""

    def __init__(self):
        self.clients = []
        self.published = []
        self.retained = {}
        self.away = False

    def client(self, name, will=None):
        client = HubClient(self, name, will)
        self.clients.append(client)
        return client

    def restart(self):
        """All connections are lost, and with them all that the broker held."""
        self.retained = {}
        for client in self.clients:
            client.lose()

    def publish(self, name, topic, payload, retain=False):
        self.published.append((name, topic, payload))
        if retain:
            self.retained[topic] = payload
        for client in self.clients:
            client.offer(topic, payload)

    def of(self, name):
        """(topic, payload) of all that a client published."""
        return [(topic, payload) for who, topic, payload in self.published if who == name]


class HubClient(Broker):
    def __init__(self, hub, name, will):
        self.hub = hub
        self.name = name
        self.will = will
        self.connections = 0
        self._subscribed = []
        self._inbox = []
        self._open = False
        self._news = asyncio.Event()

    async def connect(self):
        await asyncio.sleep(0)
        if self.hub.away:
            raise BrokerError("the broker is away")
        assert not self._open, "connected twice"
        self._open = True
        self.connections += 1
        self._subscribed = []
        self._inbox = []

    def lose(self):
        if self._open and self.will is not None:
            self.hub.publish(self.name, self.will[0], self.will[1], True)
        self._open = False
        self._news.set()

    def offer(self, topic, payload):
        if self._open and [one for one in self._subscribed if matches(one, topic)]:
            self._inbox.append((topic, payload))
            self._news.set()

    async def publish(self, topic, payload, retain=False):
        self._check()
        self.hub.publish(self.name, topic, payload, retain)
        await asyncio.sleep(0)
        self._check()

    async def subscribe(self, topic):
        self._check()
        await asyncio.sleep(0)
        self._subscribed.append(topic)
        for name, payload in self.hub.retained.items():
            if matches(topic, name):
                self.offer(name, payload)

    async def receive(self):
        while not self._inbox:
            self._check()
            self._news.clear()
            await self._news.wait()
        return self._inbox.pop(0)

    async def close(self):
        self._open = False
        self._news.set()

    def _check(self):
        if not self._open:
            raise BrokerError("the connection was lost")
