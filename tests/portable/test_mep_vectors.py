"""Every exchange of the MEP guide's worked examples, byte for byte, in both directions."""

import json
import unittest

from gateway.drivers import events
from gateway.drivers.c1218 import read_message, table_data, write_message
from gateway.drivers.mep.machine import Machine

_HERE = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
with open(_HERE + "/../vectors/mep_rc4.json") as _file:
    VECTORS = json.load(_file)
KEY = bytes.fromhex(VECTORS["key"])


class Exchange:
    def __init__(self, vector):
        self.name = vector["name"]
        self.message = bytes.fromhex(vector["request"]["message"])
        self.sequence = int(vector["request"]["sequence"], 16)
        self.request = bytes.fromhex(vector["request"]["frame"])
        self.reply = bytes.fromhex(vector["response"]["message"])
        self.response = bytes.fromhex(vector["response"]["frame"])

    def sent(self):
        """A machine that has sent this request and waits."""
        machine = Machine(KEY, sequence=self.sequence)
        machine.begin(self.message)
        machine.output()
        return machine


EXCHANGES = [Exchange(vector) for vector in VECTORS["exchanges"]]
ANSWERED = [exchange for exchange in EXCHANGES if exchange.reply[0] == 0]
WRONG_NUMBER, RIGHT_NUMBER = EXCHANGES[:2]


def byte_by_byte(machine, data):
    found = []
    for at in range(len(data)):
        found += machine.receive(data[at : at + 1])
    return found


class VectorTest(unittest.TestCase):
    def test_all_seven_are_here(self):
        self.assertEqual(len(EXCHANGES), 7)
        self.assertEqual(len(ANSWERED), 6)

    def test_requests(self):
        for exchange in EXCHANGES:
            machine = Machine(KEY, sequence=exchange.sequence)
            machine.begin(exchange.message)
            self.assertEqual(machine.output(), exchange.request, exchange.name)

    def test_messages_from_tables_and_numbers(self):
        built = [
            read_message(23, 0, 44),
            read_message(23, 0, 44),
            write_message(2098, b"\1", 30),
            write_message(2100, EXCHANGES[3].message[8:], 0),
            read_message(2101, 0, 5),
            read_message(2101, 0, 111),
            write_message(7, b"\x11\x08\x07\x00\xf8\x03"),
        ]
        self.assertEqual(built, [exchange.message for exchange in EXCHANGES])

    def test_responses_whole(self):
        for exchange in ANSWERED:
            self.assertEqual(
                exchange.sent().receive(exchange.response), [(events.ANSWER, exchange.reply)], exchange.name
            )

    def test_responses_byte_by_byte(self):
        for exchange in ANSWERED:
            machine = exchange.sent()
            last = len(exchange.response) - 1
            self.assertEqual(byte_by_byte(machine, exchange.response[:last]), [])
            self.assertTrue(machine.unfinished)
            self.assertEqual(machine.receive(exchange.response[last:]), [(events.ANSWER, exchange.reply)])
            self.assertFalse(machine.unfinished)

    def test_responses_cut_in_two_anywhere(self):
        for exchange in ANSWERED:
            for cut in range(1, len(exchange.response)):
                machine = exchange.sent()
                self.assertEqual(machine.receive(exchange.response[:cut]), [])
                self.assertEqual(
                    machine.receive(exchange.response[cut:]), [(events.ANSWER, exchange.reply)], exchange.name
                )

    def test_responses_with_trailing_bytes(self):
        for exchange in ANSWERED:
            answer = (events.ANSWER, exchange.reply)
            for trailing, more in (
                (b"\0", []),
                (b"\0\0", [(events.ALERT, None)]),
                (exchange.response, []),
                (b"\xff\xff\xff", []),
                (b"\0\x05abc", []),
            ):
                for feed in (Machine.receive, byte_by_byte):
                    machine = exchange.sent()
                    self.assertEqual(feed(machine, exchange.response + trailing), [answer] + more)
                    self.next_exchange_works(machine)

    def next_exchange_works(self, machine):
        machine.pause()
        machine.abandon()
        machine.begin(RIGHT_NUMBER.message)
        machine.output()
        self.assertEqual(machine.receive(WRONG_NUMBER.response), [(events.IGNORED, None)])

    def test_alerts_before_and_between(self):
        for exchange in ANSWERED:
            machine = exchange.sent()
            self.assertEqual(
                machine.receive(b"\0\0" + exchange.response + b"\0\0"),
                [(events.ALERT, None), (events.ANSWER, exchange.reply)],
            )
            machine = exchange.sent()
            self.assertEqual(
                byte_by_byte(machine, b"\0\0\0\0" + exchange.response + b"\0\0"),
                [(events.ALERT, None)] * 2 + [(events.ANSWER, exchange.reply), (events.ALERT, None)],
            )

    def test_the_wrong_sequence_number_leads_to_the_right_one(self):
        for feed in (Machine.receive, byte_by_byte):
            machine = WRONG_NUMBER.sent()
            self.assertEqual(feed(machine, WRONG_NUMBER.response), [(events.SEND, None)])
            self.assertEqual(machine.output(), RIGHT_NUMBER.request)
            self.assertEqual(feed(machine, RIGHT_NUMBER.response), [(events.ANSWER, RIGHT_NUMBER.reply)])
            self.assertEqual(machine.resyncs, 1)

    def test_numbers_follow_each_other(self):
        machine = Machine(KEY, sequence=EXCHANGES[3].sequence)
        for exchange in EXCHANGES[3:6]:
            machine.begin(exchange.message)
            self.assertEqual(machine.output(), exchange.request)
            self.assertEqual(machine.receive(exchange.response), [(events.ANSWER, exchange.reply)])

    def test_table_data(self):
        self.assertEqual(table_data(EXCHANGES[4].message, EXCHANGES[4].reply), b"\x6f\0\1\1\0")
        self.assertEqual(len(table_data(EXCHANGES[5].message, EXCHANGES[5].reply)), 111)
        self.assertEqual(table_data(EXCHANGES[2].message, EXCHANGES[2].reply), b"")

    def test_damage_at_any_byte_never_yields_data(self):
        for exchange in ANSWERED:
            for at in range(len(exchange.response)):
                for damage in (0x01, 0x02, 0x80, 0xFF):
                    spoiled = bytearray(exchange.response)
                    spoiled[at] ^= damage
                    for kind, _ in exchange.sent().receive(bytes(spoiled)):
                        self.assertNotEqual(kind, events.ANSWER, "%s at %d" % (exchange.name, at))

    def test_another_key_never_yields_data(self):
        for exchange in ANSWERED:
            machine = Machine(bytes(range(16)), sequence=exchange.sequence)
            machine.begin(exchange.message)
            self.assertNotEqual(machine.output(), exchange.request)
            self.assertEqual(machine.receive(exchange.response), [(events.IGNORED, None)])

    def test_no_answer_serves_another_request(self):
        for exchange in EXCHANGES:
            for other in EXCHANGES:
                if other is not exchange:
                    self.assertEqual(
                        exchange.sent().receive(other.response), [(events.IGNORED, None)], exchange.name
                    )
