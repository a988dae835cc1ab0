"""Topics there and back; what is none is refused."""

import unittest

from gateway.errors import FrameError
from gateway.transmission import topics

METER = bytes(range(16))
TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


class TestTopics(unittest.TestCase):
    def test_there_and_back(self):
        for topic, meter, specific, concentrator in (
            ("smartMeterMessage/" + TEXT + "/compact", METER, topics.COMPACT, None),
            ("smartMeterMessage/" + TEXT + "/readings", METER, topics.READINGS, None),
            ("concentrator/house 7/smartMeterMessage/" + TEXT + "/status", METER, topics.STATUS, "house 7"),
        ):
            parsed = topics.parse(topic)
            self.assertEqual(
                (parsed.meter, parsed.specific, parsed.concentrator), (meter, specific, concentrator)
            )
            self.assertEqual(topics.topic(meter, specific, concentrator), topic)
        parsed = topics.parse(topics.custody(METER))
        self.assertEqual((parsed.meter, parsed.specific), (METER, topics.CUSTODY))
        self.assertEqual(topics.custody(METER), "custody/" + TEXT)
        parsed = topics.parse(topics.ask(METER))
        self.assertEqual((parsed.meter, parsed.specific), (METER, topics.ASK))
        self.assertEqual(topics.ask(METER), "custody/" + TEXT + "/ask")
        parsed = topics.parse(topics.command(METER))
        self.assertEqual((parsed.meter, parsed.specific), (METER, topics.COMMAND))
        self.assertEqual(topics.command(METER), "command/" + TEXT)
        parsed = topics.parse(topics.result(METER))
        self.assertEqual((parsed.meter, parsed.specific), (METER, topics.RESULT))
        self.assertEqual(topics.result(METER), "command/" + TEXT + "/result")
        parsed = topics.parse(topics.gateway_status("house 7"))
        self.assertEqual(
            (parsed.meter, parsed.specific, parsed.concentrator), (b"", topics.STATUS, "house 7")
        )
        self.assertEqual(topics.gateway_status("house 7"), "concentrator/house 7/status")
        topic = topics.adapter_status("cellar")
        self.assertEqual(topic, "adapter/cellar/status")
        for text, concentrator in (
            (topic, None),
            (topics.forwarded("house 7", topic), "house 7/adapter/cellar"),
        ):
            parsed = topics.parse(text)
            self.assertEqual(
                (parsed.meter, parsed.specific, parsed.concentrator), (b"", topics.STATUS, concentrator)
            )

    def test_wrong_ones(self):
        for topic in (
            "",
            "custody",
            "custody/",
            "custody/meter",
            "custody/" + TEXT + "/x",
            "custody/" + TEXT + "/result",
            "command",
            "command/meter",
            "command/" + TEXT + "/",
            "command/" + TEXT + "/ask",
            "command/" + TEXT.upper() + "/result",
            "concentrator/a/command/" + TEXT,
            "smartMeterMessage/" + TEXT,
            "smartMeterMessage/" + TEXT + "/",
            "smartMeterMessage/" + TEXT + "/a/b",
            "smartMeterMessage/meter/compact",
            "smartMeterMessage/" + TEXT.upper() + "/compact",
            "smartMeterMessage/" + TEXT + "/#",
            "smartMeterMessage/+/compact",
            "concentrator/+/smartMeterMessage/" + TEXT + "/compact",
            "concentrator/a\0b/status",
            "/smartMeterMessage/" + TEXT + "/compact",
            "concentrator//status",
            "concentrator/a/gossip",
            "concentrator//smartMeterMessage/" + TEXT + "/compact",
            "concentrator/a/smartMeterMessage/" + TEXT,
            "other/" + TEXT + "/compact",
        ):
            self.assertRaises(FrameError, topics.parse, topic)
