"""The MQTT 3.1.1 machine: packets byte for byte, whole, byte by byte and with trailing bytes."""

import random
import unittest

from mqtt_machine import ACKED, CONNECTED, MESSAGE, OVERSIZED, PONG, SUBSCRIBED, MqttMachine

from gateway.errors import BrokerError

CONNACK = b"\x20\x02\x00\x00"


def sent(machine):
    """All packets the machine wants on the wire."""
    packets = []
    while True:
        packet = machine.data_to_send()
        if packet is None:
            return packets
        packets.append(bytes(packet))


def events(machine, data, step=0):
    """Events for `data` fed in one piece, or in pieces of `step` bytes."""
    found = []
    for start in range(0, len(data), step or len(data) or 1):
        machine.feed(data[start : start + (step or len(data))])
        while True:
            event = machine.next_event()
            if event is None:
                break
            found.append(event)
    return found


def connected(machine=None, connack=CONNACK):
    machine = machine or MqttMachine("gw")
    machine.connect()
    sent(machine)
    events(machine, connack)
    return machine


def puback(pid):
    return b"\x40\x02" + pid.to_bytes(2, "big")


class ConnectTest(unittest.TestCase):
    def test_the_smallest_connect(self):
        machine = MqttMachine("gw", keep_alive=60)
        machine.connect()
        self.assertEqual(sent(machine), [b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x3c\x00\x02gw"])

    def test_connect_with_will_user_and_password(self):
        machine = MqttMachine("gw", username="u", password="pw", keep_alive=300, will=("s/1", b"gone", True))
        machine.connect()
        self.assertEqual(
            sent(machine),
            [b"\x10\x20\x00\x04MQTT\x04\xec\x01\x2c\x00\x02gw\x00\x03s/1\x00\x04gone\x00\x01u\x00\x02pw"],
        )

    def test_a_long_connect_has_a_length_of_two_bytes(self):
        machine = MqttMachine("gw", will=("status", b"x" * 200, False))
        machine.connect()
        self.assertEqual(sent(machine)[0][:3], b"\x10\xe0\x01")

    def test_a_session_needs_a_client_id(self):
        self.assertRaises(BrokerError, MqttMachine, "")

    def test_connack_says_whether_the_session_was_remembered(self):
        for flag in (0, 1):
            machine = MqttMachine("gw")
            machine.connect()
            self.assertEqual(events(machine, bytes((0x20, 2, flag, 0))), [(CONNECTED, flag == 1)])
            self.assertTrue(machine.connected)

    def test_refusals_say_why(self):
        for code, word in (
            (1, "3.1.1"),
            (2, "client id"),
            (3, "later"),
            (4, "password"),
            (5, "authorized"),
            (9, "9"),
        ):
            machine = MqttMachine("gw")
            machine.connect()
            machine.feed(bytes((0x20, 2, 0, code)))
            with self.assertRaises(BrokerError) as caught:
                machine.next_event()
            self.assertIn(word, str(caught.exception))
            self.assertFalse(machine.connected)

    def test_disconnect_and_ping(self):
        machine = connected()
        machine.ping()
        self.assertEqual(sent(machine), [b"\xc0\x00"])
        self.assertEqual(events(machine, b"\xd0\x00"), [(PONG,)])
        machine.publish("t", b"never leaves")
        machine.disconnect()
        self.assertEqual(sent(machine), [b"\xe0\x00"])


class PublishTest(unittest.TestCase):
    def test_publish_has_qos_1_and_a_packet_id(self):
        machine = connected()
        self.assertEqual(machine.publish("a/b", b"hi"), 1)
        self.assertEqual(machine.publish("a/b", b"", retain=True), 2)
        self.assertEqual(sent(machine), [b"\x32\x09\x00\x03a/b\x00\x01hi", b"\x33\x07\x00\x03a/b\x00\x02"])
        self.assertEqual(list(machine.in_flight), [1, 2])
        self.assertEqual(events(machine, puback(1) + puback(2)), [(ACKED, 1), (ACKED, 2)])
        self.assertEqual(list(machine.in_flight), [])

    def test_lengths_at_the_borders_of_their_encoding(self):
        for size, length in (
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (16383, b"\xff\x7f"),
            (16384, b"\x80\x80\x01"),
        ):
            machine = connected()
            machine.publish("t", bytes(size - 5))
            packet = sent(machine)[0]
            self.assertEqual(packet[: 1 + len(length)], b"\x32" + length)
            self.assertEqual(len(packet), 1 + len(length) + size)

    def test_the_window_is_bounded(self):
        machine = connected(MqttMachine("gw", window=2))
        self.assertEqual([machine.publish("t", b"%d" % n) for n in range(3)], [1, 2, None])
        self.assertEqual(len(sent(machine)), 2)
        events(machine, puback(1))
        self.assertEqual(machine.publish("t", b"2"), 3)

    def test_wildcards_and_empty_topics_are_refused(self):
        for topic in ("", "a/+", "#", "a\0b", "x" * 65536):
            machine = connected()
            self.assertRaises(BrokerError, machine.publish, topic, b"")
            self.assertEqual(list(machine.in_flight), [])

    def test_an_acknowledgement_nobody_waits_for_is_an_error(self):
        machine = connected()
        machine.publish("t", b"")
        machine.feed(puback(1))  # not sent yet
        self.assertRaises(BrokerError, machine.next_event)
        machine = connected()
        machine.feed(puback(7))
        self.assertRaises(BrokerError, machine.next_event)

    def test_packet_ids_wrap_and_pass_over_those_in_flight(self):
        machine = connected(MqttMachine("gw", window=2))
        self.assertEqual(machine.publish("t", b"slow"), 1)
        sent(machine)
        last = 1
        for _ in range(65535):
            pid = machine.publish("t", b"")
            machine.data_to_send()
            machine.feed(puback(pid))
            machine.next_event()
            last = pid
        self.assertEqual(last, 2)
        self.assertEqual(list(machine.in_flight), [1])


class ReconnectTest(unittest.TestCase):
    def lost(self, connack):
        """Three in flight: acknowledged, sent, and not sent when the connection went; connected again."""
        machine = connected(MqttMachine("gw", window=4))
        for payload in (b"1", b"2"):
            machine.publish("t", payload)
        sent(machine)
        events(machine, puback(1))
        machine.publish("t", b"3")
        machine.feed(b"\x32\x09\x00")  # the beginning of a message, cut off
        machine.connect()
        self.assertEqual(len(sent(machine)), 1)  # nothing before the broker's answer (3.1.4)
        events(machine, connack)
        return machine

    def test_what_was_not_acknowledged_comes_again_in_order(self):
        for connack in (CONNACK, b"\x20\x02\x01\x00"):
            machine = self.lost(connack)
            self.assertEqual(sent(machine), [b"\x3a\x06\x00\x01t\x00\x022", b"\x32\x06\x00\x01t\x00\x033"])
            self.assertEqual(events(machine, puback(2) + puback(3)), [(ACKED, 2), (ACKED, 3)])

    def test_a_second_loss_marks_all_as_duplicates(self):
        machine = self.lost(CONNACK)
        sent(machine)
        connected(machine)
        machine.connect()
        sent(machine)
        events(machine, CONNACK)
        self.assertEqual([packet[0] for packet in sent(machine)], [0x3A, 0x3A])

    def test_publishing_again_what_is_on_its_way_sends_it_once(self):
        machine = self.lost(CONNACK)
        self.assertEqual(machine.publish("t", b"2"), 2)
        self.assertEqual(machine.publish("t", b"2"), 4)  # a new message with the same content
        self.assertEqual(machine.publish("t", b"3", retain=True), 5)
        self.assertEqual([packet[-1:] for packet in sent(machine)], [b"2", b"3", b"2", b"3"])

    def test_new_messages_follow_the_old(self):
        machine = self.lost(CONNACK)
        machine.publish("t", b"4")
        self.assertEqual([packet[-1:] for packet in sent(machine)], [b"2", b"3", b"4"])

    def test_acknowledged_is_forgotten_after_a_resend(self):
        machine = self.lost(CONNACK)
        sent(machine)
        events(machine, puback(2) + puback(3))
        connected(machine)
        self.assertEqual(sent(machine), [])


class SubscribeTest(unittest.TestCase):
    def test_subscribe_and_its_answers(self):
        for code, granted in ((0, True), (1, True), (2, True), (0x80, False)):
            machine = connected()
            self.assertEqual(machine.subscribe("a/#"), 1)
            self.assertEqual(sent(machine), [b"\x82\x08\x00\x01\x00\x03a/#\x01"])
            self.assertEqual(events(machine, bytes((0x90, 3, 0, 1, code))), [(SUBSCRIBED, 1, granted)])

    def test_answers_to_no_question_are_errors(self):
        for answer in (b"\x90\x03\x00\x02\x00", b"\x90\x03\x00\x01\x03"):
            machine = connected()
            machine.subscribe("a/#")
            sent(machine)
            machine.feed(answer)
            self.assertRaises(BrokerError, machine.next_event)


STREAM = (
    b"\x30\x06\x00\x03a/bX"  # QoS 0
    b"\x32\x08\x00\x03a/b\x00\x07Y"  # QoS 1
    b"\xd0\x00"
    b"\x3b\x09\x00\x03\xc3\xa9t\x01\x00ZZ"  # QoS 1, duplicate, retained
)
EVENTS = [
    (MESSAGE, "a/b", b"X"),
    (MESSAGE, "a/b", b"Y"),
    (PONG,),
    (MESSAGE, "\xe9t", b"ZZ"),
]


class ReceiveTest(unittest.TestCase):
    def test_messages_whole_and_in_pieces(self):
        for step in (0, 1, 2, 3, 7):
            machine = connected()
            self.assertEqual(events(machine, STREAM, step), EVENTS)
            self.assertEqual(sent(machine), [b"\x40\x02\x00\x07", b"\x40\x02\x01\x00"])

    def test_trailing_bytes_wait_for_the_rest(self):
        machine = connected()
        self.assertEqual(events(machine, STREAM + STREAM[:5]), EVENTS)
        self.assertEqual(events(machine, STREAM[5:]), EVENTS)

    def test_connack_and_messages_in_one_piece(self):
        machine = MqttMachine("gw")
        machine.connect()
        self.assertEqual(events(machine, CONNACK + STREAM), [(CONNECTED, False)] + EVENTS)

    def test_a_long_message_is_acknowledged_and_dropped(self):
        long = b"\x32\xb4\x01\x00\x01t\x00\x09" + b"x" * 175
        for step in (0, 1, 50, 90, 183, 190):
            machine = connected(MqttMachine("gw", limit=64))
            self.assertEqual(events(machine, long + STREAM, step), [(OVERSIZED, "t", 180)] + EVENTS)
            self.assertEqual(sent(machine)[0], b"\x40\x02\x00\x09")

    def test_a_message_of_the_longest_length_is_never_stored(self):
        machine = connected(MqttMachine("gw", limit=64))
        self.assertEqual(events(machine, b"\x30\xff\xff\xff\x7f\x00\x01t"), [])
        self.assertEqual(events(machine, bytes(100)), [(OVERSIZED, "t", 268435455)])
        self.assertEqual(events(machine, bytes(10000), 100), [])
        self.assertLess(len(machine._buffer), 100)

    def test_a_message_as_long_as_the_limit_is_delivered(self):
        machine = connected(MqttMachine("gw", limit=64))
        self.assertEqual(events(machine, b"\x30\x40\x00\x01t" + bytes(61)), [(MESSAGE, "t", bytes(61))])


BROKEN = {
    "type 0": b"\x00\x00",
    "type 15": b"\xf0\x00",
    "a client's packet": b"\x10\x00",
    "puback flags": b"\x41\x02\x00\x01",
    "puback length": b"\x40\x03\x00\x01\x00",
    "puback without id": b"\x40\x00",
    "suback length": b"\x90\x02\x00\x01",
    "pingresp length": b"\xd0\x01\x00",
    "second connack": b"\x20\x02\x00\x00",
    "qos 2": b"\x34\x05\x00\x01t\x00\x01",
    "qos 3": b"\x36\x05\x00\x01t\x00\x01",
    "duplicate at qos 0": b"\x38\x03\x00\x01t",
    "pubrec": b"\x50\x02\x00\x01",
    "length of five bytes": b"\x30\x80\x80\x80\x80\x01",
    "no room for a topic": b"\x30\x02\x00\x00",
    "empty topic": b"\x30\x03\x00\x00x",
    "topic longer than the packet": b"\x30\x03\x00\x02t",
    "no room for the id": b"\x32\x04\x00\x01t\x00",
    "packet id 0": b"\x32\x05\x00\x01t\x00\x00",
    "topic not UTF-8": b"\x30\x04\x00\x02\xff\xfe",
    "topic with a wildcard": b"\x30\x03\x00\x01#",
}


class BrokenTest(unittest.TestCase):
    def test_malformed_packets_are_errors_at_once(self):
        for name in BROKEN:
            for step in (0, 1):
                machine = connected()
                with self.assertRaises(BrokerError) as caught:
                    events(machine, BROKEN[name], step)
                self.assertTrue(str(caught.exception).startswith("the broker"), name)

    def test_nothing_comes_before_connack(self):
        for data in (STREAM, b"\xd0\x00", puback(1), b"HTTP/1.1 400 Bad Request\r\n", b"\x20\x02\x02\x00"):
            machine = MqttMachine("gw")
            machine.connect()
            self.assertRaises(BrokerError, events, machine, data)

    def test_noise_gives_events_or_an_error_and_no_memory(self):
        random.seed(311)
        for _ in range(300):
            machine = connected(MqttMachine("gw", limit=256))
            machine.subscribe("t")
            machine.publish("t", b"x")
            sent(machine)
            data = bytearray(STREAM + puback(2) + b"\x90\x03\x00\x01\x00" + STREAM)
            for _ in range(random.randrange(4)):
                data[random.randrange(len(data))] = random.getrandbits(8)
            try:
                events(machine, bytes(data), 1 + random.getrandbits(4))
            except BrokerError:
                pass
            self.assertLess(len(machine._buffer), 300)
