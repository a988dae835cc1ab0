"""The board's application, built once for all tests of a run, and the stand-ins for its hardware."""

import pytest

from tests.board import Application, compile_hardware, tool


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    directory = tmp_path_factory.mktemp("application")
    image = tmp_path_factory.mktemp("image") / "app.romfs"
    sizes = tool("build_mpy.py", directory)
    tool("build_rom.py", directory, image)
    hardware = tmp_path_factory.mktemp("hardware")
    compile_hardware(hardware)
    tool("build_rom.py", hardware, image.with_name("hardware.romfs"))
    return Application(directory, image, sizes)
