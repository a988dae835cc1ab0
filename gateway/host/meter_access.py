"""From a port and a secret in a file to a Meter: what `read`, `record` and `run` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..drivers.link import Link
from ..drivers.mep.key import parse_key
from ..drivers.mep.meter import MepMeter
from ..drivers.mep.security import DIGEST, MODES, Security, TlsMemory
from ..drivers.optical.client import BASE_BAUD
from ..drivers.optical.meter import USER, USER_ID, OpticalMeter
from ..drivers.optical.password import parse_password
from ..drivers.refused import RefusedSecret
from ..errors import ConfigurationError
from ..meter import Meter
from .links import DEFAULT_BAUD, Port
from .record import Recorder, RecordingLink
from .record_optical import OpticalRecordingLink
from .secret_files import read_secret
from .state_dir import state_dir
from .tls_memory import TlsMeters

# By key id.
LEVEL_WORDS = ("mbk", "mak")

if TYPE_CHECKING:
    from ..drivers.mep.tls_machine import TlsChannel


def read_key(path: Path) -> tuple[bytes, str]:
    """The key in the file, and in words which form it was written in; raises ConfigurationError."""
    return _read(path, parse_key, "key")


def read_password(path: Path) -> tuple[bytes, str]:
    """The optical port's password in the file, and in words which form it was written in; raises
    ConfigurationError."""
    return _read(path, parse_password, "password")


def _read(path: Path, parse: Callable[[str], tuple[bytes, str]], what: str) -> tuple[bytes, str]:
    try:
        text = read_secret(path).decode("ascii")
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{path}: holds no text in ASCII, so no {what} as utilities hand them out"
        ) from None
    try:
        return parse(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


class MeterAccess:
    """How to reach one meter. Each `open` makes a new connection and reads the secret's file anew, so that a
    wrong one can be put right without a restart.

    `secret_form`: what the secret is and how it was written at first. `about`: what the first line of a
    recording says about the line.
    """

    secret_form = ""
    _recording_link: type[RecordingLink] = RecordingLink

    def __init__(self, port: Port, about: dict[str, str | int]) -> None:
        self.port = port
        self.about = {"port": str(port), **about}
        self._recorder: Recorder | None = None

    async def open(self) -> Meter:
        """Raises LinkError or ConfigurationError. Nothing is sent before the first read."""
        raise NotImplementedError

    def record_to(self, path: Path) -> Recorder:
        """Record all traffic from now on; the caller closes the recorder."""
        self._recorder = Recorder(path, self.about)
        return self._recorder

    async def _link(self, baud: int) -> Link:
        link: Link = await self.port.open(baud)
        return link if self._recorder is None else self._recording_link(link, self._recorder)


class MepAccess(MeterAccess):
    """`security`, `level`, `memory`: see Security. Raises ConfigurationError when the key can't be used, or
    the meter has spoken TLS before and shall speak less."""

    def __init__(
        self,
        port: Port,
        key_file: Path,
        baud: int = DEFAULT_BAUD,
        security: str = DIGEST,
        level: int | None = None,
        memory: TlsMemory | None = None,
    ) -> None:
        super().__init__(port, {"baud": baud, "protocol": "mep", "security": security})
        self._key_file = key_file
        self._baud = baud
        self._mode = security
        self._level = level
        self._memory = memory or TlsMemory()
        self._refused = RefusedSecret()
        key, form = read_key(key_file)
        self.secret_form = f"the key is written as {form}"
        self._security(key)

    async def open(self) -> MepMeter:
        """Also raises AuthenticationError: a key that was refused is not tried again for a while."""
        key = read_key(self._key_file)[0]
        security = self._security(key)
        security.hesitant = self._refused.check(key)
        meter = MepMeter(await self._link(self._baud), security, self._baud)
        self._refused.follow(key, meter)
        return meter

    def _security(self, key: bytes) -> Security:
        return Security(key, self._mode, _make_tls, self._level, self._memory)


def mep_access(
    port: Port,
    key_file: Path,
    baud: int,
    security: str,
    key_level: str | None,
    name: str | None = None,
    state: Path | None = None,
) -> MepAccess:
    """`key_level`: "mbk", "mak" or None for either; `name`: of the meter, by default its port; `state`: the
    directory that was configured for what is to be remembered. Raises ConfigurationError."""
    if security not in MODES:
        raise ConfigurationError(f"security {security!r}: there are {', '.join(MODES)}")
    if key_level not in (None, *LEVEL_WORDS):
        raise ConfigurationError(f"key level {key_level!r}: there are {' and '.join(LEVEL_WORDS)}")
    level = None if key_level is None else LEVEL_WORDS.index(key_level)
    memory = TlsMeters(state_dir(state)).memory(name or str(port), str(port), security)
    return MepAccess(port, key_file, baud, security, level, memory)


def _make_tls(identity: bytes, key: bytes) -> TlsChannel:
    from ..drivers.mep.tls_client import TlsClient  # with cryptography, which takes time to load

    return TlsClient(identity, key)


class OpticalAccess(MeterAccess):
    """`baud`: for sessions, which begin at 9600; `user_id`, `user`, `log_off`: see OpticalMeter. Raises
    ConfigurationError when the password can't be used."""

    _recording_link = OpticalRecordingLink

    def __init__(
        self,
        port: Port,
        password_file: Path,
        baud: int = BASE_BAUD,
        user_id: int = USER_ID,
        user: str = USER,
        log_off: bool = True,
    ) -> None:
        if baud != BASE_BAUD and not port.path:
            raise ConfigurationError(
                f"{port}: a session at {baud} baud needs a serial port of this machine, because nobody can "
                f"tell a serial server to change its rate: leave it at {BASE_BAUD}"
            )
        super().__init__(port, {"baud": BASE_BAUD, "protocol": "optical"})
        self.secret_form = f"the password is written as {read_password(password_file)[1]}"
        self._password_file = password_file
        self._baud = baud
        self._user_id = user_id
        self._user = user
        self._log_off = log_off
        self._refused = RefusedSecret()

    async def open(self) -> OpticalMeter:
        """Also raises AuthenticationError: a password that was refused is not tried again for a while."""
        password = read_password(self._password_file)[0]
        self._refused.check(password)
        meter = OpticalMeter(
            await self._link(BASE_BAUD),
            password,
            baud=self._baud,
            user_id=self._user_id,
            user=self._user,
            log_off=self._log_off,
        )
        self._refused.follow(password, meter)
        return meter
