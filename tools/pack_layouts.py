"""Packs declared tables before they are compiled, for an interpreter with little memory.

A layout of tuples takes several times the room of its bytes (gateway/c1219/layout.py), which stay in flash.
Lines keep their numbers.
"""

import ast
import importlib
import sys
from collections.abc import Mapping

from source_tree import ROOT

_WHERE = "gateway.c1219."


def pack_layouts(sources: Mapping[str, tuple[str, bool]]) -> dict[str, tuple[str, bool]]:
    """The sources (by module name: text, whether it is a package) with bytes in place of fields."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return {name: (_packed(name, text), is_package) for name, (text, is_package) in sources.items()}


def _packed(module: str, source: str) -> str:
    if not module.startswith(_WHERE):
        return source
    lines = [line.encode() for line in source.splitlines()]
    for statement in reversed(ast.parse(source).body):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
            continue
        call, target = statement.value, statement.targets[0]
        if not isinstance(target, ast.Name) or ast.unparse(call.func) != "Layout":
            continue
        fields = call.args[1]
        value = getattr(importlib.import_module(module), target.id).fields
        first, last = fields.lineno - 1, (fields.end_lineno or 0) - 1
        rest = lines[last][fields.end_col_offset :]
        head = lines[first][: fields.col_offset]
        for number in range(first, last + 1):
            lines[number] = b""
        lines[first] = head + repr(value).encode()
        lines[last] += rest
    return b"\n".join(lines).decode() + "\n"
