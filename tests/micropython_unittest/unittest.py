"""Stands in for CPython's unittest on MicroPython, which has none: the part that tests/portable uses.

It refuses what it does not know (skips, class fixtures, coroutine tests) instead of passing over it, so
that a file that is green here has run whole.
"""

import sys

# Hooks of the real unittest that would be passed over in silence here.
_UNKNOWN = ("setUpClass", "tearDownClass", "asyncSetUp", "asyncTearDown", "addCleanup", "subTest", "skipTest")


class _Raises:
    """The context manager of assertRaises; `exception` is what was raised."""

    def __init__(self, expected):
        self.expected = expected
        self.exception = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            raise AssertionError("nothing raised, expected %s" % self._name())
        if not issubclass(kind, self.expected):
            return False
        self.exception = value
        return True

    def _name(self):
        if isinstance(self.expected, tuple):
            return " or ".join([one.__name__ for one in self.expected])
        return self.expected.__name__


class TestCase:
    def setUp(self):
        pass

    def tearDown(self):
        pass

    def fail(self, msg=None):
        raise AssertionError(msg or "failed")

    def _check(self, holds, what, msg):
        if not holds:
            raise AssertionError("%s : %s" % (what, msg) if msg else what)

    def assertEqual(self, first, second, msg=None):
        self._check(first == second, "%r != %r" % (first, second), msg)

    def assertNotEqual(self, first, second, msg=None):
        self._check(first != second, "%r == %r" % (first, second), msg)

    def assertTrue(self, expr, msg=None):
        self._check(expr, "%r is not true" % (expr,), msg)

    def assertFalse(self, expr, msg=None):
        self._check(not expr, "%r is not false" % (expr,), msg)

    def assertIs(self, first, second, msg=None):
        self._check(first is second, "%r is not %r" % (first, second), msg)

    def assertIsNot(self, first, second, msg=None):
        self._check(first is not second, "both are %r" % (first,), msg)

    def assertIsNone(self, expr, msg=None):
        self._check(expr is None, "%r is not None" % (expr,), msg)

    def assertIsNotNone(self, expr, msg=None):
        self._check(expr is not None, "unexpectedly None", msg)

    def assertIn(self, member, container, msg=None):
        self._check(member in container, "%r not in %r" % (member, container), msg)

    def assertNotIn(self, member, container, msg=None):
        self._check(member not in container, "%r in %r" % (member, container), msg)

    def assertIsInstance(self, obj, kind, msg=None):
        self._check(isinstance(obj, kind), "%r is not an instance of %r" % (obj, kind), msg)

    def assertLess(self, first, second, msg=None):
        self._check(first < second, "%r not less than %r" % (first, second), msg)

    def assertLessEqual(self, first, second, msg=None):
        self._check(first <= second, "%r not less than or equal to %r" % (first, second), msg)

    def assertGreater(self, first, second, msg=None):
        self._check(first > second, "%r not greater than %r" % (first, second), msg)

    def assertGreaterEqual(self, first, second, msg=None):
        self._check(first >= second, "%r not greater than or equal to %r" % (first, second), msg)

    def assertRaises(self, expected, function=None, *args, **kwargs):
        context = _Raises(expected)
        if function is None:
            return context
        with context:
            function(*args, **kwargs)
        return None


class Result:
    def __init__(self):
        self.run = 0
        self.failed = 0


def _run_one(case, name):
    """Runs one test with its fixtures; raises what goes wrong."""
    test = case()
    test.setUp()
    try:
        if getattr(test, name)() is not None:
            raise AssertionError("a test returns None; a coroutine needs asyncio.run inside the test")
    finally:
        test.tearDown()


def run_module(module, result):
    """Runs every test_* method of every TestCase defined or imported in `module`; prints failures."""
    found = 0
    for name in sorted(dir(module)):
        case = getattr(module, name)
        if not isinstance(case, type):
            if name.startswith("test"):
                result.failed += 1
                print("FAILED %s.%s: tests/portable takes TestCase classes only" % (module.__name__, name))
            continue
        if not issubclass(case, TestCase) or case is TestCase:
            continue
        for unknown in _UNKNOWN:
            if hasattr(case, unknown):
                result.failed += 1
                print("FAILED %s.%s: %s is not for tests that run on both" % (module.__name__, name, unknown))
        for test in sorted(dir(case)):
            if not test.startswith("test"):
                continue
            found += 1
            result.run += 1
            try:
                _run_one(case, test)
            except Exception as error:
                result.failed += 1
                print("FAILED %s.%s.%s" % (module.__name__, name, test))
                sys.print_exception(error, sys.stdout)
    if not found:
        result.failed += 1
        print("FAILED %s: no tests found" % module.__name__)


def main(module="__main__"):
    """As at the end of a test file: runs the tests of `module` and exits."""
    result = Result()
    run_module(sys.modules[module] if isinstance(module, str) else module, result)
    print("%d tests, %d failed" % (result.run, result.failed))
    sys.exit(1 if result.failed else 0)
