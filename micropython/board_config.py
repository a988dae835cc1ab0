"""The board's configuration, /config/board.json (docs/micropython.md): reads it, checks it, writes it.

Paths in it count from the root of the board's file system, where the application stands. Imported once and
forgotten: nothing that outlives `make` may hold on to this module.
"""

import json
import os

from board_profile import Profile
from config_problems import Problems, checked
from mqtt import MqttBroker, tls_context
from mqtt_machine import MqttMachine
from secret_file import offered, read_file, read_secret
from uart_link import Line

from gateway._compat import TYPE_CHECKING
from gateway.core.gateway import SYNC_MS, Gateway, last_will
from gateway.core.meter_settings import MeterSettings
from gateway.errors import ConfigurationError, FrameError, OutboxError
from gateway.transmission.ids import parse_uuid
from gateway.transmission.model import FOREIGN, KIND_NAMES, SELF_READ

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gateway.core.outbox import Outbox
    from gateway.core.supervisor import Log

PATH = "config/board.json"

# Fields with their types and defaults; None as a default: there is none, the field must be given. Those of a
# protocol stand in its own file, because a board speaks one and loads nothing of the other.
_FIELDS: "dict[str, Any]" = {
    "name": (str, "meter"),
    "protocol": (str, "mep"),
    "baud": (int, 9600),
    "idle": (str, ""),
    "meter_id": (str, ""),
    "serial": (str, ""),
    "schedule": (dict, {}),
    "reads_per_hour": (int, 3600),
    "broker": (dict, None),
    "outbox_bytes": (int, 0),
    "outbox_dir": (str, ""),
    "commands": (dict, {}),
    "home_assistant": (str, ""),
    "report_seconds": (int, 0),
    "watchdog": (int, 300),
    "wifi": (dict, {}),
    "ntp": (dict, {}),
    "page": (dict, {}),
    "board": (dict, {}),
}
_BROKER_FIELDS: "dict[str, Any]" = {
    "host": (str, None),
    "port": (int, 1883),
    "client_id": (str, None),
    "adapter": (bool, False),
    "username": (str, ""),
    "password_file": (str, ""),
    "ca_file": (str, ""),
    "server_name": (str, ""),
    "keep_alive": (int, 60),
    "credential_file": (str, ""),
    "allow_plain": (str, ""),
}
_WIFI_FIELDS: "dict[str, Any]" = {
    "ssid": (str, None),
    "password_file": (str, ""),
    "country": (str, ""),
    "hostname": (str, "osgp-gateway"),
    "address": (str, ""),
    "netmask": (str, "255.255.255.0"),
    "gateway": (str, ""),
    "dns": (str, ""),
}
_NTP_FIELDS: "dict[str, Any]" = {"server": (str, "pool.ntp.org"), "port": (int, 123)}
_PAGE_FIELDS: "dict[str, Any]" = {"password_file": (str, ""), "port": (int, 80)}
# In memory, or in a directory.
_OUTBOX_BYTES = 4096
_OUTBOX_DIR_BYTES = 1048576
_SEGMENT_BYTES = 16384
_LEAST_DIR_BYTES = 131072
# Each sync wears the flash (docs/outbox.md).
_SYNC_MS = 60000
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_CONSENT = "yes, without encryption"
_LEAST_WATCHDOG_S = 120
_RATES = (300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 115200)


def load(path: str = PATH) -> "dict[str, Any]":
    """What stands in the file, unchecked. Raises ConfigurationError."""
    try:
        with open(path) as file:
            given = json.loads(file.read())  # json.load reads it byte by byte
    except OSError as error:
        raise ConfigurationError("%s: can't be read: %s" % (path, error)) from None
    except ValueError:
        raise ConfigurationError("%s: is no valid JSON" % path) from None
    if not isinstance(given, dict):
        raise ConfigurationError("%s: has to be a JSON object" % path)
    return given


def exists(path: str = PATH) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def write(settings: "dict[str, Any]", secrets: "Mapping[str, bytes]", path: str = PATH) -> None:
    """Checks both as reading does, and then puts them into flash: either all of it or nothing, whenever the
    power goes.

    `settings`: the whole of it. `secrets`: by the field that names its file ("key_file",
    "broker.password_file", "wifi.password_file", ...), the file's new content; a field that is not here keeps
    the file that `settings` names. The names of new files are chosen here. Raises ConfigurationError with all
    that is wrong; then nothing has changed.
    """
    from config_writer import Writer

    writer = Writer(settings, secrets, path)
    offered.update(writer.files)
    try:
        problems = Problems()
        Sections(writer.settings, path, _silent, problems)
        problems.tell()
    finally:
        offered.clear()
    writer.write()


def intervals_of(schedule: "dict[str, Any]", problems: Problems) -> "dict[int, int]":
    """Milliseconds by kind of reading; 0 for never, none where the default schedule is to say it."""
    intervals_ms = dict.fromkeys(range(SELF_READ, FOREIGN), 0)  # a board reads these only where told
    for kind, seconds in schedule.items():
        known = kind in KIND_NAMES
        if known and seconds == "auto":
            intervals_ms.pop(KIND_NAMES.index(kind), None)
        elif known and isinstance(seconds, int) and not isinstance(seconds, bool) and seconds >= 0:
            intervals_ms[KIND_NAMES.index(kind)] = 1000 * seconds
        else:
            problems.add(
                "schedule." + kind, "%r: takes kinds of readings with seconds; 0 leaves one out" % (seconds,)
            )
    return intervals_ms


def idle_of(text: str, problems: Problems) -> "tuple[int, int] | None":
    """Begin and end, in seconds since midnight, of "02:00-03:30"; None for ""."""
    times: list[int] = []
    for time in text.split("-") if len(text) == 11 else ():
        hour, minute = time[:2], time[3:]
        if time[2:3] == ":" and hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60:
            times.append(int(hour) * 3600 + int(minute) * 60)
    if len(times) == 2 and times[0] != times[1]:
        return times[0], times[1]
    if text:
        problems.add("idle", 'takes two times of day (UTC) that differ, such as "02:00-03:30"')
    return None


def is_address(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)


def wifi_of(given: "dict[str, Any]", problems: Problems) -> "dict[str, Any]":
    """What the board has to know to join a network: "ssid", "password" (bytes, b"" for an open one),
    "country", "hostname", and "addresses" for WLAN.ifconfig (None: DHCP gives them)."""
    values = checked(given, _WIFI_FIELDS, "wifi.", problems)
    ssid = values["ssid"]
    if ssid is not None and not 0 < len(ssid.encode()) <= 32:
        problems.add("wifi.ssid", "takes a network's name of 1 to 32 bytes")
    file = values["password_file"]
    password = problems.of(read_secret, file, "Wi-Fi password") if file else b""
    if password and not 8 <= len(password) <= 64:
        problems.add("wifi.password_file", "a Wi-Fi password has 8 to 63 characters, or 64 hex digits")
    country, hostname = values["country"], values["hostname"]
    if country and not (len(country) == 2 and country.isalpha()):
        problems.add("wifi.country", 'takes a country\'s two letters, such as "DK"')
    name = hostname.replace("-", "a")
    if not (0 < len(name) <= 32 and all(c.isalpha() or c.isdigit() for c in name)):
        problems.add("wifi.hostname", "takes up to 32 letters, digits and hyphens")
    addresses = None
    if values["address"]:
        gateway = values["gateway"]
        addresses = values["address"], values["netmask"], gateway, values["dns"] or gateway
        if not gateway:
            problems.add("wifi.gateway", "has to be given with an address")
    for field in ("address", "netmask", "gateway", "dns"):
        if values[field] and not is_address(values[field]):
            problems.add("wifi." + field, 'takes an address such as "192.168.1.20"')
    return {
        "ssid": ssid,
        "password": password,
        "country": country,
        "hostname": hostname,
        "addresses": addresses,
    }


def make_broker(settings: "dict[str, Any]", problems: Problems) -> "MqttBroker | None":
    password = settings["password_file"] and problems.of(read_secret, settings["password_file"], "password")
    ca = settings["ca_file"] and problems.of(read_file, settings["ca_file"], "CA certificate")
    beyond = settings["host"] and settings["host"] not in _LOOPBACK
    if beyond and not settings["ca_file"] and settings["allow_plain"] != _CONSENT:
        problems.add(
            "broker.ca_file",
            "a broker beyond this machine is reached with TLS only; name its CA certificate (DER), or say "
            '"allow_plain": "%s"' % _CONSENT,
        )
    tls = problems.of(tls_context, ca) if ca else None
    if problems.found:
        return None
    machine = MqttMachine(
        settings["client_id"],
        username=settings["username"] or None,
        password=password.decode() if password else None,
        keep_alive=settings["keep_alive"],
        will=last_will(settings["client_id"], settings["adapter"]) + (True,),
    )
    return MqttBroker(
        settings["host"],
        settings["port"],
        machine,
        keep_alive=settings["keep_alive"],
        tls=tls,
        server_hostname=settings["server_name"] or None,
    )


class Sections:
    """The whole configuration, checked; what is wrong stands in `problems`. Touches no hardware, no outbox.

    `values`: the fields with defaults, without those of sections. `open_meter`: opens the meter on its port.
    """

    def __init__(self, given: "dict[str, Any]", path: str, log: "Log", problems: Problems) -> None:
        if given.get("protocol") == "optical":
            from optical_config import FIELDS, make_opener
        else:
            from mep_config import FIELDS, make_opener
        fields = dict(_FIELDS)
        fields.update(FIELDS)
        values = self.values = checked(given, fields, "", problems)
        if values["protocol"] not in ("mep", "optical"):
            problems.add("protocol", 'takes "mep" or "optical"')
        if values["baud"] not in _RATES:
            problems.add("baud", "no line runs at %d baud here" % values["baud"])
        if not 1 <= values["reads_per_hour"] <= 3600000:
            problems.add("reads_per_hour", "takes 1 to 3600000")
        if values["meter_id"]:
            try:
                parse_uuid(values["meter_id"])
            except FrameError as error:
                problems.add("meter_id", error)
        if 0 < values["watchdog"] < _LEAST_WATCHDOG_S:
            problems.add("watchdog", "takes at least %d seconds; 0: there is none" % _LEAST_WATCHDOG_S)
        if values["outbox_dir"] and 0 < values["outbox_bytes"] < _LEAST_DIR_BYTES:
            problems.add("outbox_bytes", "in a directory, takes at least %d" % _LEAST_DIR_BYTES)
        profile = self.profile = problems.of(Profile, values["board"])
        line: Any = None if profile is None else Line(profile)
        self.open_meter = make_opener(values, line, path, log, problems)
        prefix = values["home_assistant"]
        if prefix and ("+" in prefix or "#" in prefix or "" in prefix.split("/")):
            problems.add("home_assistant", 'takes the beginning of a topic, such as "homeassistant"')
        self.sync_ms = _SYNC_MS if values["outbox_dir"] else SYNC_MS
        self.intervals_ms = intervals_of(values["schedule"], problems)
        self.idle_s = idle_of(values["idle"], problems)
        self.client = self.on_demand = None
        if any(values.get(field) for field in ("register", "allow_writes", "power_change_w")):
            from mep_client import make_client

            self.client, self.on_demand = make_client(values, self.intervals_ms, problems)
        self.commands: dict[str, Any] | None = None
        if values["commands"]:
            from command_config import FIELDS as COMMANDS
            from command_config import check_commands

            commands = checked(values["commands"], COMMANDS, "commands.", problems)
            self.commands = check_commands(commands, problems)
        self.wifi = wifi_of(values["wifi"], problems)
        self.ntp = checked(values["ntp"], _NTP_FIELDS, "ntp.", problems)
        self.page = checked(values["page"], _PAGE_FIELDS, "page.", problems)
        if self.page["password_file"]:
            problems.of(read_secret, self.page["password_file"], "page's password")
        broker = values["broker"]
        if broker is not None:
            broker = checked(broker, _BROKER_FIELDS, "broker.", problems)
            file = broker["credential_file"]
            self.credential = problems.of(read_secret, file, "credential") if file else None
            self.name, self.adapter = broker["client_id"], broker["adapter"]
            self.broker = make_broker(broker, problems)


def make_outbox(settings: "dict[str, Any]", log: "Log") -> "Outbox":
    """In `outbox_dir` where there is one, else in memory; each loads its own modules only."""
    directory, size = settings["outbox_dir"], settings["outbox_bytes"]
    if not directory:
        from gateway.core.memory_outbox import MemoryOutbox

        return MemoryOutbox(size or _OUTBOX_BYTES)
    from gateway.core.files import Files
    from gateway.core.log_outbox import LogOutbox

    try:
        os.mkdir(directory)
    except OSError:
        pass  # it is there, or reading it says what is wrong
    try:
        return LogOutbox(Files(directory), size or _OUTBOX_DIR_BYTES, log, _SEGMENT_BYTES)
    except OutboxError as error:
        raise ConfigurationError("outbox_dir: %s" % error) from None


def pins() -> "dict[str, tuple[int, int]]":
    """Those of the board's profile, for a board without a configuration that can be used."""
    try:
        return Profile({}).pins
    except ConfigurationError:
        return {}


def make(log: "Log", working: bool = True, path: str = PATH) -> "tuple[Gateway | None, Sections]":
    """The gateway as it is configured (None unless it is to be `working`), and the rest of the configuration.
    Raises ConfigurationError."""
    problems = Problems()
    sections: Any = Sections(load(path), path, log, problems)
    values = sections.values
    if not working:
        problems.tell()
        return None, sections
    outbox: Any = None if problems.found else problems.of(make_outbox, values, log)
    problems.tell()
    meter = MeterSettings(
        values["name"],
        sections.open_meter,
        meter_id=values["meter_id"] or None,
        serial=values["serial"] or None,
        intervals_ms=sections.intervals_ms,
        reads_per_hour=values["reads_per_hour"],
        idle_s=sections.idle_s,
        client=sections.client,
        on_demand=sections.on_demand,
    )
    gateway = Gateway(
        sections.name,
        [meter],
        sections.broker,
        outbox,
        log,
        sections.credential,
        sections.sync_ms,
        adapter=sections.adapter,
    )
    if sections.commands is not None:
        from command_config import make_commands

        gateway.take(make_commands(sections.commands, values["name"], outbox, log))
    if values["home_assistant"]:
        from gateway.core.home_assistant import HomeAssistant

        HomeAssistant(gateway, values["home_assistant"])
    return gateway, sections


def _silent(level: str, text: str) -> None:
    """Checking says nothing but what is wrong."""
