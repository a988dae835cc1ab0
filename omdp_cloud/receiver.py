"""The MQTT side of ingress: subscribes, stores in batches, then publishes receipts and acknowledges.

The broker is told that a message came when it is stored, not when it arrived: who publishes without custody
(JSON by others) has only the broker to keep it while we are away, locked out of the database, or killed.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import aiomqtt

from gateway.transmission import topics

from .arrivals import Arrivals, Arrived
from .config import Broker, read_secret
from .errors import CloudError
from .ingest import Ingest, Report
from .states import State

log = logging.getLogger(__name__)

# Frames and JSON from concentrators, and what senders ask about custody.
SUBSCRIPTIONS = ("concentrator/#", "custody/+/ask")
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
# How long a database that fails is left alone before the batch is tried again.
FIRST_STORAGE_WAIT_SECONDS = 0.25
LONGEST_STORAGE_WAIT_SECONDS = 5.0
# How long what is in hand may take when we are to end.
END_SECONDS = 3.0
_CONNECT_SECONDS = 3.0
# Receipts on their way to the broker at a time.
_IN_FLIGHT = 100


def client(broker: Broker, lasting: bool = True) -> aiomqtt.Client:
    """A client for one connection; MQTT 3.1.1 is enough. `lasting`: the broker keeps what comes meanwhile."""
    parts = urlsplit(broker.url)
    secure = parts.scheme == "mqtts"
    context = ssl.create_default_context(cafile=broker.ca_file) if secure else None
    made = aiomqtt.Client(
        hostname=parts.hostname or "",
        port=parts.port or (8883 if secure else 1883),
        username=broker.username,
        password=read_secret(broker.password_file).decode() if broker.password_file else None,
        identifier=broker.client_id,
        tls_context=context,
        clean_session=not lasting,
        max_inflight_messages=_IN_FLIGHT,
    )
    made.pending_calls_threshold = 10 * _IN_FLIGHT
    made._client.connect_timeout = _CONNECT_SECONDS

    def arrived(on: Any, data: Any, message: Any) -> None:
        # Of a topic that is none: an error would end the connection, and the message come again on the next.
        with contextlib.suppress(ValueError):
            made._on_message(on, data, message)

    made._client.on_message = arrived
    return made


class Receiver:
    """Runs until `stopping` is set; then what is in hand is stored and told of, and nothing more taken."""

    def __init__(
        self, broker: Broker, ingest: Ingest, on_report: Callable[[Report], None], stopping: asyncio.Event
    ) -> None:
        self._broker = broker
        self._ingest = ingest
        self._on_report = on_report
        self._stopping = stopping
        self._link = State(log, f"broker {broker.url}", "trying again, and what is published waits there")
        self._database = State(
            log, "database", "trying again; until then nothing is taken and no receipts are given"
        )
        self.doing = ""  # what ending has to wait for

    async def run(self) -> None:
        wait = FIRST_WAIT_SECONDS
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            try:
                self.doing = "the broker's answer"
                await self._one_connection()
            except (aiomqtt.MqttError, OSError) as error:
                self._link.fails(error)
            self.doing = ""
            if loop.time() - began > LONGEST_WAIT_SECONDS:
                wait = FIRST_WAIT_SECONDS
            await self._pause(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def _one_connection(self) -> None:
        arrivals = Arrivals()
        async with _connected(self._broker, arrivals) as connection:
            codes = await connection.subscribe([(topic, 1) for topic in SUBSCRIPTIONS])
            refused = [code if isinstance(code, int) else code.value for code in codes]
            for topic, code in zip(SUBSCRIPTIONS, refused, strict=True):
                if code >= 128:
                    raise aiomqtt.MqttError(
                        f"it refuses the subscription to {topic}: grant it to this client"
                    )
            self._link.works()
            log.info("subscribed to %s at %s", ", ".join(SUBSCRIPTIONS), self._broker.url)
            self.doing = ""
            # It never gives a message, those go to `arrivals`; it ends when the connection does.
            lost = asyncio.ensure_future(anext(connection.messages))
            stop = asyncio.ensure_future(self._stopping.wait())
            taking = asyncio.ensure_future(self._take(connection, arrivals, lost))
            try:
                await asyncio.wait((lost, stop, taking), return_when=asyncio.FIRST_COMPLETED)
                arrivals.close()
                # What is in hand is stored in any case, if only the database lets us.
                await asyncio.wait((taking,), timeout=END_SECONDS if stop.done() else None)
                if taking.done():
                    taking.result()
                if lost.done():
                    lost.result()
            finally:
                for task in (lost, stop, taking):
                    task.cancel()
                await asyncio.gather(lost, stop, taking, return_exceptions=True)

    async def _take(self, connection: aiomqtt.Client, arrivals: Arrivals, lost: asyncio.Future[Any]) -> None:
        while batch := await arrivals.batch():
            self.doing = f"the database, to store {len(batch)} messages"
            report = await self._store(batch, arrivals)
            if report is None:
                break
            self.doing = f"the broker, to take {len(report.receipts)} receipts"
            self._on_report(report)
            arrivals.stored(batch, report.work_seconds)
            telling = asyncio.ensure_future(_tell(connection, report.receipts))
            await asyncio.wait((telling, lost), return_when=asyncio.FIRST_COMPLETED)
            if not telling.done():
                telling.cancel()
                break
            telling.result()
            for one in batch:
                if one.number:
                    connection._client.ack(one.number, 1)
            self.doing = ""
            if arrivals.overflowed and not len(arrivals):
                log.info("too much at once: what was turned away comes with a new connection")
                break

    async def _store(self, batch: list[Arrived], arrivals: Arrivals) -> Report | None:
        """The report once it is committed; None when the connection ended before that came about."""
        wait = FIRST_STORAGE_WAIT_SECONDS
        while True:
            try:
                report = await self._ingest.take([one.message for one in batch])
            except CloudError as error:
                self._database.fails(error)
            else:
                self._database.works()
                return report
            if arrivals.closed:
                return None
            await self._pause(wait)
            wait = min(2 * wait, LONGEST_STORAGE_WAIT_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


@contextlib.asynccontextmanager
async def _connected(broker: Broker, arrivals: Arrivals) -> AsyncIterator[aiomqtt.Client]:
    """A connection whose messages go to `arrivals` and wait for their acknowledgement."""
    connection = client(broker)

    def arrived(_client: Any, _data: Any, message: Any) -> None:
        number = message.mid if message.qos else 0
        try:
            arrivals.put(message.topic, message.payload, number)
        except UnicodeDecodeError:  # no topic at all: it would come again for ever
            if number:
                connection._client.ack(number, 1)

    # The library acknowledges what it has put into its queue; there is no other way in.
    connection._client.manual_ack_set(True)
    connection._client.on_message = arrived
    async with connection:
        yield connection


async def _tell(connection: aiomqtt.Client, receipts: list[tuple[bytes, bytes]]) -> None:
    """Publishes all, many at a time. Raises MqttError: a receipt that is lost is asked for again."""
    for start in range(0, len(receipts), _IN_FLIGHT):
        await asyncio.gather(
            *(
                connection.publish(topics.custody(meter), receipt, qos=1)
                for meter, receipt in receipts[start : start + _IN_FLIGHT]
            )
        )
