"""Gives private names shorter ones that they share, for an interpreter with little memory.

MicroPython keeps every name once, for good, and doubles its table of them in a piece; a name that stands in
many modules costs no more than one that stands in one. A private attribute keeps its new name in all modules;
two that may meet in one object, in a class or those it inherits from, never share one. A private global is
renamed within its module. Names stay that are imported, asked for with getattr, used in an f-string or
declared `global`. Lines keep their numbers.
"""

import ast
from collections.abc import Iterable, Mapping

Place = tuple[int, int, int]  # line from 1, first and last byte within it


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def rename(sources: Mapping[str, str]) -> dict[str, str]:
    """The sources (text by module name) with their private names replaced."""
    trees = {module: ast.parse(source) for module, source in sources.items()}
    fixed, prefixes = fixed_names(trees.values())
    taken = {node.id for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not any(name.startswith("_n") and name[2:].isdigit() for name in taken)
    attributes = attribute_names(trees.values(), fixed, prefixes)
    renamed = {}
    for module, source in sources.items():
        tree = trees[module]
        own = sorted(global_names(tree) - fixed)
        names = {name: f"_n{number}" for number, name in enumerate(own)}
        renamed[module] = replaced(source, tree, names, attributes)
    return renamed


def fixed_names(trees: Iterable[ast.Module]) -> tuple[set[str], tuple[str, ...]]:
    """Names that have to stay as they are, and beginnings of such names."""
    fixed: set[str] = set()
    prefixes: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                fixed.update(name for alias in node.names for name in (alias.name, alias.asname) if name)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                fixed.update(node.names)
            elif isinstance(node, ast.keyword) and node.arg:
                fixed.add(node.arg)
            elif isinstance(node, ast.JoinedStr):
                inner = list(ast.walk(node))
                fixed.update(each.id for each in inner if isinstance(each, ast.Name))
                fixed.update(each.attr for each in inner if isinstance(each, ast.Attribute))
            elif (
                isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr") and len(node.args) > 1
            ):
                asked = node.args[1].left if isinstance(node.args[1], ast.BinOp) else node.args[1]
                if isinstance(asked, ast.Constant) and isinstance(asked.value, str):
                    prefixes.add(asked.value)
    return fixed, tuple(prefixes)


def global_names(tree: ast.Module) -> set[str]:
    """Private names that a module binds itself."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    names.update(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )
    # What a class binds in its body is an attribute.
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names -= bound(node)
    return {name for name in names if is_private(name)}


def bound(node: ast.ClassDef) -> set[str]:
    names: set[str] = set()
    for member in node.body:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(member.name)
        elif isinstance(member, ast.Assign):
            names.update(target.id for target in member.targets if isinstance(target, ast.Name))
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            names.add(member.target.id)
    return names


def attribute_names(
    trees: Iterable[ast.Module], fixed: set[str], prefixes: tuple[str, ...]
) -> dict[str, str]:
    """New names of private attributes and methods."""
    families: dict[str, set[str]] = {}  # by class name: all attributes of it and its relatives
    kept: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            own = families.setdefault(node.name, set())
            names = bound(node)
            for member in node.body:
                if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    kept.update(name for name in bound(node) if not is_method(node, name))
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and is_self(inner.value):
                    names.add(inner.attr)
            own |= names
            for base in node.bases:
                name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
                relatives = families.setdefault(name, set())
                joined = own | relatives
                for known, members in list(families.items()):
                    if members is own or members is relatives:
                        families[known] = joined
                own = joined
    every = {name for members in families.values() for name in members}
    chosen = sorted(
        name
        for name in every - fixed - kept
        if is_private(name) and not (prefixes and name.startswith(prefixes))
    )
    groups = list({id(members): members for members in families.values()}.values())
    given: dict[str, str] = {}
    for name in chosen:
        meets = {given[other] for members in groups if name in members for other in members if other in given}
        number = 0
        while f"_n{number}" in meets:
            number += 1
        given[name] = f"_n{number}"
    return given


def is_method(node: ast.ClassDef, name: str) -> bool:
    return any(
        isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and member.name == name
        for member in node.body
    )


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def replaced(source: str, tree: ast.Module, names: Mapping[str, str], attributes: Mapping[str, str]) -> str:
    lines = [line.encode() for line in source.splitlines()]
    places: list[tuple[Place, str]] = []
    methods = {
        id(member) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for member in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            places.append(((node.lineno, node.col_offset, node.end_col_offset or 0), names[node.id]))
        elif isinstance(node, ast.arg) and node.arg in names:
            end = node.col_offset + len(node.arg.encode())
            places.append(((node.lineno, node.col_offset, end), names[node.arg]))
        elif isinstance(node, ast.Attribute) and node.attr in attributes:
            end = node.end_col_offset or 0
            line = node.end_lineno or node.lineno
            places.append(((line, end - len(node.attr.encode()), end), attributes[node.attr]))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            new = (attributes if id(node) in methods else names).get(node.name)
            if new:
                start = lines[node.lineno - 1].index(node.name.encode(), node.col_offset)
                places.append(((node.lineno, start, start + len(node.name.encode())), new))
    for (line, start, end), new in sorted(places, reverse=True):
        text = lines[line - 1]
        lines[line - 1] = text[:start] + new.encode() + text[end:]
    return b"\n".join(lines).decode() + "\n"
