"""The board's application, built once for all tests of a run, and the stand-ins for its hardware."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.board import Application, compile_hardware, tool


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # which all workers of a run have in common
    directory, image, sizes = place / "application", place / "image" / "app.romfs", place / "sizes"
    with (place / "application.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not sizes.exists():
            sizes.write_text(_built(directory, image))
    return Application(directory, image, sizes.read_text())


def _built(directory: Path, image: Path) -> str:
    """The sizes, as a table."""
    hardware = directory.with_name("hardware")
    for one in (directory, image.parent, hardware):
        one.mkdir(exist_ok=True)
    sizes = tool("build_mpy.py", directory)
    tool("build_rom.py", directory, image)
    compile_hardware(hardware)
    tool("build_rom.py", hardware, image.with_name("hardware.romfs"))
    return sizes
