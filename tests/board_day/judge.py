"""What a board's day left in the database against what the meter knows to be true.

What the meter stores is judged as in a chaos run (tests/chaos/judge.py). What it only shows is compared with
what it showed: whenever the board asks it, the truth of that moment is noted.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gateway.simulator import readout, truth
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests.chaos import judge
from tests.expected_readings import Expected

SLOT_MS = 10_000
DAY_S = 86_400
# Between a reading's messages and its time: a few messages, which take longer here than on a line.
BEFORE_S = 120
AFTER_S = 20
SHOWN = (model.IDENTITY, model.CLOCK, model.REGISTERS, model.PRESENT)
SHOWN_NAMES = [model.KIND_NAMES[kind] for kind in SHOWN]
_RISING = ("kWh", "kvarh", "kVAh")


class Samples:
    """What the meter showed, at most once for each of its slots of ten seconds, in which nothing but energies
    changes."""

    def __init__(self, meter: VirtualMeter) -> None:
        self._meter = meter
        self._look = meter.image.before_access
        self._slot = -1
        self.taken: list[tuple[int, dict, dict, int]] = []  # UTC s, registers, present, clock's offset in ms
        meter.image.before_access = self._note

    def _note(self) -> None:
        self._look()
        now = self._meter.life.now_ms  # that of the answer
        slot = now // SLOT_MS
        if slot != self._slot:
            self._slot = slot
            self.taken.append(
                (
                    now // 1000,
                    truth._registers(self._meter),
                    readout.present(self._meter),
                    self._meter.world.clock_at(now) - now,
                )
            )


class Day:
    def __init__(self, directory: Path, samples: Samples) -> None:
        self._samples = samples.taken
        day = judge.Judge(directory / "day.json")
        self._judge = judge.Judge(directory / "after.json", day)
        # Self-reads are read at midnight only.
        midnight = judge._seconds(self._judge.told["run"]) // DAY_S * DAY_S
        of_self_reads = self._judge._must["self-read"]
        of_self_reads -= {key for key in of_self_reads if key[0] >= midnight}
        self._database = judge.Database(directory / "readings.db")
        self._verdicts: dict[str, judge.Verdict] = {}
        self.mixed = 0  # present values whose answer was lost and came in pieces, of two moments

    def compare(self) -> Iterator[str]:
        """What is wrong, in words."""
        self._verdicts = self._judge.judge(self._database)
        del self._verdicts["registers"], self._verdicts["present"]
        for kind in SHOWN:
            self._verdicts[model.KIND_NAMES[kind]] = self._shown(kind)
        for name, verdict in self._verdicts.items():
            wrong = verdict.missing + verdict.doubled + verdict.altered + verdict.revised + verdict.retold
            if wrong:
                yield f"{name}: {wrong} rows: " + "\n  ".join(map(str, verdict.examples))
            if not verdict.rows and name in SHOWN_NAMES:
                yield f"{name}: no rows"
        counts = self._database.counts()
        for name in ("dead letters", "declared as dropped", "revisions"):
            if counts[name]:
                yield f"{counts[name]} {name}"

    def table(self) -> Iterator[str]:
        names = ("expected", "rows", "excused", "later", "missing", "doubled", "altered", "revised", "retold")
        yield "%-14s" % "" + "".join("%10s" % name for name in names)
        for kind, verdict in self._verdicts.items():
            yield "%-14s" % kind + "".join("%10d" % getattr(verdict, name) for name in names)
        yield f"present values in pieces of two moments: {self.mixed}"

    def _shown(self, kind: int) -> judge.Verdict:
        rows = self._database.rows(self._judge.meter, (kind,))
        verdict = judge.Verdict(expected=len(rows), rows=len(rows))
        times = Counter(row.time for row in rows)
        for row in rows:
            if times[row.time] > 1 and kind != model.IDENTITY:
                verdict.wrong("doubled", (kind, row.time))
            near = [one for one in self._samples if row.time - BEFORE_S <= one[0] <= row.time + AFTER_S]
            if kind == model.REGISTERS:
                # Energies rose since the last sample, which is the last one also where nothing was asked for
                # long, because this machine was busy.
                near += [one for one in self._samples if one[0] > row.time + AFTER_S][:1]
            difference = self._differs(kind, row, near)
            if difference:
                verdict.wrong("altered", (row.time, difference))
        return verdict

    def _differs(self, kind: int, row: judge.Row, near: list) -> str:
        if row.offset is not None or set(row.faults) - {"OSGP_clock_untrusted"}:
            return f"offset {row.offset}, faults {row.faults}"
        if not near:
            return "nothing was read at that time"
        told = self._judge.told
        if kind == model.IDENTITY:
            ((_, _, _, wanted, _),) = Expected(told, 0).identity()
            return "" if row.values == wanted else f"{row.values}"
        if kind == model.CLOCK:
            return _clock(row, [one[3] for one in near])
        if kind == model.PRESENT:
            shown = [Expected(told | {"present": one[2]}, 0).present()[0][3] for one in near]
            self.mixed += row.values not in shown
            return _present(row.values, shown)
        shown = [Expected(told | {"registers": one[1]}, 0).registers()[0][3] for one in near]
        return _registers(row.values, shown)


def _clock(row: judge.Row, offsets: list[int]) -> str:
    """The drift is that of a moment before the reading's end, and true but for a message's time."""
    drift = row.values["OSGP_clock_drift"]
    text = row.values["OSGP_time_utc"][3]
    host_ms = 1000 * int(judge._seconds(text)) + 500 - drift[0]
    late = row.time - host_ms // 1000
    if not 0 <= late <= BEFORE_S:
        return f"drift {drift} at {text} is of {late} s before"
    if min(abs(drift[0] - offset) for offset in offsets) > 1000 * BEFORE_S:
        return f"drift {drift}, true are {set(offsets)} ms"
    if ("OSGP_clock_untrusted" in row.faults) != (abs(drift[0]) > 60_000):
        return f"drift {drift}, faults {row.faults}"
    return ""


def _present(values: dict, shown: list[dict]) -> str:
    """Each value as it was shown about then."""
    if values.keys() != shown[0].keys():
        return f"other properties: {values.keys() ^ shown[0].keys()}"
    wrong = {name: value for name, value in values.items() if value not in [one[name] for one in shown]}
    return f"never shown: {wrong}" if wrong else ""


def _registers(values: dict, shown: list[dict]) -> str:
    """Each value as it was shown about then; energies go on meanwhile, and lie between."""
    if values.keys() != shown[0].keys():
        return f"other properties: {values.keys() ^ shown[0].keys()}"
    for name, value in values.items():
        known = [one[name] for one in shown]
        if value in known:
            continue
        count, *rest = value
        counts = [one[0] for one in known]
        if value[2] not in _RISING or rest != list(known[0][1:]) or not min(counts) <= count <= max(counts):
            return f"{name}: {value}, shown were {known[:3]}"
    return ""
