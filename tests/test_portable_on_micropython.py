"""Runs every file of tests/portable on the real MicroPython too, and holds that none of it was left out."""

import importlib.util
import re
import subprocess
import unittest
from pathlib import Path

import pytest

from tests.interpreter import ROOT, micropython
from tests.patience import PATIENCE_S

FILES = sorted((ROOT / "tests/portable").glob("test_*.py"))
# Test sources are compiled on the heap and whole vector files loaded, so this is more than a board has;
# what the application needs is measured in tests/firmware.
HEAP = "6M"


def run(*files: Path, heap: str = HEAP) -> "subprocess.CompletedProcess[str]":
    command = [micropython(), "-X", f"heapsize={heap}", "tests/portable/run.py", *map(str, files)]
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S
    )


def count_tests(path: Path) -> int:
    """How many tests CPython's unittest finds in the file."""
    spec = importlib.util.spec_from_file_location(f"counted_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module).countTestCases()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_portable(path: Path) -> None:
    result = run(path)
    print(result.stdout)
    summary = re.search(r"^(\d+) tests, 0 failed$", result.stdout, re.MULTILINE)
    if result.returncode != 0 or summary is None:
        pytest.fail(f"MicroPython ended with {result.returncode}:\n{result.stdout}", pytrace=False)
    assert int(summary[1]) == count_tests(path), "MicroPython ran another number of tests than CPython"


CASES = {
    "assertion": ("    def test_a(self):\n        self.assertEqual(1, 2)\n", "1 != 2"),
    "error": ("    def test_a(self):\n        {}['x']\n", "KeyError: x"),
    "nothing raised": (
        "    def test_a(self):\n        self.assertRaises(ValueError, int, '1')\n",
        "ValueError",
    ),
    "wrong raised": (
        "    def test_a(self):\n        with self.assertRaises(ValueError):\n            {}['x']\n",
        "KeyError",
    ),
    "tearDown": (
        "    def tearDown(self):\n        raise OSError(5)\n    def test_a(self):\n        pass\n",
        "OSError",
    ),
    "coroutine": ("    async def test_a(self):\n        pass\n", "asyncio.run"),
    "no tests": ("    def check(self):\n        pass\n", "no tests found"),
    "class fixture": (
        "    def setUpClass(cls):\n        pass\n    def test_a(self):\n        pass\n",
        "setUpClass",
    ),
    "function": ("    def test_a(self):\n        pass\ndef test_b():\n    pass\n", "TestCase classes only"),
    "import": ("    def test_a(self):\n        pass\nimport nowhere\n", "could not be imported"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_failing_file_fails_the_run(case: str, tmp_path: Path) -> None:
    body, reason = CASES[case]
    bad = tmp_path / "test_bad.py"
    bad.write_text(f"import unittest\n\nclass T(unittest.TestCase):\n{body}")
    good = tmp_path / "test_good.py"
    good.write_text("import unittest\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n")
    result = run(bad, good)
    assert result.returncode == 1, result.stdout
    assert "FAILED test_bad" in result.stdout
    assert reason in result.stdout
    assert "test_good: 1 tests, 0 failed" in result.stdout
    assert not re.search(r"^\d+ tests, 0 failed$", result.stdout, re.MULTILINE)
