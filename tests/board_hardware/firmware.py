"""What a board's firmware does after a reset: runs /boot.py and /main.py of the file system it stands in.

    micropython [-X heapsize=224K] tests/board_hardware/firmware.py

The working directory is the root of the board's file system.
"""

import sys

HARDWARE = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
sys.path[:] = ["", HARDWARE, ".frozen", "/lib"]


def run(name):
    try:
        with open(name) as file:
            code = file.read()
    except OSError:
        return
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


run("boot.py")
run("main.py")
