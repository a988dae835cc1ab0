"""What the board's application puts on the heap stays within what a board has."""

import sys
from pathlib import Path

from tests.board import Application
from tests.interpreter import ROOT

sys.path.insert(0, str(ROOT / "tools"))

from build_mpy import STARTERS  # noqa: E402
from heap_by_module import FOR_A_MOMENT, FOR_GOOD, measured, table  # noqa: E402

# On the 64-bit unix port, where objects take twice the bytes of a board. Some 3 % above what it is: whoever
# goes beyond looks first what can be loaded later, or forgotten.
FOR_GOOD_BYTES = 95_500
FOR_A_MOMENT_BYTES = {
    "board_config": 7_500,
    "c1219_readers_load_profile": 8_600,
    "core_commands": 7_200,
}
OTHERS_BYTES = 7_400
# Those that lie in the file system's root, as files: all others are executed where they lie.
LOADED_MPY_BYTES = 65_536


def test_modules_stay_within_their_budget(application: Application, figures):
    for_good, for_a_moment = measured(application.image, ROOT / "tests/board_hardware")
    figures(f"bytes on the heap by module, 64-bit unix port\n{table(for_good, for_a_moment)}")
    assert set(for_good) == set(FOR_GOOD)
    assert set(for_a_moment) == set(FOR_A_MOMENT)
    assert sum(for_good.values()) <= FOR_GOOD_BYTES
    over = {
        name: size for name, size in for_a_moment.items() if size > FOR_A_MOMENT_BYTES.get(name, OTHERS_BYTES)
    }
    assert not over


def test_bytecode_that_is_loaded_into_memory_is_little(application: Application):
    files = [Path(application.directory, f"{name}.mpy") for name in STARTERS]
    assert sum(file.stat().st_size for file in files) <= LOADED_MPY_BYTES // 4
