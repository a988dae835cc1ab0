"""Makes a gateway of the unix port's configuration, a small JSON file (docs/micropython.md).

Imported once and forgotten: nothing that outlives `make` may hold on to this module.
"""

import json
import os

from mqtt import MqttBroker, tls_context
from mqtt_machine import MqttMachine
from pty_link import RATES
from secret_file import read_file, read_secret

from gateway._compat import TYPE_CHECKING
from gateway.core.gateway import SYNC_MS, Gateway, last_will
from gateway.core.meter_settings import MeterSettings
from gateway.errors import ConfigurationError, FrameError, OutboxError
from gateway.transmission.ids import parse_uuid
from gateway.transmission.model import FOREIGN, KIND_NAMES, SELF_READ

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.core.outbox import Outbox
    from gateway.core.supervisor import Log

# Fields with their types and defaults; None as a default: there is none, the field must be given. Those of a
# protocol stand in its own file, because a board speaks one and loads nothing of the other.
_FIELDS: "dict[str, Any]" = {
    "name": (str, "meter"),
    "port": (str, None),
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
    "seconds": (int, 0),
    "report_seconds": (int, 60),
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
# In memory, or in a directory.
_OUTBOX_BYTES = 4096
_OUTBOX_DIR_BYTES = 1048576
_SEGMENT_BYTES = 16384
_LEAST_DIR_BYTES = 131072
# Each sync wears the flash (docs/outbox.md).
_SYNC_MS = 60000
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_CONSENT = "yes, without encryption"


class Problems:
    """What is wrong with the configuration, so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, what: object) -> None:
        self.found.append("%s: %s" % (where, what))

    def of(self, work: "Callable[..., Any]", *arguments: "Any") -> "Any":
        """What `work` gives; None when it finds something wrong, which is noted."""
        try:
            return work(*arguments)
        except ConfigurationError as error:
            self.found.append(str(error))
            return None

    def tell(self) -> None:
        if self.found:
            raise ConfigurationError("\n".join(sorted(self.found)))


def checked(given: "Any", fields: "dict[str, Any]", where: str, problems: Problems) -> "dict[str, Any]":
    """The fields with defaults filled in, also in place of what is wrong."""
    for name in given:
        if name not in fields:
            problems.add(where + name, "there is no such field")
    values = {}
    for name, (kind, default) in fields.items():
        value = given.get(name, default)
        if value is None:
            problems.add(where + name, "has to be given")
        elif not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
            problems.add(where + name, "takes a %s, not %r" % (kind.__name__, value))
            value = default
        values[name] = value
    return values


def load(path: str) -> "dict[str, Any]":
    try:
        with open(path) as file:
            given = json.load(file)
    except OSError as error:
        raise ConfigurationError("%s: can't be read: %s" % (path, error)) from None
    except ValueError:
        raise ConfigurationError("%s: is no valid JSON" % path) from None
    if not isinstance(given, dict):
        raise ConfigurationError("%s: has to be a JSON object" % path)
    return given


def intervals_of(schedule: "dict[str, Any]", problems: Problems) -> "dict[int, int]":
    """Milliseconds by kind of reading; 0 for never."""
    intervals_ms = dict.fromkeys(range(SELF_READ, FOREIGN), 0)  # a board reads these only where told
    for kind, seconds in schedule.items():
        if kind not in KIND_NAMES or not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
            problems.add(
                "schedule." + kind, "%r: takes kinds of readings with seconds; 0 leaves one out" % (seconds,)
            )
        else:
            intervals_ms[KIND_NAMES.index(kind)] = 1000 * seconds
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
        tls=tls_context(ca) if ca else None,
        server_hostname=settings["server_name"] or None,
    )


def make_meter(given: "dict[str, Any]", path: str, log: "Log", problems: Problems) -> "dict[str, Any]":
    """The configuration's fields, checked; "open": opens the meter on its port."""
    if given.get("protocol") == "optical":
        from optical_config import FIELDS, make_opener
    else:
        from mep_config import FIELDS, make_opener
    values = checked(given, dict(_FIELDS, **FIELDS), "", problems)
    if values["protocol"] not in ("mep", "optical"):
        problems.add("protocol", 'takes "mep" or "optical"')
    if values["baud"] not in RATES:
        problems.add("baud", "no line runs at %d baud here" % values["baud"])
    if not 1 <= values["reads_per_hour"] <= 3600000:
        problems.add("reads_per_hour", "takes 1 to 3600000")
    if values["meter_id"]:
        try:
            parse_uuid(values["meter_id"])
        except FrameError as error:
            problems.add("meter_id", error)
    values["open"] = make_opener(values, path, log, problems)
    return values


def make_outbox(settings: "dict[str, Any]", log: "Log") -> "Outbox":
    """In `outbox_dir` where there is one, else in memory; each loads its own modules only."""
    directory, size = settings["outbox_dir"], settings["outbox_bytes"]
    if not directory:
        from gateway.core.memory_outbox import MemoryOutbox

        return MemoryOutbox(size or _OUTBOX_BYTES)
    from gateway.core.files import Files
    from gateway.core.log_outbox import LogOutbox

    size = size or _OUTBOX_DIR_BYTES
    if size < _LEAST_DIR_BYTES:
        raise ConfigurationError("outbox_bytes: in a directory, takes at least %d" % _LEAST_DIR_BYTES)
    try:
        os.mkdir(directory)
    except OSError:
        pass  # it is there, or reading it says what is wrong
    try:
        return LogOutbox(Files(directory), size, log, _SEGMENT_BYTES)
    except OutboxError as error:
        raise ConfigurationError("outbox_dir: %s" % error) from None


def make(path: str, log: "Log") -> "tuple[Gateway, int, int]":
    """The gateway, how many seconds it is to run (0: for ever), and the seconds between reports."""
    problems = Problems()
    settings = make_meter(load(path), path, log, problems)
    intervals_ms = intervals_of(settings["schedule"], problems)
    idle_s = idle_of(settings["idle"], problems)
    broker = settings["broker"]
    if broker is not None:
        broker = checked(broker, _BROKER_FIELDS, "broker.", problems)
        credential_file = broker["credential_file"]
        credential = credential_file and problems.of(read_secret, credential_file, "credential")
        name, adapter = broker["client_id"], broker["adapter"]
        broker = make_broker(broker, problems)
    client = on_demand = None
    if any(settings.get(field) for field in ("register", "allow_writes", "power_change_w")):
        from mep_client import make_client

        client, on_demand = make_client(settings, intervals_ms, problems)
    outbox = problems.of(make_outbox, settings, log)
    commands = None
    if settings["commands"] and outbox is not None:
        from command_config import make_commands

        commands = make_commands(settings["commands"], settings["name"], outbox, log, problems)
    problems.tell()
    meter = MeterSettings(
        settings["name"],
        settings["open"],
        meter_id=settings["meter_id"] or None,
        serial=settings["serial"] or None,
        intervals_ms=intervals_ms,
        reads_per_hour=settings["reads_per_hour"],
        idle_s=idle_s,
        client=client,
        on_demand=on_demand,
    )
    sync_ms = _SYNC_MS if settings["outbox_dir"] else SYNC_MS
    gateway = Gateway(name, [meter], broker, outbox, log, credential or None, sync_ms, adapter=adapter)
    if commands is not None:
        gateway.take(commands)
    return gateway, settings["seconds"], settings["report_seconds"]
