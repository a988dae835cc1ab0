"""What stands in the database against what the meters know to be true.

Required is what a meter's truth (docs/simulator.md) has and the meter held for a while, so that a gateway
that is at work most of the time came by. Everything a meter ever stored is known, so a row of a stored kind
that is not of the truth is one too many: the same thing under two ids, or something that never was.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gateway.simulator.generations import generation
from gateway.transmission import ids, model
from tests.expected_readings import Expected

from .times import BEGIN_MS

# Seconds, from the run's begin at the earliest: what was gone from the meter sooner need not have been read.
HELD_S = 20 * 3600

# What the reader says of its way to a thing, not of the thing itself.
_WAY = {"OSGP_events_lost", "OSGP_events_reset", "OSGP_clock_untrusted", "OSGP_not_authenticated"}
_STORED = {
    "interval": model.LOAD_PROFILE,
    "event": model.EVENT,
    "outage": model.EVENT,
    "self-read": model.SELF_READ,
    "telegram": model.MBUS,
}
# What has no id that follows from the truth.
_BY_CONTENT = ("outage", "self-read", "telegram")
KINDS = (*_STORED, "alarm", "registers", "present")

_ROWS = """
SELECT r.id, k.meter_reading_identifier, r.kind, r.time, r.offset, r.fault_codes, k.revision, r.received_at
FROM reading_key AS k JOIN meter_reading AS r ON r.id = k.reading
JOIN meter_individual AS m ON m.id = k.meter
WHERE m.meter_individual_id = ? AND r.kind IN ({})
"""
_VALUES = """
SELECT v.reading, d.property_id, v.mantissa, v.exponent, v.unit, v.text_value, v.date, v.date_offset
FROM property_value AS v JOIN operational_property_definition AS d ON d.id = v.property
JOIN meter_reading AS r ON r.id = v.reading JOIN meter_individual AS m ON m.id = r.meter
WHERE m.meter_individual_id = ? AND r.kind IN ({})
"""

_NEWEST = f"""
SELECT max(time) FROM meter_reading WHERE kind IN ({model.LOAD_PROFILE}, {model.MBUS}) AND time <= ?
GROUP BY meter, kind
"""


@dataclass
class Row:
    number: int  # in the order of arrival
    identifier: bytes
    kind: int
    time: int
    offset: int | None
    faults: list[str]
    revision: int
    values: dict = field(default_factory=dict)


@dataclass
class Verdict:
    """Of one kind: how many the truth has; how many are not there and need not be, as the meter did not hold
    them long enough (`excused`) or made them after the moment of truth (`later`); and what is wrong.

    `revised`: the same id with other content; `retold`: alarms in the state they were known to be in;
    `examples`: some of what is wrong, in words.
    """

    expected: int = 0
    excused: int = 0
    later: int = 0
    rows: int = 0
    missing: int = 0
    doubled: int = 0
    altered: int = 0
    revised: int = 0
    retold: int = 0
    examples: list[str] = field(default_factory=list)

    def wrong(self, what: str, about: object) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.examples) < 12:
            self.examples.append(f"{what}: {about}")


class Database:
    """The rows of the newest revision, by meter."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _connect(self) -> closing:
        return closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=20))

    def identifiers(self, meter: bytes) -> set[bytes]:
        try:
            with self._connect() as connection:
                rows = connection.execute(
                    "SELECT k.meter_reading_identifier FROM reading_key AS k "
                    "JOIN meter_individual AS m ON m.id = k.meter WHERE m.meter_individual_id = ?",
                    (meter.hex(),),
                )
                return {bytes.fromhex(row[0]) for row in rows}
        except sqlite3.OperationalError:
            return set()

    def behind_s(self, now: int) -> int | None:
        """How long ago the newest interval or telegram of a meter is, of the meter that is furthest behind.
        None while that can't be looked up."""
        try:
            with self._connect() as connection:
                newest = connection.execute(_NEWEST, (now,)).fetchall()
        except sqlite3.Error:
            return None
        return max((now - time for (time,) in newest), default=None)

    def rows(self, meter: bytes, kinds: tuple[int, ...]) -> list[Row]:
        wanted = ",".join(map(str, kinds))
        with self._connect() as connection:
            found = {
                number: Row(number, bytes.fromhex(identifier), kind, time, offset, _names(faults), revision)
                for number, identifier, kind, time, offset, faults, revision, _ in connection.execute(
                    _ROWS.format(wanted), (meter.hex(),)
                )
            }
            for number, name, mantissa, exponent, unit, text, date, ahead in connection.execute(
                _VALUES.format(wanted), (meter.hex(),)
            ):
                if number in found:
                    day = None if date is None else (date, ahead)
                    found[number].values[name] = (mantissa, exponent, unit, text, day)
        return list(found.values())

    def counts(self) -> dict[str, int]:
        with self._connect() as connection:
            return {
                "readings": connection.execute("SELECT count(*) FROM reading_key").fetchone()[0],
                "revisions": connection.execute(
                    "SELECT count(*) FROM reading_key WHERE revision > 0"
                ).fetchone()[0],
                "dead letters": connection.execute("SELECT count(*) FROM dead_letter").fetchone()[0],
                "declared as dropped": connection.execute(
                    "SELECT coalesce(sum(last - first + 1), 0) FROM custody_drop"
                ).fetchone()[0],
                "restores noticed": connection.execute(
                    "SELECT count(*) FROM custody_generation WHERE since > 0"
                ).fetchone()[0],
            }

    def dead_letters(self) -> list[str]:
        with self._connect() as connection:
            return [row[0] for row in connection.execute("SELECT reason FROM dead_letter LIMIT 5")]


def _names(codes: str) -> list[str]:
    from gateway.transmission import registry

    return sorted(
        (registry.fault_name(int(code)) or code) if code.isdigit() else code
        for code in codes.split(",")
        if code
    )


class Judge:
    """One meter's truth. `earlier`: one of a moment until which everything has to be there; later things may
    be."""

    def __init__(self, path: Path, earlier: "Judge | None" = None) -> None:
        self.told = json.loads(path.read_text())
        identity = self.told["identity"]
        self.meter = ids.meter_individual_id(identity["manufacturer"], identity["serial"])
        self._excused = _excused(self.told)
        self._expected: dict[str, dict] = {kind: {} for kind in _STORED}
        self._must: dict[str, set] = {kind: set() for kind in _STORED}
        self._build()
        self._later: dict[str, set] = {kind: set() for kind in _STORED}
        self._moving: set[int] = set()
        if earlier is not None:
            for kind, known in earlier._expected.items():
                self._later[kind] = self._expected[kind].keys() - known.keys()
                self._must[kind] &= earlier._must[kind]
            for change in self.told["alarms"][len(earlier.told["alarms"]) :]:
                self._moving.add(8 * change["byte"] + change["bit"])

    def _build(self) -> None:
        told = self.told
        self._add("interval", told["load_profile"]["intervals"], lambda e: e.load_profile())
        self._add("event", told["events"]["entries"], lambda e: e.events()[: len(told["events"]["entries"])])
        self._add("outage", told["outages"] if _has_outages(told) else [], lambda e: e.outages())
        self._add("self-read", told["self_reads"], lambda e: e.self_reads())
        self._add("telegram", told["mbus"], lambda e: e.telegrams())

    def _add(self, kind: str, entries: list, say) -> None:
        """All that the meter ever had of a kind, as a reader says it, by what the database knows it by."""
        if not entries:
            return
        was = [one["in_meter"] for one in entries]
        for one in entries:
            one["in_meter"] = one.get("tables", True)
        said = say(Expected(self.told, 0))
        for one, before in zip(entries, was, strict=True):
            one["in_meter"] = before
        for nth, entry in enumerate(said[: len(entries)]):
            key = self._key(kind, entry)
            self._expected[kind][key] = entry
            if (kind, nth) not in self._excused:
                self._must[kind].add(key)

    def _key(self, kind: str, entry: tuple):
        whose, time, _, values, _ = entry
        if kind == "interval":
            return ids.interval_id(self.meter, *whose[1:])
        if kind == "event":
            event = model.Event(
                model.EVENT,
                model.Timestamp(time),
                values["code"],
                whose[1],
                bytes.fromhex(whose[2]),
                bytes.fromhex(values["argument"]),
                values["user"],
            )
            return ids.event_id(self.meter, event)
        return _content_key(kind, time, values)

    def outstanding(self, database: Database) -> int:
        """How many of those that must be there are not."""
        there = database.identifiers(self.meter)
        left = sum(len(self._must[kind] - there) for kind in ("interval", "event"))
        if left:
            return left  # the others are looked up with more effort
        rows = database.rows(self.meter, (model.SELF_READ, model.EVENT, model.MBUS))
        found = {
            _content_key(kind, row.time, row.values) for row in rows if (kind := _kind_of(row)) in _BY_CONTENT
        }
        return sum(len(self._must[kind] - found) for kind in _BY_CONTENT)

    def judge(self, database: Database) -> dict[str, Verdict]:
        verdicts = {}
        rows = database.rows(self.meter, tuple(sorted({*_STORED.values(), model.ALARM})))
        found: dict[str, dict] = {kind: defaultdict(list) for kind in _STORED}
        alarms = []
        for row in rows:
            kind = _kind_of(row)
            if kind == "alarm":
                alarms.append(row)
            elif kind in ("interval", "event"):
                found[kind][row.identifier].append(row)
            elif kind in _STORED:
                found[kind][_content_key(kind, row.time, row.values)].append(row)
        for kind in _STORED:
            verdicts[kind] = self._compare(kind, found[kind])
        verdicts["alarm"] = self._alarms(alarms)
        verdicts["registers"] = _registers(database.rows(self.meter, (model.REGISTERS,)))
        verdicts["present"] = _read_once(database.rows(self.meter, (model.PRESENT,)))
        return verdicts

    def _compare(self, kind: str, found: dict) -> Verdict:
        verdict = Verdict(expected=len(self._expected[kind]), rows=sum(map(len, found.values())))
        for key, entry in self._expected[kind].items():
            rows = found.get(key, ())
            if not rows:
                if key in self._must[kind]:
                    verdict.wrong("missing", _words(entry))
                elif key in self._later[kind]:
                    verdict.later += 1
                else:
                    verdict.excused += 1
                continue
            for row in rows[1:]:
                verdict.wrong("doubled", (_words(entry), row.identifier.hex()))
            for row in rows:
                verdict.revised += row.revision > 0
                difference = _difference(kind, entry, row)
                if difference:
                    verdict.wrong("altered", (_words(entry), difference))
        for key in found.keys() - self._expected[kind].keys():
            for row in found[key]:
                verdict.wrong("doubled", f"of no truth: {_at(row.time)} {row.faults} {row.values}")
        return verdict

    def _alarms(self, rows: list[Row]) -> Verdict:
        """What the database says was set and cleared, in the order of telling, and what is set now."""
        changes: Counter = Counter()
        true: set[int] = set()
        for change in self.told["alarms"]:
            code = 8 * change["byte"] + change["bit"]
            changes[code] += 1
            (true.add if change["set"] else true.discard)(code)
        verdict = Verdict(expected=sum(changes.values()), rows=len(rows))
        last: dict[int, tuple] = {}
        # Clocks may have been wrong, and a card set back counts through the same numbers again.
        for row in sorted(rows, key=lambda row: row.number):
            verdict.revised += row.revision > 0
            code = row.values["OSGP_alarm_code"][0]
            state = row.values["OSGP_event_argument"][3]
            if last.get(code, (None,))[0] == state:
                verdict.retold += 1
            last[code] = (state, _at(row.time), row.values["OSGP_event_sequence"][0])
        told = {code for code, (state, *_) in last.items() if state == "01" and code < 256}
        for code in sorted(true ^ told):
            if code != 0 and code not in self._moving:
                which = "set" if code in true else "not set"
                verdict.wrong("missing", f"alarm {code} is {which}, the database knows {last.get(code)}")
        return verdict


def _read_once(rows: list[Row]) -> Verdict:
    """What a gateway reads and the meter does not store has no truth of its own, but comes once."""
    verdict = Verdict(rows=len(rows), revised=sum(row.revision > 0 for row in rows))
    seen = set()
    for row in rows:
        said = row.time, repr(sorted(row.values.items()))
        if said in seen:
            verdict.wrong("doubled", f"{_at(row.time)} {row.identifier.hex()}")
        seen.add(said)
    return verdict


def _registers(rows: list[Row]) -> Verdict:
    """Energies never go back: in the order of one of them all others rise as well, by whatever clock."""
    verdict = _read_once(rows)
    highest: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: sorted(_energies(row).items())):
        for name, count in _energies(row).items():
            if count < highest.get(name, count):
                verdict.wrong(
                    "altered", f"{_at(row.time)} {name}: {count}, and {highest[name]} at less energy"
                )
            highest[name] = max(count, highest.get(name, count))
    return verdict


def _energies(row: Row) -> dict[str, int]:
    """Without the net energy, which goes both ways."""
    return {
        name: value[0]
        for name, value in row.values.items()
        if value[2] in ("kWh", "kvarh", "kVAh") and not name.startswith("OBIS_16.")
    }


def _has_outages(told: dict) -> bool:
    return tuple(told["identity"]["version"][:2]) >= (3, 70)


def _kind_of(row: Row) -> str:
    if row.kind == model.EVENT:
        return "outage" if "OSGP_power_outage_start" in row.values else "event"
    if row.kind == model.MBUS:
        return "telegram" if "OSGP_mbus_telegram" in row.values else "state"
    return {model.LOAD_PROFILE: "interval", model.SELF_READ: "self-read", model.ALARM: "alarm"}[row.kind]


def _content_key(kind: str, time: int, values: dict):
    if kind == "telegram":
        return time, values["OSGP_mbus_handle"][0], values["OSGP_mbus_telegram"][3]
    if kind == "outage":
        return time, values["OSGP_power_outage_start"][3], values["OSGP_power_outage_duration"][0]
    return time, repr(sorted(values.items()))


def _difference(kind: str, entry: tuple, row: Row) -> str:
    _, time, ahead, values, faults = entry
    if kind == "event":
        values = {
            "OSGP_event_code": (values["code"], 0, None, None, None),
            "OSGP_event_sequence": (entry[0][1], 0, None, None, None),
            "OSGP_event_stamp": (None, 0, None, entry[0][2], None),
            "OSGP_event_argument": (None, 0, None, values["argument"], None),
            "OSGP_event_user": (values["user"], 0, None, None, None),
        }
    wanted = (time, ahead, values, sorted(set(faults) - _WAY))
    there = (row.time, row.offset, row.values, sorted(set(row.faults) - _WAY))
    for name, one, other in zip(("time", "offset", "values", "faults"), wanted, there, strict=True):
        if one != other:
            return f"{name}: true is {_part(one, other)}, stored {_part(other, one)}"
    return ""


def _part(one, other):
    """Of two dictionaries what differs."""
    if isinstance(one, dict):
        return {name: value for name, value in one.items() if other.get(name) != value}
    return one


def _words(entry: tuple) -> str:
    whose, time, _, _, faults = entry
    return f"{whose} {_at(time)} {faults}"


def _at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> float:
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _excused(told: dict) -> set[tuple[str, int]]:
    """(kind, number) of what the meter did not hold long enough, by its own stamps.

    What is gone was gone when the log had come round once more, or when it was reset; what was held for
    longer than HELD_S until then is required all the same.
    """
    excused = set()
    now = _seconds(told["clock"])
    g = generation(told["identity"]["firmware"])
    # ET16 holds a device's last telegram only.
    capacities = {
        "BT74": g.events,
        "ET79": g.alternate_events,
        "ET45": g.recurring_reads,
        "ET74": g.extended_reads,
        "ET16": 1,
        "outage": g.outage_entries,
        "self-read": g.self_reads,
    }
    logs: tuple = (
        ("event", told["events"]["entries"], "stamp", "logs", _resets(told)),
        ("outage", told["outages"], "end", None, []),
        ("self-read", told["self_reads"], "stamp", None, []),
        ("telegram", told["mbus"], "stamp", "tables", []),
    )
    for kind, entries, stamp, tables, resets in logs:
        excused |= _soon_gone(kind, entries, stamp, tables, now, resets, capacities)
    intervals = told["load_profile"]["intervals"]
    ended: dict = {}
    for one in intervals:
        of = one["data_set"], one["configuration"]
        ended[of] = max(ended.get(of, 0), _seconds(one["end"]))
    for nth, one in enumerate(intervals):
        held = ended[one["data_set"], one["configuration"]] - _seconds(one["end"])
        if not one["in_meter"] and held < HELD_S:
            excused.add(("interval", nth))
    return excused


def _resets(told: dict) -> list[tuple[str, float]]:
    return [(one["log"], _seconds(one["stamp"])) for one in told["events"]["resets"]]


def _soon_gone(
    kind: str, entries: list, stamp: str, logs: str | None, now: float, resets: list, capacities: dict
) -> set:
    """A log of N entries has lost one when N more have come; N is how many it holds now, or held at most."""
    gone = set()
    by_log: dict[str, list[int]] = defaultdict(list)
    for nth, one in enumerate(entries):
        for log in one[logs] if logs else [""]:
            by_log[log].append(nth)
    held: dict[int, float] = defaultdict(float)
    for log, members in by_log.items():
        there = {
            nth for nth in members if (log in entries[nth]["in_meter"] if logs else entries[nth]["in_meter"])
        }
        capacity = capacities[log or kind]
        for place, nth in enumerate(members):
            begin = max(_seconds(entries[nth][stamp]), BEGIN_MS // 1000)
            if nth in there:
                held[nth] = max(held[nth], float(1 << 40))
                continue
            end = (
                _seconds(entries[members[place + capacity]][stamp])
                if place + capacity < len(members)
                else now
            )
            end = min([end, *(at for name, at in resets if name == log and at >= begin)])
            held[nth] = max(held[nth], end - begin)
    for nth in range(len(entries)):
        if held[nth] < HELD_S and not entries[nth]["in_meter"]:
            gone.add((kind, nth))
    return gone
