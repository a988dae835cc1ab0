"""A disk in memory that loses power, in place of gateway.core.files.Files.

It keeps of what was not synced what a file system may keep: any of the writes to a file whole, in part or not
at all, and any of the names that came or went.
"""

from gateway.errors import OutboxError


class PowerLost(BaseException):
    """Raised at the operation before which the power goes; nothing that runs catches it."""


class Disk:
    """`ops`: operations so far. `cut_at`: before which one the power goes. `full_at`: bytes that fit in all.
    `broken`: every write fails."""

    def __init__(self, full_at=None):
        self.names = {}
        self.gone = []  # removed or renamed, not synced
        self.ops = 0
        self.cut_at = None
        self.full_at = full_at
        self.broken = False

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
        for name, one in names.items():
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
            disk.names[name] = _Inode(one.data)
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


class FakeFile:
    def __init__(self, disk, name, new):
        self.exists = not new
        self._disk = disk
        self._name = name
        self._inode = None

    def _open(self):
        if self._inode is None:
            if not self.exists:
                self._disk.step()
                self._disk.names[self._name] = _Inode(named=False)
                self.exists = True
            if self._name not in self._disk.names:
                raise OutboxError("%s is not there" % self._name)
            self._inode = self._disk.names[self._name]
        return self._inode

    def read(self, offset, count):
        return self._open().data[offset : offset + count]

    def size(self):
        return len(self._open().data)

    def write(self, offset, data):
        inode = self._open()
        self._disk.step()
        if self._disk.broken:
            inode.write(offset, data[: len(data) // 2])
            raise OutboxError("%s can't be written: EIO" % self._name)
        disk = self._disk
        if disk.full_at is not None and disk.used() + offset + len(data) - len(inode.data) > disk.full_at:
            raise OutboxError("%s can't be written: ENOSPC" % self._name)
        inode.write(offset, data)

    def sync(self):
        if self._inode is not None:
            self._disk.step()
            self._inode.durable = self._inode.data
            self._inode.pending = []

    def close(self):
        self._inode = None


class FakeFiles:
    """Files on a Disk. `pause`: a coroutine function that is awaited within each sync."""

    def __init__(self, disk, pause=None):
        self.disk = disk
        self.pause = pause

    def names(self):
        return sorted(self.disk.names)

    def open(self, name, new=False):
        return FakeFile(self.disk, name, new)

    def remove(self, name):
        self.disk.step()
        if name not in self.disk.names:
            raise OutboxError("%s is not there" % name)
        self.disk.gone.append((name, self.disk.names.pop(name)))

    def rename(self, old, new):
        self.disk.step()
        if old not in self.disk.names:
            raise OutboxError("%s is not there" % old)
        self.disk.names[new] = self.disk.names.pop(old)

    async def sync(self, files):
        if self.pause is not None:
            await self.pause()
        for file in files:
            file.sync()
        self.disk.step()
        for one in self.disk.names.values():
            one.named = True
        self.disk.gone = []
