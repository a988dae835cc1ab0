"""A board that starts from its flash: mounts the image of its file system and runs what is in it.

    micropython -X heapsize=2M tests/board_hardware/flash.py

OSGP_FLASH names the image; what the board writes stays in it. The machine's own file system is below
/host, where OSGP_BOARD and OSGP_UART point to.
"""

import os
import sys

import vfs

_BLOCK = 4096
_BLOCKS, _SIZE, _ERASE = 4, 5, 6


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
        self._file.write(buffer)

    def ioctl(self, operation, argument):
        if operation == _BLOCKS:
            return self._blocks
        if operation == _SIZE:
            return _BLOCK
        if operation == _ERASE:
            self.writeblocks(argument, b"\xff" * _BLOCK)
        return 0


def main():
    hardware = __file__.rsplit("/", 1)[0]
    if hardware[0] != "/":
        hardware = os.getcwd() + "/" + hardware
    device = Flash(os.getenv("OSGP_FLASH"))
    vfs.umount("/")
    vfs.mount(device, "/")
    vfs.mount(vfs.VfsPosix("/"), "/host")
    os.chdir("/")
    sys.path[:] = ["/host" + hardware]
    import firmware

    return firmware.main()


if __name__ == "__main__":
    sys.exit(main())
