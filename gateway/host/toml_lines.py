"""On which line of a TOML file a field stands: tomllib does not tell, and a message should."""

from __future__ import annotations

import re

_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?$")
_FIELD = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")

Path = tuple[str | int, ...]


def field_lines(text: str) -> dict[Path, int]:
    """Line numbers, from 1, by path: ("meter", 1, "port") is `port` in the second [[meter]].

    Covers tables and fields as people write them; what stands inside inline tables and multi-line
    strings has no entry of its own. The caller falls back to the nearest outer path.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        if inside:
            if inside in line:
                inside = ""
            continue
        if match := _TABLE.match(line):
            table = _resolve(_names(match[2]), counts, is_array=match[1] == "[[")
            lines.setdefault(table, number)
        elif match := _FIELD.match(line):
            lines.setdefault(table + _names(match[1]), number)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2:
                inside = quotes
    return lines


def nearest_line(lines: dict[Path, int], path: Path) -> int | None:
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def _names(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _resolve(names: Path, counts: dict[Path, int], is_array: bool) -> Path:
    """The path of a table header: arrays of tables on the way stand for their last element."""
    path: Path = ()
    for position, name in enumerate(names):
        path += (name,)
        if is_array and position == len(names) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path += (counts[path] - 1,)
    return path
