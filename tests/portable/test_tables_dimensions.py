"""Dimensions: where they come from, what is not believed, and what happens when they move."""

import asyncio
import unittest

from gateway.c1219.readers import present, registers
from gateway.c1219.tables import Tables
from gateway.errors import Refused, TableError
from gateway.transmission import registry
from tests.fake_meter import FakeMeter, bt01, by_name, dimensions, put, run, standard


def small_meter(**dims):
    tables = standard(**dims)
    tables[23] = bytes(range(1, 221))
    tables[28] = bytes(220)
    return FakeMeter(tables)


def reads_of(meter, *numbers):
    return [r for r in meter.reads if r[0] in numbers]


class TestFallback(unittest.TestCase):
    def check(self, code):
        meter = small_meter()
        meter.absent_code = code
        meter.tables[1] = bt01(0x2020)
        del meter.tables[21]
        meter.tables[20] = dimensions(summations=15, tiers=4)
        meter.tables[23] = bytes(300)
        (reading,) = run(registers.read(Tables(meter)))
        self.assertIn("OBIS_8.8.0", by_name(reading))
        self.assertEqual(reads_of(meter, 23), [(23, 0, 300)])

    def test_bt20_stands_in_for_an_absent_bt21(self):
        self.check(5)
        self.check(4)

    def test_one_bad_answer_does_not_shift_every_register(self):
        meter = small_meter()
        meter.tables[20] = dimensions(summations=15)
        refusals = [1]

        def refuse_once(table, offset, count):
            if table == 21 and refusals:
                refusals.pop()
                raise Refused("busy", 4, 21)

        meter.before_read = refuse_once
        (reading,) = run(registers.read(Tables(meter)))
        self.assertEqual(reads_of(meter, 23), [(23, 0, 220)])
        self.assertFalse("OBIS_8.8.0" in by_name(reading))

    def test_no_permission_is_not_absence(self):
        meter = small_meter()
        meter.absent_code = 3
        del meter.tables[21]
        meter.tables[20] = dimensions()
        with self.assertRaises(Refused):
            run(registers.read(Tables(meter)))

    def test_neither_bt21_nor_bt20(self):
        meter = small_meter()
        del meter.tables[21]
        with self.assertRaises(Refused) as caught:
            run(registers.read(Tables(meter)))
        self.assertEqual(caught.exception.table, 20)


class TestBounds(unittest.TestCase):
    def test_absurd_dimensions_are_refused_before_anything_is_read(self):
        for wrong in (
            {"summations": 33}, {"summations": 255}, {"tiers": 9}, {"demands": 9}, {"coincidents": 255},
            {"demands": 8, "occurrences": 255}, {"present_demands": 200}, {"present": 255},
        ):  # fmt: skip
            meter = small_meter(**wrong)
            for reader in (registers, present):
                with self.assertRaises(TableError):
                    run(reader.read(Tables(meter)))
            self.assertFalse(reads_of(meter, 22, 23, 27, 28))

    def test_everything_a_table_may_claim_fits(self):
        meter = small_meter(
            summations=32, tiers=8, demands=8, coincidents=16, occurrences=2, flags=0x37, present=128
        )
        meter.tables[22] = bytes(32 + 8 + 1 + 32)
        meter.tables[23] = bytes(1 + 9 * (4 * 32 + 8 * (10 + 8 + 8) + 16 * 8))
        (reading,) = run(registers.read(Tables(meter)))
        self.assertEqual(len(reading.values), 1 + 9 * (32 + 8 * 4 + 16 * 2))

    def test_nothing_at_all(self):
        meter = small_meter(summations=0, tiers=0, present=0)
        (reading,) = run(registers.read(Tables(meter)))
        self.assertEqual(len(reading.values), 0)
        (reading,) = run(present.read(Tables(meter)))
        self.assertEqual(len(reading.values), 0)

    def test_short_tables_are_errors(self):
        for table, length in ((21, 9), (1, 15), (23, 219), (28, 0), (2052, 100)):
            meter = small_meter()
            meter.tables[table] = bytes(meter.tables[table])[:length]
            reader = present if table == 28 else registers
            error = IndexError if False else TableError
            with self.assertRaises(error):
                run(reader.read(Tables(meter)))


class TestMovingDimensions(unittest.TestCase):
    def test_dimensions_are_read_once_while_they_stand(self):
        meter = small_meter()
        tables = Tables(meter)
        for _ in range(3):
            run(registers.read(tables))
            run(present.read(tables))
        self.assertEqual(len(reads_of(meter, 21)), 1)
        self.assertEqual(len(reads_of(meter, 23)), 3)

    def test_a_driver_that_counts_resynchronisations_spares_the_question(self):
        meter = small_meter()
        meter.resyncs = 0
        tables = Tables(meter)
        for _ in range(3):
            run(present.read(tables))
        self.assertEqual(len(reads_of(meter, 2052)), 1)
        meter.resyncs = 1  # moved, but not for the dimensions' sake
        run(present.read(tables))
        self.assertEqual(len(reads_of(meter, 2052)), 2)
        self.assertEqual(len(reads_of(meter, 21)), 1)

    def reconfigure(self, meter, counted):
        """11 summations become 15, between the dimensions and the registers, as a head-end may do."""

        def change(table, offset, count):
            if table == 23 and meter.tables[2052][116] == 7:
                meter.tables[2052][116] = 8
                meter.tables[21] = dimensions(summations=15)
                data = bytearray(300)
                for i in range(75):
                    put(data, 4 * i, 1000 + i)
                meter.tables[23] = data
                if counted:
                    meter.resyncs += 1

        meter.before_read = change

    def test_a_change_in_the_middle_of_a_reading_is_noticed(self):
        for counted in (False, True):
            meter = small_meter()
            meter.resyncs = 0 if counted else None
            self.reconfigure(meter, counted)
            (reading,) = run(registers.read(Tables(meter)))
            found = by_name(reading)
            self.assertEqual(found["OBIS_8.8.0"].mantissa, 1014)
            self.assertEqual(found["OBIS_1.8.4"].mantissa, 1060)
            self.assertEqual(reads_of(meter, 23), [(23, 0, 220), (23, 0, 300)])

    def test_a_refusal_because_the_table_shrank_is_no_failure(self):
        meter = small_meter(summations=15)
        meter.tables[23] = bytes(300)
        tables = Tables(meter)
        run(registers.read(tables))
        meter.tables[2052][116] = 9
        meter.tables[21] = dimensions(summations=11)
        meter.tables[23] = bytes(220)
        (reading,) = run(registers.read(tables))
        self.assertEqual(len(reading.values), 35)

    def test_dimensions_that_never_stand_still(self):
        meter = small_meter()

        def change(table, offset, count):
            if table == 23:
                meter.tables[2052][116] = (meter.tables[2052][116] + 1) & 255

        meter.before_read = change
        with self.assertRaises(TableError):
            run(registers.read(Tables(meter)))

    def test_two_readers_at_once_both_notice(self):
        meter = small_meter()
        self.reconfigure(meter, False)
        tables = Tables(meter)

        async def both():
            return await asyncio.gather(registers.read(tables), present.read(tables), registers.read(tables))

        for (reading,) in run(both()):
            if len(reading.values) != 55:
                self.assertEqual(by_name(reading)["OBIS_1.8.4"].mantissa, 1060)

    def test_a_meter_without_et04_is_read_all_the_same(self):
        meter = small_meter()
        del meter.tables[2052]
        (reading,) = run(registers.read(Tables(meter)))
        self.assertEqual(len(reading.values), 35)


class TestProperties(unittest.TestCase):
    def test_every_source_of_the_guide_has_a_number(self):
        from gateway.c1219.sources import name_of

        for source in range(245):
            # No source, reserved for the meter itself, or keys into ET66.
            if source in (85, 86, 87, 200) or 112 <= source <= 163:
                self.assertEqual(name_of(source), "OSGP_source_%d" % source)
            else:
                self.assertIsNotNone(registry.number(name_of(source)))
