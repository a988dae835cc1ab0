"""Logging for the service: to stderr, as a terminal or the journal likes it."""

from __future__ import annotations

import logging
import os
import sys
import time

_JOURNAL = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _JournalFormatter(logging.Formatter):
    """systemd takes the level from a prefix on every line and adds the time itself (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_JOURNAL.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def set_up(verbose: bool = False) -> None:
    """Everything from `info` on, with `verbose` from `debug` on, of this program; warnings of libraries."""
    handler = logging.StreamHandler(sys.stderr)
    if _is_journal():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        formatter = logging.Formatter(
            "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gateway").setLevel(logging.DEBUG if verbose else logging.INFO)


def _is_journal() -> bool:
    """Whether stderr is the journal's (systemd.exec(5), $JOURNAL_STREAM): what systemd starts may have its
    own put elsewhere."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def log(level: str, text: str) -> None:
    """The `log` that core's parts take."""
    logging.getLogger("gateway").log(_LEVELS[level], "%s", text)
