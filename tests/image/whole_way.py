"""A board from the very image that is flashed: `make test-firmware`.

The whole application is written through esptool into a mock of the boot loader and read back; MicroPython's
unix port mounts what was read, as a board mounts its flash, and starts from it.
"""

import asyncio
import ssl
from pathlib import Path

import aiomqtt
import pytest

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model, topics
from gateway.transmission.frames import decode
from tests.board import KEY, process, secret
from tests.certificates import Authority
from tests.flashed_board import FlashedBoard, flashed_board
from tests.interpreter import ROOT, micropython
from tests.mosquitto import Mosquitto
from tests.patience import PATIENCE_S

# From LittleFS all bytecode is loaded into memory.
HEAP = "1M"


def configured(directory: Path, port: int, authority: Authority) -> Path:
    secret(directory / "meter.key", KEY)
    secret(directory / "wifi.password", "a word for the radio")
    (directory / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(authority.der))
    file = directory / "gateway.toml"
    file.write_text(f"""\
[gateway]
id = "board"
[broker]
url = "mqtts://127.0.0.1:{port}"
ca_file = "ca.pem"
custody = "broker"
[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
[board]
wifi_ssid = "at home"
wifi_password_file = "wifi.password"
""")
    return file


def start(flashed: FlashedBoard, hardware: Path, line: Path, heap: str = HEAP):
    """The board, with power: whatever it writes stays in the image."""
    hardware.mkdir(exist_ok=True)
    return process(
        micropython(),
        "-X",
        f"heapsize={heap}",
        str(ROOT / "tests/board_hardware/flash.py"),
        environment={
            "OSGP_FLASH": str(flashed.image),
            "OSGP_BOARD": f"/host{hardware}",
            "OSGP_UART": f"/host{line}",
        },
    )


async def kinds(port: int, authority: Authority, wanted: set[int]) -> None:
    """Until a frame of each of these kinds has come."""
    context = ssl.create_default_context(cadata=authority.der)
    async with aiomqtt.Client("127.0.0.1", port, tls_context=context, timeout=PATIENCE_S) as client:
        await client.subscribe("#", qos=1)
        missing = set(wanted)
        async for message in client.messages:
            if str(message.topic).endswith("/compact"):
                missing.discard(decode(bytes(message.payload), topics.parse(str(message.topic)).meter).kind)
            if not missing:
                return


async def test_the_flashed_image_reads_the_meter_and_publishes_over_tls(tmp_path: Path) -> None:
    authority = Authority()
    certificate = authority.issue(tmp_path, "127.0.0.1")
    line = tmp_path / "line"
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
    with Mosquitto(tmp_path / "broker", certificate=certificate) as broker:
        flashed = flashed_board(tmp_path / "board", configured(tmp_path, broker.port, authority))
        wanted = {model.IDENTITY, model.PRESENT, model.REGISTERS}
        async with pty_line(meter, link=line), start(flashed, tmp_path / "hardware", line) as board:
            come = asyncio.create_task(kinds(broker.port, authority, wanted))
            ended = asyncio.create_task(board.wait())
            done, _ = await asyncio.wait(
                (come, ended), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
            come.cancel()
            ended.cancel()
            if come not in done:
                board.kill()
                pytest.fail((await board.communicate())[1].decode())
            await come
