"""What can be done within one transaction: one statement per table for a whole batch of messages."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.transmission import registry
from gateway.transmission.model import Reading

from . import schema
from .contents import content_hash

# Properties that the registry does not number get numbers of our own from here on.
FIRST_OWN_PROPERTY = 1 << 20

# Databases bound the number of parameters in one statement.
_CHUNK = 5000

# No more ids than these are remembered between transactions.
_MOST_KNOWN = 100_000

# Nobody may fill the disk by making things up. What finds no room gets no receipt: its sender keeps it.
MAX_METERS = 1_000_000
MAX_LETTERS = 200_000
MAX_LETTERS_OF_TOPIC = 10_000

_name = lru_cache(1024)(registry.name)
_number = lru_cache(1024)(registry.number)

_VALUE_COLUMNS = (
    *("reading", "position", "property", "mantissa", "exponent", "text_value", "unit"),
    *("date", "date_fraction", "date_offset"),
)


@lru_cache(2)
def _insert_text(dialect: sa.Dialect) -> str:
    """INSERT INTO property_value in the driver's own words, for tuples in the order of _VALUE_COLUMNS."""
    statement = schema.property_value.insert().compile(dialect=dialect, column_keys=_VALUE_COLUMNS)
    assert tuple(statement.positiontup or ()) == _VALUE_COLUMNS
    return str(statement)


class Row(NamedTuple):
    meter: bytes  # MeterIndividualId
    identifier: bytes  # meterReadingIdentifier
    reading: Reading


class Known:
    """Row ids that earlier transactions looked up, and those of this one on top."""

    def __init__(
        self, meters: dict[bytes, int] | None = None, properties: dict[str, int] | None = None
    ) -> None:
        self.meters = {} if meters is None else meters
        self.properties = {} if properties is None else properties
        self.new_meters: dict[bytes, int] = {}
        self.new_properties: dict[str, int] = {}

    def copy(self) -> "Known":
        """For the next transaction, when this one stands."""
        if len(self.meters) > _MOST_KNOWN:
            self.meters.clear()
        self.meters.update(self.new_meters)
        self.properties.update(self.new_properties)
        twin = Known()
        twin.meters, twin.properties = self.meters, self.properties
        return twin


@dataclass
class Outcome:
    """What became of a batch's rows."""

    stored: int = 0
    known: int = 0  # the same id with the same content: no news
    revised: int = 0  # the same id with other content
    # Places of rows that are not taken: under an id of another meter; of a meter for which there is no room.
    foreign: list[int] = field(default_factory=list)
    no_room: list[int] = field(default_factory=list)


@dataclass
class _Key:
    """What stands under a reading's id, and what this batch makes of it."""

    meter: int
    content_hash: bytes
    revision: int
    reading: int = 0
    changed: bool = False


def insert(connection: sa.Connection, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that knows ON CONFLICT, in the database's own dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


class Writer:
    """`known` is only taken over when the transaction stands."""

    def __init__(self, connection: sa.Connection, known: Known) -> None:
        self.connection = connection
        self._known = known

    def store(self, rows: Sequence[Row], received_at: int) -> Outcome:
        """Keeps the rows that are news; same id and content is none, other content becomes a revision.

        `received_at`: UTC seconds. Nothing that stands in the database is overwritten. Among rows of the same
        id the last is the newest.
        """
        outcome = Outcome()
        if not rows:
            return outcome
        meters = self._meters({row.meter for row in rows}, received_at)
        keys = self._keys({row.identifier for row in rows})
        news: list[dict[str, Any]] = []
        readings: list[Reading] = []
        next_id = 1 + (self.connection.scalar(sa.select(sa.func.max(schema.meter_reading.c.id))) or 0)
        for place, row in enumerate(rows):
            meter = meters.get(row.meter)
            if meter is None:
                outcome.no_room.append(place)
                continue
            content = content_hash(row.reading)
            key = keys.get(row.identifier)
            if key is None:
                key = keys[row.identifier] = _Key(meter, content, 0)
                outcome.stored += 1
            elif key.meter != meter:
                outcome.foreign.append(place)
                continue
            elif key.content_hash == content:
                outcome.known += 1
                continue
            else:
                key.revision += 1
                key.content_hash = content
                outcome.revised += 1
            key.changed = True
            key.reading = next_id + len(news)
            news.append(_reading_row(key, row, received_at))
            readings.append(row.reading)
        if news:
            self.connection.execute(schema.meter_reading.insert(), news)
            self._insert_values(readings, next_id)
            self._save_keys(keys)
        return outcome

    def bury(self, letters: Sequence[tuple[str, bytes, str]], received_at: int) -> list[int]:
        """Keep (topic, payload, reason) as dead letters; the places of those that found no room."""
        if not letters:
            return []
        table = schema.dead_letter
        count = sa.func.count()
        highest, lowest = self.connection.execute(
            sa.select(sa.func.max(table.c.id), sa.func.min(table.c.id))
        ).one()
        # No fewer than there are, and found at once.
        there = 0 if highest is None else highest - lowest + 1
        if there + len(letters) > MAX_LETTERS:
            there = self.connection.scalar(sa.select(count).select_from(table)) or 0
        of_topic: dict[str, int] = {}
        if there + len(letters) > MAX_LETTERS_OF_TOPIC:
            topics = {topic for topic, _, _ in letters}
            counts = sa.select(table.c.topic, count).where(table.c.topic.in_(topics)).group_by(table.c.topic)
            of_topic = {row[0]: row[1] for row in self.connection.execute(counts)}
        rows: list[dict[str, Any]] = []
        refused: list[int] = []
        for place, (topic, payload, reason) in enumerate(letters):
            of_topic[topic] = of_topic.get(topic, 0) + 1
            if there + len(rows) >= MAX_LETTERS or of_topic[topic] > MAX_LETTERS_OF_TOPIC:
                refused.append(place)
                continue
            rows.append({"received_at": received_at, "topic": topic, "payload": payload, "reason": reason})
        if rows:
            self.connection.execute(table.insert(), rows)
        return refused

    def _meters(self, wanted: set[bytes], received_at: int) -> dict[bytes, int]:
        """Ids of the meters' rows; makes those that are missing, where there is room."""
        known = self._known
        table = schema.meter_individual
        missing = [uuid.UUID(bytes=meter) for meter in wanted if meter not in known.meters]
        for chunk in _chunks(missing):
            wanted_here = sa.select(table.c.meter_individual_id, table.c.id).where(
                table.c.meter_individual_id.in_(chunk)
            )
            found = {row.meter_individual_id: row.id for row in self.connection.execute(wanted_here)}
            new = [meter for meter in chunk if meter not in found]
            if new:
                new = new[: max(MAX_METERS - self._highest_meter(), 0)]
            if new:
                self.connection.execute(
                    insert(self.connection, table).on_conflict_do_nothing(),
                    [{"meter_individual_id": meter, "first_seen": received_at} for meter in new],
                )
                found.update(
                    (row.meter_individual_id, row.id) for row in self.connection.execute(wanted_here)
                )
            known.new_meters.update((meter.bytes, number) for meter, number in found.items())
        ids = {**known.new_meters}
        ids.update((meter, known.meters[meter]) for meter in wanted if meter in known.meters)
        return ids

    def _highest_meter(self) -> int:
        return self.connection.scalar(sa.select(sa.func.max(schema.meter_individual.c.id))) or 0

    def _keys(self, identifiers: Iterable[bytes]) -> dict[bytes, _Key]:
        table = schema.reading_key
        found: dict[bytes, _Key] = {}
        for chunk in _chunks([uuid.UUID(bytes=identifier) for identifier in identifiers]):
            answer = self.connection.execute(
                sa.select(
                    table.c.meter_reading_identifier, table.c.meter, table.c.content_hash, table.c.revision
                ).where(table.c.meter_reading_identifier.in_(chunk))
            )
            for identifier, meter, content, revision in answer:
                found[identifier.bytes] = _Key(meter, content, revision)
        return found

    def _insert_values(self, readings: Iterable[Reading], first: int) -> None:
        rows = [
            (
                number,
                position,
                self._property(value.prop),
                value.mantissa,
                value.exponent,
                value.text,
                value.unit,
                None if value.date is None else value.date.seconds,
                "" if value.date is None else value.date.fraction,
                None if value.date is None else value.date.offset,
            )
            for number, reading in enumerate(readings, first)
            for position, value in enumerate(reading.values)
        ]
        if rows:
            # By far the most rows there are, of types that drivers take as they are.
            self.connection.exec_driver_sql(_insert_text(self.connection.dialect), rows)

    def _property(self, prop: int | str) -> int:
        property_id = prop if isinstance(prop, str) else _name(prop) or ""
        known = self._known
        found = known.properties.get(property_id, known.new_properties.get(property_id))
        if found is None:
            table = schema.operational_property_definition
            wanted = sa.select(table.c.id).where(table.c.property_id == property_id)
            found = self.connection.scalar(wanted)
            if found is None:
                number = _number(property_id)
                if number is None:
                    highest = self.connection.scalar(sa.select(sa.func.max(table.c.id)))
                    number = max(FIRST_OWN_PROPERTY, int(highest or 0) + 1)
                self.connection.execute(table.insert().values(id=number, property_id=property_id))
                found = number
            known.new_properties[property_id] = found
        return found

    def _save_keys(self, keys: Mapping[bytes, _Key]) -> None:
        table = schema.reading_key
        rows = [
            {
                "meter_reading_identifier": uuid.UUID(bytes=identifier),
                "meter": key.meter,
                "content_hash": key.content_hash,
                "reading": key.reading,
                "revision": key.revision,
            }
            for identifier, key in keys.items()
            if key.changed
        ]
        statement = insert(self.connection, table)
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.meter_reading_identifier],
                set_={name: statement.excluded[name] for name in ("content_hash", "reading", "revision")},
            ),
            rows,
        )


def _reading_row(key: _Key, row: Row, received_at: int) -> dict[str, Any]:
    reading = row.reading
    return {
        "id": key.reading,
        "meter_reading_identifier": uuid.UUID(bytes=row.identifier),
        "meter": key.meter,
        "revision": key.revision,
        "kind": reading.kind,
        "time": reading.time.seconds,
        "fraction": reading.time.fraction,
        "offset": reading.time.offset,
        "fault_codes": ",".join(str(fault) for fault in reading.faults),
        "received_at": received_at,
    }


def _chunks(items: list[Any]) -> Iterable[list[Any]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
