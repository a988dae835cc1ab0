"""The gateway is killed again and again while it reads what a meter has stored: all comes, and once."""

import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

from tests.brokers import free_port
from tests.cloud_toml import cloud_toml
from tests.patience import PATIENCE_S
from tests.processes import Program

PROFILE = 5
DAYS = 8
INTERVAL_S = 900
KILLS = 2
FAST = {"OSGP_TIME": "10"}

CONFIGURATION = """\
[gateway]
id = "killed"
state_dir = "{directory}/state"
[outbox]
sync = "1s"
[broker]
url = "mqtt://127.0.0.1:{port}"
credential_file = "{directory}/secret"
[[meter]]
name = "meter"
port = "{meter}"
key_file = "{directory}/secret"
"""


def intervals(database: Path) -> list[tuple[int, int]]:
    """(time, revision) of each row."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(
                "SELECT time, revision FROM meter_reading WHERE kind = ? ORDER BY time", (PROFILE,)
            ).fetchall()
    except sqlite3.OperationalError:
        return []  # not there yet


def wait_for(database: Path, count: int, *programs: Program) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(intervals(database)) < count:
        assert time.monotonic() < deadline, "\n".join(program.said() for program in programs)
        time.sleep(0.02)


def test_nothing_is_missing_or_doubled(tmp_path: Path):
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "secret").chmod(0o600)
    port = free_port()
    database = tmp_path / "readings.db"
    with ExitStack() as stack:
        meter = stack.enter_context(
            Program(
                *("gateway.host.cli", "simulate", "--serial", "4444", "--key-file", tmp_path / "secret"),
                *("--baud", "fast", "--history", DAYS),
                environment=FAST,
            )
        )
        file = tmp_path / "gateway.toml"
        address = meter.expect("listening on (.*)")[1]
        file.write_text(CONFIGURATION.format(port=port, directory=tmp_path, meter=address))
        configuration = cloud_toml(tmp_path, port)
        cloud = stack.enter_context(Program("omdp_cloud.cli", "serve", "-c", configuration, environment=FAST))
        whole = DAYS * 86400 // INTERVAL_S
        for kill in range(KILLS):
            with Program("gateway.host.cli", "run", "-c", file, environment=FAST) as gateway:
                wait_for(database, whole * (kill + 1) // (KILLS + 3), gateway, cloud)
                gateway.process.kill()
        before = len(intervals(database))
        with Program("gateway.host.cli", "run", "-c", file, environment=FAST) as gateway:
            wait_for(database, whole, gateway, cloud)
            assert gateway.end() == 0, gateway.said()
        assert cloud.end() == 0, cloud.said()
    found = intervals(database)
    assert before < whole, "it was killed after the backfill"
    times = [at for at, _ in found]
    assert times == list(range(times[0], times[0] + INTERVAL_S * len(times), INTERVAL_S))
    assert all(revision == 0 for _, revision in found)
