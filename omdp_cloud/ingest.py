"""Ingress: messages become rows, revisions, dead letters and receipts, one transaction per batch."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway import clock
from gateway.transmission import FrameError, OutboxError
from gateway.transmission.ledger import Ledger

from . import statuses
from .custody import SqlLedgerStore
from .decoding import MAX_PAYLOAD, Decoded, Message, decode, refused
from .errors import ContentError, SetBackError, StorageError
from .storage import Storage
from .writer import Outcome, Row, Writer

__all__ = ["Ingest", "MAX_PAYLOAD", "Message", "Report"]

log = logging.getLogger(__name__)


@dataclass
class Report:
    """What a batch brought, and what to publish now that it is stored: (meter id, receipt)."""

    outcome: Outcome = field(default_factory=Outcome)
    dead_letters: int = 0
    ignored: int = 0  # of topics that are not ours, and asks under keys we do not have
    refused: int = 0  # asks and statuses that are wrong, or for which there is no room
    set_back: int = 0  # how often the database turned out to be another one
    receipts: list[tuple[bytes, bytes]] = field(default_factory=list)
    work_seconds: float = 0  # without the wait for the disk

    def add(self, other: "Report") -> None:
        for name in ("stored", "known", "revised"):
            setattr(self.outcome, name, getattr(self.outcome, name) + getattr(other.outcome, name))
        for name in ("dead_letters", "ignored", "refused", "set_back", "work_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.receipts += other.receipts


class Ingest:
    """Takes batches of messages into the storage. `keys`: hop keys by key id, of the senders we serve."""

    def __init__(
        self,
        storage: Storage,
        keys: Mapping[bytes, bytes],
        now: Callable[[], int] = lambda: clock.utc_ms() // 1000,
    ) -> None:
        self._storage = storage
        self._keys = keys
        self._now = now
        self._ledger: Ledger | None = None
        self._store = SqlLedgerStore()

    async def take(self, messages: Sequence[Message]) -> Report:
        """All of the batch is committed when this returns. Raises StorageError: nothing of it stands, or
        nobody was told."""
        began = time.perf_counter()
        decoded = [decode(message) for message in messages]
        report = Report(work_seconds=time.perf_counter() - began)
        await self._take(messages, decoded, report, again=True)
        return report

    async def _take(
        self, messages: Sequence[Message], decoded: Sequence[Decoded], report: Report, again: bool
    ) -> None:
        """`again`: whatever the database says against the content may come from what we knew of it."""
        try:
            report.add(await self._write(messages, decoded))
            return
        except (SetBackError, OutboxError) as error:
            # Restored beneath us. A new ledger finds out what that means.
            report.set_back += 1
            if isinstance(error, OutboxError):
                log.warning("the database was restored, replaced or deleted: %s", error)
            if not again:
                raise SetBackError(str(error)) from None
        except StorageError:
            raise
        except Exception as error:  # the database's refusal, or a fault of ours: neither may stop the others
            if not again and len(messages) == 1:
                # It is this one. It is kept with the reason, and the others go on without it.
                reason = str(error) if isinstance(error, ContentError) else f"{type(error).__name__}: {error}"
                report.add(await self._write(messages, [refused(messages[0], reason)]))
                return
        if again:
            await self._take(messages, decoded, report, again=False)
            return
        half = len(messages) // 2
        await self._take(messages[:half], decoded[:half], report, again=False)
        await self._take(messages[half:], decoded[half:], report, again=False)

    async def _write(self, messages: Sequence[Message], decoded: Sequence[Decoded]) -> Report:
        try:
            return await self._storage.write(lambda writer: self._fill(writer, messages, decoded))
        except BaseException:
            # A ledger that does not know for certain what was committed must not speak any more.
            self._ledger = None
            raise

    def _fill(self, writer: Writer, messages: Sequence[Message], decoded: Sequence[Decoded]) -> Report:
        began = time.perf_counter()
        now = self._now()
        report = Report()
        ledger = self._begin(writer, now)
        report.outcome, homeless = self._keep(writer, messages, decoded, now, report)
        for place, one in enumerate(decoded):
            report.ignored += one.ignored
            if place in homeless:
                report.refused += 1
            elif one.number is not None:
                ledger.frame(*one.number)
            elif one.unreadable is not None:
                ledger.unreadable(*one.unreadable)
            elif one.ask is not None:
                try:
                    report.ignored += not ledger.ask(*one.ask)
                except FrameError:
                    report.refused += 1
        said = [one.status for one in decoded if one.status is not None]
        report.refused += statuses.keep(writer, said, now)
        report.receipts = ledger.finish(now)
        self._store.end()
        report.work_seconds = time.perf_counter() - began
        return report

    def _keep(
        self,
        writer: Writer,
        messages: Sequence[Message],
        decoded: Sequence[Decoded],
        now: int,
        report: Report,
    ) -> tuple[Outcome, set[int]]:
        """Stores rows and dead letters; and the places of messages that found no room, of which nobody is to
        be told that they are here."""
        rows: list[Row] = []
        message_of: list[int] = []
        for place, one in enumerate(decoded):
            rows += one.rows
            message_of += [place] * len(one.rows)
        outcome = writer.store(rows, now)
        reasons = {place: one.letter for place, one in enumerate(decoded) if one.letter}
        for row in outcome.foreign:
            reasons[message_of[row]] = "an id in it belongs to a reading of another meter"
        letters = [
            (messages[place].topic, messages[place].payload[:MAX_PAYLOAD], reason)
            for place, reason in reasons.items()
        ]
        places = list(reasons)
        refused = writer.bury(letters, now)
        report.dead_letters = len(letters) - len(refused)
        homeless = {places[letter] for letter in refused} | {message_of[row] for row in outcome.no_room}
        return outcome, homeless

    def _begin(self, writer: Writer, now: int) -> Ledger:
        """The ledger, within this transaction. Raises OutboxError before anything is looked up or written,
        when the database is not where this ledger left it."""
        self._store.begin(writer.connection)
        ledger = self._ledger
        if ledger is None:
            ledger = self._ledger = Ledger(
                self._store, lambda meter, name: self._keys.get(name), os.urandom, now
            )
        elif ledger.position:
            row = self._store.session(ledger.session)
            if row is None or row[0] != ledger.position:
                raise OutboxError(f"the database has gone back behind position {ledger.position} of its own")
        return ledger
