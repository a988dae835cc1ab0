"""The truth: what a correct reader of a virtual meter must have found, as a JSON document.

docs/simulator.md describes its format; tests of readers compare against it.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .calendar import utc_datetime

if TYPE_CHECKING:
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
            "manufacturer": "ELON",
        },
        "run": instant(now),
        "clock": instant(meter.world.clock_at(now)),
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
                    "in_meter": kept,
                }
                for interval, kept in meter.life.all_intervals()
            ],
        },
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
        json.dump(document(meter), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
