"""How old values are and how a link does: stale after a set time, told once, counted over all connections."""

import unittest

from gateway.core.link_budget import Bucket, LinkBudget
from gateway.core.scheduler import Job
from gateway.core.vitals import Vitals
from gateway.meter import Meter
from gateway.transmission import model
from tests.fake_clock import FakeClock

NOW = 1_719_835_200_000
MINUTE = 60000


class CountingMeter(Meter):
    def __init__(self, counts, resyncs):
        self.counts = counts
        self.resyncs = resyncs
        self.security = "digest"

    def traffic(self):
        return self.counts


class TestVitals(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(NOW)
        self.clock.install()
        self.vitals = Vitals(3)
        self.jobs = [Job(model.PRESENT, 10000, 1), Job(model.REGISTERS, 15 * MINUTE, 2)]

    def tearDown(self):
        self.clock.uninstall()

    def after(self, ms):
        self.clock.monotonic += ms
        self.clock.utc += ms
        return self.vitals.look(self.jobs)

    def test_stale_after_three_intervals_but_no_sooner_than_a_minute(self):
        self.assertIsNone(self.after(MINUTE))
        self.assertEqual(self.after(1), [model.PRESENT])
        since = self.clock.utc
        self.assertIsNone(self.after(MINUTE))  # told once
        self.vitals.has_read(model.PRESENT, ())
        self.assertEqual(self.after(1000), [])
        self.assertEqual(self.after(43 * MINUTE), [model.PRESENT, model.REGISTERS])
        self.assertNotEqual(self.vitals.stale[model.PRESENT], since)
        self.vitals.has_read(model.PRESENT, ())
        self.assertEqual(self.after(1000), [model.REGISTERS])
        self.vitals.has_read(model.REGISTERS, ())
        self.assertEqual(self.after(1000), [])
        self.assertEqual(self.vitals.stale, {})

    def test_since_stays_while_others_come_and_go(self):
        self.after(2 * MINUTE)
        since = self.vitals.stale[model.PRESENT]
        self.after(60 * MINUTE)
        self.assertEqual(self.vitals.stale[model.PRESENT], since)
        self.assertEqual(self.vitals.stale[model.REGISTERS], self.clock.utc)

    def test_a_clock_that_is_set_makes_nothing_stale(self):
        self.vitals.has_read(model.PRESENT, ())
        self.clock.utc += 365 * 24 * 60 * MINUTE
        self.assertIsNone(self.after(10000))

    def test_a_kind_that_is_read_no_more_is_not_stale(self):
        self.after(2 * MINUTE)
        self.jobs = self.jobs[1:]
        self.assertEqual(self.after(1000), [])

    def test_counters_outlive_connections(self):
        for _ in range(3):
            meter = CountingMeter((10, 9, 2), None if _ else 1)
            self.vitals.connected(LinkBudget(meter, Bucket(3600)))
            self.assertEqual(self.vitals.status()["security"], "digest")
            self.vitals.disconnected()
        status = self.vitals.status()
        self.assertEqual(status["link"], {"exchanges": 30, "answers": 27, "retries": 6, "resyncs": 1})
        self.assertEqual((status["security"], status["answeredAtMs"]), ("", None))
