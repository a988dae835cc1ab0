"""`simulate` as a process: the line it prints, its ends, and what it says to wrong options."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.simulator import command
from gateway.simulator.calendar import DAY_MS
from gateway.simulator.command import simulate
from gateway.simulator.security import parse_key
from tests.mep_probe import KEY, opened, read_message, request
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
RUN = "import typer; from gateway.simulator.command import simulate; typer.run(simulate)"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(KEY.hex() + "\n")
    return file


@pytest.fixture
def running(key_file: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(
    running: list[subprocess.Popen[str]], key_file: Path, *options: str
) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "--key-file", str(key_file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    running.append(process)
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(r"listening on (\S+)\n", line)
    assert match, line
    return process, match[1]


def ask(address: str, table: int) -> bytes:
    """The meter's answer to a read of a whole table."""
    port = int(address.removeprefix("tcp://127.0.0.1:"))
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as line, line.makefile("rb") as reader:
        number = 1
        while True:
            frame = request(read_message(table), number)
            line.sendall(frame)
            length = reader.read(2)
            message = opened(length + reader.read(int.from_bytes(length, "big")), frame)
            if message[0] != 0x0C:
                return message
            number = int.from_bytes(message[1:], "big") + 1


def test_tcp_process(running: list[subprocess.Popen[str]], key_file: Path) -> None:
    real = ROOT / "tests" / "vectors" / "real_meter.json"
    process, address = start(running, key_file, "--tables", str(real), "--baud", "fast")
    message = ask(address, 23)
    assert int.from_bytes(message[3:7], "little") == 65845343
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0


def test_several_meters_in_a_process(running: list[subprocess.Popen[str]], key_file: Path) -> None:
    process, first = start(running, key_file, "--count", "3", "--baud", "fast")
    assert process.stdout is not None
    others = [process.stdout.readline().removeprefix("listening on ").strip() for _ in range(2)]
    nameplates = {ask(address, 2051) for address in (first, *others)}  # ET03 has the serial number
    assert len(nameplates) == 3


def test_truth_is_written_at_the_end(
    running: list[subprocess.Popen[str]], key_file: Path, tmp_path: Path
) -> None:
    truth, life = tmp_path / "truth.json", tmp_path / "life.json"
    life.write_text('[{"at": "2024-06-13T01:00:00Z", "do": "cut_power", "with": [600]}]')
    options = ("--start", "2024-06-14T00:00:00Z", "--history", "1", "--serial", "4711", "--life", str(life))
    process, _ = start(running, key_file, *options, "--truth", str(truth), "--firmware", "4.30")
    assert json.loads(truth.read_text())["run"][:10] == "2024-06-14"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0
    told = json.loads(truth.read_text())
    who = told["identity"]
    assert (who["serial"], who["firmware"], who["version"]) == ("4711", "4.30", [4, 30, 6])
    assert told["outages"] == [
        {"start": "2024-06-13T01:00:00Z", "end": "2024-06-13T01:10:00Z", "in_meter": True}
    ]
    assert len(told["load_profile"]["intervals"]) == 96
    assert list(tmp_path.glob("truth*")) == [truth]


def test_the_past_is_lived_before_anyone_can_connect(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meters = []

    class Kept(command.VirtualMeter):
        def __init__(self, *keys, **options) -> None:
            super().__init__(*keys, **options)
            meters.append(self)

    async def served(*_arguments: object) -> None:
        (meter,) = meters
        assert meter.life.now_ms - meter.world.start_ms >= 2 * DAY_MS
        assert len(meter.life.recorded()) == 2 * 96

    monkeypatch.setattr(command, "VirtualMeter", Kept)
    monkeypatch.setattr(command, "_serve", served)
    simulate(key_file=key_file, history=2, start="2024-06-14T00:00:00Z")
    assert meters


def test_truth_is_written_now_and_then(
    running: list[subprocess.Popen[str]],
    key_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is killed has told, a moment ago."""
    monkeypatch.setenv("OSGP_TIME", "600")
    truth = tmp_path / "truth.json"
    process, _ = start(running, key_file, "--truth", str(truth), "--history", "2", "--profile-sets", "2")
    deadline = time.monotonic() + PATIENCE_S
    first = truth.stat().st_mtime_ns
    while truth.stat().st_mtime_ns == first:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    told = json.loads(truth.read_text())
    intervals = told["load_profile"]["intervals"]
    assert len(intervals) >= 2 * 96 and len(intervals[0]["values"]) == 4


def test_pty_process_is_pulled_and_plugged_by_signals(
    running: list[subprocess.Popen[str]], key_file: Path, tmp_path: Path
) -> None:
    link = tmp_path / "ttyUSB0"
    process, address = start(running, key_file, "--listen", "pty", "--link", str(link), "--firmware", "2.0")
    assert address == str(link)
    os.close(os.open(link, os.O_RDWR | os.O_NOCTTY))
    for number, there in ((signal.SIGUSR1, False), (signal.SIGUSR2, True)):
        process.send_signal(number)
        deadline = time.monotonic() + PATIENCE_S
        while link.exists() is not there:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    os.close(os.open(link, os.O_RDWR | os.O_NOCTTY))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"listen": "udp:1"}, "tcp:HOST:PORT or pty"),
        ({"listen": "tcp:127.0.0.1:99999"}, "tcp:HOST:PORT or pty"),
        ({"baud": "1234"}, "--baud 1234"),
        ({"baud": "soon"}, "--baud soon"),
        ({"start": "yesterday"}, "--start yesterday"),
        ({"firmware": "5.0"}, "firmware 5.0"),
        ({"summations": 12}, "11, 15 or 19"),
        ({"tables": Path("nowhere.json")}, "nowhere.json"),
        ({"life": "nowhere.json"}, "nowhere.json"),
        ({"count": 2, "listen": "pty"}, "--count 2 needs as many TCP ports"),
        ({"count": 2, "serial": "1"}, "--serial is for a single meter"),
        ({"truth_file": Path("nowhere/truth.json")}, "nowhere/truth.json: No such file or directory"),
    ],
)
def test_wrong_options_are_named(key_file: Path, options: dict[str, object], part: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        simulate(key_file=key_file, **options)
    assert part in str(caught.value)


def test_a_port_in_use_is_named(key_file: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="port %d" % number):
            simulate(listen="tcp:127.0.0.1:%d" % number, key_file=key_file)


def test_no_key_is_said() -> None:
    with pytest.raises(ConfigurationError, match="--key-file"):
        simulate()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ABCDEFGHIJKLMNOP", b"ABCDEFGHIJKLMNOP"),
        ("ABCDEFGHIJKLMNOPQRST\n", b"ABCDEFGHIJKLMNOP"),
        ("00112233445566778899aabbccddeeff", bytes.fromhex("00112233445566778899aabbccddeeff")),
        ("00112233445566778899AABBCCDDEEFF01020304", bytes.fromhex("00112233445566778899aabbccddeeff")),
    ],
)
def test_keys_as_utilities_hand_them_out(text: str, key: bytes) -> None:
    assert parse_key(text) == key


@pytest.mark.parametrize("text", ["", "short", "x" * 17, "g" * 32, "zz" * 20, "ä" * 16, "a\tb" + "c" * 13])
def test_no_other_key_is_taken_and_none_is_shown(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        parse_key(text)
    assert not text or text not in str(caught.value)
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        simulate(key_file=file)
    assert str(file) in str(refused.value)
    assert not text or text not in str(refused.value)
