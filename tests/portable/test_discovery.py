"""What Home Assistant is told of a meter's properties, and the live values."""

import json
import unittest

from gateway.transmission import live, registry
from gateway.transmission.discovery import Device, describe
from gateway.transmission.model import PRESENT, REGISTERS, Value

METER = bytes(range(16))
UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def prop(name):
    found = registry.number(name)
    assert found is not None, name
    return found


class DiscoveryTest(unittest.TestCase):
    def setUp(self):
        self.device = Device(METER, "house", "ELON 0084624", "home", "concentrator/home/status")

    def message(self, kind, name):
        topic, payload = self.device.message("homeassistant", kind, prop(name))
        return topic, json.loads(payload)

    def test_energy_is_what_the_energy_dashboard_takes(self):
        topic, message = self.message(REGISTERS, "OBIS_1.8.0")
        self.assertEqual(topic, "homeassistant/sensor/osgp_%s/OBIS_1_8_0/config" % UUID.replace("-", ""))
        self.assertEqual(message["name"], "import energy")
        self.assertEqual(message["device_class"], "energy")
        self.assertEqual(message["state_class"], "total_increasing")
        self.assertEqual(message["unit_of_measurement"], "kWh")
        self.assertEqual(message["suggested_display_precision"], 2)
        self.assertEqual(message["value_template"], "{{ value_json['OBIS_1.8.0'] }}")
        self.assertEqual(
            message["state_topic"], "concentrator/home/smartMeterMessage/%s/live-registers" % UUID
        )
        self.assertEqual(message["device"]["serial_number"], "0084624")
        self.assertEqual(
            [one["topic"] for one in message["availability"]],
            ["concentrator/home/smartMeterMessage/%s/status" % UUID, "concentrator/home/status"],
        )

    def test_power_is_shown_in_watts(self):
        _, message = self.message(PRESENT, "OBIS_1.7.0")
        self.assertEqual((message["device_class"], message["unit_of_measurement"]), ("power", "W"))
        self.assertEqual(message["state_class"], "measurement")
        self.assertEqual(message["value_template"], "{{ (value_json['OBIS_1.7.0'] * 1000) | round(3) }}")

    def test_what_a_meter_sends_has_names_and_classes(self):
        for name, words, device_class, state_class, unit in (
            ("OBIS_32.7.0", "voltage L1", "voltage", "measurement", "V"),
            ("OBIS_51.7.0", "current L2", "current", "measurement", "A"),
            ("OBIS_61.7.0", "import L3 power", "power", "measurement", "W"),
            ("OBIS_91.7.0", "current N", "current", "measurement", "A"),
            ("OBIS_14.7.0", "frequency", "frequency", "measurement", "Hz"),
            ("OBIS_13.7.0", "power factor", "power_factor", "measurement", ""),
            ("OBIS_3.7.0", "reactive import power", "reactive_power", "measurement", "var"),
            ("OBIS_9.7.0", "apparent import power", "apparent_power", "measurement", "VA"),
            ("OBIS_2.8.3", "export energy tariff 3", "energy", "total_increasing", "kWh"),
            ("OBIS_16.8.0", "net import energy", "energy", "total", "kWh"),
            ("OBIS_1.6.0", "import maximum", "power", "measurement", "W"),
            ("OBIS_5.8.0", "reactive quadrant 1 energy", "", "total_increasing", "kvarh"),
            ("OSGP_clock_drift", "clock drift", "duration", "measurement", "s"),
        ):
            self.assertEqual(describe(prop(name))[:4], (words, unit, device_class, state_class), name)

    def test_every_message_is_sound(self):
        """Classes and units that go together, for each property of the registry."""
        units = {
            "energy": ("kWh",),
            "power": ("W",),
            "reactive_power": ("var",),
            "apparent_power": ("VA",),
            "voltage": ("V",),
            "current": ("A",),
            "frequency": ("Hz",),
            "duration": ("s", "min"),
            "power_factor": ("",),
        }
        shown = 0
        for number in range(registry.COUNT):
            about = describe(number)
            if about is None:
                continue
            shown += 1
            _, unit, device_class, state_class, _, _ = about
            self.assertTrue(not device_class or unit in units[device_class], registry.name(number))
            if device_class == "energy":
                self.assertTrue(state_class.startswith("total"), registry.name(number))
        self.assertTrue(shown > 150)

    def test_texts_and_counters_are_not_shown(self):
        for name in ("OBIS_C.1.0", "OSGP_time_utc", "OBIS_0.1.0", "OSGP_model"):
            self.assertIsNone(describe(prop(name)), name)


class LiveTest(unittest.TestCase):
    def test_values_are_exact_decimals(self):
        values = [
            Value(prop("OBIS_1.7.0"), 431, -3, "kW"),
            Value(prop("OBIS_32.7.0"), 228315, -3, "V"),
            Value(prop("OBIS_2.7.0"), -5, -3, "kW"),
            Value(prop("OBIS_1.8.0"), 12, 0, "kWh"),
            Value(prop("OSGP_model"), None, text="x"),
            Value("unknown", 1),
        ]
        payload = live.live(values, 1764000000)
        self.assertEqual(
            payload,
            b'{"time": 1764000000, "OBIS_1.7.0": 0.431, "OBIS_32.7.0": 228.315, "OBIS_2.7.0": -0.005, '
            b'"OBIS_1.8.0": 12}',
        )

    def test_decimals(self):
        for mantissa, exponent, text in (
            (0, -3, "0.000"),
            (7, 2, "700"),
            (-1234, -2, "-12.34"),
            (100, -2, "1.00"),
            (-100, -3, "-0.100"),
        ):
            self.assertEqual(live.decimal(mantissa, exponent), text)


if __name__ == "__main__":
    unittest.main()
