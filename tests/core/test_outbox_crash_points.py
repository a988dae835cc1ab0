"""The power goes at every operation on the disk, and the file system keeps what POSIX lets it keep."""

import asyncio
import random

import pytest

from gateway.core.log_outbox import LogOutbox
from gateway.errors import OutboxError
from tests.fake_disk import Disk, FakeFiles, PowerLost

METERS = (b"meter-number-one", b"meter-number-two")
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)


class Model:
    """What must hold of an outbox, whatever happens to its disk.

    Told of each call in order; `promised` counts the calls that a sync has made durable.
    """

    def __init__(self):
        self.calls = []
        self.promised = 0
        self.bytes = {}  # (meter, cls, epoch, sequence) -> frame, ever given out
        self.notes = {}

    def took(self, entry, frame):
        number = (entry.meter, entry.cls, entry.epoch, entry.sequence)
        assert self.bytes.setdefault(number, frame) == frame, f"{number} was used twice"
        self.calls.append(("frame", number))

    def cursor(self, name, value):
        self.calls.append(("note", name, value))

    def receipted(self, number):
        self.calls.append(("forget", number))

    def check(self, box):
        """Right after an opening."""
        promised = self.calls[: self.promised]
        told = {}
        for at, call in enumerate(self.calls):
            if call[0] == "note":
                told[call[2]] = at
        receipted = {call[1] for call in self.calls if call[0] == "forget"}
        for _, *number in (call for call in promised if call[0] == "frame"):
            entry = box.get(*number[0])
            # Receipted frames and present values may have given way.
            if entry is None:
                assert number[0] in receipted or number[0][1] == PRESENT, f"{number[0]} is lost"
            else:
                assert entry.frame == self.bytes[number[0]]
                assert not entry.kept or number[0] in receipted, f"{number[0]} was never receipted"
        for call in promised:
            if call[0] == "note":
                self.notes[call[1]] = call[2]
        for name, value in self.notes.items():
            found = box.note(name)
            at = told[found] if found is not None else -1
            assert at >= told[value], "a note went back"
            # What lies before a note is there: no reader goes past what was lost.
            for call in self.calls[:at]:
                if call[0] == "frame" and call[1][1] != PRESENT and call[1] not in receipted:
                    assert box.get(*call[1]) is not None, f"{call[1]} is lost, and the cursor is behind it"


async def live(box, disk, model, choose, rounds):
    count = len(model.calls)
    for _ in range(rounds):
        action = choose.randrange(10)
        meter = choose.choice(METERS)
        if action < 6:
            cls = choose.choice((EVENTS, PROFILE, PROFILE, REGISTERS, PRESENT, PRESENT))
            size = choose.choice((5, 30, 60, 400))
            made = []

            def encode(epoch, sequence, made=made, size=size):
                made.append(f"{epoch} {sequence} ".encode() + choose.randbytes(size))
                return made[0]

            try:
                model.took(box.append(meter, cls, encode), made[0])
            except OutboxError:
                continue
        elif action == 6:
            count += 1
            value = f"{count} {len(model.calls)}".encode()
            box.set_note(b"cursor/" + meter, value)
            model.cursor(b"cursor/" + meter, value)
        elif action == 7:
            cls = choose.randrange(4)
            entry = box.following(meter, cls, -1)
            for _ in range(choose.randrange(12)):
                if entry is None:
                    break
                model.receipted((meter, cls, entry.epoch, entry.sequence))
                box.forget(meter, cls, entry.epoch, entry.sequence, entry.sequence)
                entry = box.following(meter, cls, entry.place)
        else:
            upto = len(model.calls)
            try:
                await box.sync()
                model.promised = upto
            except OutboxError:
                pass


def history(seed, capacity, rounds=60, lives=4):
    """Several openings of one disk, each ended by a loss of power."""
    choose = random.Random(seed)
    disk = Disk()
    model = Model()
    for life in range(lives):
        box = LogOutbox(FakeFiles(disk), capacity, lambda level, text: None, 2048)
        if life:
            model.check(box)
            promised = [call for call in model.calls[: model.promised] if call[0] == "frame"]
            assert not (box.damaged and promised), "a loss of power is no damage"
            # What was not promised is either there or not, and that is settled now.
            model.calls = [
                call
                for at, call in enumerate(model.calls)
                if at < model.promised
                or (call[0] == "frame" and box.get(*call[1]) is not None)
                or call[0] == "forget"
                or (call[0] == "note" and box.note(call[1]) == call[2])
            ]
            asyncio.run(box.sync())
            model.promised = len(model.calls)
        # Now and then the disk is full before the outbox is.
        disk.full_at = disk.used() + choose.randrange(8000) if choose.randrange(4) == 0 else None
        disk.cut_at = disk.ops + choose.randrange(90)
        try:
            asyncio.run(live(box, disk, model, choose, rounds))
        except PowerLost:
            pass
        disk = disk.crashed(choose.randrange)
        disk.full_at = None


@pytest.mark.parametrize("capacity", [1 << 20, 20 * 4096])
def test_nothing_promised_is_lost_and_no_number_used_twice(capacity):
    for seed in range(250):
        history(seed, capacity)
