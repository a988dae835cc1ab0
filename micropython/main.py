"""What the board's firmware runs after boot.py: the application, and a new start when that crashes.

A file of source in the root of the file system, as boot.py is; the application lies in a slot. Where even its
safe mode crashes, what takes an update without it runs in its place (rescue.py). Ctrl-C ends it and leads to
the console.
"""

import sys

import crashes
import slots


def main() -> None:
    try:
        crashed, why = crashes.began()
        if crashed > crashes.MOST:
            sys.path.insert(0, slots.RESCUE)
        from application import run

        run(crashed, why)
    except Exception as error:
        sys.print_exception(error, sys.stderr)  # type: ignore[attr-defined]
        crashes.crash(error)


if __name__ == "__main__":
    main()
