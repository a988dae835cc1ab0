"""The outbox on littlefs, on the real interpreter, with a flash that loses power."""

import json
import subprocess

import pytest

from tests.interpreter import ROOT, micropython
from tests.patience import PATIENCE_S


def exercise(heap: str, *arguments: object) -> dict:
    command = [micropython(), "-X", f"heapsize={heap}", "tests/firmware/outbox_exercise.py", ROOT, *arguments]
    result = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert result.returncode == 0, result.stdout + result.stderr
    # Files that an earlier life left open complain when they are collected.
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("{"))
    return json.loads(line)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_promised_is_lost_with_the_power(seed: int) -> None:
    """Odd seeds on a flash with space, even ones on a flash that is full before the outbox is."""
    told = exercise("8M", seed, 50)
    print(told)
    assert told["losses"] == 50
    assert told["syncs"] > 50
    assert told["torn"] > 0
    assert told["checked"] > 500
    assert (told["gaveWay"] > 0) == (seed == 2)


def test_wear_is_as_the_documentation_says() -> None:
    """docs/outbox.md: at most 4,500 erases a day in all, which 256 blocks stand for 15 years."""
    told = exercise("64M", "wear", 1)
    print(told)
    assert told["there"]["erases"] < 4500
    assert told["away"]["erases"] < 4500
