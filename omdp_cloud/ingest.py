"""Ingress: messages become rows, revisions, dead letters and receipts, one transaction per batch."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.transmission import FrameError, OutboxError, frames, mbus, platform_json, topics
from gateway.transmission.ids import uuid5
from gateway.transmission.ledger import Ledger
from gateway.transmission.model import Reading
from gateway.transmission.rows import rows

from .contents import content_hash
from .custody import SqlLedgerStore
from .storage import Outcome, Storage, Writer

# A payload beyond this is kept as a dead letter by its beginning only: nobody may fill the disk.
MAX_PAYLOAD = 256 * 1024


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes


@dataclass
class Report:
    """What a batch brought, and what to publish now that it is stored: (meter id, receipt)."""

    outcome: Outcome = field(default_factory=Outcome)
    dead_letters: int = 0
    receipts: list[tuple[bytes, bytes]] = field(default_factory=list)


class Ingest:
    """Takes batches of messages into the storage. `keys`: hop keys by key id, of the senders we serve."""

    def __init__(
        self, storage: Storage, keys: Mapping[bytes, bytes], now: Callable[[], int] = lambda: int(time.time())
    ) -> None:
        self._storage = storage
        self._keys = keys
        self._now = now
        self._ledger: Ledger | None = None
        self._store = SqlLedgerStore()

    async def take(self, messages: Sequence[Message]) -> Report:
        """All of the batch is committed when this returns. Raises StorageError: nothing of it stands."""
        now = self._now()
        try:
            try:
                return await self._storage.write(lambda writer: self._take(writer, messages, now))
            except OutboxError:
                # The database was restored beneath us: a new ledger finds out what that means.
                self._ledger = None
                return await self._storage.write(lambda writer: self._take(writer, messages, now))
        except BaseException:
            # A ledger that does not know for certain what was committed must not speak any more.
            self._ledger = None
            raise

    def _take(self, writer: Writer, messages: Sequence[Message], now: int) -> Report:
        report = Report()
        self._store.connection = writer.connection
        if self._ledger is None:
            self._ledger = Ledger(self._store, lambda meter, name: self._keys.get(name), os.urandom, now)
        for message in messages:
            try:
                self._one(writer, self._ledger, message, now, report)
            except FrameError as error:
                _bury(writer, message, str(error), now, report)
        report.receipts = self._ledger.finish(now)
        return report

    def _one(self, writer: Writer, ledger: Ledger, message: Message, now: int, report: Report) -> None:
        if len(message.payload) > MAX_PAYLOAD:
            raise FrameError(f"{len(message.payload)} bytes; at most {MAX_PAYLOAD} are taken")
        topic = topics.parse(message.topic)
        if topic.specific == topics.COMPACT:
            self._frame(writer, ledger, topic.meter, message, now, report)
        elif topic.specific == topics.READINGS:
            _, reading = platform_json.parse(message.payload, topic.meter)
            row = (reading.identifier or _id_by_content(topic.meter, reading), reading)
            _add(report.outcome, writer.store(topic.meter, [row], now))
        elif topic.specific == topics.ASK:
            ledger.ask(topic.meter, message.payload)
        elif topic.specific != topics.STATUS:
            raise FrameError(f"the topic ends in {topic.specific!r}, which is not known here")

    def _frame(
        self, writer: Writer, ledger: Ledger, meter: bytes, message: Message, now: int, report: Report
    ) -> None:
        sha256 = hashlib.sha256(message.payload).digest()
        try:
            frame = frames.decode(message.payload, meter)
        except FrameError as error:
            _bury(writer, message, str(error), now, report)
            ledger.unreadable(meter, sha256)
            return
        read = [(identifier, mbus.enrich(reading)) for identifier, reading in rows(frame, meter)]
        _add(report.outcome, writer.store(meter, read, now))
        ledger.frame(meter, frame.cls, frame.epoch, frame.sequence, sha256)


def _id_by_content(meter: bytes, reading: Reading) -> bytes:
    """JSON without an id of its own: the same said again is no news, anything else is another reading."""
    return uuid5(meter, "content:" + content_hash(reading).hex())


def _bury(writer: Writer, message: Message, reason: str, now: int, report: Report) -> None:
    writer.dead_letter(message.topic, message.payload[:MAX_PAYLOAD], reason, now)
    report.dead_letters += 1


def _add(total: Outcome, one: Outcome) -> None:
    total.stored += one.stored
    total.known += one.known
    total.revised += one.revised
