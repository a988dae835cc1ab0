"""Adapters, a concentrator and the cloud as they are deployed: real brokers, real processes, real faults."""

import asyncio
import contextlib
import json
import shutil
import signal
import sqlite3
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gateway import clock
from gateway.core.gateway import last_will
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.sender import Sender
from gateway.core.supervisor import Supervisor
from gateway.host.mqtt import MqttBroker
from gateway.transmission import frames, model, topics
from gateway.transmission.custody import hop_key
from tests.brokers import NatsServer, free_port
from tests.cloud_toml import cloud_toml
from tests.patience import PATIENCE_S
from tests.processes import Program

METERS = tuple(uuid.UUID(int=n).bytes for n in (1, 2, 3))
SCALE = 10

CONFIGURATION = """\
[gateway]
id = "house"
role = "concentrator"
state_dir = "{directory}/state"

[broker]
url = "mqtt://127.0.0.1:{cloud}"
credential_file = "cloud.secret"

[local]
url = "mqtt://127.0.0.1:{local}"
username = "concentrator"
password_file = "local.secret"

[[local.adapter]]
name = "cellar"
credential_file = "cellar.secret"
meters = ["{meters[0]}"]

[[local.adapter]]
name = "attic"
credential_file = "attic.secret"
"""

ROWS = """
SELECT m.meter_individual_id, v.mantissa
FROM property_value v JOIN meter_reading r ON r.id = v.reading JOIN meter_individual m ON m.id = r.meter
WHERE r.kind <> 9
"""

USERS = {
    name: f"{name} has this password" for name in ("concentrator", "cellar", "attic", "revoked", "forger")
}


class Adapter:
    """What reads a meter, without the meter: frames of consecutive numbers."""

    def __init__(self, port: int, name: str, meter: bytes, secret: bytes) -> None:
        self.meter = meter
        self.outbox = MemoryOutbox(10_000_000)
        broker = MqttBroker(
            *("127.0.0.1", port, name),
            username=name,
            read_password=lambda: USERS[name],
            will=last_will(name, adapter=True),
        )
        self.sender = Sender(self.outbox, broker, name, hop_key(secret), adapter=True)
        self.count = 0

    def append(self, count: int) -> None:
        for _ in range(count):
            value = model.Value(0, self.count, 0, "kWh")
            item = model.Reading(model.REGISTERS, model.Timestamp(clock.utc_ms() // 1000), [value])
            self.outbox.append(
                self.meter,
                model.CLASS_OF_KIND[model.REGISTERS],
                lambda epoch, sequence, item=item: frames.encode(self.meter, epoch, sequence, [item]),
            )
            self.count += 1

    def has_receipts(self) -> bool:
        return not self.outbox.streams(self.meter)


def rows(database: Path) -> Counter[tuple[str, int]]:
    """(meter, number) of all readings, and how often each stands there."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return Counter(connection.execute(ROWS).fetchall())
    except sqlite3.OperationalError:
        return Counter()  # not there yet


async def until(condition: Callable[[], bool], *programs: Program) -> None:
    for _ in range(20 * PATIENCE_S):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("".join(program.said() for program in programs))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("cloud", "cellar", "attic", "local"):
        text = USERS["concentrator"] if name == "local" else f"the secret of {name}, long enough"
        (tmp_path / f"{name}.secret").write_text(text)
        (tmp_path / f"{name}.secret").chmod(0o600)
    return tmp_path


@pytest.fixture
def local(directory: Path) -> Iterator[NatsServer]:
    with NatsServer(directory / "local", users=USERS) as server:
        yield server


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    clock.set_scale(SCALE)
    yield {"OSGP_TIME": f"{SCALE}@{clock._time.origin_ms}"}
    clock.set_scale(1)


@contextlib.asynccontextmanager
async def at_work(*adapters: Adapter) -> AsyncIterator[None]:
    supervisor = Supervisor(lambda level, text: None)
    for number, adapter in enumerate(adapters):
        supervisor.add(f"adapter {number}", adapter.sender.run)
    running = asyncio.create_task(supervisor.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_nothing_is_missing_or_doubled_whatever_happens_to_the_concentrator(
    directory: Path, local: NatsServer, environment: dict[str, str]
):
    port = free_port()
    meters = [str(uuid.UUID(bytes=meter)) for meter in METERS]
    configuration = cloud_toml(directory, port, "cloud.secret")
    file = directory / "gateway.toml"
    file.write_text(CONFIGURATION.format(cloud=port, local=local.port, directory=directory, meters=meters))
    state, earlier = directory / "state" / "outbox", directory / "earlier"

    def concentrator() -> Program:
        return Program("gateway.host.cli", "run", "-c", file, environment=environment)

    cellar = Adapter(local.port, "cellar", METERS[0], (directory / "cellar.secret").read_bytes())
    attic = Adapter(local.port, "attic", METERS[1], (directory / "attic.secret").read_bytes())
    revoked = Adapter(local.port, "revoked", METERS[2], b"a credential that was withdrawn")
    meddling = Adapter(local.port, "forger", METERS[1], (directory / "cellar.secret").read_bytes())
    adapters = (cellar, attic)

    def append(count: int) -> None:
        for adapter in (*adapters, revoked, meddling):
            adapter.append(count)

    async def settled(*programs: Program) -> None:
        await until(lambda: all(adapter.has_receipts() for adapter in adapters), *programs)

    with Program("omdp_cloud.cli", "serve", "-c", configuration) as cloud:
        async with at_work(*adapters, revoked, meddling):
            append(20)
            with concentrator() as first:
                await settled(first)
                first.end(signal.SIGKILL)
            shutil.copytree(state, earlier)
            append(20)
            with concentrator() as second:
                await settled(second)
                append(5)
                second.end(signal.SIGKILL)
            local.stop()
            shutil.rmtree(directory / "local" / "store")
            shutil.rmtree(state)
            earlier.rename(state)
            local.start()
            append(20)
            with concentrator() as third:
                await settled(third)
                await foreign(local, third, directory / "readings.db")
                wanted = Counter({(one.meter.hex(), n): 1 for one in adapters for n in range(one.count)})
                await until(lambda: rows(directory / "readings.db") == wanted, third, cloud)
                assert not revoked.has_receipts() and not meddling.has_receipts()
                assert third.end() == 0
                said = third.said()
        assert cloud.end() == 0, cloud.said()
    assert said.count(f"someone who has no credential here that fits asks about meter {meters[2]}") == 1
    assert said.count(f"someone who has no credential here that fits asks about meter {meters[1]}") == 1
    assert "Traceback" not in said
    with contextlib.closing(sqlite3.connect(directory / "readings.db")) as connection:
        assert connection.execute("SELECT count(*) FROM dead_letter").fetchone() == (0,)


async def foreign(local: NatsServer, concentrator: Program, database: Path) -> None:
    """Another maker's adapter publishes a reading as JSON, and its broker delivers it twice."""
    with contextlib.suppress(StopAsyncIteration):
        broker = MqttBroker(
            "127.0.0.1", local.port, "other", username="forger", read_password=lambda: USERS["forger"]
        )
        await broker.connect()
        reading = {
            "readingTime": "2026-05-06T11:18:30+02:00",
            "meterId": str(uuid.UUID(bytes=METERS[2])),
            "propertyValues": [{"propertyName": "1.8.0", "numericalValue": "12.50", "unit": "kWh"}],
        }
        topic = topics.topic(METERS[2], topics.READINGS)
        for _ in range(2):
            await broker.publish(topic, json.dumps(reading).encode())
        await broker.close()

    def stored() -> list[tuple[int, int]]:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(
                "SELECT v.mantissa, v.exponent FROM property_value v JOIN meter_reading r ON r.id = v.reading"
                " WHERE r.kind = 9"
            ).fetchall()

    await until(lambda: bool(stored()), concentrator)
    assert stored() == [(1250, -2)]
