"""The gateway on MicroPython, from its bytecode, against the virtual meter, a real broker and the cloud."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.simulator.captured import fitting, read_tables
from gateway.simulator.listen import PtyLine, pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests.board import (
    CREDENTIAL,
    KEY,
    Application,
    board_process,
    board_settings,
    cloud,
    failures,
    run_with,
    secret,
)
from tests.brokers import free_port
from tests.interpreter import ROOT
from tests.patience import PATIENCE_S

# Objects are twice as large here as on a board.
HEAP = os.environ.get("OSGP_TEST_HEAP", "224K")
KINDS = (model.IDENTITY, model.REGISTERS, model.PRESENT)


Row = tuple[str, int | None, int, str | None, str | None]


def rows(database: Path, after: int = 0) -> dict[int, list[list[Row]]]:
    """By kind, the values of each reading stored after the one with id `after`, in their order."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT r.id, r.kind, d.property_id, v.mantissa, v.exponent, v.unit, v.text_value"
            " FROM meter_reading r JOIN property_value v ON v.reading = r.id"
            " JOIN operational_property_definition d ON d.id = v.property"
            " WHERE r.id > ? ORDER BY r.id, v.position",
            (after,),
        ).fetchall()
    readings: dict[int, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for reading, kind, *value in found:
        readings[kind][reading].append(tuple(value))
    return {kind: list(by_id.values()) for kind, by_id in readings.items()}


def newest(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT coalesce(max(id), 0) FROM meter_reading").fetchone()[0]


async def stored(
    child: asyncio.subprocess.Process, database: Path, after: int, enough: Callable[[dict], bool]
) -> dict[int, list[list[Row]]]:
    """The rows, once there are enough; fails with what the child said when it ends or takes too long."""
    for _ in range(10 * PATIENCE_S):
        found = rows(database, after)
        if enough(found):
            return found
        if child.returncode is not None:
            break
        await asyncio.sleep(0.1)
    if child.returncode is None:
        child.send_signal(signal.SIGINT)
    output, errors = await child.communicate()
    pytest.fail(f"ended with {child.returncode}; stored {found}\n{output.decode()}{errors.decode()}")


def enough(found: dict[int, list[list[Row]]]) -> bool:
    return all(found.get(kind) for kind in KINDS) and len(found[model.PRESENT]) >= 3


def captured_meter() -> VirtualMeter:
    tables = read_tables(ROOT / "tests/vectors/real_meter.json")
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1, firmware=fitting(tables, None))
    for table, data in tables.items():
        meter.image.keep(table, data)
    return meter


async def run_board(
    application: Application, directory: Path, port: int, line: PtyLine, database: Path
) -> list[dict]:
    """Runs the board's program, with its adapter pulled and plugged in again on the way; its reports."""
    settings = directory / "board.json"
    durable = {"outbox_dir": str(directory / "outbox"), "outbox_bytes": 1 << 20}
    settings.write_text(json.dumps(board_settings(directory, port, directory / "line") | durable))
    async with board_process(application.image, HEAP, settings) as board:
        await stored(board, database, 0, enough)
        line.unplug()
        await asyncio.sleep(0.5)
        last = newest(database)
        line.plug()
        await stored(board, database, last, enough)
        board.send_signal(signal.SIGINT)
        output, errors = await asyncio.wait_for(board.communicate(), PATIENCE_S)
    assert board.returncode == 0, errors.decode()
    reports = [json.loads(report) for report in output.decode().splitlines()]
    assert reports[-1]["outbox"]["receipted"] > 0
    assert "MemoryError" not in errors.decode()
    # The pulled adapter, which may be looked for again before it is there, and nothing else.
    meter, *others = failures(reports[-1])
    assert meter >= 1 and others == [0, 0]
    return reports


async def test_values_of_a_real_meter_are_the_same_each_time_and_after_a_pulled_adapter(
    application: Application, tmp_path: Path, figures
):
    secret(tmp_path / "meter.key", KEY)
    secret(tmp_path / "credential", CREDENTIAL)
    link, database = tmp_path / "line", tmp_path / "readings.db"
    async with cloud(tmp_path) as port, pty_line(captured_meter(), link=link) as line:
        reports = await run_board(application, tmp_path, port, line, database)
        from_board = rows(database)

    alive = [report["heapBytes"] for report in reports]
    figures(
        f"MicroPython, -X heapsize={HEAP}: {min(alive):,} to {max(alive):,} bytes alive on the heap,\n"
        f"bytecode executed in place from an image of {application.image.stat().st_size:,} bytes outside it\n"
        f"bytes of .mpy by module\n{application.table}"
    )
    for kind in KINDS:
        for reading in from_board[kind]:
            assert reading == from_board[kind][0], model.KIND_NAMES[kind]
    present = {name: (mantissa, exponent) for name, mantissa, exponent, *_ in from_board[model.PRESENT][0]}
    assert present["OBIS_1.7.0"] == (431, -3)
    assert present["OBIS_32.7.0"] == (228315, -3)


async def test_all_that_is_wrong_with_a_configuration_is_told_at_once(
    application: Application, tmp_path: Path
):
    good = board_settings(tmp_path, 1883, tmp_path / "line")
    wrong = good | {"baud": "9600", "colour": 1, "key_level": "top", "reads_per_hour": 0}
    wrong |= {"power_change_w": 200, "register": True}
    del wrong["wifi"]
    code, said = await run_with(application, tmp_path, wrong)
    assert code == 2
    assert said.splitlines() == [
        f"{tmp_path}/credential: the credential can't be read: [Errno 2] ENOENT",
        f"{tmp_path}/meter.key: the meter's key can't be read: [Errno 2] ENOENT",
        "baud: takes a int, not '9600'",
        "colour: there is no such field",
        'key_level: takes "mbk" or "mak", or is left out',
        'power_change_w: needs "register": true and "allow_writes": true: the meter tells changes only to '
        "its client, which writes what is to be watched",
        "reads_per_hour: takes 1 to 3600000",
        "wifi.ssid: has to be given",
    ]
    secret(tmp_path / "credential", CREDENTIAL)
    secret(tmp_path / "meter.key", "nineteen-characters")
    code, said = await run_with(application, tmp_path, good)
    assert code == 2
    assert "19 characters" in said
    assert "nineteen" not in said
    secret(tmp_path / "meter.key", KEY).chmod(0o644)
    code, said = await run_with(application, tmp_path, good)
    assert (code, "chmod 600" in said) == (2, True)
    secret(tmp_path / "meter.key", KEY)
    good["broker"]["host"] = "broker.example"
    code, said = await run_with(application, tmp_path, good)
    assert (code, "is reached with TLS only" in said) == (2, True)


async def test_a_board_on_the_optical_port_has_a_password_and_no_key(
    application: Application, tmp_path: Path
):
    wrong = board_settings(tmp_path, 1883, tmp_path / "line") | {
        "protocol": "optical",
        "baud": 9601,
        "user": "more than ten",
        "user_id": 65535,
        "log_off": "now",
        "idle": "02:00",
        "schedule": {"events": -1},
        "meter_id": "mine",
    }
    code, said = await run_with(application, tmp_path, wrong)
    assert code == 2
    assert [line.split(": ")[0] for line in said.splitlines()] == [
        *("%s/credential" % tmp_path, "baud", "baud", "idle", "key_file", "log_off", "meter_id"),
        *("password_file", "schedule.events", "user", "user_id"),
    ]
    secret(tmp_path / "credential", CREDENTIAL)
    secret(tmp_path / "meter.password", "21 characters, or so?")
    settings = board_settings(tmp_path, 1883, tmp_path / "line") | {
        "protocol": "optical",
        "password_file": str(tmp_path / "meter.password"),
    }
    del settings["key_file"]
    code, said = await run_with(application, tmp_path, settings)
    assert (code, "it has 21 characters" in said, "or so" in said) == (2, True, False)
    code, said = await run_with(application, tmp_path, settings | {"protocol": "modbus"})
    assert (code, 'protocol: takes "mep" or "optical"' in said) == (2, True)


async def test_without_a_meter_and_a_broker_it_says_so_and_ends_in_time(
    application: Application, tmp_path: Path
):
    secret(tmp_path / "meter.key", KEY)
    secret(tmp_path / "credential", CREDENTIAL)
    file = tmp_path / "board.json"
    file.write_text(json.dumps(board_settings(tmp_path, free_port(), tmp_path / "line")))
    async with board_process(application.image, HEAP, file) as board:
        assert board.stderr
        said = ""
        async with asyncio.timeout(PATIENCE_S):
            while "is the broker running there?" not in said or "did not answer" not in said:
                said += (await board.stderr.readline()).decode()
        board.send_signal(signal.SIGINT)
        await asyncio.wait_for(board.communicate(), PATIENCE_S)
    assert board.returncode == 0
