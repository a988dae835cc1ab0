"""The custody ledger's tables, within the transaction that stores the frames it speaks of.

One statement per table and batch: what a batch needs is loaded when the ledger names its streams, what it
changes is written at the `end`. Workers may share the tables: what two of them write
about one frame is the same.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.transmission.ledger import MAX_LOOSE, LedgerStore, Stream

from .schema import (
    custody_drop,
    custody_frame,
    custody_generation,
    custody_loose,
    custody_session,
    custody_stream,
)
from .writer import insert

if TYPE_CHECKING:
    from gateway.transmission.ledger import Key

# Databases bound the number of parameters in one statement.
_CHUNK = 5000


def _key_of(table: sa.Table) -> sa.ColumnElement[Any]:
    return sa.tuple_(table.c.meter_individual_id, table.c.frame_class, table.c.epoch)


def _stream_is(table: sa.Table) -> sa.ColumnElement[bool]:
    """To be executed with parameters m, c and e."""
    return sa.and_(
        table.c.meter_individual_id == sa.bindparam("m"),
        table.c.frame_class == sa.bindparam("c"),
        table.c.epoch == sa.bindparam("e"),
    )


_DELETE_STREAM = custody_stream.delete().where(_stream_is(custody_stream))
_DELETE_FRAMES = custody_frame.delete().where(_stream_is(custody_frame))
_DELETE_BELOW = _DELETE_FRAMES.where(custody_frame.c.sequence < sa.bindparam("s"))
_DELETE_FRAME = _DELETE_FRAMES.where(custody_frame.c.sequence == sa.bindparam("s"))


class SqlLedgerStore(LedgerStore):
    """Call `begin` with the transaction before the ledger is told anything, `end` after its `finish`."""

    def __init__(self) -> None:
        self.connection: sa.Connection
        self._generations: dict[bytes, tuple[bytes, int] | None] = {}
        self._new_generations: dict[bytes, tuple[bytes, int]] = {}
        self._sessions: dict[bytes, tuple[int, int] | None] = {}
        self._loose: list[tuple[bytes, bytes]] = []
        self._drops: list[dict[str, Any]] = []
        self._trims: dict[bytes, tuple[int, int]] = {}

    def begin(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._generations = {}
        self._new_generations = {}
        self._sessions = {}
        self._loose = []
        self._drops = []
        self._trims = {}

    def load(self, keys: Iterable["Key"]) -> dict["Key", Stream]:
        wanted = list(keys)
        self._load_generations({meter for meter, _, _ in wanted})
        streams: dict[Key, Stream] = {}
        table = custody_stream
        for chunk in _chunks(wanted):
            for row in self.connection.execute(
                sa.select(
                    table.c.meter_individual_id,
                    table.c.frame_class,
                    table.c.epoch,
                    table.c.low,
                    table.c.key_id,
                    table.c.nonce,
                    table.c.touched,
                ).where(_key_of(table).in_(chunk))
            ):
                stream = Stream()
                stream.new = False
                meter, cls, epoch, stream.low, stream.key_id, stream.nonce, stream.touched = row
                streams[(meter, cls, epoch)] = stream
        table = custody_frame
        for chunk in _chunks(list(streams)):
            for meter, cls, epoch, sequence, sha256 in self.connection.execute(
                sa.select(
                    table.c.meter_individual_id,
                    table.c.frame_class,
                    table.c.epoch,
                    table.c.sequence,
                    table.c.sha256,
                ).where(_key_of(table).in_(chunk))
            ):
                streams[(meter, cls, epoch)].hashes[sequence] = sha256
        return streams

    def save(self, streams: dict["Key", Stream]) -> None:
        rows: list[dict[str, Any]] = []
        below: list[dict[str, Any]] = []
        gone: list[dict[str, Any]] = []
        hashes: list[dict[str, Any]] = []
        for (meter, cls, epoch), stream in streams.items():
            named = {"meter_individual_id": meter, "frame_class": cls, "epoch": epoch}
            rows.append(
                {
                    **named,
                    "low": stream.low,
                    "key_id": stream.key_id,
                    "nonce": stream.nonce,
                    "touched": stream.touched,
                }
            )
            if stream.pruned:
                below.append({"m": meter, "c": cls, "e": epoch, "s": stream.pruned})
            gone += [{"m": meter, "c": cls, "e": epoch, "s": sequence} for sequence in stream.replaced]
            hashes += [
                {**named, "sequence": sequence, "sha256": stream.hashes[sequence]}
                for sequence in sorted(stream.added | stream.replaced)
                if sequence in stream.hashes
            ]
        statement = insert(self.connection, custody_stream)
        state = {name: statement.excluded[name] for name in ("low", "key_id", "nonce", "touched")}
        self._execute(
            statement.on_conflict_do_update(
                index_elements=[
                    custody_stream.c.meter_individual_id,
                    custody_stream.c.frame_class,
                    custody_stream.c.epoch,
                ],
                set_=state,
            ),
            rows,
        )
        self._execute(_DELETE_BELOW, below)
        self._execute(_DELETE_FRAME, gone)
        self._execute(insert(self.connection, custody_frame).on_conflict_do_nothing(), hashes)

    def trim(self, meter: bytes, before: int, most: int) -> None:
        self._trims[meter] = (before, most)

    def add_loose(self, meter: bytes, sha256: bytes) -> None:
        self._loose.append((meter, sha256))

    def remove_loose(self, meter: bytes, sha256: bytes) -> None:
        self._write_loose()
        table = custody_loose
        self.connection.execute(
            table.delete().where(table.c.meter_individual_id == meter, table.c.sha256 == sha256)
        )

    def has(self, meter: bytes, sha256: bytes) -> bool:
        self._write_loose()
        return any(
            self.connection.scalar(
                sa.select(sa.exists().where(table.c.meter_individual_id == meter, table.c.sha256 == sha256))
            )
            for table in (custody_loose, custody_frame)
        )

    def add_drop(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> None:
        self._drops.append(
            {"meter_individual_id": meter, "frame_class": cls, "epoch": epoch, "first": first, "last": last}
        )

    def generation(self, meter: bytes) -> tuple[bytes, int] | None:
        if meter not in self._generations:
            self._load_generations({meter})
        return self._generations[meter]

    def set_generation(self, meter: bytes, generation: bytes, since: int) -> None:
        self._generations[meter] = self._new_generations[meter] = (generation, since)

    def session(self, session: bytes) -> tuple[int, int] | None:
        if session not in self._sessions:
            table = custody_session
            row = self.connection.execute(
                sa.select(table.c.position, table.c.last_commit).where(table.c.session == session)
            ).one_or_none()
            self._sessions[session] = None if row is None else (row.position, row.last_commit)
        return self._sessions[session]

    def advance(self, session: bytes, old: int, position: int, now: int) -> bool:
        table = custody_session
        if old == 0:
            self.connection.execute(
                table.insert(),
                {
                    "session": session,
                    "opened": int.from_bytes(session[:4], "big"),
                    "position": position,
                    "last_commit": now,
                },
            )
        else:
            changed = self.connection.execute(
                table.update()
                .where(table.c.session == session, table.c.position == old)
                .values(position=position, last_commit=now)
            )
            return changed.rowcount == 1
        return True

    def end(self) -> None:
        """Writes what is left, before the commit."""
        self._write_loose()
        self._write_generations()
        self._execute(insert(self.connection, custody_drop).on_conflict_do_nothing(), self._drops)
        self._drops = []
        self._write_trims()

    def last_commit(self, opened: int) -> int:
        table = custody_session
        latest = self.connection.scalar(
            sa.select(sa.func.max(table.c.last_commit)).where(table.c.opened <= opened)
        )
        return int(latest or 0)

    def _execute(self, statement: sa.Executable, rows: list[dict[str, Any]]) -> None:
        if rows:
            self.connection.execute(statement, rows)

    def _load_generations(self, meters: set[bytes]) -> None:
        table = custody_generation
        for chunk in _chunks([meter for meter in meters if meter not in self._generations]):
            self._generations.update(dict.fromkeys(chunk))
            for row in self.connection.execute(
                sa.select(table.c.meter_individual_id, table.c.generation, table.c.since).where(
                    table.c.meter_individual_id.in_(chunk)
                )
            ):
                self._generations[row.meter_individual_id] = (row.generation, row.since)

    def _write_generations(self) -> None:
        statement = insert(self.connection, custody_generation)
        new = {name: statement.excluded[name] for name in ("generation", "since")}
        self._execute(
            statement.on_conflict_do_update(
                index_elements=[custody_generation.c.meter_individual_id], set_=new
            ),
            [
                {"meter_individual_id": meter, "generation": generation, "since": since}
                for meter, (generation, since) in self._new_generations.items()
            ],
        )
        self._new_generations = {}

    def _write_loose(self) -> None:
        """Adds what is new and, for each meter concerned, lets the oldest go."""
        if not self._loose:
            return
        table = custody_loose
        rows = [{"meter_individual_id": meter, "sha256": sha256} for meter, sha256 in self._loose]
        self._loose = []
        self._execute(insert(self.connection, table).on_conflict_do_nothing(), rows)
        oldest_kept = (
            sa.select(table.c.id)
            .where(table.c.meter_individual_id == sa.bindparam("m"))
            .order_by(table.c.id.desc())
            .offset(MAX_LOOSE - 1)
            .limit(1)
            .scalar_subquery()
        )
        self._execute(
            table.delete().where(table.c.meter_individual_id == sa.bindparam("m"), table.c.id < oldest_kept),
            [{"m": meter} for meter in {row["meter_individual_id"] for row in rows}],
        )

    def _write_trims(self) -> None:
        table = custody_stream
        gone: list[dict[str, Any]] = []
        for chunk in _chunks(list(self._trims)):
            rows = self.connection.execute(
                sa.select(table.c.meter_individual_id, table.c.frame_class, table.c.epoch, table.c.touched)
                .where(table.c.meter_individual_id.in_(chunk))
                .order_by(
                    table.c.meter_individual_id,
                    table.c.touched.desc(),
                    table.c.frame_class.desc(),
                    table.c.epoch.desc(),
                )
            ).all()
            places: dict[bytes, int] = {}
            for meter, cls, epoch, touched in rows:
                before, most = self._trims[meter]
                places[meter] = place = places.get(meter, -1) + 1
                if place >= most or touched < before:
                    gone.append({"m": meter, "c": cls, "e": epoch})
        self._trims = {}
        self._execute(_DELETE_FRAMES, gone)
        self._execute(_DELETE_STREAM, gone)


def _chunks(items: list[Any]) -> Iterable[list[Any]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
