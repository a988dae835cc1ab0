"""Two readings of the guides, held against each other: what the readers make of the virtual meter's tables
is what the virtual meter knows to be true, in unusual configurations too."""

import pytest

from gateway import clock as time_seam
from gateway.c1219.readers import clock, identity, present, registers
from gateway.c1219.tables import Tables
from gateway.simulator.generations import generation
from gateway.simulator.meter import VirtualMeter
from tests.fake_meter import FakeMeter, by_name, run

HOUR_MS = 3_600_000
START_MS = 1_720_000_000_000  # 2024-07-03, a summer's day

# The simulator's accumulators, and where the platform's list puts them.
ENERGIES = {
    "forward": "OBIS_1.8.%d", "reverse": "OBIS_2.8.%d", "import_reactive": "OBIS_3.8.%d",
    "export_reactive": "OBIS_4.8.%d", "q1": "OBIS_5.8.%d", "q2": "OBIS_6.8.%d", "q3": "OBIS_7.8.%d",
    "q4": "OBIS_8.8.%d",
}  # fmt: skip
PRESENT = {
    8: ("OBIS_1.7.0", -3), 9: ("OBIS_2.7.0", -3), 10: ("OBIS_3.7.0", -3), 11: ("OBIS_4.7.0", -3),
    12: ("OBIS_31.7.0", -3), 13: ("OBIS_51.7.0", -3), 14: ("OBIS_71.7.0", -3), 15: ("OBIS_32.7.0", -3),
    16: ("OBIS_52.7.0", -3), 17: ("OBIS_72.7.0", -3), 18: ("OBIS_33.7.0", -3), 19: ("OBIS_14.7.0", -3),
    20: ("OBIS_9.7.0", -3), 22: ("OBIS_73.7.0", -3), 24: ("OSGP_sin_phase_angle_2", -3),
    81: ("OSGP_primary_1.7.0", -3), 107: ("OBIS_8.7.0", -3), 189: ("OBIS_42.7.0", -3),
    199: ("OSGP_primary_71.7.0", -3), 204: ("OSGP_continuous_voltage_3", -3), 206: ("OBIS_52.5.0", -3),
    208: ("OBIS_1.5.0", -3), 219: ("OSGP_apparent_power_quadrant_4", -3), 232: ("OBIS_91.7.0", -3),
    235: ("OBIS_71.5.0", -3), 237: ("OSGP_voltage_angle_2", -2), 244: ("OBIS_64.7.0", -3),
}  # fmt: skip


class ImageTables:
    def __init__(self, meter):
        self.meter = meter

    def __contains__(self, table):
        return table in self.meter.image

    def __getitem__(self, table):
        return self.meter.image.read(table)


@pytest.fixture
def now(monkeypatch):
    """A world that stands still where a test puts it."""
    instant = {"ms": 0}
    monkeypatch.setattr(time_seam, "utc_ms", lambda: START_MS + instant["ms"])
    return instant


def build(now, hours=4, **options):
    firmware = options.pop("firmware")
    meter = VirtualMeter(
        bytes(16), seed=7, firmware=generation(firmware, **options), start_ms=START_MS, solar_peak_w=4000,
        monotonic=lambda: now["ms"],
    )  # fmt: skip
    now["ms"] = hours * HOUR_MS + 12_345
    return meter, Tables(FakeMeter(ImageTables(meter)))


def read(reader, tables):
    (reading,) = run(reader.read(tables))
    return reading, by_name(reading)


CONFIGURATIONS = [
    {"firmware": "3.10", "demands": 2},
    {"firmware": "3.50", "demands": 4, "summations": 15},
    {"firmware": "3.70", "tiers": 8, "summations": 15, "ct_ratio": 80, "energy_unit": 10},
    {"firmware": "4.0", "ct_ratio": 40, "vt_ratio": 100, "energy_unit": 100, "demands": 1},
    {"firmware": "4.30", "demands": 8, "tiers": 4},
    {"firmware": "4.30", "demands": 8, "tiers": 8, "energy_unit": 10},
]


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_registers_and_present_values(now, options):
    unit = options.get("energy_unit", 1)
    exponent = {1: -3, 10: -2, 100: -1}[unit]
    meter, tables = build(now, **options)
    generation_ = meter.generation
    reading, found = read(registers, tables)
    truth = meter.truth()
    for tier, block in enumerate([truth["total"], *truth["tiers"]]):
        quadrants = generation_.summations >= 15
        for name, prop in ENERGIES.items():
            if name[0] == "q" and not quadrants:
                assert prop % tier not in found
                continue
            value = found[prop % tier]
            assert (prop % tier, value.mantissa, value.exponent) == (
                prop % tier,
                block[name] // unit,
                exponent,
            )
        both = found["OBIS_15.8.%d" % tier].mantissa * unit
        assert abs(both - block["forward"] - block["reverse"]) <= unit
        if generation_.summations == 19:
            name = "OSGP_apparent_energy_quadrant_4" + ("_tier_%d" % tier if tier else "")
            value = found[name]
            assert (value.mantissa, value.exponent, value.unit) == (block["va_q4"] // unit, exponent, "kVAh")
    assert any(found["OBIS_1.8.%d" % tier].mantissa for tier in range(1, generation_.tiers + 1))
    assert ("OBIS_0.1.0" in found) == bool(generation_.demands)

    reading, found = read(present, tables)
    assert len(reading.values) == generation_.present_values + generation_.demands
    checked = 0
    for source, count in meter.truth()["present"].items():
        name, exponent = PRESENT.get(source, (None, 0))
        if name in found:
            checked += 1
            assert (name, found[name].mantissa, found[name].exponent) == (name, count, exponent)
    assert checked >= 14


def test_demands_keep_the_meters_time(now):
    meter, tables = build(now, hours=20, firmware="3.50", demands=4)
    _, found = read(registers, tables)
    maxima = meter.registers.total.maximum
    for source, name in ((8, "1.6.0"), (9, "2.6.0"), (10, "3.6.0"), (11, "4.6.0")):
        value = found["OBIS_" + name]
        assert value.mantissa == maxima[source].value
        if maxima[source].utc_ms is None:
            assert value.date is None
        else:
            assert value.date.seconds * 1000 == maxima[source].utc_ms
            assert value.date.offset == 120
    assert found["OSGP_continuous_1.2.0"].mantissa == maxima[8].value
    at_maximum = found["OSGP_coincident_3.7.0_at_1.6.0"]
    assert at_maximum.mantissa == maxima[8].coincident["import_reactive"]
    assert at_maximum.unit == "kvar"
    assert at_maximum.date == found["OBIS_1.6.0"].date


@pytest.mark.parametrize("firmware", ["2.0", "4.30"])
def test_identity_and_clock(now, firmware):
    meter, tables = build(now, firmware=firmware)
    who = run(identity.identify(tables))
    version = "%d.%02d.%02d" % meter.generation.version
    assert (who.manufacturer, who.serial, who.firmware) == ("ELON", meter.serial, version)

    meter.set_clock(meter.utc_ms() + 42_000)
    reading, found = read(clock, tables)
    truth = meter.truth()
    assert abs(found["OSGP_clock_drift"].mantissa - 42_000) <= 500
    assert found["OBIS_C.87.0"].mantissa == truth["tier"] + 1
    seconds = truth["utc_ms"] // 1000
    assert found["OSGP_time_utc"].text.endswith("%02dZ" % (seconds % 60))
    assert found["OSGP_time_local"].text.endswith("+02:00")
    assert not reading.faults


def test_a_reconfiguration_between_readings_and_a_replaced_meter(now):
    meter, tables = build(now, firmware="3.50")
    _, before = read(registers, tables)
    meter.reconfigure(generation("3.50", demands=2))
    reading, after = read(registers, tables)
    assert after["OBIS_1.8.0"].mantissa == before["OBIS_1.8.0"].mantissa
    assert "OBIS_1.6.0" in after
    assert "OBIS_1.6.0" not in before

    serial = run(identity.identify(tables)).serial
    meter.replace("OTHER1")
    assert run(identity.identify(tables)).serial == "OTHER1" != serial
