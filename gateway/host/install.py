"""`osgp-gateway install-service` and `uninstall-service`: the gateway under systemd, from nothing.

All that is written is a handful of files, so that `--root DIR` shows them in a directory, or puts them into
an image. What is there already and belongs to the user (configuration, keys) is never written over.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sysconfig
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, GatewayError
from .secret_files import DIRECTORY, find_secret, read_secret

USER = "osgp-gateway"
NAME = "osgp-gateway.service"
_UNIT = Path("/etc/systemd/system") / NAME
_SYSUSERS = Path("/etc/sysusers.d/osgp-gateway.conf")
CONFIGURATION = Path("/etc/osgp-gateway/gateway.toml")
_CREDENTIALS = CONFIGURATION.parent / DIRECTORY
_STATE = Path("/var/lib/osgp-gateway")
_PROGRAM = "/usr/local/bin/osgp-gateway"  # in the unit as it comes
# What the unit hides from the service.
_HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108 - nothing is written there
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")

_EXAMPLE = """\
# The gateway's configuration; every field is in docs/configuration.md. Keys and passwords never stand here:
# each is a file of its own in /etc/osgp-gateway/credentials, named here without a path.
# Check it with: sudo osgp-gateway check -c /etc/osgp-gateway/gateway.toml

[broker]
url = "mqtts://broker.example:8883"
username = "meter"
password_file = "broker.password"

[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
"""


class _Changes:
    """Writes files below `root`, or only says that it would; what is right already is left as it is."""

    def __init__(self, root: Path, dry: bool, say: Callable[[str], None]) -> None:
        self.root = root
        self._dry = dry
        self.say = say

    def at(self, path: Path) -> Path:
        return self.root / path.relative_to("/")

    def did(self, what: str, path: Path, note: str = "") -> None:
        self.say(f"{'would ' if self._dry else ''}{what} {self.at(path)}{note}")

    def directory(self, path: Path, mode: int) -> None:
        place = self.at(path)
        if place.is_dir() and stat.S_IMODE(place.stat().st_mode) == mode:
            self.say(f"as it should be: {place}")
            return
        self.did("make", path, f" (mode {mode:o})")
        if not self._dry:
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(mode)

    def file(self, path: Path, content: bytes, mode: int, theirs: bool = False) -> None:
        """`theirs`: it belongs to the user from then on, and is not written over."""
        place = self.at(path)
        if place.exists():
            same = place.read_bytes() == content
            if same and stat.S_IMODE(place.stat().st_mode) == mode:
                self.say(f"as it should be: {place}")
                return
            if theirs and not same:
                self.say(f"kept: {place}, which is another")
                return
        self.did("write", path, f" (mode {mode:o})")
        if not self._dry:
            _write(place, content, mode)

    def remove(self, path: Path) -> None:
        if self.at(path).exists():
            self.did("remove", path)
            if not self._dry:
                self.at(path).unlink()
        else:
            self.say(f"not there: {self.at(path)}")

    def call(self, *command: str) -> None:
        """A program of the system, where there is such a system: not for an image, not without systemd."""
        if self.root != Path("/"):
            return
        program = shutil.which(command[0])
        if program is None or (command[0] == "systemctl" and not Path("/run/systemd/system").is_dir()):
            self.say(f"not run, because systemd is not running here: {' '.join(command)}")
            return
        self.say(f"{'would run' if self._dry else 'run'}: {' '.join(command)}")
        if self._dry:
            return
        done = subprocess.run([program, *command[1:]], check=False, capture_output=True, text=True)
        if done.returncode:
            raise GatewayError(
                f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip() or 'no word why'}"
            )


def install(
    configuration: Path | None,
    user: str,
    root: Path,
    program: Path | None,
    dry_run: bool,
    say: Callable[[str], None] = print,
) -> None:
    """Raises ConfigurationError before anything is written, GatewayError when systemd refuses.

    `configuration`: one to begin with, copied with the secrets that it names; None: an example. `program`:
    the command that the service runs; None: this one.
    """
    if not _USER_NAME.fullmatch(user):
        raise ConfigurationError(f"--user {user!r}: is no name for a user of the system")
    if user == "root":
        raise ConfigurationError("--user root: the service needs no rights but those of a user of its own")
    command = _visible(program or _this_program())
    changes = _begin(root, dry_run, say)
    text = _EXAMPLE.encode()
    secrets: dict[str, bytes] = {}
    others: dict[str, bytes] = {}
    if configuration is not None:
        text, secrets, others = _gathered(configuration)
    changes.file(_SYSUSERS, _sysusers(user), 0o644)
    changes.directory(CONFIGURATION.parent, 0o755)
    changes.directory(_CREDENTIALS, 0o700)
    for name, content in secrets.items():
        changes.file(_CREDENTIALS / name, content, 0o600, theirs=True)
    for name, content in others.items():
        changes.file(CONFIGURATION.parent / name, content, 0o644, theirs=True)
    changes.file(CONFIGURATION, text, 0o644, theirs=True)
    changes.file(_UNIT, unit(user, command), 0o644)
    changes.call("systemd-sysusers", str(_SYSUSERS))
    changes.call("systemctl", "daemon-reload")
    say("")
    for line in _next_steps(changes, configuration is None):
        say(line)


def uninstall(root: Path, dry_run: bool, say: Callable[[str], None] = print) -> None:
    """Stops the service and takes its unit away; configuration, keys, and what has not been sent, stay."""
    changes = _begin(root, dry_run, say)
    if changes.at(_UNIT).exists():
        changes.call("systemctl", "disable", "--now", NAME)
    changes.remove(_UNIT)
    changes.remove(_SYSUSERS)
    changes.call("systemctl", "daemon-reload")
    say("")
    say("What is yours was left. To be rid of it as well:")
    say(f"  rm -r {changes.at(CONFIGURATION.parent)}   # configuration and keys")
    say(f"  rm -r {changes.at(_STATE)}   # readings that nobody has yet, and what TLS meters are known")
    say(f"  userdel {USER}   # or the user that --user named")


def unit(user: str, program: Path) -> bytes:
    """The unit as it comes with the gateway, for this user and program."""
    text = (Path(__file__).parent / "systemd" / NAME).read_text(encoding="utf-8")
    for old, new in (
        (f"ExecStart={_PROGRAM} ", f"ExecStart={_quoted(program)} "),
        (f"User={USER}\n", f"User={user}\n"),
        (f"Group={USER}\n", f"Group={user}\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text.encode()


def _quoted(program: Path) -> str:
    """As systemd.service(5) wants it on a command line."""
    text = str(program).replace("%", "%%").replace("$", "$$")
    if not re.search(r"""[\s"'\\]""", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _begin(root: Path, dry_run: bool, say: Callable[[str], None]) -> _Changes:
    root = root.absolute()
    if root == Path("/") and not dry_run and os.geteuid() != 0:
        raise ConfigurationError(
            "this changes the system, so it needs root: sudo $(command -v osgp-gateway) ...; --dry-run shows "
            "what it would do"
        )
    if not root.is_dir():
        raise ConfigurationError(f"--root {root}: there is no such directory")
    return _Changes(root, dry_run, say)


def _this_program() -> Path:
    own = Path(sysconfig.get_path("scripts")) / "osgp-gateway"
    if own.exists():
        return own
    found = shutil.which("osgp-gateway")
    if found is None:
        raise ConfigurationError(
            "the command osgp-gateway is not installed: see docs/service.md, step 1, or name it with "
            "--program"
        )
    return Path(found)


def _visible(program: Path) -> Path:
    """The command, where the service can see it."""
    if not program.is_absolute():
        raise ConfigurationError(f"--program {program}: has to be an absolute path")
    for place in (str(program), os.path.realpath(program)):
        if place.startswith(_HIDDEN):
            raise ConfigurationError(
                f"{place}: the service can't see that directory; install the gateway below /opt "
                "(docs/service.md, step 1), or name the command with --program"
            )
    return program


def _sysusers(user: str) -> bytes:
    return (f'u {user} - "Gateway for OSGP smart meters" {_STATE}\nm {user} dialout\n').encode()


def _gathered(path: Path) -> tuple[bytes, dict[str, bytes], dict[str, bytes]]:
    """A configuration with the secrets, and the other files, that it names."""
    from . import config

    state = config.load(path).gateway.state_dir  # or all that is wrong
    if state is not None:
        raise ConfigurationError(
            f"{path}: gateway.state_dir: leave it out: the service keeps what it has to know in {_STATE}"
        )
    content = path.read_bytes()
    secrets: dict[str, bytes] = {}
    others: dict[str, bytes] = {}
    for field, name in _files(tomllib.loads(content.decode())):
        if "/" in name:
            raise ConfigurationError(
                f"{path}: {field} = {name!r}: the service can't read it there. Name the file alone and put "
                "it beside the configuration; it is copied to where the service gets it from"
            )
        if field == "ca_file":
            others[name] = (path.parent / name).read_bytes()
        else:
            secrets[name] = read_secret(find_secret(name, path.parent)) + b"\n"
    return content, secrets, others


def _files(section: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, path) of every field that names a file."""
    for field, value in section.items():
        if isinstance(value, dict):
            yield from _files(value)
        elif isinstance(value, list):
            for one in value:
                if isinstance(one, dict):
                    yield from _files(one)
        elif field.endswith("_file") and isinstance(value, str):
            yield field, value


def _next_steps(changes: _Changes, is_example: bool) -> Iterator[str]:
    configuration, credentials = changes.at(CONFIGURATION), changes.at(_CREDENTIALS)
    yield "What to do next:"
    if is_example:
        yield f"  put keys and passwords into {credentials}, each into a file of its own (chmod 600)"
        yield f"  edit {configuration}"
    yield f"  osgp-gateway check -c {configuration}"
    yield f"  systemctl enable --now {NAME}"
    yield "  osgp-gateway status"


def _write(place: Path, content: bytes, mode: int) -> None:
    """In one piece or not at all, and never readable by more than `mode` says."""
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise
