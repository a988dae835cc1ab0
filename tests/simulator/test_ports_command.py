"""`simulate` with several ports, bad lines and haste: what a process does, and what wrong options get."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from c1218.connection import Connection

from gateway.errors import ConfigurationError
from gateway.simulator.command import simulate
from gateway.simulator.optical_session import read_password_file
from tests.mep_probe import KEY, opened, read_message, request
from tests.optical_probe import PASSWORD
from tests.patience import PATIENCE_S
from tests.simulator.test_optical_termineter import LINE

ROOT = Path(__file__).parents[2]
RUN = "import typer; from gateway.simulator.command import simulate; typer.run(simulate)"
START = "2024-02-01T00:00:00Z"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {"key_file": tmp_path / "key", "password_file": tmp_path / "password"}
    made["key_file"].write_text(KEY.hex())
    made["password_file"].write_bytes(PASSWORD)
    return made


@pytest.fixture
def start(files: dict[str, Path]) -> Iterator[Start]:
    started = []

    def launch(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUN, "--baud", "fast", "--start", START, *options]
        for name, file in files.items():
            command += ["--" + name.replace("_", "-"), str(file)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
        assert process.returncode == 0


def address(process: subprocess.Popen[str], name: str = "") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(name + "listening on "), line
    return line.split()[-1]


class MepLine:
    """A client of a TCP line that reads with digests."""

    def __init__(self, where: str) -> None:
        host, port = where.removeprefix("tcp://").split(":")
        self.socket = socket.create_connection((host, int(port)), 10)
        self.number = 1

    def read(self, table: int, offset: int, count: int) -> bytes:
        while True:
            frame = request(read_message(table, offset, count), self.number)
            self.socket.sendall(frame)
            length = self._take(2)
            message = opened(length + self._take(int.from_bytes(length, "big")), frame)
            if message[0] == 0:
                self.number += 1
                return message[3:]
            assert message[0] == 0x0C
            self.number = int.from_bytes(message[1:], "big") + 1

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += self.socket.recv(count - len(data))
        return data


@pytest.fixture
def mep() -> Iterator[Callable[[str], MepLine]]:
    lines = []

    def connect(where: str) -> MepLine:
        lines.append(MepLine(where))
        return lines[-1]

    yield connect
    for line in lines:
        line.socket.close()


def test_two_mep_ports_and_the_optical_port_of_one_meter(start: Start, mep: Callable[[str], MepLine]) -> None:
    options = "--firmware", "4.30", "--second-listen", "tcp:127.0.0.1:0", "--optical-listen", "pty"
    process = start(*options)
    first, second = mep(address(process)), mep(address(process, "second port "))
    optical = Connection(address(process, "optical port "), serial_settings=LINE)
    assert first.read(2118, 142, 1) == b"\x01"
    assert second.read(2118, 142, 1) == b"\x02"
    assert optical.start()
    assert optical.login("tester", 7, PASSWORD.decode())
    assert optical.get_table_data(2118, octetcount=1, offset=142) == b"\x00"
    optical.set_table_data(2051, b"one meter", offset=0)
    assert first.read(2051, 0, 9) == second.read(2051, 0, 9) == b"one meter"
    optical.close()


def test_haste(start: Start, mep: Callable[[str], MepLine]) -> None:
    meter = mep(address(start("--speed", "10000")))
    begun = int.from_bytes(meter.read(52, 1, 4), "little")
    while int.from_bytes(meter.read(52, 1, 4), "little") - begun < 3 * 3600:
        pass  # three hours pass in a second


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"security": "ssl"}, "rc4, tls, both"),
        ({"security": "tls"}, "4.10 or later"),
        ({"second_listen": "pty"}, "firmware 3.80 has 1"),
        ({"optical": True}, "--password-file"),
        ({"optical_listen": "pty"}, "--password-file"),
        ({"first_packet": "eaten", "password_file": "password_file"}, "nak, lost, heard"),
        ({"fault": "bend=1%"}, "--fault bend=1%"),
        ({"fault": "lose=200%"}, "--fault lose=200%"),
    ],
)
def test_wrong_options_are_named(files: dict[str, Path], options: dict[str, object], part: str) -> None:
    options = {name: files.get(str(value), value) for name, value in options.items()}
    with pytest.raises(ConfigurationError) as caught:
        simulate(key_file=files["key_file"], **options)
    assert part in str(caught.value)


def test_a_missing_tls_library_is_named(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mbedtls.tls", None)
    with pytest.raises(ConfigurationError, match="pip install python-mbedtls"):
        simulate(key_file=files["key_file"], firmware="4.30", security="tls")


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("short", b"short"),
        ("exactly twenty chars\n", b"exactly twenty chars"),
        (
            "00112233445566778899AABBCCDDEEFF01020304",
            bytes.fromhex("00112233445566778899aabbccddeeff01020304"),
        ),
    ],
)
def test_passwords_in_files(text: str, password: bytes, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    assert read_password_file(file) == password


@pytest.mark.parametrize("text", ["", "x" * 21, "z" * 40, "ä", "tab\there"])
def test_no_other_password_is_taken_and_none_is_shown(text: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        read_password_file(file)
    assert str(file) in str(refused.value)
    assert not text or text not in str(refused.value)


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_password_file(tmp_path / "nowhere")
