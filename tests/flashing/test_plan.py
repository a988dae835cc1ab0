"""What of a small file system is given up first, and when it is too small."""

import ast
from pathlib import Path

import build_mpy
import pytest
from flashing import application, plan, profile
from flashing.application import Application
from flashing.partitions import Partition
from flashing.settings import MOST_OUTBOX

from gateway.errors import ConfigurationError
from tests.interpreter import ROOT

BLOCK = 4096


def planned(modules: Application, blocks: int) -> tuple[int, list[str]]:
    """How much the outbox is given, and what is told."""
    rooms: list[int] = []
    table = [*plan.STOCK, Partition("vfs", 1, 0x81, 0x200000, blocks * BLOCK)]
    found = plan.plan(profile.load("dabbler"), table, 4 << 20, modules, rooms.append)
    return rooms[0], list(found.notes)


def test_the_outbox_has_what_two_versions_leave(small: Application) -> None:
    room, notes = planned(small, 512)
    assert MOST_OUTBOX < room < 500 * BLOCK
    assert notes == []
    assert planned(small, 500)[0] == room - 12 * BLOCK


def test_the_second_version_is_given_up_before_the_first(small: Application) -> None:
    room, _ = planned(small, 512)
    enough = 512 - (room - 128 * 1024) // BLOCK
    assert planned(small, enough) == (128 * 1024, [])
    room, notes = planned(small, enough - 1)
    assert room > 128 * 1024
    assert "updated by flashing" in notes[0]
    with pytest.raises(ConfigurationError, match="too small with this firmware"):
        planned(small, 32 + 20)


def test_what_starts_the_application_needs_nothing_of_it() -> None:
    """What boot.py and main.py import, and these in turn, lies in the root, where no slot can spoil it."""
    folder = ROOT / "micropython"
    names = [Path(name).stem for name in (*application.SOURCES, *build_mpy.STARTERS)]
    for name in names:
        for statement in ast.parse((folder / f"{name}.py").read_text()).body:
            wanted = []
            if isinstance(statement, ast.Import):
                wanted = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                wanted = [str(statement.module)]
            for module in wanted:
                assert module != "gateway" and not module.startswith("gateway."), name
                assert module in names or not (folder / f"{module}.py").exists(), f"{name} imports {module}"
