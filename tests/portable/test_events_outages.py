"""Power outages of ET81: local stamps in UTC, once each, with what was overwritten declared."""

import unittest

from gateway.c1219.readers import events
from gateway.c1219.tables import Tables
from gateway.errors import TableError
from gateway.transmission import registry
from gateway.transmission.model import EVENT
from tests.fake_logs import bt71, stamp
from tests.fake_meter import FakeMeter, amount, bt01, by_name, put, run, standard

LOST = registry.fault_number("OSGP_events_lost")
JANUARY = 1704067200  # 2024-01-01T00:00:00Z


class World:
    def __init__(self, count=4):
        self.tables = standard()
        self.tables[1] = bt01(0x43C0)
        self.tables[53] = bytes((2, 0, 0, 0, 60, 0))  # local time is an hour ahead, without daylight saving
        self.tables[71] = bt71(10)
        self.tables[74] = bytearray(11 + 10 * 14)
        self.tables[2102] = bytes(82)
        et36 = bytearray(1 + 7 * 17 + 1)
        et36[0] = 7
        put(et36, 1 + 6 * 17, 81 | 1 << 11, 2)
        put(et36, 1 + 6 * 17 + 2, 12, 2)
        put(et36, 1 + 6 * 17 + 6, count, 2)
        self.tables[2084] = et36
        self.count = count
        self.table = bytearray(6 + 12 * count)
        self.tables[2129] = self.table
        self.number = 0
        self.cursor = None
        self.meter = FakeMeter(self.tables)
        self.reader = Tables(self.meter)

    def outage(self, start, seconds):
        """Local times, seconds after the begin of 2024."""
        place = self.number % self.count
        self.number += 1
        at = 6 + 12 * place
        self.table[at : at + 6] = stamp(start)
        self.table[at + 6 : at + 12] = stamp(start + seconds)
        self.table[1] = min(self.number, self.count)
        self.table[2] = place
        put(self.table, 3, self.number, 2)

    def drain(self):
        items = []
        for _ in range(50):
            step = run(events.read(self.reader, self.cursor))
            self.cursor = step.cursor
            items.extend(step.items)
            if not step.more:
                return items
        raise AssertionError("no end")


class TestOutages(unittest.TestCase):
    def test_what_an_outage_says(self):
        world = World()
        world.outage(7200, 90)
        (reading,) = world.drain()
        values = by_name(reading)
        self.assertEqual(reading.kind, EVENT)
        self.assertEqual((reading.time.seconds, reading.time.offset), (JANUARY + 3600 + 90, 60))
        self.assertEqual(amount(values["OSGP_power_outage_duration"]), (90, 0, "s"))
        self.assertEqual(values["OSGP_power_outage_start"].text, "2024-01-01T02:00:00+01:00")
        self.assertEqual(reading.stored, (2129, 1, stamp(7200) + stamp(7290)))
        self.assertEqual(world.drain(), [])

    def test_once_each_and_losses_declared(self):
        world = World()
        for i in range(3):
            world.outage(7200 + 600 * i, 10)
        self.assertEqual([reading.stored[1] for reading in world.drain()], [1, 2, 3])
        for i in range(3, 7):
            world.outage(7200 + 600 * i, 10)
        self.assertEqual(
            [(r.stored[1], list(r.faults)) for r in world.drain()], [(n, []) for n in (4, 5, 6, 7)]
        )
        for i in range(7, 13):
            world.outage(7200 + 600 * i, 10)
        self.assertEqual(
            [(r.stored[1], list(r.faults)) for r in world.drain()],
            [(10, [LOST])] + [(n, []) for n in (11, 12, 13)],
        )

    def test_since_begins_at_a_time(self):
        world = World()
        for i in range(4):
            world.outage(7200 + 600 * i, 10)
        world.cursor = events.since(JANUARY + 3600 + 1200)
        self.assertEqual([reading.stored[1] for reading in world.drain()], [3, 4])
        self.assertEqual(world.drain(), [])

    def test_an_outage_without_an_end(self):
        world = World()
        world.outage(7200, 10)
        world.table[12:18] = bytes(6)
        (reading,) = world.drain()
        self.assertEqual(list(reading.faults), [registry.fault_number("OSGP_stamp_invalid")])

    def test_not_where_the_meter_keeps_none(self):
        world = World(count=0)
        self.assertEqual(world.drain(), [])
        self.assertFalse(any(table == 2129 for table, _, _ in world.meter.reads))
        del world.tables[2084]
        world.reader = Tables(world.meter)
        self.assertEqual(world.drain(), [])

    def test_claims_beyond_belief_are_refused(self):
        world = World()
        world.tables[2084][0] = 17
        self.assertRaises(TableError, world.drain)
        world = World()
        put(world.tables[2084], 1 + 6 * 17 + 2, 65535, 2)
        self.assertRaises(TableError, world.drain)
