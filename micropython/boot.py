"""What the board's firmware runs first: puts the application that is to run on the module path."""

import sys

try:
    import slots

    slots.choose()
except Exception as error:
    # Raised from here, it would keep the firmware from running main.py, which starts the board anew.
    sys.print_exception(error)  # type: ignore[attr-defined]
