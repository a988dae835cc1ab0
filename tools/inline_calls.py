"""Writes what small functions give where they are called, for an interpreter with little memory.

A function costs an object, a place and a name. One of a module that only returns an expression, and that only
this module calls, once or twice, becomes that expression. Lines keep their numbers.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping

from link_parts import COMPREHENSIONS, bound_in
from shake import Function, Import, Module, is_text

_MOST = 8  # calls
_Scopes = tuple[set[str], ...]


def inline_calls(sources: Mapping[str, str]) -> dict[str, str]:
    """The sources (text by module name) with expressions in place of calls."""
    modules = {name: Module(name, text, False) for name, text in sources.items()}
    asked = {origin for module in modules.values() for origin in _asked(module)}
    return {name: _rewritten(name, module, asked) for name, module in modules.items()}


def _asked(module: Module) -> Iterator[tuple[str, str]]:
    """What a module takes from others, wherever it does."""
    imports = dict(module.imports)
    for node in ast.walk(module.tree):
        if isinstance(node, Import):
            imports.update(module.imported(node))
            yield from module.imported(node).values()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imports:
            yield ".".join(part for part in imports[node.value.id] if part), node.attr


def _rewritten(name: str, module: Module, asked: set[tuple[str, str]]) -> str:
    source, tree = module.source, module.tree
    while True:
        named = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        functions = {
            each.name: each
            for each in tree.body
            if isinstance(each, ast.FunctionDef)
            and (name, each.name) not in asked
            and named[each.name] <= _MOST
            and (_is_small(each) or not named[each.name])
        }
        calls: dict[str, list[tuple[ast.Call, str]]] = {name: [] for name in functions if not named[name]}
        for call, called, scopes in _calls(tree, set(functions)):
            text = _text(functions[called], call, scopes)
            if text and not any(called in scope for scope in scopes):
                calls.setdefault(called, []).append((call, text))
        lines = source.splitlines()
        touched: set[int] = set()
        for called, places in calls.items():
            here = {line for call, _ in places for line in _lines_of(call)} | {*_lines_of(functions[called])}
            if len(places) == named[called] and touched.isdisjoint(here):
                touched |= here
                _replace(lines, functions[called], places)
        if not touched:
            return source
        source = "\n".join(lines) + "\n"
        tree = ast.parse(source)


def _lines_of(node: ast.Call | ast.FunctionDef) -> range:
    return range(node.lineno - 1, node.end_lineno or node.lineno)


def _is_small(function: ast.FunctionDef) -> bool:
    body = [statement for statement in function.body if not is_text(statement)]
    arguments = function.args
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return False
    rest = (arguments.posonlyargs, arguments.kwonlyargs, arguments.defaults, function.decorator_list)
    inner = (ast.Lambda, ast.NamedExpr, ast.JoinedStr, ast.Yield, ast.YieldFrom, *COMPREHENSIONS)
    return not (
        any(rest)
        or arguments.vararg
        or arguments.kwarg
        or any(isinstance(node, inner) for node in ast.walk(body[0]))
    )


def _calls(tree: ast.AST, names: set[str], scopes: _Scopes = ()) -> Iterator[tuple[ast.Call, str, _Scopes]]:
    """Calls of these, with the names that the functions around them bind."""
    for node in ast.iter_child_nodes(tree):
        inner = scopes
        if isinstance(node, Function | ast.Lambda):
            every = [*node.args.args, *node.args.kwonlyargs]
            every += [one for one in (node.args.vararg, node.args.kwarg) if one]
            body = [node.body] if isinstance(node, ast.Lambda) else node.body
            inner = (*scopes, bound_in(body) | {one.arg for one in every})
        elif isinstance(node, COMPREHENSIONS):
            stores = (each for each in ast.walk(node) if isinstance(each, ast.Name))
            inner = (*scopes, {each.id for each in stores if not isinstance(each.ctx, ast.Load)})
        elif isinstance(node, ast.ClassDef):
            inner = (*scopes, bound_in(node.body))
        elif isinstance(node, ast.JoinedStr):
            continue  # before Python 3.12 positions within f-strings are wrong
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node, node.func.id, scopes
        yield from _calls(node, names, inner)


def _text(function: ast.FunctionDef, call: ast.Call, scopes: _Scopes) -> str | None:
    """What stands for the call; None where nothing does as well."""
    returned = function.body[-1]
    assert isinstance(returned, ast.Return) and returned.value is not None
    parameters = [one.arg for one in function.args.args]
    if call.keywords or len(call.args) != len(parameters):
        return None
    used = Counter(node.id for node in ast.walk(returned.value) if isinstance(node, ast.Name))
    given = dict(zip(parameters, call.args, strict=True))
    if any(name in scope for name in set(used) - set(parameters) for scope in scopes):
        return None
    made = [name for name, value in given.items() if not _is_plain(value)]
    if made:
        # What does something is done once, at any rate, and in its order.
        names = [node for node in ast.walk(returned.value) if isinstance(node, ast.Name) and node.id in made]
        done = [node.id for node in sorted(names, key=lambda node: (node.lineno, node.col_offset))]
        if done != made or any(used[name] != 1 for name in made) or _is_conditional(returned.value):
            return None
    return "(%s)" % ast.unparse(_Filled(given).visit(ast.parse(ast.unparse(returned.value), mode="eval")))


def _is_plain(node: ast.expr) -> bool:
    return all(isinstance(each, ast.Name | ast.Constant | ast.Load) for each in ast.walk(node))


def _is_conditional(node: ast.AST) -> bool:
    return any(isinstance(each, ast.IfExp | ast.BoolOp | ast.Compare) for each in ast.walk(node))


class _Filled(ast.NodeTransformer):
    """Puts what is given for a parameter in its place."""

    def __init__(self, given: Mapping[str, ast.expr]) -> None:
        self._given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._given.get(node.id, node)


def _replace(lines: list[str], function: ast.FunctionDef, places: list[tuple[ast.Call, str]]) -> None:
    """Leaves out the function, and puts the texts in place of its calls."""
    for call, text in sorted(places, key=lambda place: (-place[0].lineno, -place[0].col_offset)):
        first, last = call.lineno - 1, (call.end_lineno or call.lineno) - 1
        rest = lines[last].encode()[call.end_col_offset :].decode()
        head = lines[first].encode()[: call.col_offset].decode()
        for number in _lines_of(call):
            lines[number] = ""
        lines[first] = head + text + rest
    for number in _lines_of(function):
        lines[number] = ""
