"""The ledger on SQL against the ledger in memory: whatever two workers do, with rollbacks and restores, both
say the same, byte for byte."""

import random
import sqlite3

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import OutboxError
from gateway.transmission import ledger as ledgers
from gateway.transmission.custody import Ask, hop_key
from gateway.transmission.ledger import Ledger
from omdp_cloud import schema
from omdp_cloud.custody import SqlLedgerStore
from tests.custody_world import CloudStore

KEY = hop_key(b"a credential for this test only")
METERS = (b"meter-number-one", b"meter-number-two")

METER = st.sampled_from(METERS)
CLASS = st.integers(2, 3)
EPOCH = st.integers(1, 4)
SEQUENCE = st.integers(0, 14)
HASH = st.integers(0, 9).map(lambda n: bytes([n]) * 32)
STREAM = st.tuples(CLASS, EPOCH, SEQUENCE, st.lists(st.just((0, 14)), max_size=1))
MESSAGE = st.one_of(
    st.tuples(st.just("frame"), METER, CLASS, EPOCH, SEQUENCE, HASH),
    st.tuples(st.just("frame"), METER, CLASS, EPOCH, SEQUENCE, HASH),
    st.tuples(st.just("unreadable"), METER, HASH),
    st.tuples(
        st.just("ask"),
        METER,
        st.lists(STREAM, max_size=4),
        st.lists(st.tuples(CLASS, EPOCH, SEQUENCE, SEQUENCE), max_size=2),
        st.lists(st.tuples(CLASS, EPOCH, SEQUENCE, HASH), max_size=2),
        st.booleans(),
    ),
)
STEP = st.one_of(
    st.tuples(st.just("batch"), st.integers(0, 1), st.lists(MESSAGE, max_size=8), st.just(True)),
    st.tuples(st.just("batch"), st.integers(0, 1), st.lists(MESSAGE, max_size=8), st.just(True)),
    st.tuples(st.just("batch"), st.integers(0, 1), st.lists(MESSAGE, max_size=8), st.just(False)),
    st.tuples(st.just("open"), st.integers(0, 1)),
    st.tuples(st.just("backup")),
    st.tuples(st.just("restore"), st.booleans()),
)


class InMemory:
    def __init__(self):
        self.tables = CloudStore()
        self.backup()

    def opened(self):
        return self.tables

    def begin(self, store):
        self.transaction = self.tables.copy()
        return self.transaction

    def end(self, store, commit):
        if commit:
            self.tables = self.transaction

    def backup(self):
        self.copy = self.tables.copy()

    def restore(self):
        self.tables = self.copy.copy()


class OnSql:
    def __init__(self):
        self.engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        with self.engine.begin() as connection:
            schema.prepare(connection)
        self.connection = self.engine.connect()
        self.copy = sqlite3.connect(":memory:")
        self.backup()

    def raw(self):
        return self.connection.connection.dbapi_connection

    def opened(self):
        return SqlLedgerStore()

    def begin(self, store):
        self.transaction = self.connection.begin()
        store.begin(self.connection)
        return store

    def end(self, store, commit):
        if commit:
            store.end()
            self.transaction.commit()
        else:
            self.transaction.rollback()

    def backup(self):
        self.raw().backup(self.copy)
        self.connection.rollback()

    def restore(self):
        self.copy.backup(self.raw())
        self.connection.rollback()

    def close(self):
        self.copy.close()
        self.connection.close()
        self.engine.dispose()


class Worker:
    """One opening of the storage; says what its batches came to."""

    def __init__(self, storage, seed, now):
        self.storage = storage
        self.store = storage.opened()
        numbers = random.Random(seed)
        self.ledger = Ledger(self.store, lambda _meter, _name: KEY, numbers.randbytes, now)

    def batch(self, messages, marks, commit, now):
        """The receipts; None where the storage has gone back."""
        self.ledger.store = self.storage.begin(self.store)
        try:
            for name, meter, *what in messages:
                if name == "frame":
                    self.ledger.frame(meter, *what)
                elif name == "unreadable":
                    self.ledger.unreadable(meter, *what)
                else:
                    streams, drops, claims, current = what
                    known = marks.get(meter) if current else None
                    generation, pairs = known if known else (b"", [])
                    ask = Ask(bytes(8), generation, pairs[-8:], streams, drops, claims)
                    assert self.ledger.ask(meter, ask.encode(KEY, meter))
            receipts = self.ledger.finish(now)
        except OutboxError:
            self.storage.end(self.store, False)
            return None
        self.storage.end(self.store, commit)
        return receipts


@settings(max_examples=12, derandomize=True, database=None, deadline=None)
@given(steps=st.lists(STEP, min_size=8, max_size=30))
def test_the_ledger_says_the_same_on_both(steps):
    with pytest.MonkeyPatch.context() as patch:
        # Bounds that are met.
        patch.setattr(ledgers, "MAX_HASHES", 6)
        patch.setattr(ledgers, "MAX_STREAMS", 5)
        patch.setattr(ledgers, "STREAM_SECONDS", 300)
        run(steps)


def run(steps):
    memory, sql = InMemory(), OnSql()
    try:
        now = 1_700_000_000
        openings = 0
        marks = {}  # what senders were told: (generation, [(session, position), ...]) by meter
        workers = []
        for worker in range(2):
            workers.append([Worker(storage, worker, now) for storage in (memory, sql)])
        for step in steps:
            now += 20
            if step[0] == "batch":
                _, which, messages, commit = step
                said = [one.batch(messages, marks, commit, now) for one in workers[which]]
                assert said[0] == said[1]
                if commit and said[0] is not None:
                    learn(marks, memory.tables, workers[which][0].ledger, said[0])
                else:
                    step = ("open", which)
            if step[0] == "open":
                openings += 1
                workers[step[1]] = [Worker(storage, 10 + openings, now) for storage in (memory, sql)]
            elif step[0] == "backup":
                memory.backup()
                sql.backup()
            elif step[0] == "restore":
                memory.restore()
                sql.restore()
                if step[1]:  # the processes may or may not notice
                    openings += 2
                    for which in range(2):
                        seed = 10 + openings - which
                        workers[which] = [Worker(storage, seed, now) for storage in (memory, sql)]
        assert contents(memory.tables) == on_disk(sql.connection)
    finally:
        sql.close()


def learn(marks, tables, ledger, receipts):
    """Senders remember the generation and where the storage stood."""
    for meter in {meter for meter, _ in receipts}:
        generation, _ = tables.generation(meter)
        known = marks.get(meter)
        pairs = known[1] if known and known[0] == generation else []
        marks[meter] = (generation, [*pairs, (ledger.session, ledger.position)])


def contents(tables):
    return {
        "streams": {key: row[:3] for key, row in tables.streams.items()},
        "hashes": dict(tables.hashes),
        "loose": set(tables.loose),
        "drops": set(tables.dropped),
        "generations": dict(tables.generations),
        "sessions": dict(tables.sessions),
    }


def on_disk(connection):
    def rows(*columns):
        return [tuple(row) for row in connection.execute(sa.select(*columns))]

    stream, frame, loose = schema.custody_stream.c, schema.custody_frame.c, schema.custody_loose.c
    drop, generation, session = schema.custody_drop.c, schema.custody_generation.c, schema.custody_session.c
    return {
        "streams": {
            row[:3]: row[3:]
            for row in rows(
                stream.meter_individual_id,
                stream.frame_class,
                stream.epoch,
                stream.low,
                stream.key_id,
                stream.nonce,
            )
        },
        "hashes": {
            row[:4]: row[4]
            for row in rows(
                frame.meter_individual_id, frame.frame_class, frame.epoch, frame.sequence, frame.sha256
            )
        },
        "loose": set(rows(loose.meter_individual_id, loose.sha256)),
        "drops": set(rows(drop.meter_individual_id, drop.frame_class, drop.epoch, drop.first, drop.last)),
        "generations": {
            row[0]: row[1:]
            for row in rows(generation.meter_individual_id, generation.generation, generation.since)
        },
        "sessions": {row[0]: row[1:] for row in rows(session.session, session.position, session.last_commit)},
    }
