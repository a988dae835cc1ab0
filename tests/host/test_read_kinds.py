"""`read` of every kind from a virtual meter that has lived for weeks, against what it says must be found."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.host import read as reading
from gateway.transmission import model
from tests.host.test_cli import KEY, command, run

START = "2024-06-03T10:04:00Z"
ONE_TIME = {"OSGP_TIME": "1"}


class Meter:
    """A simulator in a process of its own, and its truth once it has ended."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.key = directory / "key"
        self.key.write_text(KEY)
        self.key.chmod(0o600)
        self._truth = directory / "truth.json"
        self._process = subprocess.Popen(
            command(
                "simulate", "--listen", "tcp:127.0.0.1:0", "--key-file", self.key, "--baud", "fast",
                "--start", START, "--truth", self._truth, *options,
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = self._process.stdout.readline()
        assert line.startswith("listening on "), line + self._process.stderr.read()
        self.address = line.split()[2]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run("read", *arguments, "--port", self.address, "--key-file", self.key, timeout=60)

    def read(self, *arguments: str) -> list[dict]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(20) == 0, self._process.stderr.read()

    def truth(self) -> dict:
        """Ends the meter."""
        if self._process.returncode is None:
            self.end()
        return json.loads(self._truth.read_text())


def values(line: dict) -> dict[str, str]:
    return {value["property"]: value["value"] for value in line["values"]}


@pytest.fixture(scope="module")
def meter(tmp_path_factory) -> Iterator[Meter]:
    meter = Meter(
        tmp_path_factory.mktemp("kinds"),
        "--firmware",
        "4.30",
        "--history",
        "5",
        "--life",
        "busy",
        "--seed",
        "7",
    )
    yield meter
    meter.truth()


@pytest.fixture(scope="module")
def said(meter: Meter) -> dict[str, list[dict]]:
    """All that the meter says, by kind, and its truth."""
    lines = meter.read("all")
    found: dict[str, list[dict]] = {name: [] for name in reading.KINDS}
    for line in lines:
        found[line["kind"]].append(line)
    found["since"] = meter.read("load-profile", "events", "--since", "2024-06-02T00:00:00Z")
    table = meter.run("self-reads", "alarms", "events", "load-profile", "--since", "2024-06-03T00:00:00Z")
    assert table.returncode == 0, table.stderr
    found["table"] = table.stdout.splitlines()
    found["truth"] = [meter.truth()]
    return found


def test_all_reads_every_kind_and_each_line_says_whose_it_is(said):
    for name in reading.KINDS:
        assert said[name], name
        for line in said[name]:
            assert {"kind", "meterId", "serial", "readingTime", "values"} <= set(line)
            assert line["serial"] == said["truth"][0]["identity"]["serial"]
            assert line["values"]


def test_load_profile(said):
    held = [one for one in said["truth"][0]["load_profile"]["intervals"] if one["in_meter"]]
    assert len(held) > 400
    assert sorted(line["readingTime"] for line in said["load-profile"]) == sorted(one["end"] for one in held)
    by_end: dict[str, list[list[int]]] = {}
    for one in held:
        by_end.setdefault(one["end"], []).append(one["values"])
    compared = 0
    for line in said["load-profile"]:
        numbers = [int(value["value"].replace(".", "")) for value in line["values"]]
        if len(numbers) == len(by_end[line["readingTime"]][0]):
            assert numbers in by_end[line["readingTime"]], line
            compared += 1
    assert compared > 400
    marked = [line for line in said["load-profile"] if line.get("faults")]
    assert len(marked) == len([one for one in held if one["common"] or any(one["statuses"])])


def test_from_a_time_on(said):
    begin = "2024-06-02T00:00:00Z"
    for kind in ("load-profile", "events"):
        later = [
            line for line in said[kind] if line["readingTime"] >= begin and "+" not in line["readingTime"]
        ]
        again = [line for line in said["since"] if line["kind"] == kind and "+" not in line["readingTime"]]
        assert again == later and 0 < len(later) < len(said[kind])


def test_events(said):
    entries = [one for one in said["truth"][0]["events"]["entries"] if one["in_meter"]]
    lines = [line for line in said["events"] if "OSGP_event_code" in values(line)]
    assert [
        (line["readingTime"], int(values(line)["OSGP_event_sequence"]), int(values(line)["OSGP_event_code"]))
        for line in lines
    ] == [(one["stamp"], one["sequence"], one["code"]) for one in entries]
    outages = [line for line in said["events"] if "OSGP_power_outage_start" in values(line)]
    assert len(outages) == len(said["truth"][0]["outages"])


def test_self_reads(said):
    kept = [one for one in said["truth"][0]["self_reads"] if one["in_meter"]]
    assert kept and len(said["self-reads"]) == len(kept)
    for line, one in zip(said["self-reads"], kept, strict=True):
        total = int(values(line)["OBIS_1.8.0"].replace(".", ""))
        assert total == one["totals"][0], one


def test_telegrams_of_devices(said):
    held = {one["telegram"] + "00" for one in said["truth"][0]["mbus"] if one["in_meter"]}  # with its end
    read = [values(line) for line in said["mbus"]]
    assert {one["OSGP_mbus_telegram"] for one in read if "OSGP_mbus_telegram" in one} == held
    heat = [one for one in read if "OSGP_heat_energy" in one]
    water = [one for one in read if "WATER_volume_of_water" in one]
    assert heat and water


def test_alarms_that_are_set(said):
    state: dict[tuple[int, int], bool] = {}
    for one in said["truth"][0]["alarms"]:
        state[(one["byte"], one["bit"])] = one["set"]
    read = {
        divmod(int(values(line)["OSGP_alarm_code"]), 8)
        for line in said["alarms"]
        if int(values(line)["OSGP_alarm_code"]) < 256
    }
    # Byte 0 is the mode that the meter works in (BT03).
    assert {place for place in read if place[0]} == {place for place, is_set in state.items() if is_set}


def test_tables_for_people(said):
    text = "\n".join(said["table"])
    assert "load-profile of meter" in text and "intervals" in text and "events of meter" in text
    for one in said["load-profile"][-2:]:
        assert one["readingTime"] in text
    assert "alarms of meter" in text
    assert " set " in text
    assert any(name in text for name in ("Primary power up", "Time changed", "Self-read"))


def test_the_oldest_firmware_says_all_that_it_has(tmp_path: Path):
    meter = Meter(tmp_path, "--firmware", "2.10", "--history", "1", "--life", "quiet")
    try:
        lines = meter.read("all")
    finally:
        truth = meter.truth()
    kinds = {line["kind"] for line in lines}
    assert {"identity", "clock", "registers", "present", "load-profile", "events"} <= kinds
    ends = [line["readingTime"] for line in lines if line["kind"] == "load-profile"]
    assert sorted(ends) == sorted(one["end"] for one in truth["load_profile"]["intervals"] if one["in_meter"])


def test_what_a_meter_refuses_does_not_hide_the_rest(tmp_path: Path):
    """A meter of which only the registers were captured."""
    vector = Path(__file__).parents[1] / "vectors" / "real_meter.json"
    meter = Meter(tmp_path, "--tables", str(vector))
    meter_tables = json.loads(vector.read_text())
    done = meter.run("events", "registers", "--json")
    meter.end()
    assert "BT23" in meter_tables
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "registers" in {line["kind"] for line in lines}
    if done.returncode:
        assert done.returncode == 1 and "events can't be read" in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [("yesterday", "RFC 3339"), ("2026-01-01", "RFC 3339"), ("1969-12-31T00:00:00Z", "1970")],
)
def test_a_time_that_is_none(text: str, reason: str, tmp_path: Path):
    done = run(
        "read", "events", "--since", text, "--port", "tcp://127.0.0.1:1", "--key-file", tmp_path / "none"
    )
    assert done.returncode == 2 and reason in done.stderr, done.stderr


def test_progress_of_a_long_backfill_is_told_on_a_terminal_only(capsys, monkeypatch):
    items = [model.Series(model.LOAD_PROFILE, [0, 900], [])]
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda is_terminal=is_terminal: is_terminal, raising=False)
        progress = reading._Progress(model.LOAD_PROFILE)
        for _ in range(3):
            progress.step(items)
        progress.end()
        said = capsys.readouterr().err
        assert ("6 read, up to 1970-01-01T00:15:00Z" in said) is is_terminal
