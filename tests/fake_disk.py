"""A disk in memory that loses power, under the real gateway.core.files.Files.

It keeps of what was not synced what a file system may keep: any of the writes to a file whole, in part or not
at all, and any of the names that came or went.
"""

import os as real_os

from gateway._compat import call as real_call
from gateway._compat import fsync as real_fsync
from gateway._compat import fsync_directory as real_fsync_directory
from gateway.core import files
from gateway.core.files import Files

ENOENT, EIO, EMFILE, ENOSPC = 2, 5, 24, 28


class PowerLost(BaseException):
    """Raised at the operation before which the power goes; nothing that runs catches it."""


class Disk:
    """`ops`: operations that change something, so far. `cut_at`: before which one the power goes. `full_at`:
    bytes that fit in all. `broken`: every write fails. `unreadable`: names that fail to be read; `at_most`:
    files that may be open."""

    def __init__(self, full_at=None):
        self.names = {}
        self.gone = []  # removed, not synced
        self.moved = []  # (old name, inode, new name), not synced
        self.ops = 0
        self.opened = 0
        self.cut_at = None
        self.full_at = full_at
        self.broken = False
        self.unreadable = ()
        self.at_most = 1000

    def step(self):
        if self.cut_at is not None and self.ops >= self.cut_at:
            raise PowerLost
        self.ops += 1

    def used(self):
        return sum(len(one.data) for one in self.names.values())

    def crashed(self, choose):
        """What the disk has after the power was lost; `choose(n)` a number below n."""
        disk = Disk(self.full_at)
        names = {}
        for name, one in self.names.items():
            if one.named or choose(2):
                names[name] = one
        for name, one in self.gone:
            if name not in names and choose(2):
                names[name] = one
        for old, one, new in self.moved:
            # A renamed file is there under the one name or the other.
            if names.get(new) is one and old not in names and choose(2):
                del names[new]
                names[old] = one
        for name in sorted(names):
            one = names[name]
            data = bytearray(one.durable)
            for offset, written in one.pending:
                fate = choose(4)
                if fate == 0:
                    continue
                if fate == 1:
                    written = written[: choose(len(written) + 1)]
                if len(data) < offset:
                    # A later block is there and an earlier one is not: a hole, or what stood there before.
                    data += bytes(offset - len(data)) if choose(2) else b"\xa5" * (offset - len(data))
                data[offset : offset + len(written)] = written
            disk.names[name] = _Inode(bytes(data))
        return disk

    def copy(self):
        """The card, cloned; everything on it durable."""
        disk = Disk(self.full_at)
        for name, one in self.names.items():
            disk.names[name] = _Inode(bytes(one.data))
        return disk


class _Inode:
    def __init__(self, data=b"", named=True):
        self.data = data
        self.durable = data
        self.pending = []
        self.named = named

    def write(self, offset, data):
        held = bytearray(self.data)
        if len(held) < offset:
            held += bytes(offset - len(held))
        held[offset : offset + len(data)] = data
        self.data = bytes(held)
        self.pending.append((offset, bytes(data)))


class _Path:
    """What Files takes for the name of its directory, and of the files in it."""

    def __init__(self, disk, name=""):
        self.disk = disk
        self.name = name

    def __add__(self, text):
        return _Path(self.disk, (self.name + text).lstrip("/"))

    def __str__(self):
        return "disk/" + self.name


class _Handle:
    """An unbuffered file, as `open` gives it."""

    def __init__(self, path, mode):
        disk = path.disk
        if disk.opened >= disk.at_most:
            raise OSError(EMFILE, "EMFILE")
        if mode == "w+b":
            disk.step()
            disk.names[path.name] = _Inode(named=False)
        elif path.name not in disk.names:
            raise OSError(ENOENT, "ENOENT")
        disk.opened += 1
        self.disk = disk
        self._name = path.name
        self._inode = disk.names[path.name]
        self._at = 0

    def seek(self, offset, whence=0):
        self._at = offset + (len(self._inode.data) if whence == 2 else 0)
        return self._at

    def read(self, count):
        if self._name in self.disk.unreadable:
            raise OSError(EIO, "EIO")
        return self._inode.data[self._at : self._at + count]

    def write(self, data):
        disk, inode = self.disk, self._inode
        disk.step()
        if disk.broken:
            inode.write(self._at, data[: len(data) // 2])
            raise OSError(EIO, "EIO")
        if disk.full_at is not None and disk.used() + self._at + len(data) - len(inode.data) > disk.full_at:
            if disk.used() + self._at + 1 - len(inode.data) > disk.full_at:
                raise OSError(ENOSPC, "ENOSPC")
            data = data[: disk.full_at - disk.used() - self._at + len(inode.data)]
        inode.write(self._at, data)
        self._at += len(data)
        return len(data)

    def sync(self):
        self.disk.step()
        self._inode.durable = self._inode.data
        self._inode.pending = []

    def close(self):
        self.disk.opened -= 1


class _System:
    """In place of the module `os`, for paths on a Disk."""

    def listdir(self, path):
        return list(path.disk.names) if isinstance(path, _Path) else real_os.listdir(path)

    def remove(self, path):
        if not isinstance(path, _Path):
            real_os.remove(path)
            return
        path.disk.step()
        if path.name not in path.disk.names:
            raise OSError(ENOENT, "ENOENT")
        path.disk.gone.append((path.name, path.disk.names.pop(path.name)))

    def rename(self, old, new):
        if not isinstance(old, _Path):
            real_os.rename(old, new)
            return
        disk = old.disk
        disk.step()
        if old.name not in disk.names:
            raise OSError(ENOENT, "ENOENT")
        disk.names[new.name] = disk.names.pop(old.name)
        disk.moved.append((old.name, disk.names[new.name], new.name))


def _open(path, mode, buffering=-1):
    return _Handle(path, mode) if isinstance(path, _Path) else open(path, mode, buffering)


def _fsync(file):
    return file.sync() if isinstance(file, _Handle) else real_fsync(file)


def _fsync_directory(path):
    if not isinstance(path, _Path):
        real_fsync_directory(path)
        return
    path.disk.step()
    for one in path.disk.names.values():
        one.named = True
    path.disk.gone = []
    path.disk.moved = []


async def _call(function, *arguments):
    of = getattr(getattr(function, "__self__", None), "_files", None)
    if isinstance(of, FakeFiles) or (arguments and isinstance(arguments[0], _Path)):
        function(*arguments)  # at once: histories are replayed
    else:
        await real_call(function, *arguments)


files.os = _System()
files.open = _open
files.fsync = _fsync
files.fsync_directory = _fsync_directory
files.call = _call


class FakeFiles(Files):
    """Files on a Disk. `pause`: a coroutine function that is awaited within each sync."""

    def __init__(self, disk, pause=None):
        super().__init__(_Path(disk))
        self.disk = disk
        self.pause = pause

    async def sync(self, written):
        if self.pause is not None:
            await self.pause()
        await super().sync(written)
