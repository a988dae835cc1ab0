"""Commands to gateways: numbered, kept, sent, and what came of them (docs/custody.md, "Commands")."""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiomqtt
import sqlalchemy as sa

from gateway import clock
from gateway.transmission import FrameError, topics
from gateway.transmission.commands import (
    DONE,
    EXPIRED,
    MAX_VALIDITY,
    REPEATED,
    RUNNING,
    Challenge,
    Command,
    Piece,
    Result,
    Want,
    command_key,
    decode,
    tag_of,
)
from gateway.transmission.ids import format_uuid

from . import schema
from .config import Broker, Commands, read_secret
from .errors import BrokerError, InUseError, StorageError
from .receiver import client
from .storage import Storage

T = TypeVar("T")

STATUS_NAMES = ("done", "failed", "refused", "expired", "repeated", "unknown action", "running")
# Unanswered commands are said again: a gateway that was away for a moment has them, and takes each once.
_AGAIN_SECONDS = 5.0
# Said again less often to who is carrying it out: it may restart for that, and would have to read them all.
_PATIENT_SECONDS = 60.0
_SHORTEST_VALIDITY = 60
_BUSY_MS = 10_000


def key_of(settings: Commands, meter: bytes) -> bytes | None:
    """What commands to this meter are sealed with, or None where nobody has told the secret."""
    file = settings.credential_file
    if settings.credential_dir is not None:
        own = settings.credential_dir / format_uuid(meter)
        if own.exists() or file is None:
            file = own if own.exists() else None
    return None if file is None else command_key(read_secret(file))


@dataclass(frozen=True)
class Sent:
    """A command under its number, sealed."""

    number: int
    expires: int
    message: bytes


def prepare(
    connection: sa.Connection,
    meter: bytes,
    key: bytes,
    action: int,
    arguments: tuple[int, ...],
    good_for: int,
    challenge: bytes = b"",
    above: int = 0,
) -> Sent:
    """Numbers a command and keeps it; to be committed before it is sent.

    Numbers are UTC milliseconds, or more where time stands still: they rise over a database that was set
    back, too. `above`: a number that was used, though not known here. `good_for`: seconds.
    """
    table = schema.command
    now = clock.utc_ms()
    highest = connection.scalar(
        sa.select(sa.func.max(table.c.number)).where(table.c.meter_individual_id == meter)
    )
    number = max(now, above + 1, (highest or 0) + 1)
    issued = now // 1000
    command = Command(number, issued, issued + good_for, challenge, action, arguments)
    sent = Sent(number, command.expires, command.encode(key, meter))
    connection.execute(
        table.insert(),
        {
            "meter_individual_id": meter,
            "number": number,
            "issued": issued,
            "expires": command.expires,
            "action": action,
            "arguments": json.dumps(arguments),
            "tag": tag_of(sent.message),
        },
    )
    return sent


def keep_result(connection: sa.Connection, meter: bytes, result: Result, now: int) -> bool:
    """Stores how a command of ours ended; what was said first stands. False for what is none of ours."""
    table = schema.command
    ours = (
        (table.c.meter_individual_id == meter)
        & (table.c.number == result.number)
        & (table.c.tag == result.tag)
    )
    open_still = table.c.status.is_(None) | (table.c.status == RUNNING)
    connection.execute(
        table.update()
        .where(ours & open_still)
        .values(status=result.status, text=result.text, answered_at=now)
    )
    return bool(connection.scalar(sa.select(sa.func.count()).select_from(table).where(ours)))


class CommandStore:
    """The table of commands, also while `omdp-cloud serve` has the database."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Does `work` in one transaction. Raises StorageError."""
        try:
            storage = await Storage.open(self._url)
        except InUseError:
            return await asyncio.to_thread(self._write_beside, work)
        try:
            return await storage.write(lambda writer: work(writer.connection))
        finally:
            await storage.close()

    def _write_beside(self, work: Callable[[sa.Connection], T]) -> T:
        """Whoever has the database has made it sound, and brings what is written into its file."""
        path = Path(self._url.removeprefix("sqlite:///"))
        engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
        sa.event.listen(engine, "connect", _set_up)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            with engine.begin() as connection:
                schema.command.create(connection, checkfirst=True)
                return work(connection)
        except sa.exc.SQLAlchemyError as error:
            raise StorageError(f"{path}: {getattr(error, 'orig', None) or error}") from None
        finally:
            engine.dispose()


def _set_up(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (f"busy_timeout={_BUSY_MS}", "synchronous=FULL", "wal_autocheckpoint=0"):
        connection.execute(f"PRAGMA {pragma}")


class _Talk:
    """About one command, over one connection or more. `numbered(challenge, above)` gives it another number;
    `ends`: when nobody waits any longer, by the loop's time. `expired`: what a challenge may still mend."""

    def __init__(self, sent: Sent, numbered: Callable[..., Any], ends: float, bundle: bytes) -> None:
        self.sent = sent
        self.ends = ends
        self.bundle = bundle
        self.expired: Result | None = None
        self.tries = 0
        self.tenths = 0
        self._numbered = numbered

    async def number_anew(self, challenge: bytes, above: int) -> None:
        self.tries += 1
        self.expired = None
        self.sent = await self._numbered(challenge, above)


class Sender:
    """Sends one command and waits for its result. `say`: called with what happens meanwhile, in words."""

    def __init__(
        self, broker: Broker, store: CommandStore, meter: bytes, key: bytes, say: Callable[[str], None]
    ) -> None:
        self._broker = broker
        self._store = store
        self._meter = meter
        self._key = key
        self._say = say

    async def send(
        self, action: int, arguments: tuple[int, ...], wait: float, bundle: bytes = b""
    ) -> Result | None:
        """The result; None when there was none within `wait` seconds. `bundle`: what the gateway asks for in
        parts, also over connections that break. Raises CloudError."""
        good_for = min(max(int(wait), _SHORTEST_VALIDITY), MAX_VALIDITY)

        async def numbered(challenge: bytes = b"", above: int = 0) -> Sent:
            return await self._store.write(
                lambda connection: prepare(
                    connection, self._meter, self._key, action, arguments, good_for, challenge, above
                )
            )

        loop = asyncio.get_running_loop()
        talk = _Talk(await numbered(), numbered, loop.time() + wait, bundle)
        name = f"{self._broker.client_id}-{secrets.token_hex(4)}"
        broker = self._broker.model_copy(update={"client_id": name})
        while True:
            try:
                async with client(broker, lasting=False) as connection:
                    await connection.subscribe(topics.result(self._meter), qos=1)
                    return await self._converse(connection, talk)
            except (aiomqtt.MqttError, OSError) as error:
                if not bundle or loop.time() + _AGAIN_SECONDS > talk.ends:
                    raise BrokerError(f"{self._broker.url}: {error}") from None
                self._say(f"{self._broker.url}: {error}; connecting again")
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _converse(self, connection: aiomqtt.Client, talk: "_Talk") -> Result | None:
        loop = asyncio.get_running_loop()
        again = _AGAIN_SECONDS
        await self._publish(connection, talk.sent)
        while (left := talk.ends - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(again, left)):
                    answer = await self._answer(connection)
            except TimeoutError:
                if talk.expired is not None:
                    break
                await self._publish(connection, talk.sent)
                continue
            if isinstance(answer, Challenge):
                if talk.expired is not None and talk.tries < 2:
                    self._say(f"{talk.expired.text}; sending it again with the gateway's challenge")
                    await talk.number_anew(answer.challenge, answer.last)
                    await self._publish(connection, talk.sent)
            elif answer.tag != tag_of(talk.sent.message):
                continue
            elif isinstance(answer, Want):
                again = _PATIENT_SECONDS
                await self._hand_over(connection, talk, answer)
            elif answer.number == talk.sent.number:
                await self._keep(answer)
                if answer.status == RUNNING:
                    self._say("the gateway is carrying it out")
                elif answer.status == EXPIRED and talk.tries < 2:
                    talk.expired = answer
                elif answer.status == REPEATED and answer.last >= talk.sent.number and talk.tries < 2:
                    self._say(f"the gateway has taken number {answer.last} before; sending it under the next")
                    await talk.number_anew(b"", answer.last)
                    await self._publish(connection, talk.sent)
                else:
                    return answer
        return talk.expired

    async def _hand_over(self, connection: aiomqtt.Client, talk: "_Talk", want: Want) -> None:
        data = talk.bundle[want.offset : want.offset + want.count]
        if not data:
            return
        piece = Piece(want.tag, want.offset, data)
        await connection.publish(topics.command(self._meter), piece.encode(self._key, self._meter), qos=1)
        done = (want.offset + len(data)) * 10 // len(talk.bundle)
        if done > talk.tenths:
            talk.tenths = done
            self._say(f"{done * 10} % of the bundle handed over")

    async def _keep(self, result: Result) -> None:
        now = clock.utc_ms() // 1000
        await self._store.write(lambda connection: keep_result(connection, self._meter, result, now))

    async def _publish(self, connection: aiomqtt.Client, sent: Sent) -> None:
        await connection.publish(topics.command(self._meter), sent.message, qos=1)

    async def _answer(self, connection: aiomqtt.Client) -> Result | Challenge | Want:
        async for message in connection.messages:
            if not isinstance(message.payload, bytes):
                continue
            try:
                answer = decode(self._meter, message.payload, self._key)
            except FrameError:
                continue
            if isinstance(answer, Result | Challenge | Want):
                return answer
        raise aiomqtt.MqttError("the connection ended")


def exit_code(result: Result | None) -> int:
    return 0 if result is not None and result.status == DONE else 1
