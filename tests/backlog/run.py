"""`make backlog`: the broker is away for days at the default schedule, then comes back.

Frames of one meter go into a durable outbox on disk; afterwards the gateway's own custody sends them to the
cloud's own ledger while the meter goes on. Time is simulated. Prints memory by day, and how the backlog went.
"""

import argparse
import asyncio
import os
import tempfile
from collections import defaultdict
from pathlib import Path

from gateway.core.custody import Sender
from gateway.core.files import Files
from gateway.core.log_outbox import LogOutbox
from gateway.transmission.custody import hop_key
from gateway.transmission.ledger import Ledger
from gateway.transmission.sealing import key_id
from tests.custody_world import CloudStore

METER = b"meter-number-one"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
KEY = hop_key(b"the credential of both ends")
# Seconds between frames at the default schedule, and bytes of a frame; events come now and then.
SCHEDULE = {EVENTS: (3600, 45), PROFILE: (900, 60), REGISTERS: (900, 120), PRESENT: (10, 75)}
# What the broker takes in a second once it is back.
RATE = 10
SYNC_S = 60


class Told:
    """What a run showed. `rss`: KiB at the beginning of each sixth of the time away and at its end.
    `late`: by class, the most seconds that a frame read after the broker came back took to arrive."""

    def __init__(self):
        self.rss = []
        self.frames = 0
        self.bytes = 0
        self.drained_s = 0
        self.late = defaultdict(int)
        self.syncs = 0


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Run:
    def __init__(self, directory, rate):
        self.rate = rate
        self.told = Told()
        self.now = 1_700_000_000
        self.box = LogOutbox(Files(str(directory)), 256 << 20, self.say)
        self.made = {}  # (class, sequence) -> second, of what came since the broker is back
        self.arrived = defaultdict(list)
        self.filler = bytes(range(256))

    def say(self, level, text):
        raise AssertionError(f"{level}: {text}")

    def second(self, live):
        self.now += 1
        for cls, (step, size) in SCHEDULE.items():
            if self.now % step == 0:
                entry = self.box.append(
                    METER, cls, lambda epoch, sequence, size=size: self.frame(sequence, size)
                )
                self.told.frames += 1
                if cls == EVENTS:
                    self.sync()
                if live:
                    self.made[(cls, entry.sequence)] = self.now
        if self.now % SYNC_S == 0:
            self.box.set_note(b"cursor/load-profile/" + METER, b"%d" % self.now)
            self.sync()

    def frame(self, sequence, size):
        return sequence.to_bytes(8, "big") + self.filler[:size]

    def sync(self):
        self.told.syncs += 1
        asyncio.run(self.box.sync())

    def away(self, seconds):
        for _ in range(6):
            self.told.rss.append(resident())
            for _ in range(seconds // 6):
                self.second(live=False)
        self.told.rss.append(resident())
        self.told.bytes = self.box.used

    def drain(self):
        """Until nothing of the backlog is left; the meter goes on all the while."""
        store = CloudStore()
        ledger = Ledger(store, lambda meter, name: KEY if name == key_id(KEY) else None, os.urandom, self.now)
        sender = Sender(self.box, KEY, os.urandom)
        sender.connected()
        backlog = {cls: self.box.next_sequence(METER, cls) for cls in SCHEDULE}
        began = self.now
        while any(len(self.arrived[cls]) < count for cls, count in backlog.items()):
            self.second(live=True)
            for _ in range(self.rate):
                message = sender.next()
                if message is None:
                    break
                if message.entry is None:
                    ledger.ask(METER, message.payload)
                else:
                    self.take(ledger, message)
            for meter, receipt in ledger.finish(self.now):
                sender.receive(meter, receipt)
            assert self.now - began < 30 * 86400, "it does not come to an end"
        self.told.drained_s = self.now - began
        for cls, numbers in self.arrived.items():
            assert numbers == list(range(len(numbers))), f"class {cls} did not come in order, once each"
        assert sender.refused == sender.mismatched == 0

    def take(self, ledger, message):
        entry = message.entry
        assert message.payload == self.frame(entry.sequence, SCHEDULE[entry.cls][1])
        ledger.frame(METER, entry.cls, entry.epoch, entry.sequence, entry.sha256())
        self.arrived[entry.cls].append(entry.sequence)
        made = self.made.pop((entry.cls, entry.sequence), None)
        if made is not None:
            self.told.late[entry.cls] = max(self.told.late[entry.cls], self.now - made)


def run(seconds, directory, rate=RATE):
    it = Run(directory, rate)
    it.away(seconds)
    it.drain()
    it.box.close()
    return it.told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        told = run(int(arguments.days * 86400), directory)
    print(
        f"{arguments.days} days without a broker: {told.frames} frames in all, {told.bytes} bytes on disk, "
        f"{told.syncs} syncs"
    )
    print("resident memory by sixths of that time, KiB:", *told.rss)
    print(f"gone {told.drained_s} s after the broker came back, at {RATE} messages a second")
    for cls, late in sorted(told.late.items()):
        print(f"class {cls}: what was read meanwhile arrived at most {late} s later")


if __name__ == "__main__":
    main()
