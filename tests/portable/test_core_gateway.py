"""The whole gateway in memory: meters, outbox, broker and the receiver behind it."""

import asyncio
import json
import unittest

from gateway.core.gateway import Gateway
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_settings import MeterSettings
from gateway.errors import BrokerError, ConfigurationError, LinkError
from gateway.transmission import frames, ids, model, topics
from gateway.transmission.custody import hop_key
from tests.fake_clock import FakeClock
from tests.fake_meter import FakeMeter, standard
from tests.memory_broker import Cloud, MemoryBroker

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/"
CREDENTIAL = b"secret of this hop"
SECOND = 1000
MINUTE = 60 * SECOND
# Only what the meters of these tests hold.
SLOWLY = dict.fromkeys(range(model.SELF_READ, model.FOREIGN), 0)
SLOWLY[model.PRESENT] = MINUTE


class House:
    """Meters on a shelf; `absent` ones can't be opened."""

    def __init__(self):
        with open(VECTORS + "real_meter.json") as file:
            self.real = json.load(file)
        self.absent = set()
        self.open = 0

    def settings(self, name, **more):
        tables = standard()
        tables[23] = bytes.fromhex(self.real["BT23"]["data"])
        tables[28] = bytes.fromhex(self.real["BT28"]["data"])
        tables[2051] = name.encode() + bytes(143 - len(name))

        async def open_meter():
            if name in self.absent:
                raise LinkError("no port for " + name)
            self.open += 1
            meter = FakeMeter(tables)
            inner = meter.read

            async def read(table, offset=None, count=None):
                if name in self.absent:
                    raise LinkError(name + " unplugged")
                return await inner(table, offset, count)

            async def close():
                self.open -= 1

            meter.read = read
            meter.close = close
            return meter

        return MeterSettings(name, open_meter, intervals_ms=SLOWLY, **more)


class TestGateway(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(1_719_835_200_000)
        self.clock.install()
        self.house = House()
        self.outbox = MemoryOutbox(100000)
        self.lines = []

    def tearDown(self):
        self.clock.uninstall()

    def run_gateway(self, script, names=("111", "222"), credential=CREDENTIAL):
        """Runs `script()` beside the gateway, cancels that, and lets it end."""

        async def main():
            self.cloud = Cloud(hop_key(CREDENTIAL)) if credential else None
            self.broker = MemoryBroker(self.cloud)
            self.gateway = Gateway(
                "here",
                [self.house.settings(name) for name in names],
                self.broker,
                self.outbox,
                lambda level, text: self.lines.append(text),
                credential,
            )
            running = asyncio.create_task(self.gateway.run())
            await script()
            running.cancel()
            await self.clock.until(running.done, 5 * SECOND)
            with self.assertRaises(asyncio.CancelledError):
                await running

        asyncio.run(main())
        self.assertEqual(self.house.open, 0)
        self.assertFalse(self.broker.open)

    def stored(self, name):
        """Kinds of the frames that the cloud has of a meter."""
        meter = ids.meter_individual_id("NES", name)
        topic = topics.topic(meter, topics.COMPACT, "here")
        return [frames.decode(payload, meter).kind for t, payload, _ in self.broker.published if t == topic]

    def states(self):
        status = self.gateway.status()
        return {one["name"]: one["state"] for one in status["meters"] + [status["broker"]]}

    def last_status(self, name):
        topic = topics.topic(ids.meter_individual_id("NES", name), topics.STATUS, "here")
        return json.loads([payload for t, payload, _ in self.broker.published if t == topic][-1])

    def test_readings_of_all_meters_reach_the_receiver(self):
        async def script():
            await self.clock.advance(31 * MINUTE)
            self.assertEqual(self.states(), {"111": "working", "222": "working", "broker": "working"})
            self.assertEqual(self.gateway.status()["outbox"]["waiting"], 0)

        self.run_gateway(script)
        for name in ("111", "222"):
            kinds = self.stored(name)
            self.assertEqual(kinds.count(model.PRESENT), 32)
            self.assertEqual(kinds.count(model.REGISTERS), 3)
            self.assertEqual(kinds.count(model.CLOCK), 1)
            self.assertEqual(kinds.count(model.IDENTITY), 1)
        self.assertEqual(len(self.cloud.stored), 2 * 37)
        status = self.gateway.status()
        self.assertEqual(
            (status["broker"]["published"], status["outbox"]["receipted"], status["outbox"]["waiting"]),
            (74, 74, 0),
        )

    def test_one_meter_gone_leaves_the_other_alone(self):
        self.house.absent.add("222")

        async def script():
            await self.clock.advance(20 * MINUTE)
            self.assertEqual(self.states(), {"111": "working", "222": "link-gone", "broker": "working"})
            self.house.absent.clear()
            await self.clock.advance(MINUTE)
            self.assertEqual(self.states()["222"], "working")

        self.run_gateway(script)
        self.assertEqual(self.stored("111").count(model.PRESENT), 22)
        self.assertEqual(self.stored("222")[0], model.IDENTITY)
        self.assertEqual(
            sorted(self.lines),
            [
                "111: working",
                "222: link-gone: no port for 222",
                "222: nothing is stale any more",
                "222: stale, not read for long: present",
                "222: working",
                "broker: working",
                "outbox: working",
            ],
        )

    def test_broker_gone_and_back_loses_nothing(self):
        async def script():
            await self.clock.advance(5 * MINUTE)
            self.broker.refuses = BrokerError("connection refused")
            self.broker.lose_connection()
            await self.clock.advance(60 * MINUTE)
            self.assertEqual(self.states(), {"111": "working", "broker": "gone"})
            self.assertEqual(self.gateway.status()["outbox"]["waiting"], 1)
            self.broker.refuses = None
            await self.clock.advance(MINUTE)
            self.assertEqual(self.gateway.status()["outbox"]["waiting"], 0)

        self.run_gateway(script, names=("111",))
        self.assertEqual(self.stored("111").count(model.PRESENT), 67)
        self.assertEqual(self.stored("111").count(model.REGISTERS), 5)

    def test_status_topic_follows_the_meter_and_ends_stopped(self):
        async def script():
            await self.clock.advance(MINUTE)
            self.assertEqual(self.last_status("111")["state"], "working")
            self.house.absent.add("111")
            await self.clock.advance(2 * MINUTE)
            status = self.last_status("111")
            self.assertEqual((status["state"], status["reason"]), ("link-gone", "no port for 111"))
            self.assertTrue(60 <= status["since"] - 1_719_835_200 <= 130)
            self.house.absent.clear()
            await self.clock.advance(MINUTE)
            self.assertEqual(self.last_status("111")["state"], "working")

        self.run_gateway(script, names=("111",))
        self.assertEqual(self.last_status("111")["state"], "stopped")

    def test_ends_within_5_s_though_nobody_takes_what_is_left(self):
        async def script():
            await self.clock.advance(MINUTE)
            self.cloud.away = True
            await self.clock.advance(MINUTE)
            self.assertEqual(self.gateway.status()["outbox"]["waiting"], 2)

        self.run_gateway(script)

    def test_without_receipts_the_broker_is_enough(self):
        async def script():
            await self.clock.advance(2 * MINUTE)
            self.assertEqual(self.outbox.meters(), [])

        self.run_gateway(script, credential=None)
        self.assertEqual(self.stored("222").count(model.PRESENT), 3)

    def test_confirm_names_the_meter(self):
        self.outbox.set_note(b"identity/222", b"NES 999")

        async def script():
            await self.clock.advance(MINUTE)
            self.assertEqual(self.states(), {"111": "working", "222": "replaced", "broker": "working"})
            with self.assertRaises(ConfigurationError):
                self.gateway.confirm("333")
            self.gateway.confirm("222")
            await self.clock.advance(SECOND)
            self.assertEqual(self.states()["222"], "working")

        self.run_gateway(script)
