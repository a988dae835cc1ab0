"""Procedures and transactions: the guide's bytes, and what comes of each answer."""

import asyncio
import binascii
import json
import unittest

from gateway import clock
from gateway.c1219 import procedures, transactions
from gateway.errors import ProcedureFailed, Refused, TableError
from gateway.meter import Meter

VECTORS = __file__.replace("\\", "/").rsplit("/", 2)[0] + "/vectors/mep_rc4.json"
PARTS = [(0x80B, 0, 10), (20, 0, 10), (21, 0, 10), (0x804, 55, 1), (0x80E, 0, 12), (0x80F, 0, 31)]
EP17 = 2048 + 17


def message(name, side):
    with open(VECTORS) as file:
        for exchange in json.load(file)["exchanges"]:
            if exchange["name"].startswith(name):
                return binascii.unhexlify(exchange[side]["message"])
    raise ValueError(name)


class FakeMeter(Meter):
    """`answers`: what each read of a response table gives; `refusals`: codes for the next writes."""

    def __init__(self, answers=(), refusals=()):
        self.answers = list(answers)
        self.refusals = list(refusals)
        self.written = []
        self.reads = []

    async def read(self, table, offset=None, count=None):
        self.reads.append((table, offset, count))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(self.written[-1][1])
        return answer[:count] if count is not None else answer

    async def write(self, table, data, offset=None):
        self.written.append((table, data, offset))
        if self.refusals:
            code = self.refusals.pop(0)
            if code:
                raise Refused("no", code, table)


def answered(code, more=b""):
    """A response table that answers the call just written."""
    return lambda call: call[:3] + bytes((code,)) + more


def run(coroutine):
    return asyncio.run(coroutine)


class TestProcedures(unittest.TestCase):
    def setUp(self):
        clock.set_scale(1000)

    def tearDown(self):
        clock.set_scale(1)

    def call(self, meter, *arguments):
        return run(procedures.Procedures(meter, procedures.ET59).call(*arguments))

    def test_the_guides_call(self):
        written = message("procedure EP17", "request")
        self.assertEqual(procedures.request(EP17, 7, b"\x00\xf8\x03"), written[5:])

    def test_a_call_and_its_output(self):
        meter = FakeMeter([answered(0, b"\x2a\x00")])
        self.assertEqual(self.call(meter, EP17, b"\x00\xf8\x03", 2), b"\x2a\x00")
        self.assertEqual(meter.reads, [(procedures.ET59, 0, 6)])
        self.assertEqual((meter.written[0][0], meter.written[0][2]), (7, None))

    def test_numbers_are_those_of_mep_clients_and_differ(self):
        meter = FakeMeter([answered(0)] * 12)
        calling = procedures.Procedures(meter, procedures.BT08)
        for _ in range(12):
            run(calling.call(EP17))
        numbers = [data[2] for _, data, _ in meter.written]
        self.assertTrue(all(5 <= number <= 9 for number in numbers))
        self.assertTrue(all(a != b for a, b in zip(numbers, numbers[1:])))  # noqa: B905

    def test_a_repeated_number_or_a_busy_meter_gets_the_next(self):
        meter = FakeMeter([answered(0)], [4, 4, 0])
        self.call(meter, EP17)
        numbers = [data[2] for _, data, _ in meter.written]
        self.assertEqual(len(set(numbers)), 3)
        meter = FakeMeter([], [4] * 10)
        self.assertRaises(Refused, self.call, meter, EP17)
        self.assertEqual(len(meter.written), 4)

    def test_another_refusal_is_not_tried_again(self):
        meter = FakeMeter([], [3])
        self.assertRaises(Refused, self.call, meter, EP17)
        self.assertEqual(len(meter.written), 1)

    def test_each_result_is_told(self):
        for code in range(2, 9):
            with self.assertRaises(ProcedureFailed) as caught:
                self.call(FakeMeter([answered(code)]), EP17)
            self.assertEqual((caught.exception.result, caught.exception.procedure), (code, EP17))
            self.assertIn("EP17", str(caught.exception))

    def test_a_response_that_comes_later(self):
        meter = FakeMeter([b"\x01\x00\x05\x00", answered(1), answered(0)])
        self.assertEqual(self.call(meter, EP17), b"")
        self.assertEqual(len(meter.reads), 3)

    def test_a_response_that_never_comes(self):
        self.assertRaises(TableError, self.call, FakeMeter([b"\x01\x00\x05\x00"] * 4), EP17)
        self.assertRaises(ProcedureFailed, self.call, FakeMeter([answered(1)] * 4), EP17)
        self.assertRaises(TableError, self.call, FakeMeter([b"\x01\x00"]), EP17)

    def test_where_responses_stand(self):
        class Tables:
            meter = None

        absent = Refused("no", 4)
        for answers, table in (
            ([b"\x00\x01", b"\x02"], procedures.ET85),
            ([b"\x00\x01", b"\x01", b"\x02"], procedures.ET59),
            ([b"\x00\x00", b"\x03"], procedures.ET59),
            ([b"\x00\x00", b"\x01"], procedures.BT08),
            ([absent, b"\x02"], procedures.ET59),
            ([absent, absent], procedures.BT08),
        ):
            tables = Tables()
            tables.memo = {}
            tables.meter = FakeMeter(answers)
            self.assertEqual(run(procedures.response_table(tables)), table)


class TestTransactions(unittest.TestCase):
    def setUp(self):
        self.request = message("transaction of six", "request")[8:]
        self.response = message("whole response", "response")[3:]

    def test_the_guides_request(self):
        self.assertEqual(transactions.encode(1, PARTS), self.request)

    def test_the_guides_response(self):
        found = transactions.decode(self.response, 1, PARTS)
        self.assertEqual([len(part) for part in found], [count for _, _, count in PARTS])
        self.assertEqual(found[3], b"\x04")

    def test_a_read_writes_once_and_asks_for_exactly_the_response(self):
        meter = FakeMeter([self.response, self.response])
        found = run(transactions.read(meter, 1, PARTS))
        self.assertEqual(found[0], self.response[10:20])
        self.assertEqual(meter.written, [(2100, self.request, 0)])
        self.assertEqual(meter.reads, [(2101, 0, 5), (2101, 0, 111)])

    def test_the_shared_tables_are_locked_and_unlocked(self):
        meter = FakeMeter([answered(0), self.response, self.response, answered(0)])
        run(transactions.read(meter, 1, PARTS, lock=procedures.Procedures(meter, procedures.ET59)))
        locks = [data[3:] for table, data, _ in meter.written if table == 7]
        self.assertEqual(locks, [b"\x01", b"\x00"])

    def test_they_are_unlocked_after_an_error_too(self):
        meter = FakeMeter([answered(0), b"\x6f\x00\x01\x02\x00", answered(0)])
        lock = procedures.Procedures(meter, procedures.ET59)
        self.assertRaises(TableError, run, transactions.read(meter, 1, PARTS, lock=lock))
        self.assertEqual(meter.written[-1][1][3:], b"\x00")

    def test_what_is_torn_or_anothers_is_not_believed(self):
        good = self.response
        for bad in (
            good[:3] + b"\x02" + good[4:],
            good[:-2] + b"\x02\x00",
            good[:2] + b"\x02" + good[3:],
            good[:2] + b"\x00" + good[3:],
            good[:5] + b"\xff\xff" + good[7:],
            good[:5] + b"\x00\x00" + good[7:],
            good[:9] + b"\x0b" + good[10:],
            b"\x05\x00\x01\x01\x00",
            b"\xff\xff" + good[2:],
        ):
            self.assertRaises(TableError, transactions.decode, bad, 1, PARTS)
        self.assertRaises(TableError, transactions.decode, good, 1, PARTS[:-1])
        self.assertRaises(TableError, transactions.decode, good, 1, PARTS + PARTS[:1])

    def test_a_part_that_is_refused(self):
        with self.assertRaises(Refused) as caught:
            transactions.decode(b"\x0a\x00\x01\x01\x00\x01\x00\x03\x01\x00", 1, [(23, 0, 4)])
        self.assertEqual((caught.exception.code, caught.exception.table), (3, 23))

    def test_what_does_not_fit_is_refused(self):
        self.assertRaises(TableError, transactions.encode, 1, PARTS * 20)
        self.assertEqual(len(transactions.encode(1, PARTS * 14, 896)), 5 + 84 * 10 + 2)
