"""An independent C12.18 client, the one inside termineter, reads and writes the virtual meter."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from c1218.connection import Connection
from c1218.errors import C1218ReadTableError, C1218WriteTableError

from tests.optical_probe import PASSWORD, READ_ONLY_PASSWORD
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
RUN = "import typer; from gateway.simulator.command import simulate; typer.run(simulate)"
SERIAL = "0123456789"
LINE = {
    "parity": "N",
    "baudrate": 9600,
    "bytesize": 8,
    "xonxoff": False,
    "interCharTimeout": None,
    "rtscts": False,
    "timeout": 10,
    "stopbits": 1,
    "dsrdtr": False,
    "writeTimeout": None,
}


@pytest.fixture(params=["3.10", "4.30"])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A meter in a process of its own; where to find its optical port."""
    options = ["--optical", "--listen", "pty", "--baud", "fast", "--firmware", request.param]
    for option, password in (
        ("--password-file", PASSWORD),
        ("--read-only-password-file", READ_ONLY_PASSWORD),
    ):
        file = tmp_path / option.strip("-")
        file.write_bytes(password + b"\n")
        options += [option, str(file)]
    command = [sys.executable, "-c", RUN, *options, "--serial", SERIAL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    yield process.stdout.readline().removeprefix("listening on ").strip()
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    process.stdout.close()


@pytest.fixture
def connect(terminal: str) -> Iterator[object]:
    opened = []

    def connection(password: bytes, pktsize: int = 256, nbrpkts: int = 16) -> Connection:
        negotiated = {"pktsize": pktsize, "nbrpkts": nbrpkts}
        made = Connection(terminal, c1218_settings=negotiated, serial_settings=LINE, enable_cache=False)
        opened.append(made)
        assert made.start()
        assert made.login("tester", 7, password.decode())
        return made

    yield connection
    for made in opened:
        made.close(force_stop=True)


def test_a_session(connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "c1218")
    meter = connect(PASSWORD)
    assert meter.get_table_data(1)[:4] == b"ELON"
    assert meter.get_table_data(2051)[:11] == SERIAL.encode() + b"\0"
    registers = meter.get_table_data(23)
    assert len(registers) > 64  # several packets would be needed without negotiation
    assert len(meter.get_table_data(23, octetcount=8, offset=4)) == 8
    assert meter.stop()


def test_answers_in_many_packets(connect) -> None:
    meter = connect(PASSWORD, pktsize=64, nbrpkts=60)
    whole = meter.get_table_data(2064)
    assert len(whole) > 2000
    assert meter.get_table_data(2064, octetcount=200, offset=700) == whole[700:900]
    assert meter.stop()


def test_write_and_procedure(connect) -> None:
    meter = connect(PASSWORD)
    meter.set_table_data(2051, b"written through the eye", offset=0)
    assert meter.get_table_data(2051, octetcount=30, offset=0).startswith(b"written through the eye")
    result, data = meter.run_procedure(17, True, b"\x00\x01\x00")
    assert result == 0
    assert len(data) == 12
    assert meter.stop()


def test_a_read_only_key(connect) -> None:
    meter = connect(READ_ONLY_PASSWORD)
    assert meter.get_table_data(23)
    with pytest.raises(C1218WriteTableError, match="Insufficient Security Clearance"):
        meter.set_table_data(2051, b"no", offset=0)
    with pytest.raises(C1218ReadTableError, match="Insufficient Security Clearance"):
        meter.get_table_data(4)
    assert meter.stop()


def test_a_wrong_key(terminal: str) -> None:
    meter = Connection(terminal, serial_settings=LINE)
    assert meter.start()
    assert not meter.login("tester", 7, "not the key")
    with pytest.raises(C1218ReadTableError, match="Insufficient Security Clearance"):
        meter.get_table_data(23)
    meter.close()
