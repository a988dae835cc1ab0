"""JSON as text with places: a reader that knows where each value stands in its source. CPython only.

Numbers stay the text they are, so that nothing is lost to floats and each byte can be given back.
"""

import re
from collections.abc import Iterator

from ..errors import FrameError

MAX_DEPTH = 16

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
        (?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
        |(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9a-zA-Z.+-]))
        |(?P<word>true|false|null)
        |(?P<mark>[\[\]{},:])
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Node:
    """A JSON value. `kind`: "string", "number", "word" (true, false, null), "array" or "object"; `start`
    and `end`: its place in the source; `raw`: how it stands there, for the first three; `members` or
    `items`: what an object or array holds, in order."""

    def __init__(self, kind: str, start: int, end: int, raw: str = "") -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.raw = raw
        self.members: dict[str, Node] = {}
        self.items: list[Node] = []

    def string(self, what: str) -> str:
        """A string's text. Raises FrameError for another kind, or half a surrogate pair."""
        if self.kind != "string":
            raise FrameError(f"{what} is to be a string, not {self.raw[:40] or 'an ' + self.kind}")
        return unescape(self.raw, what)

    def null(self) -> bool:
        return self.kind == "word" and self.raw == "null"


def unescape(raw: str, what: str) -> str:
    text = _ESCAPE.sub(_unescaped, raw[1:-1]) if "\\" in raw else raw[1:-1]
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16") if "\\" in raw else text
    except UnicodeDecodeError:
        raise FrameError(f"{what} holds half a surrogate pair, which is no text") from None


def _unescaped(match: "re.Match[str]") -> str:
    escape = match.group(1)
    return chr(int(escape[1:], 16)) if escape[0] == "u" else _ESCAPES.get(escape, escape)


def parse(text: str) -> Node:
    """The one value that `text` holds. Raises FrameError for what is no JSON (RFC 8259), a key that comes
    twice in one object, and more than MAX_DEPTH levels."""
    tokens = _tokens(text)
    node = _value(next(tokens), tokens, MAX_DEPTH)
    last = next(tokens)
    if last.kind != "end":
        raise FrameError(f"no JSON: something follows the end at character {last.start}")
    return node


def _tokens(text: str) -> Iterator[Node]:
    at = 0
    end = len(text.rstrip(" \t\n\r"))
    while at < end:
        match = _TOKEN.match(text, at)
        if not match:
            raise FrameError(f"no JSON at character {at}: {text[at : at + 20]!r}")
        kind = str(match.lastgroup)
        at = match.end()
        yield Node(kind, match.start(kind), at, match.group(kind))
    while True:
        yield Node("end", end, end, "the end")


def _value(token: Node, tokens: Iterator[Node], depth: int) -> Node:
    if token.kind not in ("mark", "end"):
        return token
    if token.raw not in ("{", "["):
        raise FrameError(f"no JSON: {token.raw} at character {token.start}, where a value is expected")
    if not depth:
        raise FrameError(f"JSON is nested deeper than {MAX_DEPTH} levels")
    node = Node("object" if token.raw == "{" else "array", token.start, 0)
    close = "}" if token.raw == "{" else "]"
    token = next(tokens)
    while token.raw != close or token.kind != "mark":
        if node.kind == "object":
            key = token.string("a key")
            if key in node.members:
                raise FrameError(f"the key {key[:40]!r} comes twice in one object")
            token = next(tokens)
            if token.raw != ":" or token.kind != "mark":
                raise FrameError(f"no JSON: a colon is missing at character {token.start}")
            node.members[key] = _value(next(tokens), tokens, depth - 1)
        else:
            node.items.append(_value(token, tokens, depth - 1))
        token = next(tokens)
        if token.raw == "," and token.kind == "mark":
            token = next(tokens)
            if token.raw == close and token.kind == "mark":
                raise FrameError(f"no JSON: a comma before {close} at character {token.start}")
        elif token.raw != close or token.kind != "mark":
            raise FrameError(f"no JSON: a comma or {close} is missing at character {token.start}")
    node.end = token.end
    return node


def quote(text: str, plain: bool) -> str:
    """`text` as a JSON string's inside; `plain`: only ASCII, as json.dumps writes by default."""
    out = []
    for char in text:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\n\r\t\b\f":
            out.append("\\" + "nrtbf"["\n\r\t\b\f".index(char)])
        elif code < 32 or (plain and code > 126):
            if code > 0xFFFF:
                code -= 0x10000
                out.append(f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}")
            else:
                out.append(f"\\u{code:04x}")
        else:
            out.append(char)
    return "".join(out)
