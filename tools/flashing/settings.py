"""From the gateway's configuration (TOML) to what a board reads: /config/board.json and files of secrets."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ota import KEYS

from gateway.errors import ConfigurationError
from gateway.host import check, config, page_password
from gateway.host.config_board import BoardSection
from gateway.host.secret_files import read_secret
from gateway.transmission.model import KIND_NAMES, LOAD_PROFILE

from . import board_check
from .profile import Profile

_PEM_BEGIN = "-----BEGIN CERTIFICATE-----"
_PEM_END = "-----END CERTIFICATE-----"
_OUTBOX_DIR = "outbox"
# Unless the configuration says more: a start reads all of it.
MOST_OUTBOX = 1 << 20
# So that all but Wi-Fi is checked where the file names none.
_SOME_WIFI = {"ssid": "some"}


@dataclass
class Settings:
    """What goes to the board: `values` is board.json, `secrets` the content of files by the field that names
    them, `told` what of the TOML a board can't do or does otherwise."""

    profile: Profile
    values: dict[str, Any]
    secrets: dict[str, bytes]
    update_keys: bytes | None = None
    told: list[str] = field(default_factory=list)

    def files(self) -> dict[str, bytes]:
        """All below /config, by absolute path, as the board itself would write it. Raises ConfigurationError
        for what the board would refuse."""
        found = {"/config/profile.json": self.profile.as_json()}
        values = dict(self.values)
        with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
            os.mkdir("config")
            Path("config/profile.json").write_bytes(found["/config/profile.json"])
            board_check.write({"wifi": _SOME_WIFI, **values}, self.secrets)
            for path in sorted(Path("config").iterdir()):
                found[f"/config/{path.name}"] = path.read_bytes()
        if self.update_keys is not None:
            found["/" + KEYS] = self.update_keys
        written = json.loads(found["/config/board.json"])
        if "wifi" not in values:
            del written["wifi"]
        found["/config/board.json"] = json.dumps(written).encode()
        return found


def from_toml(path: Path, profile: Profile, meter: str | None, outbox_bytes: int) -> Settings:
    """`meter`: which one, where the file has several. `outbox_bytes`: what the board's flash has room for.

    Raises ConfigurationError for what `osgp-gateway check` refuses, and for what no board can do.
    """
    check.summary(path)
    found = config.load(path)
    board = found.board or BoardSection()
    chosen = _meter(found, meter)
    profile = profile.with_pins(board.pins.changes())
    settings = Settings(profile, {}, {})
    _add_meter(settings, found, chosen)
    _add_broker(settings, found)
    _add_board(settings, board)
    values = settings.values
    values["outbox_dir"] = _OUTBOX_DIR
    asked = found.outbox.size_mb << 20 if "size_mb" in found.outbox.model_fields_set else MOST_OUTBOX
    values["outbox_bytes"] = min(asked, outbox_bytes)
    if "size_mb" in found.outbox.model_fields_set and outbox_bytes < asked:
        settings.told.append(
            f"[outbox] size_mb = {found.outbox.size_mb}: the board's flash has room for "
            f"{values['outbox_bytes'] / (1 << 20):.1f} MB"
        )
    if "sync" in found.outbox.model_fields_set:
        settings.told.append("[outbox] sync: a board makes frames durable every minute, to spare its flash")
    if found.local is not None:
        settings.told.append("[local]: a board serves no adapters")
    if found.metrics is not None:
        settings.told.append("[metrics]: a board has none; its page and its status tell the same")
    if "id" not in found.gateway.model_fields_set:
        settings.told.append(
            f"[gateway] id is missing: the board is {found.gateway.id!r} at the broker, as a gateway on this "
            "computer would be; give each board an id of its own"
        )
    for name in ("state_dir", "stale_after"):
        if name in found.gateway.model_fields_set:
            settings.told.append(f"[gateway] {name}: has no meaning on a board")
    return settings


def _meter(found: config.Configuration, name: str | None) -> config.MeterSection:
    if found.gateway.role == "concentrator":
        raise ConfigurationError(
            'gateway.role = "concentrator" reads no meter, and that is what a board does: give the board a '
            'configuration of its own, with role = "adapter" for this concentrator'
        )
    names = [meter.name for meter in found.meter]
    if name is None and len(names) > 1:
        raise ConfigurationError(f"a board reads one meter: say which with --meter: {', '.join(names)}")
    for meter in found.meter:
        if name in (None, meter.name):
            return meter
    raise ConfigurationError(f"there is no meter {name!r}; there are {', '.join(names)}")


def _add_meter(settings: Settings, found: config.Configuration, meter: config.MeterSection) -> None:
    values, secrets = settings.values, settings.secrets
    values["name"] = meter.name
    values["protocol"] = meter.protocol
    values["baud"] = meter.baud
    for name, value in (("serial", meter.serial), ("meter_id", meter.id)):
        if value:
            values[name] = value
    if meter.idle:
        values["idle"] = "-".join(f"{time // 3600:02}:{time // 60 % 60:02}" for time in meter.idle)
    if meter.key_file is not None:
        secrets["key_file"] = read_secret(meter.key_file)
        values["security"] = meter.security
        if meter.key_level:
            values["key_level"] = meter.key_level
        values["register"], values["allow_writes"] = meter.registers, meter.allow_writes
        values["power_change_w"] = meter.power_change_w or 0
    if meter.password_file is not None:
        secrets["password_file"] = read_secret(meter.password_file)
        values["user_id"], values["user"], values["log_off"] = meter.user_id, meter.user, meter.log_off
    values["schedule"] = _schedule(settings, meter)
    credential = found.command_credential(meter)
    if credential is not None and found.commands.allow:
        secrets["commands.credential_file"] = read_secret(credential)
        values["commands"] = {"allow": list(found.commands.allow)}
    if "alarm_latency" in meter.model_fields_set:
        settings.told.append("alarm_latency: a board reads alarms as its schedule says")
    settings.told.append(f"port = {meter.port!r}: on the board the meter is on {line(settings.profile)}")


def line(profile: Profile) -> str:
    pins = profile.pins
    return f"UART {profile.uart}, RX GPIO {pins['rx']['pin']}, TX GPIO {pins['tx']['pin']}"


def _schedule(settings: Settings, meter: config.MeterSection) -> dict[str, int | str]:
    """Whole seconds by kind, "auto" for what a board reads as by default."""
    intervals: dict[str, int | str] = {KIND_NAMES[LOAD_PROFILE]: "auto"}
    for kind, interval_ms in meter.schedule.intervals_ms().items():
        name = KIND_NAMES[kind]
        if name == "mbus" and meter.allow_writes and not meter.on_demand_ms:
            intervals[name] = "auto"  # with a time the board would have the meter ask its devices
            continue
        if interval_ms % 1000:
            settings.told.append(f"schedule.{name}: a board counts whole seconds, so this is rounded up")
        intervals[name] = -(-interval_ms // 1000)
    return intervals


def _add_broker(settings: Settings, found: config.Configuration) -> None:
    broker = found.broker
    values: dict[str, Any] = {"host": broker.host, "port": broker.port, "client_id": found.gateway.id}
    if found.gateway.role == "adapter":
        values["adapter"] = True
    if broker.username:
        values["username"] = broker.username
    if broker.password_file is not None:
        settings.secrets["broker.password_file"] = read_secret(broker.password_file)
    if broker.custody == "cloud":
        file = broker.credential_file or broker.password_file
        assert file is not None  # config.load has seen to it
        settings.secrets["broker.credential_file"] = read_secret(file)
    if broker.allow_plain:
        values["allow_plain"] = broker.allow_plain
    if broker.tls:
        if broker.ca_file is None:
            raise ConfigurationError(
                "broker.ca_file: is missing: a board has no certificates of its own. Name the file (PEM) "
                "with that of the authority which signed the broker's"
            )
        settings.secrets["broker.ca_file"] = der(broker.ca_file)
    settings.values["broker"] = values


def der(path: Path) -> bytes:
    """The one certificate in a PEM file, as a board reads it. Raises ConfigurationError."""
    text = path.read_text(encoding="ascii", errors="replace")
    found = text.count(_PEM_BEGIN)
    if found != 1:
        raise ConfigurationError(
            f"{path}: holds {found} certificates, and a board takes one: leave only that of the authority "
            "which signed the broker's"
        )
    start = text.index(_PEM_BEGIN)
    return ssl.PEM_cert_to_DER_cert(text[start : text.index(_PEM_END, start) + len(_PEM_END)])


def _add_board(settings: Settings, board: BoardSection) -> None:
    values, secrets = settings.values, settings.secrets
    if board.wifi_ssid is None:
        settings.told.append(
            "[board] wifi_ssid is missing: the board opens an access point, on which a phone sets its Wi-Fi"
        )
    else:
        wifi: dict[str, Any] = {"ssid": board.wifi_ssid, "hostname": board.hostname}
        for name in ("country", "address", "gateway", "dns"):
            if getattr(board, name):
                wifi[name] = getattr(board, name)
        if board.address:
            wifi["netmask"] = board.netmask
        values["wifi"] = wifi
        if board.wifi_password_file is not None:
            secrets["wifi.password_file"] = read_secret(board.wifi_password_file)
    values["ntp"] = {"server": board.ntp}
    if board.home_assistant is not None:
        values["home_assistant"] = board.home_assistant
    if board.page_password_file is not None:
        secrets["page.password_file"] = page_password.verifier(read_secret(board.page_password_file))
    else:
        settings.told.append("[board] page_password_file is missing: the board has no page once it is set up")
    if board.update_keys_file is not None:
        settings.update_keys = board.update_keys_file.read_bytes()
    else:
        settings.told.append("[board] update_keys_file is missing: the board takes no updates over the air")
