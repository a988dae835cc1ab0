"""M-Bus data types: which record of a telegram each number stands for.

MEP guide, chapter 3, "M-Bus Data Types and ET57"; chapter 4, ET57.
"""

# The head of a record: a water meter's volume, a heat meter's energy and volume.
DATA_TYPES = {1: b"\x04\x13", 2: b"\x0c\x06", 3: b"\x0c\x14"}

_ENTRIES = 16
_BASE_ENTRY = 1


def et57() -> bytes:
    out = b""
    for number, head in DATA_TYPES.items():
        out += bytes([_BASE_ENTRY | number << 2]) + head.ljust(3, b"\0")
    return out.ljust(4 * _ENTRIES, b"\0")
