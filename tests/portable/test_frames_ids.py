"""Ids follow from what the meter stored, on both interpreters alike."""

import binascii
import unittest

from gateway.errors import FrameError
from gateway.transmission import envelope, frames, ids, registry
from gateway.transmission.model import (
    ALARM,
    EVENT,
    LOAD_PROFILE,
    REGISTERS,
    SELF_READ,
    Column,
    Event,
    Reading,
    Series,
    Timestamp,
    Value,
)
from gateway.transmission.rows import rows

METER = ids.meter_individual_id("NES", "12345678")


def through(items, epoch=7, sequence=9, meter=METER):
    return frames.decode(frames.encode(meter, epoch, sequence, items), meter)


def identifiers(items, epoch=7, sequence=9, meter=METER):
    return list(ids.frame_ids(meter, through(items, epoch, sequence, meter)))


def profile(mantissas, start=1700000100, block=300, first=90):
    times = [start + 900 * i for i in range(len(mantissas))]
    return Series(LOAD_PROFILE, times, [Column(1, mantissas)], None, [], [(len(times), 1, 5, block, first)])


class TestIds(unittest.TestCase):
    def test_known_values(self):
        # Computed once with CPython's uuid module.
        self.assertEqual(ids.format_uuid(METER), "334d878a-fa15-5be4-a74d-64d4914e811c")
        self.assertEqual(
            ids.format_uuid(ids.interval_id(METER, 1, 0x12345678, 300, 95)),
            "e45b0890-1754-5e73-8834-21d209d0c9b7",
        )
        event = Event(EVENT, Timestamp(0), 17, 12345, bytes((23, 11, 14, 22, 13, 20)), b"\x01")
        self.assertEqual(ids.format_uuid(ids.event_id(METER, event)), "9b8c9601-7d3d-5de5-b97e-494f3fdd407a")
        self.assertEqual(
            ids.format_uuid(ids.stored_id(METER, SELF_READ, (7, b"\x17"))),
            "be353350-482b-55f1-be6f-93323457faca",
        )
        self.assertEqual(
            ids.format_uuid(ids.row_id(METER, 0xDEADBEEF, 2, 100000, 0)),
            "6c630864-0417-59ce-8742-a2a0d321b5f2",
        )

    def test_padding_of_manufacturer_and_serial_does_not_count(self):
        self.assertEqual(ids.meter_individual_id("NES \0", " 12345678\0\0"), METER)

    def test_an_interval_read_twice_with_different_content_has_one_id(self):
        first = through([profile([100, 200])])
        second = through([profile([100, 201])], 8, 1)
        self.assertEqual(list(ids.frame_ids(METER, first)), list(ids.frame_ids(METER, second)))
        self.assertNotEqual(
            [list(column.mantissas) for column in first.items[0].columns],
            [list(column.mantissas) for column in second.items[0].columns],
        )

    def test_a_clock_set_back_gives_no_interval_the_id_of_another(self):
        before = identifiers([profile([1, 2, 3], 1700000100, 300, 90)])
        again = identifiers([profile([1, 2, 3], 1700000100, 300, 93)])
        for identifier in again:
            self.assertFalse(identifier in before)

    def test_a_log_reset_gives_events_new_ids_for_old_numbers(self):
        def event(day):
            return Event(EVENT, Timestamp(1700000000), 17, 1, bytes((23, 11, day, 0, 0, 0)))

        self.assertNotEqual(identifiers([event(14)]), identifiers([event(15)]))
        self.assertEqual(identifiers([event(14)]), identifiers([event(14)], 99, 99))

    def test_a_replaced_meter_has_ids_of_its_own(self):
        other = ids.meter_individual_id("NES", "87654321")
        self.assertNotEqual(identifiers([profile([1])]), identifiers([profile([1])], meter=other))

    def test_alarms_and_events_are_different_things(self):
        args = (Timestamp(0), 17, 12345, b"stamp", b"")
        self.assertNotEqual(identifiers([Event(EVENT, *args)]), identifiers([Event(ALARM, *args)]))

    def test_registers_have_ids_by_their_place(self):
        readings = [Reading(REGISTERS, Timestamp(1700000000), [Value(1, 5)]) for _ in range(2)]
        some = identifiers(readings) + identifiers(readings, 8, 9) + identifiers(readings, 7, 10)
        self.assertEqual(len(set(some)), 6)
        self.assertEqual(identifiers(readings), identifiers(readings))

    def test_a_self_read_has_the_id_of_what_the_meter_stored(self):
        def read(stored):
            return Reading(SELF_READ, Timestamp(0), [Value(1, 5)], (), stored)

        self.assertEqual(identifiers([read((7, b"\x17"))], 1, 1), identifiers([read((7, b"\x17"))], 2, 2))
        self.assertNotEqual(identifiers([read((7, b"\x17"))]), identifiers([read((8, b"\x17"))]))
        self.assertNotEqual(identifiers([read((7, b"8"))]), identifiers([read((7, 38))]))

    def test_an_explicit_identifier_stays(self):
        reading = Reading(REGISTERS, Timestamp(0), [Value(1, 5)], (), None, bytes(range(16)))
        self.assertEqual(identifiers([reading]), [bytes(range(16))])

    def test_rows_come_with_the_ids_of_the_frame(self):
        series = profile([100, None])
        series.faults = [(1, 3), (1, "odd")]
        frame = through([series])
        found = list(rows(frame, METER))
        self.assertEqual([identifier for identifier, _ in found], list(ids.frame_ids(METER, frame)))
        self.assertEqual([[v.mantissa for v in reading.values] for _, reading in found], [[100], []])
        self.assertEqual([list(reading.faults) for _, reading in found], [[], [3, "odd"]])
        series.faults = [(0, 256 + 32 * 7)]  # of the first column alone
        told = [list(reading.faults) for _, reading in rows(through([series]), METER)]
        prop = series.columns[0].prop
        self.assertEqual(told, [["OSGP_interval_skipped:%s" % registry.name(prop)], []])
        self.assertEqual(
            [reading.time for _, reading in found], [Timestamp(1700000100), Timestamp(1700001000)]
        )
        event = Event(EVENT, Timestamp(5), 17, 12345, b"\x01\x02", b"\xff")
        values = [list(rows(through([event]), METER))[0][1].values[i] for i in range(4)]
        self.assertEqual([value.mantissa for value in values], [17, 12345, None, None])
        self.assertEqual([value.text for value in values], [None, None, "0102", "ff"])


class TestUuids(unittest.TestCase):
    def test_text_and_bytes(self):
        text = "bf17c6a0-82ce-4214-adbd-5a7e4ecdb0ff"
        value = binascii.unhexlify("bf17c6a082ce4214adbd5a7e4ecdb0ff")
        self.assertEqual(ids.parse_uuid(text), value)
        self.assertEqual(ids.parse_uuid(text.upper()), value)
        self.assertEqual(ids.format_uuid(value), text)

    def test_only_real_uuids(self):
        for text in (
            "",
            "a1b2c3d4-e5f6-g7h8-i9j0-k1l2m3n4o5p6",
            "123e4567-e89b-12d3-a456-426614174abcd",
            "bf17c6a082ce4214adbd5a7e4ecdb0ff",
            "{bf17c6a0-82ce-4214-adbd-5a7e4ecdb0f}",
            "bf17c6a0-82ce-4214-adbd-5a7e4ecdb0f ",
            "bf17c6a0-82ce-4214-adbd-5a7e4ecdb0f\u0661",
            "bf17c6a0-82ce-4214-adbd-5a7e-ecdb0ff",
            "bf17c6a0x82ce-4214-adbd-5a7e4ecdb0ff",
        ):
            self.assertRaises(FrameError, ids.parse_uuid, text)


class TestEnvelopes(unittest.TestCase):
    def test_several_in_a_row(self):
        some = [
            (METER, b"x"),
            (bytes(16), bytes(255)),
            (METER, bytes(256)),
            (METER, bytes(8192)),
            (METER, b""),
        ]
        data = b"".join([envelope.wrap(meter, frame) for meter, frame in some])
        self.assertEqual(list(envelope.unwrap(data)), some)
        self.assertTrue(envelope.is_envelope(data))
        self.assertFalse(envelope.is_envelope(frames.encode(METER, 1, 1, [profile([1])])))
        self.assertEqual(list(envelope.unwrap(b"")), [])

    def test_a_file_cut_off_or_of_another_kind(self):
        data = envelope.wrap(METER, bytes(300))
        for length in range(1, len(data)):
            self.assertRaises(FrameError, list, envelope.unwrap(data[:length]))
        self.assertRaises(FrameError, list, envelope.unwrap(data + b"\0"))
        self.assertRaises(FrameError, envelope.wrap, METER[1:], b"")
        self.assertRaises(FrameError, envelope.wrap, METER, bytes(65536))
