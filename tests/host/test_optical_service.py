"""The gateway on a meter's optical port: marked frames, and a port that is free between readings."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import DIGEST, Security
from gateway.drivers.optical.meter import OpticalMeter
from gateway.errors import AuthenticationError, NoAnswer
from gateway.host.links import parse_port
from gateway.host.meter_access import OpticalAccess
from gateway.host.mqtt import MqttBroker
from gateway.simulator.listen import serve_tcp
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.transmission import frames, ids, model, registry
from gateway.transmission.rows import rows
from tests.brokers import NatsServer
from tests.mep_fakes import KEY
from tests.patience import PATIENCE_S
from tests.processes import Program

PASSWORD = "The meter's password"
BROKER_PASSWORD = "the-broker-password"

CONFIGURATION = """\
[gateway]
id = "test-gateway"

[broker]
url = "mqtt://127.0.0.1:{broker}"
username = "house"
password_file = "broker"
custody = "broker"

[[meter]]
name = "house"
protocol = "optical"
port = "tcp://127.0.0.1:{port}"
password_file = "password"

[meter.schedule]
present = "2s"
registers = "off"
clock = "off"
load_profile = "off"
alarms = "off"
events = "off"
mbus = "off"
self_reads = "off"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in (("password", PASSWORD), ("broker", BROKER_PASSWORD)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def broker(directory: Path) -> Iterator[NatsServer]:
    with NatsServer(directory / "nats", users={"house": BROKER_PASSWORD, "watcher": "w"}) as server:
        yield server


def virtual_meter() -> VirtualMeter:
    return VirtualMeter(KEY, firmware="3.10", optical_keys=OpticalKeys(PASSWORD.encode()))


async def test_readings_are_marked_and_mep_is_let_in_between(directory: Path, broker: NatsServer):
    meter = virtual_meter()
    watcher = MqttBroker("127.0.0.1", broker.port, "watcher", username="watcher", read_password=lambda: "w")
    await watcher.connect()
    await watcher.subscribe("concentrator/#")
    meter_id = ids.meter_individual_id("ELON", meter.serial)
    file = directory / "gateway.toml"
    async with serve_tcp(meter.optical) as port, serve_tcp(meter) as mep_port:
        file.write_text(CONFIGURATION.format(broker=broker.port, port=port))
        with Program("gateway.host.cli", "run", "-c", file) as running:
            present = 0
            async with asyncio.timeout(PATIENCE_S):
                while present < 2:
                    topic, payload = await watcher.receive()
                    if not topic.endswith("/compact"):
                        continue
                    frame = frames.decode(payload, meter_id)
                    present += frame.kind == model.PRESENT
                    for _, reading in rows(frame, meter_id):
                        assert "OSGP_not_authenticated" in [
                            registry.fault_name(fault) if isinstance(fault, int) else fault
                            for fault in reading.faults
                        ]
            beside = MepMeter(await parse_port(f"tcp://127.0.0.1:{mep_port}").open(), Security(KEY, DIGEST))
            for _ in range(8):  # a session is open now and then
                try:
                    assert await beside.read(1, 0, 4) == b"ELON"
                    break
                except NoAnswer:
                    continue
            else:
                pytest.fail("the optical session never ends")
            await beside.close()
            assert await asyncio.to_thread(running.end) == 0
            said = running.said()
        assert "the password is written as 20 ASCII characters" in said
        assert PASSWORD not in said
    await watcher.close()


async def test_a_refused_password_is_not_tried_again_until_another_stands_in_the_file(directory: Path):
    file = directory / "password"
    file.write_text("another password 20c")
    meter = virtual_meter()
    async with serve_tcp(meter.optical) as port:
        access = OpticalAccess(parse_port(f"tcp://127.0.0.1:{port}"), file)
        opened: OpticalMeter = await access.open()
        with pytest.raises(AuthenticationError):
            await opened.read(1, 0, 4)
        await opened.close()
        asked = meter.optical.server.requests
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                await access.open()
        assert meter.optical.server.requests == asked
        file.write_text(PASSWORD)
        opened = await access.open()
        assert await opened.read(1, 0, 4) == b"ELON"
        await opened.close()
