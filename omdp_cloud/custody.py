"""The custody ledger's tables, within the transaction that stores the frames it speaks of."""

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

if TYPE_CHECKING:
    from gateway.transmission.ledger import Key


def _stream_is(table: sa.Table, key: "Key") -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.meter_individual_id == key[0], table.c.frame_class == key[1], table.c.epoch == key[2]
    )


class SqlLedgerStore(LedgerStore):
    """`connection` is the transaction of the moment; whoever opens one sets it."""

    def __init__(self) -> None:
        self.connection: sa.Connection

    def load(self, keys: Iterable["Key"]) -> dict["Key", Stream]:
        streams: dict[Key, Stream] = {}
        for key in keys:
            row = self.connection.execute(
                sa.select(custody_stream).where(_stream_is(custody_stream, key))
            ).one_or_none()
            if row is None:
                continue
            stream = Stream()
            stream.new = False
            stream.low, stream.key_id, stream.nonce = row.low, row.key_id, row.nonce
            stream.touched = row.touched
            hashes = self.connection.execute(
                sa.select(custody_frame.c.sequence, custody_frame.c.sha256).where(
                    _stream_is(custody_frame, key)
                )
            )
            stream.hashes = {row.sequence: row.sha256 for row in hashes}
            streams[key] = stream
        return streams

    def save(self, streams: dict["Key", Stream]) -> None:
        for key, stream in streams.items():
            meter, cls, epoch = key
            state = {
                "low": stream.low,
                "key_id": stream.key_id,
                "nonce": stream.nonce,
                "touched": stream.touched,
            }
            named = {"meter_individual_id": meter, "frame_class": cls, "epoch": epoch}
            if stream.new:
                self.connection.execute(custody_stream.insert(), named | state)
            else:
                self.connection.execute(
                    custody_stream.update().where(_stream_is(custody_stream, key)).values(state)
                )
            if stream.pruned:
                self.connection.execute(
                    custody_frame.delete().where(
                        _stream_is(custody_frame, key), custody_frame.c.sequence < stream.pruned
                    )
                )
            if stream.replaced:
                self.connection.execute(
                    custody_frame.delete().where(
                        _stream_is(custody_frame, key), custody_frame.c.sequence.in_(stream.replaced)
                    )
                )
            rows: list[dict[str, Any]] = [
                named | {"sequence": sequence, "sha256": stream.hashes[sequence]}
                for sequence in sorted(stream.added | stream.replaced)
                if sequence in stream.hashes
            ]
            if rows:
                self.connection.execute(custody_frame.insert(), rows)

    def trim(self, meter: bytes, before: int, most: int) -> None:
        table = custody_stream
        rows = self.connection.execute(
            sa.select(table.c.frame_class, table.c.epoch, table.c.touched)
            .where(table.c.meter_individual_id == meter)
            .order_by(table.c.touched.desc(), table.c.frame_class, table.c.epoch)
        ).all()
        for place, row in enumerate(rows):
            if place >= most or row.touched < before:
                key = (meter, row.frame_class, row.epoch)
                self.connection.execute(custody_frame.delete().where(_stream_is(custody_frame, key)))
                self.connection.execute(table.delete().where(_stream_is(table, key)))

    def add_loose(self, meter: bytes, sha256: bytes) -> None:
        table = custody_loose
        if self._knows(table, meter, sha256):
            return
        self.connection.execute(table.insert(), {"meter_individual_id": meter, "sha256": sha256})
        oldest_kept = (
            sa.select(table.c.id)
            .where(table.c.meter_individual_id == meter)
            .order_by(table.c.id.desc())
            .offset(MAX_LOOSE - 1)
            .limit(1)
            .scalar_subquery()
        )
        self.connection.execute(
            table.delete().where(table.c.meter_individual_id == meter, table.c.id < oldest_kept)
        )

    def remove_loose(self, meter: bytes, sha256: bytes) -> None:
        table = custody_loose
        self.connection.execute(
            table.delete().where(table.c.meter_individual_id == meter, table.c.sha256 == sha256)
        )

    def has(self, meter: bytes, sha256: bytes) -> bool:
        return self._knows(custody_loose, meter, sha256) or self._knows(custody_frame, meter, sha256)

    def _knows(self, table: sa.Table, meter: bytes, sha256: bytes) -> bool:
        return bool(
            self.connection.scalar(
                sa.select(sa.exists().where(table.c.meter_individual_id == meter, table.c.sha256 == sha256))
            )
        )

    def add_drop(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> None:
        row = {
            "meter_individual_id": meter,
            "frame_class": cls,
            "epoch": epoch,
            "first": first,
            "last": last,
        }
        known = self.connection.scalar(sa.select(sa.func.count()).select_from(custody_drop).filter_by(**row))
        if not known:
            self.connection.execute(custody_drop.insert(), row)

    def generation(self, meter: bytes) -> tuple[bytes, int] | None:
        table = custody_generation
        row = self.connection.execute(
            sa.select(table.c.generation, table.c.since).where(table.c.meter_individual_id == meter)
        ).one_or_none()
        return None if row is None else (row.generation, row.since)

    def set_generation(self, meter: bytes, generation: bytes, since: int) -> None:
        table = custody_generation
        changed = self.connection.execute(
            table.update()
            .where(table.c.meter_individual_id == meter)
            .values(generation=generation, since=since)
        )
        if not changed.rowcount:
            self.connection.execute(
                table.insert(), {"meter_individual_id": meter, "generation": generation, "since": since}
            )

    def session(self, session: bytes) -> tuple[int, int] | None:
        table = custody_session
        row = self.connection.execute(
            sa.select(table.c.position, table.c.last_commit).where(table.c.session == session)
        ).one_or_none()
        return None if row is None else (row.position, row.last_commit)

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
            return True
        changed = self.connection.execute(
            table.update()
            .where(table.c.session == session, table.c.position == old)
            .values(position=position, last_commit=now)
        )
        return changed.rowcount == 1

    def last_commit(self, opened: int) -> int:
        table = custody_session
        latest = self.connection.scalar(
            sa.select(sa.func.max(table.c.last_commit)).where(table.c.opened <= opened)
        )
        return int(latest or 0)
