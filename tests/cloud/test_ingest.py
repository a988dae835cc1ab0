"""What becomes of a message: rows, revisions, dead letters, receipts."""

import hashlib
import json
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.transmission import frames, platform_json, registry, topics
from gateway.transmission.custody import Ask, Receipt, decode
from gateway.transmission.model import (
    EVENT,
    LOAD_PROFILE,
    MBUS,
    PRESENT,
    Column,
    Event,
    Reading,
    Series,
    Timestamp,
    Value,
)
from omdp_cloud import schema
from omdp_cloud.errors import StorageError
from omdp_cloud.ingest import MAX_PAYLOAD, Ingest, Message
from omdp_cloud.storage import Storage
from tests.cloud.conftest import HOP_KEY

VECTORS = Path(__file__).parents[1] / "vectors"
METER = bytes(range(16))
OTHER = bytes(range(1, 17))
NONCE = b"nonce-01"


def message(payload: bytes, meter: bytes = METER, specific: str = topics.COMPACT) -> Message:
    return Message(topics.topic(meter, specific, "here"), payload)


def ask(streams: list[tuple[int, int, int, list[tuple[int, int]]]], claims: list = []) -> Message:  # noqa: B006
    payload = Ask(NONCE, b"", [], streams, [], claims).encode(HOP_KEY, METER)
    return Message(topics.ask(METER), payload)


def present(epoch: int, sequence: int, watt: int = 431) -> bytes:
    values = [Value(0, watt, -3, "kW"), Value("Unknown to the registry", -5, 2, "furlong")]
    return frames.encode(METER, epoch, sequence, [Reading(PRESENT, Timestamp(1_700_000_000), values)])


def interval(mantissa: int, epoch: int, sequence: int) -> bytes:
    column = Column(1, [mantissa], -3, "kWh")
    series = Series(LOAD_PROFILE, [1_700_000_100], [column], origins=[(1, 0, 7, 99, 4)])
    return frames.encode(METER, epoch, sequence, [series])


async def rows(storage: Storage, *columns: sa.ColumnElement) -> list[tuple]:
    async with storage.reading() as connection:
        return [tuple(row) for row in await connection.execute(sa.select(*columns))]


def receipts(report) -> list[Receipt]:
    found = []
    for meter, payload in report.receipts:
        decoded = decode(meter, payload, lambda _: HOP_KEY)
        assert decoded and isinstance(decoded[1], Receipt)
        found.append(decoded[1])
    return found


async def test_values_stand_as_mantissa_and_exponent(storage: Storage, ingest: Ingest):
    extremes = [2**31 - 1, -(2**31), -1, 0, 2**63 - 1, -(2**63)]
    values = [Value(number, mantissa, -3, "kWh") for number, mantissa in enumerate(extremes)]
    frame = frames.encode(METER, 1, 0, [Reading(PRESENT, Timestamp(1_700_000_000, "250", 60), values)])
    await ingest.take([message(frame)])
    table = schema.property_value
    assert await rows(storage, table.c.mantissa, table.c.exponent) == [(each, -3) for each in extremes]
    reading = schema.meter_reading
    assert await rows(storage, reading.c.time, reading.c.fraction, reading.c.offset) == [
        (1_700_000_000, "250", 60)
    ]


async def test_no_column_of_the_database_is_a_float():
    for table in schema.metadata.tables.values():
        for column in table.columns:
            assert not isinstance(column.type, sa.Float | sa.Numeric), column


async def test_a_property_the_registry_lacks_is_kept_by_name(storage: Storage, ingest: Ingest):
    await ingest.take([message(present(1, 0))])
    table = schema.operational_property_definition
    names = dict(await rows(storage, table.c.property_id, table.c.id))
    assert set(names) == {"OBIS_1.7.0", "Unknown to the registry"}
    assert names["OBIS_1.7.0"] == 0


async def test_the_same_again_is_no_news(storage: Storage, ingest: Ingest):
    first = await ingest.take([message(interval(5, 1, 0))])
    again = await ingest.take([message(interval(5, 1, 0)), message(interval(5, 2, 7))])
    assert (first.outcome.stored, again.outcome.stored, again.outcome.known) == (1, 0, 2)
    assert len(await rows(storage, schema.meter_reading.c.id)) == 1


async def test_other_content_under_the_same_id_is_a_revision(storage: Storage, ingest: Ingest):
    report = await ingest.take(
        [message(interval(5, 1, 0)), message(interval(6, 2, 0)), message(interval(5, 3, 0))]
    )
    assert (report.outcome.stored, report.outcome.revised) == (1, 2)
    key, reading, value = schema.reading_key, schema.meter_reading, schema.property_value
    async with storage.reading() as connection:
        newest = await connection.execute(
            sa.select(value.c.mantissa, key.c.revision)
            .join(reading, reading.c.id == value.c.reading)
            .join(key, key.c.reading == reading.c.id)
        )
        assert newest.all() == [(5, 2)]
    assert sorted(await rows(storage, value.c.mantissa)) == [(5,), (5,), (6,)]


async def test_an_event_is_a_reading_of_its_code(storage: Storage, ingest: Ingest):
    event = Event(EVENT, Timestamp(1_700_000_000), 12, 4_000_000_000, b"\x26\x01\x02\x03\x04\x05", b"\x01")
    await ingest.take([message(frames.encode(METER, 1, 0, [event]))])
    table = schema.property_value
    numbers = await rows(storage, table.c.mantissa, table.c.text_value)
    assert (12, None) in numbers
    assert (4_000_000_000, None) in numbers


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (message(b"\x93\x01"), "frame"),
        (message(present(1, 0)[:-1] + b"\0"), "check"),
        (message(present(1, 0), OTHER), "another meter"),
        (message(b"x" * (MAX_PAYLOAD + 1)), "bytes"),
        (Message("concentrator/x/smartMeterMessage/not-a-uuid/compact", present(1, 0)), "UUID"),
    ],
)
async def test_wrong_input_becomes_a_dead_letter(storage: Storage, ingest: Ingest, bad: Message, reason: str):
    report = await ingest.take([bad, message(present(1, 1))])
    assert report.outcome.stored == 1, "what is right beside it is stored"
    table = schema.dead_letter
    (letter,) = await rows(storage, table.c.topic, table.c.payload, table.c.reason)
    assert letter[0] == bad.topic
    assert letter[1] == bad.payload[:MAX_PAYLOAD]
    assert reason in letter[2]


@pytest.mark.parametrize(
    "other",
    [
        Message("concentrator/x", b"gossip"),
        Message("concentrator/x/weather", b"sunny"),
        message(b"{}", specific="gossip"),
        Message(topics.custody(METER), b"a receipt"),
        Message(topics.ask(METER), b"\x96\x01\x01\xc4\x04abcd" + bytes(40)),
    ],
)
async def test_what_is_none_of_our_business_is_counted_and_left(
    storage: Storage, ingest: Ingest, other: Message
):
    report = await ingest.take([other])
    assert (report.ignored, report.dead_letters) == (1, 0)
    assert await rows(storage, schema.dead_letter.c.id) == []


async def test_a_receipt_names_what_is_stored(ingest: Ingest):
    stored = [present(1, sequence) for sequence in range(3)]
    await ingest.take([ask([(3, 1, 0, [(0, 2)])])])
    report = await ingest.take([message(frame) for frame in stored])
    ranges = [one for receipt in receipts(report) for one in receipt.ranges]
    assert [one[:4] for one in ranges] == [(3, 1, 0, 2)]
    assert all(receipt.nonce == NONCE for receipt in receipts(report))


async def test_dead_letters_are_receipted_to_who_claims_them(ingest: Ingest):
    from hashlib import sha256

    damaged = present(1, 0)[:-1] + b"\0"
    await ingest.take([message(damaged)])
    claim = (3, 1, 0, sha256(damaged).digest())
    report = await ingest.take([ask([(3, 1, 0, [(0, 0)])], [claim])])
    assert [one[:4] for receipt in receipts(report) for one in receipt.ranges] == [(3, 1, 0, 0)]


async def test_json_of_both_shapes_is_taken_and_not_twice(storage: Storage, ingest: Ingest):
    reference = (VECTORS / "reference_reading.json").read_text()
    flat = json.dumps(json.loads(reference)["message"])
    meter = uuid.UUID(json.loads(flat)["meterId"]).bytes
    identifier = "7d4dbbcd-ba3a-4d3a-b0b9-7a8b9c1d2e3f"
    full = json.dumps(
        {
            "meterReadingIdentifier": identifier,
            "readingTime": "2023-11-22T12:00:00.5+01:00",
            "propertyValues": [
                {
                    "unit": "V",
                    "numericalValue": 230.10,
                    "operationalPropertyDefinition": {"propertyId": "OBIS_32.7.0"},
                }
            ],
            "meterIndividual": {"meterIndividualId": str(uuid.UUID(bytes=meter))},
        }
    ).replace("230.1", "230.10")
    sent = [message(text.encode(), meter, topics.READINGS) for text in (flat, full, flat, full)]
    report = await ingest.take(sent)
    assert (report.outcome.stored, report.outcome.known, report.dead_letters) == (2, 2, 0)
    reading, value = schema.meter_reading, schema.property_value
    stored = await rows(storage, reading.c.meter_reading_identifier, reading.c.fraction, reading.c.offset)
    assert (uuid.UUID(identifier), "5", 60) in stored
    assert (23010, -2) in await rows(storage, value.c.mantissa, value.c.exponent)
    assert len(await rows(storage, value.c.mantissa)) == 14


async def test_json_of_another_meter_is_refused(storage: Storage, ingest: Ingest):
    reference = json.dumps(json.loads((VECTORS / "reference_reading.json").read_text())["message"])
    report = await ingest.take([message(reference.encode(), METER, topics.READINGS)])
    assert (report.outcome.stored, report.dead_letters) == (0, 1)


async def test_a_foreign_key_gets_no_receipt(storage: Storage):
    other = Ingest(storage, {}, now=lambda: 1_800_000_000)
    await other.take([ask([(3, 1, 0, [(0, 0)])])])
    assert (await other.take([message(present(1, 0))])).receipts == []


async def test_one_message_the_database_refuses_neither_stops_the_others_nor_is_lost(
    storage: Storage, ingest: Ingest, tmp_path: Path
):
    await ingest.take([ask([(3, 1, 0, [])])])
    with closing(sqlite3.connect(tmp_path / "readings.db")) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON property_value WHEN NEW.mantissa = 666 "
            "BEGIN SELECT RAISE(ABORT, 'a number nobody likes'); END"
        )
    bad = present(1, 3, 666)
    frames_sent = [present(1, 0), present(1, 1), present(1, 2), bad, present(1, 4)]
    report = await ingest.take([message(frame) for frame in frames_sent])
    assert (report.outcome.stored, report.dead_letters) == (4, 1)
    table = schema.dead_letter
    assert await rows(storage, table.c.payload, table.c.reason) == [(bad, "a number nobody likes")]
    told = {n for receipt in receipts(report) for one in receipt.ranges for n in range(one[2], one[3] + 1)}
    assert told == {0, 1, 2, 4}
    claim = (3, 1, 3, hashlib.sha256(bad).digest())
    report = await ingest.take([ask([(3, 1, 0, [(3, 3)])], [claim])])
    assert [one[:4] for receipt in receipts(report) for one in receipt.ranges] == [(3, 1, 3, 3)]


@pytest.mark.parametrize(
    "text",
    [
        '"textValue": "half a pair: \\ud800"',
        '"textValue": "zero: \\u0000"',
    ],
)
async def test_what_no_database_can_hold_is_a_dead_letter(storage: Storage, ingest: Ingest, text: str):
    wrong = (
        '{"readingTime": "2023-11-22T12:00:00Z", "meterIndividual": {"meterIndividualId": "%s"}, '
        '"propertyValues": [{"operationalPropertyDefinition": {"propertyId": "OBIS_1.8.0"}, %s}]}'
    ) % (uuid.UUID(bytes=METER), text)
    report = await ingest.take([message(wrong.encode(), specific=topics.READINGS), message(present(1, 0))])
    assert (report.outcome.stored, report.dead_letters) == (1, 1)
    assert await rows(storage, schema.dead_letter.c.payload) == [(wrong.encode(),)]


async def test_no_meter_takes_the_reading_of_another(storage: Storage, ingest: Ingest):
    mine = interval(5, 1, 0)
    await ingest.take([message(mine)])
    (identifier,) = await rows(storage, schema.reading_key.c.meter_reading_identifier)
    stolen = (
        '{"meterReadingIdentifier": "%s", "readingTime": "2023-11-22T12:00:00Z", "meterIndividual": '
        '{"meterIndividualId": "%s"}, "propertyValues": [{"numericalValue": 1, '
        '"operationalPropertyDefinition": {"propertyId": "OBIS_1.8.0"}}]}'
    ) % (identifier[0], uuid.UUID(bytes=OTHER))
    report = await ingest.take([message(stolen.encode(), OTHER, topics.READINGS)])
    assert (report.outcome.stored, report.outcome.revised, report.dead_letters) == (0, 0, 1)
    assert await rows(storage, schema.reading_key.c.revision) == [(0,)]


async def test_a_full_disk_gives_no_receipt_and_loses_nothing(storage: Storage, ingest: Ingest):
    async def disk_of(pages: int) -> None:
        await storage.write(
            lambda writer: writer.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        )

    await ingest.take([ask([(3, 1, 0, [])])])
    many = [message(present(1, sequence)) for sequence in range(400)]
    await disk_of(1)  # SQLite takes what there is
    with pytest.raises(StorageError, match="full"):
        await ingest.take(many)
    assert await rows(storage, schema.meter_reading.c.id) == []
    await disk_of(1_000_000)
    report = await ingest.take(many)
    assert report.outcome.stored == 400
    told = {one[2:4] for receipt in receipts(report) for one in receipt.ranges}
    assert told == {(0, 399)}


async def test_telegrams_of_m_bus_devices_are_decoded(storage: Storage, ingest: Ingest):
    # A water meter: 10.000 m3.
    raw = "78563412" + "2d2c" + "1b" + "07" + "0500" + "0000" + "041310270000" + "00"
    values = [Value(registry.number("OSGP_mbus_telegram"), None, text=raw)]
    reading = Reading(MBUS, Timestamp(1_700_000_000), values, stored=(7, b"stamp", 1))
    await ingest.take([message(frames.encode(METER, 1, 0, [reading]))])
    table, definition = schema.property_value, schema.operational_property_definition
    async with storage.reading() as connection:
        found = await connection.execute(
            sa.select(definition.c.property_id, table.c.mantissa, table.c.text_value).join(definition)
        )
        stored = {row[0]: tuple(row[1:]) for row in found}
    assert stored["OSGP_mbus_telegram"] == (None, raw)
    assert stored["WATER_volume_of_water"] == (10000, None)


async def test_json_through_a_concentrator_is_taken_and_not_twice(storage: Storage, ingest: Ingest):
    payload = json.dumps(json.loads((VECTORS / "reference_reading.json").read_text())["message"]).encode()
    meter, reading = platform_json.parse(payload)
    wrapped = [message(frames.encode(meter, 1, sequence, [reading]), meter) for sequence in (0, 1)]
    report = await ingest.take([*wrapped, message(payload, meter, topics.READINGS)])
    assert (report.outcome.stored, report.outcome.known, report.dead_letters) == (1, 2, 0)
