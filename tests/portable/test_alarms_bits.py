"""Alarms: every bit set or cleared is told once, in one exchange of few bytes, with ids that repeat."""

import unittest

from gateway.c1219.readers import alarms
from gateway.c1219.tables import Tables
from gateway.errors import Refused, TableError
from gateway.transmission.ids import event_id
from tests.fake_clock import FakeClock
from tests.fake_logs import Counter, EventLog, bt71
from tests.fake_meter import FakeMeter, put, run, standard

METER = bytes(16)


def et14(occupancy, devices):
    """`devices`: (handle, status, MEP alarms, device alarms) by slot."""
    table = bytearray(6 + 36 * 5)
    table[5] = occupancy
    for slot, (handle, status, mep, device) in devices.items():
        at = 6 + 36 * slot
        put(table, at, handle, 2)
        table[at + 2] = status
        put(table, at + 14, mep, 2)
        table[at + 23] = device
    return table


class World:
    def __init__(self, length=4, bt03=True):
        self.tables = standard()
        bt00 = bytearray(19)
        bt00[17] = length
        self.tables[0] = bt00
        if bt03:
            self.tables[3] = bytearray(4 + length)
        et11 = bytearray(32)
        et11[0], et11[1], et11[2] = 5, 66, 36
        put(et11, 5, 517, 2)
        self.tables[2059] = et11
        self.tables[2062] = et14(0, {})
        self.meter = FakeMeter(self.tables)
        self.meter.resyncs = 0  # as over MEP: nobody needs to ask whether dimensions moved
        self.reader = Tables(self.meter)
        self.cursor = None

    def read(self):
        self.meter.reads = []
        step = run(alarms.read(self.reader, self.cursor))
        self.cursor = step.cursor
        return step.items

    def told(self):
        return [(event.code, event.argument) for event in self.read()]


class TestAlarms(unittest.TestCase):
    def test_set_bits_first_then_changes(self):
        world = World()
        world.tables[3][0] = 0x01  # Metering Mode: no alarm
        world.tables[3][2] = 0x01  # Low Battery
        world.tables[3][4] = 0x02  # Self-Read Occurred
        self.assertEqual(world.told(), [(16, b"\1"), (33, b"\1")])
        self.assertEqual(world.told(), [])
        world.tables[3][4] = 0x81
        self.assertEqual(world.told(), [(32, b"\1"), (33, b"\0"), (39, b"\1")])

    def test_one_exchange_when_nothing_changed(self):
        for resyncs in (0, None):  # over MEP, and over the optical port
            world = World(length=9)
            world.meter.resyncs = resyncs
            world.read()
            world.read()
            self.assertEqual(world.meter.reads, [(3, 0, 13)])

    def test_the_second_relay_of_firmware_4_30(self):
        world = World(length=9)
        world.tables[3][9] = 1
        self.assertEqual(world.told(), [(72, b"\1")])

    def test_reading_again_from_an_old_cursor_gives_the_same_ids(self):
        world = World()
        world.read()
        before = world.cursor
        world.tables[3][5] = 0x05
        first = [event_id(METER, event) for event in world.read()]
        world.cursor = before
        again = [event_id(METER, event) for event in world.read()]
        self.assertEqual(first, again)
        world.tables[3][5] = 0x00
        cleared = [event_id(METER, event) for event in world.read()]
        world.tables[3][5] = 0x05
        later = [event_id(METER, event) for event in world.read()]
        self.assertEqual(len(set(first + cleared + later)), 6)

    def test_devices_are_looked_at_when_the_meter_says_so(self):
        world = World()
        world.tables[2062] = et14(0b0011, {0: (7, 1, 0, 0), 1: (8, 1, 0, 0)})
        world.read()
        world.tables[2062] = et14(0b0011, {0: (7, 2, 0x0010, 0), 1: (8, 1, 0, 0x04)})
        self.assertEqual(world.told(), [])
        world.tables[3][6] = 0x02  # M-Bus Alarm
        self.assertEqual(world.told(), [(49, b"\1"), (256 + 4, b"\1"), (256 + 24, b"\1"), (512 + 18, b"\1")])
        world.tables[2062] = et14(0, {})
        world.tables[3][6] = 0x00
        self.assertEqual(world.told(), [(49, b"\0"), (256 + 4, b"\0"), (256 + 24, b"\0"), (512 + 18, b"\0")])

    def test_a_second_device_while_the_meter_says_so_still(self):
        # BT03's alarm of devices is one bit for all of them, and stays until all were cleared (ET14).
        clock = FakeClock(1704067200000)
        clock.install()
        try:
            world = World()
            world.tables[2062] = et14(0b0011, {0: (7, 1, 0x0010, 0), 1: (8, 1, 0, 0)})
            world.tables[3][6] = 0x02
            self.assertEqual(world.told(), [(49, b"\1"), (256 + 4, b"\1")])
            world.tables[2062] = et14(0b0011, {0: (7, 1, 0x0010, 0), 1: (8, 1, 0x0004, 0)})
            clock.monotonic += 179000
            self.assertEqual(world.told(), [])
            clock.monotonic += 1000
            self.assertEqual(world.told(), [(512 + 2, b"\1")])
            self.assertEqual(world.told(), [])
            self.assertEqual(world.meter.reads, [(3, 0, 8)])
        finally:
            clock.uninstall()

    def test_a_meter_that_refuses_bt03_is_asked_once(self):
        for code in (3, 4, 5):
            world = World(bt03=False)
            world.meter.absent_code = code
            world.tables[2062] = et14(0b0001, {0: (7, 1, 0x0004, 0)})
            self.assertEqual(world.told(), [(256 + 2, b"\1")])
            self.assertIn((3, 0, 8), world.meter.reads)
            world.tables[2062][6 + 14] = 0
            self.assertEqual(world.told(), [(256 + 2, b"\0")])
            self.assertFalse(any(read[0] == 3 for read in world.meter.reads))

    def logged(self):
        world = World(bt03=False)
        world.log = EventLog(Counter(), 40)
        world.tables[71] = bt71(40)
        world.tables[74] = world.log.data
        return world

    def look(self, world):
        """Each kind of look once, and what they tell."""
        events = []
        for _ in range(4):
            events += world.read()
        return events

    def test_event_logs_stand_in_for_bt03(self):
        world = self.logged()
        for second, code in enumerate((1, 2, 44, 10, 2049, 48, 32, 33)):
            world.log.log(code, second)
        events = self.look(world)
        self.assertEqual(
            [(one.code, one.argument, one.sequence, one.time.seconds - 1704067200) for one in events],
            [
                (19, b"\1", 1, 0), (19, b"\0", 2, 1), (16, b"\1", 3, 2), (21, b"\1", 6, 5), (1, b"\1", 7, 6),
                (1, b"\0", 8, 7),
            ],
        )  # fmt: skip
        self.assertEqual(self.look(world), [])
        world.log.log(47, 99)
        self.assertEqual([event.code for event in self.look(world)], [20])
        # The same ids again, from a time on.
        world.cursor = alarms.since(1704067200 + 5)
        again = self.look(world)
        self.assertEqual([event.sequence for event in again], [6, 7, 8, 9])
        self.assertEqual(
            [event_id(METER, event) for event in again[:3]], [event_id(METER, e) for e in events[3:]]
        )

    def test_a_long_log_is_read_at_once(self):
        world = self.logged()
        for second in range(40):
            world.log.log(44, second)
        world.tables[2062] = et14(0b0001, {0: (7, 1, 0x0004, 0)})
        told = []
        for _ in range(40):
            step = run(alarms.read(world.reader, world.cursor))
            world.cursor = step.cursor
            told += [event.code for event in step.items]
            if not step.more:
                break
        self.assertEqual(sorted(told), [16] * 40 + [258])

    def test_most_looks_are_one_exchange_without_bt03(self):
        world = self.logged()
        self.look(world)
        reads = 0
        for _ in range(40):
            world.read()
            reads += len(world.meter.reads)
        self.assertTrue(reads <= 40, reads)

    def test_neither_bt03_nor_devices(self):
        world = World(bt03=False)
        del world.tables[2059]
        self.assertEqual(world.told(), [])
        self.assertEqual(world.told(), [])
        self.assertEqual(world.meter.reads, [])

    def test_a_meter_that_is_busy_is_not_without_alarms(self):
        world = World(bt03=False)
        world.meter.absent_code = 6
        self.assertRaises(Refused, world.read)

    def test_one_refusal_alone_is_not_believed(self):
        world = World()
        world.tables[3][1] = 1
        table = world.tables.pop(3)
        world.meter.before_read = lambda number, *_: (
            world.tables.update({3: table}) if len([r for r in world.meter.reads if r[0] == 3]) > 1 else None
        )
        self.assertEqual(world.told(), [(8, b"\1")])

    def test_garbled_cursors_begin_with_what_is_set(self):
        world = World()
        world.tables[3][1] = 1
        world.read()
        good = world.cursor
        for bad in (b"", b"\0" * 7, good[:-1], good + b"x", alarms.since(0)):
            world.cursor = bad
            self.assertEqual(world.told(), [(8, b"\1")])
        self.assertTrue(len(good) < 256)

    def test_claims_beyond_belief_are_refused(self):
        self.assertRaises(TableError, World(length=33).read)
