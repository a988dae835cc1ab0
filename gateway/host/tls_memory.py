"""Which meters have spoken TLS, remembered across restarts: nothing less is spoken with them again.

One small JSON file in the state directory. An entry is kept under the meter's name in the configuration,
because what a meter says of itself comes too late, through the very session that is to be secured; the port
stands in it as well, so that a meter under another name, or none (`osgp-gateway read`), is known by its port.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..drivers.mep.security import AUTO, LEVELS, TLS, TlsMemory
from ..errors import ConfigurationError

_FILE = "tls-meters.json"


class TlsMeters:
    """The file in `directory`. Errors are ConfigurationError: to go on without it would be a way back."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / _FILE

    def memory(self, name: str, port: str, mode: str) -> TlsMemory:
        """What is kept of one meter; makes sure that it can be where `mode` needs it."""
        if mode in (TLS, AUTO):
            self._prepare()
        return _KeptTlsMemory(self, name, port)

    def level(self, name: str, port: str) -> int | None:
        """The key id with which the meter of this name, or else at this port, has spoken TLS."""
        entries = self._load()
        if name in entries:
            return int(entries[name]["level"])
        return next((int(entry["level"]) for entry in entries.values() if entry["port"] == port), None)

    def remember(self, name: str, port: str, level: int) -> None:
        with self._alone():
            entries = self._load()
            since = entries.get(name, {}).get("since", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            entries[name] = {"port": port, "level": level, "since": since}
            self._save(entries)

    def forget(self, name: str, port: str | None = None) -> list[str]:
        """Forget the meter of this name and whatever is known of this port; gives the names forgotten."""
        if not self.path.exists():
            return []
        with self._alone():
            entries = self._load()
            gone = [kept for kept, entry in entries.items() if kept == name or entry["port"] == port]
            if gone:
                self._save({kept: entry for kept, entry in entries.items() if kept not in gone})
        return gone

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two gateways of one user share the file: neither may undo what the other has just remembered."""
        self._prepare()
        try:
            lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error.strerror) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(f"{self.path}: can't be read: {error.strerror}") from None
        except ValueError:
            entries = None
        if not isinstance(entries, dict) or not all(_is_entry(entry) for entry in entries.values()):
            raise ConfigurationError(
                f"{self.path}: is damaged. It says which meters have spoken TLS; remove it to begin anew, "
                "and each meter is trusted once more when it is first met"
            )
        return entries

    def _prepare(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror) from None
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise self._unwritable("Permission denied")

    def _unwritable(self, why: str | None) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path}: can't be written: {why}. The gateway remembers there which meters have spoken "
            "TLS; set state_dir in the section [gateway]"
        )

    def _save(self, entries: dict[str, dict[str, Any]]) -> None:
        try:
            new = self.path.with_suffix(".new")
            with open(new, "w", encoding="utf-8", opener=_private) as file:
                json.dump(entries, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            directory = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise self._unwritable(error.strerror) from None


class _KeptTlsMemory(TlsMemory):
    """One meter's part of the file."""

    def __init__(self, meters: TlsMeters, name: str, port: str) -> None:
        super().__init__(meters.level(name, port))
        self._meters = meters
        self._name = name
        self._port = port

    def remember(self, level: int) -> None:
        self._meters.remember(self._name, self._port, level)
        super().remember(level)


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("port"), str) and entry.get("level") in LEVELS


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
