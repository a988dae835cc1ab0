"""Packs what build_mpy.py built into a ROMFS image: `python tools/build_rom.py [DIRECTORY [IMAGE]]`
(build/mpy, build/app.romfs).

From such an image MicroPython executes bytecode where it lies, as a board does from its flash: only what
changes takes heap.
"""

import subprocess
import sys
from pathlib import Path

from source_tree import ROOT


def pack(directory: Path, image: Path) -> None:
    mpremote = Path(sys.executable).with_name("mpremote")
    command = [str(mpremote), "romfs", "--no-mpy", "--output", str(image), "build", str(directory)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def main() -> int:
    directory, image = [*sys.argv[1:], *("build/mpy", "build/app.romfs")[len(sys.argv) - 1 :]]
    pack(Path(directory), Path(image))
    print(f"{image}: {(ROOT / image).stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
