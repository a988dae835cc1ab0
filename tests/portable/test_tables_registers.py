"""BT23 in every arrangement: each value lands under its property, wherever the dimensions put it."""

import json
import unittest

from gateway.c1219.readers import registers
from gateway.c1219.tables import Tables
from gateway.errors import Refused, TableError
from tests.fake_meter import FakeMeter, amount, bt01, by_name, dimensions, put, run, standard

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/"

# The guide's order of summations (BT23), by hand: total's property, tier's property, unit.
SUMMATIONS = (
    ("OBIS_1.8.0", "OBIS_1.8.%d", "kWh"),
    ("OBIS_2.8.0", "OBIS_2.8.%d", "kWh"),
    ("OBIS_3.8.0", "OBIS_3.8.%d", "kvarh"),
    ("OBIS_4.8.0", "OBIS_4.8.%d", "kvarh"),
    ("OSGP_power_outage_seconds", None, "s"),
    ("OSGP_power_outage_count", None, None),
    ("OBIS_15.8.0", "OBIS_15.8.%d", "kWh"),
    ("OBIS_16.8.0", "OBIS_16.8.%d", "kWh"),
    ("OSGP_pulse_input_1", None, None),
    ("OSGP_pulse_input_2", None, None),
    ("OSGP_error_count", None, None),
    ("OBIS_5.8.0", "OBIS_5.8.%d", "kvarh"),
    ("OBIS_6.8.0", "OBIS_6.8.%d", "kvarh"),
    ("OBIS_7.8.0", "OBIS_7.8.%d", "kvarh"),
    ("OBIS_8.8.0", "OBIS_8.8.%d", "kvarh"),
    ("OSGP_apparent_energy_quadrant_1", "OSGP_apparent_energy_quadrant_1_tier_%d", "kVAh"),
    ("OSGP_apparent_energy_quadrant_2", "OSGP_apparent_energy_quadrant_2_tier_%d", "kVAh"),
    ("OSGP_apparent_energy_quadrant_3", "OSGP_apparent_energy_quadrant_3_tier_%d", "kVAh"),
    ("OSGP_apparent_energy_quadrant_4", "OSGP_apparent_energy_quadrant_4_tier_%d", "kVAh"),
)

# Demand sources for the tests: (BT22 id, C of its OBIS code, unit).
DEMANDS = (
    (8, 1, "kW"), (9, 2, "kW"), (10, 3, "kvar"), (11, 4, "kvar"),
    (20, 9, "kVA"), (104, 5, "kvar"), (105, 6, "kvar"), (106, 7, "kvar"),
)  # fmt: skip
COINCIDENTS = ((19, "14.7.0", "Hz"), (20, "9.7.0", "kVA"))
CUMULATIVE, CONTINUOUS, COUNTER = 0x10, 0x20, 0x04


def build(summations, tiers, demands, coincidents, flags):
    """(tables, {property: (mantissa, exponent, unit)}, {property of a demand or coincident: local minute}):
    offsets by BT23's chart of A, B, C and D, one occurrence, every value another."""
    a = 1 if flags & COUNTER else 0
    dated = 5 if flags & 0x02 else 0
    record = dated + (4 if flags & CUMULATIVE else 0) + (4 if flags & CONTINUOUS else 0) + 4
    b = a + 4 * summations
    c = b + demands * record
    d = c + coincidents * 4
    block = d - a
    data = bytearray(a + block * (tiers + 1))
    wanted, minutes = {}, {}
    if a:
        data[0] = 200
        wanted["OBIS_0.1.0"] = (200, 0, None)
    count = -70000

    def place(offset, name, unit):
        nonlocal count
        count += 1237
        put(data, offset, count)
        if name:
            wanted[name] = (count, 0 if unit in (None, "s") else -3, unit)

    for tier in range(tiers + 1):
        shift = tier * block
        for i in range(summations):
            total, tiered, unit = SUMMATIONS[i]
            place(shift + a + 4 * i, total if not tier else tiered and tiered % tier, unit)
        for i in range(demands):
            _, c_code, unit = DEMANDS[i]
            at = shift + b + i * record
            maximum = "%d.%d.%d" % (c_code, 3 if i == 1 else 6, tier)
            if dated:
                minutes["OBIS_" + maximum] = 60 * tier + i
                data[at : at + 5] = bytes((24, 6, 30, 12 + tier, i))
            at += dated
            if flags & CUMULATIVE:
                place(at, "OBIS_%d.2.%d" % (c_code, tier), unit)
                at += 4
            if flags & CONTINUOUS:
                place(at, "OSGP_continuous_%d.2.%d" % (c_code, tier), unit)
                at += 4
            place(at, "OBIS_" + maximum, unit)
        for i in range(coincidents):
            owner = i // 2
            maximum = "%d.%d.%d" % (DEMANDS[owner][1], 3 if owner == 1 else 6, tier)
            _, name, unit = COINCIDENTS[i % 2]
            name = "OSGP_coincident_%s_at_%s" % (name, maximum)
            place(shift + c + 4 * i, name, unit)
            if dated:
                minutes[name] = 60 * tier + owner
    tables = standard(
        summations=summations, tiers=tiers, demands=demands, coincidents=coincidents,
        occurrences=1 if demands else 0, flags=flags,
    )  # fmt: skip
    tables[22] = (
        bytes((0, 1, 2, 3, 4, 5, 6, 7, 26, 27, 28, 108, 109, 110, 111, 0, 0, 0, 0))[:summations]
        + bytes([DEMANDS[i][0] for i in range(demands)])
        + (b"\xfd" if demands else b"")  # the second is a minimum
        + bytes([COINCIDENTS[i % 2][0] for i in range(coincidents)])
        + bytes([i // 2 for i in range(coincidents)])
    )
    tables[23] = bytes(data)
    return tables, wanted, minutes


def read(tables, max_read=465):
    meter = FakeMeter(tables, max_read)
    (reading,) = run(registers.read(Tables(meter)))
    return reading, meter


class TestEveryArrangement(unittest.TestCase):
    def check(self, summations, tiers, demands, coincidents, flags, max_read=465):
        tables, wanted, minutes = build(summations, tiers, demands, coincidents, flags)
        if summations == 19:
            tables[22] = tables[22][:15] + b"\xff\xff\xff\xff" + tables[22][19:]
        reading, meter = read(tables, max_read)
        found = by_name(reading)
        self.assertEqual(sorted(found), sorted(wanted))
        for name in wanted:
            self.assertEqual((name, amount(found[name])), (name, wanted[name]))
            date = found[name].date
            if name in minutes:
                # 2024-06-30T12:00 local and later, two hours ahead of UTC (BT53: one, and one for summer).
                self.assertEqual((date.seconds, date.offset), (1719741600 + 60 * minutes[name], 120))
            else:
                self.assertIsNone(date)
        return meter

    def test_without_demands(self):
        for summations in (11, 15, 19):
            for tiers in (4, 8):
                self.check(summations, tiers, 0, 0, 0x03)

    def test_with_reset_counter(self):
        for summations in (11, 15, 19):
            for tiers in (4, 8):
                self.check(summations, tiers, 0, 0, 0x07)

    def test_with_demands(self):
        for demands, flags in ((1, 0x07), (8, 0x07), (2, 0x17), (2, 0x27), (3, 0x37), (1, 0x05), (2, 0x31)):
            self.check(15, 4, demands, 0, flags)

    def test_with_coincidents(self):
        for summations in (11, 15, 19):
            for tiers in (4, 8):
                self.check(summations, tiers, 2, 4, 0x37)
        self.check(19, 8, 8, 16, 0x37)

    def test_no_block_is_torn_when_it_fits_one_answer(self):
        # 19 summations in 1 + 8 blocks of 76 bytes: six blocks fit 465 bytes.
        meter = self.check(19, 8, 0, 0, 0x03)
        self.assertEqual([r for r in meter.reads if r[0] == 23], [(23, 0, 456), (23, 456, 228)])
        # The largest of all, 276 bytes a block: one block an answer, the counter with the first.
        meter = self.check(19, 8, 8, 16, 0x37)
        blocks = [r for r in meter.reads if r[0] == 23]
        self.assertEqual(blocks[:2], [(23, 0, 277), (23, 277, 276)])
        self.assertEqual(len(blocks), 9)

    def test_no_value_is_torn_when_a_block_does_not_fit(self):
        meter = self.check(19, 8, 8, 16, 0x37, max_read=50)
        starts = {offset for table, offset, count in meter.reads if table == 23}
        for table, _, count in meter.reads:
            if table == 23:
                self.assertTrue(0 < count <= 50)
        # Counter, summations by four, demand records by 17, coincidents by four bytes.
        for start in starts - {0}:
            within = (start - 1) % 276
            self.assertTrue(
                within % 4 == 0
                if within < 76
                else (within - 76) % 17 == 0
                if within < 212
                else within % 4 == 0
            )


class TestSelection(unittest.TestCase):
    def test_bt22_decides_which_register_is_which(self):
        tables, _, _ = build(11, 4, 0, 0, 0x03)
        tables[22] = bytes((3, 2, 1, 0, 7, 6, 5, 4, 28, 200, 255))
        found = by_name(read(tables)[0])
        self.assertEqual(found["OBIS_4.8.0"].mantissa, -70000 + 1237)
        self.assertEqual(found["OBIS_1.8.0"].mantissa, -70000 + 4 * 1237)
        self.assertEqual(amount(found["OSGP_source_200"]), (-70000 + 10 * 1237, 0, None))
        self.assertEqual(len(found), 10 + 4 * 7)  # an unused one carries nothing; tiers lack outages, errors

    def test_without_bt22_the_order_is_the_guide_s(self):
        for summations in (11, 15, 19):
            tables, wanted, _ = build(summations, 4, 0, 0, 0x03)
            del tables[22]
            found = by_name(read(tables)[0])
            self.assertEqual({name: amount(found[name]) for name in found}, wanted)

    def test_demands_of_unknown_sources_are_refused(self):
        tables, _, _ = build(15, 4, 2, 4, 0x07)
        del tables[22]
        with self.assertRaises(Refused):
            read(tables)

    def test_two_demands_of_one_source_are_two_properties(self):
        tables, _, _ = build(15, 4, 2, 0, 0x07)
        tables[22] = tables[22][:15] + b"\x08\x08\x03"
        found = by_name(read(tables)[0])
        self.assertIn("OBIS_1.6.0", found)
        self.assertEqual(amount(found["OBIS_1.6.0_2"])[1:], (-3, "kW"))


class TestValues(unittest.TestCase):
    def test_extremes(self):
        tables, _, _ = build(11, 4, 0, 0, 0x03)
        data = bytearray(tables[23])
        put(data, 0, 2147483647)
        put(data, 28, -2147483648)
        tables[23] = data
        found = by_name(read(tables)[0])
        self.assertEqual(found["OBIS_1.8.0"].mantissa, 2147483647)
        self.assertEqual(found["OBIS_16.8.0"].mantissa, -2147483648)

    def test_a_stamp_that_is_no_time_costs_only_the_date(self):
        tables, wanted, _ = build(15, 4, 1, 0, 0x07)
        data = bytearray(tables[23])
        data[61:66] = b"\xff\xff\xff\xff\xff"
        tables[23] = data
        found = by_name(read(tables)[0])
        self.assertEqual(amount(found["OBIS_1.6.0"]), wanted["OBIS_1.6.0"])
        self.assertIsNone(found["OBIS_1.6.0"].date)
        self.assertIsNotNone(found["OBIS_1.6.1"].date)

    def test_real_household_meter(self):
        with open(VECTORS + "real_meter.json") as file:
            captured = json.load(file)["BT23"]
        tables = standard(summations=11, tiers=4)
        tables[23] = bytes([int(captured["data"][i : i + 2], 16) for i in range(0, len(captured["data"]), 2)])
        reading, _ = read(tables)
        found = by_name(reading)
        total = captured["total"]
        for name, key, exponent, unit in (
            ("OBIS_1.8.0", "forward active Wh", -3, "kWh"),
            ("OBIS_2.8.0", "reverse active Wh", -3, "kWh"),
            ("OBIS_3.8.0", "import reactive varh", -3, "kvarh"),
            ("OBIS_4.8.0", "export reactive varh", -3, "kvarh"),
            ("OSGP_power_outage_seconds", "power outage seconds", 0, "s"),
            ("OSGP_power_outage_count", "power outages", 0, None),
            ("OBIS_15.8.0", "forward+reverse Wh", -3, "kWh"),
            ("OBIS_16.8.0", "forward-reverse Wh", -3, "kWh"),
            ("OBIS_1.8.1", "forward active Wh", -3, "kWh"),
        ):
            self.assertEqual(amount(found[name]), (total[key], exponent, unit))
        self.assertEqual(len(reading.values), 11 + 4 * 6)
        self.assertEqual(amount(found["OBIS_1.8.4"]), (0, -3, "kWh"))


class TestEnergyUnit(unittest.TestCase):
    def read(self, firmware, unit, dims_tiers=8, gen4=False, et55=True):
        tables, _, _ = build(11, 4, 0, 0, 0x03)
        tables[1] = bt01(firmware)
        tables[20] = dimensions(tiers=dims_tiers)
        if et55:
            # ET55: A = 146 + 4 * (BT20.7 - 1), one more on Gen 4 meters; the unit stands at A + 39.
            a = (147 if gen4 else 146) + 4 * (dims_tiers - 1)
            data = bytearray(b"\x63" * 260)
            data[a + 39] = unit
            tables[2103] = data
        reading, meter = read(tables)
        return by_name(reading), meter

    def test_units_of_1_10_and_100(self):
        for unit, exponent in ((0, -3), (1, -3), (10, -2), (100, -1)):
            for firmware, gen4 in ((0x38C0, False), (0x4000, True), (0x43C0, True), (0x1280, False)):
                for tiers in (4, 8):
                    found, _ = self.read(firmware, unit, tiers, gen4)
                    self.assertEqual(amount(found["OBIS_1.8.0"]), (-68763, exponent, "kWh"))
                    self.assertEqual(found["OBIS_4.8.1"].exponent, exponent)
                    self.assertEqual(found["OSGP_power_outage_seconds"].exponent, 0)

    def test_older_meters_are_not_asked(self):
        for firmware in (0x2020, 0x3155, 0x38BF):
            found, meter = self.read(firmware, 100)
            self.assertEqual(found["OBIS_1.8.0"].exponent, -3)
            self.assertFalse([r for r in meter.reads if r[0] == 2103])

    def test_a_meter_without_et55_counts_single_units(self):
        found, _ = self.read(0x4000, 0, et55=False)
        self.assertEqual(found["OBIS_1.8.0"].exponent, -3)

    def test_any_other_unit_is_an_error(self):
        with self.assertRaises(TableError):
            self.read(0x4000, 7, gen4=True)

    def test_outages_of_firmware_2_0_count_minutes(self):
        found, _ = self.read(0x2020, 1)
        self.assertEqual(amount(found["OSGP_power_outage_minutes"])[1:], (0, "min"))
        self.assertFalse("OSGP_power_outage_seconds" in found)
