"""What a SQLite file says of itself: its schema number and the marks in it, without the log beside it.

A process that has the database open must not open its file by itself: closing it again takes SQLite's locks
away (POSIX locks end with the first close of any descriptor of the file), and the next program that closes
the database would think itself the last one and remove the log. So a process of its own looks:
`python -m omdp_cloud.sqlite_marks FILE` prints the schema number and the marks.
"""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

# SQLite's file format, 1.3: the schema cookie.
_SCHEMA_OFFSET = 40
_PATIENCE_S = 20

# Schema number and marks; None for what is no database with marks.
Said = tuple[int, list[bytes]] | None


def read(path: Path) -> Said:
    """Only where this process does not have the database open."""
    uri = f"file:{str(path.absolute()).replace('?', '%3f').replace('#', '%23')}?immutable=1&mode=ro"
    try:
        with path.open("rb") as file:
            head = file.read(_SCHEMA_OFFSET + 4)
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            marks = [mark for (mark,) in connection.execute("SELECT mark FROM checkpoint_mark")]
    except (OSError, sqlite3.Error):
        return None
    return int.from_bytes(head[_SCHEMA_OFFSET:], "big"), marks


def read_apart(path: Path) -> Said:
    """The same, by another process. Raises OSError where none can be started or it does not answer: then
    nobody knows what the file says."""
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    except subprocess.SubprocessError as error:
        raise OSError(f"{path}: who looks at it gives no answer: {error}") from None
    words = done.stdout.split()
    return (int(words[0]), [bytes.fromhex(word) for word in words[1:]]) if words else None


def main(path: str) -> None:
    said = read(Path(path))
    if said is not None:
        print(said[0], *(mark.hex() for mark in said[1]))


if __name__ == "__main__":
    main(sys.argv[1])
