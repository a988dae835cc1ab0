"""The board's application, built once for all tests of a run, and the stand-ins for its hardware."""

import fcntl
import os

import pytest

from tests.board import Application, build


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # which all workers of a run have in common
    directory, image, sizes = place / "application", place / "image" / "app.romfs", place / "sizes"
    with (place / "application.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not sizes.exists():
            sizes.write_text(build(directory, image))
    return Application(directory, image, sizes.read_text())
