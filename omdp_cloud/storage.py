"""The storage: one transaction per batch, in a database that may be locked, full, restored or deleted."""

import asyncio
import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from . import schema
from .errors import BusyError, CloudError, ContentError, SetBackError, StorageError
from .sqlite_file import SqliteFile
from .writer import Known, Writer

T = TypeVar("T")

log = logging.getLogger(__name__)

# How long a statement waits for another program's lock before the batch is tried again as a whole.
_BUSY_MS = 2000
# A write-ahead log beyond this is brought into the database's file.
_LOG_BYTES = 8 * 1024 * 1024


class Storage:
    """An open database; one writer at a time."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)
        self._engine: AsyncEngine | None = None
        self._known = Known()
        self._writing = asyncio.Lock()

    @classmethod
    async def open(cls, url: str) -> "Storage":
        """Opens the database, makes what is missing in it. Raises StorageError."""
        path = Path(url.removeprefix("sqlite:///"))
        storage = cls(path)
        try:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
            storage._file.take()
        except OSError as error:
            raise StorageError(f"{path}: the database can't be opened: {error}") from None
        try:
            await storage._open()
        except BaseException as error:
            await storage.close()
            if isinstance(error, CloudError):
                again = BusyError if isinstance(error, BusyError) else StorageError
                raise again(f"{path}: the database can't be opened: {error}") from None
            raise
        return storage

    async def close(self) -> None:
        await self._dispose()
        self._file.release()

    async def write(self, work: Callable[[Writer], T]) -> T:
        """Does `work` in one transaction: all of it stands when this returns, or none.

        Raises StorageError for what the database can't do at this time, SetBackError when it turned out to
        be another one than before (what was committed last may be gone), ContentError for what it refuses
        for what it is. Other errors of `work` pass through, and undo it too.
        """
        async with self._writing:
            await self._be_the_one()
            done = await self._transaction(work)
            # Restored meanwhile, it has perhaps taken the commit to its grave: nobody may be told of it.
            await self._be_the_one()
            if self._log_size() > _LOG_BYTES:
                # What is committed stands, whether or not there is room to bring it home now.
                with contextlib.suppress(StorageError):
                    await self._checkpoint("PASSIVE")
            return done

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._opened().connect() as connection:
            yield connection

    async def _open(self) -> None:
        aside = self._file.set_aside_foreign_log()
        if aside is not None:
            log.warning(
                "%s was restored, replaced or deleted; the log of what was there before is now %s",
                *(self._file.path, aside.name),
            )
        self._known = Known()
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{self._file.path}")
        sa.event.listen(self._engine.sync_engine, "connect", _set_up_sqlite)
        sa.event.listen(self._engine.sync_engine, "begin", _begin)
        try:
            await self._transaction(lambda writer: schema.prepare(writer.connection))
            await self._checkpoint("TRUNCATE")
        except BaseException:
            # Whatever file lies there when it is tried again may be another one.
            await self._dispose()
            raise

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise StorageError("the database is not open")
        return self._engine

    async def _dispose(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()

    async def _transaction(self, work: Callable[[Writer], T]) -> T:
        known = self._known.copy()

        def run(connection: sa.Connection) -> T:
            return work(Writer(connection, known))

        try:
            async with self._opened().execution_options(writes=True).begin() as connection:
                done = await connection.run_sync(run)
        except BaseException as error:
            # What was known may have been wrong: it is looked up again.
            self._known = Known()
            if isinstance(error, sa.exc.SQLAlchemyError | sqlite3.Error | OverflowError | UnicodeError):
                raise _told(error) from None
            raise
        self._known = known
        return done

    async def _be_the_one(self) -> None:
        """Raises SetBackError after opening the database anew, when the file is another one than before."""
        if self._engine is None:
            await self._open()
        if not self._file.looks_touched():
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._file.at_rest(loop.time() - began):
            await asyncio.sleep(0.05)
        try:
            ours = await asyncio.to_thread(self._file.is_ours)
        except OSError as error:
            raise StorageError(str(error)) from None
        if ours:
            # Another program's checkpoint. A mark of our own again, so that a copy from before it shows.
            await self._checkpoint("PASSIVE")
            return
        self._file.abandon()
        await self._dispose()
        await self._open()
        said = f"{self._file.path} was restored, replaced or deleted; it is open anew"
        log.warning("%s", said)
        raise SetBackError(said)

    async def _checkpoint(self, mode: str) -> None:
        if self._file.may_announce:
            mark = os.urandom(8)
            schema_number = await self._transaction(lambda writer: schema.number(writer.connection))
            self._file.announce(mark, schema_number)
            await self._transaction(lambda writer: schema.mark(writer.connection, mark))
        try:
            async with self._opened().connect() as connection:
                outside = await connection.execution_options(outside=True)
                answer = await outside.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})")
                busy, logged, written = tuple(answer.one())
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise _told(error) from None
        if not busy and logged == written:
            self._file.checkpointed()

    def _log_size(self) -> int:
        try:
            return self._file.beside("-wal").stat().st_size
        except OSError:
            return 0


def _told(error: Exception) -> CloudError:
    """Is it the database or what it was given?"""
    said = str(getattr(error, "orig", None) or error)
    if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError) or not isinstance(
        error, sa.exc.DBAPIError | sa.exc.TimeoutError | sqlite3.Error
    ):
        return ContentError(said)
    # What SQLite says of SQLITE_BUSY, SQLITE_LOCKED and SQLITE_FULL.
    return (BusyError if re.search("is locked|is full", said) else StorageError)(said)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own transaction control would begin late and lock late; _begin does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: what is committed is on the disk before a receipt says so. Checkpoints: see sqlite_file.py.
    for pragma in (
        f"busy_timeout={_BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "wal_autocheckpoint=0",
        f"journal_size_limit={_LOG_BYTES // 2}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    # Who will write takes the lock at once: a reader that turns writer later could only fail.
    options = connection.get_execution_options()
    if not options.get("outside"):  # no transaction: checkpoints
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")
