"""Unpacks a ROMFS image into files as it streams in (format: MicroPython, extmod/vfs_rom.c).

What comes is not yet known to be authentic: names can't lead out of the root, lengths not beyond what they
lie in, and nothing is kept but the file being written.
"""

import hashlib
import os

from slot_files import feed_file

from gateway._compat import TYPE_CHECKING, const
from gateway.errors import UpdateError

if TYPE_CHECKING:
    from typing import Any

_ROOT = const(0x14A6B1)
_PADDING = const(1)
_DATA = const(2)
_FOLDER = const(4)
_FILE = const(5)
_MOST_NAME = const(64)
_MOST_DEPTH = const(8)
_MOST_DIGITS = const(5)
_ALLOWED = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


class RomfsFiles:
    """`root`: an empty directory. Raises UpdateError for what is no such image, OSError of the flash."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._at = 0
        self._path = root
        # What is open: [kind, where it ends, length of the path outside].
        self._open: list[list[int]] = []
        self._head: list[int] = []  # numbers of a record's head: kind, length, and of named ones the name's
        self._number = 0
        self._digits = 0
        self._name = b""
        self._skip = 0  # bytes of data or padding that are still to come
        self._keeping = False  # they are the file's
        self._file: Any = None
        self._digest: Any = None
        self._done = False

    def feed(self, data: "Any") -> None:
        """The image's next bytes, of any number."""
        at = 0
        while at < len(data):
            if self._done:
                raise UpdateError("the image goes on after its end")
            if self._skip:
                count = min(self._skip, len(data) - at)
                if self._keeping:
                    piece = data[at : at + count]
                    self._file.write(piece)
                    self._digest.update(piece)
                self._skip -= count
            else:
                count = 1
                self._take(data[at])
            at += count
            self._at += count
            self._close_ended()

    def end(self) -> None:
        if not self._done:
            raise UpdateError("the image ends before its end")

    def close(self) -> None:
        """Nothing more comes."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _take(self, byte: int) -> None:
        """A byte of a record's head, or of a name."""
        if len(self._head) == 3:
            self._name += bytes((byte,))
            if len(self._name) == self._head[2]:
                self._enter()
            return
        self._number = self._number << 7 | byte & 0x7F
        self._digits += 1
        if self._digits > _MOST_DIGITS:
            raise UpdateError("the image has a number of more than %d bytes" % _MOST_DIGITS)
        if byte & 0x80:
            return
        self._head.append(self._number)
        self._number = self._digits = 0
        if len(self._head) == 2:
            self._begin(self._head[0], self._head[1])
        elif len(self._head) == 3 and not 0 < self._head[2] <= _MOST_NAME:
            raise UpdateError("the image has a name of %d bytes" % self._head[2])

    def _begin(self, kind: int, length: int) -> None:
        """A record's kind and length are known; what is in it begins with the next byte."""
        end = self._at + 1 + length
        inside = self._open[-1][0] if self._open else 0
        if self._open and end > self._open[-1][1]:
            raise UpdateError("the image has a record that goes beyond what it lies in")
        if not self._open and kind == _ROOT:
            self._open.append([kind, end, len(self._path)])
            self._head = []
        elif inside in (_ROOT, _FOLDER) and kind in (_FOLDER, _FILE):
            self._open.append([kind, end, len(self._path)])
            if len(self._open) > _MOST_DEPTH:
                raise UpdateError("the image has directories within directories beyond %d" % _MOST_DEPTH)
        elif self._open and (kind == _PADDING or (inside == _FILE and kind == _DATA)):
            self._head = []
            self._skip = length
            self._keeping = kind == _DATA
            if self._keeping:
                if self._file is not None:
                    raise UpdateError("the image has a file with two contents")
                self._file = open(self._path, "wb")  # noqa: SIM115 - closed when its record ends
                self._digest = hashlib.sha256()
        else:
            raise UpdateError("the image has a record of kind %d where none can be" % kind)

    def _enter(self) -> None:
        """The name of a directory or file is known."""
        name = self._name
        if name.strip(b".") == b"" or [byte for byte in name if byte not in _ALLOWED]:
            raise UpdateError("the image has a file with the name %r" % name)
        self._path += "/" + name.decode()
        if self._head[0] == _FOLDER:
            os.mkdir(self._path)
        self._head = []
        self._name = b""

    def _close_ended(self) -> None:
        while self._open and not self._skip and self._open[-1][1] == self._at:
            if self._head or self._digits:
                raise UpdateError("the image has a record that ends within its head")
            kind, _, outside = self._open.pop()
            if kind == _FILE:
                self._close_file()
            self._path = self._path[:outside]
            self._done = not self._open

    def _close_file(self) -> None:
        if self._file is None:
            raise UpdateError("the image has a file without content: %s" % self._path)
        file, self._file = self._file, None
        file.close()
        digest = hashlib.sha256()
        feed_file(digest, self._path)
        if digest.digest() != self._digest.digest():
            raise UpdateError("%s is not in flash as it was written: the flash is worn out" % self._path)
