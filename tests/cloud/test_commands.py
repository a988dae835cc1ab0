"""Commands from the owner's side: words, numbers that rise, and results that are stored once."""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiomqtt
import pytest
import sqlalchemy as sa

from gateway.transmission import commands, model, topics
from gateway.transmission.commands import Challenge, Command, Piece, Result, Want, command_key, decode, tag_of
from gateway.transmission.ids import format_uuid
from omdp_cloud import schema
from omdp_cloud.command_line import parse, run
from omdp_cloud.commands import CommandStore, Sender, Sent, keep_result, key_of, prepare
from omdp_cloud.config import Broker, Commands, Settings
from omdp_cloud.errors import BrokerError, ConfigurationError
from omdp_cloud.results import take
from omdp_cloud.storage import Storage

METER = bytes(range(16))
OTHER = bytes(range(1, 17))
KEY = command_key(b"what only owner and gateway know")


@pytest.fixture
def store(tmp_path: Path) -> CommandStore:
    return CommandStore(f"sqlite:///{tmp_path}/readings.db")


def number(store: CommandStore, above: int = 0, meter: bytes = METER):
    return store.write(
        lambda connection: prepare(connection, meter, KEY, commands.SELF_TEST, (), 60, above=above)
    )


async def row(store: CommandStore, sent: Sent) -> tuple:
    table = schema.command
    found = await store.write(
        lambda connection: connection.execute(sa.select(table).where(table.c.number == sent.number)).one()
    )
    return found.status, found.text


@pytest.mark.parametrize(
    ("words", "action", "arguments"),
    [
        ("read-now registers", commands.READ_NOW, (model.REGISTERS,)),
        ("backfill load-profile 2024-07-01 2024-07-02", commands.BACKFILL, (5, 1719792000, 1719878400)),
        ("backfill events 2024-07-01T02:00+02:00 2024-07-01T00:00:01Z", 2, (7, 1719792000, 1719792001)),
        ("set-interval present 30s", commands.SET_INTERVAL, (model.PRESENT, 30_000)),
        ("set-interval present configured", commands.SET_INTERVAL, (model.PRESENT, 0)),
        ("self-test", commands.SELF_TEST, ()),
    ],
)
def test_words(words: str, action: int, arguments: tuple[int, ...]):
    assert parse(words.split()[0], words.split()[1:]) == (action, arguments)
    # The gateway takes what comes out.
    decode(METER, Command(1, 2, 3, b"", action, arguments).encode(KEY, METER), KEY)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("explode", "is no command"),
        ("read-now", "read-now KIND"),
        ("read-now registers present", "read-now KIND"),
        ("read-now foreign", "is no kind of reading"),
        ("backfill load-profile yesterday today", "is no time"),
        ("backfill load-profile 2024-07-02 2024-07-01", "ends before it begins"),
        ("backfill load-profile 1969-07-02 2024-07-01", "ends before it begins"),
        ("set-interval present 0s", "is no duration"),
        ("set-interval present 400d", "is no duration"),
        ("self-test please", "self-test"),
    ],
)
def test_words_that_say_nothing(words: str, said: str):
    with pytest.raises(ConfigurationError, match=said):
        parse(words.split()[0], words.split()[1:])


async def test_numbers_rise_also_over_a_database_that_was_set_back(
    store: CommandStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = time.time_ns() // 1_000_000
    sent = [await number(store) for _ in range(3)]
    assert before <= sent[0].number < sent[1].number < sent[2].number
    assert (await number(store, above=sent[2].number + 10**9)).number == sent[2].number + 10**9 + 1
    highest = (await number(store)).number
    assert highest == sent[2].number + 10**9 + 2
    assert (await number(store, meter=OTHER)).number < highest
    for file in tmp_path.iterdir():
        file.unlink()
    later = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert (await number(store)).number == later // 10**6 > sent[2].number


async def test_a_command_is_kept_before_anybody_sees_it(store: CommandStore, tmp_path: Path):
    sent = await number(store)
    with sqlite3.connect(tmp_path / "readings.db") as connection:
        kept = connection.execute("SELECT number, tag, status FROM command").fetchall()
    assert kept == [(sent.number, tag_of(sent.message), None)]


async def test_while_the_service_has_the_database(store: CommandStore, tmp_path: Path):
    storage = await Storage.open(f"sqlite:///{tmp_path}/readings.db")
    try:
        sent = await number(store)
        rows = await storage.write(
            lambda writer: writer.connection.execute(sa.select(schema.command.c.number)).all()
        )
    finally:
        await storage.close()
    assert [one.number for one in rows] == [sent.number]


async def test_what_was_said_first_stands(store: CommandStore):
    sent = await number(store)

    async def said(status: int, text: str, tag: bytes = b"") -> bool:
        result = Result(sent.number, tag or tag_of(sent.message), status, text, sent.number)
        return await store.write(lambda connection: keep_result(connection, METER, result, 7))

    assert not await said(commands.DONE, "somebody else's", b"12345678")
    assert await row(store, sent) == (None, None)
    assert await said(commands.RUNNING, "wait")
    assert await said(commands.DONE, "read")
    assert await said(commands.FAILED, "the gateway was ended")
    assert await row(store, sent) == (commands.DONE, "read")


async def test_results_that_nobody_waits_for(store: CommandStore, tmp_path: Path):
    (tmp_path / "secret").write_text("what only owner and gateway know")
    (tmp_path / "secret").chmod(0o600)
    settings = Commands(credential_file=tmp_path / "secret")
    sent = await number(store)
    result = Result(sent.number, tag_of(sent.message), commands.DONE, "read", sent.number)
    good = result.encode(KEY, METER)
    for topic, payload in (
        (topics.result(METER), b""),
        (topics.result(METER), good[:-1] + bytes([good[-1] ^ 1])),
        (topics.result(OTHER), good),
        (topics.result(METER), Challenge(bytes(8), 1).encode(KEY, METER)),
        ("command/nobody/result", good),
    ):
        assert not await take(settings, store, topic, payload)
    assert not await take(Commands(), store, topics.result(METER), good)
    assert await row(store, sent) == (None, None)
    assert await take(settings, store, topics.result(METER), good)
    assert await row(store, sent) == (commands.DONE, "read")


def test_each_meter_may_have_a_secret_of_its_own(tmp_path: Path):
    for name, secret in (("00010203-0405-0607-0809-0a0b0c0d0e0f", "its own"), ("all", "for all")):
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
    both = Commands(credential_file=tmp_path / "all", credential_dir=tmp_path)
    assert key_of(both, METER) == command_key(b"its own")
    assert key_of(both, OTHER) == command_key(b"for all")
    assert key_of(Commands(credential_dir=tmp_path), OTHER) is None
    assert key_of(Commands(), METER) is None


class Gateway:
    """Stands for broker and gateway: `answers(command, tag)` gives what comes back."""

    def __init__(self, answers: Callable[[Command, bytes], list[bytes]]) -> None:
        self.answers = answers
        self.heard: list[Command] = []
        self.pieces: list[Piece] = []
        self.on_piece: Callable[[Piece], list[bytes]] = lambda piece: []
        self.coming: asyncio.Queue[SimpleNamespace] = asyncio.Queue()

    @asynccontextmanager
    async def client(self, broker: Broker, lasting: bool) -> AsyncIterator["Gateway"]:
        assert not lasting
        yield self

    async def subscribe(self, topic: str, qos: int) -> None:
        assert topic == topics.result(METER)

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        assert topic == topics.command(METER)
        command = decode(METER, payload, KEY)
        if isinstance(command, Piece):
            self.pieces.append(command)
            for answer in self.on_piece(command):
                self.coming.put_nowait(SimpleNamespace(payload=answer))
            return
        assert isinstance(command, Command)
        self.heard.append(command)
        for answer in self.answers(command, tag_of(payload)):
            self.coming.put_nowait(SimpleNamespace(payload=answer))

    @property
    def messages(self) -> "Gateway":
        return self

    def __aiter__(self) -> "Gateway":
        return self

    async def __anext__(self) -> SimpleNamespace:
        return await self.coming.get()


async def converse(
    store: CommandStore,
    monkeypatch: pytest.MonkeyPatch,
    answers: Callable[[Command, bytes], list[bytes]],
    wait: float = 30,
) -> tuple[Result | None, list[Command], list[str]]:
    gateway = Gateway(answers)
    monkeypatch.setattr("omdp_cloud.commands.client", gateway.client)
    monkeypatch.setattr("omdp_cloud.commands._AGAIN_SECONDS", 0.02)
    told: list[str] = []
    sender = Sender(Broker(url="mqtt://127.0.0.1"), store, METER, KEY, told.append)
    return await sender.send(commands.SELF_TEST, (), wait), gateway.heard, told


def result(command: Command, tag: bytes, status: int, last: int = 0) -> bytes:
    return Result(command.number, tag, status, "so it is", last or command.number).encode(KEY, METER)


async def test_a_command_is_said_again_until_it_is_answered(store, monkeypatch):
    seen = []

    def answers(command: Command, tag: bytes) -> list[bytes]:
        seen.append(tag)
        noise = [
            b"noise",
            result(command, b"12345678", commands.FAILED),
            Challenge(bytes(8), 1).encode(KEY, METER),
        ]
        if len(seen) == 2:
            return [*noise, result(command, tag, commands.RUNNING)]
        return noise if len(seen) < 4 else [result(command, tag, commands.DONE)]

    answer, heard, told = await converse(store, monkeypatch, answers)
    assert answer is not None
    assert (answer.status, len(heard), len(set(seen))) == (commands.DONE, 4, 1)
    assert told == ["the gateway is carrying it out"]


async def test_a_number_that_was_used_is_passed_over(store, monkeypatch):
    taken = time.time_ns() // 1_000_000 + 10**9

    def answers(command: Command, tag: bytes) -> list[bytes]:
        if command.number <= taken:
            return [result(command, tag, commands.REPEATED, taken)]
        return [result(command, tag, commands.DONE)]

    answer, heard, told = await converse(store, monkeypatch, answers)
    assert answer is not None
    assert (answer.number, answer.status) == (taken + 1, commands.DONE)
    assert str(taken) in told[0]
    statuses = await store.write(
        lambda connection: (
            connection.execute(sa.select(schema.command.c.status).order_by(schema.command.c.number))
            .scalars()
            .all()
        )
    )
    assert statuses == [commands.REPEATED, commands.DONE]


async def test_a_gateway_with_another_clock_is_answered_by_its_challenge(store, monkeypatch):
    def answers(command: Command, tag: bytes) -> list[bytes]:
        if command.challenge == b"12345678":
            return [result(command, tag, commands.DONE)]
        return [
            result(command, tag, commands.EXPIRED, 5),
            Challenge(b"12345678", command.number + 7).encode(KEY, METER),
        ]

    answer, heard, told = await converse(store, monkeypatch, answers)
    assert answer is not None
    assert (answer.status, len(heard), len(told)) == (commands.DONE, 2, 1)
    assert heard[1].number > heard[0].number + 7


@pytest.mark.parametrize(
    "status", [commands.EXPIRED, commands.REPEATED, commands.REFUSED, commands.UNKNOWN, 77]
)
async def test_what_stays_refused_ends(store, monkeypatch, status: int):
    def answers(command: Command, tag: bytes) -> list[bytes]:
        return [result(command, tag, status), Challenge(b"12345678", 1).encode(KEY, METER)]

    answer, heard, _ = await converse(store, monkeypatch, answers)
    assert answer is not None
    assert answer.status == status
    assert len(heard) <= 3


async def test_silence_ends_in_time_and_leaves_the_command_open(store, monkeypatch):
    answer, heard, _ = await converse(store, monkeypatch, lambda command, tag: [], 0.2)
    assert answer is None
    assert len({command.number for command in heard}) == 1
    assert await row(store, Sent(heard[0].number, 0, b"")) == (None, None)


async def test_a_broker_that_is_away_is_told(store):
    sender = Sender(Broker(url="mqtt://127.0.0.1:1"), store, METER, KEY, lambda text: None)
    with pytest.raises(BrokerError, match=r"mqtt://127\.0\.0\.1:1"):
        await sender.send(commands.SELF_TEST, (), 1)


async def test_a_bundle_is_handed_over_also_over_connections_that_break(store, monkeypatch):
    bundle = random.Random(1).randbytes(2500)
    command: list[Command] = []

    def want(tag: bytes, offset: int, count: int = 1000) -> bytes:
        return Want(tag, offset, count).encode(KEY, METER)

    def answers(heard: Command, tag: bytes) -> list[bytes]:
        command.append(heard)
        return (
            [want(b"12345678", 0), want(tag, 5000), want(tag, 0)] if len(command) == 1 else [want(tag, 1000)]
        )

    def on_piece(piece: Piece) -> list[bytes]:
        if piece.offset == 0:
            raise aiomqtt.MqttError("the broker went away")
        if piece.offset == 1000:
            return [want(piece.tag, 2000, 500)]
        return [result(command[0], piece.tag, commands.DONE)]

    gateway = Gateway(answers)
    gateway.on_piece = on_piece
    monkeypatch.setattr("omdp_cloud.commands.client", gateway.client)
    monkeypatch.setattr("omdp_cloud.commands._AGAIN_SECONDS", 0.02)
    told: list[str] = []
    sender = Sender(Broker(url="mqtt://127.0.0.1"), store, METER, KEY, told.append)
    answer = await sender.send(commands.UPDATE, (len(bundle), 0), 30, bundle)
    assert answer is not None and answer.status == commands.DONE
    assert [(piece.offset, piece.data) for piece in gateway.pieces] == [
        (at, bundle[at : at + 1000]) for at in (0, 1000, 2000)
    ]
    assert len({one.number for one in gateway.heard}) == 1
    assert told[0].endswith("the broker went away; connecting again")
    assert told[-1] == "100 % of the bundle handed over"


@pytest.mark.parametrize(
    ("action", "bundle", "lower", "said"),
    [
        ("update", None, False, "update --bundle FILE"),
        ("update", "missing.bundle", False, "can't be read"),
        ("update", "other.bundle", False, "is no application bundle"),
        ("self-test", "other.bundle", False, "belong to update"),
        ("self-test", None, True, "belong to update"),
    ],
)
async def test_what_is_no_update(action: str, bundle: str | None, lower: bool, said: str, tmp_path: Path):
    (tmp_path / "other.bundle").write_bytes(b"PK")
    with pytest.raises(ConfigurationError, match=said):
        file = bundle and tmp_path / bundle
        await run(Settings(), format_uuid(METER), action, [], None, file, lower)
