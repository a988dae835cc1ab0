"""The optical port as a user meets it: real processes, a virtual meter, both interpreters."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.host import cli
from gateway.transmission import registry
from tests.command_line import run_here
from tests.interpreter import ROOT, micropython
from tests.patience import PATIENCE_S

PASSWORD = "The meter's password"
# Sources are compiled on the heap, so this is more than a board has.
HEAP = "1m"
# Meter and gateway share a clock that runs five times as fast.
ENVIRONMENT = {**os.environ, "OSGP_TIME": "5", "COLUMNS": "100", "NO_COLOR": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gateway.host.cli", *map(str, arguments)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("optical")
    for name, text in (("password", PASSWORD), ("hex", PASSWORD.encode().hex()), ("wrong", "x" * 20)):
        (directory / name).write_text(text + "\n")
        (directory / name).chmod(0o600)
    return directory


@pytest.fixture(scope="module", params=["3.10", "4.30"])
def port(request: pytest.FixtureRequest, files: Path) -> Iterator[str]:
    line = ("--optical", "--listen", "pty", "--firmware", request.param, "--baud", "fast")
    process = subprocess.Popen(
        command("simulate", *line, "--password-file", files / "password"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        said = process.stdout.readline()
        assert said.startswith("listening on "), said + process.stderr.read()
        yield said.split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = run_here(arguments, ENVIRONMENT, scale=5)
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def read(port: str, file: Path, *what: str) -> subprocess.CompletedProcess[str]:
    return run("read", *what, "--port", port, "--optical", "--password-file", file, "--json")


def test_a_refused_password_is_told(port: str, files: Path):
    done = read(port, files / "wrong", "clock")
    assert done.returncode == 3
    assert "refused the password" in done.stderr


@pytest.mark.parametrize("port", ["4.30"], indirect=True)
def test_a_recording_holds_no_password(port: str, files: Path, tmp_path: Path):
    about = ("--port", port, "--optical", "--password-file", files / "password")
    done = run("record", "clock", *about, "-o", tmp_path / "recording")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "recording").read_text()
    assert '"protocol": "optical"' in text
    assert PASSWORD.encode().hex() not in text.replace('"}\n', "")
    shown = run("replay", tmp_path / "recording")
    assert shown.returncode == 0, shown.stderr
    assert "reading" in shown.stdout
    told = read(port, files / "password", "identity").stdout
    done = run("record", "identity", *about, "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    # Played under another password, on both kinds of lines.
    for listen in ("pty", "tcp:127.0.0.1:0"):
        player = subprocess.Popen(
            command("replay", tmp_path / "again", "--listen", listen, "--password-file", files / "wrong"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        try:
            played = player.stdout.readline().split()[-1]
            done = read(played, files / "wrong", "identity")
            assert done.returncode == 0, done.stderr
            assert [json.loads(done.stdout)["values"]] == [json.loads(told)["values"]]
            assert read(played, files / "password", "identity").returncode == 3
            unknown = read(played, files / "wrong", "registers")
            assert unknown.returncode != 0
        finally:
            player.send_signal(signal.SIGINT)
            _, complaints = player.communicate(timeout=PATIENCE_S)
        assert player.returncode == 0
        assert "not in the recording: reading" in complaints


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--optical"], "--optical needs --password-file"),
        (["--password-file", "password"], "add --optical"),
        (["--optical", "--password-file", "password", "--security", "rc4"], "for the MEP port"),
        (["--optical", "--password-file", "password", "--key-file", "hex"], "for the MEP port"),
        ([], "--key-file"),
    ],
)
def test_options_that_do_not_go_together(
    files: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    given = [str(files / word) if word in ("password", "hex") else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["osgp-gateway", "read", "clock", "--port", "/dev/null", *given])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_micropython_reads_the_same(port: str, files: Path):
    script = ROOT / "tests" / "firmware" / "optical_exercise.py"
    argument = PASSWORD.encode().hex()
    done = subprocess.run(
        [micropython(), "-X", f"heapsize={HEAP}", str(script), port, argument],
        capture_output=True, text=True, timeout=PATIENCE_S, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [kind for kind, _ in lines] == ["identity", "registers", "present"] * 2
    found = read(port, files / "hex", "registers")
    values = {value["property"]: value["value"] for value in json.loads(found.stdout)["values"]}
    board = {registry.name(prop): (mantissa, exponent) for prop, mantissa, exponent in lines[1][1]}
    assert set(board) == set(values)
    mantissa, exponent = board["OBIS_1.8.0"]
    assert 0 <= Decimal(values["OBIS_1.8.0"]) - Decimal(mantissa).scaleb(exponent) < 1
