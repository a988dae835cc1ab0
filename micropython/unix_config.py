"""Makes a gateway of the unix port's configuration, a small JSON file (docs/micropython.md).

Imported once and forgotten: nothing that outlives `make` may hold on to this module.
"""

import json
import os

from mqtt import MqttBroker, tls_context
from mqtt_machine import MqttMachine
from tls_file import TlsFile

from gateway._compat import TYPE_CHECKING
from gateway.core.gateway import Gateway, last_will
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_task import MeterSettings
from gateway.drivers.mep.key import parse_key
from gateway.drivers.mep.security import AUTO, DIGEST, MODES, TLS, Security
from gateway.errors import ConfigurationError
from gateway.transmission.model import FOREIGN, KIND_NAMES, SELF_READ

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from gateway.core.supervisor import Log
    from gateway.meter import Meter

    Opener = Callable[[str, Security, int], Callable[[], Awaitable[Meter]]]

# Fields with their types and defaults; None as a default: there is none, the field must be given.
_FIELDS: "dict[str, Any]" = {
    "name": (str, "meter"),
    "port": (str, None),
    "baud": (int, 9600),
    "key_file": (str, None),
    "security": (str, DIGEST),
    "key_level": (str, ""),
    "meter_id": (str, ""),
    "serial": (str, ""),
    "schedule": (dict, {}),
    "reads_per_hour": (int, 3600),
    "broker": (dict, None),
    "outbox_bytes": (int, 4096),
    "seconds": (int, 0),
    "report_seconds": (int, 60),
}
_BROKER_FIELDS: "dict[str, Any]" = {
    "host": (str, None),
    "port": (int, 1883),
    "client_id": (str, None),
    "username": (str, ""),
    "password_file": (str, ""),
    "ca_file": (str, ""),
    "server_name": (str, ""),
    "keep_alive": (int, 60),
    "credential_file": (str, ""),
    "allow_plain": (str, ""),
}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_CONSENT = "yes, without encryption"


def checked(given: "Any", fields: "dict[str, Any]", where: str) -> "dict[str, Any]":
    """The fields with defaults filled in; raises ConfigurationError with all that is wrong."""
    problems = ["%s%s: there is no such field" % (where, name) for name in given if name not in fields]
    values = {}
    for name, (kind, default) in fields.items():
        value = given.get(name, default)
        if value is None:
            problems.append("%s%s: has to be given" % (where, name))
        elif not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
            problems.append("%s%s: takes a %s, not %r" % (where, name, kind.__name__, value))
        values[name] = value
    if problems:
        raise ConfigurationError("\n".join(sorted(problems)))
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
    values = checked(given, _FIELDS, "")
    values["broker"] = checked(values["broker"], _BROKER_FIELDS, "broker.")
    for kind, seconds in values["schedule"].items():
        if kind not in KIND_NAMES or not isinstance(seconds, int):
            raise ConfigurationError(
                "schedule.%s: %r: takes kinds of readings with seconds; 0 leaves one out" % (kind, seconds)
            )
    return values


def read_file(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(16384)
    except OSError as error:
        raise ConfigurationError("%s: the %s can't be read: %s" % (path, what, error)) from None


def read_secret(path: str, what: str) -> bytes:
    """The file's content without surrounding white space; only its owner may be able to read it."""
    content = read_file(path, what).strip()
    if os.stat(path)[0] & 0o077:
        raise ConfigurationError(
            "%s: others than its owner may read the %s: chmod 600 %s" % (path, what, path)
        )
    if not content:
        raise ConfigurationError("%s: is empty; it has to hold the %s" % (path, what))
    return content


def make_security(key: bytes, settings: "dict[str, Any]", tls_file: str) -> Security:
    mode = settings["security"]
    level = {"": None, "mbk": 0, "mak": 1}.get(settings["key_level"], -1)
    if mode not in MODES or level == -1:
        raise ConfigurationError(
            'security: takes %s; key_level: "mbk" or "mak", or is left out' % ", ".join(MODES)
        )
    make_tls: Any = None
    if mode in (TLS, AUTO):
        from mep_tls import TlsClient

        make_tls = TlsClient
    return Security(key, mode, make_tls, level, TlsFile(tls_file))


def make_broker(settings: "dict[str, Any]") -> MqttBroker:
    password = settings["password_file"]
    ca = settings["ca_file"]
    if not ca and settings["host"] not in _LOOPBACK and settings["allow_plain"] != _CONSENT:
        raise ConfigurationError(
            "broker.ca_file: a broker beyond this machine is reached with TLS only; name its CA certificate "
            '(DER), or say "allow_plain": "%s"' % _CONSENT
        )
    machine = MqttMachine(
        settings["client_id"],
        username=settings["username"] or None,
        password=read_secret(password, "password").decode() if password else None,
        keep_alive=settings["keep_alive"],
        will=last_will(settings["client_id"]) + (True,),
    )
    return MqttBroker(
        settings["host"],
        settings["port"],
        machine,
        keep_alive=settings["keep_alive"],
        tls=tls_context(read_file(ca, "CA certificate")) if ca else None,
        server_hostname=settings["server_name"] or None,
    )


def make(path: str, opener: "Opener", log: "Log") -> "tuple[Gateway, int, int]":
    """The gateway, how many seconds it is to run (0: for ever), and the seconds between reports."""
    settings = load(path)
    key, form = parse_key(read_secret(settings["key_file"], "meter's key").decode())
    log("info", "the meter's key: %s" % form)
    intervals_ms = dict.fromkeys(range(SELF_READ, FOREIGN), 0)  # a board reads these only where told
    intervals_ms.update({KIND_NAMES.index(kind): 1000 * s for kind, s in settings["schedule"].items()})
    meter = MeterSettings(
        settings["name"],
        opener(settings["port"], make_security(key, settings, path + ".tls"), settings["baud"]),
        meter_id=settings["meter_id"] or None,
        serial=settings["serial"] or None,
        intervals_ms=intervals_ms,
        reads_per_hour=settings["reads_per_hour"],
    )
    credential = settings["broker"]["credential_file"]
    gateway = Gateway(
        settings["broker"]["client_id"],
        [meter],
        make_broker(settings["broker"]),
        MemoryOutbox(settings["outbox_bytes"]),
        log,
        read_secret(credential, "credential") if credential else None,
    )
    return gateway, settings["seconds"], settings["report_seconds"]
