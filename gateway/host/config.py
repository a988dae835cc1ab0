"""The gateway's configuration: a TOML file in, a checked `Configuration` out, or every error at once.

Keys and passwords never stand in it: fields that end in `_file` name files which hold them.
"""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from ..drivers.optical.meter import LAST_USER_ID, USER, USER_ID
from ..drivers.optical.services import is_rate
from ..errors import ConfigurationError
from ..transmission import commands, model
from .config_board import BoardSection
from .config_broker import BrokerSection, LocalSection
from .config_broker import contradictions as broker_contradictions
from .config_fields import (
    Duration,
    Finding,
    KeyFile,
    LoopbackAddress,
    MeterId,
    PasswordFile,
    Port,
    ProfileInterval,
    SecretFile,
    Section,
    StateDir,
    TimesOfDay,
    TopicLevel,
    host_name,
)
from .links import DEFAULT_BAUD, split_address
from .toml_lines import field_lines, nearest_line


class GatewaySection(Section):
    id: TopicLevel = Field(
        default_factory=host_name, description="name of this gateway; default: the host's name"
    )
    role: Literal["both", "adapter", "concentrator"] = Field(
        default="both",
        description='"adapter": reads meters for a concentrator, whose local broker is [broker]; '
        '"concentrator": forwards for the adapters on [local]; "both": reads meters for the cloud, '
        "and forwards where there is a [local]",
    )
    state_dir: StateDir | None = Field(
        default=None, description="directory for what it has to know after a restart"
    )
    stale_after: int = Field(
        default=3, ge=1, le=1000, description="after how many intervals without a reading a kind is stale"
    )


class MetricsSection(Section):
    """Metrics for Prometheus and a health endpoint."""

    listen: LoopbackAddress = Field(
        default="127.0.0.1:9466", description="where /metrics and /health are served, on this machine alone"
    )

    @property
    def address(self) -> tuple[str, int]:
        return split_address(self.listen, "the address")


class OutboxSection(Section):
    """What waits on disk until the cloud has it."""

    size_mb: int = Field(
        default=256, ge=1, le=1 << 20, description="how much of the disk it may take, in MiB"
    )
    sync: Duration = Field(
        default=10_000, description="how long a frame may wait until it is durable; events and alarms do not"
    )


class CommandsSection(Section):
    """Who may command the meters, and what."""

    credential_file: SecretFile | None = Field(
        default=None,
        description="secret shared with the owner of the meters; without it no commands are taken",
    )
    allow: list[Literal["read-now", "backfill", "set-interval", "self-test", "update"]] = Field(
        default=["read-now", "backfill", "set-interval", "self-test", "update"],
        description="which commands are taken; update is for boards",
    )

    def actions(self) -> list[int]:
        return [commands.ACTION_NAMES.index(name) for name in self.allow]


class ScheduleSection(Section):
    """How often each kind is read, aligned to the clock; "off" for never."""

    present: Duration = Field(default=10_000, description="present values")
    registers: Duration = Field(default=900_000, description="energy registers and tiers")
    load_profile: ProfileInterval = Field(
        default=None, description='intervals of the load profile; "auto": as the meter completes them'
    )
    alarms: Duration = Field(default=3_000, description="alarms set and cleared")
    events: Duration = Field(default=60_000, description="the event logs")
    clock: Duration = Field(default=3_600_000, description="the meter's clock and its drift")
    mbus: Duration = Field(default=3_600_000, description="M-Bus devices and their last telegrams")
    self_reads: Duration = Field(
        default=86_400_000, description="registers that the meter stored at ends of months and seasons"
    )

    def intervals_ms(self) -> dict[int, int]:
        """By kind of reading; a kind that follows the meter is not in it."""
        named = {name.replace("_", "-"): value for name, value in self.model_dump().items()}
        return {model.KIND_NAMES.index(name): value for name, value in named.items() if value is not None}


class MeterSection(Section):
    name: TopicLevel = Field(description="what logs and messages call the meter")
    port: Port = Field(description="/dev/ttyUSB0 or tcp://host:port")
    protocol: Literal["mep", "optical"] = Field(default="mep", description="what is spoken on the port")
    baud: int = Field(
        default=DEFAULT_BAUD,
        ge=300,
        le=921_600,
        description="the MEP port's rate, or the one for optical sessions, which begin at 9600",
    )
    key_file: KeyFile | None = Field(
        default=None, description="mep: file with the meter's key (MBK or MAK) as the utility gave it"
    )
    security: Literal["digest", "rc4", "tls", "auto"] = Field(
        default="digest",
        description='mep: "digest": authenticated; "rc4": encrypted as well; "tls"; "auto": TLS, or RC4 with '
        "a meter that has never spoken TLS",
    )
    key_level: Literal["mbk", "mak"] | None = Field(
        default=None, description="mep: which key it is, for TLS; default: the meter is asked"
    )
    password_file: PasswordFile | None = Field(
        default=None, description="optical: file with the meter's password (MK, PK or RK)"
    )
    user_id: int = Field(default=USER_ID, ge=0, le=LAST_USER_ID, description="optical: user number at logon")
    user: str = Field(
        default=USER, pattern="^[ -~]{0,10}$", description="optical: user name at logon, up to 10 characters"
    )
    log_off: Literal["cycle", "never"] = Field(
        default="cycle",
        description='optical: "cycle": whenever all that is due was read, so that others may come; "never"',
    )
    registers: bool = Field(
        alias="register", default=False, description="mep: become the meter's client, which it alerts"
    )
    allow_writes: bool = Field(
        default=False, description="mep: write more to the meter than the registration, where it is asked for"
    )
    power_change_w: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="mep: W by which the power has to change to be told",
    )
    serial: str | None = Field(default=None, description="the serial number it must have; default: any")
    id: MeterId | None = Field(
        default=None, description="MeterIndividualId (UUID); default: from manufacturer and serial number"
    )
    idle: TimesOfDay | None = Field(
        default=None, description="times of day (UTC) between which the port is left alone"
    )
    command_credential_file: SecretFile | None = Field(
        default=None, description="secret shared with this meter's owner; default: that of [commands]"
    )
    alarm_latency: Duration = Field(
        default=0,
        description="how long an alarm may take to be published; default: as the schedule gives, 4 s at 9600 "
        "baud. Less than 2.4s takes more reads than the MEP guide advises",
    )
    schedule: ScheduleSection = ScheduleSection()

    @property
    def on_demand_ms(self) -> int:
        """How often M-Bus devices are to be read on demand; 0: never. A schedule that nobody has set asks no
        device for more than it gives anyway."""
        asked = self.allow_writes and "mbus" in self.schedule.model_fields_set
        return self.schedule.mbus if asked else 0


class Configuration(Section):
    gateway: GatewaySection = Field(default_factory=GatewaySection)
    broker: BrokerSection
    outbox: OutboxSection = OutboxSection()
    local: LocalSection | None = Field(
        default=None, description="broker of adapters, for which this gateway is the concentrator"
    )
    commands: CommandsSection = CommandsSection()
    metrics: MetricsSection | None = Field(
        default=None, description="metrics and health over HTTP; default: none"
    )
    meter: list[MeterSection] = []
    board: BoardSection | None = Field(default=None, description="for a board only (docs/board.md)")

    def command_credential(self, meter: MeterSection) -> Path | None:
        """The file with the secret that the meter's owner commands with; None: nobody does."""
        return meter.command_credential_file or self.commands.credential_file


def load(path: Path) -> Configuration:
    """The configuration in `path`; raises ConfigurationError with all that is wrong, a line for each."""
    text, data = _parsed(path)
    found = [*_contradictions(data)]
    try:
        configuration = Configuration.model_validate(data, context={"base": path.parent})
    except ValidationError as error:
        found += _findings(error)
    else:
        if not found:
            return configuration
    raise ConfigurationError(_listed(path, field_lines(text), found))


def load_gateway(path: Path) -> GatewaySection:
    """Only what tells where the running gateway is found: whoever may not read keys can ask it, too. Raises
    ConfigurationError."""
    text, data = _parsed(path)
    try:
        return GatewaySection.model_validate(data.get("gateway", {}), context={"base": path.parent})
    except ValidationError as error:
        found = [(("gateway", *where), reason) for where, reason in _findings(error)]
        raise ConfigurationError(_listed(path, field_lines(text), found)) from None


def _parsed(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text, and what it says."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no such file; name the configuration with -c FILE"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is no text in UTF-8 (byte {error.start})") from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is no valid TOML: {error}") from None


def _findings(error: ValidationError) -> Iterator[Finding]:
    for problem in error.errors(include_url=False, include_input=False):
        where = tuple(part for part in problem["loc"] if isinstance(part, str | int))
        yield where, _reason_of(where, problem["type"], problem["msg"])


def json_schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors."""
    return Configuration.model_json_schema()


def _contradictions(data: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong between fields. It looks at the file as it is, because pydantic would tell this only
    once every single field is right."""
    yield from broker_contradictions(data)
    meters = data.get("meter")
    if not isinstance(meters, list):
        return
    yield from _command_contradictions(data.get("commands"), meters)
    for number, meter in enumerate(meters):
        if isinstance(meter, dict):
            for field, reason in _protocol_contradictions(meter):
                yield ("meter", number, field), reason
    for field in ("name", "port", "id"):
        seen: dict[str, int] = {}
        for number, meter in enumerate(meters):
            value = meter.get(field) if isinstance(meter, dict) else None
            if not isinstance(value, str):
                continue
            if value in seen:
                yield ("meter", number, field), f"is the same as that of meter {seen[value] + 1}"
            seen.setdefault(value, number)


def _command_contradictions(section: object, meters: list[object]) -> Iterator[Finding]:
    if not isinstance(section, dict) or "credential_file" in section:
        return
    if not any(isinstance(meter, dict) and "command_credential_file" in meter for meter in meters):
        yield (
            ("commands", "credential_file"),
            "is missing: commands are checked with a secret that the meters' owner shares with this gateway",
        )


def _protocol_contradictions(meter: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What of the one protocol stands at a meter of the other, or is missing."""
    mep: tuple[str, ...] = (
        "key_file", "security", "key_level", "register", "allow_writes", "power_change_w",
    )  # fmt: skip
    optical: tuple[str, ...] = ("password_file", "user_id", "user", "log_off")
    if meter.get("protocol", "mep") == "mep":
        needed, foreign = mep[0], optical
    elif meter["protocol"] == "optical":
        needed, foreign = optical[0], mep
        baud = meter.get("baud")
        if isinstance(baud, int) and not is_rate(baud):
            yield "baud", "is no rate of an optical session: 300 to 57600, as ANSI C12.18 lists them"
        elif baud not in (None, DEFAULT_BAUD) and str(meter.get("port")).startswith("tcp:"):
            yield "baud", f"has to be {DEFAULT_BAUD}: nobody can tell a serial server to change its rate"
    else:
        return
    if needed not in meter:
        yield needed, "is missing"
    if "power_change_w" in meter and needed == mep[0]:
        if meter.get("register") is not True:
            yield "power_change_w", "needs register = true: a meter tells changes only to its client"
        if meter.get("allow_writes") is not True:
            yield (
                "power_change_w",
                "needs allow_writes = true: the meter is told what to watch (ET71), and each alert is ended "
                "by a procedure (EP39)",
            )
    for field in foreign:
        if field in meter:
            other = "optical" if foreign is optical else "mep"
            yield field, f'is only for a meter with protocol = "{other}"'


def _listed(path: Path, lines: dict[tuple[str | int, ...], int], found: list[Finding]) -> str:
    ordered = sorted((nearest_line(lines, where) or 0, _written(where), reason) for where, reason in found)
    return "\n".join(
        f"{path}:{line}: {field}: {reason}" if line else f"{path}: {field}: {reason}"
        for line, field, reason in ordered
    )


def _reason_of(where: tuple[str | int, ...], kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return _unknown(where)
    return message.removeprefix("Value error, ")


def _unknown(where: tuple[str | int, ...]) -> str:
    name = str(where[-1])
    fields = list(_fields_at(where[:-1]))
    for secret in ("key", "password", "credential"):
        if name == secret and f"{secret}_file" in fields:
            return (
                "secrets never stand in this file: put it into a file of its own (chmod 600) "
                f"and name that with {name}_file"
            )
    near = difflib.get_close_matches(name, fields, 1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(fields)}"
    return f"is no known field; {hint}"


def _fields_at(where: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Configuration
    for part in where:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            if typing.get_origin(annotation) in (list, types.UnionType, typing.Union):
                annotation = typing.get_args(annotation)[0]
            assert isinstance(annotation, type)
            model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def _written(where: tuple[str | int, ...]) -> str:
    """("meter", 0, "port") as people count: meter 1, port."""
    words: list[str] = []
    for part in where:
        if isinstance(part, int) and words:
            words[-1] += f" {part + 1}"
        else:
            words.append(str(part))
    return ".".join(words)
