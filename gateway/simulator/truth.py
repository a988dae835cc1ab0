"""The truth: what a correct reader of a virtual meter must have found, as a JSON document.

docs/simulator.md describes its format; tests of readers compare against it.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from . import definitions, readout
from .calendar import utc_datetime

if TYPE_CHECKING:
    from .life import SelfRead
    from .meter import VirtualMeter
    from .profile import Configuration, DataSet


def instant(utc_ms: int) -> str:
    return utc_datetime(utc_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def document(meter: "VirtualMeter") -> dict[str, object]:
    """Everything up to this moment."""
    now = meter.run_ms()
    meter.life.advance(now)
    g = meter.generation
    return {
        "identity": {
            "serial": meter.serial,
            "firmware": "%d.%d" % g.number,
            "version": list(g.version),
            "manufacturer": "ELON",
            "model": definitions.model(g),
            "hardware": list(definitions.hardware(g)),
            "manufacturer_serial": definitions.manufacturer_serial(meter.serial),
            "program_id": definitions.program_id(g).hex(),
            "image_crc": definitions.image_crc(g),
            "ct_ratio": g.ct_ratio,
            "vt_ratio": g.vt_ratio,
        },
        "run": instant(now),
        "clock": instant(meter.world.clock_at(now)),
        "local": readout.local_clock(meter),
        "registers": _registers(meter),
        "present": readout.present(meter),
        "load_profile": {
            "configurations": [
                configuration_document(identifier, configuration)
                for identifier, configuration in meter.life.past_configurations
            ],
            "intervals": [
                {
                    "data_set": interval.data_set,
                    "configuration": interval.configuration,
                    "block": interval.block,
                    "interval": interval.index,
                    "end": instant(interval.end),
                    "values": list(interval.values),
                    "common": interval.common,
                    "statuses": list(interval.statuses),
                    "end_readings": list(interval.end_readings),
                    "in_meter": kept,
                }
                for interval, kept in meter.life.all_intervals()
            ],
        },
        "events": _events(meter),
        "alarms": [
            {
                "name": change.name,
                "byte": change.byte,
                "bit": change.bit,
                "set": change.is_set,
                "stamp": instant(change.stamp),
            }
            for change in meter.life.alarms.history
        ],
        "self_reads": [_self_read(meter, read) for read in meter.life.self_reads],
        "mbus": [
            {
                "device": reading.device,
                "handle": reading.handle,
                "stamp": readout.local_text(reading.stamp),
                "scheduled": reading.scheduled,
                "delayed": reading.delayed,
                "telegram": reading.telegram.hex(),
                "says": reading.says,
                "tables": list(reading.tables),
                "in_meter": list(reading.tables) if meter.life.bus.holds(reading) else [],
            }
            for reading in meter.life.bus.history
        ],
        "devices": meter.life.bus.states(),
        "device_alarms": [
            {
                "device": change.device,
                "handle": change.handle,
                "alarms": change.alarms,
                "device_alarms": change.device_alarms,
                "stamp": instant(change.stamp),
            }
            for change in meter.life.bus.alarm_history
        ],
        "outages": [
            {
                "start": instant(outage.start),
                "end": instant(outage.end),
                "in_meter": meter.life.outage_log.holds(outage),
            }
            for outage in meter.life.outages
        ],
    }


def _registers(meter: "VirtualMeter") -> dict[str, object]:
    """BT23 at this moment."""
    meter.registers.advance(meter.life.now_ms)
    return meter.life.readout()


def _events(meter: "VirtualMeter") -> dict[str, object]:
    logs = meter.life.events.logs
    return {
        "entries": [
            {
                "sequence": event.sequence,
                "stamp": instant(event.stamp),
                "code": event.code,
                "argument": event.argument.hex(),
                "user": event.user,
                "logs": list(event.logs),
                "in_meter": [name for name in event.logs if logs[name].holds(event)],
            }
            for event in meter.life.events.history
        ],
        "resets": [{"log": name, "stamp": instant(stamp)} for name, stamp in meter.life.events.resets],
    }


def _self_read(meter: "VirtualMeter", read: "SelfRead") -> dict[str, object]:
    return {
        "sequence": read.sequence,
        "stamp": readout.local_text(read.stamp)[:16],
        "season": read.season,
        "billing_definition": 1 if read.generation.demands else None,
        "data": read.data.hex(),
        **read.readout,
        "in_meter": meter.life.copies.holds(read),
    }


def configuration_document(identifier: int, configuration: "Configuration") -> dict[str, object]:
    return {
        "configuration": identifier,
        "end_readings": configuration.end_readings,
        "data_sets": [
            _data_set(index + 1, data_set)
            for index, data_set in enumerate(configuration.sets)
            if data_set.blocks
        ],
    }


def _data_set(number: int, data_set: "DataSet") -> dict[str, object]:
    return {
        "data_set": number,
        "sources": list(data_set.sources),
        "minutes": data_set.minutes,
        "intervals": data_set.intervals,
        "blocks": data_set.blocks,
        "scaling": [list(pair) for pair in data_set.scaling],
    }


def write(meter: "VirtualMeter", path: Path) -> None:
    """Put the truth into `path`, whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.writelines(_text(document(meter)))
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _text(value: object, depth: int = 0) -> Iterator[str]:
    """JSON with an entry of a list on each line: people can look things up, and a year takes seconds."""
    lead = "\n" + " " * (depth + 1)
    if isinstance(value, dict) and depth < 2:
        for number, (name, member) in enumerate(value.items()):
            yield "%s%s%s: " % ("," if number else "{", lead, json.dumps(name))
            yield from _text(member, depth + 1)
        yield "}" if value else "{}"
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for number, entry in enumerate(value):
            yield "%s%s%s" % ("," if number else "[", lead, json.dumps(entry))
        yield "]"
    else:
        yield json.dumps(value)


class Recurrent:
    """Writes the truth of a meter that goes on running. A copy of the process does it, which sees one moment
    only, so that the meter never pauses however much it has lived through."""

    def __init__(self, meter: "VirtualMeter", path: Path) -> None:
        self._meter = meter
        self._path = path
        self._copy = 0

    def write(self) -> None:
        """Begin to write, unless that is still going on."""
        if self._copy and os.waitpid(self._copy, os.WNOHANG) == (0, 0):
            return
        self._copy = os.fork()
        if self._copy:
            return
        status = 1
        try:
            # Signals are the meter's: through this it would hear of those that are meant for the copy.
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            write(self._meter, self._path)
            status = 0
        finally:
            os._exit(status)

    def end(self) -> None:
        """Write for the last time, here and now."""
        if self._copy:
            with suppress(ProcessLookupError):
                os.kill(self._copy, signal.SIGTERM)
            with suppress(ChildProcessError):
                os.waitpid(self._copy, 0)
        write(self._meter, self._path)
