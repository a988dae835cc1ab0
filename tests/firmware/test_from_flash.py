"""The board from the very image that is flashed: what of `make test-firmware` is quick."""

import shutil
from pathlib import Path

from flashing import application as flashed

from tests.board import Application
from tests.esp_firmware import WITH_ROMFS
from tests.image.world import reads_and_stores


async def test_a_flashed_board_reads_and_its_readings_are_stored(
    application: Application, tmp_path: Path
) -> None:
    def compiled(target: Path) -> dict[str, int]:
        shutil.copytree(application.directory, target)
        return {}

    await reads_and_stores(tmp_path, WITH_ROMFS, lambda: flashed.build(compiled))
