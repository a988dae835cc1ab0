"""The durable outbox: order and numbers, what gives way, what is there after the power was lost."""

import asyncio
import gc
import random
import unittest

from gateway import clock
from gateway.core.log_outbox import LogOutbox
from gateway.errors import OutboxError
from tests.fake_disk import Disk, FakeFiles, PowerLost

METER = b"meter-number-one"
OTHER = b"meter-number-two"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
SEGMENT = 1000


def quiet(level, text):
    pass


def opened(disk, capacity=1 << 20, segment=SEGMENT, log=quiet, pause=None):
    return LogOutbox(FakeFiles(disk, pause), capacity, log, segment)


def sync(box):
    asyncio.run(box.sync())


def fill(box, cls, count, meter=METER, size=40):
    return [
        box.append(
            meter, cls, lambda epoch, sequence: ("%08x %6d " % (epoch, sequence)).encode() + bytes(size)
        )
        for _ in range(count)
    ]


def frames(box, cls, meter=METER):
    """Pending (epoch, sequence), in order, each with its frame as `fill` makes it."""
    found = []
    entry = box.following(meter, cls, -1)
    while entry is not None:
        assert entry.frame.startswith(("%08x %6d " % (entry.epoch, entry.sequence)).encode())
        found.append((entry.epoch, entry.sequence))
        entry = box.following(meter, cls, entry.place)
    return found


def allocated():
    """Bytes of memory in use."""
    gc.collect()
    if hasattr(gc, "mem_alloc"):
        return gc.mem_alloc()
    import tracemalloc

    return tracemalloc.get_traced_memory()[0]


class LogOutboxTest(unittest.TestCase):
    def test_what_was_receipted_takes_little_memory_and_is_offered_again(self):
        disk = Disk()
        box = opened(disk)
        last = []
        for cls in (PROFILE, REGISTERS) * 100:
            last = fill(box, cls, 12)
            box.forget(METER, cls, box.epoch, 0, last[-1].sequence)
            sync(box)
        box.close()
        held = box = None
        if not hasattr(gc, "mem_alloc"):
            import tracemalloc

            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
        before = allocated()
        box = opened(disk)
        held = allocated() - before
        count = len(disk.names)
        self.assertTrue(count > 120)
        self.assertTrue(held / count < 200, held / count)
        self.assertEqual(box.meters(), [])
        self.assertEqual(box.offer_again(METER), 2400)
        self.assertEqual([sequence for _, sequence in frames(box, PROFILE)], list(range(1200)))
        epoch = last[-1].epoch
        box.forget(METER, PROFILE, epoch, 0, 1199)
        sync(box)
        self.assertEqual(frames(box, PROFILE), [])
        self.assertTrue(box.get(METER, PROFILE, epoch, 700).frame.startswith(b"%08x    700 " % epoch))
        self.assertEqual(len(frames(box, REGISTERS)), 1200)

    def test_what_was_synced_is_there_after_the_power_was_lost(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 100)
        fill(box, PRESENT, 30)
        fill(box, PROFILE, 3, OTHER)
        box.set_note(b"cursor", b"7")
        box.add_drop(METER, PRESENT, 5, 1, 2)
        sync(box)
        epoch = box.epoch
        box.forget(METER, PROFILE, epoch, 10, 49)
        sync(box)
        fill(box, PRESENT, 5)
        box.set_note(b"cursor", b"8")
        again = opened(disk.crashed(lambda n: 0))
        self.assertEqual(frames(again, PROFILE), [(epoch, i) for i in range(100) if not 10 <= i < 50])
        self.assertEqual(frames(again, PRESENT), [(epoch, i) for i in range(30)])
        self.assertEqual(frames(again, PROFILE, OTHER), [(epoch, i) for i in range(3)])
        self.assertEqual(again.note(b"cursor"), b"7")
        self.assertEqual(again.drops(METER), [(PRESENT, 5, 1, 2)])
        self.assertEqual(sorted(again.meters()), [METER, OTHER])
        self.assertNotEqual(again.epoch, epoch)
        self.assertEqual(again.runs(METER, PROFILE, epoch), [(0, 9), (50, 99)])
        self.assertEqual(again.offer_again(METER), 40)
        self.assertEqual(again.runs(METER, PROFILE, epoch), [(0, 99)])
        self.assertEqual(frames(again, PROFILE), [(epoch, i) for i in range(100)])

    def test_a_frame_is_read_back_before_and_after_it_is_durable(self):
        disk = Disk()
        box = opened(disk)
        fill(box, REGISTERS, 60)
        self.assertEqual(len(frames(box, REGISTERS)), 60)
        sync(box)
        self.assertEqual(len(frames(box, REGISTERS)), 60)
        fill(box, REGISTERS, 7)
        self.assertEqual(frames(box, REGISTERS), [(box.epoch, i) for i in range(67)])
        entry = box.get(METER, REGISTERS, box.epoch, 3)
        self.assertEqual((entry.sequence, entry.kept), (3, False))
        self.assertIsNone(box.get(METER, REGISTERS, box.epoch, 67))
        self.assertIsNone(box.get(METER, PROFILE, box.epoch, 3))

    def test_a_note_is_never_there_without_the_frame_before_it(self):
        for seed in range(60):
            choose = random.Random(seed).randrange if hasattr(random, "Random") else random.randrange
            disk = Disk()
            box = opened(disk)
            disk.cut_at = seed
            done = 0
            try:
                for i in range(20):
                    fill(box, PROFILE, 3)
                    box.set_note(b"cursor", b"%d" % (3 * i + 3))
                    sync(box)
                    done = 3 * i + 3
            except PowerLost:
                pass
            again = opened(disk.crashed(choose))
            held = frames(again, PROFILE)
            cursor = int(again.note(b"cursor") or b"0")
            self.assertTrue(done <= cursor <= len(held), (seed, done, cursor, len(held)))
            # Of what no sync has promised, any part may be there: the end of one file, the begin of the next.
            self.assertEqual(held[:cursor], [(box.epoch, i) for i in range(cursor)])
            self.assertEqual(held, sorted(held))
            # It goes on from there, and what it says then holds as well.
            fill(again, PROFILE, 30)
            sync(again)
            third = opened(again._files.disk.crashed(choose))
            self.assertEqual(frames(third, PROFILE), held + [(again.epoch, i) for i in range(30)])

    def test_a_number_is_never_used_twice(self):
        disk = Disk()
        epochs = set()
        for _ in range(5):
            box = opened(disk.copy())
            epochs.add(box.epoch)
            self.assertEqual([e.sequence for e in fill(box, EVENTS, 2)], [0, 1])
        self.assertEqual(len(epochs), 5)

    def test_receipted_segments_give_way_then_the_oldest_present_values(self):
        disk = Disk()
        box = opened(disk, 6 * 4096, 4096)
        fill(box, PROFILE, 60)
        sync(box)
        box.forget(METER, PROFILE, box.epoch, 0, 59)
        fill(box, PRESENT, 130)
        sync(box)
        kept = len([i for i in range(60) if box.get(METER, PROFILE, box.epoch, i)])
        fill(box, PRESENT, 300)
        sync(box)
        self.assertTrue(kept > 0)
        self.assertEqual([i for i in range(60) if box.get(METER, PROFILE, box.epoch, i)], [])
        drops = box.drops(METER)
        self.assertEqual([drop[:3] for drop in drops], [(PRESENT, box.epoch, 0)])
        last = drops[0][3]
        self.assertEqual(frames(box, PRESENT), [(box.epoch, i) for i in range(last + 1, 430)])
        self.assertTrue(disk.used() <= 6 * 4096)
        again = opened(disk)
        self.assertEqual(again.drops(METER), drops)
        self.assertEqual(frames(again, PRESENT), [(box.epoch, i) for i in range(last + 1, 430)])
        again.declared(METER, drops)
        sync(again)
        self.assertEqual(opened(disk).drops(METER), [])

    def test_since_when_all_frames_of_a_class_are_here(self):
        disk = Disk()
        box = opened(disk)
        self.assertIsNone(box.whole_since(EVENTS))
        now = clock.utc_ms() // 1000
        fill(box, EVENTS, 100)
        self.assertTrue(now <= box.whole_since(EVENTS) <= clock.utc_ms() // 1000)
        self.assertIsNone(box.whole_since(PROFILE))
        sync(box)
        since = box.whole_since(EVENTS)
        box.forget(METER, EVENTS, box.epoch, 0, 99)
        self.assertEqual(opened(disk).whole_since(EVENTS), since)

    def test_other_classes_never_give_way(self):
        disk = Disk()
        box = opened(disk, 6 * 4096, 4096)
        count = 0
        try:
            while True:
                fill(box, PROFILE, 1)
                count += 1
        except OutboxError:
            pass
        self.assertTrue(count > 200)
        self.assertEqual(box.next_sequence(METER, PROFILE), count)
        self.assertEqual(frames(box, PROFILE), [(box.epoch, i) for i in range(count)])
        self.assertRaises(OutboxError, fill, box, PRESENT, 1)
        box.forget(METER, PROFILE, box.epoch, 0, 99)
        fill(box, PROFILE, 20)
        self.assertEqual(frames(box, PROFILE), [(box.epoch, i) for i in range(100, count + 20)])

    def test_storage_that_fails_for_a_while_loses_nothing(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 10)
        sync(box)
        disk.broken = True
        fill(box, PROFILE, 50)
        box.set_note(b"cursor", b"60")
        for _ in range(3):
            self.assertRaises(OutboxError, sync, box)
        self.assertEqual(len(frames(box, PROFILE)), 60)
        disk.broken = False
        fill(box, PROFILE, 5)
        sync(box)
        again = opened(disk.crashed(lambda n: 0))
        self.assertEqual(frames(again, PROFILE), [(box.epoch, i) for i in range(65)])
        self.assertEqual(again.note(b"cursor"), b"60")

    def test_what_comes_while_frames_are_synced_waits_for_the_next(self):
        disk = Disk()
        meanwhile = []

        async def pause():
            if meanwhile:
                meanwhile.pop()()

        box = opened(disk, pause=pause)

        def more():
            fill(box, PROFILE, 30)
            box.forget(METER, PROFILE, box.epoch, 0, 4)
            box.set_note(b"cursor", b"40")

        fill(box, PROFILE, 10)
        meanwhile.append(more)
        sync(box)
        again = opened(disk.crashed(lambda n: 0))
        self.assertIsNone(again.note(b"cursor"))
        self.assertEqual(frames(again, PROFILE)[:10], [(box.epoch, i) for i in range(10)])
        sync(box)
        again = opened(disk.crashed(lambda n: 0))
        self.assertEqual(again.note(b"cursor"), b"40")
        self.assertEqual(frames(again, PROFILE), [(box.epoch, i) for i in range(5, 40)])

    def test_a_segment_that_gives_way_during_a_sync_stays_until_the_journal_says_why(self):
        disk = Disk()
        meanwhile = []

        async def pause():
            if meanwhile:
                meanwhile.pop()()

        box = opened(disk, 6 * 4096, 4096, pause=pause)
        fill(box, PRESENT, 300)
        sync(box)
        fill(box, PRESENT, 1)
        meanwhile.append(lambda: fill(box, PRESENT, 100))
        sync(box)
        self.assertTrue(box.dropped > 0)
        again = opened(disk.crashed(lambda n: 0))
        told = [i for _, _, first, last in again.drops(METER) for i in range(first, last + 1)]
        there = [sequence for _, sequence in frames(again, PRESENT)]
        self.assertEqual([i for i in range(301) if i not in told and i not in there], [])

    def test_a_journal_that_was_not_finished_does_not_count(self):
        disk = Disk()
        box = opened(disk)
        for i in range(40):
            box.set_note(b"cursor %d" % i, bytes(200))
        sync(box)
        for i in range(40):
            box.set_note(b"cursor %d" % i, bytes(199) + b"1")
            sync(box)
        journal = [name for name in disk.names if name.endswith(".j")][0]
        for cut in range(0, 8000, 97):
            other = disk.copy()
            later = "%08x.j" % (int(journal[:8], 16) + 1)
            other.names[later] = other.copy().names[journal]
            other.names[later].data = other.names[later].data[:cut] + b"\0"
            again = opened(other)
            self.assertEqual([i for i in range(40) if again.note(b"cursor %d" % i) != bytes(199) + b"1"], [])

    def test_a_spoiled_file_costs_what_was_spoiled_and_says_so(self):
        disk = Disk()
        said = []
        box = opened(disk)
        fill(box, PROFILE, 100)
        fill(box, PRESENT, 20)
        sync(box)
        name = sorted(disk.names)[2]
        inode = disk.names[name]
        at = len(inode.data) // 2
        inode.data = inode.data[:at] + bytes((inode.data[at] ^ 0x10,)) + inode.data[at + 1 :]
        again = opened(disk, log=lambda level, text: said.append((level, text)))
        found = frames(again, PROFILE)
        self.assertTrue(80 <= len(found) < 100)
        self.assertEqual([level for level, _ in said], ["error"])
        missing = [i for i in range(100) if (box.epoch, i) not in found]
        self.assertEqual(again.drops(METER), [(PROFILE, box.epoch, missing[0], missing[-1])])
        self.assertEqual(list(again.losses()), [METER])
        self.assertEqual(list(again.losses()), [])
        self.assertEqual(len(frames(again, PRESENT)), 20)
        self.assertEqual(again.damaged, 1)

    def test_files_of_nonsense_are_set_aside(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 10)
        sync(box)
        for name in list(disk.names):
            disk.names[name].data = b"nonsense" * 20
        said = []
        again = opened(disk, log=lambda level, text: said.append(text))
        self.assertEqual(list(again.meters()), [])
        self.assertTrue(said)
        fill(again, PROFILE, 10)
        sync(again)
        self.assertEqual(len(frames(opened(disk), PROFILE)), 10)

    def test_foreign_frames_in_any_order(self):
        disk = Disk()
        box = opened(disk)
        order = [5, 6, 7, 2, 3, 20, 4, 9, 8, 0]
        for i in order:
            box.append_foreign(METER, PROFILE, 99, i, b"%d" % i)
        self.assertEqual(box.runs(METER, PROFILE, 99), [(0, 0), (2, 9), (20, 20)])
        sync(box)
        for one in (box, opened(disk)):
            found = []
            entry = one.following(METER, PROFILE, -1)
            while entry is not None:
                found.append(int(entry.frame))
                entry = one.following(METER, PROFILE, entry.place)
            self.assertEqual(found, order)
            self.assertEqual(one.get(METER, PROFILE, 99, 20).frame, b"20")
            self.assertEqual(one.streams(METER), [(PROFILE, 99)])

    def test_a_number_with_other_bytes(self):
        disk = Disk()
        box = opened(disk)
        for i in range(5):
            box.append_foreign(METER, PROFILE, 99, i, b"old %d" % i)
        used = box.used
        self.assertEqual(box.append_foreign(METER, PROFILE, 99, 3, b"old 3").frame, b"old 3")
        self.assertEqual(box.used, used)
        self.assertRaises(OutboxError, box.append_foreign, METER, PROFILE, 99, 3, b"new 3")
        box.forget(METER, PROFILE, 99, 0, 4)
        sync(box)
        box.append_foreign(METER, PROFILE, 99, 3, b"new 3")
        self.assertEqual(box.runs(METER, PROFILE, 99), [(3, 3)])
        # Its frame becomes durable, and what the journal says of it does not.
        disk.cut_at = disk.ops + 3
        try:
            sync(box)
        except PowerLost:
            pass
        disk.cut_at = None
        again = opened(disk.crashed(lambda n: n - 1))
        self.assertEqual(again.get(METER, PROFILE, 99, 3).frame, b"new 3")
        self.assertEqual(again.runs(METER, PROFILE, 99), [(3, 3)])

    def test_a_receipt_ends_with_its_frame(self):
        disk = Disk()
        box = opened(disk, 6 * 4096, 4096)
        box.append_foreign(METER, REGISTERS, 99, 3, b"frame")
        fill(box, REGISTERS, 70)
        box.forget(METER, REGISTERS, 99, 3, 3)
        box.forget(METER, REGISTERS, box.epoch, 0, 69)
        sync(box)
        fill(box, PRESENT, 400)
        sync(box)
        self.assertIsNone(box.get(METER, REGISTERS, 99, 3))
        # Its sender offers it once more: its own receiver has lost it.
        box.append_foreign(METER, REGISTERS, 99, 3, b"frame")
        sync(box)
        self.assertEqual(opened(disk).runs(METER, REGISTERS, 99), [(3, 3)])

    def test_the_journal_does_not_grow_for_ever(self):
        disk = Disk()
        box = opened(disk)
        for i in range(600):
            box.set_note(b"cursor %d" % (i % 5), b"%060d" % i)
            sync(box)
        self.assertTrue(disk.used() < 30000, disk.used())
        again = opened(disk)
        for i in range(595, 600):
            self.assertEqual(again.note(b"cursor %d" % (i % 5)), b"%060d" % i)
        again.set_note(b"cursor 0", None)
        sync(again)
        self.assertIsNone(opened(disk).note(b"cursor 0"))
        self.assertTrue(len([name for name in disk.names if name.endswith(".j")]) <= 2)
