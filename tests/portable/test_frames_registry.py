"""The numbers of the property registry never change."""

import json
import unittest

from gateway.transmission import registry

FROZEN = __file__.rsplit("/", 2)[0] + "/vectors/registry.json"


def frozen_names():
    with open(FROZEN) as file:
        return json.load(file)["names"]


class TestRegistry(unittest.TestCase):
    def test_every_number_has_its_frozen_name_and_back(self):
        names = frozen_names()
        self.assertEqual(len(names), registry.COUNT)
        for number, name in enumerate(names):
            self.assertEqual(registry.name(number), name)
            self.assertEqual(registry.number(name), number)

    def test_only_exact_names_have_numbers(self):
        for name in (
            "", "1.8.0", "OBIS_", "OBIS_01.8.0", "OBIS_1.8", "OBIS_1.8.0.0", "OBIS_1.8.0 ", "OBIS_999.8.0",
            "OBIS_96.1.0", "OBIS_1.135.0", "OSGP_mep_counter", "OSGP_mep_counter_0", "OSGP_mep_counter_9",
            "OSGP_mep_counter_12", "OSGP_power_outage_seconds_0", "WATER_", "OBIS_-1.8.0", "OBIS_\u00b2.8.0",
            "OBIS_1.8.255", "OBIS_255.0.0", "OSGP_primary_C.1.0",
        ):  # fmt: skip
            self.assertIsNone(registry.number(name))
        self.assertIsNone(registry.name(registry.COUNT))
        self.assertIsNone(registry.name(-1))

    def test_obis_codes(self):
        self.assertEqual(registry.name(registry.obis(1, 8, 0)), "OBIS_1.8.0")
        self.assertEqual(registry.name(registry.obis(96, 1, 0)), "OBIS_C.1.0")
        self.assertEqual(registry.name(registry.obis(97, 97, 0)), "OBIS_F.F.0")
        with self.assertRaises(KeyError):
            registry.obis(1, 99, 0)

    def test_defaults_are_those_of_osgp_meters(self):
        for name, unit, exponent in (
            ("OBIS_1.8.0", "kWh", -3),
            ("OBIS_3.8.4", "kvarh", -3),
            ("OBIS_32.7.0", "V", -3),
            ("OBIS_14.7.0", "Hz", -3),
            ("OBIS_13.7.0", None, -3),
            ("OBIS_C.1.0", None, 0),
            ("OSGP_power_outage_seconds", "s", 0),
            ("OSGP_primary_1.7.0", "kW", -3),
            ("WATER_volume_of_water", "m3", 0),
        ):
            number = registry.number(name)
            self.assertEqual(registry.unit(number), unit)
            self.assertEqual(registry.exponent(number), exponent)

    def test_units_and_fault_codes_by_number(self):
        index = 1
        while registry.unit_name(index) is not None:
            self.assertEqual(registry.unit_number(registry.unit_name(index)), index)
            index += 1
        self.assertEqual(index, 19)
        self.assertIsNone(registry.unit_number("furlong"))
        self.assertIsNone(registry.unit_number(""))
        self.assertEqual(registry.fault_number("OSGP_clock_untrusted"), 0)
        self.assertEqual(registry.fault_name(0), "OSGP_clock_untrusted")
        self.assertIsNone(registry.fault_number("FC456"))
        self.assertIsNone(registry.fault_name(1000))
