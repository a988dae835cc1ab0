"""The demo, whole: real processes, a real broker, a real database, and nothing left behind."""

import asyncio
import json
import os
import signal
import uuid
from pathlib import Path

import pytest

from gateway.host.demo import demo as host_demo
from tests.patience import PATIENCE_S
from tests.processes import Program


@pytest.fixture
def temporary(tmp_path: Path):
    """Where the demo puts its directory; afterwards it is gone, and so is every process that names it."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert processes_naming(str(tmp_path)) == []


def processes_naming(text: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in line and int(process.name) != os.getpid():
            found.append(line)
    return found


def demo(temporary: Path, *arguments: str) -> Program:
    return Program("gateway.host.cli", "demo", *arguments, environment={"TMPDIR": str(temporary)})


def test_readings_land_as_json(temporary: Path):
    readings = []
    names: set[str] = set()
    with demo(temporary, "--json") as running:
        while not {"OBIS_1.8.0", "OBIS_1.7.0", "OBIS_32.7.0"} <= names:
            readings.append(json.loads(running.expect("").string))
            names |= {
                value["operationalPropertyDefinition"]["propertyId"]
                for value in readings[-1]["propertyValues"]
            }
        assert running.end(signal.SIGINT) == 0, running.said()
        readings += [json.loads(line) for line in running.said().splitlines()[len(readings) :]]
    identifiers = [uuid.UUID(reading["meterReadingIdentifier"]) for reading in readings]
    assert len(set(identifiers)) == len(identifiers)


async def test_it_ends_by_itself_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch):
    async def shown(show) -> None:
        show.readings = 1
        await asyncio.Event().wait()

    monkeypatch.setattr("gateway.host.demo._Show.run", shown)
    async with asyncio.timeout(PATIENCE_S):
        await host_demo(1, as_json=True)


def test_ctrl_c_ends_it_well_with_a_line_for_each_reading(temporary: Path):
    with demo(temporary) as running:
        running.expect("virtual meter .* -> cloud")
        running.expect(r"present .*1\.7\.0 [\d.]+ kW")
        assert running.end(signal.SIGINT) == 0, running.said()
        running.expect(r"\d+ readings with \d+ values landed")
        assert "Traceback" not in running.said()


def test_nothing_landed_is_a_failure(temporary: Path):
    with demo(temporary, "--seconds", "1") as running:
        assert running.process.wait(PATIENCE_S) == 1
        assert "no reading landed within 1 s" in running.said()
