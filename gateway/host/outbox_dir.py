"""Where the outbox stands on disk, for one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .._compat import fsync_directory
from ..core.files import Files
from ..core.log_outbox import LogOutbox
from ..errors import ConfigurationError, OutboxError
from .logs import log
from .state_dir import state_dir

_LOCK = "lock"
# Receipted frames are kept for a receiver that is restored from a backup.
_KEEP_S = 7 * 86400
_SEGMENT_BYTES = 256 * 1024
_LONGEST_SEGMENT = 2 * 1024 * 1024


# What is wrong until somebody changes it.
_FOR_GOOD = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class NotNow(ConfigurationError):
    """May be over soon: a service manager tries again, as it does not with a wrong configuration."""

    exit_code = 1


def outbox_dir(state: Path | None, gateway: str) -> Path:
    """`state`: as configured. Each gateway of a machine has its own."""
    return state_dir(state) / "outbox" / gateway


@contextmanager
def opened(directory: Path, size: int) -> Iterator[LogOutbox]:
    """The outbox in `directory`, of at most `size` bytes; closed, but not synced, at the end. Raises
    ConfigurationError when it can't be used; NotNow when another process uses it, or the disk is full or
    fails."""
    try:
        _make(directory)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        kind = ConfigurationError if error.errno in _FOR_GOOD else NotNow
        raise kind(
            f"{directory}: the outbox can't be kept there: {error.strerror}; make room or mend the disk, or "
            "name another place with state_dir"
        ) from None
    try:
        _take(lock, directory)
        box = _open(directory, size)
        try:
            yield box
        finally:
            box.close()
    finally:
        os.close(lock)


def _open(directory: Path, size: int) -> LogOutbox:
    # A backlog costs memory for each segment: a large outbox has larger ones.
    segment = min(max(_SEGMENT_BYTES, size // 1024), _LONGEST_SEGMENT, size // 16)
    try:
        return LogOutbox(Files(str(directory)), size, log, segment, _KEEP_S)
    except OutboxError as error:
        raise NotNow(f"{directory}: the outbox can't be opened: {error}") from None


def _make(directory: Path) -> None:
    """With all that leads there; it survives a loss of power right after."""
    if not directory.is_dir():
        _make(directory.parent)
        directory.mkdir(exist_ok=True, mode=0o700)
        fsync_directory(str(directory.parent))


def _take(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        raise NotNow(
            f"{directory}: the outbox is in use by process {owner}: end that first, or give this gateway "
            "another id"
        ) from None
    with suppress(OSError):  # on a full disk nobody learns who has it; what is in the outbox can go out
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
