"""The cloud's database goes back to an earlier copy while a gateway with its outbox on disk runs: what was
lost comes back by itself, and nothing is there twice. Real processes, time at a multiple."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from gateway.transmission.model import EVENT, LOAD_PROFILE, PRESENT, REGISTERS
from tests.brokers import free_port
from tests.cloud_toml import cloud_toml
from tests.patience import PATIENCE_S
from tests.processes import Program

GATEWAY = """\
[gateway]
state_dir = "{directory}/state"
[broker]
url = "mqtt://127.0.0.1:{port}"
credential_file = "{directory}/secret"
[[meter]]
name = "one"
port = "{meter}"
key_file = "{directory}/secret"
security = "rc4"
[meter.schedule]
registers = "1min"
events = "1min"
"""
KINDS = (LOAD_PROFILE, EVENT, REGISTERS, PRESENT)
SCALE = 60


def readings(database: Path) -> list[tuple[str, int]]:
    """Id and kind of all rows, of each revision."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            query = "SELECT meter_reading_identifier, kind FROM meter_reading"
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []  # not there, or just being replaced


def until(holds: Callable[[], bool], said: Callable[[], str], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


def counts(database: Path) -> dict[int, int]:
    kinds = [kind for _, kind in readings(database)]
    return {kind: kinds.count(kind) for kind in KINDS}


def generation(database: Path) -> tuple[bytes, int]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found: tuple[bytes, int] = connection.execute(
            "SELECT generation, since FROM custody_generation"
        ).fetchone()
    return found


def test_what_a_restore_took_away_comes_back_by_itself(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef")
    secret.chmod(0o600)
    port = free_port()
    database, backup = tmp_path / "readings.db", tmp_path / "backup.db"
    began = int(time.time())
    environment = {"OSGP_TIME": f"{SCALE}@{1000 * began}"}

    def now() -> float:
        return began + SCALE * (time.time() - began)

    configuration = cloud_toml(tmp_path, port)
    with ExitStack() as stack:

        def start(*arguments: object) -> Program:
            return stack.enter_context(Program(*arguments, environment=environment))

        meter = start(
            *("gateway.host.cli", "simulate", "--key-file", secret, "--baud", "fast", "--history", "3")
        )
        cloud = start("omdp_cloud.cli", "serve", "-c", configuration)
        address = meter.expect("listening on (.*)")[1]
        (tmp_path / "gateway.toml").write_text(GATEWAY.format(port=port, directory=tmp_path, meter=address))
        gateway = start("gateway.host.cli", "run", "-c", tmp_path / "gateway.toml")

        def said() -> str:
            return f"{counts(database)}\n{gateway.said()}\n{cloud.said()}"

        until(lambda: all(counts(database)[kind] for kind in (LOAD_PROFILE, REGISTERS, PRESENT)), said)
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        copied = now()
        then, first = counts(backup), generation(backup)
        until(
            lambda: all(counts(database)[kind] > then[kind] for kind in (LOAD_PROFILE, REGISTERS, PRESENT)),
            said,
        )
        before = {identifier for identifier, _ in readings(database)}
        shutil.copyfile(backup, database)
        cloud.expect("was restored, replaced or deleted")
        until(lambda: generation(database) != first, said)
        until(lambda: before <= {identifier for identifier, _ in readings(database)}, said)
        # What had its receipt when the copy was made is told, by the clock of all: to be read from there on.
        _, since = generation(database)
        assert began < since <= copied
        assert gateway.end() == 0, gateway.said()
        assert cloud.end() == 0, cloud.said()
    stored = [identifier for identifier, _ in readings(database)]
    assert before <= set(stored)
    assert len(stored) == len(set(stored)), "a reading is there twice"
