"""`omdp-cloud command`: words in, a command out, and what came of it."""

import re
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from gateway.transmission import commands, model
from gateway.transmission.ids import format_uuid

from .commands import STATUS_NAMES, CommandStore, Sender, exit_code, key_of
from .config import Broker, Settings
from .errors import ConfigurationError

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,9})(ms|s|min|h|d)")
_KINDS = model.KIND_NAMES[: model.FOREIGN]
_USAGE = {
    "read-now": "KIND",
    "backfill": "KIND FROM TO",
    "set-interval": "KIND DURATION",
    "self-test": "",
    "update": "--bundle FILE",
}
# What an application bundle begins with (docs/update.md); the gateway judges the rest.
_BUNDLE = b"OGB"
_MOST_BUNDLE = 1 << 22
# Handing over the bundle, a restart, and until the new version has reached the broker.
_UPDATE_WAIT = 1200.0
_WAIT = 60.0


def kind(word: str) -> int:
    if word not in _KINDS:
        raise ConfigurationError(f"{word}: is no kind of reading; known are {', '.join(_KINDS)}")
    return model.KIND_NAMES.index(word)


def instant(word: str) -> int:
    """UTC seconds; a time without a zone is UTC."""
    try:
        time = datetime.fromisoformat(word)
    except ValueError:
        raise ConfigurationError(
            f"{word}: is no time; write 2024-07-01, 2024-07-01T06:00 or 2024-07-01T06:00+02:00"
        ) from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def duration_ms(word: str) -> int:
    """0 for "configured": that of the gateway's configuration again."""
    if word == "configured":
        return 0
    match = _DURATION.fullmatch(word)
    if not match or not 0 < int(match[1]) * _UNITS_MS[match[2]] < 1 << 32:
        raise ConfigurationError(
            f'{word}: is no duration; write "10s", "15min" or "1h", or "configured" for the gateway\'s own'
        )
    return int(match[1]) * _UNITS_MS[match[2]]


def parse(action: str, words: list[str]) -> tuple[int, tuple[int, ...]]:
    """The action's number and arguments. Raises ConfigurationError."""
    if action not in _USAGE:
        raise ConfigurationError(f"{action}: is no command; known are {', '.join(_USAGE)}")
    if action == "update" or len(words) != len(_USAGE[action].split()):
        raise ConfigurationError(f"write: omdp-cloud command METER {action} {_USAGE[action]}".rstrip())
    number = commands.ACTION_NAMES.index(action)
    if action == "self-test":
        return number, ()
    if action == "read-now":
        return number, (kind(words[0]),)
    if action == "set-interval":
        return number, (kind(words[0]), duration_ms(words[1]))
    begin, end = instant(words[1]), instant(words[2])
    if not 0 <= begin < end < 1 << 32:
        raise ConfigurationError(f"{words[1]} to {words[2]}: ends before it begins")
    return number, (kind(words[0]), begin, end)


def read_bundle(file: Path) -> bytes:
    """Raises ConfigurationError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be read: {error.strerror}") from None
    if not data.startswith(_BUNDLE) or len(data) > _MOST_BUNDLE:
        raise ConfigurationError(f"{file}: is no application bundle; tools/bundle.py makes one")
    return data


async def run(
    settings: Settings,
    meter: str,
    action: str,
    words: list[str],
    wait: float | None,
    bundle_file: Path | None = None,
    lower: bool = False,
) -> int:
    """The exit code. `lower`: an update to a version below the one that runs is meant. Raises CloudError."""
    try:
        meter_id = uuid.UUID(meter).bytes
    except ValueError:
        raise ConfigurationError(f"{meter}: is no MeterIndividualId (a UUID)") from None
    bundle = b""
    number: int
    arguments: tuple[int, ...]
    if action == "update" and bundle_file is not None and not words:
        bundle = read_bundle(bundle_file)
        number, arguments = commands.UPDATE, (len(bundle), int(lower))
    elif bundle_file is not None or lower:
        raise ConfigurationError("--bundle and --lower belong to update")
    else:
        number, arguments = parse(action, words)
    if wait is None:
        wait = _UPDATE_WAIT if bundle else _WAIT
    key = key_of(settings.commands, meter_id)
    if key is None:
        raise ConfigurationError(
            f"{format_uuid(meter_id)}: no secret to command this meter with: name it with credential_file or "
            "credential_dir in [commands]"
        )
    broker = settings.broker
    if broker is None:
        if not settings.engine.port:
            raise ConfigurationError(
                "the engine's port is 0, so nobody knows where it listens: set [engine] port"
            )
        broker = Broker(url=f"mqtt://127.0.0.1:{settings.engine.port}")
    sender = Sender(broker, CommandStore(settings.database.url), meter_id, key, _say)
    result = await sender.send(number, arguments, wait, bundle)
    if result is None:
        _say(
            f"no result within {wait:g} s: the gateway is away, takes no commands for this meter, or shares "
            "another secret; what still comes is stored in the table command while omdp-cloud serve runs"
        )
    else:
        name = STATUS_NAMES[result.status] if result.status < len(STATUS_NAMES) else f"status {result.status}"
        print(f"{name}: {result.text}" if result.text else name)
    return exit_code(result)


def _say(text: str) -> None:
    print(f"omdp-cloud: {text}", file=sys.stderr)
