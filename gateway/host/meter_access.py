"""From a port and a key file to a Meter: what `read` and `run` share."""

from __future__ import annotations

from pathlib import Path

from ..drivers.link import Link
from ..drivers.mep.key import parse_key
from ..drivers.mep.meter import MepMeter
from ..drivers.mep.security import DIGEST, RC4, Security
from ..errors import ConfigurationError
from .links import DEFAULT_BAUD, Port
from .record import Recorder, RecordingLink
from .secret_files import read_secret


def read_key(path: Path) -> tuple[bytes, str]:
    """The key in the file, and in words which form it was written in; raises ConfigurationError."""
    try:
        text = read_secret(path).decode("ascii")
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{path}: holds no text in ASCII, so no key as utilities hand them out"
        ) from None
    try:
        return parse_key(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


class MeterAccess:
    """How to reach one meter. Each `open` makes a new connection and reads the key file anew, so that a
    wrong key in it can be put right without a restart.

    `key_form`: how the key was written at first. Raises ConfigurationError when it can't be used.
    """

    def __init__(
        self,
        port: Port,
        key_file: Path,
        baud: int = DEFAULT_BAUD,
        encrypt: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        self.port = port
        self.baud = baud
        self.encrypt = encrypt
        self.key_form = read_key(key_file)[1]
        self._key_file = key_file
        self._recorder = recorder

    @property
    def about(self) -> dict[str, str | int]:
        """What the first line of a recording says about the line."""
        return {
            "port": str(self.port),
            "baud": self.baud,
            "protocol": "mep",
            "security": "rc4" if self.encrypt else "digest",
        }

    async def open(self) -> MepMeter:
        """Raises LinkError or ConfigurationError. Nothing is sent before the first read."""
        key = read_key(self._key_file)[0]
        link: Link = await self.port.open(self.baud)
        if self._recorder is not None:
            link = RecordingLink(link, self._recorder)
        return MepMeter(link, Security(key, RC4 if self.encrypt else DIGEST), self.baud)

    def record_to(self, path: Path) -> Recorder:
        """Record all traffic from now on; the caller closes the recorder."""
        self._recorder = Recorder(path, self.about)
        return self._recorder
