"""The command line as a user meets it: real processes, a virtual meter, exit codes and messages."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.brokers import free_port
from tests.command_line import run_here
from tests.patience import PATIENCE_S

KEY = "ABCDEFGHIJKLMNOPQRST"
WRONG_KEY = "0123456789abcdef0123456789abcdef"
# Meter and gateway share a clock that runs five times as fast.
ENVIRONMENT = {**os.environ, "OSGP_TIME": "5", "COLUMNS": "100", "NO_COLOR": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gateway.host.cli", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    text = run_here(arguments, ENVIRONMENT, scale=5)
    for secret in (KEY, KEY[:16], WRONG_KEY):
        assert secret not in text.stdout + text.stderr
    assert "Traceback" not in text.stderr, text.stderr
    return text


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cli")
    for name, text in (("key", KEY), ("wrong-key", WRONG_KEY), ("open-key", KEY)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o644 if name == "open-key" else 0o600)
    return directory


@contextmanager
def listening(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that says where it listens, until the context ends; it must end well then."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), line + process.stderr.read()
        yield process, line.split()[2]
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said


@pytest.fixture(scope="module")
def meter(files: Path) -> Iterator[str]:
    with listening(
        "simulate", "--listen", "tcp:127.0.0.1:0", "--key-file", files / "key", "--baud", "fast"
    ) as (
        _,
        address,
    ):
        yield address


def test_read_as_json_is_one_object_per_kind(meter: str, files: Path):
    kinds = ["identity", "registers", "present", "clock"]
    done = run("read", *kinds, "--port", meter, "--key-file", files / "key", "--json")
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["kind"] for entry in objects] == kinds
    for entry in objects:
        assert set(entry) == {"kind", "meterId", "serial", "readingTime", "values"}
        assert entry["meterId"] == objects[0]["meterId"] and entry["serial"] == objects[0]["serial"]
        for value in entry["values"]:
            assert {"property", "value", "unit"} <= set(value)
            assert isinstance(value["value"], str)
    values = {value["property"]: value for value in objects[1]["values"]}
    assert values["OBIS_1.8.0"]["unit"] in ("Wh", "kWh")
    float(values["OBIS_1.8.0"]["value"])


def test_read_as_a_table_and_encrypted(meter: str, files: Path):
    kinds = ("identity", "clock", "registers", "present")
    done = run("read", *kinds, "--port", meter, "--key-file", files / "key", "--security", "rc4")
    assert done.returncode == 0, done.stderr
    for word in (*kinds, "OBIS_1.8.0", "OBIS_32.7.0"):
        assert word in done.stdout


def test_a_real_meters_tables_come_out_as_they_stand_in_the_file(files: Path):
    tables = Path(__file__).parents[1] / "vectors" / "real_meter.json"
    with listening(
        "simulate",
        "--listen",
        "tcp:127.0.0.1:0",
        "--key-file",
        files / "key",
        "--tables",
        tables,
        "--baud",
        "fast",
    ) as (_, address):
        done = run("read", "registers", "present", "--port", address, "--key-file", files / "key", "--json")
    assert done.returncode == 0, done.stderr
    values = {
        value["property"]: (value["value"], value["unit"])
        for line in done.stdout.splitlines()
        for value in json.loads(line)["values"]
    }
    assert as_base(values["OBIS_1.8.0"]) == (65845343, "Wh")
    assert as_base(values["OBIS_1.7.0"]) == (431, "W")
    assert as_base(values["OBIS_32.7.0"]) == (228315, "mV")


def as_base(value: tuple[str, str]) -> tuple[int, str]:
    """A decimal with its unit in the unit the meter counts in."""
    from decimal import Decimal

    factor, unit = {"kWh": (1000, "Wh"), "kW": (1000, "W"), "V": (1000, "mV")}.get(value[1], (1, value[1]))
    return int(Decimal(value[0]) * factor), unit


def test_wrong_key(meter: str, files: Path):
    done = run("read", "identity", "--port", meter, "--key-file", files / "wrong-key")
    assert done.returncode == 3
    assert "refused the key" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_key_file_that_others_may_read(files: Path):
    done = run("read", "identity", "--port", "tcp://127.0.0.1:1", "--key-file", files / "open-key")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"chmod 600 {files / 'open-key'}" in done.stderr


def test_a_key_that_is_none(files: Path, tmp_path: Path):
    (tmp_path / "short").write_text("ABC")
    (tmp_path / "short").chmod(0o600)
    done = run("read", "identity", "--port", "tcp://127.0.0.1:1", "--key-file", tmp_path / "short")
    assert done.returncode == 2 and "16 or 20 ASCII characters" in done.stderr


@pytest.mark.parametrize(
    ("port", "reason"),
    [("/dev/ttyNONE", "no such port"), ("tcp://nowhere.invalid:1", "was not found")],
)
def test_wrong_port(port: str, reason: str, files: Path):
    done = run("read", "identity", "--port", port, "--key-file", files / "key")
    assert done.returncode == 3 and reason in done.stderr


def test_nothing_listens(files: Path):
    done = run("read", "identity", "--port", f"tcp://127.0.0.1:{free_port()}", "--key-file", files / "key")
    assert done.returncode == 3 and "connection refused" in done.stderr


@contextmanager
def talker(answer: bytes, hang_up: bool = False) -> Iterator[tuple[str, threading.Event]]:
    """Something on TCP that gives `answer` to whatever it is sent; the event says that it was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = threading.Event()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while client.recv(4096) and not hang_up:
                    asked.set()
                    client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "did not answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no MEP answer"),
        (b"\x00\x10" + b"nonsense" * 2, "digest does not fit"),
    ],
    ids=["silence", "garbage", "unproven"],
)
def test_a_line_that_is_no_meter(answer: bytes, reason: str, files: Path):
    with talker(answer) as (address, _):
        done = run("read", "identity", "--port", address, "--key-file", files / "key")
    assert done.returncode == 3 and reason in done.stderr, done.stderr


def test_a_line_that_goes_away(files: Path):
    with talker(b"", hang_up=True) as (address, _):
        done = run("read", "identity", "--port", address, "--key-file", files / "key")
    assert done.returncode == 3 and "closed the connection" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["read", "identity"], "--port PORT, or with -c"),
        (["read", "identity", "--port", "/dev/x", "--meter", "house"], "leave it out"),
        (["read", "everything", "--port", "/dev/x", "--key-file", "x"], "no reading is called everything"),
        (["read", "identity", "--port", "COM1", "--key-file", "x"], "tcp://host:port"),
        (["run", "-c", "absent.toml"], "no such file"),
        (["check", "-c", "absent.toml"], "no such file"),
        (["check"], "-c FILE"),
        (["replay", "absent.jsonl"], "can't read the recording"),
        (["decode", "absent.frame"], "no such file"),
        (["frobnicate"], "No such command"),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str):
    done = run(*arguments)
    assert done.returncode == 2 and reason in done.stderr, done.stderr


def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0
    listed = re.findall(r"^│ ([a-z-]+) ", done.stdout.partition("Commands")[2], re.MULTILINE)
    assert listed[:4] == ["read", "run", "check", "status"]
    assert {"simulate", "decode", "demo", "record", "replay", "backfill", "outbox"} < set(listed)
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("osgp-gateway ")


CONFIGURATION = """\
[broker]
url = "mqtt://127.0.0.1:1883"
credential_file = "key"

[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "key"
"""


def test_check_of_a_sound_and_of_a_broken_file(files: Path):
    (files / "good.toml").write_text(CONFIGURATION)
    done = run("check", "-c", files / "good.toml")
    assert done.returncode == 0, done.stderr
    assert "is sound" in done.stdout and "20 ASCII characters" in done.stdout
    (files / "bad.toml").write_text(CONFIGURATION.replace("name =", "nmae =").replace("1883", "x"))
    done = run("check", "-c", files / "bad.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 3
    assert "did you mean name?" in done.stderr and "broker.url" in done.stderr


def test_check_prints_the_schema():
    done = run("check", "--schema")
    assert done.returncode == 0 and "meter" in json.loads(done.stdout)["properties"]


def test_record_then_replay_under_another_key(meter: str, files: Path, tmp_path: Path):
    recording = tmp_path / "line.jsonl"
    done = run(
        "record", "identity", "registers", "-o", recording, "--port", meter, "--key-file", files / "key"
    )
    assert done.returncode == 0 and f"recorded to {recording}" in done.stderr, done.stderr
    assert KEY not in recording.read_text() and KEY[:16].encode().hex() not in recording.read_text()
    done = run("replay", recording)
    assert done.returncode == 0 and "reading " in done.stdout
    with listening("replay", recording, "--listen", "tcp:127.0.0.1:0", "--key-file", files / "wrong-key") as (
        _,
        address,
    ):
        options = ["--key-file", files / "wrong-key", "--json"]
        again = run("read", "identity", "registers", "--port", address, *options)
    assert again.returncode == 0, again.stderr
    said = [json.loads(line) for line in again.stdout.splitlines()]
    assert [entry["kind"] for entry in said] == ["identity", "registers"]


def test_a_recording_of_a_failure_is_kept(files: Path, tmp_path: Path):
    recording = tmp_path / "silence.jsonl"
    with talker(b"") as (address, _):
        done = run("record", "identity", "-o", recording, "--port", address, "--key-file", files / "key")
    assert done.returncode == 3
    assert recording.read_text().count('"sent"') == 3


def test_ctrl_c_ends_a_read_with_130_and_without_a_traceback(files: Path):
    with talker(b"") as (address, asked):
        process = subprocess.Popen(
            command("read", "identity", "--port", address, "--key-file", files / "key"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, "OSGP_TIME": "1"},
        )
        assert asked.wait(PATIENCE_S)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and b"Traceback" not in said, said
