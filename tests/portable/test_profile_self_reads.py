"""Self-reads: each that the meter stored comes once, with its registers, its sequence and its raw stamp."""

import unittest

from gateway.c1219.readers import registers, self_reads
from gateway.c1219.tables import Tables
from gateway.c1219.types import seconds_of
from gateway.errors import NoAnswer, Refused, TableError
from gateway.transmission import frames, registry
from gateway.transmission.model import SELF_READ
from tests.fake_meter import FakeMeter, amount, by_name, dimensions, put, run, standard


def rdate(month, offset, weekday, day):
    return month | offset << 4 | weekday << 8 | day << 11


class SelfReadMeter(FakeMeter):
    """BT26 by the guide's offsets: 6 bytes, then entries of BIDN (with demands only), local stamp, season
    and BT23. `truth`: sequence -> (stamp, first summation). `tick`: called before each answer."""

    def __init__(self, places=12, sequence=0, demands=0, summations=11, tiers=4, max_read=465):
        tables = standard(
            summations=summations, tiers=tiers, demands=demands, occurrences=1 if demands else 0
        )
        tables[21] = tables[21][:2] + bytes((places,)) + tables[21][3:]
        tables[22] = bytes((0, 1, 2, 3, 4, 5, 6, 7, 26, 27, 28, 108, 109, 110, 111, 255, 255, 255, 255))
        tables[22] = tables[22][:summations] + bytes((8, 9))[:demands] + (b"\xff" if demands else b"")
        tables[2090] = b"\0" * 8 + b"\x39\x05"
        # Central European time: last Sundays of March and October.
        tables[50] = bytes((3, 0x18, 0x2C, 0, 2, 0, 0, 0, 0))
        calendar = bytearray(6)
        put(calendar, 0, rdate(3, 6, 0, 1), 2)
        put(calendar, 3, rdate(10, 6, 0, 1), 2)
        calendar[2], calendar[5] = 1, 2
        tables[54] = bytes(calendar) + bytes(100)
        put(tables[2052], 63, 60, 2)
        FakeMeter.__init__(self, tables, max_read)
        self.demands = demands
        self.block = 4 * summations + 9 * demands
        self.registers = self.block * (tiers + 1)
        self.size = (2 if demands else 0) + 6 + self.registers
        self.places = places
        self.data = bytearray(6 + places * self.size)
        self.sequence = (sequence - 1) & 0xFFFF
        self.last = places - 1
        self.valid = 0
        self.truth = {}
        self.tick = None

    def record(self, stamp, billing=1337):
        self.last = (self.last + 1) % self.places
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.valid = min(self.valid + 1, self.places)
        at = 6 + self.last * self.size
        if self.demands:
            put(self.data, at, billing, 2)
            at += 2
        self.data[at : at + 5] = bytes(stamp)
        self.data[at + 5] = 2
        at += 6
        first = 1000 * self.sequence + 7
        for i in range(self.registers // 4):
            put(self.data, at + 4 * i, first + i)
        self.truth[self.sequence] = (bytes(stamp), first)

    def day(self, nth):
        """The nth day since 2024-01-01, at midnight; months of 28 days do for this."""
        self.record((24 + nth // 336, nth // 28 % 12 + 1, nth % 28 + 1, 0, 0))

    def held(self):
        return [(self.sequence - age) & 0xFFFF for age in range(self.valid - 1, -1, -1)]

    async def read(self, table, offset=None, count=None):
        if self.tick:
            self.tick()
        self.data[0:6] = bytes(
            (4, self.valid, self.last, self.sequence & 255, self.sequence >> 8, self.valid)
        )
        self.tables[26] = bytes(self.data)
        if table == 26 and offset + count > len(self.data):
            raise AssertionError("read beyond the last entry")
        return await FakeMeter.read(self, table, offset, count)


class Reader:
    def __init__(self, meter, cursor=None):
        self.meter = meter
        self.tables = Tables(meter)
        self.cursor = cursor
        self.found = []

    def step(self):
        step = run(self_reads.read(self.tables, self.cursor))
        self.found.extend(step.items)
        if step.items:
            assert len(frames.encode(bytes(16), 1, 1, step.items)) < 8192
        assert len(step.cursor) < 256
        self.cursor = step.cursor
        return step

    def all(self):
        while self.step().more:
            pass
        return self

    def sequences(self):
        return [reading.stored[0] for reading in self.found]


class Case(unittest.TestCase):
    def check(self, reader, sequences):
        self.assertEqual(reader.sequences(), sequences)
        for reading in reader.found:
            stamp, first = reader.meter.truth[reading.stored[0]]
            self.assertEqual((reading.kind, reading.stored[1]), (SELF_READ, stamp))
            found = by_name(reading)
            self.assertEqual(amount(found["OBIS_1.8.0"]), (first, -3, "kWh"))
            self.assertEqual(found["OBIS_4.8.0"].mantissa, first + 3)
            self.assertEqual(found["OBIS_1.8.1"].mantissa, first + reader.meter.block // 4)
            self.assertEqual(found["OSGP_season"].mantissa, 2)
            local = seconds_of(stamp)
            self.assertEqual(reading.time.seconds + 60 * reading.time.offset, local)


class TestSelfReads(Case):
    def test_all_that_is_there_and_then_only_the_new(self):
        meter = SelfReadMeter()
        reader = Reader(meter)
        self.assertEqual(reader.step().items, [])
        for nth in range(7):
            meter.day(nth)
        self.check(reader.all(), list(range(7)))
        reader.all()
        self.assertEqual(len(reader.found), 7)
        meter.day(7)
        meter.day(8)
        asked = len(meter.reads)
        reader.all()
        self.check(reader, list(range(9)))
        self.assertTrue(len(meter.reads) - asked <= 8)
        asked = len(meter.reads)
        reader.all()
        self.assertEqual([r for r in meter.reads[asked:] if r[0] == 26], [(26, 0, 6)])

    def test_the_ring_wraps_and_sequences_do(self):
        meter = SelfReadMeter(5, 0xFFFC)
        reader = Reader(meter)
        for nth in range(23):
            meter.day(nth)
            reader.all()
        self.check(reader, [(0xFFFC + nth) & 0xFFFF for nth in range(23)])
        for nth in range(23, 40):
            meter.day(nth)
        later = Reader(meter, reader.cursor).all()
        self.check(later, meter.held())

    def test_none_are_configured(self):
        meter = SelfReadMeter()
        meter.tables[21] = dimensions()
        self.assertEqual(Reader(meter).all().found, [])
        meter = SelfReadMeter()
        meter.tables[21] = dimensions()[:2] + b"\x05" + dimensions()[3:]
        self.assertEqual(Reader(meter).all().found, [])

    def test_with_demands_entries_name_their_billing_definition(self):
        other = registry.fault_number("OSGP_other_configuration")
        meter = SelfReadMeter(demands=2, summations=15)
        meter.record((24, 1, 31, 0, 0), 1336)
        meter.record((24, 2, 29, 0, 0))
        reader = Reader(meter).all()
        self.assertEqual(reader.sequences(), [0, 1])
        self.assertEqual([list(reading.faults) for reading in reader.found], [[other], []])
        for reading, number in ((reader.found[0], 1336), (reader.found[1], 1337)):
            found = by_name(reading)
            self.assertEqual(found["OSGP_billing_definition"].mantissa, number)
            self.assertIn("OBIS_1.6.4", found)
            self.assertEqual(found["OBIS_8.8.0"].mantissa, 1000 * reading.stored[0] + 7 + 14)

    def test_the_same_names_as_the_registers(self):
        meter = SelfReadMeter(demands=2, summations=15)
        meter.record((24, 1, 31, 0, 0))
        meter.tables[23] = bytes(meter.data[14 : 14 + meter.registers])
        (now,) = run(registers.read(Tables(meter)))
        (stored,) = Reader(meter).all().found
        found = [(v.prop, v.mantissa, v.exponent, v.unit, v.date) for v in stored.values]
        self.assertEqual(found[:-2], [(v.prop, v.mantissa, v.exponent, v.unit, v.date) for v in now.values])

    def test_large_entries_are_one_a_step(self):
        meter = SelfReadMeter(4, summations=19, tiers=8, demands=2)
        for nth in range(3):
            meter.day(nth)
        reader = Reader(meter)
        for _ in range(3):
            self.assertEqual(len(reader.step().items), 1)
        self.assertFalse(reader.step().items)

    def test_since_a_time(self):
        meter = SelfReadMeter()
        for nth in range(20):
            meter.day(nth)
        times = {reading.stored[0]: reading.time.seconds for reading in Reader(meter).all().found}
        for sequence in meter.held():
            for shift in (0, -100):
                reader = Reader(meter, self_reads.since(times[sequence] + shift)).all()
                self.check(reader, [one for one in meter.held() if one >= sequence])
        reader = Reader(meter, self_reads.since(times[19] + 1)).all()
        self.assertEqual(reader.found, [])
        meter.day(20)
        self.check(reader.all(), [20])

    def test_since_a_time_leaves_nothing_out_where_the_clock_was_wrong(self):
        for spoiled in range(2, 11):
            meter = SelfReadMeter()
            for nth in range(12):
                if nth == spoiled:
                    meter.record((23, 1, 1, 0, 0))
                else:
                    meter.day(nth)
            times = {reading.stored[0]: reading.time.seconds for reading in Reader(meter).all().found}
            found = Reader(meter, self_reads.since(times[1])).all().sequences()
            self.assertEqual(found[-11:], list(range(1, 12)))

    def test_garbage_begins_with_the_oldest(self):
        meter = SelfReadMeter()
        for nth in range(20):
            meter.day(nth)
        good = Reader(meter).all().cursor
        for cursor in (b"", b"\x01", b"\x02\x01", b"\x07" + good[1:], b"\x01\xff\xff" + good[3:],
                       b"\x01\x0a\x00" + good[3:], b"\x01\x0a\x00", b"\xff" * 90):  # fmt: skip
            self.check(Reader(meter, cursor).all(), meter.held())


class TestTimes(Case):
    def faults_of(self, stamp):
        meter = SelfReadMeter()
        meter.record(stamp)
        (reading,) = Reader(meter).all().found
        return reading, [registry.fault_name(fault) for fault in reading.faults]

    def test_local_stamps_of_both_halves_of_the_year(self):
        for stamp, utc, offset in (
            ((24, 1, 31, 0, 0), 1706655600, 60), ((24, 7, 31, 0, 0), 1722376800, 120),
            ((24, 3, 31, 0, 0), 1711839600, 60), ((24, 10, 28, 0, 0), 1730070000, 60),
        ):  # fmt: skip
            reading, faults = self.faults_of(stamp)
            self.assertEqual((reading.time.seconds, reading.time.offset, faults), (utc, offset, []))

    def test_an_hour_that_comes_twice(self):
        reading, faults = self.faults_of((24, 10, 27, 2, 30))
        self.assertEqual((reading.time.seconds, faults), (1729989000, ["OSGP_local_time_ambiguous"]))

    def test_a_stamp_that_is_none_keeps_the_values(self):
        for stamp in ((0, 0, 0, 0, 0), (255, 255, 255, 255, 255)):
            reading, faults = self.faults_of(stamp)
            self.assertEqual(faults, ["OSGP_stamp_invalid"])
            self.assertEqual(reading.stored, (0, bytes(stamp)))
            self.assertEqual(by_name(reading)["OBIS_1.8.0"].mantissa, 7)


class TestWhileItMoves(Case):
    def test_a_self_read_at_every_exchange(self):
        for at in range(1, 40):
            meter = SelfReadMeter(4)
            for nth in range(9):
                meter.day(nth)
            left = [at]

            def tick(meter=meter, left=left):
                left[0] -= 1
                if left[0] == 0:
                    meter.day(9)

            meter.tick = tick
            reader = Reader(meter).all()
            if left[0] <= 0:
                reader.all()
            meter.tick = None
            self.check(reader, reader.sequences())
            self.assertEqual(len(set(reader.sequences())), len(reader.found))
            for sequence in meter.held():
                self.assertIn(sequence, reader.sequences())

    def test_other_dimensions_at_every_exchange(self):
        for at in range(1, 40):
            meter = SelfReadMeter(6)
            for nth in range(9):
                meter.day(nth)
            other = SelfReadMeter(6, 9, demands=1, summations=15)
            other.day(9)
            left = [at]

            def tick(meter=meter, other=other, left=left):
                left[0] -= 1
                if left[0] == 0:
                    other.tables[2052][116] = 99
                    truth = meter.truth
                    truth.update(other.truth)
                    for name in ("tables", "data", "demands", "block", "registers", "size", "places"):
                        setattr(meter, name, getattr(other, name))
                    meter.sequence, meter.last, meter.valid = other.sequence, other.last, other.valid

            meter.tick = tick
            reader = Reader(meter)
            for _ in range(4):
                try:
                    reader.all()
                except AssertionError:
                    pass  # a read by old dimensions, beyond the new table: the fake says it its own way
            for reading in reader.found:
                stamp, first = meter.truth[reading.stored[0]]
                self.assertEqual(reading.stored[1], stamp)
                found = by_name(reading)
                self.assertEqual(found["OBIS_1.8.0"].mantissa, first)
                self.assertEqual("OBIS_1.6.0" in found, reading.stored[0] == 9)
            if left[0] <= 0:
                self.assertIn(9, reader.sequences())

    def test_errors_lose_nothing(self):
        meter = SelfReadMeter(20, max_read=48)
        for nth in range(20):
            meter.day(nth)
        count = [0]

        def tick():
            count[0] = (count[0] * 1103515245 + 12345) & 0x7FFFFFFF
            if (count[0] >> 16) % 8 == 0:
                raise NoAnswer("lost")

        meter.tick = tick
        reader = Reader(meter)
        for _ in range(300):
            try:
                if not reader.step().more:
                    break
            except NoAnswer:
                pass
        self.check(reader, list(range(20)))


class TestWhatIsNotBelieved(unittest.TestCase):
    def test_entries_beyond_the_dimensions(self):
        for valid, last in ((13, 0), (200, 0), (3, 12), (3, 255)):
            meter = SelfReadMeter()
            meter.day(0)
            meter.valid, meter.last = valid, last
            with self.assertRaises(TableError):
                Reader(meter).all()

    def test_a_meter_without_the_table(self):
        meter = SelfReadMeter()
        meter.day(0)

        def tick():
            meter.tables.pop(26, None)

        read = meter.read

        async def without(table, offset=None, count=None):
            if table == 26:
                raise Refused("none", 5, 26)
            return await read(table, offset, count)

        meter.read = without
        with self.assertRaises(Refused):
            Reader(meter).all()
