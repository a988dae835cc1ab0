"""A board as tools/flash.py leaves it: flashed into a mock of its boot loader, read back, and started."""

import functools
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from flashing import application, image
from flashing.board import connect
from flashing.job import Job
from flashing.show import Show
from rich.console import Console

from tests.esp_firmware import STOCK, firmware
from tests.interpreter import ROOT, micropython
from tests.mock_board import mock_board
from tests.powered_board import PoweredBoard

BAUD = 460800
FLASH_BYTES = 4 << 20
# From LittleFS all bytecode is loaded into memory; the stand-in for a ROMFS partition lies there whole.
HEAP = "4M"


class FlashedBoard:
    """`image`: a file with the bytes of the file system. `rom`: one with those of the ROMFS partition, None
    without one. `said`: what the tool said."""

    def __init__(self, image: Path, rom: Path | None, said: str) -> None:
        self.image = image
        self.rom = rom
        self.said = said

    def change(self, files: Mapping[str, bytes]) -> None:
        """What a test needs otherwise than it is flashed."""
        data = self.image.read_bytes()
        self.image.write_bytes(image.build(len(data), {**image.read(data), **files}).data)


class StartedBoard(PoweredBoard):
    """Starts from what was flashed, and what it writes stays there."""

    def __init__(self, flashed: FlashedBoard, directory: Path) -> None:
        super().__init__(directory)
        self.flashed = flashed
        self.environment |= {
            "OSGP_FLASH": str(flashed.image),
            # The board's own file system is at the root of all.
            "OSGP_BOARD": f"/host{self.hardware}",
            "OSGP_UART": f"/host{self.line}",
        }
        if flashed.rom is not None:
            self.environment["OSGP_ROMFS"] = str(flashed.rom)

    def command(self) -> tuple[tuple[str, ...], Path]:
        script = str(ROOT / "tests/board_hardware/flash.py")
        return (micropython(), "-X", f"heapsize={HEAP}", script), ROOT


# Compiling takes long, and gives all boards of a run the same.
built = functools.cache(application.build)


def flashed_board(
    directory: Path,
    config: Path | None,
    name: str = "generic-esp32",
    chip: str = "esp32",
    partitions: tuple = STOCK,
    build: Callable[[], application.Application] = built,
) -> FlashedBoard:
    """The whole application, of `build`. `config`: a gateway's TOML file."""
    directory.mkdir(exist_ok=True)
    file = directory / "firmware.bin"
    file.write_bytes(firmware(chip, partitions=partitions))
    said = io.StringIO()
    show = Show(Console(file=said, width=200))
    start = max(place + size for _, _, _, place, size in partitions)
    with mock_board(chip) as board:
        job = Job(name, config, None, file, show, build=build)
        job.flash(board.port, BAUD)
        with connect(board.port, BAUD, show) as found:
            file_system = directory / "board.img"
            file_system.write_bytes(_read(found, board.data, start, FLASH_BYTES - start))
            rom = None
            for label, _, _, place, size in partitions:
                if label == "romfs":
                    rom = directory / "board.romfs"
                    rom.write_bytes(_read(found, board.data, place, size))
    return FlashedBoard(file_system, rom, said.getvalue())


def _read(found, flash: bytearray, start: int, size: int) -> bytes:
    """Through the protocol up to what is erased; esptool takes a second for some 100 KB on this side."""
    used = len(bytes(flash[start : start + size]).rstrip(b"\xff"))
    return found.read(start, -(-used // 4096) * 4096, "it back").ljust(size, b"\xff")
