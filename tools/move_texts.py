"""Moves what errors say out of the bytecode and into a file, for an interpreter with little memory.

A text that a `raise` statement holds is on the heap as long as its module, and hardly ever needed. It
becomes a call of micropython/texts.py that reads it. Lines keep their numbers.
"""

import ast
from collections.abc import Iterator, Mapping

_LEAST = 24  # bytes; the call that takes a shorter text's place costs as much
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
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Raise) and statement.exc is not None:
            yield from constants(statement.exc)


def constants(node: ast.AST) -> Iterator[ast.Constant]:
    if isinstance(node, ast.JoinedStr):
        return  # before Python 3.12 positions within f-strings are wrong
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) >= _LEAST:
        yield node
    for child in ast.iter_child_nodes(node):
        yield from constants(child)
