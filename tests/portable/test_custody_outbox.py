"""The outbox in memory: numbers, order, what gives way when it is full, and what does not."""

import asyncio
import unittest

from gateway.core.memory_outbox import MemoryOutbox
from gateway.errors import OutboxError

METER = b"meter-number-one"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
SIZE = 104  # of a frame of 8 bytes with its keeping


def fill(box, cls, count, meter=METER):
    return [box.append(meter, cls, lambda epoch, sequence: b"frame%03d" % sequence) for _ in range(count)]


def pending(box, cls, meter=METER):
    found = []
    entry = box.following(meter, cls, -1)
    while entry is not None:
        found.append(entry.sequence)
        entry = box.following(meter, cls, entry.place)
    return found


class MemoryOutboxTest(unittest.TestCase):
    def test_numbers_run_per_meter_and_class_under_one_epoch(self):
        box = MemoryOutbox(100000)
        self.assertEqual([e.sequence for e in fill(box, PROFILE, 3)], [0, 1, 2])
        self.assertEqual([e.sequence for e in fill(box, PRESENT, 2)], [0, 1])
        self.assertEqual([e.sequence for e in fill(box, PROFILE, 1, b"meter-number-two")], [0])
        self.assertEqual(box.next_sequence(METER, PROFILE), 3)
        self.assertEqual(box.runs(METER, PROFILE, box.epoch), [(0, 2)])
        self.assertNotEqual(MemoryOutbox(1).epoch, MemoryOutbox(1).epoch)

    def test_the_frame_is_made_with_its_own_number(self):
        box = MemoryOutbox(100000, epoch=77)
        seen = []

        def encode(epoch, sequence):
            seen.append((epoch, sequence))
            return b"frame"

        box.append(METER, EVENTS, encode)
        box.append(METER, EVENTS, encode)
        self.assertEqual(seen, [(77, 0), (77, 1)])

    def test_a_refused_frame_uses_up_no_number(self):
        box = MemoryOutbox(3 * SIZE)
        self.assertRaises(OutboxError, box.append, METER, PROFILE, lambda e, s: bytes(8193))
        fill(box, PROFILE, 3)
        self.assertRaises(OutboxError, fill, box, PROFILE, 1)
        self.assertEqual(box.next_sequence(METER, PROFILE), 3)
        box.forget(METER, PROFILE, box.epoch, 0, 0)
        self.assertEqual([e.sequence for e in fill(box, PROFILE, 1)], [3])

    def test_what_is_kept_goes_first_then_the_oldest_present_values(self):
        box = MemoryOutbox(6 * SIZE)
        fill(box, PRESENT, 3)
        fill(box, PROFILE, 3)
        box.forget(METER, PROFILE, box.epoch, 1, 1)
        fill(box, EVENTS, 1)
        self.assertIsNone(box.get(METER, PROFILE, box.epoch, 1))
        self.assertEqual(box.drops(METER), [])
        fill(box, PROFILE, 2)
        self.assertEqual(pending(box, PRESENT), [2])
        self.assertEqual(pending(box, PROFILE), [0, 2, 3, 4])
        self.assertEqual(box.drops(METER), [(PRESENT, box.epoch, 0, 1)])
        fill(box, PRESENT, 1)
        self.assertEqual(pending(box, PRESENT), [3])
        self.assertEqual(box.drops(METER), [(PRESENT, box.epoch, 0, 2)])

    def test_nothing_is_evicted_for_a_frame_that_can_not_fit(self):
        box = MemoryOutbox(4 * SIZE)
        fill(box, PROFILE, 3)
        fill(box, PRESENT, 1)
        self.assertRaises(OutboxError, box.append, METER, PROFILE, lambda e, s: bytes(1000))
        self.assertEqual(pending(box, PRESENT), [0])
        self.assertEqual(box.used, 4 * SIZE)

    def test_declared_drops_go_unless_they_grew(self):
        box = MemoryOutbox(2 * SIZE)
        fill(box, PRESENT, 3)
        told = box.drops(METER)
        fill(box, PRESENT, 1)
        box.declared(METER, told)
        self.assertEqual(box.drops(METER), [(PRESENT, box.epoch, 0, 1)])
        box.declared(METER, box.drops(METER))
        self.assertEqual(box.drops(METER), [])

    def test_drops_of_many_epochs_stay_few(self):
        box = MemoryOutbox(100000)
        for i in range(0, 100, 2):
            box.add_drop(METER, PRESENT, 5, i, i)
        drops = box.drops(METER)
        self.assertTrue(len(drops) <= 16)
        for i in range(0, 100, 2):
            self.assertTrue(any(first <= i <= last for _, _, first, last in drops))

    def test_offered_again_in_the_old_order(self):
        box = MemoryOutbox(100000)
        fill(box, PROFILE, 5)
        self.assertEqual(box.forget(METER, PROFILE, box.epoch, 0, 3), 4)
        self.assertEqual(box.forget(METER, PROFILE, box.epoch, 0, 3), 0)
        self.assertEqual(pending(box, PROFILE), [4])
        self.assertEqual(box.meters(), [METER])
        self.assertEqual(box.offer_again(b"meter-number-two"), 0)
        self.assertEqual(box.offer_again(METER), 4)
        self.assertEqual(pending(box, PROFILE), [0, 1, 2, 3, 4])

    def test_meters_with_work_and_meters_known(self):
        box = MemoryOutbox(100000)
        fill(box, PROFILE, 1)
        box.forget(METER, PROFILE, box.epoch, 0, 0)
        self.assertEqual(list(box.meters()), [])
        self.assertEqual(list(box.known_meters()), [METER])

    def test_foreign_frames_keep_their_numbers(self):
        box = MemoryOutbox(100000)
        box.append_foreign(METER, PROFILE, 99, 7, b"nine")
        box.append_foreign(METER, PROFILE, 99, 5, b"five")
        box.append_foreign(METER, PROFILE, 99, 6, b"six")
        self.assertEqual(box.runs(METER, PROFILE, 99), [(5, 7)])
        self.assertEqual(box.streams(METER), [(PROFILE, 99)])
        used = box.used
        box.append_foreign(METER, PROFILE, 99, 6, b"six")
        self.assertEqual(box.used, used)
        self.assertRaises(OutboxError, box.append_foreign, METER, PROFILE, 99, 6, b"other")
        box.forget(METER, PROFILE, 99, 6, 6)
        box.append_foreign(METER, PROFILE, 99, 6, b"other")
        self.assertEqual(box.get(METER, PROFILE, 99, 6).frame, b"other")

    def test_notes(self):
        box = MemoryOutbox(100000)
        self.assertIsNone(box.note(b"cursor"))
        box.set_note(b"cursor", b"1")
        self.assertEqual(box.note(b"cursor"), b"1")
        box.set_note(b"cursor", None)
        box.set_note(b"cursor", None)
        self.assertIsNone(box.note(b"cursor"))
        asyncio.run(box.sync())

    def test_who_waits_for_work_is_told(self):
        box = MemoryOutbox(100000)
        calls = []
        box.on_append = calls.append
        fill(box, PROFILE, 2)
        self.assertEqual(calls, [PROFILE, PROFILE])
