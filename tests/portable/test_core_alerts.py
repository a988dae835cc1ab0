"""An alert is looked at once it comes; one that nobody can end disturbs nothing."""

import unittest

from gateway.core.alerts import AlertGate
from gateway.errors import LinkError, Refused
from gateway.transmission import model
from tests.portable.test_core_meter_task import MINUTE, SECOND, Bench


class TestGate(unittest.TestCase):
    def passes(self, gate, seconds, served, start=0):
        """At which seconds an alert passes that is raised once a second."""
        passed = []
        for second in range(start, start + seconds):
            gate.raised(second * SECOND)
            if gate.wait_ms(second * SECOND) == 0:
                passed.append(second - start)
                gate.handled(second * SECOND, served)
        return passed

    def test_the_first_at_once_and_none_without_one(self):
        gate = AlertGate()
        self.assertIsNone(gate.wait_ms(5))
        gate.raised(7)
        self.assertEqual(gate.wait_ms(7, spare_in_ms=4000), 0)
        gate.handled(8, True)
        self.assertIsNone(gate.wait_ms(9))

    def test_served_ones_pass_every_two_seconds(self):
        self.assertEqual(self.passes(AlertGate(), 10, True), [0, 2, 4, 6, 8])

    def test_one_that_nobody_can_end_passes_ever_more_seldom(self):
        passed = self.passes(AlertGate(), 3600, False)
        self.assertEqual(passed[:6], [0, 4, 12, 28, 60, 124])
        self.assertTrue(len(passed) <= 12, passed)

    def test_no_pause_is_longer_than_allowed(self):
        self.assertEqual(self.passes(AlertGate(2000), 10, False), [0, 2, 4, 6, 8])

    def test_when_it_has_ended_the_next_is_a_new_one(self):
        gate = AlertGate()
        self.passes(gate, 600, False)
        self.assertEqual(self.passes(gate, 5, True, 611), [0, 2, 4])

    def test_all_but_the_first_leave_capacity_for_others(self):
        gate = AlertGate()
        gate.raised(0)
        gate.handled(0, True)
        gate.raised(3000)
        self.assertEqual(gate.wait_ms(3000, spare_in_ms=700), 700)


class FakeClient:
    def __init__(self, test, items=(), kinds=(), error=None, pause_ms=None):
        self.problems = {}
        self.pause_ms = pause_ms
        self.told = items, kinds
        self.error = error
        self.test = test

    async def prepare(self, tables):
        self.test.prepared.append(self.test.clock.utc)

    async def serve(self, tables):
        await tables.meter.read(1, 0, 4)
        self.test.handled.append(self.test.clock.utc)
        if self.error is not None:
            raise self.error
        return self.told


class TestTask(Bench):
    def setUp(self):
        Bench.setUp(self)
        self.handled = []
        self.prepared = []
        self.meter = None
        open_meter = self.line.open_meter

        async def noting():
            self.meter = await open_meter()
            return self.meter

        self.line.open_meter = noting

    def alert(self):
        """What the driver does when two zero bytes come."""
        if self.meter is not None and self.meter.on_alert is not None:
            self.meter.on_alert()

    async def alert_for(self, seconds):
        for _ in range(seconds):
            self.alert()
            await self.clock.advance(SECOND)

    def client(self, **told):
        return FakeClient(self, **told)

    def test_it_wakes_the_task_and_what_it_tells_is_there_at_once(self):
        reading = model.Reading(model.PRESENT, model.Timestamp(77), [model.Value("power", 431, 0, "W")])

        async def script(worker):
            await self.clock.until(lambda: worker.state == "working")
            await self.clock.advance(7 * MINUTE)
            before = len(self.frames())
            self.alert()
            await self.clock.advance(1)
            self.assertEqual(self.frames()[before].items[0].time.seconds, 77)

        settings = {model.PRESENT: 0, model.CLOCK: 0}
        self.run_bench(script, client=self.client(items=[reading]), intervals_ms=settings)
        self.assertEqual(len(self.handled), 1)

    def test_kinds_that_it_names_are_read_out_of_turn_and_once(self):
        async def script(worker):
            await self.clock.advance(10 * MINUTE)
            self.assertEqual(self.kinds().count(model.CLOCK), 1)
            self.alert()
            await self.clock.advance(5 * SECOND)
            self.assertEqual(self.kinds().count(model.CLOCK), 2)
            await self.clock.advance(10 * MINUTE)
            self.assertEqual(self.kinds().count(model.CLOCK), 2)

        self.run_bench(script, client=self.client(kinds=[model.CLOCK]), intervals_ms={model.PRESENT: 0})

    def test_one_that_nobody_can_end_leaves_the_rest_as_it_is(self):
        async def script(worker):
            await self.clock.until(lambda: worker.state == "working")
            await self.alert_for(900)
            self.assertEqual(worker.state, "working")

        self.run_bench(script, client=self.client(), intervals_ms={model.PRESENT: 10 * SECOND})
        self.assertTrue(3 <= len(self.handled) <= 9, len(self.handled))
        times = [f.items[0].time.seconds for f in self.frames() if f.kind == model.PRESENT]
        self.assertEqual({times[n] - times[n - 1] for n in range(2, len(times))}, {10})

    def test_a_refusal_is_told_once_and_stops_nothing(self):
        refusal = Refused("ET13: insufficient rights", 3, 2061)

        async def script(worker):
            await self.alert_for(300)
            self.assertEqual((worker.state, worker.reason), ("working", ""))

        self.run_bench(script, client=self.client(error=refusal), intervals_ms={model.PRESENT: MINUTE})
        self.assertEqual(self.warnings(), ["m1: an alert can't be served: ET13: insufficient rights"])

    def test_one_that_breaks_the_link_each_time_leaves_the_others_alive(self):
        async def script(worker):
            await self.clock.until(lambda: worker.state == "working")
            await self.alert_for(3600)

        self.run_bench(
            script, client=self.client(error=LinkError("gone")), intervals_ms={model.PRESENT: MINUTE}
        )
        self.assertTrue(self.line.opened <= 13, self.line.opened)
        self.assertTrue(self.kinds().count(model.PRESENT) >= 58)

    def test_without_a_handler_alerts_are_ignored(self):
        async def script(worker):
            await self.alert_for(30)
            self.assertEqual((worker.state, worker.reason, worker.failures), ("working", "", 0))

        self.run_bench(script, intervals_ms={model.PRESENT: 0})

    def test_a_client_is_prepared_with_each_connection_and_now_and_then(self):
        client = self.client()

        async def script(worker):
            await self.clock.advance(40 * MINUTE)
            self.assertEqual(len(self.prepared), 3)
            client.problems["registration"] = "refused"
            await self.clock.advance(MINUTE)
            self.assertEqual((worker.state, worker.reason), ("working", "registration: refused"))

        self.run_bench(script, client=client, intervals_ms={model.PRESENT: MINUTE})
        self.assertEqual(self.handled, [])

    def test_who_reads_without_a_pause_looks_by_himself(self):
        async def script(worker):
            await self.clock.advance(30 * SECOND)

        quick = {model.PRESENT: SECOND}
        self.run_bench(script, client=self.client(pause_ms=2000), intervals_ms=quick)
        self.assertTrue(10 <= len(self.handled) <= 16, len(self.handled))
