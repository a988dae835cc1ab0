"""The gateway on MicroPython's unix port: `micropython -m unix_main CONFIG.json` where it was built.

The board's program with a serial line in place of its UART; docs/micropython.md lists the fields of the
configuration. Ends after `seconds`, or with Ctrl-C. Every `report_seconds` and at its end it prints one
line of JSON: seconds since the start, bytes alive on the heap after a collection, the states of workers.
"""

import asyncio
import gc
import json
import sys

from gateway import clock
from gateway._compat import TYPE_CHECKING
from gateway.errors import ConfigurationError, GatewayError

if TYPE_CHECKING:
    from typing import Any

    from mqtt import MqttBroker

    from gateway.core.gateway import Gateway
    from gateway.meter import Meter

# Fields with their types and defaults; None as a default: there is none, the field must be given.
_FIELDS: "dict[str, Any]" = {
    "name": (str, "meter"),
    "port": (str, None),
    "baud": (int, 9600),
    "key_file": (str, None),
    "encrypt": (bool, False),
    "meter_id": (str, ""),
    "serial": (str, ""),
    "schedule": (dict, {}),
    "reads_per_hour": (int, 3600),
    "broker": (dict, None),
    "outbox_bytes": (int, 32768),
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
}


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
    from gateway.transmission.model import KIND_NAMES

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


def make_broker(settings: "dict[str, Any]") -> "MqttBroker":
    from mqtt import MqttBroker, tls_context
    from mqtt_machine import MqttMachine

    password = settings["password_file"]
    machine = MqttMachine(
        settings["client_id"],
        username=settings["username"] or None,
        password=read_file(password, "password").decode().strip() if password else None,
        keep_alive=settings["keep_alive"],
    )
    ca = settings["ca_file"]
    return MqttBroker(
        settings["host"],
        settings["port"],
        machine,
        keep_alive=settings["keep_alive"],
        tls=tls_context(read_file(ca, "CA certificate")) if ca else None,
        server_hostname=settings["server_name"] or None,
    )


def make_gateway(settings: "dict[str, Any]") -> "Gateway":
    from pty_link import PtyLink

    from gateway.core.gateway import Gateway
    from gateway.core.memory_outbox import MemoryOutbox
    from gateway.core.meter_task import MeterSettings
    from gateway.drivers.mep.key import parse_key
    from gateway.drivers.mep.meter import MepMeter
    from gateway.transmission.custody import hop_key
    from gateway.transmission.model import KIND_NAMES

    key, _ = parse_key(read_file(settings["key_file"], "meter's key").decode())

    async def open_meter() -> "Meter":
        baud = settings["baud"]
        return MepMeter(PtyLink(settings["port"], baud), key, settings["encrypt"], baud)

    meter = MeterSettings(
        settings["name"],
        open_meter,
        meter_id=settings["meter_id"] or None,
        serial=settings["serial"] or None,
        intervals_ms={KIND_NAMES.index(kind): 1000 * s for kind, s in settings["schedule"].items()},
        reads_per_hour=settings["reads_per_hour"],
    )
    broker = settings["broker"]
    credential = broker["credential_file"]
    return Gateway(
        [meter],
        make_broker(broker),
        MemoryOutbox(settings["outbox_bytes"]),
        log,
        hop_key(read_file(credential, "credential").strip()) if credential else None,
    )


def log(level: str, text: str) -> None:
    sys.stderr.write("%s %s\n" % (level, text))


def report(gateway: "Gateway", started_ms: int) -> None:
    gc.collect()
    print(
        json.dumps(
            {
                "seconds": (clock.monotonic_ms() - started_ms) // 1000,
                "heapBytes": gc.mem_alloc(),  # type: ignore[attr-defined]
                "heapFree": gc.mem_free(),  # type: ignore[attr-defined]
                "workers": gateway.status()["workers"],
            }
        )
    )


async def run(settings: "dict[str, Any]") -> None:
    gateway = make_gateway(settings)
    started_ms = clock.monotonic_ms()
    running = asyncio.create_task(gateway.run())
    left_ms = settings["seconds"] * 1000
    step_ms = settings["report_seconds"] * 1000
    try:
        while not running.done() and (left_ms > 0 or not settings["seconds"]):
            await clock.sleep_ms(min(step_ms, left_ms) if settings["seconds"] else step_ms)
            left_ms -= step_ms
            report(gateway, started_ms)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        report(gateway, started_ms)


def main(arguments: "list[str]") -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: micropython -m unix_main CONFIG.json\n")
        return 2
    tasks: list[asyncio.Task[None]] = []

    async def start() -> None:
        task = asyncio.create_task(run(load(arguments[0])))
        tasks.append(task)
        await task

    async def stop() -> None:
        tasks[0].cancel()
        await clock.wait_for_ms(asyncio.gather(tasks[0], return_exceptions=True), 5000)

    try:
        asyncio.run(start())
    except KeyboardInterrupt:
        # MicroPython's loop keeps the tasks of a run that was interrupted; the next run goes on with them.
        asyncio.run(stop())
    except GatewayError as error:
        sys.stderr.write("%s\n" % error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
