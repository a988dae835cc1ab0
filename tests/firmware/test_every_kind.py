"""Every kind of reading, on both ports, by the board's program: what the cloud stores is the truth."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.simulator import profile
from gateway.simulator.generations import generation
from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.simulator.profile_tables import sets_of
from gateway.transmission import model
from tests.board import CREDENTIAL, KEY, PASSWORD, board_process, board_settings, cloud, secret

# More than live values take: a reader with its tables and values comes on top, one at a time.
HEAP = os.environ.get("OSGP_TEST_KINDS_HEAP", "288K")
# The first of April, noon: behind summer time's beginning and a month's end.
START_MS = int(datetime(2024, 4, 1, 12, tzinfo=UTC).timestamp()) * 1000
TIME = {"OSGP_TIME": "5"}
KINDS = range(model.IDENTITY, model.FOREIGN)
VOID = (4, 8, 12, 15)  # statuses in place of a value
DECIMAL = (0x4102, 0x4103)  # extended sources that count in binary coded decimal


def meter_with_history(firmware: str) -> VirtualMeter:
    """A busy day behind it, and time that stands still."""
    dimensions = generation(firmware)
    configuration = profile.standard(sets_of(dimensions), 4, end_readings=True)
    sets = list(configuration.sets)
    sets[2] = dataclasses.replace(sets[2], minutes=15, intervals=96)
    return VirtualMeter(
        KEY[:16].encode(), None, seed=5, firmware=dimensions, start_ms=START_MS, solar_peak_w=3000,
        profile=dataclasses.replace(configuration, sets=tuple(sets)), history_days=1, life="busy",
        monotonic=lambda: 0, optical_keys=OpticalKeys(PASSWORD.encode()),
    )  # fmt: skip


class Row:
    """One reading as the cloud stores it."""

    def __init__(self, kind: int, seconds: int) -> None:
        self.kind = kind
        self.seconds = seconds
        self.numbers: dict[str, int] = {}
        self.texts: dict[str, str] = {}


def stored(database: Path) -> list[Row]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT r.id, r.kind, r.time, d.property_id, v.mantissa, v.text_value FROM meter_reading r"
            " LEFT JOIN property_value v ON v.reading = r.id"
            " LEFT JOIN operational_property_definition d ON d.id = v.property ORDER BY r.id, v.position"
        ).fetchall()
        assert not connection.execute("SELECT reason FROM dead_letter").fetchall()
        assert not connection.execute("SELECT * FROM reading_key WHERE revision > 0").fetchall()
    rows: dict[int, Row] = {}
    for reading, kind, seconds, name, mantissa, text in found:
        row = rows.setdefault(reading, Row(kind, seconds))
        if mantissa is not None:
            row.numbers[name] = mantissa
        if text is not None:
            row.texts[name] = text
    return list(rows.values())


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def intervals(truth: dict) -> Counter:
    document = truth["load_profile"]
    sources = {each["data_set"]: each["sources"] for each in document["configurations"][-1]["data_sets"]}
    return Counter(
        (
            seconds(each["end"]),
            tuple(
                int(f"{value:x}") if source in DECIMAL else value
                for source, value, status in zip(
                    sources[each["data_set"]], each["values"], each["statuses"], strict=True
                )
                if status not in VOID
            ),
        )
        for each in document["intervals"]
        if each["in_meter"]
    )


def entries(truth: dict) -> list[tuple[int, int, int, str, int]]:
    return sorted(
        (each["sequence"], seconds(each["stamp"]), each["code"], each["argument"], each["user"])
        for each in truth["events"]["entries"]
        if each["in_meter"]
    )


def event(row: Row) -> tuple[int, int, int, str, int]:
    numbers = row.numbers
    return (
        *(numbers["OSGP_event_sequence"], row.seconds, numbers["OSGP_event_code"]),
        *(row.texts["OSGP_event_argument"], numbers["OSGP_event_user"]),
    )


def compare(rows: list[Row], truth: dict) -> None:
    of = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    assert all(of.values()), "no readings of %s" % [model.KIND_NAMES[kind] for kind in KINDS if not of[kind]]
    assert truth["clock"][:19] in " ".join(of[model.CLOCK][0].texts.values())
    sums = truth["registers"]["totals"][:4]
    assert [of[model.REGISTERS][0].numbers[f"OBIS_{c}.8.0"] for c in (1, 2, 3, 4)] == sums
    for number, block in enumerate(truth["registers"]["tiers"], 1):
        assert of[model.REGISTERS][0].numbers[f"OBIS_1.8.{number}"] == block[0]
    shown = sorted(value for _, value in truth["present"]["values"])
    assert sorted(of[model.PRESENT][0].numbers.values()) == shown
    copies = {read["totals"][0]: read["totals"] for read in truth["self_reads"] if read["in_meter"]}
    for row in of[model.SELF_READ]:
        found = [row.numbers[f"OBIS_{c}.8.0"] for c in (1, 2, 3, 4)]
        assert found == copies[found[0]][:4]
    assert len(of[model.SELF_READ]) == len(copies) > 0
    recorded = Counter(
        (row.seconds, tuple(value for name, value in row.numbers.items() if "end_reading" not in name))
        for row in of[model.LOAD_PROFILE]
    )
    assert recorded == intervals(truth)
    logged = [row for row in of[model.EVENT] if "OSGP_event_code" in row.numbers]
    assert sorted(map(event, logged)) == entries(truth)
    outages = [row.seconds for row in of[model.EVENT] if "OSGP_power_outage_duration" in row.numbers]
    assert outages == [seconds(each["end"]) for each in truth["outages"] if each["in_meter"]]
    telegrams = [row.texts.get("OSGP_mbus_telegram") for row in of[model.MBUS]]
    said = [each["telegram"] + "00" for each in truth["mbus"] if each["in_meter"]]
    assert sorted(filter(None, telegrams)) == sorted(said)
    states: dict[int, bool] = {}
    for change in truth["alarms"]:
        states[8 * change["byte"] + change["bit"]] = change["set"]
    told = {
        row.numbers["OSGP_alarm_code"] for row in of[model.ALARM] if row.texts["OSGP_event_argument"] == "01"
    }
    assert {code for code, is_set in states.items() if is_set} <= told


async def all_read(rows: Path, truth: dict, child: asyncio.subprocess.Process) -> None:
    """Until as much is stored as there is; fails with what the child said when it takes too long."""
    wanted = intervals(truth).total()
    telegrams = sum(bool(each["in_meter"]) for each in truth["mbus"])
    for _ in range(300):
        counts = Counter(row.kind for row in stored(rows))
        complete = counts[model.LOAD_PROFILE] >= wanted and counts[model.MBUS] >= telegrams
        if complete and all(counts[kind] for kind in KINDS):
            return
        if child.returncode is not None:
            break
        await asyncio.sleep(0.2)
    if child.returncode is None:
        child.send_signal(signal.SIGINT)
    output, errors = await child.communicate()
    pytest.fail(f"ended with {child.returncode}; {counts}\n{output.decode()[-2000:]}{errors.decode()}")


@pytest.mark.parametrize(("protocol", "firmware"), [("mep", "4.30"), ("optical", "3.50")])
async def test_every_kind_equals_the_truth(
    application, tmp_path: Path, figures, protocol: str, firmware: str
):
    for name, text in (("meter.key", KEY), ("meter.password", PASSWORD), ("credential", CREDENTIAL)):
        secret(tmp_path / name, text)
    meter = meter_with_history(firmware)
    truth = meter.truth_document()
    channel = meter.optical if protocol == "optical" else meter.ports[0]
    assert channel
    async with cloud(tmp_path) as port, pty_line(channel, link=tmp_path / "line"):
        settings = board_settings(tmp_path, port, tmp_path / "line") | {
            "protocol": protocol,
            "schedule": dict.fromkeys(model.KIND_NAMES[model.CLOCK : model.FOREIGN], 3600),
            "reads_per_hour": 360_000,
            "report_seconds": 5,
        }
        if protocol == "optical":
            del settings["key_file"]
            settings["password_file"] = str(tmp_path / "meter.password")
        file = tmp_path / "board.json"
        file.write_text(json.dumps(settings))
        async with board_process(application.image, HEAP, file, TIME) as board:
            await all_read(tmp_path / "readings.db", truth, board)
            board.send_signal(signal.SIGINT)
            output, errors = await asyncio.wait_for(board.communicate(), 10)
    assert board.returncode == 0, errors.decode()
    assert "MemoryError" not in errors.decode()
    compare(stored(tmp_path / "readings.db"), truth)
    alive = [json.loads(line)["heapBytes"] for line in output.decode().splitlines()]
    figures(f"MicroPython, every kind, {protocol}, -X heapsize={HEAP}: up to {max(alive):,} bytes alive")
