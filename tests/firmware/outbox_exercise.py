"""Runs on MicroPython's unix port: the outbox on littlefs, on a flash in RAM that loses power; and its wear.

`micropython outbox_exercise.py ROOT SEED LOSSES` or `... ROOT wear HOURS`. Prints one line of JSON.
"""

import asyncio
import gc
import json
import os
import random
import sys

import vfs

sys.path[:0] = [sys.argv[1]]

from gateway import clock  # noqa: E402
from gateway.core.files import Files  # noqa: E402
from gateway.core.log_outbox import LogOutbox  # noqa: E402
from gateway.errors import OutboxError  # noqa: E402
from tests.lossy_flash import BLOCK, Flash, PowerLost  # noqa: E402

METER = b"meter-number-one"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)


def format(flash):
    vfs.VfsLfs2.mkfs(flash)
    vfs.mount(vfs.VfsLfs2(flash), "/flash")
    os.mkdir("/flash/outbox")


def opened(capacity, segment=4096, log=lambda level, text: None):
    return LogOutbox(Files("/flash/outbox"), capacity, log, segment)


def append(box, cls, size):
    return box.append(
        METER,
        cls,
        lambda epoch, sequence: ("%d %d %d " % (cls, epoch, sequence)).encode() + os.urandom(size),
    )


def lose_power(seed, losses):
    """What was promised is there after each loss; returns what happened."""
    random.seed(seed)
    # Where the flash is the smaller one, it is full before the outbox is.
    flash = Flash(40 if seed % 2 else 20)
    format(flash)
    held = {}  # (class, epoch, sequence) -> frame, of what a sync has promised
    receipted = set()
    cursor = 0

    def log(level, text):
        # A flash without power takes no more, either.
        told["gaveWay"] += "gives way" in text and flash.left != 0

    told = {"gaveWay": 0, "losses": 0, "syncs": 0, "torn": 0, "checked": 0, "full": 0}
    box = opened(24 * BLOCK, log=log)
    epochs = {box.epoch}
    count = 0
    while told["losses"] < losses:
        flash.left = random.randrange(1, 500)
        fresh = {}
        asked = cursor
        try:
            while True:
                try:
                    for _ in range(random.randrange(1, 12)):
                        cls = random.choice((EVENTS, PROFILE, REGISTERS, PRESENT))
                        entry = append(box, cls, random.choice((10, 60, 300)))
                        fresh[(cls, entry.epoch, entry.sequence)] = entry.frame
                    count += 1
                    box.set_note(b"cursor/", b"%d" % count)
                    asked = count
                    cls = random.randrange(4)
                    entry = box.following(METER, cls, -1)
                    for _ in range(random.randrange(16)):
                        if entry is None:
                            break
                        receipted.add((cls, entry.epoch, entry.sequence))
                        box.forget(METER, cls, entry.epoch, entry.sequence, entry.sequence)
                        entry = box.following(METER, cls, entry.place)
                except OutboxError:
                    told["full"] += 1
                try:
                    asyncio.run(box.sync())
                except OutboxError:
                    flash.check_power()
                    told["full"] += 1
                    continue
                flash.check_power()
                told["syncs"] += 1
                held.update(fresh)
                fresh = {}
                cursor = asked
                if told["syncs"] % 7 == 0:
                    for key in box.drops(METER):
                        for name in [n for n in held if n[:2] == key[:2] and key[2] <= n[2] <= key[3]]:
                            receipted.add(name)
        except PowerLost:
            pass
        told["losses"] += 1
        gone = box.drops(METER)
        vfs.umount("/flash")
        flash = flash.again()
        vfs.mount(vfs.VfsLfs2(flash), "/flash")
        box = opened(24 * BLOCK, log=log)
        assert box.epoch not in epochs, "an epoch was drawn twice"
        assert box.damaged == 0, "a loss of power is no damage"
        epochs.add(box.epoch)
        told["torn"] += box.torn > 0
        found = int(box.note(b"cursor/") or b"0")
        assert found >= cursor, "a cursor went back: %d, %d was promised" % (found, cursor)
        cursor = count = found
        gone += box.drops(METER)
        for key in list(held):
            if key in receipted and random.randrange(8):
                continue  # what has its receipt is looked at now and then
            cls, epoch, sequence = key
            entry = box.get(METER, cls, epoch, sequence)
            dropped = any(d[:2] == key[:2] and d[2] <= sequence <= d[3] for d in gone)
            if entry is not None:
                assert entry.frame == held[key]
                assert not entry.kept or key in receipted
            else:
                assert key in receipted or (cls == PRESENT and dropped), "%r is lost" % (key,)
                del held[key]
            told["checked"] += 1
        for key in fresh:
            cls, epoch, sequence = key
            entry = box.get(METER, cls, epoch, sequence)
            if entry is not None:
                assert entry.frame == fresh[key]
                held[key] = fresh[key]
    return told


def wear(hours):
    """Erases and bytes written at the default schedule of one meter, synced each minute, with the
    receiver there and away."""
    now = [1700000000000]
    clock.utc_ms = lambda: now[0]
    clock.monotonic_ms = lambda: now[0]
    found = {}
    for away in (False, True):
        gc.collect()
        flash = Flash(256)
        format(flash)
        box = opened(224 * BLOCK, 16384)
        begun = None
        for minute in range(60 * hours):
            now[0] += 60000
            for _ in range(6):
                append(box, PRESENT, 70)
            if minute % 15 == 0:
                append(box, REGISTERS, 120)
                append(box, PROFILE, 60)
                box.set_note(b"cursor/profile/" + METER, b"%020d" % minute)
            if minute % 240 == 0:
                append(box, EVENTS, 40)
                box.set_note(b"cursor/event/" + METER, b"%020d" % minute)
            if not away:
                box.set_note(b"custody/" + METER, os.urandom(60))
                for cls in range(4):
                    box.forget(METER, cls, box.epoch, 0, box.next_sequence(METER, cls) - 1)
            asyncio.run(box.sync())
            if minute == 29:
                begun = flash.erases, flash.writes, flash.written
        vfs.umount("/flash")
        flash.dead = True
        minutes = 60 * hours - 30
        erases, writes, written = (
            (after - before) * 1440 // minutes
            for after, before in zip((flash.erases, flash.writes, flash.written), begun)  # noqa: B905 - MicroPython
        )
        found["away" if away else "there"] = {
            "erases": erases,
            "writes": writes,
            "kilobytes": written // 1024,
        }
    return found


if sys.argv[2] == "wear":
    print(json.dumps(wear(int(sys.argv[3]))))
else:
    print(json.dumps(lose_power(int(sys.argv[2]), int(sys.argv[3]))))
