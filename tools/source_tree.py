"""Which files the project has and which of them are portable: the one place that the checks ask."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Whole rooms that only CPython enters; single files say "CPython only" in their docstring.
CPYTHON_ROOMS = ("gateway/host/", "gateway/simulator/", "omdp_cloud/")


def python_files(*rooms: str) -> list[Path]:
    """All .py files below the rooms (paths from the root), sorted."""
    found: list[Path] = []
    for room in rooms:
        found += (ROOT / room).rglob("*.py")
    return sorted(found)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_portable(path: Path) -> bool:
    """Whether the file has to compile and run on MicroPython too."""
    if name(path).startswith(CPYTHON_ROOMS):
        return False
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return "CPython only" not in docstring


def portable_files() -> list[Path]:
    return [path for path in python_files("gateway", "micropython") if is_portable(path)]
