"""What the builder leaves out of the board's application, and that it leaves out nothing that is needed."""

import ast
import re
import sys

import pytest

from tests.interpreter import ROOT

sys.path.insert(0, str(ROOT / "tools"))

from build_mpy import MAINS, module_name  # noqa: E402
from inline import inline  # noqa: E402
from inline_calls import inline_calls  # noqa: E402
from move_texts import move_texts  # noqa: E402
from shake import Application, Function, Module, evaluated  # noqa: E402
from source_tree import portable_files  # noqa: E402

BOOT = """\
from app import work
from app.sizes import BIG

def main():
    work.run(BIG)

main()
"""
WORK = """\
import gc
import os
from .._compat import TYPE_CHECKING, const
from .sizes import BIG, SMALL, text

if TYPE_CHECKING:
    from typing import Any

_LIMIT = const(3)

class Base:
    def step(self, size):
        raise NotImplementedError

class Worker(Base):
    def __init__(self):
        self.size = SMALL

    def step(self, size: int) -> "Any":
        return size + self.size + _LIMIT

    def never(self):
        return text(gc)

    def kind_a(self):
        return 1

@property
def unused():
    return os.getcwd()

def run(size):
    worker = Worker()
    getattr(worker, "kind_" + "a")()
    return worker.step(BIG if size else size)
"""
SIZES = """\
from .._compat import const

BIG = const(1024)
SMALL = const(-1)

def text(x):
    return str(x)

def shadow(BIG):
    return BIG
"""
SAMPLE = {
    "boot": (BOOT, False),
    "app": ("", True),
    "app.work": (WORK, False),
    "app.sizes": (SIZES, False),
    "app.unneeded": ("import os\n", False),
}


def test_constants_are_written_out_and_what_is_not_reached_goes():
    remains = Application(inline(SAMPLE), "boot").remains()
    assert set(remains) == {"boot", "app", "app.work"}
    work = remains["app.work"]
    assert [line for line in work.splitlines() if line.strip()] == [
        "class Base:",
        "    pass",
        "class Worker(Base):",
        "    def __init__(self):",
        "        self.size = (-1)",
        '    def step(self, size: int) -> "Any":',
        "        return size + self.size + 3",
        "    def kind_a(self):",
        "        return 1",
        "def run(size):",
        "    worker = Worker()",
        '    getattr(worker, "kind_" + "a")()',
        "    return worker.step(1024 if size else size)",
    ]
    assert work.splitlines().index("def run(size):") == WORK.splitlines().index("def run(size):")
    assert "work.run(1024)" in remains["boot"]


def test_a_parameter_of_a_constant_s_name_stays_one():
    assert "    return BIG" in inline(SAMPLE)["app.sizes"][0]


STREAMS = """\
import io
from app.own import Failure, Stream, Own

class Pipe(io.IOBase):
    def readinto(self, buffer):
        return helper(buffer)

    def ioctl(self, request, argument):
        return 0

class Wider(Stream):
    def write(self, data):
        return len(data)

class Mine(Own):
    def __len__(self):
        return 0

    def unasked(self):
        return 0

class Bad(Failure):
    def unasked(self):
        return 0

def helper(buffer):
    return None

tls(Pipe(), Wider(), Mine(), Bad())
"""
OWN = """\
from io import IOBase

class Stream(IOBase):
    def ioctl(self, request, argument):
        return 0

class Own:
    def unasked(self):
        return 0

class Failure(ValueError):
    pass
"""


def test_what_the_interpreter_calls_stays():
    sources = {"boot": (STREAMS, False), "app": ("", True), "app.own": (OWN, False)}
    remains = Application(sources, "boot").remains()
    methods = [line.split("(")[0].split()[1] for line in remains["boot"].splitlines() if "(self" in line]
    assert methods == ["readinto", "ioctl", "write", "__len__"]
    assert "def helper" in remains["boot"]
    assert "def ioctl" in remains["app.own"] and "unasked" not in remains["app.own"]


def test_an_attribute_that_can_not_be_known_is_refused():
    with pytest.raises(ValueError, match="line 1"):
        Application({"boot": ("getattr(object(), input())\n", False)}, "boot")


LITERALS = """\
from .._compat import MICROPYTHON
from .sizes import FIELDS, KIND, LONG, _OWN

_WINDOW = 2 if MICROPYTHON else 8
_COUNT = 0

def told():
    global _COUNT
    if MICROPYTHON:
        _COUNT += 1
    return KIND, _WINDOW, FIELDS, LONG, LONG, _COUNT, _OWN
"""
OWN_LITERALS = """\
FIELDS = (1, 2 * 3)
KIND = "kind"
LONG = "more than ten bytes"
_OWN = bytes(3)
"""


def test_literals_are_written_out_where_that_takes_no_memory():
    sources = {
        "app": ("", True),
        "app._compat": ("import sys\nMICROPYTHON = sys.platform == 'board'\n", False),
        "app.own.sizes": (OWN_LITERALS, False),
        "app.own": ("", True),
        "app.own.work": (LITERALS, False),
    }
    text = inline(sources)["app.own.work"][0]
    assert "return 'kind', 2, (1, 6), LONG, LONG, _COUNT, _OWN" in text
    assert "    if True:" in text


CALLS = """\
import sizes

def _double(value):
    return 2 * value

def _pair(first, second):
    return (second, first)

def _either(value):
    return value or _double(value)

def _never():
    return 1

def asked(value):
    return value

def run(size, scale=None):
    def scaled(_double):
        return _double(size)

    return (
        _double(size + 1), _double(
            size,
        ), _pair(size, 2), _pair(read(), read()), _either(read()), scaled(asked)
    )

def read():
    return sizes.SIZE.pop()
"""


def test_small_functions_are_written_out_where_they_are_called():
    [text, _] = inline_calls({"work": CALLS, "other": "from work import asked, run\n"}).values()
    assert text.count("\n") == CALLS.count("\n")
    defined = re.findall(r"def (\w+)", text)
    # Whose calls would be hidden, done twice, in another order or not at all, stay.
    assert defined == ["_double", "_pair", "_either", "asked", "run", "scaled"]
    plain = CALLS.replace(
        "def scaled(_double):\n        return _double(size)", "def scaled(given):\n        return given(size)"
    )
    plain = plain.replace("_pair(read(), read()), _either(read())", "_pair(2, size)")
    [text, _] = inline_calls({"work": plain, "other": "from work import asked, run\n"}).values()
    assert re.findall(r"def (\w+)", text) == ["asked", "run", "scaled"]
    names: dict = {}
    exec(text.replace("import sizes", ""), names)
    assert names["run"](3) == (8, 6, (2, 3), (3, 2), 3)


RAISING = """\

def check(size, name):
    if size > 3:
        raise ValueError(
            "%s: the size of %d "
            "is too much" % (name, size)
        ) from None
    if not size:
        raise ValueError("no size")
    raise KeyError("%s: the size of %d " "is too much" % (name, size), f"{name} is not moved at all")

def told(name, why="because it is so"):
    "What is told."
    return {"a_key_of_something": "what is told of %s" % name}, why
"""


def test_texts_of_errors_move_and_read_the_same(tmp_path):
    moved, texts = move_texts({"m": RAISING, "n": "X = 'a text that stays where it is'\n"})
    assert texts == b"what is told of %s%s: the size of %d is too much"
    assert moved["n"] == "X = 'a text that stays where it is'\n"
    source = moved["m"]
    assert source.count("_text(18, 30)") == 2
    assert '"no size"' in source
    assert source.splitlines().index("    if not size:") == RAISING.splitlines().index("    if not size:")
    names = {"_text": lambda start, length: texts[start : start + length].decode()}
    exec(source.replace("from texts import text as _text", ""), names)
    with pytest.raises(ValueError, match=r"^n: the size of 4 is too much$"):
        names["check"](4, "n")
    assert names["told"]("it") == ({"a_key_of_something": "what is told of it"}, "because it is so")


def test_a_module_without_room_for_the_import_is_refused():
    with pytest.raises(ValueError, match="begins with no docstring"):
        move_texts({"m": "raise ValueError('a text that would have to move')\n"})


def test_nothing_that_remains_of_the_application_names_what_was_left_out():
    files = {module_name(path): path for path in portable_files()}
    sources = {name: (path.read_text(), path.name == "__init__.py") for name, path in files.items()}
    remains = {
        name: Module(name, text, sources[name][1])
        for name, text in Application(inline(sources), *MAINS).remains().items()
    }
    for name, module in remains.items():
        original = Module(name, *sources[name])
        left = {*module.definitions, *module.imports}
        gone = {*original.definitions, *original.imports} - left
        named = {node.id for node in evaluated(module.tree) if isinstance(node, ast.Name)}
        assert not gone & named, name
        lines = {(node.name, node.lineno) for node in ast.walk(original.tree) if isinstance(node, Function)}
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                assert (node.name, node.lineno) in lines, name
            if isinstance(node, ast.Import | ast.ImportFrom):
                for source, inner in module.imported(node).values():
                    target = remains.get(source)
                    if target is not None and inner and f"{source}.{inner}" not in remains:
                        assert inner in target.definitions or inner in target.imports, (name, source, inner)
