"""Where the command begins: Ctrl-C ends it without a traceback before the command line is even loaded."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """The entry point; see cli.main."""
    try:
        from .cli import main as begin

        begin()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
