"""The two slots as directories of a file system, for firmware without ROMFS: what runs is loaded into memory.

Nothing of gateway/ is imported here (slots.py says why).
"""

import hashlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from romfs_files import RomfsFiles

_DIRECTORY = 0x4000
_PIECE = 512


class FileSlots:
    # A slot's digest is over the files that the image held.
    whole = False

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._files: RomfsFiles | None = None

    def path(self, slot: str) -> str:
        return self._directory + "/" + slot

    def digest(self, slot: str, record: "dict[str, Any]") -> str:
        """Over names, sizes and content of all files, in the order of their names."""
        digest = hashlib.sha256()
        root = self.path(slot)
        for path in _files(root):
            size = os.stat(path)[6]
            digest.update(("%s %d\n" % (path[len(root) :], size)).encode())
            feed_file(digest, path)
        return digest.digest().hex()

    def enter(self, slot: str) -> None:
        sys.path.insert(0, self.path(slot))

    def room(self) -> int:
        """Bytes that an image may have: what the file system has in all. Writing tells whether it fits."""
        size = os.statvfs(self._directory)
        return int(size[1] * size[2])

    def begin(self, slot: str, size: int) -> None:
        from romfs_files import RomfsFiles

        root = self.path(slot)
        _remove(root)
        os.mkdir(root)
        self._files = RomfsFiles(root)

    def write(self, data: "Any") -> None:
        """The image's next bytes, of any number; its files are written as they come."""
        assert self._files is not None
        self._files.feed(data)

    def abandon(self) -> None:
        """Nothing more is written; what was gives its room back."""
        files, self._files = self._files, None
        if files is not None:
            files.close()
            _remove(files.root)

    def end(self, slot: str, record: "dict[str, Any]") -> str:
        """What was written, read back: its digest."""
        assert self._files is not None
        self._files.end()
        self._files = None
        return self.digest(slot, record)


def feed_file(digest: "Any", path: str) -> None:
    """Let a hash run over a file's content."""
    with open(path, "rb") as file:
        while True:
            piece = file.read(_PIECE)
            if not piece:
                return
            digest.update(piece)


def _is_directory(path: str) -> bool:
    return bool(os.stat(path)[0] & _DIRECTORY)


def _files(root: str) -> "list[str]":
    """Paths of all files below, sorted."""
    found: list[str] = []
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        for name in os.listdir(directory):
            path = directory + "/" + name
            (waiting if _is_directory(path) else found).append(path)
    return sorted(found)


def _remove(path: str) -> None:
    """A directory and all that is in it; also one that is not there."""
    try:
        names = os.listdir(path)
    except OSError as error:
        if error.errno != 2:  # ENOENT
            raise
        return
    for name in names:
        inner = path + "/" + name
        if _is_directory(inner):
            _remove(inner)
        else:
            os.remove(inner)
    os.rmdir(path)
