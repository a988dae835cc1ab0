"""What stands in the cloud's database, in the form of tests/expected_readings.py.

Intervals, log entries and self-reads are known by their ids, which follow from what the meter stored: a row
with any other id is nobody's. The others have ids that begin with what a sender drew at its start.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from gateway.transmission import ids, model
from tests.chaos.judge import Database, Row
from tests.expected_readings import Expected

KINDS = range(model.IDENTITY, model.FOREIGN)
_AS_THEY_ARE = {
    model.IDENTITY: "identity",
    model.CLOCK: "clock",
    model.REGISTERS: "registers",
    model.PRESENT: "present",
}
_NUMBER = "OSGP_event_sequence"
# Read at a time of the reader's own: the meter stores none.
READ_NOW = (*_AS_THEY_ARE.values(), "alarm", "device")


class Stored:
    """One meter's rows, by kind and in the order in which they came; each call of `new` gives what has come
    since the last. `rows`: what that was, as it is stored."""

    def __init__(self, path: Path, told: dict) -> None:
        identity = told["identity"]
        self.meter = ids.meter_individual_id(identity["manufacturer"], identity["serial"])
        self.rows: list[Row] = []
        self._path = path
        self._seen = 0

    def counts(self) -> dict[int, int]:
        """How many rows there are of each kind, since the last call of `new`."""
        counts = dict.fromkeys(KINDS, 0)
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=20)) as connection:
            counts |= connection.execute(
                "SELECT kind, count(*) FROM meter_reading AS r JOIN meter_individual AS m ON m.id = r.meter"
                " WHERE r.id > ? AND m.meter_individual_id = ? GROUP BY kind",
                (self._seen, self.meter.hex()),
            )
        return counts

    def new(self, wanted: dict[int, list]) -> dict[int, list]:
        """Entries by kind. `wanted`: what is expected, whose ids are known by that."""
        known = dict(self._ids(wanted))
        rows = sorted(Database(self._path).rows(self.meter, tuple(KINDS)), key=lambda row: row.number)
        self.rows = [row for row in rows if row.number > self._seen]
        self._seen = rows[-1].number if rows else 0
        found: dict[int, list] = {kind: [] for kind in KINDS}
        for row in self.rows:
            found[row.kind].append(_entry(row, known))
        return found

    def _ids(self, wanted: dict[int, list]) -> Iterable[tuple[bytes, tuple]]:
        for whose, *_ in wanted[model.LOAD_PROFILE]:
            yield ids.interval_id(self.meter, *whose[1:]), whose
        for whose, time, _, values, _ in wanted[model.EVENT]:
            if whose[0] == "event":
                stamp, argument = bytes.fromhex(whose[2]), bytes.fromhex(values["argument"])
                event = model.Event(
                    model.EVENT, model.Timestamp(time), values["code"], whose[1], stamp, argument
                )
                yield ids.event_id(self.meter, event), whose
        for whose, time, ahead, *_ in wanted[model.SELF_READ]:
            local = datetime.fromtimestamp(time + 60 * ahead, UTC)
            stamp = bytes((local.year % 100, local.month, local.day, local.hour, local.minute))
            yield ids.stored_id(self.meter, model.SELF_READ, (whose[1], stamp)), whose


def check(path: Path, meters: set[bytes]) -> None:
    """Nothing was refused, said in two ways, or said twice within a reading; no other meter is there."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for query in (
            "SELECT reason FROM dead_letter",
            "SELECT * FROM reading_key WHERE revision > 0",
            "SELECT reading, property FROM property_value GROUP BY reading, property HAVING count(*) > 1",
            "SELECT fraction FROM meter_reading WHERE fraction <> ''",
            "SELECT date_fraction FROM property_value WHERE date_fraction <> ''",
            "SELECT * FROM custody_drop",
        ):
            assert not connection.execute(query).fetchall(), query
        found = connection.execute("SELECT meter_individual_id FROM meter_individual").fetchall()
    assert {bytes.fromhex(meter) for (meter,) in found} == meters


def equal_rows(one: list[Row], other: list[Row]) -> None:
    """Two readers of the same meter have stored the same: as many rows, and of each its id, kind, time and
    offset, faults, and of each value property, mantissa, exponent, unit, text and date.

    What the meter stores no time for is read at the reader's own: the time of such a row differs, and its id,
    which begins with what the sender drew at its start. A clock's drift is of that time, too, and alarms are
    numbered from it on: of their numbers the order counts. What times have to be the truth knows (`settle`);
    here these rows are those of a kind, an alarm's code or a device's number.
    """
    left, right = _comparable(one), _comparable(other)
    different = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
    assert not different, "\n".join(f"{key}: {left.get(key)} | {right.get(key)}" for key in different[:3])


def _comparable(rows: list[Row]) -> dict:
    content: dict = {}
    numbers = sorted(row.values[_NUMBER][0] for row in rows if row.kind == model.ALARM)
    for row in rows:
        whose = _whose(row, {row.identifier: ("stored", row.identifier)})
        values, time = row.values, None if whose[0] in READ_NOW else row.time
        if whose[0] == "clock":
            values = {name: value for name, value in values.items() if name != "OSGP_clock_drift"}
        elif whose[0] == "alarm":
            values = values | {_NUMBER: numbers.index(values[_NUMBER][0])}
        key = whose if whose[0] in READ_NOW else ("stored", row.identifier)
        content.setdefault((row.kind, key), []).append((time, row.offset, row.faults, values))
    return content


def _entry(row: Row, known: dict[bytes, tuple]) -> tuple:
    values = row.values
    if row.kind in (model.EVENT, model.ALARM) and "OSGP_power_outage_start" not in values:
        values = {
            name: values["OSGP_event_" + name][3 if name == "argument" else 0] for name in _of_event(row)
        }
    return _whose(row, known), row.time, row.offset, values, row.faults


def _of_event(row: Row) -> tuple[str, ...]:
    return ("argument",) if row.kind == model.ALARM else ("code", "argument", "user")


def _whose(row: Row, known: dict[bytes, tuple]) -> tuple:
    if row.kind in _AS_THEY_ARE:
        return (_AS_THEY_ARE[row.kind],)
    if row.kind == model.ALARM:
        return "alarm", row.values["OSGP_alarm_code"][0]
    if "OSGP_power_outage_start" in row.values:
        return ("outage",)
    if "OSGP_mbus_slot" in row.values:
        return "device", row.values["OSGP_mbus_slot"][0]
    if "OSGP_mbus_telegram" in row.values:
        return "telegram", row.values["OSGP_mbus_handle"][0]
    return known.get(row.identifier, ("nobody's", row.identifier.hex()))


def settle(found: dict[int, list], wanted: dict[int, list], expected: Expected, began_s: int, ended_s: int):
    """Puts the times of reading, which the truth can't know, to those of `expected`, once they have proven
    to lie within the run. A clock's is that for which its drift is true, and lies before the reading's end;
    what is wanted of it becomes what it had to say then."""
    for entries in found.values():
        for place, (whose, time, *rest) in enumerate(entries):
            if whose[0] in READ_NOW:
                assert began_s <= time <= ended_s, (whose, time, began_s, ended_s)
                if whose[0] != "clock":
                    entries[place] = (whose, expected.host_ms // 1000, *rest)
    meter_ms = 1000 * int(datetime.fromisoformat(expected.told["clock"]).timestamp()) + 500
    for place, (whose, time, ahead, values, faults) in enumerate(found[model.CLOCK]):
        host_ms = meter_ms - values["OSGP_clock_drift"][0]
        assert began_s <= host_ms // 1000 <= time, (time, host_ms)
        found[model.CLOCK][place] = (whose, host_ms // 1000, ahead, values, faults)
        wanted[model.CLOCK] = Expected(expected.told, host_ms, expected.marks).clock()
