"""Writes the value of constants wherever a module names them, for an interpreter with little memory.

mpy-cross does so within a module, and only for integers with an underscore; a global costs a place and a name
in each module that has it. Integers and short texts, which the interpreter has once anyway, are written
wherever they are named; what else is a literal, where nothing else names it. Names of constants are in
capitals. Lines keep their numbers.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from shake import DECIDED, Import, Module, decision, evaluated, members

Origin = tuple[str, str]  # module and name
Constant = int | str | bytes | tuple[object, ...]
_LITERAL = (
    *(ast.Constant, ast.Tuple, ast.IfExp, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Load),
)
_SHORT = 10  # bytes of texts that are names to the interpreter


def constants(module: Module, literals: bool) -> dict[str, Constant]:
    """The module's integers that are wrapped in const(), and with `literals` its literals, by name."""
    found: dict[str, Constant] = {}
    for statement in members(module.tree.body):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        target, value = statement.targets[0], statement.value
        if target.id in DECIDED:
            found[target.id] = DECIDED[target.id]
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "const":
            value = value.args[0]
        elif not literals or not target.id.isupper():
            continue
        if all(isinstance(node, _LITERAL) for node in ast.walk(value)):
            literal = eval(ast.unparse(value))  # noqa: S307 - operators and literals of our own sources
            if type(literal) in (int, str, bytes, tuple):
                found[target.id] = literal
    return found


def inline(sources: Mapping[str, tuple[str, bool]], asked: Iterable[str] = ()) -> dict[str, tuple[str, bool]]:
    """The sources (by module name: text, whether it is a package) with values in place of names. `asked`: of
    whose globals others know."""
    alone = set(asked)
    return _inlined(_inlined(sources, alone), alone)  # those, too, that are made of others


def _inlined(sources: Mapping[str, tuple[str, bool]], alone: set[str]) -> dict[str, tuple[str, bool]]:
    parts = {name: _Part(name, *source, name not in alone) for name, source in sources.items()}
    known = {(name, each): value for name, part in parts.items() for each, value in part.constants.items()}
    changed = {
        node.attr
        for part in parts.values()
        for node in ast.walk(part.module.tree)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
    }
    known = {origin: value for origin, value in known.items() if origin[1] not in changed}
    named = Counter(origin for part in parts.values() for _, origin in part.places(known))
    written = {
        origin: value
        for origin, value in known.items()
        if isinstance(value, int)
        or (isinstance(value, str) and len(value.encode()) <= _SHORT)
        or named[origin] == 1
    }
    return {name: (part.rewritten(written), sources[name][1]) for name, part in parts.items()}


class _Part:
    """A module, and where it names which constants."""

    def __init__(self, name: str, source: str, is_package: bool, literals: bool) -> None:
        self.name = name
        self.module = Module(name, source, is_package)
        self._imports = dict(self.module.imports)
        self._conditions = [node for node in ast.walk(self.module.tree) if isinstance(node, ast.If)]
        self._strings: set[int] = set()  # before Python 3.12 positions within f-strings are wrong
        assigned: Counter[str] = Counter()
        rebound: Counter[str] = Counter()
        for node in ast.walk(self.module.tree):
            if isinstance(node, Import):
                self._imports.update(self.module.imported(node))
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                assigned[node.id] += 1
            elif isinstance(node, ast.arg):
                assigned[node.arg] += 1
            elif isinstance(node, ast.Global):
                rebound.update(node.names)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                rebound[node.target.id] += 1
            elif isinstance(node, ast.JoinedStr):
                self._strings.update(id(inner) for inner in ast.walk(node))
        # One that has a name in common with a local is written out in other modules only.
        found = constants(self.module, literals)
        self.constants = {each: value for each, value in found.items() if not rebound[each]}
        self._local = {each: (name, each) for each in self.constants if assigned[each] == 1}
        for local, origin in self._imports.items():
            if local not in assigned:
                self._local[local] = origin

    def places(self, known: Mapping[Origin, Constant]) -> Iterator[tuple[ast.expr, Origin]]:
        decided = (node.test for node in self._conditions if decision(node) is not None)
        for node in (*evaluated(self.module.tree), *decided):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                origin = self._local.get(node.id, ("", ""))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                source = ".".join(part for part in self._imports.get(node.value.id, ()) if part)
                origin = source, node.attr
            else:
                continue
            if origin in known and id(node) not in self._strings:
                yield node, origin

    def rewritten(self, values: Mapping[Origin, Constant]) -> str:
        lines = [line.encode() for line in self.module.source.splitlines()]
        places = list(self.places(values))
        places.sort(key=lambda place: (place[0].lineno, place[0].col_offset), reverse=True)
        for node, origin in places:
            line = lines[node.lineno - 1]
            value = values[origin]
            text = f"({value})" if isinstance(value, int) and value < 0 else repr(value)
            lines[node.lineno - 1] = line[: node.col_offset] + text.encode() + line[node.end_col_offset :]
        return "\n".join(line.decode() for line in lines) + "\n"
