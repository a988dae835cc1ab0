"""The sender between the real outbox and the real receiver, over a broker that fails."""

import asyncio
import unittest

from gateway import clock
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.sender import Sender
from gateway.core.supervisor import Supervisor
from gateway.errors import BrokerError
from gateway.transmission import frames, model, topics
from gateway.transmission.custody import hop_key
from tests.fake_clock import FakeClock
from tests.memory_broker import Cloud, MemoryBroker
from tests.virtual_test import Supervised

METERS = (b"meter-number-one", b"meter-number-two")
KEY = hop_key(b"secret of this hop")
SECOND = 1000
MINUTE = 60 * SECOND


def reading(meter, kind=model.PRESENT):
    value = model.Value(0, clock.utc_ms() % 100000, -2, "W")
    item = model.Reading(kind, model.Timestamp(clock.utc_ms() // 1000), [value])
    return lambda epoch, sequence: frames.encode(meter, epoch, sequence, [item])


class Bench(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(1_719_835_200_000)
        self.clock.install()
        self.outbox = MemoryOutbox(100000)
        self.lines = []

    def tearDown(self):
        self.clock.uninstall()

    def append(self, count, meter=METERS[0], kind=model.PRESENT):
        """The frames that went into the outbox."""
        return [
            self.outbox.append(meter, model.CLASS_OF_KIND[kind], reading(meter, kind)).frame
            for _ in range(count)
        ]

    def pending(self):
        return sum([last - first + 1 for m in METERS for c in range(4) for first, last in self.runs(m, c)])

    def runs(self, meter, cls):
        return self.outbox.runs(meter, cls, self.outbox.epoch)

    def run_bench(self, script, key=KEY):
        async def main():
            self.cloud = Cloud(KEY) if key else None
            self.broker = MemoryBroker(self.cloud)
            self.sender = Sender(self.outbox, self.broker, "here", key)
            log = lambda level, text: self.lines.append(text)  # noqa: E731
            async with Supervised(log, ("broker", self.sender.run)) as workers:
                await script(workers[0])

        asyncio.run(main())
        self.assertEqual(self.broker.unacknowledged, 0)


class TestCustody(Bench):
    def test_frames_go_out_and_receipts_empty_the_outbox(self):
        sent = self.append(20, kind=model.REGISTERS) + self.append(20, METERS[1])

        async def script(worker):
            await self.clock.until(lambda: not self.pending(), MINUTE)
            sent.extend(self.append(3))  # while connected: without delay
            await self.clock.until(lambda: not self.pending(), 1)

        self.run_bench(script)
        self.assertEqual(sorted(self.cloud.stored), sorted(sent))
        self.assertEqual(self.cloud.taken, len(sent), "frames were sent twice without need")
        self.assertEqual(self.sender.custody.forgotten, len(sent))
        self.assertEqual(self.lines, ["broker: working"])

    def test_asks_before_it_sends(self):
        self.append(1)

        async def script(worker):
            await self.clock.until(lambda: not self.pending(), MINUTE)

        self.run_bench(script)
        order = [topic for topic, _, _ in self.broker.published]
        self.assertEqual(order[0], topics.ask(METERS[0]))
        self.assertEqual(self.broker.subscribed, [topics.custody(METERS[0])])

    def test_window_bounds_what_waits_for_the_broker(self):
        self.append(100)

        async def script(worker):
            await self.clock.until(lambda: not self.pending(), MINUTE)

        self.run_bench(script)
        self.assertTrue(1 < self.broker.most_unacknowledged <= 8, self.broker.most_unacknowledged)

    def test_in_order_within_a_class(self):
        sent = self.append(50, kind=model.REGISTERS)

        async def script(worker):
            await self.clock.until(lambda: not self.pending(), MINUTE)

        self.run_bench(script)
        self.assertEqual(self.cloud.stored, sent)


class TestFaults(Bench):
    def test_broker_absent_at_first(self):
        sent = self.append(5)

        async def script(worker):
            self.broker.refuses = BrokerError("can't connect to broker:1883: connection refused")
            await self.clock.advance(30 * MINUTE)
            self.assertEqual(worker.state, "gone")
            self.assertEqual(worker.reason, "can't connect to broker:1883: connection refused")
            self.assertEqual(len(self.lines), 1)
            self.broker.refuses = None
            await self.clock.until(lambda: not self.pending(), MINUTE)

        self.run_bench(script)
        self.assertEqual(self.cloud.stored, sent)

    def test_connection_lost_again_and_again(self):
        sent = []

        async def script(worker):
            for n in range(20):
                sent.extend(self.append(7, METERS[n % 2]))
                if n % 3 == 0:
                    self.broker.lose_connection()
                elif n % 3 == 1:
                    self.broker.lose_next = 1
                else:
                    self.broker.lose_acks = 1
                await self.clock.advance(10 * SECOND)
            await self.clock.until(lambda: not self.pending(), 5 * MINUTE)

        self.run_bench(script)
        self.assertEqual(sorted(self.cloud.stored), sorted(sent))
        self.assertFalse(self.broker.open)

    def test_acknowledgement_lost_but_message_arrived(self):
        sent = self.append(3)

        async def script(worker):
            self.broker.lose_acks = 2
            await self.clock.until(lambda: not self.pending(), MINUTE)

        self.run_bench(script)
        self.assertEqual(self.cloud.stored, sent)
        self.assertTrue(self.broker.connections >= 2)

    def test_cloud_away_while_the_broker_acknowledges(self):
        sent = self.append(40)

        async def script(worker):
            self.cloud.away = True
            await self.clock.advance(120 * MINUTE)
            self.assertEqual(self.pending(), 40)
            asks = len(self.broker.published)
            self.assertTrue(60 <= asks <= 240, "%d asks in two hours" % asks)
            self.cloud.away = False
            await self.clock.until(lambda: not self.pending(), 2 * MINUTE)

        self.run_bench(script)
        self.assertEqual(self.cloud.stored, sent)

    def test_frames_lost_behind_the_broker_are_sent_again(self):
        async def script(worker):
            self.append(1)
            await self.clock.until(lambda: not self.pending(), MINUTE)
            self.cloud.away = True
            sent = self.append(10)
            await self.clock.advance(5 * SECOND)
            self.assertEqual(len(self.broker.frames()), 11)
            self.cloud.away = False
            await self.clock.until(lambda: not self.pending(), 2 * MINUTE)
            self.assertEqual(self.cloud.stored[1:], sent)

        self.run_bench(script)

    def test_what_others_receive_does_not_keep_a_meter_waiting(self):
        async def script(worker):
            self.append(1)
            await self.clock.until(lambda: not self.pending(), MINUTE)
            self.cloud.away = True
            self.append(10)
            await self.clock.advance(5 * SECOND)
            self.cloud.away = False
            for _ in range(60):
                self.append(1, METERS[1])
                await self.clock.advance(2 * SECOND)
            self.assertEqual(self.pending(), 0)

        self.run_bench(script)

    def test_forged_and_foreign_messages_change_nothing(self):
        async def script(worker):
            self.append(1)
            await self.clock.until(lambda: not self.pending(), MINUTE)
            self.cloud.away = True
            self.append(5)
            for payload in (b"", b"\x00", b"\x96" + bytes(60), b"{}", self.broker.published[0][1]):
                self.broker.deliver(topics.custody(METERS[0]), payload)
            await self.clock.advance(SECOND)
            self.assertEqual(self.pending(), 5)
            self.assertEqual(worker.state, "working")

        self.run_bench(script)
        self.assertEqual(self.lines, ["broker: working"])

    def test_broker_that_never_acknowledges_is_not_flooded(self):
        self.append(100)

        async def script(worker):
            self.broker.mute = True
            await self.clock.advance(MINUTE)
            self.assertTrue(self.broker.unacknowledged <= 8)
            self.broker.mute = False
            self.broker.lose_connection()
            await self.clock.until(lambda: not self.pending(), MINUTE)

        self.run_bench(script)


class TestBrokerCustody(Bench):
    def test_acknowledgement_is_enough_and_nothing_is_subscribed(self):
        sent = self.append(30) + self.append(30, METERS[1], model.REGISTERS)

        async def script(worker):
            self.broker.lose_acks = 1
            await self.clock.until(lambda: not self.pending(), MINUTE)

        self.run_bench(script, key=None)
        self.assertEqual(sorted(set(self.broker.frames())), sorted(sent))
        self.assertEqual(self.broker.subscribed, [])


class TestStatus(Bench):
    def test_newest_is_retained_on_each_connection(self):
        async def script(worker):
            self.sender.set_status(METERS[0], b"one")
            await self.clock.advance(SECOND)
            self.sender.set_status(METERS[0], b"two")
            self.sender.set_status(METERS[0], b"two")
            await self.clock.advance(5 * SECOND)
            self.assertEqual(self.broker.statuses(), [b"one", b"two"])
            self.broker.lose_connection()
            await self.clock.advance(10 * SECOND)
            self.assertEqual(self.broker.statuses(), [b"one", b"two", b"two"])

        self.run_bench(script)
        self.assertEqual(self.broker.published[0][0], topics.topic(METERS[0], topics.STATUS, "here"))

    def test_what_flaps_is_shown_every_five_seconds_the_newest_and_the_last_at_once(self):
        async def script(worker):
            for n in range(600):
                self.sender.set_status(METERS[n % 2], b"%d" % n)
                await self.clock.advance(100)
            self.assertTrue(20 <= len(self.broker.statuses()) <= 26, self.broker.statuses())
            self.sender.set_status(METERS[0], b"stopped")
            await clock.wait_for_ms(self.sender.drained(), SECOND)
            self.assertIn(b"stopped", self.broker.statuses()[-2:])

        self.run_bench(script)

    def test_a_concern_about_a_working_connection_is_told_once_a_day(self):
        day = 86400 * SECOND
        ends = self.clock.utc + 10 * day - 1

        async def script(worker):
            self.broker.concern = lambda: "the certificate ends in %d days" % ((ends - self.clock.utc) // day)
            for _ in range(3):
                self.clock.utc += day
                await self.clock.advance(20 * MINUTE)
            self.assertEqual((worker.state, worker.reason), ("working", "the certificate ends in 6 days"))

        self.run_bench(script)
        self.assertEqual(len([line for line in self.lines if "certificate" in line]), 3, self.lines)

    def test_two_receivers_with_one_credential_are_told_of_for_as_long_as_they_are(self):
        async def script(worker):
            await self.clock.until(lambda: worker.state == "working")
            self.sender.custody.contested = 2
            await self.clock.until(lambda: "two receivers" in worker.reason)
            await self.clock.until(lambda: not worker.reason)
            self.assertEqual(worker.state, "working")

        self.run_bench(script)


class TestDrain(Bench):
    def test_waits_for_receipts_and_not_without_a_connection(self):
        async def script(worker):
            await self.sender.drained()  # nothing has been sent yet, nor connected
            self.append(50)
            await self.clock.until(lambda: worker.state == "working")
            await clock.wait_for_ms(self.sender.drained(), SECOND)
            self.assertEqual(self.pending(), 0)
            self.append(1)
            self.cloud.away = True
            draining = asyncio.create_task(self.sender.drained())
            await self.clock.advance(SECOND)
            self.assertFalse(draining.done())
            self.broker.lose_connection()
            await self.clock.advance(0)
            self.assertTrue(draining.done())

        self.run_bench(script)


class TestOtherTopics(Bench):
    def test_what_is_listened_to_is_heard_on_each_connection(self):
        heard = []
        topic = topics.command(METERS[0])

        async def script(worker):
            self.sender.listen(topic, heard.append)
            await self.clock.advance(SECOND)
            self.broker.deliver(topic, b"one")
            await self.clock.advance(0)
            self.broker.lose_connection()
            await self.clock.advance(10 * SECOND)
            self.broker.deliver(topic, b"two")
            await self.clock.advance(0)

        self.run_bench(script)
        self.assertEqual(heard, [b"one", b"two"])

    def test_a_right_that_is_missing_is_told_and_stops_nothing_else(self):
        self.append(3)

        async def script(worker):
            topic = topics.command(METERS[0])
            self.broker.forbids = (topic,)
            self.sender.listen(topic, None)
            await self.clock.until(lambda: not self.pending(), MINUTE)
            self.assertEqual((worker.state, worker.failures), ("working", 0))
            self.assertEqual(worker.reason, "refused the subscription to " + topic)
            self.broker.forbids = ()
            await self.clock.advance(MINUTE)
            self.assertEqual((worker.state, worker.reason), ("working", ""))
            self.assertIn(topic, self.broker.subscribed)

        self.run_bench(script)

    def test_what_is_passed_on_waits_for_a_connection_and_the_oldest_give_way(self):
        async def script(worker):
            self.broker.refuses = BrokerError("away")
            await self.clock.advance(SECOND)
            for n in range(100):
                self.sender.pass_on(topics.result(METERS[0]), b"%d" % n)
            self.broker.refuses = None
            await self.clock.advance(MINUTE)

        self.run_bench(script)
        passed = [payload for _, payload, retain in self.broker.published if not retain]
        self.assertEqual(passed, [b"%d" % n for n in range(100 - self.sender.passing.limit, 100)])
        self.assertEqual(self.sender.passing.dropped, 100 - len(passed))

    def test_what_has_to_be_taken_goes_out_again_when_the_connection_broke(self):
        taken = []
        topic = topics.result(METERS[0])

        async def script(worker):
            await self.clock.advance(SECOND)
            self.broker.lose_acks = 1
            self.sender.pass_on(topic, b"lasting", lambda: taken.append(1))
            await self.clock.advance(0)
            self.assertEqual(taken, [])
            await self.clock.advance(10 * SECOND)

        self.run_bench(script)
        self.assertEqual(
            [payload for at, payload, _ in self.broker.published if at == topic], [b"lasting"] * 2
        )
        self.assertEqual(taken, [1])

    def test_an_adapter_publishes_as_the_platform_has_it_for_one(self):
        sent = self.append(1)

        async def main():
            broker = MemoryBroker(Cloud(KEY))
            sender = Sender(self.outbox, broker, "cellar", KEY, adapter=True)
            sender.set_status(None, b"online")
            sender.set_status(METERS[0], b"well")
            running = asyncio.create_task(Supervisor(lambda level, text: None).add("b", sender.run).run())
            await self.clock.until(lambda: not self.pending(), MINUTE)
            running.cancel()
            return broker.published

        published = asyncio.run(main())
        self.assertIn(("adapter/cellar/status", b"online", True), published)
        self.assertIn((topics.topic(METERS[0], topics.STATUS), b"well", True), published)
        self.assertIn((topics.topic(METERS[0], topics.COMPACT), sent[0], False), published)
