"""Small files that are whole whenever the power goes: the old one or the new one.

Nothing of gateway/ is imported here: boot.py needs this before it is known which application runs.
"""

import os


def read(path: str) -> "bytes | None":
    """None where there is none, or none that can be read."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
        try:
            return file.read()
        finally:
            file.close()
    except OSError:
        return None


def write(path: str, data: bytes) -> None:
    """Durable when it returns (littlefs: with the close; a rename is one step). Raises OSError."""
    new = path + ".new"
    file = open(new, "wb")  # noqa: SIM115 - closed below
    try:
        file.write(data)
        file.flush()
    finally:
        file.close()
    os.rename(new, path)


def remove(path: str) -> None:
    """Also of what is not there. Raises OSError."""
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != 2:  # ENOENT
            raise
