"""`osgp-gateway` within the process of the tests, which is quicker than one of its own."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from gateway import clock
from gateway.host import cli


def run_here(
    arguments: tuple[object, ...], environment: dict[str, str], scale: int = 1
) -> "subprocess.CompletedProcess[str]":
    """The command's exit code and what it said, in this environment; time runs `scale` times as fast."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["osgp-gateway", *map(str, arguments)])
        clock.set_scale(scale)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            clock.set_scale(1)
    code = ended.value.code or 0
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())
