"""A board's whole flash in one file, and back: firmware, configuration, keys, and readings that wait.

The file is a ZIP of flash.bin and board.json, which says what board it is from.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.errors import ConfigurationError

from .board import Board
from .errors import FlashError

_FLASH, _ABOUT = "flash.bin", "board.json"


@dataclass(frozen=True)
class About:
    chip: str
    mac: str
    flash_bytes: int
    sha256: str


def check_free(path: Path) -> None:
    """Raises ConfigurationError where a file is already, which may be the only backup, and where none can be
    made: reading takes minutes."""
    if path.exists():
        raise ConfigurationError(f"{path}: is there already; name another file, or remove it")
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"{path}: {path.parent} is no directory that you may write to")


def save(board: Board, path: Path) -> About:
    """Read the board's flash into a file that only its owner may read."""
    data = board.read(0, board.flash_bytes, "the whole flash")
    about = About(board.chip, board.mac, board.flash_bytes, hashlib.sha256(data).hexdigest())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_ABOUT, json.dumps(asdict(about)))
        archive.writestr(_FLASH, data)
    write_private(path, packed.getvalue())
    return about


def load(path: Path) -> tuple[About, bytes]:
    """Raises ConfigurationError for what is no whole backup."""
    try:
        with zipfile.ZipFile(path) as archive:
            about = About(**json.loads(archive.read(_ABOUT)))
            data = archive.read(_FLASH)
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as error:
        raise ConfigurationError(f"{path}: is no backup of a board, or damaged ({error})") from None
    if hashlib.sha256(data).hexdigest() != about.sha256 or len(data) != about.flash_bytes:
        raise ConfigurationError(f"{path}: is damaged: the flash in it is not the one that was saved")
    return about, data


def restore(board: Board, about: About, data: bytes) -> None:
    """Raises ConfigurationError for another kind of board, FlashError when it fails half-way."""
    if (board.chip, board.flash_bytes) != (about.chip, about.flash_bytes):
        raise ConfigurationError(
            f"the backup is of an {about.chip} with {about.flash_bytes >> 20} MB of flash, this board has an "
            f"{board.chip} with {board.flash_bytes >> 20} MB. Nothing was written"
        )
    try:
        board.erase()
        board.write(0, data, "the backup")
        board.verify(0, data, "the backup")
    except (FlashError, KeyboardInterrupt) as error:
        why = "stopped by Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error)
        raise FlashError(
            f"{why}.\nThe board is half written. The backup is as it was: start the same command again"
        ) from None


def write_private(path: Path, data: bytes) -> None:
    """A file that only its owner may read, whole or not at all. Raises ConfigurationError."""
    new = path.with_name(path.name + ".new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be written: {error.strerror}") from None
