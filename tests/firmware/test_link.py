"""The board's application is put together of the sources' parts, and does what these did."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interpreter import ROOT, micropython

sys.path.insert(0, str(ROOT / "tools"))

from link import Linked  # noqa: E402
from where import translated  # noqa: E402

BOOT = """\
import starter

starter.begin()
"""
STARTER = """\
def begin():
    from application import run

    run("started")

def helped():
    return 1
"""
APPLICATION = """\
import json
import sys

from app import clock, sizes
from app.clock import forget
from app.errors import Failure, Strange
from app.sizes import BIG as LARGEST
from app.work import Worker, twice

_count = 0

class Counter(Worker):
    limit = 3

    def __init__(self, start, *, step=1):
        Worker.__init__(self, start)
        self._start = 10
        self.step = step

    @property
    def sum(self):
        return self._start + self.start + self.limit

    def append(self, item):
        self.items.append(item)
        return [item + start for start in self.items if start != item]

def run(text):
    global _count
    counter = Counter(start=2, step=4)
    told = [counter.append(item) for item in (1, 2)]
    print(text, counter.sum, counter.step, told, clock.now(), sizes.BIG, LARGEST, twice(counter.work)(5))
    for _ in range(2):
        _count += 1
        from app.readers import first

        print(first.read(_count))
        forget("app.readers")
    import late

    print(late.late(Counter), json.loads("[1]"), getattr(counter, "do_" + "it")(), "late" in sys.modules)
    sys.modules.pop("late")
    try:
        raise Strange("once")
    except Failure as error:
        print(type(error).__name__, error.exit_code, error)
    outside()

def outside(error=None):
    def inner(item):
        nonlocal error
        error = item
        return lambda item, other=1: (item, other, error)

    print(inner(7)(8, other=9))
    raise Strange("at the end")
"""
CLOCK = """\
import sys
import time as _time

_now = [40]

def now():
    _now[0] += 1
    return _now[0] + 0 * _time.time()

def forget(package, only="", between="."):
    for name in list(sys.modules):
        if name.startswith(package + between + only):
            print("forgotten:", "_".join(name.split(".")[-2:]))
            del sys.modules[name]
            parent, _, leaf = name.rpartition(between)
            if parent in sys.modules:
                delattr(sys.modules[parent], leaf)
"""
ERRORS = """\
class Failure(Exception):
    exit_code = 1

class Strange(Failure):
    exit_code = 2
"""
WORK = """\
import time

from .sizes import BIG

class Worker:

    def __init__(self, start):
        self.start = start
        self.items = []
        self._time = time

    def work(self, size):
        return size + self.start + BIG

    def do_it(self):
        return self._helper(twice=2)

    def _helper(self, twice):
        return twice * self.start

def twice(work):
    async def unused(work):
        return work

    return lambda size: 2 * work(size)
"""
FIRST = """\
from ..clock import now
from ..work import twice
from .second import Row
from .second import read as read_row

def read(count):
    from . import third

    return Row(twice(now2)(count)).value, third.value() + now()

def now2(count):
    value = read_row(count)
    read = value.value
    return read
"""
SECOND = """\
def read(value):
    return Row(value)

class Row:
    def __init__(self, value):
        self.value = value
"""
LATE = """\
import time as clock
from starter import helped
from app.readers.third import value as third
from app.work import Worker

def late(kind):
    value, sys, time = third(), [3], 3 + helped()
    return issubclass(kind, Worker), value, sys, time + 0 * clock.time()
"""
SAMPLE = {
    "boot": BOOT,
    "starter": STARTER,
    "application": APPLICATION,
    "app": "",
    "app.clock": CLOCK,
    "app.errors": ERRORS,
    "app.sizes": "BIG = 1024\n",
    "app.work": WORK,
    "app.readers": "",
    "app.readers.first": FIRST,
    "app.readers.second": SECOND,
    "app.readers.third": "def value():\n    return 3\n",
    "late": LATE,
}
PACKAGES = {"app", "app.readers"}


def linked(sources: dict[str, str]) -> Linked:
    return Linked(
        sources,
        PACKAGES,
        main="application",
        resident=("app.errors",),
        starters=("boot", "starter"),
        kept=("append",),
    )


def run(directory: Path, texts: dict[str, str]) -> tuple[str, str]:
    """What the program prints, and its traceback."""
    for module, text in texts.items():
        path = directory.joinpath(*module.split("."))
        file = path / "__init__.py" if module in PACKAGES else path.with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    done = subprocess.run([micropython(), "-c", "import boot"], cwd=directory, capture_output=True, text=True)
    said, _, trace = (done.stdout + done.stderr).partition("Traceback")
    return said, trace


def test_what_is_linked_does_what_its_parts_did(tmp_path: Path):
    program = linked(SAMPLE)
    before, trace = run(tmp_path / "before", SAMPLE)
    after, linked_trace = run(tmp_path / "after", program.texts)
    assert "Strange: at the end" in trace
    assert before.count("\n") == 12
    said = [line for line in before.splitlines() if "second" not in line]
    assert sorted(after.splitlines()) == sorted(said)
    assert places(translated(program, as_modules(linked_trace))) == places(as_modules(trace))


def as_modules(trace: str) -> str:
    """As a board tells it, which knows modules and no files."""
    return trace.replace('.py"', '"')


def places(trace: str) -> list[tuple[str, str]]:
    return re.findall(r'File "(\w+)", line (\d+)', trace)


def test_what_is_loaded_for_good_is_one_module_and_what_is_forgotten_is_none_of_it():
    program = linked(SAMPLE)
    of = program.module_of
    assert {of[name] for name in ("app.clock", "app.errors", "app.sizes", "app.work")} == {"application"}
    assert of["app.readers.second"] == of["app.readers.first"] == "readers_first"
    assert of["late"] == "late" and of["starter"] == "starter"
    assert "def helped(" in program.texts["starter"]
    names = re.findall(r"^(?:def|class) (\w+)", program.texts["application"], re.MULTILINE)
    assert sorted(name for name in names if not re.fullmatch(r"g\d+", name)) == ["Failure", "Strange", "run"]
    assert {"app", "app.readers"}.isdisjoint(program.texts)


def test_a_class_has_no_entries_that_nobody_asks_for():
    text = linked(SAMPLE).texts["application"]
    assert text.count("del __module__, __qualname__") == len(re.findall("^class ", text, re.MULTILINE))
    quiet = linked(SAMPLE | {"app.errors": ERRORS.replace("    exit_code = 2", "    pass")}).texts[
        "application"
    ]
    assert 'Strange = type("Strange", (Failure,), _)' in quiet


def test_names_that_may_meet_in_one_object_stay_apart():
    text = linked(SAMPLE).texts["application"]
    classes = re.split(r"^class ", text, flags=re.MULTILINE)
    [worker] = [one for one in classes if "def do_it(self" in one]
    [counter] = [one for one in classes if "def append(self" in one]
    given = set(re.findall(r"self\.(a\d+) = ", worker))
    assert len(given) == 3
    assert len(set(re.findall(r"self\.(a\d+) = ", counter)) - given) == 2


def test_a_module_that_is_used_as_an_object_is_refused():
    broken = APPLICATION.replace("print(text,", "print(sizes,")
    with pytest.raises(ValueError, match="application:32: sizes is used as an object"):
        linked(SAMPLE | {"application": broken})
