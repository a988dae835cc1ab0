"""Frames give back what was put in, on both interpreters alike."""

import binascii
import json
import unittest

from gateway.errors import FrameError
from gateway.transmission import frames, ids, registry
from gateway.transmission.model import (
    ALARM,
    EVENT,
    IDENTITY,
    LOAD_PROFILE,
    PRESENT,
    REGISTERS,
    SELF_READ,
    Column,
    Event,
    Reading,
    Series,
    Timestamp,
    Value,
)

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/"
METER = binascii.unhexlify("bf17c6a082ce4214adbd5a7e4ecdb0ff")
BIG = 0x7FFFFFFFFFFFFFFF


def told(item):
    """Everything an item says, as data that compares."""
    if isinstance(item, Reading):
        values = [
            (v.prop, v.mantissa, v.exponent if v.mantissa is not None else 0, v.unit, v.text, v.date)
            for v in item.values
        ]
        return (item.kind, item.time, values, list(item.faults), item.stored, item.identifier, item.source)
    if isinstance(item, Series):
        columns = [(c.prop, list(c.mantissas), c.exponent, c.unit) for c in item.columns]
        return (item.kind, list(item.times), columns, item.offset, list(item.faults), list(item.origins))
    return (item.kind, item.time, item.code, item.sequence, item.stamp, item.argument, list(item.faults))


class TestRoundTrips(unittest.TestCase):
    def same(self, items, epoch=0xDEADBEEF, sequence=100000):
        payload = frames.encode(METER, epoch, sequence, items)
        frame = frames.decode(payload, METER)
        self.assertEqual((frame.epoch, frame.sequence), (epoch, sequence))
        self.assertEqual((1, frame.kind, frame.cls, epoch, sequence), frames.head(payload))
        self.assertEqual([told(item) for item in frame.items], [told(item) for item in items])
        return payload

    def test_extreme_values_survive(self):
        numbers = (0, 1, -1, 2147483647, -2147483648, 4294967295, BIG, -BIG - 1)
        for first in numbers:
            for second in numbers:
                self.same([Reading(REGISTERS, Timestamp(1700000000), [Value(1, first), Value(3, second)])])
        self.same([Series(PRESENT, [0, 10] * 4, [Column(0, numbers, -3, "kW")])])
        self.same([Series(PRESENT, [10 * i for i in range(64)], [Column(0, numbers * 8)])])

    def test_overlapping_runs_of_faults(self):
        def size(faults):
            return len(
                self.same([Series(PRESENT, [10 * i for i in range(96)], [Column(0, [1] * 96)], None, faults)])
            )

        plain = [(row, 5) for row in range(96)]
        crossed = plain[:40] + [one for row in range(40, 60) for one in ((row, 5), (row, 6))] + plain[60:]
        self.assertTrue(size(crossed) <= size(plain) + 6)  # one run more, not twenty of each
        size([(0, 6), (0, 5), (1, 5), (1, 6), (1, "odd"), (1, 6), (7, 5), (95, 700)])

    def test_odd_readings(self):
        time = Timestamp(1683368310, "0250", 60)
        values = [
            Value("OBIS_1.8.0.77", 5, 2, "furlong/fortnight"),
            Value(registry.obis(96, 1, 0), None, text="12 345\u00e9"),
            Value(registry.obis(1, 8, 0), -17, -4096, None, date=Timestamp(1683368310, "0250", 60)),
            Value(registry.obis(1, 8, 0), None, 0, "kWh", date=Timestamp(-62135596800, "1", -1439)),
            Value("", 0, 4096, "", date=Timestamp(253402300799, "", 0)),
        ]
        self.same([Reading(SELF_READ, time, values, [0, 3, "FC456", ""], (7, b"\x17\x0b", -5, b""))])
        self.same([Reading(SELF_READ, time, values, [], None, bytes(range(16)), b"\x01\x02" * 300)])
        self.same([Reading(IDENTITY, Timestamp(1704067200), [])], 0, 0)

    def test_readings_with_one_layout_and_with_another(self):
        items = [
            Reading(
                REGISTERS, Timestamp(1700000000 + 900 * i, "", None if i % 2 else 120), [Value(1, 5 * i, -3)]
            )
            for i in range(5)
        ]
        items.append(Reading(REGISTERS, Timestamp(0), [Value(5, 1), Value(3, -1), Value(3, 2, -3, "V")]))
        self.same(items, 0xFFFFFFFF, frames.MAX_SEQUENCE)

    def test_series_with_gaps_faults_and_origins(self):
        columns = [
            Column(1, [None, 5, 6, None, 9], -3, "kWh"),
            Column("x", [None] * 5, 0, "y"),
            Column(3, [1, 2, 3, 4, None]),
        ]
        times = [1700000100 + 900 * i for i in range(5)]
        faults = [(0, 5), (0, "odd"), (1, "odd"), (1, 5), (2, 5), (4, 7)]
        origins = [(2, 1, 4000000000, 65535, 94), (3, 1, 4000000000, 65536, 0)]
        self.same([Series(LOAD_PROFILE, times, columns, 60, faults, origins)])
        self.same(
            [
                Series(LOAD_PROFILE, times, columns),
                Series(LOAD_PROFILE, [], []),
                Series(LOAD_PROFILE, [9], []),
            ]
        )

    def test_events(self):
        stamp = bytes((23, 11, 14, 22, 13, 20))
        items = [
            Event(EVENT, Timestamp(1700000000), 17, 4294967295, stamp, b"\x01\x02"),
            Event(EVENT, Timestamp(1700000000, "", 60), 2047, 3, b"", b"", [0]),
            Event(EVENT, Timestamp(946684800), 0, 4, bytes((0, 1, 1, 0, 0, 0)), bytes(40)),
            Event(EVENT, Timestamp(4102444799), -1, -9, bytes((99, 12, 31, 23, 59, 59))),
            Event(EVENT, Timestamp(4102444800), BIG, BIG, bytes((0, 1, 1, 0, 0, 0))),
        ]
        self.same(items)
        self.assertTrue(
            len(self.same([Event(ALARM, Timestamp(1700000000), 17, 12345, stamp, b"\x01\x02")])) < 26
        )

    def test_every_day_of_a_leap_year_is_recognised_in_an_event(self):
        # A stamp that fits the time takes no bytes: the frame's size shows it.
        month_days = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
        day = 0
        for month in range(12):
            for date in range(month_days[month]):
                time = Timestamp(1704067200 + 86400 * day)
                stamp = bytes((24, month + 1, date + 1, 0, 0, 0))
                payload = self.same([Event(EVENT, time, 1, 1, stamp)])
                self.assertTrue(len(payload) < 24)
                day += 1

    def test_a_long_series_is_split_and_keeps_its_rows(self):
        numbers = []
        state = 1
        for _ in range(900):
            state = state * 1103515245 + 12345 & 0x7FFFFFFF
            numbers.append(state * state)
        times = [1700000100 + 900 * i for i in range(900)]
        series = Series(
            LOAD_PROFILE,
            times,
            [Column(1, numbers), Column(3, numbers)],
            None,
            [(i, 3) for i in range(890, 900)],
            [(800, 1, 2, 3, 50), (100, 1, 2, 4, 0)],
        )
        self.assertRaises(FrameError, frames.encode, METER, 1, 1, [series])
        rows = []
        some = frames.split([series])
        self.assertTrue(len(some) > 1)
        for items in some:
            payload = self.same(items)
            self.assertTrue(len(payload) <= frames.MAX_FRAME)
            rows.extend(ids.frame_ids(METER, frames.decode(payload, METER)))
        whole = [ids.interval_id(METER, 1, 2, 3, 50 + i) for i in range(800)]
        whole += [ids.interval_id(METER, 1, 2, 4, i) for i in range(100)]
        self.assertEqual(rows, whole)

    def test_registers_beyond_a_frame_come_as_readings_of_one_time(self):
        values = [Value("OSGP_coincident_3.7.0_at_1.6.0_%d" % i, i) for i in range(400)]
        parts = frames.split([Reading(REGISTERS, Timestamp(1719837015), values, (3,))])
        self.assertTrue(len(parts) > 1)
        told = []
        for (part,) in parts:
            self.assertTrue(len(frames.encode(bytes(16), 1, 1, [part])) <= frames.MAX_FRAME)
            self.assertEqual((part.time.seconds, tuple(part.faults)), (1719837015, (3,)))
            told.extend([value.mantissa for value in part.values])
        self.assertEqual(told, list(range(400)))

    def test_parts_of_a_self_read_have_the_same_ids_each_time(self):
        values = [Value("OSGP_coincident_3.7.0_at_1.6.0_%d" % i, i) for i in range(400)]
        reading = Reading(SELF_READ, Timestamp(0), values, (), (1, bytes(5)))
        told = []
        for (part,) in frames.split([reading]):
            items = frames.decode(frames.encode(METER, 1, 1, [part]), METER)
            told.extend(ids.frame_ids(METER, items))
        again = []
        for (part,) in frames.split([reading]):
            items = frames.decode(frames.encode(METER, 77, 9, [part]), METER)
            again.extend(ids.frame_ids(METER, items))
        self.assertEqual(told, again)
        self.assertEqual(len(set(told)), len(told))

    def test_split_keeps_kinds_apart_and_says_what_never_fits(self):
        reading = Reading(REGISTERS, Timestamp(0), [Value(1, 1)])
        event = Event(EVENT, Timestamp(0), 1, 1, b"")
        some = frames.split([reading, reading, event, reading])
        self.assertEqual([len(items) for items in some], [2, 1, 1])
        self.assertEqual(frames.split([]), [])
        self.assertRaises(FrameError, frames.split, [Event(EVENT, Timestamp(0), 1, 1, bytes(9000))])


class TestRefusals(unittest.TestCase):
    def test_what_no_frame_carries(self):
        good = [Value(1, 1)]
        for items in (
            [],
            [Reading(REGISTERS, Timestamp(0), good), Reading(PRESENT, Timestamp(0), good)],
            [Reading(EVENT, Timestamp(0), good), Event(EVENT, Timestamp(0), 1, 1, b"")],
            [Reading(REGISTERS, Timestamp(0), [Value(1, BIG + 1)])],
            [Reading(REGISTERS, Timestamp(0), [Value(registry.COUNT, 1)])],
            [Reading(REGISTERS, Timestamp(0), [Value(-1, 1)])],
            [Reading(REGISTERS, Timestamp(0), [Value(1, 1, 4097)])],
            [Reading(REGISTERS, Timestamp(0), [Value(1, 1, text="1")])],
            [Reading(REGISTERS, Timestamp(0, "1x"), good)],
            [Reading(REGISTERS, Timestamp(0, "", 1440), good)],
            [Reading(REGISTERS, Timestamp(1 << 40), good)],
            [Series(PRESENT, [0, -1 << 40], [Column(1, [1, 2])])],
            [Reading(REGISTERS, Timestamp(0), good, identifier=b"short")],
            [Series(PRESENT, [0, 1], [Column(1, [1])])],
            [Series(PRESENT, [0], [Column(1, [1])], None, [(1, 1)])],
            [Series(PRESENT, [0], [Column(1, [1])], None, [], [(1, 1, 1, 1, 1)])],
            [Series(LOAD_PROFILE, [0, 1], [Column(1, [1, 2])], None, [], [(1, 1, 1, 1, 1)])],
            [Series(PRESENT, [0] * 40000, [Column(1, [1] * 40000)])],
        ):
            self.assertRaises(FrameError, frames.encode, METER, 1, 1, items)
        item = [Reading(REGISTERS, Timestamp(0), good)]
        for meter, epoch, sequence in (
            (METER[1:], 1, 1),
            (METER, -1, 1),
            (METER, 1 << 32, 1),
            (METER, 1, -1),
            (METER, 1, frames.MAX_SEQUENCE + 1),
        ):
            self.assertRaises(FrameError, frames.encode, meter, epoch, sequence, item)

    def test_a_frame_of_another_meter_or_with_any_bit_wrong(self):
        payload = frames.encode(METER, 1, 2, [Reading(REGISTERS, Timestamp(0), [Value(1, 77)])])
        self.assertRaises(FrameError, frames.decode, payload, bytes(16))
        for at in range(8 * len(payload)):
            wrong = bytearray(payload)
            wrong[at // 8] ^= 1 << at % 8
            self.assertRaises(FrameError, frames.decode, bytes(wrong), METER)
        for length in range(len(payload)):
            self.assertRaises(FrameError, frames.decode, payload[:length], METER)
        self.assertRaises(FrameError, frames.decode, payload + b"\0", METER)

    def test_a_version_to_come_still_says_its_place(self):
        payload = bytearray(frames.encode(METER, 5, 6, [Reading(REGISTERS, Timestamp(0), [Value(1, 77)])]))
        payload[1] = 9
        payload[2] = 15
        self.assertEqual(frames.head(bytes(payload)), (9, 15, 2, 5, 6))

    def test_damage_behind_a_right_check_is_one_clear_error_or_a_frame(self):
        columns = [Column(1, [i * i % 97 for i in range(40)]), Column("text", list(range(40)), 1, "odd")]
        for items in (
            [Reading(REGISTERS, Timestamp(0), [Value(1, 77), Value("a", None, text="b")], [1], (1, b"2"))]
            * 2,
            [Series(PRESENT, [10 * i for i in range(40)], columns, 60, [(3, 4)])],
            [Event(EVENT, Timestamp(0), 1, 2, b"3", b"4", [5])] * 3,
        ):
            payload = frames.encode(METER, 1, 2, items)
            errors = 0
            for at in range(8 * 10, 8 * (len(payload) - 2)):
                wrong = bytearray(payload[:-2])
                wrong[at // 8] ^= 1 << at % 8
                check = binascii.crc32(wrong, binascii.crc32(METER))
                wrong += bytes((check >> 8 & 255, check & 255))
                try:
                    frames.decode(bytes(wrong), METER)
                except FrameError:
                    errors += 1
            self.assertTrue(errors > 0)


class TestSizes(unittest.TestCase):
    def test_one_reading_of_13_properties_takes_at_most_64_bytes(self):
        with open(VECTORS + "reference_reading.json") as file:
            message = json.load(file)["message"]
        values = []
        for item in message["propertyValues"]:
            text = item["numericalValue"]
            exponent = text.find(".") + 1 - len(text) if "." in text else 0
            number = registry.number("OBIS_" + item["propertyName"])
            values.append(Value(number, int(text.replace(".", "")), exponent, item["unit"]))
        self.assertEqual(len(values), 13)
        reading = Reading(REGISTERS, Timestamp(1683368310, "", 60), values, source=b"\x05")
        payload = frames.encode(ids.parse_uuid(message["meterId"]), 0xDEADBEEF, 100000, [reading])
        self.assertTrue(len(payload) <= 64)
