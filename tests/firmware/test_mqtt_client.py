"""The board's MQTT client against real brokers, and against brokers that behave badly."""

import asyncio
import json
from pathlib import Path

import pytest
from mqtt import MqttBroker, tls_context
from mqtt_machine import MqttMachine

from gateway.errors import BrokerError
from tests.brokers import NatsServer, free_port
from tests.certificates import Authority
from tests.interpreter import ROOT, micropython
from tests.mosquitto import Mosquitto
from tests.mqtt_proxy import Proxy
from tests.patience import PATIENCE_S

BROKERS = {"nats": NatsServer, "mosquitto": Mosquitto}


@pytest.fixture(scope="module", params=BROKERS)
def server(request, tmp_path_factory):
    with BROKERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


def client(port: int, name: str = "board", **options) -> MqttBroker:
    machine = {key: options.pop(key) for key in ("username", "password", "will", "limit") if key in options}
    keep_alive = options.get("keep_alive", 60)
    return MqttBroker("127.0.0.1", port, MqttMachine(name, keep_alive=keep_alive, **machine), **options)


async def listening(port: int, *topics: str) -> MqttBroker:
    broker = client(port, "listener")
    await broker.connect()
    for topic in topics:
        await broker.subscribe(topic)
    return broker


async def test_concurrent_publishes_pass_the_window_in_order(server):
    listener = await listening(server.port, "many/#")
    broker = client(server.port)
    await broker.connect()
    received: list[bytes] = []

    async def receive() -> None:
        while len(received) < 40:
            received.append((await listener.receive())[1])

    receiving = asyncio.create_task(receive())
    await asyncio.gather(*(broker.publish("many/x", b"%d" % n) for n in range(40)))
    await asyncio.wait_for(receiving, PATIENCE_S)
    assert received == [b"%d" % n for n in range(40)]
    await broker.close()
    await listener.close()


async def test_a_cancelled_publish_does_not_stop_the_next(server):
    broker = client(server.port)
    await broker.connect()
    for _ in range(8):
        task = asyncio.create_task(broker.publish("t", b"never mind"))
        await asyncio.sleep(0)
        task.cancel()
    await broker.publish("t", b"but this")
    await broker.close()


async def test_retained_messages_and_the_will(server):
    listener = await listening(server.port, "board/status")
    broker = client(server.port, will=("board/status", b"gone", True))
    await broker.connect()
    await broker.publish("board/status", b"here", retain=True)
    assert await listener.receive() == ("board/status", b"here")
    broker._task.cancel()  # the socket goes without a goodbye
    assert await asyncio.wait_for(listener.receive(), PATIENCE_S) == ("board/status", b"gone")
    await broker.connect()
    await broker.publish("board/status", b"here", retain=True)
    await broker.close()
    late = client(server.port, "late")
    await late.connect()
    await late.subscribe("board/status")
    assert await asyncio.wait_for(late.receive(), PATIENCE_S) == ("board/status", b"here")
    await late.close()
    await listener.close()


async def test_a_message_too_long_is_dropped_and_the_next_one_arrives(server):
    broker = client(server.port, "small", limit=1000)
    await broker.connect()
    await broker.subscribe("long/#")
    await broker.publish("long/a", bytes(5000))
    await broker.publish("long/b", b"short")
    assert await asyncio.wait_for(broker.receive(), PATIENCE_S) == ("long/b", b"short")
    assert broker.dropped == 1
    await broker.close()


async def test_a_reader_that_lags_loses_the_oldest_and_stops_nothing(server):
    broker = client(server.port, "slow")
    await broker.connect()
    await broker.subscribe("fast")
    for number in range(30):
        await broker.publish("fast", b"%d" % number)
    while broker.dropped < 14:
        await asyncio.sleep(0.01)
    assert [(await broker.receive())[1] for _ in range(16)] == [b"%d" % n for n in range(14, 30)]
    await broker.close()


@pytest.mark.parametrize("kind", BROKERS)
async def test_what_a_killed_broker_did_not_acknowledge_comes_again_marked_and_in_order(kind, tmp_path):
    with BROKERS[kind](tmp_path) as server:
        async with Proxy(server.port) as proxy:
            broker = client(proxy.port)
            await broker.connect()
            await broker.publish("t", b"acknowledged")
            proxy.deaf = True
            waiting = [asyncio.create_task(broker.publish("t", b"%d" % n)) for n in range(6)]
            await proxy.until_published(0, 5)  # four fill the window
            server.process.kill()
            server.process.wait()
            for result in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(result, BrokerError)
                assert "connection lost" in str(result)
            with pytest.raises(BrokerError):
                await broker.connect()

            proxy.deaf = False
            await asyncio.to_thread(server.start)
            await broker.connect()
            # The caller has no answer and publishes all of it again: what is on its way is not sent twice.
            await asyncio.gather(*(broker.publish("t", b"%d" % n) for n in range(6)))
            await broker.close()
            again = [(first & 0x08, rest[5:]) for first, rest in proxy.published(1)]
            assert again == [(8, b"0"), (8, b"1"), (8, b"2"), (8, b"3"), (0, b"4"), (0, b"5")]


@pytest.mark.parametrize("kind", BROKERS)
async def test_credentials(kind, tmp_path):
    with BROKERS[kind](tmp_path, users={"board": "right"}) as server:
        good = client(server.port, username="board", password="right")
        await good.connect()
        await good.publish("t", b"")
        await good.close()
        with pytest.raises(BrokerError, match=r"user name or password|not authorized") as caught:
            await client(server.port, username="board", password="wrong-one").connect()
        assert caught.value.state == "refused"
        assert "wrong-one" not in str(caught.value)


def tls_client(port: int, authority: Authority, name: str) -> MqttBroker:
    return MqttBroker(
        "127.0.0.1", port, MqttMachine("board"), tls=tls_context(authority.der), server_hostname=name
    )


@pytest.mark.parametrize("kind", BROKERS)
async def test_tls_is_verified(kind, tmp_path):
    authority = Authority()
    certificate = authority.issue(tmp_path, "broker.test")
    with BROKERS[kind](tmp_path / "store", certificate=certificate) as server:
        good = tls_client(server.port, authority, "broker.test")
        await good.connect()
        await good.publish("t", b"x" * 8000)
        await good.close()
        with pytest.raises(BrokerError, match="check the CA file") as caught:
            await tls_client(server.port, Authority(), "broker.test").connect()
        assert caught.value.state == "untrusted"
        with pytest.raises(BrokerError, match=r"certificate is for other\.test"):
            await tls_client(server.port, authority, "other.test").connect()
        with pytest.raises(BrokerError):
            await client(server.port, connect_timeout_ms=2000).connect()


async def on_micropython(directory: Path, **settings) -> str:
    file = directory / "settings.json"
    file.write_text(json.dumps(settings))
    process = await asyncio.create_subprocess_exec(
        micropython(),
        "-X",
        "heapsize=224K",
        str(ROOT / "tests/firmware/mqtt_exercise.py"),
        str(file),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
    return output.decode()


@pytest.mark.parametrize("kind", BROKERS)
async def test_tls_on_micropython(kind, tmp_path: Path):
    authority = Authority()
    certificate = authority.issue(tmp_path, "broker.test", "127.0.0.1")
    ca, other = tmp_path / "ca.der", tmp_path / "other.der"
    ca.write_bytes(authority.der)
    other.write_bytes(Authority().der)
    users = {"board": "right"}
    with BROKERS[kind](tmp_path / "store", users, certificate) as server:
        basic = {
            "host": "127.0.0.1",
            "port": server.port,
            "count": 20,
            "username": "board",
            "password": "right",
        }
        listener = MqttBroker(
            "127.0.0.1",
            server.port,
            MqttMachine("listener", username="board", password="right"),
            tls=tls_context(authority.der),
        )
        await listener.connect()
        await listener.subscribe("board/out")
        running = asyncio.create_task(on_micropython(tmp_path, **basic, ca=str(ca), name="broker.test"))
        async with asyncio.timeout(PATIENCE_S):
            for number in range(20):
                assert await listener.receive() == ("board/out", b"%d " % number + b"x" * 3000)
        await listener.publish("board/in", b"enough")
        assert await running == "received board/in enough\ndone\n"
        await listener.close()

        assert "check the CA file" in await on_micropython(
            tmp_path, **basic, ca=str(other), name="broker.test"
        )
        assert "certificate is for other.test" in await on_micropython(
            tmp_path, **basic, ca=str(ca), name="other.test"
        )
        assert "error" in await on_micropython(tmp_path, **basic)
        basic["password"] = "wrong-one"
        refused = await on_micropython(tmp_path, **basic, ca=str(ca), name="broker.test")
        assert "error" in refused
        assert "user" in refused
        assert "wrong-one" not in refused


async def test_a_certificate_for_an_address_and_one_that_has_ended_on_micropython(tmp_path: Path):
    authority = Authority()
    ca = tmp_path / "ca.der"
    ca.write_bytes(authority.der)
    settings = {"host": "127.0.0.1", "count": 0, "ca": str(ca)}
    with NatsServer(tmp_path / "a", certificate=authority.issue(tmp_path, "127.0.0.2")) as server:
        assert "certificate is for 127.0.0.1" in await on_micropython(tmp_path, **settings, port=server.port)
    with NatsServer(tmp_path / "b", certificate=authority.issue(tmp_path, "127.0.0.1", days=-1)) as server:
        assert "validity has expired" in await on_micropython(tmp_path, **settings, port=server.port)


async def test_what_micropython_says_when_there_is_no_broker(tmp_path: Path):
    authority = Authority()
    ca = tmp_path / "ca.der"
    ca.write_bytes(authority.der)
    settings = {"host": "127.0.0.1", "count": 0}
    assert "is the broker running there?" in await on_micropython(tmp_path, **settings, port=free_port())
    with NatsServer(tmp_path / "nats") as server:
        assert "is it a TLS port?" in await on_micropython(tmp_path, **settings, port=server.port, ca=str(ca))


async def serve_badly(*answers: bytes):
    """A broker that gives one answer per read and then stays silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            if not await reader.read(4096):
                break
            writer.write(answer)
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_a_silent_broker_is_given_up():
    server, port = await serve_badly(b"\x20\x02\x00\x00")
    broker = client(port, keep_alive=1)
    await broker.connect()
    with pytest.raises(BrokerError, match="silent for more than 1 s"):
        await asyncio.wait_for(broker.receive(), PATIENCE_S)
    await broker.close()
    server.close()


async def test_a_broker_that_acknowledges_nothing_is_given_up():
    server, port = await serve_badly(b"\x20\x02\x00\x00", *[b"\xd0\x00"] * 20)
    broker = client(port, keep_alive=2)
    await broker.connect()
    with pytest.raises(BrokerError, match="acknowledged nothing for more than 2 s"):
        await asyncio.wait_for(broker.publish("t", b""), PATIENCE_S)
    await broker.close()
    server.close()


async def test_an_idle_connection_is_kept_alive(tmp_path: Path):
    with Mosquitto(tmp_path) as server:
        broker = client(server.port, "idle", keep_alive=3)
        await broker.connect()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(broker.receive(), 5)
        await broker.publish("t", b"still here")
        await broker.close()


async def test_a_refused_subscription_says_so():
    server, port = await serve_badly(b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x80")
    broker = client(port)
    await broker.connect()
    with pytest.raises(BrokerError, match="refused the subscription to secret/#"):
        await broker.subscribe("secret/#")
    await broker.close()
    server.close()


async def test_a_broker_that_breaks_the_protocol():
    for answers, reason in (
        ((b"HTTP/1.1 400 Bad Request\r\n",), "is this an MQTT broker"),
        ((b"\x20\x02\x00\x03",), "not available"),
    ):
        server, port = await serve_badly(*answers)
        with pytest.raises(BrokerError, match=reason):
            await client(port).connect()
        server.close()
    server, port = await serve_badly(b"\x20\x02\x00\x00", b"\x30\x03\x00\x09t")
    broker = client(port)
    await broker.connect()
    with pytest.raises(BrokerError, match="topic of 9"):
        await broker.publish("t", b"")
    await broker.close()
    server.close()


async def test_no_broker_and_no_answer():
    with pytest.raises(BrokerError, match="refused|Connect call failed") as caught:
        await client(free_port()).connect()
    assert caught.value.state == "gone"
    server, port = await serve_badly()
    with pytest.raises(BrokerError, match="said nothing"):
        await client(port, connect_timeout_ms=300).connect()
    server.close()
    with pytest.raises(BrokerError, match="not connected"):
        await client(1).publish("t", b"")


def test_a_ca_in_another_format_is_refused():
    with pytest.raises(BrokerError, match="has to be DER"):
        tls_context(b"-----BEGIN CERTIFICATE-----\n")
