"""Leaves out of an application what its main module can't reach, for an interpreter with little memory.

A function, class, constant or import of a module is reached when code that is reached names it: directly,
through an import, or as an attribute of an imported module. A method is reached when its class is and any
reached code names an attribute so. What is left out becomes empty lines, so that tracebacks keep their
line numbers. Annotations do not count: MicroPython never evaluates them. Methods that only raise
NotImplementedError go, and what `if TYPE_CHECKING` and `if MICROPYTHON` decide is decided here.

It does not see names made at run time: portable code has no `import *`, and names the attributes that it
asks for with getattr.
"""

import ast
from collections.abc import Iterator

DECIDED = {"TYPE_CHECKING": False, "MICROPYTHON": True}


def _members(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements with decided conditions resolved."""
    for statement in body:
        if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name):
            decision = DECIDED.get(statement.test.id)
            if decision is not None:
                yield from _members(statement.body if decision else statement.orelse)
                continue
        yield statement


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a definition binds; empty for a statement that does something else."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if len(names) == len(targets) else []


def _is_abstract(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    body = [
        one
        for one in statement.body
        if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    ]
    return (
        len(body) == 1
        and isinstance(body[0], ast.Raise)
        and isinstance(body[0].exc, ast.Name)
        and (body[0].exc.id == "NotImplementedError")
    )


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it that is ever evaluated: no annotations, no branches that are decided."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        if field in ("body", "orelse") and isinstance(value, list):
            value = list(_members(value))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _evaluated(child)


class Module:
    def __init__(self, name: str, source: str, is_package: bool) -> None:
        self.name = name
        self.source = source
        self.tree = ast.parse(source)
        self.package = name if is_package else name.rpartition(".")[0]
        self.loaded = False
        self.reached: set[str] = set()  # names
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}  # name -> (module, name in it or "")
        for statement in _members(self.tree.body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports.update(self.imported(statement))
            for name in _bound(statement):
                self.definitions.setdefault(name, []).append(statement)

    def imported(self, statement: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str]]:
        if isinstance(statement, ast.Import):
            return {alias.asname or alias.name.split(".")[0]: (alias.name, "") for alias in statement.names}
        base = self.package.split(".")[: len(self.package.split(".")) - statement.level + 1]
        source = ".".join(
            [*(base if statement.level else []), *([statement.module] if statement.module else [])]
        )
        return {alias.asname or alias.name: (source, alias.name) for alias in statement.names}


class Application:
    """`modules` by name, from `main` on; `sources` is what remains of them."""

    def __init__(self, sources: dict[str, tuple[str, bool]], main: str) -> None:
        self.modules = {name: Module(name, source, package) for name, (source, package) in sources.items()}
        self._attributes: set[str] = set()
        self._waiting: dict[str, list[tuple[Module, ast.stmt]]] = {}  # methods by name, until it is named
        self._kept: set[int] = set()  # ids of methods
        self._load(main)

    def _load(self, name: str) -> None:
        """A module is imported: what it does at once is reached, and so are its packages."""
        package = name.rpartition(".")[0]
        if package:
            self._load(package)
        module = self.modules.get(name)
        if module is None or module.loaded:
            return
        module.loaded = True
        for statement in _members(module.tree.body):
            if not _bound(statement) and not isinstance(statement, ast.Import | ast.ImportFrom):
                self._walk(module, statement)

    def _reach(self, module: Module, name: str) -> None:
        if name in module.reached:
            return
        if name in module.definitions or name in module.imports:
            module.reached.add(name)
        for statement in module.definitions.get(name, ()):
            if isinstance(statement, ast.ClassDef):
                self._reach_class(module, statement)
            else:
                self._walk(module, statement)
        if name in module.imports:
            self._import(*module.imports[name])

    def _import(self, source: str, name: str) -> None:
        """`from source import name`, or `import source` when name is empty."""
        self._load(source)
        inner = f"{source}.{name}"
        if inner in self.modules:
            self._load(inner)
        elif name and source in self.modules:
            self._reach(self.modules[source], name)

    def _reach_class(self, module: Module, definition: ast.ClassDef) -> None:
        for node in [*definition.bases, *definition.decorator_list]:
            self._walk(module, node)
        for member in _members(definition.body):
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                if _is_abstract(member):
                    continue
                if not member.name.startswith("__") and member.name not in self._attributes:
                    self._waiting.setdefault(member.name, []).append((module, member))
                    continue
                self._kept.add(id(member))
            self._walk(module, member)

    def _attribute(self, name: str) -> None:
        if name not in self._attributes:
            self._attributes.add(name)
            for module, method in self._waiting.pop(name, []):
                self._kept.add(id(method))
                self._walk(module, method)

    def _walk(self, module: Module, start: ast.AST) -> None:
        inner: dict[str, tuple[str, str]] = {}  # imports within the function
        for node in _evaluated(start):
            if isinstance(node, ast.Import | ast.ImportFrom):
                inner.update(module.imported(node))
                for source, name in module.imported(node).values():
                    self._import(source, name)
            elif isinstance(node, ast.Name):
                self._reach(module, node.id)
            elif isinstance(node, ast.Attribute):
                found = inner.get(node.value.id) if isinstance(node.value, ast.Name) else None
                if found is None and isinstance(node.value, ast.Name):
                    found = module.imports.get(node.value.id)
                target = self.modules.get(".".join(part for part in found or () if part))
                if target is not None:
                    self._reach(target, node.attr)
                else:
                    self._attribute(node.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and "attr" in node.func.id:
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        self._attribute(argument.value)

    def sources(self) -> dict[str, str]:
        """What remains of each module that is ever imported."""
        return {name: self._remains(module) for name, module in self.modules.items() if module.loaded}

    def _remains(self, module: Module) -> str:
        lines = module.source.splitlines()
        self._blank(module, lines, module.tree.body, None)
        return "\n".join(lines) + "\n"

    def _blank(
        self, module: Module, lines: list[str], body: list[ast.stmt], owner: ast.ClassDef | None
    ) -> int:
        """Empties the lines of what was not reached; how many statements are left."""
        left = 0
        decided = {id(statement) for statement in _members(body)}
        for statement in body:
            if id(statement) not in decided and isinstance(statement, ast.If):
                # A condition that is decided: `if True:` in place of the question, the other branch goes.
                chosen = list(_members([statement]))
                keep = [one for one in chosen if self._keeps(module, one, owner)]
                if not keep:
                    _erase(lines, statement)
                    continue
                left += 1
                first = statement.lineno - 1
                indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
                branch = statement.body if chosen[0] in statement.body else statement.orelse
                for number in range(first, (statement.end_lineno or 0)):
                    if not branch[0].lineno <= number + 1 <= (branch[-1].end_lineno or 0):
                        lines[number] = ""
                lines[branch[0].lineno - 2] = indent + "if True:"
                self._blank(module, lines, branch, owner)
            elif not self._keeps(module, statement, owner):
                _erase(lines, statement)
            else:
                left += 1
                if isinstance(statement, ast.ClassDef) and owner is None:
                    if not self._blank(module, lines, statement.body, statement):
                        indent = " " * (statement.col_offset + 4)
                        lines[(statement.end_lineno or 0) - 1] = indent + "pass"
                elif isinstance(statement, ast.ImportFrom) and owner is None:
                    self._narrow(module, lines, statement)
        return left

    def _keeps(self, module: Module, statement: ast.stmt, owner: ast.ClassDef | None) -> bool:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return False  # a docstring
        if owner is not None:
            return id(statement) in self._kept or not isinstance(
                statement, ast.FunctionDef | ast.AsyncFunctionDef
            )
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return any(name in module.reached for name in module.imported(statement))
        names = _bound(statement)
        return not names or any(name in module.reached for name in names)

    def _narrow(self, module: Module, lines: list[str], statement: ast.ImportFrom) -> None:
        """Only those names of an import that are reached."""
        aliases = [alias for alias in statement.names if (alias.asname or alias.name) in module.reached]
        indent = " " * statement.col_offset
        new = ast.ImportFrom(statement.module, aliases, statement.level)
        _erase(lines, statement)
        lines[statement.lineno - 1] = indent + ast.unparse(new)


def _erase(lines: list[str], statement: ast.stmt) -> None:
    first = statement.lineno
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        first = min([first, *(decorator.lineno for decorator in statement.decorator_list)])
    for number in range(first - 1, statement.end_lineno or first):
        lines[number] = ""
