"""The rights of docs/roles.md at a real broker: enough for all that has to pass, and no more."""

import asyncio
import uuid
from pathlib import Path

from gateway.core.concentrator import Concentrator
from gateway.core.gateway import Gateway, last_will
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.sender import Sender
from gateway.core.supervisor import Supervisor
from gateway.host.mqtt import MqttBroker
from gateway.transmission import frames, model, topics
from gateway.transmission.custody import hop_key
from tests.memory_broker import Cloud, MemoryBroker
from tests.mosquitto import Mosquitto
from tests.patience import PATIENCE_S

TEXT = (Path(__file__).parents[2] / "docs" / "roles.md").read_text()
LOCAL, CLOUD = (part.split("```")[0] for part in TEXT.split("```\nuser ")[1:])
METER = uuid.UUID("bf17c6a0-82ce-4214-adbd-5a7e4ecdb0ff").bytes
OTHER = bytes(15) + b"\x01"
USERS = {name: "the password of " + name for name in ("concentrator", "cellar")}
KEY = hop_key(b"the secret of the cellar")
CLOUD_SECRET = b"the secret of the cloud"


def frame(meter: bytes, epoch: int, sequence: int) -> bytes:
    return frames.encode(
        meter, epoch, sequence, [model.Reading(model.ALARM, model.Timestamp(1), [model.Value(0, 1)])]
    )


async def until(condition) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


def client(broker: Mosquitto, name: str, identifier: str, will=None) -> MqttBroker:
    return MqttBroker(
        "127.0.0.1", broker.port, identifier, username=name, read_password=lambda: USERS[name], will=will
    )


async def test_the_local_brokers_rights_are_enough_and_no_more(tmp_path: Path):
    cloud = MemoryBroker(Cloud(hop_key(CLOUD_SECRET)))
    with Mosquitto(tmp_path / "broker", users=USERS, rights="user " + LOCAL) as broker:
        gateway = Gateway("house", [], cloud, MemoryOutbox(100_000), lambda *_: None, CLOUD_SECRET)
        gateway.concentrate(
            Concentrator(
                *("house", gateway.outbox, client(broker, "concentrator", "house"), gateway.sender),
                find_keys=lambda: lambda meter, name: KEY,
                read=None,
                own=lambda: [],
                log=lambda *_: None,
            )
        )
        outbox = MemoryOutbox(100_000)
        will = last_will("cellar", adapter=True)
        adapter = Sender(outbox, client(broker, "cellar", "cellar", will), "cellar", KEY, adapter=True)
        adapter.set_status(None, b"online")
        adapter.set_status(METER, b"well")
        heard: list[bytes] = []
        adapter.listen(topics.command(METER), heard.append)
        supervisor = Supervisor(lambda *_: None)
        supervisor.add("adapter", adapter.run)
        tasks = [asyncio.create_task(gateway.run()), asyncio.create_task(supervisor.run())]
        outbox.append(METER, 0, lambda epoch, sequence: frame(METER, epoch, sequence))
        await until(lambda: not outbox.streams(METER) and cloud.cloud.stored)
        await until(lambda: topics.command(METER) in cloud.subscribed)
        cloud.deliver(topics.command(METER), b"a command")
        await until(lambda: heard == [b"a command"])
        adapter.pass_on(topics.result(METER), b"a result")
        await until(lambda: (topics.result(METER), b"a result", False) in cloud.published)
        shown = {topic: payload for topic, payload, retain in cloud.published if retain}
        assert shown["concentrator/house/adapter/cellar/status"] == b"online"
        assert shown[topics.topic(METER, topics.STATUS, "house")] == b"well"

        thief = client(broker, "cellar", "thief")
        await thief.connect()
        for topic in (
            topics.topic(OTHER, topics.COMPACT),
            topics.topic(OTHER, topics.STATUS),
            topics.ask(OTHER),
            topics.result(OTHER),
            topics.custody(METER),
            topics.command(METER),
            topics.adapter_status("attic"),
        ):
            await thief.publish(topic, b"stolen")
        adapter.pass_on(topics.result(METER), b"the last")
        await until(lambda: (topics.result(METER), b"the last", False) in cloud.published)
        status = gateway.status()["local"]
        assert (status["refused"], status["strangers"], heard) == (0, 0, [b"a command"])
        assert adapter.custody.refused == 0
        assert not [one for one in cloud.published if one[1] == b"stolen"]
        await thief.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_concentrators_rights_at_the_clouds_broker(tmp_path: Path):
    users = {"house": "h", "omdp-cloud": "c"}
    with Mosquitto(tmp_path / "broker", users=users, rights="user " + CLOUD) as broker:
        clients = {}
        for name in users:
            clients[name] = MqttBroker(
                *("127.0.0.1", broker.port, name), username=name, read_password=lambda name=name: users[name]
            )
            await clients[name].connect()
        house, cloud = clients["house"], clients["omdp-cloud"]
        for topic in (topics.custody(METER), topics.command(METER)):
            await house.subscribe(topic)
        for topic in ("concentrator/#", "custody/+/ask", "command/+/result"):
            await cloud.subscribe(topic)
        stolen = (topics.topic(METER, topics.COMPACT, "another"), topics.gateway_status("another"))
        up = (
            topics.topic(METER, topics.COMPACT, "house"),
            topics.forwarded("house", topics.adapter_status("cellar")),
            topics.gateway_status("house"),
            topics.ask(METER),
            topics.result(METER),
        )
        for topic in stolen + up:
            await house.publish(topic, b"x")
        async with asyncio.timeout(PATIENCE_S):
            assert [(await cloud.receive())[0] for _ in up] == list(up)
            for topic in (topics.custody(METER), topics.command(METER)):
                await cloud.publish(topic, b"x")
                assert (await house.receive())[0] == topic
        for one in clients.values():
            await one.close()
