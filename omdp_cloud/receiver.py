"""The MQTT side of ingress: subscribes, batches, and publishes receipts after the commit."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import aiomqtt

from gateway.transmission import topics

from .config import Broker, read_secret
from .errors import StorageError
from .ingest import Ingest, Message, Report

log = logging.getLogger(__name__)

# A batch is what has arrived by the time the one before is committed, up to this many messages.
MAX_BATCH = 500
MAX_QUEUED = 10_000
# Frames and JSON from concentrators, and what senders ask about custody.
SUBSCRIPTIONS = ("concentrator/#", "custody/+/ask")
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0


def client(broker: Broker, lasting: bool = True) -> aiomqtt.Client:
    """A client for one connection; MQTT 3.1.1 is enough. `lasting`: the broker keeps what comes meanwhile."""
    parts = urlsplit(broker.url)
    secure = parts.scheme == "mqtts"
    context = ssl.create_default_context(cafile=broker.ca_file) if secure else None
    return aiomqtt.Client(
        hostname=parts.hostname or "",
        port=parts.port or (8883 if secure else 1883),
        username=broker.username,
        password=read_secret(broker.password_file).decode() if broker.password_file else None,
        identifier=broker.client_id,
        tls_context=context,
        clean_session=not lasting,
        # What does not fit is not lost: without a receipt its sender offers it again.
        max_queued_incoming_messages=MAX_QUEUED,
    )


async def receive_forever(broker: Broker, ingest: Ingest, on_report: Callable[[Report], None]) -> None:
    """Until cancelled. Says once what is wrong and once that it is well again."""
    wait = FIRST_WAIT_SECONDS
    failing = ""
    while True:
        try:
            async with client(broker) as connection:
                await connection.subscribe([(topic, 1) for topic in SUBSCRIPTIONS])
                log.info("subscribed to %s at %s", ", ".join(SUBSCRIPTIONS), broker.url)
                wait, failing = FIRST_WAIT_SECONDS, ""
                await _take_batches(connection, ingest, on_report)
        except (aiomqtt.MqttError, OSError, StorageError) as error:
            reason = f"{broker.url}: {error}"
            if reason != failing:
                log.warning("%s; trying again", reason)
                failing = reason
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


async def _take_batches(
    connection: aiomqtt.Client, ingest: Ingest, on_report: Callable[[Report], None]
) -> None:
    arriving = connection.messages
    while True:
        batch = [_message(await anext(arriving))]
        while len(arriving) and len(batch) < MAX_BATCH:
            batch.append(_message(await anext(arriving)))
        report = await ingest.take(batch)
        on_report(report)
        for meter, receipt in report.receipts:
            await connection.publish(topics.custody(meter), receipt, qos=1)


def _message(message: aiomqtt.Message) -> Message:
    return Message(str(message.topic), message.payload if isinstance(message.payload, bytes) else b"")
