"""The gateway on MicroPython, from its bytecode, against the virtual meter, a real broker and the cloud."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.simulator.captured import fitting, read_tables
from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests.brokers import free_port, wait_for_port
from tests.interpreter import ROOT, micropython

sys.path.insert(0, str(ROOT / "tools"))
import build_mpy  # noqa: E402

KEY = "0123456789abcdef0123"
CREDENTIAL = "one that both ends know"
# What a board leaves to Python; objects are twice as large here.
HEAP = os.environ.get("OSGP_TEST_HEAP", "224K")
KINDS = (model.IDENTITY, model.REGISTERS, model.PRESENT)


@pytest.fixture(scope="module")
def application(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("application")
    sizes = build_mpy.build(directory)
    print("\nbytes of .mpy\n" + build_mpy.table(sizes))
    return directory


@contextlib.asynccontextmanager
async def process(*command: str, cwd: Path = ROOT) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child that is ended with Ctrl-C's signal, and killed when that does not help."""
    child = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(child.wait(), 10)
            except TimeoutError:
                child.kill()


def secret(file: Path, text: str) -> Path:
    file.write_text(text + "\n")
    file.chmod(0o600)
    return file


@contextlib.asynccontextmanager
async def cloud(directory: Path) -> AsyncIterator[int]:
    """omdp-cloud with its embedded broker and SQLite; gives the broker's port."""
    port = free_port()
    file = directory / "cloud.toml"
    file.write_text(
        f"[engine]\nport = {port}\nstore = {json.dumps(str(directory / 'nats'))}\n"
        f"[database]\nurl = {json.dumps('sqlite:///' + str(directory / 'readings.db'))}\n"
        f"[custody]\ncredential_file = {json.dumps(str(directory / 'credential'))}\n"
    )
    async with process(sys.executable, "-m", "omdp_cloud.cli", "serve", "-c", str(file)) as child:
        assert child.stdout
        async with asyncio.timeout(30):
            line = await child.stdout.readline()
        if not line:
            pytest.fail((await child.communicate())[1].decode())
        await asyncio.to_thread(wait_for_port, port)
        yield port


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
    for _ in range(600):
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
    return all(found.get(kind) for kind in KINDS) and len(found[model.PRESENT]) >= 5


def board_settings(directory: Path, port: int, line: Path) -> dict:
    return {
        "port": str(line),
        "key_file": str(directory / "meter.key"),
        "schedule": {"present": 1, "registers": 2, "clock": 3},
        "broker": {
            "host": "127.0.0.1",
            "port": port,
            "client_id": "board",
            "credential_file": str(directory / "credential"),
        },
        "report_seconds": 1,
    }


def host_settings(directory: Path, port: int, line: Path) -> str:
    return (
        f'[gateway]\nid = "host"\n[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
        f"credential_file = {json.dumps(str(directory / 'credential'))}\n"
        f'[[meter]]\nname = "meter"\nport = {json.dumps(str(line))}\n'
        f"key_file = {json.dumps(str(directory / 'meter.key'))}\n"
        '[meter.schedule]\npresent = "1s"\nregisters = "2s"\nclock = "3s"\n'
    )


async def test_rows_of_the_board_equal_those_of_linux(application: Path, tmp_path: Path):
    tables = read_tables(ROOT / "tests/vectors/real_meter.json")
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1, firmware=fitting(tables, None))
    for table, data in tables.items():
        meter.image.keep(table, data)
    secret(tmp_path / "meter.key", KEY)
    secret(tmp_path / "credential", CREDENTIAL)
    line, database = tmp_path / "line", tmp_path / "readings.db"

    async with cloud(tmp_path) as port, pty_line(meter, link=line):
        settings = tmp_path / "board.json"
        settings.write_text(json.dumps(board_settings(tmp_path, port, line)))
        command = (micropython(), "-X", f"heapsize={HEAP}", "-m", "unix_main", str(settings))
        async with process(*command, cwd=application) as board:
            from_board = await stored(board, database, 0, enough)
            board.send_signal(signal.SIGINT)
            output, errors = await asyncio.wait_for(board.communicate(), 10)
        print(f"live heap on MicroPython, -X heapsize={HEAP}\n{output.decode()}{errors.decode()}")
        assert board.returncode == 0
        assert json.loads(output.decode().splitlines()[-1])["heapBytes"] > 0

        last = newest(database)
        (tmp_path / "host.toml").write_text(host_settings(tmp_path, port, line))
        command = (sys.executable, "-m", "gateway.host.cli", "run", "-c", str(tmp_path / "host.toml"))
        async with process(*command) as host:
            from_host = await stored(host, database, last, enough)

    for kind in KINDS:
        for reading in from_board[kind] + from_host[kind]:
            assert reading == from_host[kind][0], model.KIND_NAMES[kind]
    present = {name: (mantissa, exponent) for name, mantissa, exponent, *_ in from_board[model.PRESENT][0]}
    print(present)
