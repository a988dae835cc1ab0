"""The storage: readings, revisions, dead letters and the custody ledger, in one transaction per batch."""

import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.transmission import registry
from gateway.transmission.model import Reading

from . import schema
from .contents import content_hash
from .errors import StorageError

T = TypeVar("T")

# A meterReadingIdentifier's 16 bytes and its reading.
Row = tuple[bytes, Reading]

# Properties that the registry does not number get numbers of our own from here on.
FIRST_OWN_PROPERTY = 1 << 20

# Databases bound the number of parameters in one statement.
_CHUNK = 500


@dataclass(frozen=True)
class _News:
    identifier: uuid.UUID
    reading: Reading
    content_hash: bytes
    revision: int


@dataclass
class Outcome:
    """What became of a batch's rows."""

    stored: int = 0
    known: int = 0  # the same id with the same content: no news
    revised: int = 0  # the same id with other content


class Storage:
    """An open database; one writer at a time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._meters: dict[bytes, int] = {}
        self._properties: dict[str, int] = {}

    @classmethod
    async def open(cls, url: str) -> "Storage":
        """Opens the database, makes what is missing in it. Raises StorageError."""
        path = Path(url.removeprefix("sqlite:///"))
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        sa.event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        sa.event.listen(engine.sync_engine, "begin", _begin)
        storage = cls(engine)
        try:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
            await storage.write(lambda writer: schema.metadata.create_all(writer.connection))
        except (OSError, StorageError) as error:
            await engine.dispose()
            raise StorageError(f"{path}: the database can't be opened: {error}") from None
        return storage

    async def close(self) -> None:
        await self._engine.dispose()

    async def write(self, work: Callable[["Writer"], T]) -> T:
        """Does `work` in one transaction: all of it stands when this returns, or none. Raises StorageError
        for what the database refuses; other errors of `work` pass through, and undo it too."""
        meters, properties = dict(self._meters), dict(self._properties)

        def run(connection: sa.Connection) -> T:
            return work(Writer(connection, meters, properties))

        try:
            async with self._engine.execution_options(writes=True).begin() as connection:
                done = await connection.run_sync(run)
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise StorageError(str(getattr(error, "orig", None) or error)) from None
        self._meters, self._properties = meters, properties
        return done

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            yield connection


class Writer:
    """What can be done within one transaction."""

    def __init__(
        self, connection: sa.Connection, meters: dict[bytes, int], properties: dict[str, int]
    ) -> None:
        self.connection = connection
        self._meters = meters
        self._properties = properties

    def store(self, meter_id: bytes, rows: Sequence[Row], received_at: int) -> Outcome:
        """Keeps the rows that are news; same id and content is none, other content becomes a revision.

        `received_at`: UTC seconds. Nothing that stands in the database is overwritten.
        """
        outcome = Outcome()
        # Within one batch the same id may come several times: the last of equals wins, one after another.
        for batch in _without_repeats(rows):
            self._store_distinct(meter_id, batch, received_at, outcome)
        return outcome

    def dead_letter(self, topic: str, payload: bytes, reason: str, received_at: int) -> None:
        self.connection.execute(
            schema.dead_letter.insert().values(
                received_at=received_at, topic=topic, payload=payload, reason=reason
            )
        )

    def _store_distinct(
        self, meter_id: bytes, rows: Sequence[Row], received_at: int, outcome: Outcome
    ) -> None:
        meter = self._meter(meter_id, received_at)
        known = self._keys([identifier for identifier, _ in rows])
        news: list[_News] = []
        for identifier, reading in rows:
            key = known.get(identifier)
            content = content_hash(reading)
            if key is None:
                news.append(_News(uuid.UUID(bytes=identifier), reading, content, 0))
            elif key.content_hash == content:
                outcome.known += 1
            else:
                news.append(_News(uuid.UUID(bytes=identifier), reading, content, key.revision + 1))
        if not news:
            return
        ids = self._insert_readings(meter, news, received_at)
        self._insert_values(news, ids)
        keys = [
            {
                "meter_reading_identifier": one.identifier,
                "meter": meter,
                "content_hash": one.content_hash,
                "reading": row,
                "revision": one.revision,
            }
            for one, row in zip(news, ids, strict=True)
        ]
        self._insert_keys([key for key in keys if key["revision"] == 0])
        self._update_keys([key for key in keys if key["revision"] != 0])
        revised = sum(1 for one in news if one.revision)
        outcome.revised += revised
        outcome.stored += len(news) - revised

    def _meter(self, meter_id: bytes, received_at: int) -> int:
        if meter_id not in self._meters:
            table = schema.meter_individual
            identifier = uuid.UUID(bytes=meter_id)
            found = self.connection.scalar(
                sa.select(table.c.id).where(table.c.meter_individual_id == identifier)
            )
            if found is None:
                found = self.connection.scalar(
                    table.insert()
                    .values(meter_individual_id=identifier, first_seen=received_at)
                    .returning(table.c.id)
                )
            self._meters[meter_id] = int(found or 0)
        return self._meters[meter_id]

    def _keys(self, identifiers: Sequence[bytes]) -> dict[bytes, Any]:
        table = schema.reading_key
        found: dict[bytes, Any] = {}
        for start in range(0, len(identifiers), _CHUNK):
            wanted = [uuid.UUID(bytes=identifier) for identifier in identifiers[start : start + _CHUNK]]
            answer = self.connection.execute(
                sa.select(table.c.meter_reading_identifier, table.c.content_hash, table.c.revision).where(
                    table.c.meter_reading_identifier.in_(wanted)
                )
            )
            found.update((row.meter_reading_identifier.bytes, row) for row in answer)
        return found

    def _insert_readings(self, meter: int, news: Iterable[_News], received_at: int) -> list[int]:
        table = schema.meter_reading
        answer = self.connection.execute(
            table.insert().returning(table.c.id, sort_by_parameter_order=True),
            [
                {
                    "meter_reading_identifier": one.identifier,
                    "meter": meter,
                    "revision": one.revision,
                    "kind": one.reading.kind,
                    "time": one.reading.time.seconds,
                    "fraction": one.reading.time.fraction,
                    "offset": one.reading.time.offset,
                    "fault_codes": ",".join(str(fault) for fault in one.reading.faults),
                    "received_at": received_at,
                }
                for one in news
            ],
        )
        return [int(reading) for (reading,) in answer]

    def _insert_values(self, news: Iterable[_News], ids: Iterable[int]) -> None:
        values = []
        for one, row in zip(news, ids, strict=True):
            for position, value in enumerate(one.reading.values):
                values.append(
                    {
                        "reading": row,
                        "position": position,
                        "property": self._property(value.prop),
                        "mantissa": value.mantissa,
                        "exponent": value.exponent,
                        "text_value": value.text,
                        "unit": value.unit,
                        "date": None if value.date is None else value.date.seconds,
                        "date_fraction": "" if value.date is None else value.date.fraction,
                        "date_offset": None if value.date is None else value.date.offset,
                    }
                )
        if values:
            self.connection.execute(schema.property_value.insert(), values)

    def _property(self, prop: int | str) -> int:
        property_id = prop if isinstance(prop, str) else registry.name(prop) or ""
        if property_id not in self._properties:
            table = schema.operational_property_definition
            found = self.connection.scalar(sa.select(table.c.id).where(table.c.property_id == property_id))
            if found is None:
                found = registry.number(property_id)
                if found is None:
                    highest = self.connection.scalar(sa.select(sa.func.max(table.c.id)))
                    found = max(FIRST_OWN_PROPERTY, int(highest or 0) + 1)
                self.connection.execute(table.insert().values(id=found, property_id=property_id))
            self._properties[property_id] = int(found)
        return self._properties[property_id]

    def _insert_keys(self, keys: list[dict[str, Any]]) -> None:
        if keys:
            self.connection.execute(schema.reading_key.insert(), keys)

    def _update_keys(self, keys: list[dict[str, Any]]) -> None:
        table = schema.reading_key
        for key in keys:
            self.connection.execute(
                table.update()
                .where(table.c.meter_reading_identifier == key["meter_reading_identifier"])
                .values(content_hash=key["content_hash"], reading=key["reading"], revision=key["revision"])
            )


def _without_repeats(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows in order, cut so that no part holds an id twice."""
    parts: list[list[Row]] = [[]]
    seen: set[bytes] = set()
    for row in rows:
        if row[0] in seen:
            parts.append([])
            seen.clear()
        parts[-1].append(row)
        seen.add(row[0])
    return parts if rows else []


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own transaction control would begin late and lock late; _begin does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: what is committed is on the disk before a receipt says so.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    # Who will write takes the lock at once: a reader that turns writer later could only fail.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
