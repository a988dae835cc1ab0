"""Readings as they stand in the cloud's SQLite database, for the demo: read-only and on the side."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

from ..transmission import model, registry
from ..transmission.event_names import alarm_name, event_name
from ..transmission.model import Reading, Timestamp, Value
from ..transmission.platform_json import UNICODE, format_time, property_id, write
from .values import value_text

# What a line shows first, where a reading has it; the rest is counted.
_SHOWN = (
    "OBIS_C.1.0",
    "OBIS_0.2.0",
    "OBIS_1.8.0",
    "OBIS_2.8.0",
    "OBIS_1.7.0",
    "OBIS_32.7.0",
    "OBIS_52.7.0",
    "OBIS_72.7.0",
    "OSGP_clock_drift",
    "OSGP_power_outage_duration",
    "OSGP_mbus_serial_number",
    "WATER_volume_of_water",
    "OSGP_heat_energy",
)
_MOST = 4
# Of so many lines of one kind in a row, the first and the last stand for the rest.
_IN_A_ROW = 5

_READINGS = """
SELECT r.id, m.meter_individual_id, r.meter_reading_identifier,
       r.kind, r.time, r.fraction, r."offset", r.fault_codes
FROM meter_reading AS r JOIN meter_individual AS m ON m.id = r.meter
WHERE r.id > ? ORDER BY r.id
"""
_VALUES = """
SELECT d.property_id, v.mantissa, v.exponent, v.unit, v.text_value
FROM property_value AS v JOIN operational_property_definition AS d ON d.id = v.property
WHERE v.reading = ? ORDER BY v.position
"""


class Landed:
    """A reading in the database. `meter_id`: 16 bytes."""

    def __init__(self, meter_id: bytes, reading: Reading) -> None:
        self.meter_id = meter_id
        self.reading = reading

    def as_json(self) -> str:
        return write(self.meter_id, self.reading, UNICODE).decode()

    def as_line(self) -> str:
        values = {property_id(value.prop): value for value in self.reading.values}
        names = [name for name in _SHOWN if name in values][:_MOST]
        if not names and self.reading.kind not in (model.ALARM, model.EVENT):
            names = list(values)[:_MOST]
        shown = [
            f"{name.removeprefix('OBIS_')} {value_text(values[name])} {values[name].unit or ''}".rstrip()
            for name in names
        ]
        code = values.get("OSGP_event_code") or values.get("OSGP_alarm_code")
        if code is not None and code.mantissa is not None:
            name = (
                alarm_name(code.mantissa) if self.reading.kind == model.ALARM else event_name(code.mantissa)
            )
            shown.insert(0, name or f"code {code.mantissa}")
        more = len(values) - len(names)
        text = "   ".join(shown) + (f"   and {more} more" if more else "")
        return f"{format_time(self.reading.time)}  {model.KIND_NAMES[self.reading.kind]:<12} {text}"


def shortened(landed: list[Landed]) -> list[str]:
    """A line for each reading; what a meter has stored for a day does not hide the rest."""
    lines: list[str] = []
    for _, group in itertools.groupby(landed, key=lambda one: one.reading.kind):
        alike = list(group)
        if len(alike) <= _IN_A_ROW:
            lines += [one.as_line() for one in alike]
        else:
            kind = model.KIND_NAMES[alike[0].reading.kind]
            lines += [
                alike[0].as_line(),
                f"{'... and':>20}  {kind:<12} {len(alike) - 2} more",
                alike[-1].as_line(),
            ]
    return lines


class ReadingsTable:
    """The database at `path`, which may not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._last = 0

    def new(self) -> list[Landed]:
        """What has landed since the last call."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
            return [
                self._landed(*row) for row in self._connection.execute(_READINGS, (self._last,)).fetchall()
            ]
        except sqlite3.OperationalError:
            return []  # no file, no tables yet, or locked at this moment: the next look tells

    def _landed(
        self,
        row: int,
        meter: str,
        identifier: str,
        kind: int,
        seconds: int,
        fraction: str,
        offset: int | None,
        faults: str,
    ) -> Landed:
        assert self._connection is not None
        values = [
            Value(_number(name), mantissa, exponent, unit, text)
            for name, mantissa, exponent, unit, text in self._connection.execute(_VALUES, (row,))
        ]
        self._last = row
        reading = Reading(
            kind,
            Timestamp(seconds, fraction, offset),
            values,
            [fault for fault in faults.split(",") if fault],
            identifier=bytes.fromhex(identifier),
        )
        return Landed(bytes.fromhex(meter), reading)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _number(name: str) -> int | str:
    number = registry.number(name)
    return name if number is None else number
