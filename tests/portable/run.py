"""Runs portable tests on MicroPython: `micropython tests/portable/run.py [files]`, all without files.

CPython only runs the same files under pytest. Prints one line per file and, last, the sum; exits with 1
when anything failed, a file has no tests, or could not be imported.
"""

import gc
import os
import sys


def _absolute(path):
    return path if path.startswith("/") else os.getcwd() + "/" + path


HERE = _absolute(__file__).rsplit("/", 1)[0]
ROOT = HERE.rsplit("/", 2)[0]


def main(files):
    # The application's own folders, as a board has them: gateway/ and the files of micropython/ side by side.
    sys.path[:0] = [ROOT + "/tests/micropython_unittest", ROOT, ROOT + "/micropython"]
    import unittest

    if not files:
        files = [HERE + "/" + name for name in sorted(os.listdir(HERE)) if name.startswith("test_")]
    total = unittest.Result()
    for path in files:
        folder, name = _absolute(path).rsplit("/", 1)
        name = name[:-3] if name.endswith(".py") else name
        result = unittest.Result()
        sys.path.insert(0, folder)
        try:
            unittest.run_module(__import__(name), result)
        except Exception as error:
            result.failed += 1
            print("FAILED %s: could not be imported" % name)
            sys.print_exception(error, sys.stdout)
        sys.path.pop(0)
        print("%s: %d tests, %d failed" % (name, result.run, result.failed))
        total.run += result.run
        total.failed += result.failed
        sys.modules.pop(name, None)
        gc.collect()
    print("%d tests, %d failed" % (total.run, total.failed))
    return 1 if total.failed or not total.run else 0


sys.exit(main(sys.argv[1:]))
