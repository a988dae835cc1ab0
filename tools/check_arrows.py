"""Fails when an import points against the arrows of docs/architecture.md.

host and micropython -> core -> drivers and c1219, which meet only in gateway/meter.py; transmission and
the simulator stand alone, web knows transmission; omdp_cloud knows gateway.transmission and the clock, and
nothing else of gateway.
"""

import ast
import sys
from pathlib import Path

from source_tree import ROOT, is_portable, name, python_files

FOUNDATION = ("gateway._compat", "gateway.clock", "gateway.errors")

# Room -> what it may import of the project, besides itself. The longest matching room counts.
MAY_IMPORT = {
    "gateway._compat": (),
    "gateway.clock": ("gateway._compat", "gateway.errors"),
    "gateway.errors": (),
    "gateway.meter": FOUNDATION,
    "gateway.transmission": FOUNDATION,
    "gateway.drivers": (*FOUNDATION, "gateway.meter"),
    "gateway.c1219": (
        *FOUNDATION,
        "gateway.meter",
        "gateway.transmission.model",
        "gateway.transmission.registry",
    ),
    "gateway.core": (
        *FOUNDATION,
        "gateway.meter",
        "gateway.drivers",
        "gateway.c1219",
        "gateway.transmission",
    ),
    "gateway.web": (*FOUNDATION, "gateway.transmission"),
    "gateway.simulator": FOUNDATION,
    "gateway.host": (
        *FOUNDATION,
        "gateway.meter",
        "gateway.core",
        "gateway.drivers",
        "gateway.c1219",
        "gateway.transmission",
        "gateway.simulator",
        "gateway.web",
    ),
    "gateway": (),
    "micropython": (
        *FOUNDATION,
        "gateway.meter",
        "gateway.core",
        "gateway.drivers",
        "gateway.c1219",
        "gateway.transmission",
        "gateway.web",
    ),
    "omdp_cloud": ("gateway.transmission", "gateway.clock"),
}

# What MicroPython has not (at its floor, 1.29): no portable file names it.
NOT_PORTABLE = {
    "typing",
    "__future__",
    "dataclasses",
    "enum",
    "abc",
    "functools",
    "contextlib",
    "itertools",
    "logging",
    "datetime",
    "traceback",
    "uuid",
    "decimal",
    "pathlib",
    "hmac",
    "msgpack",
    "secrets",
}


def module_of(path: Path) -> str:
    parts = list(Path(name(path)).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def is_module(dotted: str) -> bool:
    place = ROOT.joinpath(*dotted.split("."))
    return place.with_suffix(".py").exists() or place.is_dir()


def imports_of(path: Path, module: str) -> list[tuple[int, str, bool]]:
    """(line, absolute module, for typing only) of every import in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            typing_only.update(id(inner) for statement in node.body for inner in ast.walk(statement))
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = []
    for node in ast.walk(tree):
        typed = id(node) in typing_only
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, typed) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import x` names modules, `from .x import Y` names what is in one
            names = [f"{source}.{alias.name}" for alias in node.names]
            found += [(node.lineno, each if is_module(each) else source, typed) for each in names]
    return found


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def problems_of(path: Path) -> list[str]:
    module = module_of(path)
    room = max((room for room in MAY_IMPORT if within(module, room)), key=len)
    found = []
    for line, target, typed in imports_of(path, module):
        where = f"{name(path)}:{line}: "
        if target.split(".")[0] in ("gateway", "omdp_cloud"):
            if not within(target, room) or room == "gateway":
                allowed = MAY_IMPORT[room]
                if not any(within(target, other) for other in allowed):
                    found.append(f"{where}{room} must not import {target}")
        elif (
            target.split(".")[0] in NOT_PORTABLE
            and not typed
            and module != "gateway._compat"
            and is_portable(path)
        ):
            found.append(f"{where}portable code must not import {target}: MicroPython lacks it")
    return found


def main() -> int:
    files = python_files("gateway", "omdp_cloud", "micropython")
    problems = [problem for path in files for problem in problems_of(path)]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"arrows: {len(files)} files, {len(problems)} against the arrows")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
