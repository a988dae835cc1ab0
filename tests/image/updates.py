"""A board is updated over the air, from the image that was flashed: part of `make test-firmware`.

Each time the board resets it is started anew, from the flash as it left it.
"""

import asyncio
import tempfile
from pathlib import Path

import bundle
import pytest
from build_mpy import compile_file
from build_rom import pack
from flashing import application

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import ids
from gateway.transmission.commands import DONE, FAILED, UPDATE, Result, command_key
from omdp_cloud.commands import CommandStore, Sender
from omdp_cloud.config import Broker
from tests.board import KEY, secret
from tests.brokers import nats
from tests.esp_firmware import STOCK, WITH_ROMFS
from tests.flashed_board import StartedBoard, flashed_board
from tests.patience import PATIENCE_S
from tests.update_vectors import KEY as SIGNS
from tests.update_vectors import OTHER_KEY, public

OWNER = "what only the owner knows"
CRASHES = "raise RuntimeError('no version for anybody')\n"
HANGS = "def run(crashed, reset):\n    while True:\n        pass\n"
# The hanging version is restarted after 11 minutes by the board's timer; they pass faster.
FASTER = 100


def configured(directory: Path, port: int) -> Path:
    secret(directory / "meter.key", KEY)
    secret(directory / "owner", OWNER)
    (directory / "update.keys").write_text(public(SIGNS) + "\n")
    file = directory / "gateway.toml"
    file.write_text(f"""\
[gateway]
id = "board"
[broker]
url = "mqtt://127.0.0.1:{port}"
custody = "broker"
[commands]
credential_file = "owner"
[[meter]]
name = "house"
port = "/dev/ttyUSB0"
key_file = "meter.key"
[board]
wifi_ssid = "at home"
ntp = "127.0.0.1"
update_keys_file = "update.keys"
""")
    return file


def image_with(image: bytes, program: str) -> bytes:
    """The image, with another application."""
    with tempfile.TemporaryDirectory() as scratch:
        files, packed = Path(scratch, "files"), Path(scratch, "image")
        files.mkdir()
        bundle.unpack(image, files)
        source = Path(scratch, "application.py")
        source.write_text(program)
        compile_file(source, "application", files / "application.mpy")
        pack(files, packed)
        return packed.read_bytes()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("partitions", [STOCK, WITH_ROMFS], ids=["files", "romfs"])
async def test_updates_over_the_air(tmp_path: Path, partitions) -> None:
    image = application.build().image
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
    with nats() as broker:
        flashed = flashed_board(tmp_path / "board", configured(tmp_path, broker.port), partitions=partitions)
        board = StartedBoard(flashed, tmp_path)
        told: list[str] = []
        store = CommandStore(f"sqlite:///{tmp_path}/readings.db")
        id_ = ids.meter_individual_id("ELON", meter.serial)
        sender = Sender(Broker(url=broker.url), store, id_, command_key(OWNER.encode()), told.append)

        async def update(data: bytes, lower: bool = False) -> Result:
            answer = await sender.send(UPDATE, (len(data), int(lower)), 3 * PATIENCE_S, data)
            assert answer is not None, "\n".join(board.said[-60:] + told)
            return answer

        async with pty_line(meter, link=board.line), board:
            good = await update(bundle.make(image, "7.2.0", SIGNS))
            assert (good.status, good.text) == (DONE, "version 7.2.0 is what runs"), board.said[-60:]
            assert board.starts == 2
            refused = await update(bundle.make(image, "7.3.0", OTHER_KEY))
            assert (refused.status, "another key" in refused.text) == (FAILED, True)
            refused = await update(bundle.make(image, "7.1.0", SIGNS))
            assert (refused.status, "lower than 7.2.0" in refused.text) == (FAILED, True)
            assert board.starts == 2
            for version, program in (("7.4.0", CRASHES), ("7.5.0", HANGS)):
                starts = board.starts
                board.environment["OSGP_TIMER"] = str(FASTER)
                bad = await update(bundle.make(image_with(image, program), version, SIGNS))
                assert bad.status == FAILED
                assert bad.text == (
                    f"version {version} was tried and is not kept: 2 starts of it did not reach the broker; "
                    "version 7.2.0 runs"
                )
                assert board.starts == starts + 3
            board.environment["OSGP_TIMER"] = "1"
            cut = asyncio.create_task(update(bundle.make(image, "7.6.0", SIGNS)))
            await asyncio.wait_for(halfway(told), 3 * PATIENCE_S)
            await board.power_off()
            board.power_on()
            lost = await cut
            assert (lost.status, "was ended while" in lost.text) == (FAILED, True)
            again = await update(bundle.make(image, "7.1.0", SIGNS), lower=True)
            assert (again.status, again.text) == (DONE, "version 7.1.0 is what runs")


async def halfway(told: list[str]) -> None:
    """Until half of the bundle that is on its way was handed over."""
    while told[-1:] != ["50 % of the bundle handed over"]:
        await asyncio.sleep(0.05)
