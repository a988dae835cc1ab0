"""The file of a SQLite database: ours alone, and still the one that we opened.

Operators restore backups with cp or mv, with the cloud stopped (perhaps killed) or running. SQLite takes the
write-ahead log that lies beside the file for the file's own, whatever was put there meanwhile, and a process
goes on writing to a file that nobody can reach any more. So each checkpoint leaves a fresh random mark in the
database, and the same mark in a file beside it, with the number of the schema that SQLite's backups set anew:
a database without them is not the one that the log belongs to. With them it is a copy of its file from since
the checkpoint, and the log makes of it what was there before.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from pathlib import Path

from . import sqlite_marks
from .errors import InUseError
from .sqlite_marks import Said

# A file that is just being copied is judged when it has been at rest for so long.
REST_SECONDS = 0.5
_MOST_MARKS = 8
_STATE = re.compile(rb"process \d+\nmarks((?: [0-9a-f]{16})+)\nschemas((?: \d+)+)\n")

Stat = tuple[int, int, int, int]


class SqliteFile:
    """`path.lock` is held from `take` to `release` and holds the marks of the last checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._marks: list[bytes] = []
        self._schemas: list[int] = []
        self._seen: Stat | None = None

    def beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def take(self) -> None:
        """Raises InUseError where another process has this database."""
        lock = os.open(self.beside(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            known = re.match(rb"process (\d+)", os.pread(lock, 32, 0))
            owner = known[1].decode() if known else "unknown"
            os.close(lock)
            raise InUseError(
                f"{self.path}: another omdp-cloud (process {owner}) has it, and a SQLite database serves one "
                "at a time: end that one first, or name another database"
            ) from None
        self._lock = lock
        known = _STATE.fullmatch(os.pread(lock, 512, 0))
        if known:
            self._marks = [bytes.fromhex(mark.decode()) for mark in known[1].split()]
            self._schemas = [int(schema) for schema in known[2].split()]

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def set_aside_foreign_log(self) -> Path | None:
        """Before the database is opened: a write-ahead log that belongs to what lay here before a restore
        is renamed, and its new name returned."""
        log = self.beside("-wal")
        if not self._marks or not log.exists() or not log.stat().st_size:
            return None
        if self._is_known(sqlite_marks.read(self.path)):
            return None
        aside = self._aside()
        log.rename(aside)
        self.beside("-shm").unlink(missing_ok=True)
        return aside

    def announce(self, mark: bytes, schema: int) -> None:
        """Before these may reach the database's file. Durable first, or a power cut between would make the
        file look foreign."""
        self._marks.append(mark)
        self._schemas.append(schema)
        self._write_state()
        os.fsync(self._lock)

    @property
    def may_announce(self) -> bool:
        """False while readers have kept many checkpoints from being complete."""
        return len(self._marks) < _MOST_MARKS

    def checkpointed(self) -> None:
        """All of the write-ahead log is in the file, the last mark included."""
        self._marks = self._marks[-1:]
        self._schemas = self._schemas[-1:]
        self._write_state()
        self._seen = self._stat()

    def looks_touched(self) -> bool:
        """Did anybody write to the file since the last checkpoint? Cheap, and asked before and after each
        transaction."""
        return self._seen is not None and self._stat() != self._seen

    def at_rest(self, waited: float) -> bool:
        """Has it been left alone for a while, so that it can be judged? `waited`: seconds since that was
        asked first."""
        stat = self._stat()
        if stat is None:
            return waited >= REST_SECONDS
        return time.time() - stat[2] / 1e9 >= REST_SECONDS or waited >= 20 * REST_SECONDS

    def is_ours(self) -> bool:
        """Once it looks touched: another program's checkpoint, or another database? Takes a while. Raises
        OSError when that can't be told."""
        seen = self._stat()
        if seen is None or self._seen is None or seen[:2] != self._seen[:2]:
            return False
        if not self._is_known(sqlite_marks.read_apart(self.path)):
            return False
        self._seen = seen
        return True

    def abandon(self) -> None:
        """The write-ahead log belongs to what is gone: it is kept under another name, and emptied before
        connections are closed, for the last one that closes writes the log into whatever file is there."""
        log = self.beside("-wal")
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size:
                shutil.copyfile(log, self._aside())
            os.truncate(log, 0)
            log.unlink()
        self.beside("-shm").unlink(missing_ok=True)
        self._marks = []
        self._schemas = []
        self._seen = None

    def _aside(self) -> Path:
        return self.beside(f"-wal.of-another-database-{int(time.time())}")

    def _write_state(self) -> None:
        marks = " ".join(mark.hex() for mark in self._marks)
        schemas = " ".join(map(str, self._schemas))
        text = f"process {os.getpid()}\nmarks {marks}\nschemas {schemas}\n".encode()
        os.pwrite(self._lock, text, 0)
        os.ftruncate(self._lock, len(text))

    def _stat(self) -> Stat | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _is_known(self, said: Said) -> bool:
        """Whether a file that says so is ours, from since the last checkpoint."""
        return said is not None and said[0] in self._schemas and any(mark in self._marks for mark in said[1])
