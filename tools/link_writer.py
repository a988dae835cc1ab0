"""Writes the sources that become one module, with the names that link.py gives."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from link_parts import COMPREHENSIONS, Origin, Part, Scope, bound_in, flat, rebound
from shake import Function, Import, erase, last_line

if TYPE_CHECKING:
    from link import Linked

_EMPTY = "_"  # a name that the interpreter has, and that is no global here
Place = tuple[int, int, int]  # line from 1, first and last byte within it
_Scoped = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Writer:
    """Writes the sources that become one module."""

    def __init__(self, linked: Linked, module: str, parts: list[str]) -> None:
        self._linked = linked
        self._module = module
        self._parts = parts
        self._imported: dict[Origin, str] = {}
        self._has_empty = False
        self._own = {linked.name((name, each)) for name in parts for each in linked.defined(name)}

    def rewritten(self, part: Part) -> list[str]:
        self._part = part
        self._places: list[tuple[Place, str]] = []
        self._statements: list[tuple[ast.stmt, str]] = []
        self._added: list[tuple[int, str]] = []
        scope = Scope("module", set(), None)
        for statement in part.module.tree.body:
            self._visit(statement, scope)
        lines = list(part.lines)
        for (line, start, end), new in sorted(self._places, reverse=True):
            text = lines[line - 1]
            lines[line - 1] = text[:start] + new.encode() + text[end:]
        texts = [line.decode() for line in lines]
        for statement, new in self._statements:
            erase(texts, statement.lineno, last_line(statement))
            texts[statement.lineno - 1] = " " * statement.col_offset + new
        for number, new in self._added:
            texts[number - 1] = new
        return texts

    def _replace(self, line: int, start: int, end: int, new: str) -> None:
        self._places.append(((line, start, end), new))

    def _here(self, origin: Origin) -> str | None:
        """What something that is not local is called in the module that is written."""
        source = origin[0]
        if self._linked.is_ours(source) and self._linked.module_of[source] == self._module:
            return self._linked.name(origin)
        return self._imported.get(origin)

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.JoinedStr):
            return
        if isinstance(node, Import):
            self._import(node, scope)
        elif isinstance(node, _Scoped):
            self._function(node, scope)
        elif isinstance(node, ast.ClassDef):
            self._class(node, scope)
        elif isinstance(node, COMPREHENSIONS):
            self._comprehension(node, scope)
        elif isinstance(node, ast.Name):
            self._name(node, scope)
        elif isinstance(node, ast.Attribute):
            self._attribute(node, scope)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "forget":
            self._forget(node, scope)
        elif isinstance(node, ast.keyword):
            assert node.arg is not None
            end = node.col_offset + len(node.arg.encode())
            self._replace(node.lineno, node.col_offset, end, self._linked.keyword(node.arg))
            self._visit(node.value, scope)
        elif isinstance(node, ast.Global):
            names = [self._linked.name((self._part.name, name)) for name in node.names]
            self._statements.append((node, "global " + ", ".join(names)))
        elif isinstance(node, ast.AnnAssign):
            self._visit(node.target, scope)
            if node.value is not None:
                self._visit(node.value, scope)
        else:
            for child in ast.iter_child_nodes(node):
                self._visit(child, scope)

    def _function(self, node: _Scoped, scope: Scope) -> None:
        arguments = node.args
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default is not None:
                self._visit(default, scope)
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [one for one in (arguments.vararg, arguments.kwarg) if one]
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        inner = Scope("function", bound_in(body) | {one.arg for one in every}, scope)
        released = rebound(node)
        number = inner.depth
        for one in every:
            new = self._linked.parameter(one.arg, number)
            if new != one.arg and one.arg not in released:
                inner.parameters[one.arg] = new
                number += 1
                start = one.col_offset
                self._replace(one.lineno, start, start + len(one.arg.encode()), new)
        if not isinstance(node, ast.Lambda):
            for decorator in node.decorator_list:
                self._visit(decorator, scope)
            self._defined(node, scope)
        for statement in body:
            self._visit(statement, inner)

    def _defined(self, node: Function | ast.ClassDef, scope: Scope) -> None:
        if scope.kind == "class":
            new = self._linked.attribute(node.name)
        elif scope.kind == "module":
            new = self._linked.name((self._part.name, node.name))
        else:
            return
        line = self._part.lines[node.lineno - 1]
        start = line.index(b" " + node.name.encode(), node.col_offset) + 1
        self._replace(node.lineno, start, start + len(node.name.encode()), new)

    def _forget(self, node: ast.Call, scope: Scope) -> None:
        """Modules have other names than the sources say."""
        package, *leaves = (ast.literal_eval(argument) for argument in node.args)
        start, end = node.args[0].col_offset, (node.args[-1].end_col_offset or 0)
        assert node.lineno == node.end_lineno
        self._visit(node.func, scope)
        self._replace(node.lineno, start, end, f'"{flat(package)}", "{"".join(leaves)}", "_"')

    def _class(self, node: ast.ClassDef, scope: Scope) -> None:
        if scope.kind == "module" and node.bases and all(isinstance(each, ast.Pass) for each in node.body):
            self._empty_class(node)
            return
        for each in [*node.decorator_list, *node.bases, *node.keywords]:
            self._visit(each, scope)
        self._defined(node, scope)
        self._unname(node)
        inner = Scope("class", bound_in(node.body), scope)
        for statement in node.body:
            self._visit(statement, inner)

    def _empty_class(self, node: ast.ClassDef) -> None:
        """Those that have nothing of their own share a dictionary."""
        bases = ""
        for base in node.bases:
            assert isinstance(base, ast.Name)
            bases += f"{self._here(self._linked.origin(self._part.name, base.id)) or base.id},"
        name = self._linked.name((self._part.name, node.name))
        first = "" if self._has_empty else f"{_EMPTY} = {{}}; "
        self._has_empty = True
        self._statements.append((node, f'{first}{name} = type("{name}", ({bases}), {_EMPTY})'))

    def _unname(self, node: ast.ClassDef) -> None:
        """A class has two entries that nobody asks for: others take their place."""
        new = "del __module__, __qualname__"
        first = node.body[0]
        line = first.lineno
        if isinstance(first, Function | ast.ClassDef):
            line = min([line, *(each.lineno for each in first.decorator_list)])
            if not self._part.lines[line - 2].strip():
                self._added.append((line - 1, " " * first.col_offset + new))
        else:
            self._replace(line, first.col_offset, first.col_offset, new + "; ")

    def _comprehension(self, node: ast.AST, scope: Scope) -> None:
        generators = node.generators  # type: ignore[attr-defined]
        self._visit(generators[0].iter, scope)
        names = {
            each.id
            for generator in generators
            for each in ast.walk(generator.target)
            if isinstance(each, ast.Name)
        }
        inner = Scope("function", names, scope)
        for i, generator in enumerate(generators):
            self._visit(generator.target, inner)
            if i:
                self._visit(generator.iter, inner)
            for condition in generator.ifs:
                self._visit(condition, inner)
        for field in ("elt", "key", "value"):
            if hasattr(node, field):
                self._visit(getattr(node, field), inner)

    def _found(self, name: str, scope: Scope) -> tuple[str, str | None]:
        """("local", new name or None), ("module", a module), ("attribute", new) or ("global", "")."""
        at: Scope | None = scope
        while at is not None and at.kind != "module":
            if name in at.names and (at.kind == "function" or at is scope):
                if at.kind == "class":
                    return "attribute", self._linked.attribute(name)
                if name in at.modules:
                    return "module", at.modules[name]
                return "local", at.parameters.get(name)
            at = at.parent
        return "global", ""

    def _name(self, node: ast.Name, scope: Scope) -> None:
        kind, new = self._found(node.id, scope)
        if kind == "global":
            origin = self._linked.origin(self._part.name, node.id)
            if not origin[0]:
                return
            new = self._here(origin)
            if not origin[1] and self._linked.is_ours(origin[0]):
                raise ValueError(f"{self._part.name}:{node.lineno}: {node.id} is used as an object")
        elif kind == "module" and self._linked.is_ours(new or ""):
            raise ValueError(f"{self._part.name}:{node.lineno}: {node.id} is used as an object")
        if new is not None and new != node.id and kind != "module":
            self._replace(node.lineno, node.col_offset, node.end_col_offset or 0, new)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> None:
        end = node.end_col_offset or 0
        start = end - len(node.attr.encode())
        line = node.end_lineno or node.lineno
        if isinstance(node.value, ast.Name):
            kind, found = self._found(node.value.id, scope)
            if kind == "global":
                source, inner = self._linked.origin(self._part.name, node.value.id)
                if source and not inner:
                    kind, found = "module", source
            if kind == "module":
                assert found is not None
                self._member(node, found, line, start, end)
                return
        self._visit(node.value, scope)
        new = self._linked.attribute(node.attr)
        if new != node.attr:
            self._replace(line, start, end, new)

    def _member(self, node: ast.Attribute, source: str, line: int, start: int, end: int) -> None:
        """An attribute of a module."""
        if not self._linked.is_ours(source):
            new = self._imported.get((source, ""))
            assert isinstance(node.value, ast.Name)
            if new is not None and new != node.value.id:
                self._replace(node.lineno, node.value.col_offset, node.value.end_col_offset or 0, new)
            return
        origin = self._linked.resolved(source, node.attr)
        assert origin[0] and origin[1], (self._part.name, node.lineno, ast.unparse(node))
        if self._linked.module_of[source] == self._module or self._here(origin) is not None:
            new = self._here(origin)
            assert new is not None
            assert node.lineno == line
            self._replace(line, node.col_offset, end, new)
        else:
            self._replace(line, start, end, self._linked.name(origin))

    def _import(self, node: Import, scope: Scope) -> None:
        if scope.kind == "module":
            self._import_at_once(node)
            return
        function = scope
        statements: list[str] = []
        for local, (source, inner) in self._part.module.imported(node).items():
            origin = self._linked.resolved(source, inner)
            module, name = origin
            if not self._linked.is_ours(module):
                if not inner:
                    function.modules[local] = source
                if name or inner:
                    statements.append(
                        f"from {source} import {inner}" + (f" as {local}" if local != inner else "")
                    )
                else:
                    statements.append(f"import {source}" + (f" as {local}" if local != source else ""))
                continue
            target = self._linked.module_of[module]
            if not name:
                function.modules[local] = module
                if target != self._module:
                    statements.append(f"import {target} as {local}")
            elif target == self._module:
                statements.append(f"{local} = {self._linked.name(origin)}")
            else:
                new = self._linked.name(origin)
                statements.append(f"from {target} import {named(new, local)}")
        self._statements.append((node, "; ".join(statements) or "pass"))

    def _import_at_once(self, node: Import) -> None:
        statements: list[str] = []
        for local, (source, inner) in self._part.module.imported(node).items():
            origin = self._linked.resolved(source, inner)
            module, name = origin
            if origin in self._imported:
                continue
            if not self._linked.is_ours(module):
                self._imported[origin] = local
                if inner:
                    statements.append(
                        f"from {module} import {name or inner}"
                        + (f" as {local}" if local != (name or inner) else "")
                    )
                else:
                    statements.append(f"import {source}" + (f" as {local}" if local != source else ""))
                continue
            target = self._linked.module_of[module]
            if target == self._module:
                continue
            if not name:
                # What is used of it, by its own name.
                for each in self._used_of(local):
                    self._take(module, each, statements)
            else:
                self._take(module, name, statements)
        indent = node.col_offset
        self._statements.append((node, "; ".join(statements) or ("pass" if indent else "")))

    def _used_of(self, local: str) -> list[str]:
        """The attributes that the part names of what it calls so."""
        return sorted(
            node.attr
            for node in ast.walk(self._part.module.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == local
        )

    def _free(self, name: str, local: set[str]) -> str:
        """The name, or another one where it is taken in the module that is written."""
        taken = {*self._imported.values(), *self._own, *local}
        number = 0
        free = name
        while free in taken:
            free = self._linked.other(number)
            number += 1
        return free

    def _take(self, module: str, name: str, statements: list[str]) -> None:
        origin = self._linked.resolved(module, name)
        if origin in self._imported or not origin[1]:
            return
        if self._linked.module_of[origin[0]] == self._module:
            return
        new = self._linked.name(origin)
        local = self._free(new, self._linked.local_names(self._parts))
        self._imported[origin] = local
        target = self._linked.module_of[origin[0]]
        statements.append(f"from {target} import {named(new, local)}")


def named(name: str, local: str) -> str:
    """What an import calls it."""
    return name if name == local else f"{name} as {local}"
