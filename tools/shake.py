"""Leaves out of an application what its main modules can't reach, for an interpreter with little memory.

A function, class, constant or import of a module is reached when code that is reached names it: directly,
through an import, or as an attribute of an imported module. A method is reached when its class is and any
reached code names an attribute so, and when it may be called from outside of the application: the methods
that begin with two underscores, and all of a class with a base from elsewhere, such as a stream that the
interpreter's own TLS reads with readinto and ioctl. What is left out becomes empty lines, so that
tracebacks keep their line numbers. Annotations do not count, MicroPython never evaluates them; nor does
const, which mpy-cross resolves. Methods that only raise NotImplementedError go, and `if TYPE_CHECKING` and
`if MICROPYTHON` are decided here.

Names made at run time it can't see: the application has no `import *`, and what it asks for with getattr
begins with a literal; all methods that begin so are reached.
"""

import ast
import builtins
from collections.abc import Iterator

DECIDED = {"TYPE_CHECKING": False, "MICROPYTHON": True}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Import = ast.Import | ast.ImportFrom


def decision(statement: ast.stmt) -> bool | None:
    """How a condition is decided here; None for one that is not, or for another statement."""
    if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name):
        return DECIDED.get(statement.test.id)
    if isinstance(statement, ast.If) and isinstance(statement.test, ast.Constant):
        return bool(statement.test.value)
    return None


def members(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, with those of the chosen branch in place of a decided condition."""
    for statement in body:
        chosen = decision(statement)
        if chosen is None:
            yield statement
        else:
            assert isinstance(statement, ast.If)
            yield from members(statement.body if chosen else statement.orelse)


def bound(statement: ast.stmt) -> list[str]:
    """The names that a definition binds; empty for a statement that does something else."""
    if isinstance(statement, Function | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if len(names) == len(targets) else []


def is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_abstract(statement: Function) -> bool:
    body = [inner for inner in statement.body if not is_text(inner)]
    return (
        len(body) == 1
        and isinstance(body[0], ast.Raise)
        and isinstance(body[0].exc, ast.Name)
        and body[0].exc.id == "NotImplementedError"
    )


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is evaluated below it: no annotations, no branch that is decided against."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        if field == "func" and isinstance(value, ast.Name) and value.id == "const":
            continue
        children = value if isinstance(value, list) else [value]
        if field in ("body", "orelse") and isinstance(value, list):
            children = list(members(value))
        for child in children:
            if isinstance(child, ast.AST):
                yield from evaluated(child)


class Module:
    """One module's source, what it defines and imports, and what of that was reached."""

    def __init__(self, name: str, source: str, is_package: bool) -> None:
        self.source = source
        self.tree = ast.parse(source)
        self.loaded = False
        self.reached: set[str] = set()
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        self._package = (name if is_package else name.rpartition(".")[0]).split(".")
        for statement in members(self.tree.body):
            if isinstance(statement, Import):
                self.imports.update(self.imported(statement))
            for defined in bound(statement):
                self.definitions.setdefault(defined, []).append(statement)

    def imported(self, statement: Import) -> dict[str, tuple[str, str]]:
        """By the name it is known under: the module, and the name in it or "" for the module itself."""
        if isinstance(statement, ast.Import):
            return {alias.asname or alias.name.split(".")[0]: (alias.name, "") for alias in statement.names}
        parts = self._package[: len(self._package) - statement.level + 1] if statement.level else []
        source = ".".join([*parts, *([statement.module] if statement.module else [])])
        return {alias.asname or alias.name: (source, alias.name) for alias in statement.names}


class Application:
    """`sources`: by module name, the source and whether it is a package; `mains` are where it starts."""

    def __init__(self, sources: dict[str, tuple[str, bool]], *mains: str) -> None:
        self._modules = {name: Module(name, *source) for name, source in sources.items()}
        self._attributes: set[str] = set()
        self._prefixes: list[str] = []
        self._waiting: dict[str, list[tuple[Module, Function]]] = {}  # methods, until somebody names them
        self._methods: set[int] = set()  # ids of those that were reached
        for main in mains:
            self._load(main)

    def remains(self) -> dict[str, str]:
        """What is left of the source of each module that is ever imported."""
        return {name: self._rest(module) for name, module in self._modules.items() if module.loaded}

    def _load(self, name: str) -> None:
        """A module is imported: its packages are too, and what it does at once is reached."""
        package = name.rpartition(".")[0]
        if package:
            self._load(package)
        module = self._modules.get(name)
        if module is None or module.loaded:
            return
        module.loaded = True
        for statement in members(module.tree.body):
            if not bound(statement) and not isinstance(statement, Import):
                self._walk(module, statement)

    def _import(self, source: str, name: str) -> None:
        self._load(source)
        if f"{source}.{name}" in self._modules:
            self._load(f"{source}.{name}")
        elif name and source in self._modules:
            self._reach(self._modules[source], name)

    def _reach(self, module: Module, name: str) -> None:
        if name in module.reached:
            return
        module.reached.add(name)
        for statement in module.definitions.get(name, ()):
            if isinstance(statement, ast.ClassDef):
                self._reach_class(module, statement)
            else:
                self._walk(module, statement)
        if name in module.imports:
            self._import(*module.imports[name])

    def _reach_class(self, module: Module, definition: ast.ClassDef) -> None:
        for base in definition.bases:
            self._walk(module, base)
        outside = self._from_outside(module, definition)
        for member in members(definition.body):
            if not isinstance(member, Function):
                self._walk(module, member)
            elif (
                outside or member.name in self._attributes or member.name.startswith(("__", *self._prefixes))
            ):
                self._reach_method(module, member)
            else:
                self._waiting.setdefault(member.name, []).append((module, member))

    def _from_outside(self, module: Module, definition: ast.ClassDef) -> bool:
        """Whether a base of the class, or of its bases, is none of the application's; exceptions count as its
        own, since nobody calls a method of theirs."""
        return any(self._is_outside(module, base) for base in definition.bases)

    def _is_outside(self, module: Module, base: ast.expr) -> bool:
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
            parts = module.imports.get(base.value.id, ())
            owner = self._modules.get(".".join(part for part in parts if part))
            return owner is None or self._defines_outside(owner, base.attr)
        return not isinstance(base, ast.Name) or self._defines_outside(module, base.id)

    def _defines_outside(self, module: Module, name: str) -> bool:
        for statement in module.definitions.get(name, ()):
            return not isinstance(statement, ast.ClassDef) or self._from_outside(module, statement)
        if name in module.imports:
            source, original = module.imports[name]
            owner = self._modules.get(source)
            return owner is None or self._defines_outside(owner, original)
        known = getattr(builtins, name, None)
        return not (known is object or (isinstance(known, type) and issubclass(known, BaseException)))

    def _reach_method(self, module: Module, method: Function) -> None:
        if not is_abstract(method):
            self._methods.add(id(method))
            self._walk(module, method)

    def _attribute(self, name: str) -> None:
        if name not in self._attributes:
            self._attributes.add(name)
            for module, method in self._waiting.pop(name, ()):
                self._reach_method(module, method)

    def _prefix(self, asked: ast.expr) -> None:
        """An attribute asked for by its name, or by a literal beginning of it and something else."""
        first = asked.left if isinstance(asked, ast.BinOp) else asked
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            raise ValueError(f"line {asked.lineno}: an attribute's name that does not begin with a literal")
        self._prefixes.append(first.value)
        for name in [name for name in self._waiting if name.startswith(first.value)]:
            self._attribute(name)

    def _walk(self, module: Module, start: ast.AST) -> None:
        imports = dict(module.imports)
        for node in evaluated(start):
            if isinstance(node, Import):
                imports.update(module.imported(node))
                for source, name in module.imported(node).values():
                    self._import(source, name)
            elif isinstance(node, ast.Name):
                self._reach(module, node.id)
            elif isinstance(node, ast.Attribute):
                parts = imports.get(node.value.id, ()) if isinstance(node.value, ast.Name) else ()
                target = self._modules.get(".".join(part for part in parts if part))
                if target is None:
                    self._attribute(node.attr)
                else:
                    self._reach(target, node.attr)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
                self._prefix(node.args[1])

    def _rest(self, module: Module) -> str:
        lines = module.source.splitlines()
        self._empty(module, lines, module.tree.body, False)
        return "\n".join(lines) + "\n"

    def _empty(self, module: Module, lines: list[str], body: list[ast.stmt], in_class: bool) -> bool:
        """Empties the lines of what was not reached; whether anything is left of `body`."""
        left = False
        for statement in body:
            chosen = decision(statement)
            if chosen is not None:
                assert isinstance(statement, ast.If)
                branch = statement.body if chosen else statement.orelse
                left = self._decide(module, lines, statement, branch, in_class) or left
            elif not self._stays(module, statement, in_class):
                erase(lines, first_line(statement), last_line(statement))
            else:
                left = True
                if isinstance(statement, ast.ClassDef):
                    if not self._empty(module, lines, statement.body, True):
                        lines[last_line(statement) - 1] = " " * (statement.col_offset + 4) + "pass"
                elif isinstance(statement, ast.ImportFrom):
                    narrow(lines, statement, module.reached)
        return left

    def _decide(
        self, module: Module, lines: list[str], statement: ast.If, branch: list[ast.stmt], in_class: bool
    ) -> bool:
        """Leaves the chosen branch under `if True`, which costs nothing."""
        left = self._empty(module, lines, branch, in_class) if branch else False
        if not left:
            erase(lines, statement.lineno, last_line(statement))
            return False
        first, last = first_line(branch[0]), last_line(branch[-1])
        erase(lines, statement.lineno, first - 1)
        erase(lines, last + 1, last_line(statement))
        lines[statement.lineno - 1] = " " * statement.col_offset + "if True:"
        return True

    def _stays(self, module: Module, statement: ast.stmt, in_class: bool) -> bool:
        if is_text(statement):
            return False
        if in_class:
            return not isinstance(statement, Function) or id(statement) in self._methods
        names = list(module.imported(statement)) if isinstance(statement, Import) else bound(statement)
        return not names or any(name in module.reached for name in names)


def first_line(statement: ast.stmt) -> int:
    decorators = statement.decorator_list if isinstance(statement, Function | ast.ClassDef) else []
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def last_line(statement: ast.stmt) -> int:
    return statement.end_lineno or statement.lineno


def erase(lines: list[str], first: int, last: int) -> None:
    for number in range(first - 1, last):
        lines[number] = ""


def narrow(lines: list[str], statement: ast.ImportFrom, reached: set[str]) -> None:
    """Leaves only those names of an import that were reached."""
    aliases = [alias for alias in statement.names if (alias.asname or alias.name) in reached]
    erase(lines, statement.lineno, last_line(statement))
    new = ast.ImportFrom(statement.module, aliases, statement.level)
    lines[statement.lineno - 1] = " " * statement.col_offset + ast.unparse(new)
