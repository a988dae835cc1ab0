"""Telegrams of real devices and of the standard's examples, as values with units, exactly.

The frames are libmbus's sample data (test/test-frames, by the name given), whole; what a meter keeps
is what stands behind the CI field.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import FrameError
from gateway.transmission import mbus, registry
from gateway.transmission.model import MBUS, PRESENT, Reading, Timestamp, Value
from tests.mep_profile import MANY

WATER = (  # itron_cyble_m-bus_v1.4_water
    "6856566808017271000012770414070A3000000C78710000120D7C084449202E747375630A454C425943205453455404"
    "6D2B0D9811027C09656D6974202E746162F21004143D30000004947F140000004414000000000F10011F2F16"
)
GAS = (  # itron_cyble_m-bus_v1.4_gas
    "6856566808047287030210770414039A0000000C78870302100D7C084449202E747375630A2020202020202020202004"
    "6D2B0F791A027C09656D6974202E746162D20F04141A00000004947F000000004414190000000F00021F9F16"
)
HEAT = (  # kamstrup_multical_601
    "68F7F768081172175885062D2C0804040000000C78175885060406E791000004142CDB00000422D90300000459B92700"
    "00045D081200000461B1150000042D5B010000142DC0010000043B1F020000143B740200008410060000000084200600"
    "00000084401400000000848040140000000084C0400600000000046D1A2F65114406518200004414B2C30000542D2602"
    "0000543B03040000C4100600000000C4200600000000C4401400000000C480401400000000C4C0400600000000426C5F"
    "1C0F00000000E7E400006366000000000000000000000000005BC9A50234530000E0B20300899C680000000000010001"
    "070709010300000000009816"
)
COLD_HEAT = (  # itron_cf_51: a heat meter that measures nothing
    "686464680806728551151177040A0D1B1000000C78855115110406000000000C14000000003B2D9999990B3B0000003A"
    "5A99993A5E99993B61999999046D180D98110227680009FD0E1109FD0F268CC00016210300008C804014230100000486"
    "3C000000000F03208516"
)
FIXED = (  # manual_frame2
    "68131368080573785634120A00E97E01000000350100003C16"
)
OMS_GAS = (  # oms_frame1
    "6820206808FD7278563412931533032A0000000C1427048502046D32371F1502FD1700008916"
)
PULSES = (  # manual_frame7
    "681515680802727856341224400107130000000C78040302019D16"
)


def telegram(frame: str) -> bytes:
    return bytes.fromhex(frame)[7:-2]


def named(values: list[Value]) -> dict[str, tuple]:
    """{property: (mantissa, exponent, unit) or text}"""
    found = {}
    for value in values:
        name = registry.name(value.prop) if isinstance(value.prop, int) else value.prop
        assert name not in found
        found[name] = value.text if value.mantissa is None else (value.mantissa, value.exponent, value.unit)
    return found


def head(medium: int = 7, signature: int = 0) -> bytes:
    return bytes.fromhex("78563412 2D2C 1B") + bytes((medium, 5, 0)) + signature.to_bytes(2, "little")


def one(record: str, medium: int = 7) -> dict[str, tuple]:
    """What a record says, without the header."""
    said = named(mbus.decode(head(medium) + bytes.fromhex(record) + b"\0"))
    return {name: value for name, value in said.items() if name not in named(mbus.decode(head(medium)))}


def test_a_water_meter():
    said = named(mbus.decode(telegram(WATER)))
    assert said["WATER_volume_of_water"] == (12349, -2, "m3")
    assert said["WATER_volume_of_water_storage_1"] == (0, -2, "m3")
    assert said["OSGP_mbus_serial_number"] == said["OSGP_mbus_fabrication_number"] == "12000071"
    assert said["OSGP_mbus_manufacturer"] == "ACW"
    assert said["OSGP_mbus_date_time"] == "2012-01-24T13:43"
    assert [said["OSGP_mbus_" + name][0] for name in ("version", "medium", "access_number", "status")] == [
        20,
        7,
        10,
        48,
    ]


def test_a_gas_meter():
    said = named(mbus.decode(telegram(GAS)))
    assert said["OSGP_gas_volume"] == (26, -2, "m3")
    assert said["OSGP_gas_volume_storage_1"] == (25, -2, "m3")


def test_a_gas_meter_that_does_not_convert_to_base_conditions():
    assert one("0C 93 3A 78 56 34 12", 3) == {"OSGP_gas_volume": (12345678, -3, "m3")}
    for record in ("0C 93 3A 02 00 00 00 0C 13 01 00 00 00", "0C 13 01 00 00 00 0C 93 3A 02 00 00 00"):
        assert one(record, 3) == {
            "OSGP_gas_volume": (1, -3, "m3"),
            "OSGP_gas_volume_uncorrected": (2, -3, "m3"),
        }


def test_a_heat_meter():
    said = named(mbus.decode(telegram(HEAT)))
    assert said["OSGP_mbus_manufacturer"] == "KAM"
    assert {name: said[name] for name in said if name.startswith("OSGP_heat") and name.count("_") < 4} == {
        "OSGP_heat_energy": (37351, 0, "kWh"),
        "OSGP_heat_volume": (56108, -2, "m3"),
        "OSGP_heat_power": (347, -1, "kW"),
        "OSGP_heat_power_maximum": (448, -1, "kW"),
        "OSGP_heat_flow": (543, -3, "m3/h"),
        "OSGP_heat_flow_maximum": (628, -3, "m3/h"),
        "OSGP_heat_flow_temperature": (10169, -2, "degreeCelsius"),
        "OSGP_heat_return_temperature": (4616, -2, "degreeCelsius"),
        "OSGP_heat_temperature_difference": (5553, -2, "K"),
    }
    assert said["OSGP_heat_energy_storage_1"] == (33361, 0, "kWh")
    assert said["OSGP_heat_power_storage_1_maximum"] == (550, -1, "kW")
    assert said["OSGP_heat_energy_storage_1_tariff_2"] == (0, 0, "kWh")
    assert said["OSGP_heat_volume_unit_2"] == (0, -2, "m3")
    assert said["OSGP_mbus_date_storage_1"] == "2010-12-31"
    assert said["OSGP_mbus_on_time"] == (985 * 36, 2, "s")


def test_a_heat_meter_in_error_state():
    said = named(mbus.decode(telegram(COLD_HEAT)))
    assert said["OSGP_heat_energy"] == (0, 0, "kWh")
    assert said["OSGP_heat_flow_temperature_error"] == (9999, -1, "degreeCelsius")
    assert "OSGP_heat_flow_temperature" not in said


def test_the_fixed_structure():
    said = named(mbus.decode(telegram(FIXED), 2))
    assert said["OSGP_mbus_serial_number"] == "12345678"
    assert said["WATER_volume_of_water"] == (1, -3, "m3")
    assert said["WATER_volume_of_water_storage_1"] == (135, -3, "m3")
    binary = bytearray(telegram(FIXED))
    binary[5] = 1
    binary[8:12] = (-5).to_bytes(4, "little", signed=True)
    assert named(mbus.decode(bytes(binary), 2))["WATER_volume_of_water"] == (-5, -3, "m3")
    with pytest.raises(FrameError):
        mbus.decode(telegram(FIXED)[:15], 2)


def test_bcd():
    assert named(mbus.decode(telegram(OMS_GAS)))["OSGP_gas_volume"] == (2850427, -2, "m3")
    assert named(mbus.decode(telegram(PULSES)))["OSGP_mbus_fabrication_number"] == "01020304"
    assert one("0C 13 78 56 34 F2") == {"WATER_volume_of_water": (-2345678, -3, "m3")}
    assert one("0A 13 AA 12") == {}  # no digits: the device has no value


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ("01 5B FE", (-2, 0)),
        ("02 5A 9C FF", (-100, -1)),
        ("03 59 FF FF FF", (-1, -2)),
        ("04 58 00 00 00 80", None),  # the most negative number: no value
        ("06 5B 01 00 00 00 00 80", (1 - 2**47, 0)),
        ("07 5B FF FF FF FF FF FF FF 7F", (2**63 - 1, 0)),
        ("05 5B" + struct.pack("<f", 21.7).hex(), (217, -1)),
        ("05 5B" + struct.pack("<f", -0.1).hex(), (-1, -1)),
        ("05 5B" + struct.pack("<f", float("nan")).hex(), None),
        ("05 5B" + struct.pack("<f", float("-inf")).hex(), None),
    ],
)
def test_signed_numbers_and_no_numbers(record: str, value: tuple | None):
    expected = {} if value is None else {"WATER_water_inlet_temperature": (*value, "degreeCelsius")}
    assert one(record) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("04 03 01 00 00 00", (1, -3, "kWh")),
        ("04 0E 01 00 00 00", (1, 0, "MJ")),
        ("04 FB 01 01 00 00 00", (1, 3, "kWh")),
        ("04 FB 09 01 00 00 00", (1, 3, "MJ")),
        ("04 83 74 01 00 00 00", (1, -5, "kWh")),  # corrected by 10^-2
    ],
)
def test_units_convert_exactly(record: str, expected: tuple):
    assert one(record, 4) == {"OSGP_heat_energy": expected}


def test_what_a_later_part_of_the_code_changes_is_left_out():
    assert one("04 FF 13 01 00 00 00") == {}  # the manufacturer's own
    assert one("04 7C 01 58 01 00 00 00") == {}  # a unit in words
    assert one("0F 01 02 03") == {}


def test_most_significant_byte_first():
    plain = head() + bytes.fromhex("0413 10270000")
    swapped = plain[:4][::-1] + plain[4:6][::-1] + plain[6:12] + bytes.fromhex("0413 00002710")
    assert named(mbus.decode(swapped, 1)) == named(mbus.decode(plain))


def test_dates_that_are_none():
    for record in ("04 6D 80 0D 98 11", "04 6D 2B 18 98 11", "02 6C 00 00", "02 6C FF FF"):
        assert one(record) == {}


def test_the_same_said_twice_counts_once():
    assert one("04 13 01 00 00 00 04 13 02 00 00 00") == {"WATER_volume_of_water": (1, -3, "m3")}


def reading(raw: bytes, info: int = 0, kind: int = MBUS) -> Reading:
    values = [
        Value(registry.number("OSGP_mbus_telegram"), None, text=raw.hex()),
        Value(registry.number("OSGP_mbus_handle"), 7),
        Value(registry.number("OSGP_mbus_response_info"), info),
    ]
    return Reading(kind, Timestamp(1_700_000_000), values, [3], (7, b"stamp", 1))


def faults(reading: Reading) -> list[str | None]:
    return [registry.fault_name(fault) for fault in reading.faults]


def test_decoded_values_stand_beside_the_raw_telegram():
    raw = reading(telegram(WATER))
    rich = mbus.enrich(raw)
    assert list(rich.values)[:3] == list(raw.values)
    assert named(rich.values)["WATER_volume_of_water"] == (12349, -2, "m3")
    assert (rich.faults, rich.stored, rich.time) == ([3], raw.stored, raw.time)


def test_an_encrypted_telegram_says_who_it_is_from():
    raw = head(signature=0x0500) + bytes.fromhex("2F2F04131027000000")
    rich = mbus.enrich(reading(raw))
    assert faults(rich)[1:] == ["OSGP_mbus_encrypted"]
    said = named(rich.values)
    assert said["OSGP_mbus_serial_number"] == "12345678"
    assert "WATER_volume_of_water" not in said
    with pytest.raises(FrameError):
        mbus.decode(raw)
    # The meter had the key: what it keeps is plain.
    assert named(mbus.enrich(reading(raw, 4)).values)["WATER_volume_of_water"] == (10000, -3, "m3")


def test_what_can_not_be_decoded_keeps_its_raw_value():
    for raw in (b"", b"\x01", head()[:-1], head() + b"\x0d\x13", bytes(300)):
        rich = mbus.enrich(reading(raw))
        assert faults(rich)[1:] == ["OSGP_mbus_undecodable"]
        assert named(rich.values) == named(reading(raw).values)


def test_other_readings_are_left_alone():
    other = reading(telegram(WATER), kind=PRESENT)
    assert mbus.enrich(other) is other
    state = Reading(MBUS, Timestamp(0), [Value(registry.number("OSGP_mbus_slot"), 1)])
    assert mbus.enrich(state) is state


RECORD_BYTES = st.one_of(
    st.integers(0, 255), st.sampled_from([4, 0x13, 0x0C, 0x84, 0x2F, 0xFD, 0xFB, 0x0D, 0x7C])
)


@MANY
@given(st.binary(max_size=12), st.lists(RECORD_BYTES, max_size=60), st.integers(0, 63))
def test_any_bytes_end_in_values_or_our_error(start: bytes, records: list[int], info: int):
    raw = (start + bytes(12))[:11] + b"\0" + bytes(records)
    for given_ in (start, raw):
        try:
            values = mbus.decode(given_, info)
        except FrameError:
            continue
        for value in values:
            assert value.mantissa is None or -(2**63) <= value.mantissa < 2**63
            assert -64 < value.exponent < 64
