"""A concentrator between adapters on a broker in memory and the real receiver behind another."""

import asyncio
import unittest

from gateway import clock
from gateway.core.concentrator import Concentrator
from gateway.core.gateway import Gateway, last_will
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.sender import Sender
from gateway.core.supervisor import Supervisor
from gateway.errors import BrokerError, FrameError, OutboxError
from gateway.transmission import frames, model, topics
from gateway.transmission.custody import hop_key
from gateway.transmission.sealing import key_id
from tests.fake_clock import FakeClock
from tests.memory_broker import Cloud, MemoryBroker
from tests.memory_hub import Hub

METERS = (b"meter-number-one", b"meter-number-two")
CLOUD_CREDENTIAL = b"between concentrator and cloud"
CELLAR, ATTIC = hop_key(b"credential of the cellar"), hop_key(b"credential of the attic")
SECOND = 1000
MINUTE = 60 * SECOND


class Adapter:
    def __init__(self, hub, name, meter, key):
        self.name = name
        self.meter = meter
        self.outbox = MemoryOutbox(1000000)
        self.rewinds = []
        broker = hub.client(name, last_will(name, adapter=True))
        self.sender = Sender(
            self.outbox, broker, name, key, on_rewind=lambda *one: self.rewinds.append(one), adapter=True
        )
        self.sent = []

    def append(self, count=1, kind=model.PRESENT):
        for _ in range(count):
            value = model.Value(0, len(self.sent), -2, "W")
            item = model.Reading(kind, model.Timestamp(clock.utc_ms() // 1000), [value])
            entry = self.outbox.append(
                self.meter,
                model.CLASS_OF_KIND[kind],
                lambda epoch, sequence: frames.encode(self.meter, epoch, sequence, [item]),  # noqa: B023 - called now
            )
            self.sent.append(entry.frame)

    def pending(self):
        return len(self.outbox.streams(self.meter))


class FailingOutbox(MemoryOutbox):
    """`broken`: sync fails. `syncs` counts those that did not."""

    broken = False
    syncs = 0

    async def sync(self):
        await asyncio.sleep(0)
        if self.broken:
            raise OutboxError("can't write: no space left")
        self.syncs += 1


def read(meter, payload):
    if payload[:1] != b"{":
        raise FrameError("no JSON")
    return model.Reading(
        model.FOREIGN, model.Timestamp(1), [model.Value("x", None, 0, None, str(payload, "ascii"))]
    )


class TestConcentrator(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(1_719_835_200_000)
        self.clock.install()
        self.local = Hub()
        self.keys = [CELLAR, ATTIC]
        self.lines = []
        self.outbox = FailingOutbox(1000000)
        self.cellar = Adapter(self.local, "cellar", METERS[0], CELLAR)
        self.attic = Adapter(self.local, "attic", METERS[1], ATTIC)
        self.adapters = [self.cellar, self.attic]

    def tearDown(self):
        self.clock.uninstall()

    def find_keys(self):
        keys = {key_id(key): key for key in self.keys}
        return lambda meter, name: keys.get(name)

    def run_world(self, script, read=read):
        async def main():
            self.cloud = Cloud(hop_key(CLOUD_CREDENTIAL))
            self.broker = MemoryBroker(self.cloud)
            log = lambda level, text: self.lines.append(text)  # noqa: E731
            self.gateway = Gateway("here", [], self.broker, self.outbox, log, CLOUD_CREDENTIAL)
            self.concentrator = Concentrator(
                "here",
                self.outbox,
                self.local.client("here"),
                self.gateway.sender,
                self.find_keys,
                read,
                lambda: [],
                log,
            )
            self.gateway.concentrate(self.concentrator)
            supervisor = Supervisor(lambda level, text: None)
            for adapter in self.adapters:
                supervisor.add(adapter.name, adapter.sender.run)
            tasks = [asyncio.create_task(self.gateway.run()), asyncio.create_task(supervisor.run())]
            try:
                await script()
            finally:
                for task in tasks:
                    task.cancel()
                await self.clock.until(lambda: all(task.done() for task in tasks), MINUTE)

        asyncio.run(main())

    async def settled(self, limit=5 * MINUTE):
        """All adapters have receipts for all they sent."""
        await self.clock.until(lambda: not sum([adapter.pending() for adapter in self.adapters]), limit)

    async def arrived(self, limit=5 * MINUTE):
        await self.clock.until(lambda: not self.outbox.meters(), limit)

    def check(self, *adapters, in_order=False):
        """The cloud has every frame of these as it was sent, and nothing of anybody else. Where some had to
        be offered again, others may have come before them."""
        for adapter in adapters:
            got = [
                payload
                for topic, payload, _ in self.broker.published
                if topic == topics.topic(adapter.meter, topics.COMPACT, "here")
            ]
            first = [payload for n, payload in enumerate(got) if payload not in got[:n]]
            self.assertTrue(sorted(first) == sorted(adapter.sent), adapter.name)
            self.assertTrue(first == adapter.sent or not in_order, adapter.name)
        self.assertEqual(len(self.cloud.stored), sum([len(adapter.sent) for adapter in adapters]))

    def state(self):
        return self.gateway.status()["local"]

    def test_frames_of_all_adapters_arrive_as_they_were_and_in_order(self):
        async def script():
            for _ in range(5):
                self.cellar.append(7, model.REGISTERS)
                self.attic.append(7)
                await self.clock.advance(3 * SECOND)
            await self.settled()
            await self.arrived()

        self.run_world(script)
        self.check(self.cellar, self.attic, in_order=True)
        for adapter in self.adapters:
            for topic, _ in self.local.of(adapter.name):
                self.assertFalse(topic.startswith("concentrator/"), topic)
        self.assertEqual(self.cloud.taken, len(self.cloud.stored), "a frame was forwarded twice without need")

    def test_a_receipt_is_given_only_after_the_sync(self):
        async def script():
            self.cellar.append(1)
            await self.settled()
            syncs = self.outbox.syncs
            self.outbox.broken = True
            self.cellar.append(5)
            await self.clock.advance(2 * MINUTE)
            self.assertTrue(self.cellar.pending())
            self.assertEqual(self.outbox.syncs, syncs)
            self.assertIn("no space left", self.state()["reason"])
            self.outbox.broken = False
            await self.settled()
            self.assertEqual(self.state()["state"], "working")

        self.run_world(script)
        self.check(self.cellar)

    def test_alarms_are_forwarded_and_receipted_at_once(self):
        async def script():
            self.cellar.append(1, model.ALARM)
            self.attic.append(1)
            await self.settled()
            self.cellar.append(1, model.ALARM)
            await self.clock.until(lambda: not self.cellar.pending(), 100)

        self.run_world(script)

    def test_a_forger_reaches_nobody(self):
        forger = Adapter(self.local, "forger", METERS[0], hop_key(b"guessed"))
        self.adapters.append(forger)

        async def script():
            self.cellar.append(3)
            await self.clock.advance(MINUTE)
            forger.append(1)
            frame = forger.sent[0]
            for _ in range(4):
                for payload in (frame, b"", b"\xff" * 9000, self.cellar.sent[0][:-1]):
                    self.local.publish("forger", topics.topic(METERS[1], topics.COMPACT), payload)
                self.local.publish("forger", topics.topic(METERS[0], topics.COMPACT), frame)
                for payload in (b"", b"\x96" + bytes(60), self.local.of("cellar")[0][1][:-1] + b"x"):
                    self.local.publish("forger", topics.ask(METERS[0]), payload)
                await self.clock.advance(MINUTE)
            self.assertTrue(forger.pending())
            self.assertEqual(self.state()["state"], "working")
            self.assertTrue(self.state()["strangers"] >= 12)
            self.assertTrue(self.state()["refused"] >= 9)
            self.assertEqual(self.state()["meters"], 1)

        self.run_world(script)
        self.check(self.cellar)
        told = [line for line in self.lines if line.startswith("local broker: someone who has no credential")]
        self.assertEqual(len(told), 1)
        told = [line for line in self.lines if line.startswith("local broker: frames of meter")]
        self.assertEqual(len(told), 1)

    def test_a_revoked_adapter_gets_no_receipts_and_the_other_goes_on(self):
        async def script():
            self.cellar.append(2)
            self.attic.append(2)
            await self.settled()
            self.keys = [ATTIC]
            self.local.restart()
            await self.clock.advance(MINUTE)
            self.cellar.append(2)
            self.attic.append(2)
            await self.clock.advance(10 * MINUTE)
            self.assertTrue(self.cellar.pending())
            self.assertFalse(self.attic.pending())
            self.assertEqual(len(self.cloud.stored), 6)
            self.keys = [CELLAR, ATTIC]
            self.local.restart()
            await self.settled()
            await self.arrived()

        self.run_world(script)
        self.check(self.cellar, self.attic)

    def test_an_outbox_that_is_full_pushes_back_and_loses_nothing(self):
        self.outbox = FailingOutbox(4000)

        async def script():
            self.broker.refuses = BrokerError("the cloud's broker is away")
            self.broker.lose_connection()
            self.cellar.append(50, model.REGISTERS)
            self.attic.append(20, model.EVENT)
            await self.clock.advance(5 * MINUTE)
            self.assertEqual(self.state()["state"], "full")
            self.assertTrue(self.cellar.pending())
            self.assertFalse(self.outbox.drops(METERS[0]) + self.outbox.drops(METERS[1]))
            self.broker.refuses = None
            await self.settled(30 * MINUTE)
            await self.arrived()
            self.cellar.append(1)
            await self.settled()
            self.assertEqual(self.state()["state"], "working")

        self.run_world(script)
        self.check(self.cellar, self.attic)

    def test_a_dead_broker_on_one_side_leaves_the_other_alone(self):
        async def script():
            self.cellar.append(1)
            await self.settled()
            self.broker.refuses = BrokerError("the cloud's broker is away")
            self.broker.lose_connection()
            self.cellar.append(5)
            await self.settled()  # the concentrator has them
            self.assertEqual(self.gateway.status()["broker"]["state"], "gone")
            self.assertEqual(self.state()["state"], "working")
            self.local.away = True
            self.local.restart()
            connections = self.broker.connections
            self.broker.refuses = None
            await self.arrived()
            self.assertEqual(self.gateway.status()["broker"]["state"], "working")
            self.assertEqual(self.broker.connections, connections + 1)
            self.assertEqual(self.state()["state"], "gone")
            self.local.away = False
            self.cellar.append(5)
            await self.settled()
            await self.arrived()
            self.assertEqual(self.broker.connections, connections + 1)

        self.run_world(script)
        self.check(self.cellar)

    def test_status_is_relayed_and_an_adapter_that_vanishes_is_seen(self):
        async def script():
            self.cellar.sender.set_status(None, b"online")
            self.cellar.sender.set_status(METERS[0], b"well")
            await self.clock.advance(MINUTE)
            self.local.clients[0].lose()
            await self.clock.advance(100)

        self.run_world(script)
        shown = [(topic, payload) for topic, payload, retain in self.broker.published if retain]
        self.assertIn(("concentrator/here/adapter/cellar/status", b"online"), shown)
        self.assertIn((topics.topic(METERS[0], topics.STATUS, "here"), b"well"), shown)
        self.assertIn(("concentrator/here/adapter/cellar/status", last_will("cellar", True)[1]), shown)

    def test_nobody_fills_memory_with_topics_of_status(self):
        async def script():
            for n in range(1030):
                self.concentrator._one("adapter/number-%d/status" % n, b"{}")
            self.concentrator._one("adapter/number-1/status", bytes(100000))
            self.assertEqual(self.state()["refused"], 6 + 1)

        self.run_world(script)

    def test_commands_go_to_the_adapter_and_results_come_back_unmodified(self):
        heard = []

        async def script():
            self.cellar.sender.listen(topics.command(METERS[0]), heard.append)
            self.cellar.append(1)
            await self.settled()
            await self.clock.advance(SECOND)
            self.broker.deliver(topics.command(METERS[0]), b"sealed by the owner")
            self.broker.deliver(topics.command(METERS[1]), b"nobody here reads it")
            await self.clock.advance(SECOND)
            self.cellar.sender.pass_on(topics.result(METERS[0]), b"sealed by the adapter")
            await self.clock.advance(SECOND)

        self.run_world(script)
        self.assertEqual(heard, [b"sealed by the owner"])
        self.assertIn((topics.result(METERS[0]), b"sealed by the adapter", False), self.broker.published)
        self.assertFalse([one for one in self.local.published if one[1] == topics.command(METERS[1])])

    def test_readings_as_json_become_frames_in_custody(self):
        document = b'{"any": "reading"}'

        async def script():
            await self.clock.advance(SECOND)
            self.broker.refuses = BrokerError("the cloud's broker is away")
            self.broker.lose_connection()
            self.local.publish("another maker's", topics.topic(METERS[1], topics.READINGS), document)
            await self.clock.advance(5 * MINUTE)
            self.broker.refuses = None
            await self.arrived()

        self.run_world(script)
        (frame,) = self.cloud.stored
        decoded = frames.decode(frame, METERS[1])
        self.assertEqual(
            (decoded.kind, decoded.items[0].values[0].text), (model.FOREIGN, str(document, "ascii"))
        )
        self.assertTrue(self.outbox.syncs)

    def test_what_is_no_reading_and_no_topic_of_ours_is_relayed_as_it_is(self):
        others = (
            (topics.topic(METERS[1], topics.READINGS), b"not even JSON"),
            ("smartMeterMessage/no-uuid/readings", b"{}"),
            (topics.topic(METERS[1], "energy"), b"\x00\xff"),
        )

        async def script():
            await self.clock.advance(SECOND)
            for topic, payload in others:
                self.local.publish("another maker's", topic, payload)
            self.local.publish("another maker's", "smartMeterMessage/x/y", bytes(300000))
            self.local.publish("another maker's", "smartMeterMessage/x/" + 2000 * "y", b"")
            self.local.publish("another maker's", topics.result(METERS[1]), bytes(9000))
            await self.clock.advance(MINUTE)
            self.assertEqual((self.state()["relayed"], self.state()["refused"]), (3, 3))

        self.run_world(script)
        passed = [(topic, payload) for topic, payload, retain in self.broker.published if not retain]
        self.assertEqual(passed, [("concentrator/here/" + topic, payload) for topic, payload in others])

    def test_json_is_refused_where_the_operator_says_so(self):
        async def script():
            await self.clock.advance(SECOND)
            self.local.publish("another maker's", topics.topic(METERS[1], topics.READINGS), b"{}")
            await self.clock.advance(MINUTE)
            self.assertEqual(self.state()["refused"], 1)

        self.run_world(script, read=None)
        self.assertEqual(self.cloud.stored, [])

    def test_a_cloud_set_back_reaches_the_adapters_with_the_time_to_begin_from(self):
        async def script():
            self.cellar.append(1)
            await self.settled()
            await self.clock.advance(10 * MINUTE)
            good = clock.utc_ms() // 1000
            await self.clock.advance(MINUTE)
            self.cellar.append(1)
            await self.settled()
            self.gateway._rewind(METERS[0], good)  # as the sender says when the cloud was restored
            self.cellar.sender.custody.check()
            self.cellar.append(1)
            await self.settled()
            ((meter, since),) = self.cellar.rewinds
            self.assertEqual(meter, METERS[0])
            self.assertTrue(good - 600 < since <= good, (good, since))
            self.assertFalse(self.attic.rewinds)

        self.run_world(script)

    def test_a_message_that_the_clouds_broker_can_not_bear_breaks_its_connection_once(self):
        async def script():
            publish = self.broker.publish

            async def fragile(topic, payload, retain=False):
                if payload == b"poison":
                    self.broker.lose_connection()
                await publish(topic, payload, retain)

            self.broker.publish = fragile
            await self.clock.advance(SECOND)
            self.local.publish("another maker's", topics.topic(METERS[1], "energy"), b"poison")
            await self.clock.advance(MINUTE)
            self.cellar.append(3)
            await self.settled()
            await self.arrived()
            self.assertEqual(self.broker.connections, 2)

        self.run_world(script)
        self.check(self.cellar)

    def test_a_quiet_concentrator_gives_signs_of_life(self):
        async def script():
            await self.clock.advance(SECOND)
            for _ in range(3):
                turned = self.state()["turnedAtMs"]
                await self.clock.advance(MINUTE + SECOND)
                self.assertTrue(self.state()["turnedAtMs"] > turned)

        self.run_world(script)

    def test_a_number_that_is_taken_is_no_lack_of_room(self):
        twin = Adapter(self.local, "twin", METERS[0], CELLAR)
        twin.outbox.epoch = self.cellar.outbox.epoch
        self.adapters.append(twin)

        async def script():
            self.broker.refuses = BrokerError("the cloud's broker is away")
            self.broker.lose_connection()
            self.cellar.append(1)
            await self.settled()
            twin.sent.append(b"")  # so that its reading is another
            twin.append(1)
            await self.clock.advance(2 * MINUTE)
            self.assertTrue(twin.pending(), "a frame was receipted that is nowhere")
            self.assertEqual((self.state()["full"], self.state()["state"]), (0, "working"))

        self.run_world(script)
