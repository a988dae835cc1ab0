"""Commands the whole way: the owner's command line, broker, gateway, meter, and the result that is stored."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway.transmission import ids, model
from omdp_cloud.command_line import run
from omdp_cloud.config import load
from tests.brokers import free_port, wait_for_port
from tests.cloud_toml import cloud_toml
from tests.patience import PATIENCE_S
from tests.processes import Program

METER = ids.meter_individual_id("ELON", "1111")
SECRETS = {"secret": "0123456789abcdef" * 2, "owner": "known to the owner alone", "stranger": "guessed"}

GATEWAY = """\
[gateway]
state_dir = "state"
[broker]
url = "mqtt://127.0.0.1:{port}"
credential_file = "secret"
[commands]
credential_file = "owner"
allow = ["read-now", "backfill", "set-interval", "self-test"]
[[meter]]
name = "house"
port = "{address}"
key_file = "secret"
[meter.schedule]
present = "1min"
"""


class House:
    """A meter, its gateway and the cloud as processes."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        for name, secret in SECRETS.items():
            (directory / name).write_text(secret)
            (directory / name).chmod(0o600)
        port = free_port()
        for name in ("owner", "stranger"):
            commands = f'[commands]\ncredential_file = "{directory}/{name}"\n'
            cloud_toml(directory, port, name=f"{name}.toml", more=commands)
        meter = stack.enter_context(
            Program(
                *("gateway.host.cli", "simulate", "--serial", "1111", "--baud", "fast"),
                *("--key-file", directory / "secret"),
            )
        )
        address = meter.expect("listening on (.*)")[1]
        (directory / "gateway.toml").write_text(GATEWAY.format(port=port, address=address))
        self.cloud = stack.enter_context(Program("omdp_cloud.cli", "serve", "-c", directory / "owner.toml"))
        wait_for_port(port, alive=self.cloud.process)
        self.gateway = stack.enter_context(
            Program("gateway.host.cli", "run", "-c", directory / "gateway.toml")
        )

    def command(self, line: str, who: str = "owner", wait: float = PATIENCE_S) -> int:
        action, *words = line.split()
        return asyncio.run(
            run(load(self.directory / f"{who}.toml"), ids.format_uuid(METER), action, words, wait)
        )

    def select(self, query: str, *values: object) -> list[tuple]:
        with closing(sqlite3.connect(f"file:{self.directory}/readings.db?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def last(self) -> tuple[int, str]:
        """Status and text of the newest command."""
        return self.select("SELECT status, text FROM command ORDER BY number DESC LIMIT 1")[0]

    def count(self, kind: int) -> int:
        return self.select("SELECT count(*) FROM meter_reading WHERE kind = ?", kind)[0][0]

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.gateway.said() + self.cloud.said()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory):
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("commands"), stack)


def test_each_command_is_done_and_its_result_stored(house: House, capsys: pytest.CaptureFixture[str]):
    program = (sys.executable, "-m", "omdp_cloud.cli", "command", ids.format_uuid(METER), "self-test")
    done = subprocess.run(
        (*program, "--wait", str(PATIENCE_S), "-c", str(house.directory / "owner.toml")),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr + house.gateway.said()
    assert done.stdout.startswith("done: ELON 1111 answers within")
    house.wait_for(lambda: house.count(model.CLOCK))
    before = house.count(model.CLOCK)
    assert house.command("read-now clock") == 0
    house.wait_for(lambda: house.count(model.CLOCK) > before)
    assert house.command("backfill load-profile 2024-07-01 2024-07-02") == 0
    assert house.command("set-interval present 2min") == 0
    assert house.command("set-interval present 1ms") == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == ["done", "done", "done", "failed"]
    stored = house.select("SELECT arguments, status, text FROM command WHERE status < 2 ORDER BY number")
    assert [(json.loads(arguments), status) for arguments, status, _ in stored] == [
        ([], 0),
        ([model.CLOCK], 0),
        ([model.LOAD_PROFILE, 1719792000, 1719878400], 0),
        ([model.PRESENT, 120_000], 0),
        ([model.PRESENT, 1], 1),
    ]
    assert [line.split(": ", 1)[1] for line in said] == [text for _, _, text in stored[1:]]


def test_who_does_not_know_the_secret_gets_no_answer(house: House, capsys: pytest.CaptureFixture[str]):
    assert house.command("self-test", who="stranger", wait=1) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "no result within 1 s" in said.err
    for secret in SECRETS.values():
        assert secret not in said.err + house.gateway.said() + house.cloud.said()


def test_a_result_that_nobody_waited_for_is_stored_too(house: House, capsys: pytest.CaptureFixture[str]):
    house.gateway.process.send_signal(signal.SIGSTOP)
    try:
        assert house.command("read-now present", wait=1) == 1
    finally:
        house.gateway.process.send_signal(signal.SIGCONT)
    assert "what still comes is stored" in capsys.readouterr().err
    house.wait_for(lambda: house.last() == (0, "present: read"))
