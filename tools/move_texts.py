"""Moves what errors and log lines say out of the bytecode and into a file, for an interpreter with little
memory.

A text of more than ten bytes is an object on the heap as long as its module, and one for people is hardly
ever needed: what a `raise` statement holds, and what a function says that has blanks in it. It becomes a call
of micropython/texts.py that reads it. Lines keep their numbers.
"""

import ast
from collections.abc import Iterator, Mapping

from shake import Function

_LEAST = 11  # bytes; shorter ones are names to the interpreter
_IMPORT = "from texts import text as _text"


def move_texts(sources: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """The sources (text by module name, first lines empty) without their errors' texts, and these."""
    texts = bytearray()
    starts: dict[bytes, int] = {}
    moved = {}
    for name, source in sources.items():
        lines = [line.encode() for line in source.splitlines()]
        places = sorted(found(ast.parse(source)), key=lambda place: (place.lineno, place.col_offset))
        for place in reversed(places):
            assert isinstance(place.value, str)
            text = place.value.encode()
            if text not in starts:
                starts[text] = len(texts)
                texts += text
            first, last = place.lineno - 1, (place.end_lineno or place.lineno) - 1
            rest = lines[last][place.end_col_offset :]
            call = b"_text(%d, %d)" % (starts[text], len(text))
            head = lines[first][: place.col_offset]
            for number in range(first, last + 1):
                lines[number] = b""
            lines[first] = head + call
            lines[last] += rest
        if places:
            if lines[0]:
                raise ValueError(f"{name}: begins with no docstring, so there is no line for an import")
            lines[0] = _IMPORT.encode()
        moved[name] = b"\n".join(lines).decode() + "\n"
    return moved, bytes(texts)


def found(tree: ast.Module) -> Iterator[ast.Constant]:
    places: dict[int, ast.Constant] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            places.update((id(text), text) for text in constants(node.exc))
        elif isinstance(node, Function):
            for statement in node.body:
                places.update((id(text), text) for text in constants(statement) if " " in str(text.value))
    yield from places.values()


def constants(node: ast.AST) -> Iterator[ast.Constant]:
    if isinstance(node, ast.JoinedStr | ast.arguments):
        return  # before Python 3.12 positions within f-strings are wrong; defaults are no function's own
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.encode()) >= _LEAST:
        yield node
    for child in ast.iter_child_nodes(node):
        yield from constants(child)
