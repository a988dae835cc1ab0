"""Keys, passwords and credentials: they stand in files that only their owner may read, nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import ConfigurationError

# Beside the configuration, and in the unit's LoadCredential=, which puts its own name before each file's.
DIRECTORY = "credentials"
_PREFIX = "secret_"

_LIMIT = 4096


def find_secret(name: str, base: Path) -> Path:
    """Where the secret `name` lies. A bare name is looked up among systemd's credentials first
    ($CREDENTIALS_DIRECTORY), as it is and as one of a directory that is loaded as a whole; then in `base`
    and in the directory "credentials" there. Anything else is relative to `base`."""
    if "/" not in name:
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        places = [Path(credentials) / name, Path(credentials) / (_PREFIX + name)] if credentials else []
        places += [base / name, base / DIRECTORY / name]
        for place in places:
            if os.path.exists(place):  # which, unlike Path.exists, is no error where nobody may look
                return place
        if os.path.isdir(base / DIRECTORY) and not os.access(base / DIRECTORY, os.X_OK):
            return places[-1]  # where it probably is, and may not be read
    return base / Path(name).expanduser()


def read_secret(path: Path) -> bytes:
    """The file's content without the line end; raises ConfigurationError that never shows it."""
    try:
        # Not to hang on a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{path}: is no file")
        # systemd guards its directory itself and shows access lists as group rights.
        if status.st_mode & 0o077 and not _is_systemd_credential(path):
            raise ConfigurationError(
                f"{path}: others may read it too (mode {stat.S_IMODE(status.st_mode):o}); "
                f"make it its owner's alone: chmod 600 {path}"
            )
        secret = os.read(descriptor, _LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(secret) > _LIMIT:
        raise ConfigurationError(f"{path}: is longer than any key or password ({_LIMIT} bytes)")
    secret = secret.strip()
    if not secret:
        raise ConfigurationError(f"{path}: is empty")
    return secret


def _is_systemd_credential(path: Path) -> bool:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(credentials) and path.parent == Path(str(credentials))
