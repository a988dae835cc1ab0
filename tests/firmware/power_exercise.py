"""Runs on MicroPython's unix port: a board that writes outbox, cursor, configuration and updates into a flash
that loses power again and again.

`micropython power_exercise.py ROOT SEED LOSSES files|rom OLD NEW KEYS`: two bundles and a file of public
keys. Prints one line of JSON.
"""

import asyncio
import gc
import json
import os
import random
import sys

import vfs

ROOT = sys.argv[1]
sys.path[:0] = [ROOT, ROOT + "/micropython"]

import bundle_head  # noqa: E402
import ota  # noqa: E402
from config_writer import Writer  # noqa: E402
from slot_files import FileSlots  # noqa: E402
from slot_rom import RomSlots  # noqa: E402
from slots import Slots  # noqa: E402

from gateway.core.files import Files  # noqa: E402
from gateway.core.log_outbox import LogOutbox  # noqa: E402
from gateway.errors import ConfigurationError, OutboxError, UpdateError  # noqa: E402
from tests.lossy_flash import BLOCK, Flash, PowerLost  # noqa: E402

METER = b"meter-number-one"
CONFIG = "/flash/config/board.json"
MARK = "/application.mpy"
ROM_BLOCKS = 16


class Partition:
    """That of the ROMFS, on the same power supply as the file system's flash."""

    def __init__(self, flash):
        self.rom = Flash(ROM_BLOCKS)
        self.flash = flash

    def ioctl(self, op, argument):
        return self.rom.ioctl(op, argument)

    def writeblocks(self, block, data):
        self.rom.left = self.flash.left
        self.rom.ioctl(6, block)
        self.rom.writeblocks(block, data)
        self.flash.left = self.rom.left
        self.rom.left = None


class World:
    """`promised`: what has to be there, however the power goes."""

    def __init__(self, medium, bundles, keys):
        self.flash = Flash(120)
        self.partition = Partition(self.flash) if medium == "rom" else None
        self.bundles = bundles
        self.keys = keys
        self.frames = {}  # (class, epoch, sequence) -> frame
        self.cursor = 0
        self.settings = None
        self.attempt = None
        self.allowed = [0]  # which of the bundles may run
        self.told = dict.fromkeys(
            ("losses", "inUpdate", "updates", "kept", "givenUp", "saved", "synced", "checked", "starts"), 0
        )
        vfs.VfsLfs2.mkfs(self.flash)
        vfs.mount(vfs.VfsLfs2(self.flash), "/flash")
        for name in ("app", "config", "outbox"):
            os.mkdir("/flash/" + name)

    def start(self):
        """As boot.py and main.py do; what is there is compared with what was promised."""
        self.told["starts"] += 1
        for path in [path for path in sys.path if path.startswith("/flash/app") or path.startswith("/slot_")]:
            sys.path.remove(path)
            if path.startswith("/slot_"):
                vfs.umount(path)
        medium = FileSlots("/flash/app")
        if self.partition is not None:
            medium = RomSlots(self.partition, memoryview(self.partition.rom.data))
        self.slots = Slots("/flash/app", medium)
        slot = self.slots.choose()
        assert slot, "neither slot is whole"
        with open(medium.path(slot) + MARK, "rb") as file:
            mark = file.read()
        self.runs = [mark in data for data in self.bundles].index(True)
        assert self.runs in self.allowed, "bundle %s runs, %s may" % (self.runs, self.allowed)
        if not self.slots.state["trial"]:
            self.allowed = [self.runs]
        self._look_at_configuration()
        self._look_at_outbox()

    def _look_at_configuration(self):
        if self.attempt is None:
            return
        with open(CONFIG, "rb") as file:
            settings = json.loads(file.read())
        with open(settings["key_file"], "rb") as file:
            secret = file.read()
        found = (settings["name"], secret)
        assert found in (self.settings, self.attempt), "the configuration is neither the old nor the new one"
        self.settings = found

    def _look_at_outbox(self):
        self.box = LogOutbox(Files("/flash/outbox"), 16 * BLOCK, lambda level, text: None, BLOCK)
        assert self.box.damaged == 0, "a loss of power is no damage"
        found = int(self.box.note(b"cursor/") or b"0")
        assert found >= self.cursor, "the cursor went back"
        self.cursor = self.count = found
        for key, frame in self.frames.items():
            entry = self.box.get(METER, *key)
            assert entry is not None and entry.frame == frame, "a frame is lost"
            self.told["checked"] += 1
        for cls in range(3):
            entry = self.box.following(METER, cls, -1)
            while entry is not None:
                if (cls, entry.epoch, entry.sequence) not in self.frames:
                    # Written, and never promised.
                    self.box.forget(METER, cls, entry.epoch, entry.sequence, entry.sequence)
                entry = self.box.following(METER, cls, entry.place)

    def work(self):
        """Whatever a board writes, until the power goes."""
        while True:
            what = random.choice((self.read_meter, self.read_meter, self.save, self.update))
            what()
            self.flash.check_power()

    def read_meter(self):
        fresh = {}
        try:
            for _ in range(random.randrange(1, 6)):
                cls = random.randrange(3)
                entry = self.box.append(METER, cls, lambda epoch, sequence: os.urandom(40))
                fresh[(cls, entry.epoch, entry.sequence)] = entry.frame
            self.count += 1
            self.box.set_note(b"cursor/", b"%d" % self.count)
            asyncio.run(self.box.sync())
            self.flash.check_power()
            self.told["synced"] += 1
            self.frames.update(fresh)
            self.cursor = self.count
            for key in list(self.frames)[:-12]:
                self.box.forget(METER, key[0], key[1], key[2], key[2])
                del self.frames[key]
        except OutboxError:
            self.flash.check_power()
            raise

    def save(self):
        self.attempt = "house %d" % random.randrange(1000), os.urandom(20)
        try:
            Writer({"name": self.attempt[0]}, {"key_file": self.attempt[1]}, CONFIG).write()
        except ConfigurationError:
            self.flash.check_power()
            raise
        self.flash.check_power()
        self.told["saved"] += 1
        self.settings = self.attempt

    def update(self):
        """To the other bundle; then the board starts again, and the new version is kept or not."""
        if self.slots.spare():
            other = 1 - self.runs
            self.told["inUpdate"] += 1
            asyncio.run(self._take(self.bundles[other]))
            self.flash.check_power()
            self.told["inUpdate"] -= 1
            self.told["updates"] += 1
            self.start()
            self.flash.check_power()
            assert self.runs == other, "the new version is not tried"
        if random.randrange(3):
            self.slots.confirm()
            self.flash.check_power()
            self.told["kept"] += 1
            self.allowed = [self.runs]
        else:
            assert self.slots.overdue(10**9)
            self.flash.check_power()
            self.told["givenUp"] += 1
            self.allowed = [1 - self.runs]
            self.start()

    async def _take(self, data):
        update = ota.Update(self.slots, self.keys)
        update.begin(len(data), lower=True)
        at = 0
        while at < len(data):
            count = random.choice((100, 1024, 1024, 4096))
            await update.write(memoryview(data)[at : at + count])
            self.flash.check_power()
            at += count
        self.allowed = [0, 1]
        await update.finish("")

    def lose_power(self):
        self.told["losses"] += 1
        for path in ("/slot_a", "/slot_b"):
            if path in sys.path:
                sys.path.remove(path)
                vfs.umount(path)
        vfs.umount("/flash")
        self.flash = self.flash.again()
        # Only now: who collects an open file writes, and nothing can be allocated then.
        self.box = self.slots = None
        gc.collect()
        if self.partition is not None:
            self.partition.flash = self.flash
        vfs.mount(vfs.VfsLfs2(self.flash), "/flash")


def main(seed, losses, medium, bundles, keys):
    gc.disable()
    random.seed(seed)
    world = World(medium, bundles, keys)
    # As flashing leaves it.
    first = Slots("/flash/app", FileSlots("/flash/app"))
    if world.partition is not None:
        first = Slots("/flash/app", RomSlots(world.partition, memoryview(world.partition.rom.data)))
    world.slots = first
    asyncio.run(world._take(bundles[0]))
    world.start()
    world.slots.confirm()
    while world.told["losses"] < losses:
        world.flash.left = random.randrange(1, 600)
        try:
            world.work()
        except (PowerLost, OSError, UpdateError):
            if world.flash.left:
                raise  # that was no loss of power
        world.lose_power()
        world.start()
    return world.told


def content(path):
    with open(path, "rb") as file:
        return file.read()


print(
    json.dumps(
        main(
            int(sys.argv[2]),
            int(sys.argv[3]),
            sys.argv[4],
            [content(path) for path in sys.argv[5:7]],
            bundle_head.parse_keys(content(sys.argv[7]).decode()),
        )
    )
)
