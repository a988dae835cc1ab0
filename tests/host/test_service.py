"""The running gateway: what it says when something is missing, and that it goes on when it comes back."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.host.mqtt import MqttBroker
from gateway.transmission import frames, model
from tests.brokers import NatsServer, free_port
from tests.patience import PATIENCE_S
from tests.processes import Program

KEY = "ABCDEFGHIJKLMNOPQRST"
WRONG_KEY = "abcdefghijklmnopqrst"
PASSWORD = "the-broker-password"
# Everything runs five times as fast.
ENVIRONMENT = {"OSGP_TIME": "5"}

CONFIGURATION = """\
[gateway]
id = "test-gateway"

[broker]
url = "mqtt://127.0.0.1:{broker}"
username = "house"
password_file = "password"
custody = "broker"

[[meter]]
name = "house"
port = "{port}"
key_file = "{key}"

[meter.schedule]
present = "5s"
registers = "30s"
clock = "1h"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in (("key", KEY), ("wrong-key", WRONG_KEY), ("password", PASSWORD)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def meter(directory: Path) -> Iterator[Program]:
    """The virtual meter behind a USB adapter that can be pulled (SIGUSR1) and plugged in (SIGUSR2)."""
    with program(
        "simulate",
        "--listen",
        "pty",
        "--link",
        directory / "usb",
        "--key-file",
        directory / "key",
        "--baud",
        "fast",
    ) as running:
        running.expect("listening on")
        yield running
        assert running.end() == 0


@pytest.fixture
def broker(directory: Path) -> Iterator[NatsServer]:
    server = NatsServer(directory / "nats", users={"house": PASSWORD, "watcher": "w"})
    yield server
    server.stop()


def program(*arguments: object) -> Program:
    return Program("gateway.host.cli", *arguments, environment=ENVIRONMENT)


def gateway(
    directory: Path,
    broker: int,
    key: str = "key",
    port: object = None,
    more: tuple[tuple[str, str], ...] = (),
) -> Program:
    """`more`: what is put in place of what in the configuration."""
    file = directory / "gateway.toml"
    text = CONFIGURATION.format(broker=broker, port=port or directory / "usb", key=key)
    for old, new in more:
        text = text.replace(old, new)
    file.write_text(text)
    return program("run", "-c", file)


async def watch(broker: NatsServer) -> MqttBroker:
    watcher = MqttBroker("127.0.0.1", broker.port, "watcher", username="watcher", read_password=lambda: "w")
    await watcher.connect()
    await watcher.subscribe("concentrator/#")
    return watcher


async def frame(watcher: MqttBroker) -> None:
    """Returns at the next frame."""
    async with asyncio.timeout(PATIENCE_S):
        while not (await watcher.receive())[0].endswith("/compact"):
            pass


async def status(watcher: MqttBroker, state: str) -> None:
    """Returns when the gateway's own status is `state`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            topic, payload = await watcher.receive()
            if topic == "concentrator/test-gateway/status" and json.loads(payload)["state"] == state:
                return


def ends_well(running: Program) -> None:
    assert running.end() == 0, running.said()
    said = running.said()
    assert "Traceback" not in said, said
    for secret in (KEY, KEY[:16], WRONG_KEY, PASSWORD):
        assert secret not in said


def ask_health(url: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(url + "/health", timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def test_frames_flow_and_come_back_after_the_adapter_was_pulled_and_the_meter_fell_silent(
    directory, meter, broker
):
    broker.start()
    watcher = await watch(broker)
    metrics = '[metrics]\nlisten = "127.0.0.1:0"\n\n[broker]'
    with gateway(directory, broker.port, more=(("[broker]", metrics),)) as running:
        url = (await asyncio.to_thread(running.expect, "metrics and health on (.*)"))[1]
        await frame(watcher)
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(ask_health, url) != (200, {"healthy": True, "problems": []}):
                await asyncio.sleep(0.1)
        meter.process.send_signal(signal.SIGUSR1)
        await asyncio.to_thread(running.expect, "went away.*plug it in again")
        await asyncio.to_thread(running.expect, "no such port")
        code, said = await asyncio.to_thread(ask_health, url)
        assert code == 503 and said["problems"][0].startswith("house: link-gone: ")
        meter.process.send_signal(signal.SIGUSR2)
        await asyncio.to_thread(running.expect, "house: working")
        meter.process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(running.expect, "house: silent: .* did not answer")
        assert (await asyncio.to_thread(ask_health, url))[0] == 503
        meter.process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(running.expect, "house: working")
        await watcher.close()
        watcher = await watch(broker)  # which has nothing of before
        await frame(watcher)
        await asyncio.to_thread(ends_well, running)
    await watcher.close()


async def test_the_meter_tells_changes_of_power_where_nothing_polls_them(directory, meter, broker):
    broker.start()
    watcher = await watch(broker)
    told = "register = true\nallow_writes = true\npower_change_w = 1\n\n[meter.schedule]"
    with gateway(directory, broker.port, more=(("[meter.schedule]", told), ('"5s"', '"off"'))) as running:
        async with asyncio.timeout(PATIENCE_S):
            topic, payload = "", b""
            while not topic.endswith("/compact") or frames.head(payload)[1] != model.PRESENT:
                topic, payload = await watcher.receive()
        await asyncio.to_thread(ends_well, running)
    await watcher.close()


async def test_people_see_whether_the_gateway_is_there(directory, meter, broker):
    broker.start()
    watcher = await watch(broker)
    with gateway(directory, broker.port) as running:
        await status(watcher, "online")
        running.process.kill()
        await status(watcher, "offline")
    with gateway(directory, broker.port) as running:
        await status(watcher, "online")
        await asyncio.to_thread(ends_well, running)
        await status(watcher, "stopped")
    await watcher.close()


async def test_an_absent_broker_is_told_and_frames_flow_when_it_comes(directory, meter, broker):
    with gateway(directory, broker.port) as running:
        await asyncio.to_thread(running.expect, f"127.0.0.1:{broker.port}: connection refused")
        await asyncio.to_thread(broker.start)
        watcher = await watch(broker)
        await frame(watcher)
        await watcher.close()
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(running.expect, "was lost")
        await asyncio.to_thread(broker.start)
        watcher = await watch(broker)
        await frame(watcher)
        await watcher.close()
        await asyncio.to_thread(ends_well, running)


def test_wrong_credentials_are_told_and_can_be_put_right(directory, meter, broker):
    broker.start()
    (directory / "password").write_text("not-" + PASSWORD[:5])
    with gateway(directory, broker.port) as running:
        running.expect("refused the user house or the password")
        (directory / "password").write_text(PASSWORD)
        running.expect("broker: working")
        ends_well(running)


def test_a_wrong_key_is_told_once_and_can_be_put_right(directory, meter):
    with gateway(directory, free_port(), key="wrong-key") as running:
        running.expect("house: .*refused the key")
        (directory / "wrong-key").write_text(KEY)
        running.expect("house: working")
        assert running.said().count("refused the key") == 1
        ends_well(running)


def test_a_key_file_that_is_opened_to_others_is_not_used(directory, meter):
    with gateway(directory, free_port(), key="wrong-key") as running:
        running.expect("house: .*refused the key")
        (directory / "wrong-key").chmod(0o644)
        running.expect("house: .*chmod 600")
        ends_well(running)


def test_a_port_that_comes_later(directory):
    with gateway(directory, free_port()) as running:
        running.expect("house: .*no such port")
        arguments = ["--listen", "pty", "--link", directory / "usb", "--key-file", directory / "key"]
        with program("simulate", *arguments, "--baud", "fast") as simulated:
            running.expect("house: working")
            ends_well(running)
            assert simulated.end() == 0


async def test_a_meter_that_refuses_now_and_then_is_read_all_the_same(directory, broker):
    broker.start()
    watcher = await watch(broker)
    with program(
        "simulate", "--key-file", directory / "key", "--baud", "fast", "--refuse", "150"
    ) as simulated:
        address = simulated.expect("listening on (.*)")[1]
        with gateway(directory, broker.port, port=address) as running:
            for _ in range(5):
                await frame(watcher)
            await asyncio.to_thread(ends_well, running)
    await watcher.close()


def test_link_traffic_is_recorded_on_request(directory, meter):
    file = directory / "gateway.toml"
    file.write_text(CONFIGURATION.format(broker=free_port(), port=directory / "usb", key="key"))
    with program("run", "-c", file, "--record", directory) as running:
        running.expect("house: working")
        ends_well(running)
    (file,) = directory.glob("house-*.jsonl")
    recording = file.read_text()
    assert '"received"' in recording and KEY not in recording and KEY[:16].encode().hex() not in recording


def test_interrupted_by_ctrl_c(directory, meter):
    with gateway(directory, free_port()) as running:
        running.expect("starts with 1 meter")
        assert running.end(signal.SIGINT) == 0
        assert "Traceback" not in running.said()


def test_the_journal_gets_levels_instead_of_times(directory):
    file = directory / "gateway.toml"
    file.write_text(CONFIGURATION.format(broker=free_port(), port="/dev/ttyNONE", key="key"))
    with Program("gateway.host.cli", "run", "-c", file, environment=ENVIRONMENT, journal=True) as running:
        running.expect("^<6>gateway test-gateway starts")
        running.expect("^<4>.*no such port")
        ends_well(running)
