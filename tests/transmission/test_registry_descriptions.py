"""Every property of the registry is described in words."""

import pytest

from gateway.transmission import registry
from gateway.transmission.registry_descriptions import allowed_units, description


def test_every_number_has_a_description_of_its_own():
    found = [description(number) for number in range(registry.COUNT)]
    assert all(text and "%" not in text for text in found)
    with pytest.raises(KeyError):
        description(registry.COUNT)


def test_units_are_those_of_the_platform_and_else_the_default():
    assert allowed_units(registry.obis(1, 8, 0)) == ("kWh",)
    assert allowed_units(registry.obis(13, 7, 0)) is None
    assert allowed_units(registry.number("OSGP_power_outage_seconds")) == ("s",)
    assert allowed_units(registry.number("OSGP_mep_counter_1")) is None
    for number in range(registry.COUNT):
        unit = registry.unit(number)
        assert unit is None or unit in allowed_units(number)


def test_descriptions_of_what_the_platform_lacks():
    assert description(registry.obis(1, 8, 0)) == "Positive active energy (A+) total"
    assert description(registry.obis(1, 8, 7)) == "Positive active energy (A+) in tariff T7"
    primary = description(registry.number("OSGP_primary_1.7.0"))
    assert primary == "Positive active instantaneous power (A+), on the primary side of the transformers"
    assert (
        description(registry.number("OSGP_pulse_input_2_tier_3")) == "Pulses counted at input 2 in tariff T3"
    )
