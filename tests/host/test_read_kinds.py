"""`read` of every kind from a virtual meter that has lived for weeks, against what it says must be found."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import GatewayError, Refused, TableError
from gateway.host import read as reading
from gateway.transmission import model
from tests.expected_readings import Expected, lines, lines_said
from tests.fake_meter import FakeMeter, standard
from tests.host.test_cli import ENVIRONMENT, KEY, command, run
from tests.patience import PATIENCE_S

START = "2026-01-02T10:04:00Z"
SINCE = "2026-01-01T00:00:00Z"
PASSWORD = "The meter's password"


class Meter:
    """A simulator in a process of its own, and its truth once it has ended."""

    listen = ("--listen", "tcp:127.0.0.1:0", "--baud", "fast", "--key-file")
    secret = KEY
    file = ("--key-file",)
    marks = ()

    def __init__(self, directory: Path, *options: str) -> None:
        self.key = directory / "secret"
        self.key.write_text(self.secret)
        self.key.chmod(0o600)
        self._truth = directory / "truth.json"
        self._process = subprocess.Popen(
            command("simulate", *self.listen, self.key, "--truth", self._truth, "--start", START, *options),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment(),
        )  # fmt: skip
        line = self._process.stdout.readline()
        assert line.startswith("listening on "), line + self._process.stderr.read()
        self.address = line.split()[2]

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run("read", *arguments, "--port", self.address, *self.file, self.key)

    def read(self, *arguments: str) -> dict[str, list[dict]]:
        """By kind; all kinds are there."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, list[dict]] = {name: [] for name in reading.KINDS}
        for line in done.stdout.splitlines():
            found[json.loads(line)["kind"]].append(json.loads(line))
        return found

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(PATIENCE_S) == 0, self._process.stderr.read()

    def truth(self) -> dict:
        """Ends the meter."""
        if self._process.returncode is None:
            self.end()
        return json.loads(self._truth.read_text())


class OpticalMeter(Meter):
    listen = ("--optical", "--listen", "pty", "--firmware", "3.10", "--password-file")
    secret = PASSWORD
    file = ("--optical", "--password-file")
    marks = ("OSGP_not_authenticated",)

    def environment(self) -> dict[str, str]:
        return ENVIRONMENT  # the line keeps to its rate, so its time runs faster


def hold_to_truth(said: dict[str, list[dict]], told: dict, marks: tuple[str, ...]) -> None:
    """What a meter stores is all there as it is, what is now has the names, units and faults that it must."""
    expected = Expected(told, 0, marks)
    stored = {
        "self-reads": expected.self_reads(),
        "load-profile": expected.load_profile(),
        "events": expected.events(),
    }
    for kind, entries in stored.items():
        assert lines_said(said[kind]) == lines(entries), kind
    telegrams = [line for line in said["mbus"] if "OSGP_mbus_telegram" in values(line)]
    assert lines_said(telegrams) == lines(expected.telegrams())
    states = [line for line in said["mbus"] if line not in telegrams]
    for found, entries in ((said["identity"], expected.identity()), (states, expected.devices())):
        assert _untimed(lines_said(found)) == _untimed(lines(entries))
    set_now = {int(values(line)["OSGP_alarm_code"]) for line in said["alarms"]}
    assert set_now == expected.alarms_set() and len(said["alarms"]) == len(set_now)
    for kind, entries in (("registers", expected.registers()), ("present", expected.present())):
        for (_, found, faults), (_, wanted, also) in zip(lines_said(said[kind]), lines(entries), strict=True):
            assert [(name, unit) for name, _, unit, _ in found] == [
                (name, unit) for name, _, unit, _ in wanted
            ]
            assert faults == also


def _untimed(found: list) -> list:
    return [(told, faults) for _, told, faults in found]


def values(line: dict) -> dict[str, str]:
    return {value["property"]: value["value"] for value in line["values"]}


LIFE = ("--history", "5", "--life", "busy", "--seed", "7")


@pytest.fixture(scope="module")
def meter(tmp_path_factory) -> Iterator[Meter]:
    meter = Meter(tmp_path_factory.mktemp("kinds"), "--firmware", "4.30", *LIFE)
    yield meter
    meter.truth()


@pytest.fixture(scope="module")
def said(meter: Meter) -> dict:
    """All that the meter says, by kind, and its truth."""
    found: dict = meter.read("all")
    found["since"] = meter.read("load-profile", "--since", SINCE)
    found["some"] = meter.read("events", "alarms", "self-reads", "mbus")
    table = meter.run("self-reads", "alarms", "events", "load-profile", "--since", "2026-01-02T00:00:00Z")
    assert table.returncode == 0, table.stderr
    found["table"] = table.stdout.splitlines()
    found["truth"] = meter.truth()
    return found


def test_all_reads_every_kind_and_each_line_says_whose_it_is(said):
    for name in reading.KINDS:
        assert said[name], name
        for line in said[name]:
            assert {"kind", "meterId", "serial", "readingTime", "values"} <= set(line)
            assert line["serial"] == said["truth"]["identity"]["serial"]
            assert line["values"]


def test_all_is_the_truth(said):
    hold_to_truth(said, said["truth"], ())


def test_the_optical_port_tells_the_truth(tmp_path: Path):
    meter = OpticalMeter(tmp_path, *LIFE)
    try:
        found = meter.read("all")
    finally:
        told = meter.truth()
    assert len(found["load-profile"]) > 400 and found["events"] and found["mbus"]
    hold_to_truth(found, told, OpticalMeter.marks)


def test_from_a_time_on(said):
    later = [line for line in said["load-profile"] if line["readingTime"] >= SINCE]
    assert said["since"]["load-profile"] == later and 0 < len(later) < len(said["load-profile"])


def test_some_kinds_of_all(said):
    for kind, lines_of_kind in said["some"].items():
        if kind in ("events", "self-reads"):
            assert lines_of_kind == said[kind]
        elif kind in ("alarms", "mbus"):
            assert len(lines_of_kind) == len(said[kind]) > 0
        else:
            assert not lines_of_kind


def test_tables_for_people(said):
    text = "\n".join(said["table"])
    assert "load-profile of meter" in text and "intervals" in text and "events of meter" in text
    for one in said["load-profile"][-2:]:
        assert one["readingTime"] in text
    assert "alarms of meter" in text
    assert " set " in text
    assert any(name in text for name in ("Primary power up", "Time changed", "Self-read"))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (Refused("busy", 6, 74), "Read again in a minute"),
        (Refused("no permission", 3, 74), "Ask the utility for a key"),
        (Refused("absent", 4, 74), "name the kinds to read without events"),
        (TableError("BT74 claims 9 of 8"), "osgp-gateway record events"),
    ],
)
async def test_what_can_not_be_read_tells_what_to_do(error, advice, monkeypatch):
    class Closing(FakeMeter):
        async def close(self):
            pass

    class Access:
        async def open(self):
            return Closing({**standard(), 2051: b"4711".ljust(143, b"\0")})

    async def fail(tables, cursor):
        raise error

    monkeypatch.setattr("gateway.core.cursors.reader", lambda kind: (fail, None))
    with pytest.raises(GatewayError) as caught:
        await reading.read(Access(), reading.Wish([model.EVENT], as_json=True))
    assert f"events can't be read: {error}. " in str(caught.value) and advice in str(caught.value)


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
