"""BT28 in every arrangement: 18 to 84 present values, no to eight present demands of 4 or 7 bytes."""

import json
import unittest

from gateway.c1219.readers import present
from gateway.c1219.tables import Tables
from gateway.errors import TableError
from tests.fake_meter import FakeMeter, amount, by_name, put, run, standard

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/"

# The guide's order (BT28), by hand.
ORDER = (
    "OBIS_1.7.0", "OBIS_2.7.0", "OBIS_3.7.0", "OBIS_4.7.0", "OBIS_31.7.0", "OBIS_51.7.0", "OBIS_71.7.0",
    "OBIS_32.7.0", "OBIS_52.7.0", "OBIS_72.7.0", "OBIS_33.7.0", "OBIS_14.7.0", "OBIS_9.7.0", "OBIS_53.7.0",
    "OBIS_73.7.0", "OSGP_sin_phase_angle_1", "OSGP_sin_phase_angle_2", "OSGP_sin_phase_angle_3",
    "OSGP_primary_1.7.0", "OSGP_primary_2.7.0", "OSGP_primary_3.7.0", "OSGP_primary_4.7.0",
    "OBIS_5.7.0", "OBIS_6.7.0", "OBIS_7.7.0", "OBIS_8.7.0",
    "OBIS_21.7.0", "OBIS_41.7.0", "OBIS_61.7.0", "OBIS_22.7.0", "OBIS_42.7.0", "OBIS_62.7.0",
    "OSGP_primary_21.7.0", "OSGP_primary_41.7.0", "OSGP_primary_61.7.0",
    "OSGP_primary_22.7.0", "OSGP_primary_42.7.0", "OSGP_primary_62.7.0",
    "OSGP_primary_31.7.0", "OSGP_primary_51.7.0", "OSGP_primary_71.7.0",
    "OSGP_continuous_voltage_1", "OSGP_continuous_voltage_2", "OSGP_continuous_voltage_3",
    "OBIS_32.5.0", "OBIS_52.5.0", "OBIS_72.5.0", "OBIS_1.5.0", "OBIS_2.5.0",
    "OBIS_21.5.0", "OBIS_41.5.0", "OBIS_61.5.0", "OBIS_22.5.0", "OBIS_42.5.0", "OBIS_62.5.0",
    "OSGP_apparent_power_quadrant_1", "OSGP_apparent_power_quadrant_2",
    "OSGP_apparent_power_quadrant_3", "OSGP_apparent_power_quadrant_4",
    "OSGP_apparent_power_l1_quadrant_1", "OSGP_apparent_power_l1_quadrant_2",
    "OSGP_apparent_power_l1_quadrant_3", "OSGP_apparent_power_l1_quadrant_4",
    "OSGP_apparent_power_l2_quadrant_1", "OSGP_apparent_power_l2_quadrant_2",
    "OSGP_apparent_power_l2_quadrant_3", "OSGP_apparent_power_l2_quadrant_4",
    "OSGP_apparent_power_l3_quadrant_1", "OSGP_apparent_power_l3_quadrant_2",
    "OSGP_apparent_power_l3_quadrant_3", "OSGP_apparent_power_l3_quadrant_4",
    "OBIS_91.7.0", "OBIS_31.5.0", "OBIS_51.5.0", "OBIS_71.5.0",
    "OSGP_voltage_angle_1", "OSGP_voltage_angle_2", "OSGP_voltage_angle_3",
    "OBIS_23.7.0", "OBIS_43.7.0", "OBIS_63.7.0", "OBIS_24.7.0", "OBIS_44.7.0", "OBIS_64.7.0",
)  # fmt: skip

# The same as BT22's list of source ids numbers it, by hand.
SOURCES = bytes(
    (
        8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 81, 82, 83, 84,
        104, 105, 106, 107, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196, 197, 198, 199,
        202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215,
        216, 217, 218, 219, 220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232,
        233, 234, 235, 236, 237, 238, 239, 240, 241, 242, 243, 244,
    )
)  # fmt: skip


def build(values, demands, timed):
    tables = standard(present=values, present_demands=demands, demands=demands, flags=0x43 if timed else 0x03)
    each = 7 if timed else 4
    data = bytearray(each * demands + 4 * values)
    for i in range(demands):
        put(data, each * i + each - 4, 1000 - 2000 * i)
    for i in range(values):
        put(data, each * demands + 4 * i, -50000 + 7919 * i)
    tables[28] = bytes(data)
    tables[27] = bytes(range(88, 88 + demands)) + SOURCES[:values]
    tables[22] = bytes(11) + bytes((8, 9, 10, 11, 20, 104, 105, 106))[:demands] + b"\xff"
    return tables


def read(tables, **meter):
    fake = FakeMeter(tables, **meter)
    (reading,) = run(present.read(Tables(fake)))
    return by_name(reading), fake


class TestPresentValues(unittest.TestCase):
    def test_every_number_of_values_and_demands(self):
        for values in (18, 22, 26, 41, 55, 72, 75, 84):
            for demands, timed in ((0, False), (1, False), (1, True), (8, False), (8, True)):
                tables = build(values, demands, timed)
                for has_selection in (True, False):
                    if not has_selection:
                        del tables[27]
                    found, meter = read(tables)
                    self.assertEqual(len(found), values + demands)
                    for i in range(values):
                        self.assertEqual(found[ORDER[i]].mantissa, -50000 + 7919 * i)
                    for i in range(demands):
                        name = ("1", "2", "3", "4", "9", "5", "6", "7")[i]
                        self.assertEqual(found["OBIS_%s.4.0" % name].mantissa, 1000 - 2000 * i)
                        self.assertEqual(found["OBIS_%s.4.0" % name].exponent, -3)
                    # One answer, of just what the dimensions say.
                    size = (7 if timed else 4) * demands + 4 * values
                    self.assertEqual([r for r in meter.reads if r[0] == 28], [(28, 0, size)])

    def test_units(self):
        found, _ = read(build(84, 0, False))
        for name, unit, exponent in (
            ("OBIS_1.7.0", "kW", -3), ("OBIS_3.7.0", "kvar", -3), ("OBIS_31.7.0", "A", -3),
            ("OBIS_32.7.0", "V", -3), ("OBIS_14.7.0", "Hz", -3), ("OBIS_33.7.0", None, -3),
            ("OSGP_sin_phase_angle_2", None, -3), ("OBIS_9.7.0", "kVA", -3), ("OBIS_91.7.0", "A", -3),
            ("OSGP_continuous_voltage_1", "V", -3), ("OBIS_32.5.0", "V", -3), ("OBIS_1.5.0", "kW", -3),
            ("OSGP_primary_31.7.0", "A", -3), ("OSGP_apparent_power_l3_quadrant_4", "kVA", -3),
            ("OSGP_voltage_angle_1", "deg", -2), ("OBIS_64.7.0", "kvar", -3),
        ):  # fmt: skip
            self.assertEqual((name, found[name].unit, found[name].exponent), (name, unit, exponent))

    def test_bt27_decides_which_value_is_which(self):
        tables = build(18, 2, False)
        tables[27] = b"\x61\x08" + bytes((25, 24, 23, 255, 250)) + SOURCES[5:18]
        found, _ = read(tables)
        self.assertEqual(found["OBIS_2.5.0"].mantissa, 1000)  # previous value of demand 2
        self.assertEqual(found["OBIS_1.4.0"].mantissa, -1000)
        self.assertEqual(found["OSGP_sin_phase_angle_3"].mantissa, -50000)
        self.assertEqual(amount(found["OSGP_source_250"]), (-50000 + 4 * 7919, 0, None))
        self.assertEqual(len(found), 19)

    def test_a_demand_that_nothing_selects_keeps_its_number(self):
        tables = build(18, 1, True)
        tables[22] = bytes(11) + b"\x1a\xff"
        found, _ = read(tables)
        self.assertEqual(amount(found["OSGP_present_demand_1"]), (1000, 0, None))

    def test_extremes(self):
        tables = build(18, 0, False)
        data = bytearray(tables[28])
        put(data, 0, 2147483647)
        put(data, 4, -2147483648)
        put(data, 8, -1)
        tables[28] = data
        found, _ = read(tables)
        self.assertEqual(found["OBIS_1.7.0"].mantissa, 2147483647)
        self.assertEqual(found["OBIS_2.7.0"].mantissa, -2147483648)
        self.assertEqual(found["OBIS_3.7.0"].mantissa, -1)

    def test_short_answer_is_an_error(self):
        tables = build(55, 0, False)
        tables[28] = tables[28][:-1]
        with self.assertRaises(TableError):
            read(tables)

    def test_no_value_is_torn_by_short_messages(self):
        found, meter = read(build(84, 8, True), max_read=30)
        self.assertEqual(found["OBIS_44.7.0"].mantissa, -50000 + 7919 * 82)
        parts = [r for r in meter.reads if r[0] == 28]
        self.assertEqual(parts[:3], [(28, 0, 28), (28, 28, 28), (28, 56, 28)])
        self.assertEqual(sum([count for _, _, count in parts]), 56 + 336)

    def test_real_household_meter(self):
        with open(VECTORS + "real_meter.json") as file:
            captured = json.load(file)["BT28"]
        tables = standard()
        tables[28] = bytes([int(captured["data"][i : i + 2], 16) for i in range(0, len(captured["data"]), 2)])
        found, _ = read(tables)
        self.assertEqual([found[name].mantissa for name in ORDER[:55]], captured["values"])
        self.assertEqual(amount(found["OBIS_1.7.0"]), (431, -3, "kW"))
        self.assertEqual(amount(found["OBIS_32.7.0"]), (228315, -3, "V"))
        self.assertEqual(amount(found["OBIS_33.7.0"]), (709, -3, None))
        self.assertEqual(amount(found["OSGP_sin_phase_angle_1"]), (-452, -3, None))
        self.assertEqual(amount(found["OBIS_14.7.0"]), (50000, -3, "Hz"))
