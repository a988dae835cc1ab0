"""A flash in RAM that loses power, for littlefs on MicroPython; its last write is torn."""

import random

BLOCK = 4096


class PowerLost(BaseException):
    pass


class Flash:
    """A block device. `left`: how many operations until the power goes; the last write is torn then."""

    def __init__(self, blocks):
        self.data = bytearray(b"\xff" * (blocks * BLOCK))
        self.blocks = blocks
        self.left = None
        self.dead = False  # of an earlier life; its files are still to be collected
        self.erases = 0
        self.writes = 0
        self.written = 0

    def readblocks(self, block, buf, offset=0):
        if self.dead:
            return
        at = block * BLOCK + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        if self.dead:
            return
        at = block * BLOCK + offset
        size = len(buf)
        self.writes += 1
        self.written += size
        if self.left is not None and self.left <= 1:
            size = random.randrange(size + 1) if self.left == 1 else 0
        self.data[at : at + size] = buf[:size]
        self._pass()

    def again(self):
        """The same flash, after the power came back."""
        self.dead = True
        flash = Flash(0)
        flash.data, flash.blocks = self.data, self.blocks
        return flash

    def ioctl(self, op, argument):
        if self.dead:
            return 0
        if op == 4:
            return self.blocks
        if op == 5:
            return BLOCK
        if op == 6:
            self.erases += 1
            if self.left is None or self.left > 0:
                at = argument * BLOCK
                self.data[at : at + BLOCK] = b"\xff" * BLOCK
            self._pass()
        return 0

    def check_power(self):
        if self.left == 0:
            raise PowerLost

    def _pass(self):
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                # Nothing gets to the flash from here on; the program notices at its next step.
                self.left = 0
