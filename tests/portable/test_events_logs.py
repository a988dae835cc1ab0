"""Event logs: complete, in order, nothing twice, losses declared; while the logs grow, wrap and are reset."""

import unittest

from gateway.c1219.readers import events
from gateway.c1219.tables import Tables
from gateway.errors import TableError
from gateway.transmission import frames, registry
from gateway.transmission.ids import event_id
from tests.fake_logs import Counter, EventLog, bt71
from tests.fake_meter import FakeMeter, bt01, put, run, standard

LOST = registry.fault_number("OSGP_events_lost")
RESET = registry.fault_number("OSGP_events_reset")
METER = bytes(16)


class World:
    """A meter with one log (firmware 3.10) or two (4.30), and who reads it."""

    def __init__(self, primary=10, alternate=0, start=0, max_read=465, argument=2):
        self.counter = Counter(start)
        self.primary = EventLog(self.counter, primary, argument)
        self.tables = standard()
        self.tables[71] = bt71(primary, argument)
        self.tables[74] = self.primary.data
        self.logs = [self.primary]
        if alternate:
            self.tables[1] = bt01(0x43C0)
            self.alternate = EventLog(self.counter, alternate, argument)
            self.logs.append(self.alternate)
            et54 = bytearray(82)
            put(et54, 80, alternate, 2)
            self.tables[2102] = et54
            self.tables[2127] = self.alternate.data
        self.meter = FakeMeter(self.tables, max_read)
        self.reader = Tables(self.meter)
        self.cursor = None
        self.got = []
        self.seconds = 0

    def log(self, which=0, code=None, number=None):
        self.seconds += 7
        code = self.seconds % 4000 if code is None else code
        return self.logs[which].log(code, self.seconds, None, number)

    def both(self):
        """An event that is in both logs, once numbered."""
        number, code, argument, _ = self.log(0)
        self.alternate.log(code, self.seconds, argument, number)

    def step(self):
        step = run(events.read(self.reader, self.cursor))
        self.cursor = step.cursor
        self.got.extend(step.items)
        return step

    def drain(self):
        """Reads until there is no more; gives the new events as (number, code, argument, stamp)."""
        before = len(self.got)
        for _ in range(400):
            if not self.step().more:
                return [entry(event) for event in self.got[before:]]
        raise AssertionError("no end")

    def truth(self):
        return sorted(set(sum([log.truth for log in self.logs], [])))


def entry(event):
    return (event.sequence, event.code, event.argument, event.stamp)


class TestOneLog(unittest.TestCase):
    def test_everything_once_and_in_order(self):
        world = World()
        self.assertEqual(world.drain(), [])
        for number in (1, 3, 10, 4):
            for _ in range(number):
                world.log()
            self.assertEqual(world.drain(), world.truth()[-number:])
            self.assertEqual(world.drain(), [])
        self.assertEqual([entry(event) for event in world.got], world.truth())
        self.assertFalse(any(event.faults for event in world.got))

    def test_what_an_entry_says(self):
        world = World(argument=4, start=0x1FFFE)
        world.primary.log(2049 | 0xF000, 3661, b"\x01\x02\x03\x04")
        world.drain()
        event = world.got[0]
        self.assertEqual((event.code, event.sequence, event.argument), (2049, 0x1FFFF, b"\x01\x02\x03\x04"))
        self.assertEqual(event.user, 0xFFFF)
        self.assertEqual(event.time.seconds, 1704067200 + 3661)  # 2024-01-01T01:01:01Z
        self.assertEqual(event.stamp, b"\x18\x01\x01\x01\x01\x01")

    def test_numbers_beyond_16_bits(self):
        world = World(start=0xFFFC)
        for _ in range(3):
            world.log()
        world.drain()
        for _ in range(5):
            world.log()
        world.drain()
        self.assertEqual([event.sequence for event in world.got], list(range(0xFFFD, 0x10005)))

    def test_a_full_log_that_was_never_read(self):
        world = World()
        for _ in range(27):
            world.log()
        self.assertEqual(world.drain(), world.truth()[-10:])
        self.assertFalse(any(event.faults for event in world.got))  # what was gone before is no loss

    def test_what_was_overwritten_is_declared(self):
        world = World()
        world.log()
        world.drain()
        for _ in range(14):
            world.log()
        self.assertEqual(world.drain(), world.truth()[-10:])
        self.assertEqual([list(event.faults) for event in world.got], [[], [LOST]] + 9 * [[]])

    def test_exactly_one_turn_loses_nothing(self):
        world = World()
        for _ in range(3):
            world.log()
        world.drain()
        for _ in range(10):
            world.log()
        world.drain()
        self.assertEqual([entry(event) for event in world.got], world.truth())
        self.assertFalse(any(event.faults for event in world.got))

    def test_a_reset_log_begins_anew(self):
        for before, after in ((8, 3), (3, 8), (5, 5), (9, 9)):
            world = World()
            for _ in range(before):
                world.log()
            world.drain()
            world.primary.clear(restart=True)
            self.assertEqual(world.drain(), [])
            for _ in range(after):
                world.log()
            new = world.drain()
            self.assertEqual(new, world.primary.truth[-after:])
            self.assertEqual(
                [list(event.faults) for event in world.got[before:]], [[RESET]] + (after - 1) * [[]]
            )
            self.assertEqual(len({event_id(METER, event) for event in world.got}), before + after)

    def test_reset_and_overwritten_is_both(self):
        world = World()
        for _ in range(10):
            world.log()
        world.drain()
        world.primary.clear(restart=True)
        for _ in range(13):
            world.log()
        self.assertEqual([item[0] for item in world.drain()], list(range(4, 14)))
        self.assertIn(LOST, world.got[10].faults)

    def test_older_firmware_has_its_dimensions_in_bt70(self):
        for firmware, rest in ((0x2140, bt71(3)), (0x3155, None)):
            world = World()
            world.tables[1] = bt01(firmware)
            world.tables[70] = world.tables.pop(71)
            if rest:
                world.tables[71] = rest
            for _ in range(9):
                world.log()
            self.assertEqual(world.drain(), world.truth())

    def test_steps_fit_small_reads(self):
        world = World(primary=40, max_read=48)
        for _ in range(40):
            world.log()
        world.drain()
        self.assertEqual([entry(event) for event in world.got], world.truth())
        self.assertTrue(all(count <= 48 for _, _, count in world.meter.reads))

    def test_since_begins_at_a_time(self):
        world = World()
        for _ in range(10):
            world.log()
        world.cursor = events.since(1704067200 + 7 * 6)
        self.assertEqual([item[0] for item in world.drain()], [6, 7, 8, 9, 10])
        world.seconds = 0  # the meter's clock is set back: what comes now counts nevertheless
        world.log()
        self.assertEqual([item[0] for item in world.drain()], [11])

    def test_since_keeps_what_came_after_a_clock_that_was_set_back(self):
        world = World()
        for seconds in (100, 200, 300, 10, 20):
            world.primary.log(1, seconds)
        world.cursor = events.since(1704067200 + 200)
        self.assertEqual([item[0] for item in world.drain()], [2, 3, 4, 5])

    def test_numbers_that_a_log_can_not_have(self):
        world = World()
        for number in (0xFFFE, 0xFFFF, 0, 1):
            world.log(number=number)
        put(world.primary.data, 5, 0x10007, 4)
        self.assertEqual([item[0] & 0xFFFF for item in world.drain()], [0xFFFE, 0xFFFF, 0, 1])

    def test_a_log_of_no_entries(self):
        world = World(primary=0, alternate=4)
        world.log(1)
        heads = []

        def before_read(table, *_):
            if table == 74:
                heads.append(table)
                put(world.primary.data, 5, min(len(heads), 2), 4)

        world.meter.before_read = before_read
        self.assertEqual(len(world.drain()), 1)

    def test_a_garbled_cursor_begins_anew(self):
        world = World()
        for _ in range(4):
            world.log()
        world.drain()
        good = world.cursor
        for bad in (b"", b"x", good[:-1], good[:5] + bytes((good[5] ^ 1,)) + good[6:], bytes(len(good))):
            world.cursor = bad
            self.assertEqual(world.drain(), world.truth())
        self.assertTrue(len(good) < 256)

    def test_a_stamp_that_is_no_time(self):
        world = World()
        world.log()
        world.primary.data[11:17] = b"\xff" * 6
        world.drain()
        self.assertEqual(list(world.got[0].faults), [registry.fault_number("OSGP_stamp_invalid")])
        self.assertEqual(world.got[0].stamp, b"\xff" * 6)

    def test_claims_beyond_belief_are_refused(self):
        for place, size, value in ((3, 1, 200), (5, 2, 65535)):
            world = World()
            put(world.tables[71], place, value, size)
            self.assertRaises(TableError, world.step)
        for place, value in ((1, 11), (3, 10)):
            world = World()
            world.log()
            put(world.primary.data, place, value, 2)
            self.assertRaises(TableError, world.step)


class TestTwoLogs(unittest.TestCase):
    def test_together_they_are_complete(self):
        world = World(alternate=10)
        for which in (0, 1, 1, 0, 0, 1):
            world.log(which)
        self.assertEqual(world.drain(), world.truth())
        for which in (1, 1, 1, 0):
            world.log(which)
        self.assertEqual(world.drain(), world.truth()[-4:])
        self.assertFalse(any(event.faults for event in world.got))

    def test_an_event_in_both_comes_once(self):
        world = World(alternate=10)
        world.log(0)
        world.both()
        world.log(1)
        world.both()
        self.assertEqual(world.drain(), world.truth())
        self.assertEqual(len(world.got), 4)

    def test_numbers_begin_again_behind_32_bits(self):
        for first in (0xFFFFFFF0, 0xFFFFFFFD, 0xFFFFFFFF):
            for chunk in (1, 3, 9):
                world = World(alternate=10, start=first - 1, max_read=48)
                logged = []
                for i in range(36):
                    world.counter.value &= 0xFFFFFFFF
                    logged.append(world.log(i * i % 7 % 2))
                    if i % chunk == chunk - 1:
                        world.drain()
                world.drain()
                self.assertEqual([entry(event)[1:] for event in world.got], [one[1:] for one in logged])
                self.assertEqual(
                    [event.sequence for event in world.got], [one[0] & 0xFFFFFFFF for one in logged]
                )
                self.assertFalse(any(event.faults for event in world.got))
                frame = frames.encode(METER, 1, 1, world.got)
                self.assertEqual(
                    [one.sequence for one in frames.decode(frame, METER).items],
                    [one.sequence for one in world.got],
                )

    def test_a_log_that_was_idle_for_more_than_16_bits_of_numbers(self):
        # The low 16 bits of an entry (BT74) do not tell how far the other log counted meanwhile.
        world = World(alternate=10)
        world.log(0)
        world.log(1)
        world.drain()
        for _ in range(3):
            world.counter.value += 40000
            world.log(1)
            world.drain()
        world.log(0)
        world.log(1)
        world.log(0)
        self.assertEqual(world.drain(), world.truth()[-3:])
        world.cursor = None
        self.assertEqual([item[0] for item in world.drain()][-3:], [item[0] for item in world.truth()][-3:])

    def test_a_gap_that_neither_explains_is_declared(self):
        world = World(primary=4, alternate=10)
        world.log(0)
        world.drain()
        for _ in range(6):
            world.log(0)
            world.log(1)
        world.drain()
        declared = [event.sequence for event in world.got if LOST in event.faults]
        # Numbers 2, 4, 6... were the primary log's, whose 6 new entries did not fit into 4.
        self.assertEqual([event.sequence for event in world.got], [1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13])
        self.assertEqual(declared, [3, 5])

    def test_a_cleared_log_goes_on_counting(self):
        world = World(alternate=10)
        for which in (0, 1, 0):
            world.log(which)
        world.drain()
        world.log(0)
        world.primary.clear()
        world.log(0)
        self.assertEqual([item[0] for item in world.drain()], [5])
        self.assertEqual(list(world.got[-1].faults), [LOST])

    def test_no_alternate_log_where_it_is_not_configured(self):
        world = World(alternate=10)
        world.tables[2102] = bytes(82)
        world.log(0)
        world.drain()
        self.assertFalse(any(table == 2127 for table, _, _ in world.meter.reads))


class TestWhileTheyMove(unittest.TestCase):
    def _live(self, seed, alternate, resets):
        random_ = Random(seed)
        world = World(
            primary=6 + random_(10), alternate=alternate and 5 + random_(10), max_read=30 + random_(300)
        )

        def before_read(*_):
            if random_(4) == 0:
                for _ in range(1 + random_(2)):
                    which = random_(len(world.logs))
                    if alternate and random_(6) == 0:
                        world.both()
                    else:
                        world.log(which)
            if resets and random_(60) == 0:
                world.logs[random_(len(world.logs))].clear(restart=not alternate)

        world.meter.before_read = before_read
        for _ in range(60):
            world.meter.reads = []
            try:
                world.step()
            except TableError:
                pass  # cleared or turned over during each of the tries: the next step has another chance
        world.meter.before_read = None
        world.drain()
        return world

    def _prove(self, world, resets):
        got = [entry(event) for event in world.got]
        truth = set(world.truth())
        self.assertTrue(set(got) <= truth)
        ids = [event_id(METER, event) for event in world.got]
        self.assertEqual(len(ids), len(set(ids)))
        for log in world.logs:
            for item in log.present():
                self.assertIn(item, got)
        if not resets:
            numbers = [item[0] for item in got]
            self.assertEqual(numbers, sorted(numbers))
            declared = {event.sequence for event in world.got if LOST in event.faults}
            holes = {numbers[i] for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1}
            self.assertEqual(declared, holes)

    def test_one_log_at_any_exchange(self):
        for seed in range(30):
            world = self._live(seed, False, False)
            self._prove(world, False)

    def test_two_logs_at_any_exchange(self):
        for seed in range(30):
            world = self._live(1000 + seed, True, False)
            self._prove(world, False)

    def test_resets_at_any_exchange(self):
        for seed in range(30):
            world = self._live(2000 + seed, seed % 2 == 1, True)
            self._prove(world, True)


class Random:
    """The same numbers on every interpreter."""

    def __init__(self, seed):
        self.state = seed * 2654435761 + 1 & 0xFFFFFFFF

    def __call__(self, below):
        self.state = (self.state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.state >> 12) % below
