"""The gateway on MicroPython's unix port: `micropython -m unix_main CONFIG.json` where it was built.

The board's program with a serial line in place of its UART. Ends after the configured seconds, or with
Ctrl-C. Now and then and at its end it prints one line of JSON: seconds since the start, bytes alive on the
heap after a collection, free ones, and the gateway's status.
"""

import gc
import sys

# Collecting early keeps what stays together at the heap's beginning. Left to itself the interpreter
# collects when the heap is full, and what was loaded meanwhile stands scattered between garbage: then no
# kilobyte in a piece is left while tens are free.
_COLLECT_EVERY = 4096


def main(arguments: "list[str]") -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: micropython -m unix_main CONFIG.json\n")
        return 2
    gc.threshold(_COLLECT_EVERY)  # type: ignore[attr-defined]
    from unix_gateway import serve

    return serve(arguments[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
