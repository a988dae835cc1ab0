"""How far back a meter is read again when the receiver's storage goes back: nothing lost is left out, however
large the backlog was, and where there was none not much is read again."""

import unittest

from gateway.core import horizon
from gateway.core.cursors import note_name
from gateway.core.memory_outbox import MemoryOutbox
from gateway.transmission import model
from tests.fake_clock import FakeClock

METER = bytes(16)
START = 1_719_835_200  # 2024-07-01T12:00:00Z
QUARTER = 900
HOUR = 3600
DAY = 86400
KINDS = ((model.EVENT, 0), (model.LOAD_PROFILE, 1))


class World:
    """A meter that stores a reading each quarter of an hour, who reads it, and who takes the frames."""

    def __init__(self, clock, backlog=0):
        self.clock = clock
        self.outbox = MemoryOutbox(100_000)
        self.horizon = horizon.Horizon(self.outbox, METER)
        self.held = {kind: [START - QUARTER * i for i in range(backlog, 0, -1)] for kind, _ in KINDS}
        self.position = {kind: 0 for kind, _ in KINDS}
        self.frames = {}  # (class, sequence): readings
        self.taken = []  # (when, readings)
        self.now = START

    def tick(self):
        self.now += QUARTER
        self.clock.utc = 1000 * self.now
        for kind, _ in KINDS:
            self.held[kind].append(self.now)

    def read(self, steps=1000):
        """At most so many steps of each kind."""
        for kind, cls in KINDS:
            for _ in range(steps):
                at = self.position[kind]
                items = self.held[kind][at : at + 4]
                if items:
                    entry = self.outbox.append(METER, cls, lambda epoch, sequence: b"%d" % sequence)
                    self.frames[(cls, entry.sequence)] = items
                    self.horizon.places[cls] = entry.place
                self.position[kind] = at + len(items)
                self.outbox.set_note(note_name("cursor", kind, METER), b"%d" % at)
                more = self.position[kind] < len(self.held[kind])
                self.horizon.step(kind, self.now, more)
                if not more:
                    break

    def take(self, frames=1000):
        """The receiver takes the oldest frames of each class, so many at most."""
        for _, cls in KINDS:
            for _ in range(frames):
                entry = self.outbox.following(METER, cls, -1)
                if entry is None:
                    break
                self.outbox.forget(METER, cls, self.outbox.epoch, entry.sequence, entry.sequence)
                self.taken.append((self.now, self.frames[(cls, entry.sequence)]))

    def live(self, quarters):
        """So many quarters of an hour in which all is read and taken at once."""
        for _ in range(quarters):
            self.tick()
            self.read()
            self.take()

    def back(self, since):
        """Where `go_back` goes, without its effect on notes; checks that it leaves nothing out."""
        name = b"horizon/" + METER
        before = self.outbox.note(name)
        back = horizon.go_back(self.outbox, METER, since)
        self.outbox.set_note(name, before)
        for when, readings in self.taken:
            if when > since:
                assert min(readings) >= back, (since - START, back - START, min(readings) - START)
        return back


class TestHorizon(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(START * 1000)
        self.clock.install()

    def tearDown(self):
        self.clock.uninstall()

    def test_a_calm_life_goes_back_little_more_than_a_day(self):
        world = World(self.clock)
        world.live(4 * 40)
        for hours in range(3, 40):
            since = START + HOUR * hours
            self.assertTrue(since - DAY - 3 * HOUR < world.back(since) < since - DAY)
        self.assertEqual(world.back(START), 0)

    def test_frames_that_were_not_receipted_for_days_at_that_time(self):
        world = World(self.clock)
        world.live(4 * 30)
        gone = world.now
        for _ in range(4 * 50):  # the receiver is away
            world.tick()
            world.read()
        for _ in range(8):  # it is back, and takes some at a time
            world.tick()
            world.read()
            world.take(10)
        since = world.now
        world.tick()
        world.take()
        # What it took then is older than `since` by more than a day, and is read again.
        self.assertTrue(min(min(readings) for when, readings in world.taken if when > since) < since - DAY)
        self.assertTrue(world.back(since) <= gone)
        self.assertTrue(world.back(since) > gone - DAY - 2 * HOUR)

    def test_a_backlog_that_was_still_in_the_meter(self):
        world = World(self.clock, backlog=1000)
        for _ in range(60):
            world.tick()
            world.read(2)
            world.take()
        self.assertEqual(world.back(world.now - 5 * HOUR), 0)  # from the oldest
        world.read()
        world.take()
        world.live(9)
        self.assertTrue(world.back(world.now) > world.now - DAY - 3 * HOUR)

    def test_going_back_lowers_all_notes(self):
        world = World(self.clock)
        world.live(4 * 60)
        since = START + 40 * HOUR
        back = horizon.go_back(world.outbox, METER, since)
        self.assertEqual(horizon.go_back(world.outbox, METER, world.now), back)
        # While it is read again, notes say so.
        world.outbox.set_note(
            note_name("again", model.EVENT, METER), b"\x92\xce" + back.to_bytes(4, "big") + b"\xc0"
        )
        world.live(8)
        self.assertEqual(horizon.go_back(world.outbox, METER, world.now), back)

    def test_notes_are_few_and_reach_far_back(self):
        world = World(self.clock)
        world.live(4 * 24 * 8)
        self.assertTrue(len(world.outbox.note(b"horizon/" + METER)) < 600)
        for days in range(3, 8):
            since = START + DAY * days
            self.assertTrue(world.back(since) > since - DAY - (world.now - since) // 4 - 3 * HOUR)
        self.assertTrue(world.back(world.now) > world.now - DAY - 2 * HOUR)

    def test_a_clock_that_was_set_back(self):
        world = World(self.clock)
        world.live(4 * 60)
        world.now = START + 10 * HOUR
        world.live(4 * 60)
        self.assertTrue(horizon.go_back(world.outbox, METER, START + 9 * HOUR) <= START + 8 * HOUR - DAY)
        self.assertTrue(len(world.outbox.note(b"horizon/" + METER)) < 600)

    def test_after_a_restart_what_was_pending_before_counts(self):
        world = World(self.clock)
        world.live(4 * 30)
        gone = world.now
        for _ in range(4 * 20):
            world.tick()
            world.read()
        world.horizon = horizon.Horizon(world.outbox, METER)  # an outbox that outlives the process
        for _ in range(4 * 5):
            world.tick()
            world.read()
        since = world.now
        world.tick()
        world.take()
        self.assertTrue(world.back(since) <= gone)

    def test_whatever_happens_nothing_is_left_out(self):
        for seed in range(6):
            state = seed + 1
            world = World(self.clock, backlog=(0, 300)[seed & 1])
            away = 0
            silent = 0
            for _ in range(700):
                state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
                draw = state >> 40
                if not draw % 97:
                    away = draw // 97 % 200  # the receiver, so many quarters of an hour
                if not draw % 89:
                    silent = draw // 89 % 150  # the meter
                if not draw % 83:
                    world.horizon = horizon.Horizon(world.outbox, METER)
                world.tick()
                if silent:
                    silent -= 1
                else:
                    world.read((1000, 1, 3)[draw % 3])
                if away:
                    away -= 1
                else:
                    world.take((1000, 1, 5)[draw // 3 % 3])
            for since in range(START, world.now + 1, 7 * QUARTER):
                world.back(since)

    def test_a_replaced_meter_has_no_notes(self):
        world = World(self.clock)
        world.live(4 * 30)
        horizon.drop(world.outbox, METER)
        self.assertEqual(world.back(world.now), 0)
        horizon.drop(world.outbox, METER)
