"""A board from the very image that is flashed, to the cloud's database: part of `make test-firmware`.

The whole application is written through esptool into a mock of the boot loader and read back; MicroPython's
unix port mounts what was read, as a board mounts its flash, and starts from it.
"""

from pathlib import Path

import pytest

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests.board import KEY
from tests.esp_firmware import STOCK, WITH_ROMFS
from tests.flashed_board import StartedBoard, flashed_board
from tests.image import start_time
from tests.image.world import World

FIRMWARE = pytest.mark.parametrize("partitions", [STOCK, WITH_ROMFS], ids=["files", "romfs"])


@FIRMWARE
async def test_a_configured_board_reads_and_its_readings_are_stored(tmp_path: Path, partitions) -> None:
    world = World(tmp_path)
    flashed = flashed_board(tmp_path / "board", world.gateway_toml(), partitions=partitions)
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
    async with (
        world.at_work(),
        pty_line(meter, link=world.line),
        StartedBoard(flashed, tmp_path) as board,
    ):
        await board.until(lambda: world.stored(model.IDENTITY, model.PRESENT, model.REGISTERS), "readings")
    assert board.starts == 1


async def test_how_long_the_first_reading_takes(tmp_path: Path, figures) -> None:
    world = World(tmp_path)
    flashed = flashed_board(tmp_path / "board", world.gateway_toml(), partitions=WITH_ROMFS)
    async with world.at_work():
        figures(await start_time.table(world, flashed))
