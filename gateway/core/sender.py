"""Brings frames from the outbox to the broker and receipts back: one connection of the custody machine."""

import asyncio
import os
import random

from .. import clock
from .._compat import MICROPYTHON, TYPE_CHECKING, const
from ..errors import BrokerError, Expired, FrameError
from ..transmission import topics
from . import custody
from .tasks import Queue, TaskGroup

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .broker import Broker
    from .custody import Message
    from .outbox import Outbox
    from .supervisor import Worker

    Passing = tuple[str, bytes, Callable[[], None] | None, bool]  # topic, payload, taken, retained

# How long the receiver may owe an answer before it is asked again; doubles while it stays silent.
_PATIENCE_MS = const(10000)
_MOST_PATIENCE_MS = const(60000)
# How often a quiet receiver is asked where it stands.
_CHECK_MS = const(3600000)
# Between two messages on a status topic, at least; and how often is looked whether that is over.
_STATUS_MS = const(5000)
_HELD_BACK_MS = const(1000)
# Messages that may wait for the broker's acknowledgement at a time: each takes a task, and on a board memory
# that readings need.
_WINDOW = 2 if MICROPYTHON else 8
# Messages of no custody that may wait for a connection; the oldest go when there are more.
_PASSING = const(64)

_RIVALS = (
    "two receivers give receipts under one credential, and each is sent all of it again and again: let only "
    "one have it"
)


class Sender:
    """A supervised worker, for all meters and for as long as the gateway runs.

    `name`: the gateway's id, under which its topics stand, unless it is an `adapter` (of a concentrator).
    `key`: of the hop (gateway.transmission.custody.hop_key), None where the broker's acknowledgement is all
    the custody there is. `window`: how many messages may wait for that acknowledgement at a time.
    `on_rewind`: see custody.Sender. Status messages are best effort: the newest of each topic is published,
    retained, on each connection and when it changes. `own_status`: the topic of the gateway's own;
    `concentrator`: its id in topics, None for an adapter. `published` counts frames that the broker took;
    `passing` is what `pass_on` was given and waits.
    """

    def __init__(
        self,
        outbox: "Outbox",
        broker: "Broker",
        name: str,
        key: "bytes | None",
        window: int = _WINDOW,
        on_rewind: "Callable[[bytes, int], None] | None" = None,
        adapter: bool = False,
    ) -> None:
        self.custody = custody.Sender(outbox, key, os.urandom, on_rewind)
        self.published = 0
        self.connections = 0
        self.acknowledged_ms: int | None = None  # monotonic
        self.passing = Queue(_PASSING)
        self._receipts = key is not None
        self._outbox = outbox
        self._broker = broker
        self.concentrator = None if adapter else name
        self.own_status = topics.adapter_status(name) if adapter else topics.gateway_status(name)
        self._window = window
        self._on_the_way = 0
        self._connected = False
        self._subscribed: set[bytes] = set()
        self._statuses: dict[str, bytes] = {}
        self._stale: set[str] = set()  # topics whose status is not published on this connection
        self._shown_ms: dict[str, int] = {}  # monotonic
        self._rivals = False
        self._draining = False
        self._refused: dict[str, str] = {}  # why topics are not heard, on this connection
        self._takers: dict[str, Callable[[bytes], None]] = {}
        self._unheard: set[str] = set()  # topics not yet subscribed to on this connection
        self._lasting: list[Passing] = []  # on the way
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        outbox.on_append = self.appended

    def appended(self, cls: int) -> None:
        """The outbox has something new."""
        self._work.set()

    def set_status(self, meter: "bytes | None", payload: bytes) -> None:
        """Show `payload` as the status of a meter, or (None) of the gateway, from now on; published when
        there is a connection."""
        self.show(self.own_status if meter is None else self._topic(meter, topics.STATUS), payload)

    def show(self, topic: str, payload: bytes) -> None:
        """Have `payload` retained on `topic` from now on."""
        if self._statuses.get(topic) != payload:
            self._statuses[topic] = payload
            self._stale.add(topic)
            self._work.set()

    def pass_on(
        self, topic: str, payload: bytes, taken: "Callable[[], None] | None" = None, retain: bool = False
    ) -> None:
        """Publish a message once, best effort: it waits for a connection, and is lost with one. With `taken`,
        which is called when the broker has it, it is published again on the next connection instead."""
        self.passing.push((topic, payload, taken, retain))
        self._work.set()

    def listen(self, topic: str, take: "Callable[[bytes], None]") -> None:
        """Have `take` called with what arrives on `topic` (no wildcards), on each connection from now on.
        Where the broker grants no right to it, the worker's status says so, and the rest goes on."""
        if topic not in self._takers:
            self._unheard.add(topic)
            self._work.set()
        self._takers[topic] = take

    def status(self) -> "dict[str, Any]":
        """The broker's part of Gateway.status."""
        return {
            "connections": self.connections,
            "acknowledgedAtMs": self.acknowledged_ms,
            "published": self.published,
            "certificateMs": self._broker.certificate_ms,
        }

    def _topic(self, meter: bytes, specific: str) -> str:
        return topics.topic(meter, specific, self.concentrator)

    async def run(self, worker: "Worker") -> None:
        """One connection; what ends it is raised, for the supervisor to wait it out."""
        try:
            await self._broker.connect()
            self._connected = True
            self.connections += 1
            self._on_the_way = 0
            self._subscribed = set()
            self._stale = set(self._statuses)
            self._unheard = set(self._takers)
            self._refused = {}
            self.custody.connected()
            self._tell(worker)
            async with TaskGroup() as group:
                group.spawn(self._receive())
                group.spawn(self._send(group, worker))
                group.spawn(self._remind(worker))
        finally:
            self._connected = False
            for message in self._lasting:
                self.passing.push(message)
            self._lasting = []
            self._idle.set()
            self.custody.disconnected()
            await self._broker.close()

    async def drained(self) -> None:
        """Returns when nothing is left to send or to wait for, or there is no connection."""
        self._draining = True
        self._work.set()
        while self._connected and (
            self._stale or self._on_the_way or len(self.passing) or self._outbox.meters()
        ):
            self._idle.clear()
            await self._idle.wait()

    async def _send(self, group: TaskGroup, worker: "Worker") -> None:
        while True:
            self._work.clear()
            if self._unheard:
                await self._hear(self._unheard.pop(), worker)
            elif self._on_the_way >= self._window or not await self._start_one(group):
                await self._rest()

    async def _rest(self) -> None:
        """Until there may be something to do."""
        if not self._stale:
            await self._work.wait()
            return
        try:
            await clock.wait_for_ms(self._work.wait(), _HELD_BACK_MS)
        except Expired:
            pass

    async def _hear(self, topic: str, worker: "Worker") -> None:
        try:
            await self._broker.subscribe(topic)
        except BrokerError as error:
            # A lost connection is found out by who waits for messages; this may be a right that is missing.
            self._refused[topic] = str(error)
        else:
            if self._refused.pop(topic, None) is not None:
                # The broker was busy, or the right is there now: perhaps those of the others, too.
                self._unheard.update(self._refused)
        self._tell(worker)

    def _tell(self, worker: "Worker") -> None:
        """That the connection works, and what a person has to know all the same."""
        refused = self._refused[min(self._refused)] if self._refused else ""
        rivals = _RIVALS if self._rivals else ""
        text = "; ".join([one for one in (rivals, refused, self._broker.concern()) if one])
        if (worker.state, worker.reason) != ("working", text):
            worker.report("working", text, "warning" if text else "info")

    async def _start_one(self, group: TaskGroup) -> bool:
        """Begin to publish what comes next; False when there is nothing."""
        now = clock.monotonic_ms()
        for topic in self._stale:
            if self._draining or now - self._shown_ms.get(topic, -_STATUS_MS) >= _STATUS_MS:
                self._stale.remove(topic)
                self._shown_ms[topic] = now
                self._on_the_way += 1
                group.spawn(self._show(topic))
                return True
        if len(self.passing):
            message = await self.passing.get()
            if message[2] is not None:
                self._lasting.append(message)
            self._on_the_way += 1
            group.spawn(self._pass_on(message))
            return True
        frame = self.custody.next()
        if frame is None:
            return False
        if self._receipts and frame.meter not in self._subscribed:
            self._subscribed.add(frame.meter)
            await self._broker.subscribe(topics.custody(frame.meter))
        self._on_the_way += 1
        group.spawn(self._publish(frame))
        return True

    async def _show(self, topic: str) -> None:
        await self._pass(topic, self._statuses[topic], True)

    async def _pass_on(self, message: "Passing") -> None:
        topic, payload, taken, retain = message
        await self._pass(topic, payload, retain)
        if taken is not None:
            self._lasting.remove(message)
            taken()

    async def _pass(self, topic: str, payload: bytes, retain: bool = False) -> None:
        await self._broker.publish(topic, payload, retain)
        self._done()

    def _done(self) -> None:
        """The broker has acknowledged something."""
        self.acknowledged_ms = clock.monotonic_ms()
        self._on_the_way -= 1
        self._moved()

    async def _publish(self, message: "Message") -> None:
        entry = message.entry
        if entry is None:
            await self._broker.publish(topics.ask(message.meter), message.payload)
        else:
            await self._broker.publish(self._topic(message.meter, topics.COMPACT), message.payload)
            self.published += 1
            self.custody.acknowledged(entry)
        self._done()

    async def _receive(self) -> None:
        while True:
            topic, payload = await self._broker.receive()
            take = self._takers.get(topic)
            if take is not None:
                take(payload)
                continue
            try:
                parsed = topics.parse(topic)
            except FrameError:
                continue
            if parsed.specific == topics.CUSTODY:
                self.custody.receive(parsed.meter, payload)
                self._moved()

    async def _remind(self, worker: "Worker") -> None:
        """Says what is unanswered again when the receiver is silent for long, and asks now and then."""
        patience = _PATIENCE_MS
        checked = clock.monotonic_ms()
        while True:
            # Shortened by chance by up to a quarter, so that many gateways do not ask in step.
            await clock.sleep_ms(patience - random.getrandbits(16) * patience // 4 // 65536)
            patience = min(2 * patience, _MOST_PATIENCE_MS) if self.custody.remind() else _PATIENCE_MS
            self._rivals = self.custody.contested > 1
            self.custody.contested = 0
            self._tell(worker)
            if self._refused:
                self._unheard.add(min(self._refused))
            if clock.monotonic_ms() - checked >= _CHECK_MS:
                checked = clock.monotonic_ms()
                self.custody.check()
            self._work.set()

    def _moved(self) -> None:
        self._work.set()
        self._idle.set()
