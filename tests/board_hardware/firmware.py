"""What a board's firmware does after a reset: runs /boot.py and /main.py of the file system it stands in.

    micropython [-X heapsize=224K] tests/board_hardware/firmware.py
    python tools/run_from_rom.py app.romfs,hardware.romfs firmware [-X heapsize=224K]

With the second, hardware.romfs being the image of these stand-ins, they are executed in place as the
application is, which leaves the heap to that; a board has what they stand for in its firmware. The working
directory is the root of the board's file system. OSGP_APPLICATION names directories
with modules besides, separated by colons. With OSGP_SPACED garbage is collected as often as on a board.
"""

import os
import sys

HARDWARE = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."


def main(arguments=()):
    roms = [path for path in sys.path if path.startswith("/rom")]
    sys.path[:] = ["", HARDWARE, ".frozen", "/lib"] + roms
    if os.getenv("OSGP_APPLICATION"):
        sys.path += os.getenv("OSGP_APPLICATION").split(":")
    if os.getenv("OSGP_SPACED"):
        sys.modules["gc"] = __import__("spaced_gc")
    for name in ("boot.py", "main.py"):
        try:
            code = compiled(name)
        except OSError:
            continue
        exec(code, {"__name__": "__main__"})
    return 0


def compiled(name):
    with open(name) as file:
        return compile(file.read(), name, "exec")


if __name__ == "__main__":
    main()
