"""The day of `make board-day`, lived by a board from what was flashed: part of `make test-firmware`.

OSGP_TEST_HOURS says how many hours it has, OSGP_TEST_HEAP the heap; both are make's HOURS and HEAP.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import pytest

from tests.board import CREDENTIAL, secret
from tests.board_day.run import KEEP_ALIVE_S, REPORT_S, Stage, live, problems
from tests.brokers import NatsServer
from tests.esp_firmware import WITH_ROMFS
from tests.flashed_board import flashed_board
from tests.image.start_time import in_place
from tests.image.world import WIFI, gateway_toml
from tests.interpreter import ROOT
from tests.mep_fakes import KEY

HOURS = int(os.environ.get("OSGP_TEST_HOURS", "24"))
HEAP = os.environ.get("OSGP_TEST_HEAP", "224K")
SCALE = 60


class FlashedStage(Stage):
    def board(self, _: Path, broker: NatsServer) -> tuple[tuple[str, ...], Path, dict[str, str]]:
        toml = gateway_toml(self.directory, f"mqtts://localhost:{broker.port}")
        flashed = flashed_board(self.directory / "board", toml, partitions=WITH_ROMFS)
        images, root = in_place(self.directory, flashed)
        file = root / "config/board.json"
        settings = json.loads(file.read_text())
        # As in the day that was not flashed.
        settings |= {"report_seconds": REPORT_S, "watchdog": 0, "ntp": {"server": ""}}
        settings["broker"]["keep_alive"] = KEEP_ALIVE_S * SCALE
        file.write_text(json.dumps(settings))
        hardware = self.directory / "hardware"
        hardware.mkdir()
        program = str(ROOT / "tools/run_from_rom.py")
        return (
            (sys.executable, program, images, "firmware", "-X", f"heapsize={HEAP}"),
            root,
            {"OSGP_BOARD": str(hardware), "OSGP_UART": str(self.directory / "line"), **self.environment()},
        )


@pytest.mark.timeout(0)
async def test_every_row_of_a_day_is_the_truth(tmp_path: Path, figures) -> None:
    secret(tmp_path / "credential", CREDENTIAL)
    secret(tmp_path / "meter.key", KEY.decode())
    secret(tmp_path / "wifi.password", WIFI)
    stage = FlashedStage(tmp_path, argparse.Namespace(hours=HOURS, scale=SCALE, heap=HEAP, seed=1))
    told = await live(stage, tmp_path)
    wrong = list(problems(stage, told))
    assert not wrong, "\n".join(wrong + told.lines[-40:])
    figures(f"{HOURS} hours with -X heapsize={HEAP}: every row as the meter knows it")
