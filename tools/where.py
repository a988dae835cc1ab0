"""Says where in the sources a board's traceback points: `python tools/where.py < crash.txt`.

A board's modules are put together of several (link.py). To be run from the sources that its application was
built from.
"""

import re
import sys
from bisect import bisect_right

from build_mpy import needed
from link import Linked

_LINE = re.compile(r'File "([\w.]+)", line (\d+), in \S+')


def translated(linked: Linked, text: str) -> str:
    """The text with source and line in place of those of the linked modules."""

    def place(found: re.Match[str]) -> str:
        starts = linked.starts.get(found[1])
        if starts is None:
            return found[0]
        line = int(found[2])
        start, name = starts[max(bisect_right([each[0] for each in starts], line) - 1, 0)]
        return f'File "{name}", line {line - start + 1}'

    return _LINE.sub(place, text)


def main() -> int:
    sys.stdout.write(translated(needed(), sys.stdin.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
