"""Stores how commands ended, also for who did not wait for it."""

import asyncio
import logging

import aiomqtt

from gateway import clock
from gateway.transmission import FrameError, topics
from gateway.transmission.commands import Result, decode

from .commands import CommandStore, keep_result, key_of
from .config import Broker, Commands
from .errors import CloudError
from .receiver import LONGEST_WAIT_SECONDS, client

log = logging.getLogger(__name__)

SUBSCRIPTION = "command/+/result"


async def collect_forever(broker: Broker, settings: Commands, store: CommandStore) -> None:
    """Until cancelled, on a connection of its own."""
    broker = broker.model_copy(update={"client_id": f"{broker.client_id}-results"})
    while True:
        try:
            async with client(broker) as connection:
                await connection.subscribe(SUBSCRIPTION, qos=1)
                async for message in connection.messages:
                    if isinstance(message.payload, bytes):
                        await take(settings, store, str(message.topic), message.payload)
        except (aiomqtt.MqttError, OSError, CloudError) as error:
            log.debug("results of commands: %s; trying again", error)
        await asyncio.sleep(LONGEST_WAIT_SECONDS)


async def take(settings: Commands, store: CommandStore, topic: str, payload: bytes) -> bool:
    """False for what is no result of a command of ours, whoever published it. Raises CloudError."""
    try:
        meter = topics.parse(topic).meter
        key = key_of(settings, meter)
        result = None if key is None else decode(meter, payload, key)
    except FrameError:
        return False
    if not isinstance(result, Result):
        return False
    found = result
    now = clock.utc_ms() // 1000
    return await store.write(lambda connection: keep_result(connection, meter, found, now))
