"""The durable outbox on storage that fails, fills up, is spoiled, or is not given the time to end."""

import asyncio
import random
import unittest

from gateway import clock
from gateway.core.log_outbox import LogOutbox
from gateway.errors import OutboxError
from tests.fake_disk import Disk, FakeFiles

METER = b"meter-number-one"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
SEGMENT = 2000


class Said(list):
    def __call__(self, level, text):
        self.append((level, text))

    def levels(self):
        return [level for level, _ in self]


def opened(disk, capacity=1 << 20, log=None, pause=None, keep_s=None):
    return LogOutbox(FakeFiles(disk, pause), capacity, Said() if log is None else log, SEGMENT, keep_s)


def sync(box):
    asyncio.run(box.sync())


def fill(box, cls, count, meter=METER, size=40):
    for _ in range(count):
        box.append(
            meter, cls, lambda epoch, sequence: ("%08x %d " % (epoch, sequence)).encode() + bytes(size)
        )


def frames(box, cls, meter=METER):
    """(epoch, sequence) of all that is pending, read from storage."""
    found = []
    entry = box.following(meter, cls, -1)
    while entry is not None:
        assert entry.frame.startswith(("%08x %d " % (entry.epoch, entry.sequence)).encode())
        found.append((entry.epoch, entry.sequence))
        entry = box.following(meter, cls, entry.place)
    return found


def reopened(disk):
    """The outbox of a second life, with 100 frames from the first."""
    box = opened(disk)
    fill(box, PROFILE, 100)
    sync(box)
    box.close()
    return opened(disk)


def newest(disk, suffix):
    return sorted(name for name in disk.names if name.endswith(suffix))[-1]


def spoil(disk, name, at):
    data = disk.names[name].data
    disk.names[name].data = data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]


class Interrupted(unittest.TestCase):
    def test_a_sync_that_is_cancelled_leaves_its_work_to_the_next(self):
        disk = Disk()

        async def work():
            waits = [True]

            async def pause():
                if waits:
                    await asyncio.sleep(100)

            box = opened(disk, pause=pause)
            fill(box, PROFILE, 5)
            box.set_note(b"cursor/a", b"5")
            box.forget(METER, PROFILE, box.epoch, 0, 1)
            task = asyncio.create_task(box.sync())
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            waits.clear()
            await box.sync()
            return box.epoch

        epoch = asyncio.run(work())
        again = opened(disk.crashed(lambda n: 0))
        self.assertEqual(again.note(b"cursor/a"), b"5")
        self.assertEqual(frames(again, PROFILE), [(epoch, i) for i in range(2, 5)])

    def test_reading_that_fails_between_a_write_and_its_sync_does_not_hide_it(self):
        disk = Disk()
        spoiled = [True]

        async def pause():
            if spoiled:
                spoiled.clear()
                disk.unreadable = [newest(disk, ".1")]
                try:
                    frames(box, PROFILE)
                except OutboxError:
                    pass
                disk.unreadable = ()

        box = opened(disk)
        fill(box, PROFILE, 5)
        sync(box)
        box._files.pause = pause
        fill(box, PROFILE, 5)
        self.assertRaises(OutboxError, sync, box)
        sync(box)
        again = opened(disk.crashed(lambda n: 0))
        self.assertEqual(frames(again, PROFILE), [(box.epoch, i) for i in range(10)])

    def test_a_segment_is_written_further_only_if_none_came_after_it(self):
        """The seal of a segment did not get there, and the next one, with its seal, did."""
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 70)
        sync(box)
        first = sorted(name for name in disk.names if name.endswith(".1"))[0]
        disk.names[first].data = disk.names[first].data[:-30]
        last = newest(disk, ".1")
        for name in sorted(disk.names):
            if name.endswith(".1") and name > first and name == last:
                del disk.names[name]
        again = opened(disk)
        epoch = again.epoch
        fill(again, PROFILE, 3)
        self.assertEqual(frames(again, PROFILE)[-3:], [(epoch, i) for i in range(3)])
        sync(again)
        self.assertEqual(frames(opened(disk), PROFILE)[-3:], [(epoch, i) for i in range(3)])

    def test_what_an_unfinished_write_left_behind_does_not_hide_the_seal(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 10)
        sync(box)
        name = newest(disk, ".1")
        disk.names[name].data += b"\xa5" * 6000
        again = opened(disk)
        self.assertTrue(again.torn >= 6000)
        fill(again, PROFILE, 60)
        sync(again)
        third = opened(disk)
        self.assertEqual((third.torn, third.damaged), (0, 0))
        self.assertEqual(len(frames(third, PROFILE)), 70)


class Spoiled(unittest.TestCase):
    def test_files_that_were_never_durable_are_no_damage(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 10)
        box.set_note(b"cursor/profile/" + METER, b"1")
        sync(box)
        for left in (b"", bytes(4096), b"\xa5" * 300):
            other = disk.copy()
            number = int(newest(other, ".j")[:8], 16)
            for cls in range(4):
                other.names["%08x.%d" % (number + 5 + cls, cls)] = other.copy().names[newest(disk, ".1")]
                other.names["%08x.%d" % (number + 5 + cls, cls)].data = left
            said = Said()
            again = opened(other, log=said)
            self.assertEqual(said.levels(), ["info"])
            self.assertEqual((again.damaged, len(frames(again, PROFILE))), (0, 10))
            self.assertEqual([name for name in other.names if name.endswith(".bad")], [])

    def test_a_durable_part_that_is_gone_is_found_and_read_again(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 20)
        box.set_note(b"cursor/profile/" + METER, b"1")
        sync(box)
        name = newest(disk, ".1")
        whole = disk.names[name].data
        for left in (whole[:-100], whole[:900] + bytes(len(whole) - 900), b"", None):
            other = disk.copy()
            if left is None:
                del other.names[name]
            else:
                other.names[name].data = left
            said = Said()
            again = opened(other, log=said)
            self.assertEqual(said.levels()[:1], ["error"])
            self.assertEqual(again.damaged, 1)
            self.assertEqual(list(again.losses()), [METER])
            fill(again, PROFILE, 40)
            sync(again)
            self.assertEqual(len([e for e, _ in frames(opened(other), PROFILE) if e == again.epoch]), 40)

    def test_a_damaged_frame_in_the_file_that_is_written_does_not_block_the_way(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 10)
        sync(box)
        name = newest(disk, ".1")
        spoil(disk, name, disk.names[name].data.find(b" 4 ") + 10)
        self.assertRaises(OutboxError, frames, box, PROFILE)
        self.assertEqual([sequence for _, sequence in frames(box, PROFILE)], [0, 1, 2, 3, 5, 6, 7, 8, 9])
        self.assertEqual(box.drops(METER), [(PROFILE, box.epoch, 4, 4)])
        self.assertEqual(list(box.losses()), [METER])
        fill(box, PROFILE, 1)
        sync(box)

    def test_files_that_can_not_be_opened_at_present_are_not_given_up(self):
        disk = Disk()
        box = reopened(disk)
        disk.at_most = disk.opened
        self.assertRaises(OutboxError, frames, box, PROFILE)
        self.assertRaises(OutboxError, opened, disk)
        disk.at_most = 1000
        self.assertEqual(len(frames(box, PROFILE)), 100)
        self.assertEqual((box.damaged, box.drops(METER)), (0, []))
        self.assertEqual(opened(disk).damaged, 0)

    def test_what_can_not_be_read_for_long_is_given_up(self):
        disk = Disk()
        box = reopened(disk)
        disk.unreadable = [sorted(name for name in disk.names if name.endswith(".1"))[0]]
        tries = 0
        while True:
            try:
                found = frames(box, PROFILE)
                break
            except OutboxError:
                tries += 1
                self.assertTrue(tries < 10)
        self.assertTrue(tries > 1)
        self.assertTrue(60 < len(found) < 100)
        self.assertEqual(box.damaged, 1)
        self.assertEqual(list(box.losses()), [METER])

    def test_few_spoiled_files_are_kept(self):
        disk = Disk()
        for i in range(9):
            box = opened(disk)
            fill(box, PROFILE, 5)
            box.set_note(b"x", b"%d" % i)
            sync(box)
            box.close()
            disk.names[newest(disk, ".1")].data = b"nonsense" * 20
        opened(disk)
        bad = sorted(name for name in disk.names if name.endswith(".bad"))
        self.assertEqual(len(bad), 4)
        # And no number is used again that one of them has.
        box = opened(disk)
        fill(box, PROFILE, 5)
        sync(box)
        self.assertTrue(newest(disk, ".1") > bad[-1][:10])

    def test_a_journal_of_another_form_is_set_aside(self):
        disk = Disk()
        box = opened(disk)
        box.set_note(b"x", b"1")
        sync(box)
        name = newest(disk, ".j")
        spoil(disk, name, 4)
        said = Said()
        again = opened(disk, log=said)
        self.assertEqual(said.levels(), ["error"])
        again.set_note(b"y", b"2")
        sync(again)
        self.assertIn(name + ".bad", disk.names)
        self.assertEqual(opened(disk).note(b"y"), b"2")


class Full(unittest.TestCase):
    def test_receipted_frames_give_way_on_a_full_disk(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 200)
        sync(box)
        box.forget(METER, PROFILE, box.epoch, 0, 149)
        sync(box)
        disk.full_at = disk.used() + 100
        fill(box, EVENTS, 60)
        box.set_note(b"cursor/a", b"60")
        sync(box)
        again = opened(disk.crashed(lambda n: 0))
        self.assertEqual(len(frames(again, EVENTS)), 60)
        self.assertEqual(again.note(b"cursor/a"), b"60")
        self.assertEqual(frames(again, PROFILE), [(box.epoch, i) for i in range(150, 200)])

    def test_present_values_give_way_on_a_full_disk_and_are_declared(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PRESENT, 200)
        sync(box)
        disk.full_at = disk.used() + 200
        fill(box, EVENTS, 60)
        sync(box)
        again = opened(disk.crashed(lambda n: 0))
        self.assertEqual(len(frames(again, EVENTS)), 60)
        (drop,) = again.drops(METER)
        self.assertEqual(drop[:3], (PRESENT, box.epoch, 0))
        self.assertEqual(frames(again, PRESENT), [(box.epoch, i) for i in range(drop[3] + 1, 200)])

    def test_a_full_disk_of_what_may_not_go_is_left_alone_until_there_is_space(self):
        disk = Disk()
        box = opened(disk)
        fill(box, PROFILE, 50)
        sync(box)
        disk.full_at = disk.used() + 700
        files = len(disk.names)
        for _ in range(200):
            try:
                fill(box, PROFILE, 10)
                box.set_note(b"cursor/a", b"%d" % box.next_sequence(METER, PROFILE) + bytes(200))
                sync(box)
            except OutboxError:
                pass
        self.assertTrue(len(disk.names) <= files + 2, sorted(disk.names))
        self.assertTrue(box.next_sequence(METER, PROFILE) * 50 < 60000)  # memory is not endless
        disk.full_at = None
        sync(box)
        again = opened(disk.crashed(lambda n: 0))
        count = box.next_sequence(METER, PROFILE)
        self.assertEqual(len(frames(again, PROFILE)), count)

    def test_a_journal_that_finds_no_space_for_a_new_file_goes_on_in_the_old(self):
        disk = Disk()
        box = opened(disk)
        for i in range(20):
            box.set_note(b"%d" % i, bytes(100))
        sync(box)
        disk.full_at = disk.used() + 9000
        for i in range(60):
            box.set_note(b"1", b"%0100d" % i)
            try:
                sync(box)
            except OutboxError:
                break
        else:
            i = 60
        self.assertTrue(i > 40)
        self.assertEqual(len([name for name in disk.names if name.endswith(".j")]), 1)
        self.assertTrue(int(opened(disk.crashed(lambda n: 0)).note(b"1")) >= i - 1)

    def test_storage_that_is_dead_does_not_stop_what_is_receipted_from_memory(self):
        disk = Disk()
        box = opened(disk)
        disk.broken = True
        for i in range(300):
            fill(box, PROFILE, 10)
            box.forget(METER, PROFILE, box.epoch, 0, 10 * i + 9)
            if i % 10 == 0:
                self.assertRaises(OutboxError, sync, box)
        self.assertTrue(box._logs.unsynced() < 40000)

    def test_receipted_files_that_are_still_written_give_way_too(self):
        disk = Disk()
        box = opened(disk, 5 * 4096)
        for cls in (EVENTS, REGISTERS, PRESENT):
            fill(box, cls, 5)
            box.forget(METER, cls, box.epoch, 0, 4)
        sync(box)
        fill(box, PROFILE, 120)
        sync(box)
        self.assertEqual(len(frames(opened(disk), PROFILE)), 120)


class Old(unittest.TestCase):
    def setUp(self):
        self.utc, self.ticks = clock.utc_ms, clock.monotonic_ms
        self.now = [1700000000000, 5000]
        clock.utc_ms = lambda: self.now[0]
        clock.monotonic_ms = lambda: self.now[1]

    def tearDown(self):
        clock.utc_ms, clock.monotonic_ms = self.utc, self.ticks

    def later(self, box, days):
        for _ in range(24 * days):
            self.now[0] += 3600000
            self.now[1] += 3600000
            sync(box)

    def test_receipted_frames_go_after_their_time(self):
        disk = Disk()
        box = opened(disk, keep_s=7 * 86400)
        fill(box, EVENTS, 40)  # the last of them are in a file that nothing is added to
        sync(box)
        self.later(box, 30)
        fill(box, EVENTS, 1)
        box.forget(METER, EVENTS, box.epoch, 0, 40)
        sync(box)
        self.assertTrue(box.get(METER, EVENTS, box.epoch, 40) is not None)
        self.later(box, 6)
        self.assertTrue(box.get(METER, EVENTS, box.epoch, 40) is not None)
        self.later(box, 2)
        self.assertIsNone(box.get(METER, EVENTS, box.epoch, 40))
        self.assertEqual(opened(disk).offer_again(METER), 0)

    def test_a_clock_that_jumps_takes_nothing_along(self):
        disk = Disk()
        box = opened(disk, keep_s=7 * 86400)
        fill(box, PROFILE, 100)
        box.forget(METER, PROFILE, box.epoch, 0, 99)
        sync(box)
        self.now[0] += 400 * 86400000
        sync(box)
        self.now[0] -= 400 * 86400000
        self.later(box, 2)
        self.assertTrue(all(box.get(METER, PROFILE, box.epoch, i) is not None for i in range(100)))


class Numbers(unittest.TestCase):
    def test_sequences_beyond_32_bits(self):
        disk = Disk()
        box = opened(disk)
        first = (1 << 40) - 20
        for i in range(first, first + 15):
            box.append_foreign(METER, PROFILE, 99, i, b"%d" % i)
        sync(box)
        box.forget(METER, PROFILE, 99, first, first + 3)
        sync(box)
        again = opened(disk)
        self.assertEqual(again.runs(METER, PROFILE, 99), [(first + 4, first + 14)])
        self.assertEqual(again.get(METER, PROFILE, 99, first + 9).frame, b"%d" % (first + 9))

    def test_a_receipted_number_whose_frame_gave_way_is_not_used_before_that_is_durable(self):
        disk = Disk()
        box = opened(disk, 6 * 4096)
        for i in range(40):
            box.append_foreign(METER, REGISTERS, 99, i, b"%040d" % i)
        sync(box)
        box.forget(METER, REGISTERS, 99, 0, 39)
        sync(box)
        fill(box, PROFILE, 110, size=50)
        self.assertIsNone(box.get(METER, REGISTERS, 99, 0))
        self.assertRaises(OutboxError, box.append_foreign, METER, REGISTERS, 99, 0, b"other bytes")
        sync(box)
        box.forget(METER, PROFILE, box.epoch, 0, 109)
        box.append_foreign(METER, REGISTERS, 99, 0, b"other bytes")
        sync(box)
        self.assertEqual(opened(disk).runs(METER, REGISTERS, 99), [(0, 0)])


class Nonsense(unittest.TestCase):
    def test_no_file_however_spoiled_ends_an_opening(self):
        disk = Disk()
        box = opened(disk)
        for cls in (EVENTS, PROFILE, REGISTERS, PRESENT):
            fill(box, cls, 40)
        box.set_note(b"cursor/profile/" + METER, b"1")
        box.forget(METER, PROFILE, box.epoch, 0, 10)
        sync(box)
        known = set(frames(box, PROFILE))
        random.seed(3)
        for _ in range(120):
            other = disk.copy()
            for name in sorted(other.names):
                data = bytearray(other.names[name].data)
                for _ in range(random.randrange(4)):
                    at = random.randrange(len(data))
                    how = random.randrange(4)
                    if how == 0:
                        data[at] = random.randrange(256)
                    elif how == 1:
                        data = data[:at]
                    elif how == 2:
                        data[at : at + 20] = bytes(min(20, len(data) - at))
                    else:
                        data = data[:at] + data[at // 2 : at] + data[at:]
                    data = data or bytearray(1)
                other.names[name].data = bytes(data)
            again = opened(other)
            found = []
            for _ in range(100):
                try:
                    found = frames(again, PROFILE)
                    break
                except OutboxError:
                    pass
            # What was receipted may be offered again where the journal is gone.
            allowed = known.union([(box.epoch, i) for i in range(11)])
            self.assertEqual([one for one in found if one not in allowed], [])
            fill(again, PROFILE, 5)
            sync(again)
            self.assertTrue(len(frames(opened(other), PROFILE)) >= 5)
