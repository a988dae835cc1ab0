"""A board that loses power: `python -m tests.firmware.power_cuts --seed 1 --runs 4 --cuts 100`.

Each run has a flash of its own and as many losses as told, in turn with the application as files and in a
ROMFS partition; prints what happened, and ends with 1 when something promised was lost.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from bundle import make

from tests.interpreter import ROOT, micropython
from tests.patience import PATIENCE_S
from tests.update_vectors import KEY, bytecode, image, public

MEDIA = ("files", "rom")


def bundle(version: str) -> bytes:
    """Of eight files, some of several blocks of flash."""
    source = random.Random(version)
    files = {"application.mpy": bytecode("application " + version), "texts.bin": source.randbytes(3000)}
    for number in range(6):
        files[f"gateway/module{number}.mpy"] = bytecode("") + source.randbytes(source.randrange(200, 6000))
    return make(image(files), version, KEY)


def exercise(seed: int, cuts: int, medium: str, directory: Path) -> dict:
    """What happened. Raises AssertionError with what the board said when it found something missing."""
    bundles = []
    for version in ("1.0", "2.0"):
        bundles.append(directory / f"{version}.bundle")
        bundles[-1].write_bytes(bundle(version))
    (directory / "keys").write_text(public(KEY) + "\n")
    command = [
        micropython(),
        "-X",
        "heapsize=256M",
        "tests/firmware/power_exercise.py",
        ROOT,
        seed,
        cuts,
        medium,
    ]
    result = subprocess.run(
        list(map(str, [*command, *bundles, directory / "keys"])),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S + cuts,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    # Files that an earlier life left open complain when they are collected.
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("{"))
    told = json.loads(line)
    assert isinstance(told, dict)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--cuts", type=int, default=100)
    given = parser.parse_args()
    for run in range(given.runs):
        medium = MEDIA[run % 2]
        with tempfile.TemporaryDirectory() as directory:
            print(medium, exercise(given.seed + run, given.cuts, medium, Path(directory)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
