"""The files of one directory, as the outbox uses them; the same on Linux and on a board's flash.

What was written is durable after `sync`, as POSIX and littlefs promise: until then any part of it may be
there or not. Every error of the system comes out as OutboxError.
"""

import os

from .._compat import TYPE_CHECKING, call, fsync, fsync_directory
from ..errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class File:
    """A file, read and written at any place, and opened when that is first done. A write that failed may be
    repeated at its place. `exists`: not so before the first write of a new one."""

    def __init__(self, path: str, new: bool) -> None:
        self.exists = not new
        self._path = path
        self._file: Any = None

    def read(self, offset: int, count: int) -> bytes:
        """Less than `count` bytes at the file's end."""
        try:
            file = self._open()
            file.seek(offset)
            data: bytes = file.read(count)
        except OSError as error:
            self._fail("read", error)
        return data

    def size(self) -> int:
        try:
            size: int = self._open().seek(0, 2)
        except OSError as error:
            self._fail("read", error)
        return size

    def write(self, offset: int, data: "bytes | bytearray") -> None:
        try:
            file = self._open()
            file.seek(offset)
            file.write(data)
        except OSError as error:
            self._fail("written", error)

    def sync(self) -> None:
        """May take long: see Files.sync."""
        if self._file is not None:
            try:
                fsync(self._file)
            except OSError as error:
                self._fail("synced", error)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                pass  # what counts has been synced

    def _open(self) -> "Any":
        if self._file is None:
            self._file = open(self._path, "r+b" if self.exists else "w+b")  # noqa: SIM115 - kept open
            self.exists = True
        return self._file

    def _fail(self, what: str, error: OSError) -> None:
        # After an error the state of the open file is unknown; another try opens it anew.
        self.close()
        raise OutboxError("%s can't be %s: %s" % (self._path, what, error))


class Files:
    """`directory` exists and belongs to this outbox alone."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._changed = False  # names came or went since the last sync

    def names(self) -> "Sequence[str]":
        try:
            return sorted(os.listdir(self._directory))
        except OSError as error:
            raise OutboxError("the directory %s can't be read: %s" % (self._directory, error)) from error

    def open(self, name: str, new: bool = False) -> File:
        """`new`: an empty file, made with the first write. Nothing is opened before it is used."""
        self._changed = self._changed or new
        return File(self._path(name), new)

    def remove(self, name: str) -> None:
        try:
            os.remove(self._path(name))
        except OSError as error:
            raise OutboxError("%s can't be removed: %s" % (self._path(name), error)) from error
        self._changed = True

    def rename(self, old: str, new: str) -> None:
        try:
            os.rename(self._path(old), self._path(new))
        except OSError as error:
            raise OutboxError("%s can't be renamed: %s" % (self._path(old), error)) from error
        self._changed = True

    async def sync(self, files: "Sequence[File]") -> None:
        """Returns once what was written to `files`, and all changes of names, are durable. On Linux other
        tasks run meanwhile, and may write."""
        for file in files:
            await call(file.sync)
        if self._changed:
            self._changed = False
            try:
                await call(fsync_directory, self._directory)
            except OSError as error:
                self._changed = True
                raise OutboxError(
                    "the directory %s can't be synced: %s" % (self._directory, error)
                ) from error

    def _path(self, name: str) -> str:
        return self._directory + "/" + name
