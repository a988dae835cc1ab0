"""The MQTT client against a real broker, and what it says when there is none."""

import asyncio
import contextlib
import socket
import ssl
import struct
from pathlib import Path

import pytest

from gateway import clock
from gateway.errors import BrokerError, ConfigurationError
from gateway.host.mqtt import MqttBroker
from gateway.host.tls import tls_context
from tests.brokers import NatsServer, free_port, nats
from tests.certificates import Authority
from tests.mqtt_proxy import Proxy
from tests.patience import PATIENCE_S

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def server():
    with nats() as running:
        yield running


def client(port: int, name: str = "test", **options) -> MqttBroker:
    return MqttBroker("127.0.0.1", port, name, **options)


async def test_what_is_published_arrives_at_a_subscriber(server):
    sender, receiver = client(server.port, "sender"), client(server.port, "receiver")
    await receiver.connect()
    await receiver.subscribe("a/#")
    await sender.connect()
    payload = bytes(range(256))
    await sender.publish("a/b", payload)
    await sender.publish("a/c", b"")
    assert await receiver.receive() == ("a/b", payload)
    assert await receiver.receive() == ("a/c", b"")
    await sender.close()
    await receiver.close()


async def test_a_cancelled_receive_loses_no_message(server):
    broker = client(server.port, "patient")
    await broker.connect()
    await broker.subscribe("cancelled")
    waiting = asyncio.create_task(broker.receive())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await broker.publish("cancelled", b"still here")
    assert await broker.receive() == ("cancelled", b"still here")
    await broker.close()


async def test_the_will_is_published_and_kept_when_the_client_vanishes(server):
    async with Proxy(server.port) as proxy:
        vanishing = MqttBroker("127.0.0.1", proxy.port, "vanishing", will=("status", b"gone"))
        await vanishing.connect()
    with pytest.raises(BrokerError, match="was lost"):
        await vanishing.receive()
    await vanishing.close()
    watcher = client(server.port, "watcher")
    await watcher.connect()
    await watcher.subscribe("status")
    assert await watcher.receive() == ("status", b"gone")
    await watcher.close()


async def test_a_client_that_says_goodbye_leaves_no_will(server):
    leaving = client(server.port, "leaving", will=("farewell", b"gone"))
    await leaving.connect()
    await leaving.close()
    watcher = client(server.port, "watcher")
    await watcher.connect()
    await watcher.subscribe("farewell")
    await watcher.publish("farewell", b"nothing before this")
    assert await watcher.receive() == ("farewell", b"nothing before this")
    await watcher.close()


async def test_a_lost_connection_ends_receive_and_publish_and_connects_again(tmp_path: Path):
    with NatsServer(tmp_path) as server:
        broker = client(server.port, "survivor")
        await broker.connect()
        receiving = asyncio.create_task(broker.receive())
        await asyncio.sleep(0)
        await asyncio.to_thread(server.stop)
        with pytest.raises(BrokerError, match="was lost"):
            await receiving
        with pytest.raises(BrokerError, match="was lost"):
            await broker.publish("a", b"")
        with pytest.raises(BrokerError, match="connection refused"):
            await broker.connect()
        await asyncio.to_thread(server.start)
        await broker.connect()
        await broker.publish("a", b"back")
        await broker.close()


async def test_a_connection_lost_while_waiting_for_the_acknowledgement():
    async def accept_and_drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"mute")
        writer.write(b"\x20\x02\x00\x00")
        await reader.readuntil(b"never acknowledged")
        writer.close()

    async with await asyncio.start_server(accept_and_drop, "127.0.0.1", 0) as server:
        broker = client(server.sockets[0].getsockname()[1], "mute")
        await broker.connect()
        with pytest.raises(BrokerError, match="was lost"):
            await broker.publish("a", b"never acknowledged")
        await broker.close()


async def test_credentials_right_wrong_and_missing(tmp_path: Path):
    with NatsServer(tmp_path, users={"house": "right-password"}) as server:
        good = client(server.port, username="house", read_password=lambda: "right-password")
        await good.connect()
        await good.close()
        with pytest.raises(BrokerError, match="refused the user house or the password") as caught:
            await client(server.port, username="house", read_password=lambda: "wrong-password").connect()
        assert caught.value.state == "refused"
        assert "wrong-password" not in str(caught.value)
        with pytest.raises(BrokerError, match="wants a user and password"):
            await client(server.port).connect()


async def test_no_broker():
    port = free_port()
    with pytest.raises(BrokerError, match=f"127.0.0.1:{port}: connection refused") as caught:
        await client(port).connect()
    assert caught.value.state == "gone"


async def test_a_name_that_is_not_found_and_then_is(server, monkeypatch):
    resolve = socket.getaddrinfo
    answers = []

    def answer(host, *arguments, **options):
        if host != "broker.house":
            return resolve(host, *arguments, **options)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(answers[0], *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    broker = MqttBroker("broker.house", server.port, "resolved")
    with pytest.raises(BrokerError, match=r"the name broker\.house was not found") as caught:
        await broker.connect()
    assert caught.value.state == "unresolved"
    answers.append("127.0.0.1")
    await broker.connect()
    await broker.close()


def _publish(topic: bytes, payload: bytes, number: int) -> bytes:
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number) + payload
    size = len(body)
    return bytes((0x32, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14)) + body


async def _answering(messages: bytes, acknowledged: asyncio.Queue[int]) -> asyncio.Server:
    """A broker that answers a subscription with `messages` as they are, and tells what is acknowledged."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(2):
            body = await reader.readexactly(head[1])
            if head[0] >> 4 == 1:
                writer.write(b"\x20\x02\0\0")
            elif head[0] >> 4 == 8:
                writer.write(b"\x90\x03" + body[:2] + b"\x01" + messages)
            elif head[0] >> 4 == 4:
                acknowledged.put_nowait(int.from_bytes(body, "big"))
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def test_a_topic_that_is_none_ends_no_connection_and_does_not_come_again():
    acknowledged = asyncio.Queue()
    wrong = (b"custody/\xff", b"\xc3\x28", b"a/+", b"#")
    messages = b"".join(_publish(topic, b"x", 1 + i) for i, topic in enumerate(wrong))
    async with await _answering(messages + _publish(b"good", b"", 5), acknowledged) as server:
        broker = client(server.sockets[0].getsockname()[1])
        await broker.connect()
        await broker.subscribe("#")
        assert await asyncio.wait_for(broker.receive(), PATIENCE_S) == ("good", b"")
        taken = [await asyncio.wait_for(acknowledged.get(), PATIENCE_S) for _ in range(5)]
        assert taken == [1, 2, 3, 4, 5]
        await broker.close()


async def test_messages_that_nobody_looks_at_take_bounded_memory():
    acknowledged = asyncio.Queue()
    big = bytes(1 << 20)
    messages = b"".join(_publish(b"a", bytes([i]) + big, i) for i in range(1, 21))
    async with await _answering(messages, acknowledged) as server:
        broker = client(server.sockets[0].getsockname()[1])
        await broker.connect()
        await broker.subscribe("#")
        while await asyncio.wait_for(acknowledged.get(), PATIENCE_S) < 20:
            pass
        await asyncio.sleep(0)
        assert broker.dropped >= 4
        assert (await broker.receive())[1][0] == broker.dropped + 1
        await broker.close()


async def test_who_is_to_end_while_it_connects_ends(monkeypatch):
    begun = asyncio.Event()

    async def connect(_: object) -> None:
        """As the library's, when the broker's answer comes in that moment."""
        with contextlib.suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.Event().wait()

    monkeypatch.setattr("gateway.host.mqtt.aiomqtt.Client.__aenter__", connect)
    connecting = asyncio.create_task(client(1).connect())
    await begun.wait()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting


async def test_use_without_a_connection():
    with pytest.raises(BrokerError, match="no connection"):
        await client(1).publish("a", b"")


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Authority, Path]:
    """A certificate authority, and its certificate in a file."""
    made = Authority()
    file = tmp_path / "ca.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(made.der))
    return made, file


async def test_tls_is_verified(tmp_path: Path, authority: tuple[Authority, Path]):
    with NatsServer(tmp_path / "nats", certificate=authority[0].issue(tmp_path, "127.0.0.1")) as server:
        trusting = client(server.port, tls=tls_context(authority[1]))
        await trusting.connect()
        await trusting.publish("a", b"secret")
        await trusting.close()
        with pytest.raises(BrokerError, match="not trusted .* ca_file") as caught:
            await client(server.port, tls=tls_context(None)).connect()
        assert caught.value.state == "untrusted"


async def test_a_certificate_that_ends_soon_is_told_each_day_in_other_words(tmp_path, authority, monkeypatch):
    files = authority[0].issue(tmp_path, "127.0.0.1", days=40)
    with NatsServer(tmp_path / "nats", certificate=files) as server:
        broker = client(server.port, tls=tls_context(authority[1]))
        await broker.connect()
        now = clock.utc_ms()
        assert 39 <= (broker.certificate_ms - now) / DAY_MS <= 40
        said = []
        for day in range(45):
            monkeypatch.setattr("gateway.clock.utc_ms", lambda day=day: now + day * DAY_MS)
            said.append(broker.concern())
        assert said[:26] == [""] * 26
        assert "ends in 13 days" in said[26] and "ends in 1 day (" in said[38] and "ends today" in said[39]
        assert len(set(said[26:41])) == 15
        assert all("has expired" in each for each in said[40:])
        await broker.close()


@pytest.mark.parametrize(
    ("name", "days", "reason"),
    [("127.0.0.2", 1, r"another name than 127\.0\.0\.1"), ("127.0.0.1", -1, "has expired")],
)
async def test_a_certificate_that_does_not_hold(name, days, reason, tmp_path, authority):
    files = authority[0].issue(tmp_path, name, days=days)
    with NatsServer(tmp_path / "nats", certificate=files) as server:
        with pytest.raises(BrokerError, match=reason) as caught:
            await client(server.port, tls=tls_context(authority[1])).connect()
        assert caught.value.state == "untrusted"


def test_a_ca_file_that_is_none(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="holds no certificates"):
        tls_context(tmp_path / "ca.pem")


async def test_tls_to_a_plain_port(server):
    with pytest.raises(BrokerError, match="TLS port|closed the connection"):
        await client(server.port, tls=ssl.create_default_context()).connect()


async def test_a_listener_that_is_no_broker_and_hangs_up(monkeypatch):
    monkeypatch.setattr("gateway.host.mqtt._ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.get_running_loop().run_in_executor(None, lambda: listener.accept()[0].close())
        with pytest.raises(BrokerError, match="no answer within .* no MQTT broker"):
            await client(listener.getsockname()[1]).connect()
