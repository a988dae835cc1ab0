"""What is around a board that was flashed: its meter, a TLS broker, and the cloud behind that."""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from flashing.application import Application

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests.board import CREDENTIAL, KEY, process, secret
from tests.brokers import NatsServer
from tests.certificates import Authority
from tests.cloud_toml import cloud_toml
from tests.firmware.test_unix_port import rows
from tests.flashed_board import StartedBoard, built, flashed_board
from tests.patience import PATIENCE_S

WIFI = "a word for the radio"


def gateway_toml(directory: Path, url: str, board: str = "") -> Path:
    """What is flashed, with files that `World` makes. `board`: more lines of that section."""
    file = directory / "gateway.toml"
    authority = 'ca_file = "ca.pem"' if url.startswith("mqtts:") else ""
    file.write_text(
        f"""\
[gateway]
id = "board"
[broker]
url = "{url}"
{authority}
credential_file = "credential"
[board]
wifi_ssid = "at home"
wifi_password_file = "wifi.password"
ntp = "127.0.0.1"
{board}
[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
"""
    )
    return file


class World:
    """`directory`: of all files, with `gateway.toml` and what it names; `database`: the cloud's. `tls`:
    whether to the broker."""

    def __init__(self, directory: Path, tls: bool = True) -> None:
        self.directory = directory
        self.authority = Authority()
        certificate = self.authority.issue(directory, "127.0.0.1") if tls else None
        self.broker = NatsServer(directory / "broker", certificate=certificate)
        self.database = directory / "readings.db"
        self.line = directory / "line"
        secret(directory / "meter.key", KEY)
        secret(directory / "wifi.password", WIFI)
        secret(directory / "credential", CREDENTIAL)
        (directory / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(self.authority.der))

    def gateway_toml(self, board: str = "") -> Path:
        return gateway_toml(self.directory, self.broker.url, board)

    @contextlib.asynccontextmanager
    async def at_work(self, environment: dict[str, str] | None = None) -> AsyncIterator["World"]:
        """With broker and cloud."""
        file = cloud_toml(self.directory, self.broker.url, "credential")
        with self.broker:
            command = (sys.executable, "-m", "omdp_cloud.cli", "serve", "-c", str(file))
            async with process(*command, environment=environment) as child:
                assert child.stdout
                async with asyncio.timeout(PATIENCE_S):
                    line = await child.stdout.readline()
                if not line:
                    assert child.stderr
                    pytest.fail((await child.stderr.read()).decode())
                yield self

    async def stored(self, *kinds: int) -> bool | None:
        """Whether a reading of each of these kinds is in the database; None where not."""
        return set(kinds) <= set(rows(self.database)) or None


async def reads_and_stores(
    directory: Path, partitions: tuple, build: Callable[[], Application] = built
) -> None:
    """A configured board, from its power to readings in the cloud's database."""
    world = World(directory)
    flashed = flashed_board(directory / "board", world.gateway_toml(), partitions=partitions, build=build)
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
    board = StartedBoard(flashed, directory)
    async with world.at_work(), pty_line(meter, link=board.line), board:
        await board.until(lambda: world.stored(model.IDENTITY, model.PRESENT, model.REGISTERS), "readings")
    assert board.starts == 1
    assert (board.hardware / "freq").read_text() == "240000000"
