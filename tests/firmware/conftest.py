"""The board's application, built once for all tests of a run."""

import pytest

from tests.board import Application, tool


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    directory = tmp_path_factory.mktemp("application")
    image = tmp_path_factory.mktemp("image") / "app.romfs"
    sizes = tool("build_mpy.py", directory)
    tool("build_rom.py", directory, image)
    return Application(directory, image, sizes)
