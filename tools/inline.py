"""Writes the value of integer constants wherever a module names them, for an interpreter with little memory.

mpy-cross does so within a module, and only for names with an underscore; a constant that other modules
import costs a place and a name in each. Lines keep their numbers.
"""

import ast
from collections.abc import Mapping

from shake import Import, Module, evaluated, members


def constants(module: Module) -> dict[str, int]:
    """The module's integers that are wrapped in const(), by name."""
    found = {}
    for statement in members(module.tree.body):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
            continue
        target, call = statement.targets[0], statement.value
        if isinstance(target, ast.Name) and isinstance(call.func, ast.Name) and call.func.id == "const":
            try:
                value = ast.literal_eval(call.args[0])
            except ValueError:
                continue
            if type(value) is int:
                found[target.id] = value
    return found


def inline(sources: Mapping[str, tuple[str, bool]]) -> dict[str, tuple[str, bool]]:
    """The sources (by module name: text, whether it is a package) with values in place of names."""
    modules = {name: Module(name, *source) for name, source in sources.items()}
    known = {name: constants(module) for name, module in modules.items()}
    return {
        name: (rewritten(module, known[name], known), sources[name][1]) for name, module in modules.items()
    }


def rewritten(module: Module, own: dict[str, int], known: Mapping[str, dict[str, int]]) -> str:
    imports = dict(module.imports)
    assigned: list[str] = []
    strings: set[int] = set()  # before Python 3.12 positions within f-strings are wrong
    for node in ast.walk(module.tree):
        if isinstance(node, Import):
            imports.update(module.imported(node))
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            assigned.append(node.id)
        elif isinstance(node, ast.arg):
            assigned.append(node.arg)
        elif isinstance(node, ast.JoinedStr):
            strings.update(id(inner) for inner in ast.walk(node))
    values = {name: value for name, value in own.items() if assigned.count(name) == 1}
    for name, (source, inner) in imports.items():
        if inner in known.get(source, ()) and name not in assigned:
            values[name] = known[source][inner]

    lines = [line.encode() for line in module.source.splitlines()]
    places: list[tuple[ast.expr, int]] = []
    for node in evaluated(module.tree):
        if id(node) in strings:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in values:
                places.append((node, values[node.id]))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            source = ".".join(part for part in imports.get(node.value.id, ()) if part)
            if node.attr in known.get(source, ()):
                places.append((node, known[source][node.attr]))
    places.sort(key=lambda place: (place[0].lineno, place[0].col_offset), reverse=True)
    for node, value in places:
        line = lines[node.lineno - 1]
        text = b"%d" % value if value >= 0 else b"(%d)" % value
        lines[node.lineno - 1] = line[: node.col_offset] + text + line[node.end_col_offset :]
    return "\n".join(line.decode() for line in lines) + "\n"
