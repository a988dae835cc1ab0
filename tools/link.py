"""Joins an application's modules into few and shortens its names, for an interpreter with little memory.

On the heap each module costs its dictionary, a table of its names, a place for whatever it imports and the
names themselves. What is loaded for good becomes part of the main module; what is loaded together and no
earlier becomes one, too. Imports between parts of one module vanish, others name what is needed. Globals,
attributes that only the application has, and parameters that nobody names in a call get names that the
interpreter has in its own table, as far as there are such. Attributes and parameters share them; two that
may meet in one object, in a class or those it inherits from, never share one. Packages vanish, their modules
lie side by side. A class gives up two entries that the compiler makes, and those that have nothing of their
own share a dictionary.

A module keeps its name that is dropped from sys.modules by name; where forget() does that, what only this one
needs joins it, and goes with it. What is in a package that is forgotten as a whole never joins anything
outside. Names stay: of exceptions and their attributes, of what is asked for with getattr, of attributes that
the interpreter's own objects have (`kept`), of what an f-string holds. Lines stay in their order;
`Linked.starts` says at which line of its module each source begins.
"""

import ast
import keyword
from collections.abc import Iterable, Iterator, Mapping

from link_parts import Origin, Part, bound_in, flat, is_own, rebound
from link_writer import Writer
from shake import Function, Import

_BY_NAME = ("getattr", "hasattr", "setattr")
_MOST_PARAMETERS = 30  # of a function and those around it; as many others are named in calls
_NEEDED = {"type"}  # builtins that the writer names


class Linked:
    """`sources`: text by module name; `packages`: which are packages; `main`: the module that those join that
    are loaded for good, which are what it imports and `resident` with what they import; `starters`: modules
    that others import by name, as they do what these import. Where they lie they are not rewritten: here only
    their private names are.
    `kept`: names of attributes that objects of the interpreter have; `interned`: names that it has in its
    table anyway; `asked`: globals that somebody else asks for. Gives `texts` by the name of the new module,
    `module_of` by that of the old one, and `starts`, at which lines of the new modules the old ones begin."""

    def __init__(
        self,
        sources: Mapping[str, str],
        packages: Iterable[str],
        *,
        main: str,
        resident: Iterable[str],
        starters: Iterable[str],
        kept: Iterable[str],
        interned: Iterable[str] = (),
        asked: Iterable[Origin] = (),
    ) -> None:
        self._parts = {name: Part(name, text, name in set(packages)) for name, text in sources.items()}
        self._main = main
        self._packages = set(packages)
        self._kept = set(kept)
        self._keywords: set[str] = set()
        self._fixed: set[str] = set()
        self._prefixes: tuple[str, ...] = ()
        self._forgotten: tuple[str, ...] = ()
        self._starters = tuple(starter for starter in starters if starter in self._parts)
        self._alone = {"texts", *packages, *self._starters}
        self._dropped: set[str] = set()
        self._asked: set[Origin] = set(asked)
        self._survey()
        self._interned = sorted(set(interned) - self._words() - set(keyword.kwlist) - _NEEDED)
        self._ask()
        joined = self._join({main, *resident})
        self.module_of = {name: flat(joined[name]) for name in self._parts}
        self._attributes = self._attribute_names()
        self._named_in_calls = self._keyword_names()
        self._globals = self._global_names()
        self.texts: dict[str, str] = {}
        self.starts: dict[str, list[tuple[int, str]]] = {}
        members: dict[str, list[str]] = {}
        for part in self._in_order():
            if self._is_written(part):
                members.setdefault(self.module_of[part], []).append(part)
        for module, parts in members.items():
            self._write(module, parts)

    # What there is

    def _survey(self) -> None:
        prefixes: set[str] = set()
        forgotten: set[str] = set()
        for part in self._parts.values():
            for node in ast.walk(part.module.tree):
                if isinstance(node, ast.keyword) and node.arg:
                    self._keywords.add(node.arg)
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "forget":
                    package, *names = (ast.literal_eval(argument) for argument in node.args)
                    forgotten.update(set() if names else {f"{package}."})
                    self._dropped.update({f"{package}.{name}" for name in names} & set(self._parts))
                elif isinstance(node, Function) and "sys.modules.pop(" in ast.unparse(node):
                    self._alone.update(set(self._named(part, node)) & set(self._parts))
                elif isinstance(node, ast.JoinedStr):
                    # Before Python 3.12 positions within f-strings are wrong.
                    for inner in ast.walk(node):
                        if isinstance(inner, ast.Name):
                            self._fixed.add(inner.id)
                        elif isinstance(inner, ast.Attribute):
                            self._fixed.add(inner.attr)
                elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "getattr",
                    "hasattr",
                    "setattr",
                ):
                    asked = node.args[1].left if isinstance(node.args[1], ast.BinOp) else node.args[1]
                    assert isinstance(asked, ast.Constant) and isinstance(asked.value, str)
                    prefixes.add(asked.value)
        self._prefixes = tuple(sorted(prefixes))
        self._forgotten = tuple(sorted(forgotten))
        self._alone |= self._dropped

    def _keyword_names(self) -> dict[str, str]:
        """New names of parameters that calls name; behind those of all others."""
        functions = [
            node
            for part in self._parts.values()
            for node in ast.walk(part.module.tree)
            if isinstance(node, Function | ast.Lambda)
        ]
        stay = self._kept | self._fixed
        for function in functions:
            stay |= rebound(function)
            assert function.args.kwarg is None, ast.unparse(function.args)
        for starter in self._starters:
            tree = self._parts[starter].module.tree
            stay |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        return {
            name: self.member(_MOST_PARAMETERS + number)
            for number, name in enumerate(sorted(self._keywords - stay))
        }

    def _words(self) -> set[str]:
        """All that any source names, whatever it means."""
        words: set[str] = set()
        for part in self._parts.values():
            for node in ast.walk(part.module.tree):
                for field in ("id", "arg", "name", "asname"):
                    words.update(str(getattr(node, field, "")).split("."))
        return words

    def _named(self, part: Part, function: ast.AST) -> Iterator[str]:
        """Strings in a function, and in the constants that it uses."""
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.Name):
                for statement in part.module.definitions.get(node.id, ()):
                    if isinstance(statement, ast.Assign):
                        yield from self._named(part, statement.value)

    def _ask(self) -> None:
        """What starters, which lie beside several such applications, ask of others keeps its name."""
        for starter in self._starters:
            tree = self._parts[starter].module.tree
            imports = dict(self._all_imports(self._parts[starter]))
            for source, inner in imports.values():
                if source in self._parts and source != self._main:
                    self._alone.add(source)
                self._asked.add((source, inner))
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    self._asked.add((imports.get(node.value.id, ("", ""))[0], node.attr))

    def origin(self, module: str, name: str) -> Origin:
        """Where a global of a module really comes from; ("", name) for a builtin."""
        part = self._parts.get(module)
        if part is None:
            return module, name
        if name in part.bindings:
            source, inner = part.bindings[name]
            return self.resolved(source, inner)
        return (module, name) if name in part.defined else ("", name)

    def resolved(self, source: str, inner: str) -> Origin:
        """What importing `inner` from `source` gives."""
        if not inner:
            return source, ""
        if f"{source}.{inner}" in self._parts:
            return f"{source}.{inner}", ""
        return self.origin(source, inner)

    def _needs(self, name: str) -> set[str]:
        """The application's modules that a module imports at once."""
        part = self._parts[name]
        found = set()
        for source, inner in part.bindings.values():
            for each in {source, self.resolved(source, inner)[0]}:
                if each in self._parts and each != name:
                    found.add(each)
        return found

    # Which become one

    def _is_alone(self, name: str) -> bool:
        return name in self._alone and name != self._main

    def _is_forgotten(self, name: str) -> bool:
        return name.startswith(self._forgotten)

    def _is_written(self, name: str) -> bool:
        """All but empty packages, which would take memory."""
        return name not in self._packages or any(self._parts[name].module.tree.body)

    def _closure(self, name: str) -> set[str]:
        found, waiting = {name}, [name]
        while waiting:
            for each in self._needs(waiting.pop()) - found:
                found.add(each)
                waiting.append(each)
        return found

    def _join(self, resident: set[str]) -> dict[str, str]:
        """By module, the one that it becomes a part of."""
        joined = {name: name for name in self._parts}
        loaded = {each for name in resident & set(self._parts) for each in self._closure(name)}
        for name in loaded:
            if not self._is_alone(name) and not self._is_forgotten(name):
                joined[name] = self._main
        rest = [name for name in self._parts if joined[name] == name and not self._is_alone(name)]
        asked = self._asked_later()
        roots = {name: self._closure(name) for name in self._parts if name in asked or name in self._alone}
        groups: dict[tuple[bool, frozenset[str]], list[str]] = {}
        for name in rest:
            owners = frozenset(root for root, reached in roots.items() if name in reached)
            # What is forgotten never stands beside what is not.
            groups.setdefault((self._is_forgotten(name), owners), []).append(name)
        for (_, owners), names in groups.items():
            head = next((name for name in names if name in owners), min(names))
            if len(owners) == 1 and owners <= self._dropped:
                (head,) = owners
            for name in names:
                joined[name] = head
        return joined

    def _asked_later(self) -> set[str]:
        """Modules that are imported within functions."""
        found = set()
        for part in self._parts.values():
            at_once = set(part.bindings.values())
            for _, (source, inner) in self._all_imports(part):
                if (source, inner) not in at_once:
                    found.add(self.resolved(source, inner)[0])
                    found.add(source)
        return found & set(self._parts)

    def _in_order(self) -> list[str]:
        """What is imported stands before who imports it."""
        done: list[str] = []

        def visit(name: str) -> None:
            if name not in done:
                seen.add(name)
                for each in sorted(self._needs(name) - seen):
                    visit(each)
                done.append(name)

        seen: set[str] = set()
        for name in sorted(self._parts):
            if name not in seen:
                visit(name)
        return done

    # New names

    def _attribute_names(self) -> dict[str, str]:
        families: dict[str, set[str]] = {}
        kept = set(self._kept) | self._fixed
        for starter in self._starters:
            for node in ast.walk(self._parts[starter].module.tree):
                if isinstance(node, ast.Attribute):
                    named = {node.attr}
                elif isinstance(node, ast.ClassDef):
                    named = bound_in(node.body)
                else:
                    continue
                kept.update(each for each in named if not each.startswith("_"))
        classes = [
            node
            for part in self._parts.values()
            for node in ast.walk(part.module.tree)
            if isinstance(node, ast.ClassDef)
        ]
        known = {node.name for node in classes}
        for node in classes:
            own = set(bound_in(node.body))
            for inner in ast.walk(node):
                if is_own(inner):
                    own.add(inner.attr)
            family = families.setdefault(node.name, set())
            family |= own
            for base in node.bases:
                name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
                if name not in known and name != "object":
                    kept |= own  # the interpreter calls these, or an error has them
                relatives = families.setdefault(name, set())
                joined = family | relatives
                for each, members in list(families.items()):
                    if members is family or members is relatives:
                        families[each] = joined
                family = joined
        every = {name for members in families.values() for name in members}
        chosen = sorted(
            name
            for name in every - kept
            if not name.startswith("__") and not (self._prefixes and name.startswith(self._prefixes))
        )
        groups = list({id(members): members for members in families.values()}.values())
        named = {
            node.attr
            for part in self._parts.values()
            for node in ast.walk(part.module.tree)
            if isinstance(node, ast.Attribute)
        }
        self._members = [name for name in self._interned if name not in named]
        given: dict[str, str] = {}
        for name in chosen:
            meets = {
                given[other] for members in groups if name in members for other in members if other in given
            }
            number = 0
            while self.member(number) in meets:
                number += 1
            given[name] = self.member(number)
        # A global that is called as a parameter or as something in a class would be hidden there.
        hidden = {*given.values(), *map(self.member, range(2 * _MOST_PARAMETERS))}
        self._shorts = [name for name in self._interned if name not in hidden]
        return given

    def member(self, number: int) -> str:
        """Short names that attributes and parameters share."""
        return self._members[number] if number < len(self._members) else f"a{number}"

    def _short(self, number: int) -> str:
        return self._shorts[number] if number < len(self._shorts) else f"g{number}"

    def other(self, number: int) -> str:
        """For what is imported under a name that is taken."""
        return self._shorts[-1 - number] if number < len(self._shorts) else f"h{number}"

    def _global_names(self) -> dict[Origin, str]:
        """New names, by origin; numbered within each new module, without those that it imports."""
        given: dict[Origin, str] = {}
        order = self._in_order()
        modules = sorted({*self.module_of.values()}, key=lambda module: (module != self._main, module))
        for module in modules:
            parts = [name for name in order if self.module_of[name] == module]
            used = set()
            for name in parts:
                for _, (source, inner) in self._all_imports(self._parts[name]):
                    origin = self.resolved(source, inner)
                    used.add(given.get(origin, ""))
            number = 0
            for name in parts:
                part = self._parts[name]
                for each in sorted(part.defined):
                    if (
                        (name, each) in self._asked
                        or (name in self._starters and not each.startswith("_"))
                        or each in self._fixed
                        or each.startswith("__")
                        or self._is_exception(name, each)
                    ):
                        given[name, each] = each
                        continue
                    while self._short(number) in used:
                        number += 1
                    given[name, each] = self._short(number)
                    number += 1
        return given

    def _all_imports(self, part: Part) -> Iterator[tuple[str, Origin]]:
        for node in ast.walk(part.module.tree):
            if isinstance(node, Import):
                yield from part.module.imported(node).items()

    def _is_exception(self, module: str, name: str) -> bool:
        """Exceptions tell their names."""
        for statement in self._parts[module].module.definitions.get(name, ()):
            if isinstance(statement, ast.ClassDef) and statement.bases:
                base = getattr(statement.bases[0], "id", "")
                if base.endswith(("Error", "Exception")):
                    return True
                source, inner = self.origin(module, base)
                return source in self._parts and bool(inner) and self._is_exception(source, inner)
        return False

    # What becomes of it

    def _write(self, module: str, parts: list[str]) -> None:
        # The first line is for the import of texts.
        lines = [] if len(parts) == 1 and self._parts[parts[0]].lines[:1] == [b""] else [""]
        starts = []
        writer = Writer(self, module, parts)
        for name in parts:
            starts.append((len(lines) + 1, name))
            lines += writer.rewritten(self._parts[name])
        self.texts[module] = "\n".join(lines) + "\n"
        self.starts[module] = starts

    def attribute(self, name: str) -> str:
        return self._attributes.get(name, name)

    def name(self, origin: Origin) -> str:
        return self._globals.get(origin, origin[1])

    def defined(self, module: str) -> set[str]:
        return self._parts[module].defined

    def local_names(self, modules: Iterable[str]) -> set[str]:
        return set[str]().union(*(self._parts[module].local for module in modules))

    def is_ours(self, module: str) -> bool:
        return module in self._parts

    def parameter(self, name: str, number: int) -> str:
        """What the parameter with this number in its function is called."""
        if name in self._keywords:
            return self.keyword(name)
        return name if name in self._fixed or name in ("self", "cls") else self.member(number)

    def keyword(self, name: str) -> str:
        """What a parameter is called that calls name: in all functions the same."""
        return self._named_in_calls.get(name, name)
