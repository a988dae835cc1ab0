"""What a board's firmware does after a reset: runs /boot.py and /main.py of the file system it stands in.

    micropython [-X heapsize=224K] tests/board_hardware/firmware.py
    MICROPYPATH=tests/board_hardware python tools/run_from_rom.py app.romfs firmware [-X heapsize=224K]

The working directory is the root of the board's file system. OSGP_APPLICATION names directories
with modules besides, separated by colons.
"""

import os
import sys

HARDWARE = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."


def main(arguments=()):
    roms = [path for path in sys.path if path.startswith("/rom")]
    sys.path[:] = ["", HARDWARE, ".frozen", "/lib"] + roms
    if os.getenv("OSGP_APPLICATION"):
        sys.path += os.getenv("OSGP_APPLICATION").split(":")
    run("boot.py")
    run("main.py")
    return 0


def run(name):
    try:
        with open(name) as file:
            code = file.read()
    except OSError:
        return
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
