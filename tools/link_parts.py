"""What link.py knows of one source: which names are bound where, what it defines and what it imports."""

import ast
from collections.abc import Iterable, Iterator
from typing import TypeGuard

from shake import Function, Import, Module

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Origin = tuple[str, str]  # module and name; "" for the module itself


def flat(module: str) -> str:
    """What a module is called that lies beside the others, without the packages that it was in."""
    return module.partition(".")[2].replace(".", "_") or module


class Scope:
    """Where names are bound. `modules`: names that an import within a function gives to a module."""

    def __init__(self, kind: str, names: set[str], parent: "Scope | None") -> None:
        self.kind = kind
        self.names = names
        self.parent = parent
        self.parameters: dict[str, str] = {}  # those that are renamed
        self.modules: dict[str, str] = {}
        self.depth: int = 0 if parent is None else parent.depth + len(parent.parameters)


def bound_in(body: Iterable[ast.AST]) -> set[str]:
    """Names that statements bind in their own scope."""
    names: set[str] = set()
    released: set[str] = set()
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, COMPREHENSIONS):
            inner = [each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
            names.update(inner)
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, Import):
            names.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            released.update(node.names)
        waiting.extend(ast.iter_child_nodes(node))
    return names - released


def rebound(function: ast.AST) -> set[str]:
    """Names below a function that an import, an except, a definition or a nested function binds: where they
    stand is not known exactly."""
    names: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Nonlocal):
            names.update(node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, Import):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, Function | ast.ClassDef) and node is not function:
            names.add(node.name)
    return names


def local_names(tree: ast.AST) -> set[str]:
    """Names that are bound within functions: what is global must not take one of them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, Function):
            names |= bound_in(node.body)
        elif isinstance(node, COMPREHENSIONS):
            names.update(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
    return names


def is_own(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Whether it is an attribute that an object gives itself."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
        and not isinstance(node.ctx, ast.Load)
    )


class Part:
    """One source: what it defines and imports at once, and where its names stand."""

    def __init__(self, name: str, source: str, is_package: bool) -> None:
        self.name = name
        self.module = Module(name, source, is_package)
        self.lines = [line.encode() for line in source.splitlines()]
        self.bindings: dict[str, Origin] = {}
        for statement in top_level(self.module.tree.body):
            if isinstance(statement, Import):
                self.bindings.update(self.module.imported(statement))
        self.defined = bound_in(self.module.tree.body) - set(self.bindings)
        self.local = local_names(self.module.tree)


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module does, with those below a condition."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            yield from top_level(statement.body)
            yield from top_level(statement.orelse)
