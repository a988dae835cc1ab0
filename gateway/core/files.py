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

# Error numbers of the system, where names of them are not on both interpreters.
_ENOENT = 2
# No space, a file too large, a quota: the same write may work once something has gone.
_FULL = (28, 27, 122)
# What stands there is spoiled: EIO, EBADMSG, littlefs's "corrupt", EUCLEAN. Reading again may help, or not.
_SPOILED = (5, 74, 84, 117)


def is_full(error: OutboxError) -> bool:
    return error.code in _FULL


def is_spoiled(error: OutboxError) -> bool:
    """The content is to blame, and not that files can't be opened at present."""
    return error.code == 0 or error.code in _SPOILED


class File:
    """A file, read and written at any place, and opened when that is first done. A write that failed may be
    repeated at its place. `exists`: not so before the first write of a new one."""

    def __init__(self, files: "Files", path: str, new: bool) -> None:
        self.exists = not new
        self._files = files
        self._path = path
        self._file: Any = None
        self._unsynced = False

    def read(self, offset: int, count: int) -> bytes:
        """Less than `count` bytes at the file's end."""
        try:
            file = self._open()
            file.seek(offset)
            data: bytes = file.read(count)
        except (OSError, ValueError) as error:
            self._fail("read", error)
        return data

    def size(self) -> int:
        try:
            size: int = self._open().seek(0, 2)
        except (OSError, ValueError) as error:
            self._fail("read", error)
        return size

    def write(self, offset: int, data: "bytes | bytearray") -> None:
        try:
            file = self._open()
            self._unsynced = True
            file.seek(offset)
            done = file.write(data)
            while done < len(data):
                done += file.write(data[done:])
        except (OSError, ValueError) as error:
            self._fail("written", error)

    def sync(self) -> None:
        """May take long: see Files.sync."""
        if self._unsynced:
            # At once: what is written while this waits for the disk is not synced.
            self._unsynced = False
            if self._file is None:
                raise OutboxError("%s was closed by an error and has to be written again" % self._path)
            try:
                fsync(self._file)
            except (OSError, ValueError) as error:
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
            # Unbuffered: an error belongs to the write that caused it.
            mode = self._files.mode if self.exists else "w+b"
            self._file = open(self._path, mode, buffering=0)  # noqa: SIM115 - kept open
            if not self.exists:
                self.exists = True
                self._files.changed = True
        return self._file

    def _fail(self, what: str, error: Exception) -> None:
        # After an error the state of the open file is unknown; another try opens it anew.
        self.close()
        raise _failed(self._path, what, error)


class Files:
    """`directory` exists and belongs to this outbox alone. `changed`: names came or went since the last
    sync."""

    # How files that are there are opened.
    mode = "r+b"

    def __init__(self, directory: str) -> None:
        self.changed = False
        self._directory = directory

    def names(self) -> "Sequence[str]":
        try:
            return sorted(os.listdir(self._directory))
        except OSError as error:
            raise _failed(self._directory, "read", error) from None

    def open(self, name: str, new: bool = False) -> File:
        """`new`: an empty file, made with the first write. Nothing is opened before it is used."""
        return File(self, self._path(name), new)

    def remove(self, name: str) -> None:
        """Also of what is not there any more."""
        try:
            os.remove(self._path(name))
        except OSError as error:
            if error.errno != _ENOENT:
                raise _failed(self._path(name), "removed", error) from None
        self.changed = True

    def rename(self, old: str, new: str) -> None:
        try:
            os.rename(self._path(old), self._path(new))
        except OSError as error:
            raise _failed(self._path(old), "renamed", error) from None
        self.changed = True

    async def sync(self, files: "Sequence[File]") -> None:
        """Returns once what was written to `files`, and all changes of names, are durable. On Linux other
        tasks run meanwhile, and may write."""
        for file in files:
            await call(file.sync)
        if self.changed:
            self.changed = False
            done = False
            try:
                await call(fsync_directory, self._directory)
                done = True
            except OSError as error:
                raise _failed(self._directory, "synced", error) from None
            finally:
                self.changed = self.changed or not done

    def _path(self, name: str) -> str:
        return self._directory + "/" + name


def _failed(path: str, what: str, error: Exception) -> OutboxError:
    return OutboxError("%s can't be %s: %s" % (path, what, error), getattr(error, "errno", None) or 0)
