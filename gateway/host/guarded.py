"""Runs a module as a program that ends with the one that started it, however that ends: its standard input is
a pipe whose other end nobody else holds.

    python -m gateway.host.guarded MODULE ARGUMENTS...
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

# What the program may take to end in its own way.
_END_S = 15


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    threading.Thread(target=_watch, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
