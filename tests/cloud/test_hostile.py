"""Who may publish, but means no good: bounded memory and tables, and those who mean well are served."""

import asyncio
import hashlib
import json
import os

import pytest
import sqlalchemy as sa

from gateway.transmission import frames, ledger, topics
from gateway.transmission.custody import Ask, hop_key
from gateway.transmission.model import EVENT, PRESENT, Event, Reading, Timestamp, Value
from omdp_cloud import arrivals, schema, statuses, writer
from omdp_cloud.arrivals import MAX_HELD_BYTES, Arrivals
from omdp_cloud.ingest import MAX_PAYLOAD, Ingest, Message
from omdp_cloud.storage import Storage
from tests.cloud.test_ingest import METER, ask, interval, message, present, receipts, rows
from tests.patience import PATIENCE_S


def status(payload: bytes, gateway: str = "here", meter: bytes = b"") -> Message:
    if meter:
        return Message(topics.topic(meter, topics.STATUS, gateway), payload)
    return Message(topics.gateway_status(gateway), payload)


async def kept(storage: Storage) -> dict[tuple[str, bytes], tuple[str, str, int]]:
    table = schema.gateway_status.c
    found = await rows(
        storage, table.gateway, table.meter_individual_id, table.state, table.reason, table.since
    )
    return {row[:2]: row[2:] for row in found}


async def test_the_latest_status_of_each_stands(storage: Storage):
    clock = [1_800_000_000]
    ingest = Ingest(storage, {}, now=lambda: clock[0])
    said = {"state": "failing", "reason": "no answer", "since": 1_799_999_000}
    await ingest.take(
        [
            status(b'{"state": "online"}'),
            status(b'{"state": "working", "reason": ""}', meter=METER),
            status(json.dumps(said).encode(), meter=METER),
            status(b'{"state": "online"}', "there"),
            status(b'{"state": "working"}', "here/adapter/that"),
        ]
    )
    clock[0] += 100
    # The broker says the last again, and that one vanished; a third takes its own away.
    await ingest.take(
        [
            status(b'{"state": "online"}'),
            status(b'{"state": "offline"}', "there"),
            status(b"", "here/adapter/that"),
        ]
    )
    assert await kept(storage) == {
        ("here", b""): ("online", "", 1_800_000_000),
        ("here", METER): ("failing", "no answer", 1_799_999_000),
        ("there", b""): ("offline", "", 1_800_000_100),
    }


@pytest.mark.parametrize(
    "wrong",
    [b"{", b"[]", b'{"state": 5}', b"\xff", b'{"state": "\\ud800"}', b"[" * 5000, b'{"state":"x"}' * 999],
)
async def test_a_wrong_status_is_left(storage: Storage, ingest: Ingest, wrong: bytes):
    report = await ingest.take([status(wrong), status(b'{"state": "online"}', "there")])
    assert report.dead_letters == 0
    assert set(await kept(storage)) == {("there", b"")}


async def test_made_up_names_fill_no_table(storage: Storage, ingest: Ingest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(statuses, "MAX_STATUSES", 3)
    monkeypatch.setattr(writer, "MAX_METERS", 3)
    monkeypatch.setattr(writer, "MAX_LETTERS_OF_TOPIC", 2)
    monkeypatch.setattr(writer, "MAX_LETTERS", 5)
    await ingest.take([message(present(1, 0)), ask([(3, 1, 0, [])]), status(b'{"state": "online"}')])
    flood = [frame_of(os.urandom(16)) for _ in range(20)]
    flood += [status(b'{"state": "online"}', f"made-up-{number}") for number in range(20)]
    flood += [message(b"garbage %d" % number, os.urandom(16)) for number in range(20)]
    flood += [message(b"garbage %d" % number) for number in range(20)]
    report = await ingest.take(flood)
    assert len(await rows(storage, schema.meter_individual.c.id)) == 3
    assert len(await kept(storage)) == 3
    assert len(await rows(storage, schema.dead_letter.c.id)) == 5
    assert report.refused == 80 - 2 - 2 - 5
    # Who was known before goes on, with receipts and statuses.
    report = await ingest.take([message(present(1, 1)), status(b'{"state": "stopped"}')])
    assert report.outcome.stored == 1
    assert receipts(report)
    assert (await kept(storage))[("here", b"")][0] == "stopped"


async def test_what_found_no_room_gets_no_receipt(
    storage: Storage, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer, "MAX_LETTERS", 0)
    damaged = present(1, 0)[:-1] + b"\0"
    claim = [ask([(3, 1, 0, [(0, 0)])], [(3, 1, 0, hashlib.sha256(damaged).digest())])]
    await ingest.take([message(damaged)])
    assert [one for receipt in receipts(await ingest.take(claim)) for one in receipt.ranges] == []
    monkeypatch.setattr(writer, "MAX_LETTERS", 1)
    await ingest.take([message(damaged)])
    assert [one[:4] for receipt in receipts(await ingest.take(claim)) for one in receipt.ranges] == [
        (3, 1, 0, 0)
    ]


async def test_forged_asks_leave_no_trace(storage: Storage, ingest: Ingest):
    streams = [(cls, epoch, 0, [(0, 1)]) for cls in range(4) for epoch in range(8)]
    for key in (hop_key(b"a key that nobody knows"), bytes(32)):
        forged = Ask(bytes(8), b"", [], streams, [], []).encode(key, METER)
        # Under the name of the key that is known, too.
        named = forged[:5] + ask([]).payload[5:9] + forged[9:]
        await ingest.take([Message(topics.ask(METER), one) for one in (forged, named, named[:-1], b"")])
    for table in (schema.custody_stream, schema.custody_generation, schema.custody_frame, schema.dead_letter):
        async with storage.reading() as connection:
            assert await connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


async def test_streams_of_a_meter_are_bounded_whoever_makes_them_up(
    storage: Storage, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ledger, "MAX_STREAMS", 128)
    for start in range(0, 300, 100):
        await ingest.take([message(present(epoch, 0)) for epoch in range(start, start + 100)])
    async with storage.reading() as connection:
        table = schema.custody_stream
        assert await connection.scalar(sa.select(sa.func.count()).select_from(table)) == 128


async def test_payloads_of_ten_megabytes_are_held_by_their_beginning():
    waiting = Arrivals()
    topic = topics.topic(METER, topics.COMPACT, "here")
    for number in range(1, 1001):
        waiting.put(topic, bytes(10_000_000), number)
        if waiting.overflowed:
            break
    assert waiting.overflowed
    held = 0
    while len(waiting):
        batch = await waiting.batch()
        held += sum(len(one.message.payload) for one in batch)
        assert all(one.message.size == 10_000_000 for one in batch)
        waiting.stored(batch, 0.001)
    assert MAX_HELD_BYTES - 2 * MAX_PAYLOAD < held <= MAX_HELD_BYTES


async def test_an_event_is_not_kept_waiting_by_bulk_nor_bulk_by_a_flood_of_events():
    event = message(b"").topic
    waiting = Arrivals()
    for number in range(1, 2001):
        waiting.put(event, interval_frame(number), number)
    waiting.put(event, event_frame(1), 5000)
    batch = await waiting.batch()
    assert batch[0].number == 5000
    for number in range(6000, 9000):
        waiting.put(event, event_frame(number), number)
    batch = await waiting.batch()
    numbers = [one.number for one in batch]
    assert sum(number >= 6000 for number in numbers) > len(numbers) // 2
    assert any(number <= 2000 for number in numbers)


async def test_batches_follow_the_work_they_make_and_close_in_a_moment():
    waiting = Arrivals()
    topic = message(b"").topic
    number = 0
    sizes = []
    for seconds in (0.4, 0.4, 0.4, 0.001, 0.001, 0.001, 0.001):
        for _ in range(600):
            number += 1
            waiting.put(topic, interval_frame(number), number)
        batch = await waiting.batch()
        sizes.append(len(batch))
        waiting.stored(batch, seconds)
    assert sizes[2] < sizes[1] < sizes[0]
    assert sizes[-1] > sizes[3]
    assert max(sizes) <= arrivals.MAX_MESSAGES
    while len(waiting):
        waiting.stored(await waiting.batch(), 0.001)
    waiting.put(topic, interval_frame(1), 1)
    waiting.put(topic, interval_frame(1), 1)  # the broker is impatient
    async with asyncio.timeout(PATIENCE_S):
        assert len(await waiting.batch()) == 1


def frame_of(meter: bytes) -> Message:
    reading = Reading(PRESENT, Timestamp(1_700_000_000), [Value(0, 1, -3, "kW")])
    return message(frames.encode(meter, 1, 0, [reading]), meter)


def interval_frame(number: int) -> bytes:
    return interval(number, 1, number)


def event_frame(number: int) -> bytes:
    event = Event(EVENT, Timestamp(1_700_000_000), 12, number, b"\x26\x01\x02\x03\x04\x05")
    return frames.encode(METER, 1, number, [event])


async def test_a_fault_of_ours_stops_no_other_message(
    storage: Storage, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
):
    keep = statuses.keep

    def faulty(store, said, now):
        if any(one.state == "unheard of" for one in said):
            raise KeyError("unheard of")
        return keep(store, said, now)

    monkeypatch.setattr(statuses, "keep", faulty)
    batch = [message(present(1, sequence)) for sequence in range(5)]
    batch.insert(2, status(b'{"state": "unheard of"}'))
    report = await ingest.take(batch)
    assert (report.outcome.stored, report.dead_letters) == (5, 1)
    assert await rows(storage, schema.dead_letter.c.reason) == [("KeyError: 'unheard of'",)]
