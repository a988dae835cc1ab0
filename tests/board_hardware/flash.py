"""A board that starts from its flash: mounts the image of its file system and runs what is in it.

    micropython -X heapsize=2M tests/board_hardware/flash.py

OSGP_FLASH names the image, OSGP_ROMFS that of the firmware's ROMFS partition, if it has one; what the board
writes stays in them. OSGP_LOSE_POWER: of so many writes the last one is torn, and the power gone. The
machine's own file system is below /host, where OSGP_BOARD and OSGP_UART point to.
"""

import os
import sys
import time

import vfs

_BLOCK = 4096
_BLOCKS, _SIZE, _ERASE = 4, 5, 6


class Power:
    """`left`: how many writes until it is gone; 0 for always there."""

    left = int(os.getenv("OSGP_LOSE_POWER") or 0)

    @classmethod
    def write(cls, file, data):
        if cls.left == 1:
            file.write(data[: len(data) * os.urandom(1)[0] >> 8])
            import world

            world.write("power", b"lost")
            os.system("kill -9 $PPID")
            time.sleep(10)
        cls.left -= 1
        file.write(data)


class Flash:
    """Block device as esp32.Partition is one: a block is erased before it is written, bits only become 0."""

    def __init__(self, path):
        self._file = open(path, "r+b")  # noqa: SIM115 - as long as the board runs
        self._blocks = self._file.seek(0, 2) // _BLOCK

    def readblocks(self, block, buffer, offset=0):
        self._file.seek(block * _BLOCK + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        self._file.seek(block * _BLOCK + offset)
        Power.write(self._file, buffer)

    def ioctl(self, operation, argument):
        if operation == _BLOCKS:
            return self._blocks
        if operation == _SIZE:
            return _BLOCK
        if operation == _ERASE:
            self.writeblocks(argument, b"\xff" * _BLOCK)
        return 0


class Romfs(bytearray):
    """The firmware's partition, and its bytes as they are mapped into memory; a write erases first."""

    def keep(self, path):
        self._file = open(path, "r+b")  # noqa: SIM115

    def writeblocks(self, block, data):
        at = block * _BLOCK
        self._file.seek(at)
        Power.write(self._file, data)
        self[at : at + len(data)] = data

    def ioctl(self, operation, argument):
        return {_BLOCKS: len(self) // _BLOCK, _SIZE: _BLOCK}.get(operation, 0)


class FirmwareVfs:
    """The module `vfs` of a firmware that has a ROMFS partition."""

    mount, umount = staticmethod(vfs.mount), staticmethod(vfs.umount)
    VfsRom = vfs.VfsRom

    def __init__(self, partition):
        self._partition = partition

    def rom_ioctl(self, operation, number=0):
        return {1: 1, 2: self._partition}[operation]


def open_romfs(path):
    with open(path, "rb") as file:
        partition = Romfs(file.read())
    partition.keep(path)
    sys.modules["vfs"] = FirmwareVfs(partition)
    return partition


def mount_romfs(partition):
    """As the firmware does it: what begins the partition, whatever that is."""
    try:
        vfs.mount(vfs.VfsRom(memoryview(partition)), "/rom")
    except OSError:
        return
    sys.path.extend(("/rom", "/rom/lib"))


def main():
    hardware = __file__.rsplit("/", 1)[0]
    if hardware[0] != "/":
        hardware = os.getcwd() + "/" + hardware
    device = Flash(os.getenv("OSGP_FLASH"))
    romfs = open_romfs(os.getenv("OSGP_ROMFS")) if os.getenv("OSGP_ROMFS") else None
    vfs.umount("/")
    vfs.mount(device, "/")
    vfs.mount(vfs.VfsPosix("/"), "/host")
    os.chdir("/")
    sys.path[:] = ["/host" + hardware]
    if romfs is not None:
        mount_romfs(romfs)
    import firmware

    return firmware.main()


if __name__ == "__main__":
    sys.exit(main())
