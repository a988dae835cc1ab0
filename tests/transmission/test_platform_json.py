"""The platform's JSON comes back byte for byte, also through a frame, and wrong JSON is one clear error."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import FrameError
from gateway.transmission import frames, ids, platform_json, registry
from gateway.transmission.model import (
    EVENT,
    LOAD_PROFILE,
    REGISTERS,
    Column,
    Event,
    Reading,
    Series,
    Timestamp,
    Value,
)
from tests.interpreter import ROOT

METER = "bf17c6a0-82ce-4214-adbd-5a7e4ecdb0ff"
REFERENCE = json.loads((ROOT / "tests/vectors/reference_reading.json").read_text())["message"]

few = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def through_frame(payload):
    """The JSON that a frame of this JSON gives back, and the frame's size."""
    meter, reading = platform_json.parse(payload)
    frame = frames.encode(meter, 0xDEADBEEF, 100000, [reading])
    [back] = platform_json.documents(frames.decode(frame, meter), meter)
    return back, len(frame)


@pytest.mark.parametrize(
    "layout", [{}, {"separators": (",", ":")}, {"indent": 2}], ids=["default", "no blanks", "indented"]
)
def test_the_reference_reading_comes_back_as_the_same_bytes(layout):
    source = json.dumps(REFERENCE, **layout).encode()
    back, size = through_frame(source)
    assert back == source
    if "indent" not in layout:
        assert size <= 64
        assert size * 15 <= 997


def specified(values, **more):
    return {
        "meterReadingIdentifier": "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9",
        "readingTime": "2023-11-22T12:00:00Z",
        "sequenceNumber": 1,
        "faultCode": "FC456",
        "propertyValues": values,
        "meterIndividual": {
            "meterIndividualId": METER,
            "householdId": "123e4567-e89b-12d3-a456-426614174000",
            "physicalMeterType": {"physicalElementName": "Three phases", "physicalElementIsVirtual": False},
        },
        **more,
    }


def specified_value(name, value, unit="kWh", **more):
    return {
        "unit": unit,
        "date": "2023-11-22T12:00:00Z",
        "numericalValue": value,
        "operationalPropertyDefinition": {"propertyId": name, "allowedUnits": [unit]},
        **more,
    }


def test_the_specifications_form_with_all_its_fields():
    source = json.dumps(
        specified([specified_value("OBIS_1.8.0", 100.5), specified_value("x.y", -3)])
    ).encode()
    meter, reading = platform_json.parse(source)
    assert ids.format_uuid(meter) == METER
    assert ids.format_uuid(reading.identifier) == "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"
    assert reading.time == Timestamp(1700654400)
    assert reading.faults == ["FC456"]
    assert [(v.prop, v.mantissa, v.exponent, v.unit, v.date) for v in reading.values] == [
        (registry.obis(1, 8, 0), 1005, -1, "kWh", Timestamp(1700654400)),
        ("x.y", -3, 0, "kWh", Timestamp(1700654400)),
    ]
    back, size = through_frame(source)
    assert back == source
    assert size * 4 < len(source)


def test_the_older_name_of_the_meter_type_is_read_and_given_back():
    message = specified([])
    message["meterIndividual"]["physicalMeter"] = message["meterIndividual"].pop("physicalMeterType")
    source = json.dumps(message).encode()
    assert through_frame(source)[0] == source


NUMBERS = (
    "0",
    "-0",
    "229.40",
    "0.050",
    "-0.5",
    "1e3",
    "1E3",
    "1e+3",
    "1.50e-3",
    "1e-300",
    "1e5000",
    "-0.0",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "123456789012345678901234567890.10",
    "0e0",
    "100",
)


@pytest.mark.parametrize("token", NUMBERS)
def test_numbers_keep_every_character(token):
    for written in (token, f'"{token}"'):
        source = (
            f'{{"readingTime": "2023-05-06T11:18:30Z", "meterId": "{METER}", "propertyValues": '
            f'[{{"propertyName": "1.8.0", "numericalValue": {written}, "unit": "kWh"}}]}}'
        ).encode()
        assert through_frame(source)[0] == source


TIMES = {
    "2023-05-06T11:18:30Z": Timestamp(1683371910),
    "2023-05-06T11:18:30z": Timestamp(1683371910),
    "2023-05-06t11:18:30+00:00": Timestamp(1683371910, "", 0),
    "2023-05-06T11:18:30-00:00": Timestamp(1683371910, "", 0),
    "2023-05-06 11:18:30.2500+01:00": Timestamp(1683368310, "2500", 60),
    "2016-12-31T23:59:60Z": Timestamp(1483228800),
    "0001-01-01T00:00:00+12:00": Timestamp(-62135640000, "", 720),
    "9999-12-31T23:59:59.999999999-23:59": Timestamp(253402387139, "999999999", -1439),
}


@pytest.mark.parametrize("time", TIMES)
def test_times_keep_every_character(time):
    source = json.dumps({"readingTime": time, "meterId": METER, "propertyValues": []}).encode()
    assert platform_json.parse(source)[1].time == TIMES[time]
    assert through_frame(source)[0] == source


names = st.one_of(
    st.sampled_from(
        ["1.8.0", "32.7.0", "OBIS_1.8.0", "OBIS_13.7.0", "WATER_volume_of_water", "OSGP_time_utc"]
    ),
    st.text(max_size=8),
)
decimals = st.one_of(
    st.sampled_from([json.loads(n) for n in ("0", "229.40", "-17", "1e22")]), st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["229.40", "1136784", "0.5", "-0"]),
)  # fmt: skip
rest = st.dictionaries(
    st.text(max_size=6).filter(lambda key: key not in {"unit", "date", "meterId"}),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6)), st.lists, max_leaves=4
    ),
    max_size=2,
)


@st.composite
def messages(draw):
    flat = draw(st.booleans())
    values = []
    for _ in range(draw(st.integers(0, 5))):
        name = draw(names)
        value = dict(draw(rest))
        value |= (
            {"propertyName": name}
            if flat
            else {"operationalPropertyDefinition": {"propertyId": name, **draw(rest)}}
        )
        if draw(st.booleans()):
            value["numericalValue"] = draw(decimals)
        elif draw(st.booleans()):
            value["textValue"] = draw(st.one_of(st.none(), st.text(max_size=10)))
        if draw(st.booleans()):
            value["unit"] = draw(st.one_of(st.none(), st.sampled_from(["kWh", "V"]), st.text(max_size=5)))
        if draw(st.booleans()):
            value["date"] = draw(st.sampled_from(list(TIMES)))
        values.append(dict(draw(st.permutations(list(value.items())))))
    message = {"readingTime": draw(st.sampled_from(list(TIMES))), "propertyValues": values, **draw(rest)}
    meter = draw(st.sampled_from([METER, METER.upper()]))
    message |= {"meterId": meter} if flat else {"meterIndividual": {**draw(rest), "meterIndividualId": meter}}
    if draw(st.booleans()):
        message["faultCode"] = draw(
            st.one_of(st.none(), st.sampled_from(["FC1", "OSGP_meter_time"]), st.text(max_size=5))
        )
    if draw(st.booleans()):
        message["meterReadingIdentifier"] = draw(st.one_of(st.none(), st.uuids().map(str)))
    ascii_only = draw(st.booleans())
    return json.dumps(
        dict(draw(st.permutations(list(message.items())))),
        ensure_ascii=ascii_only,
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", " :\t")])),
        indent=draw(st.sampled_from([None, 1])),
    ).encode("utf-8", "surrogatepass" if ascii_only else "strict")


@few
@given(messages())
def test_any_message_in_both_shapes_comes_back_as_the_same_bytes(source):
    assert through_frame(source)[0] == source


@few
@given(messages(), st.data())
def test_a_changed_message_is_read_or_refused(source, data):
    changed = bytearray(source)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        meter, reading = platform_json.parse(bytes(changed))
    except FrameError as error:
        assert str(error)
        return
    assert platform_json.write(meter, reading) == bytes(changed)


@few
@given(st.binary(max_size=60))
def test_a_damaged_source_is_one_clear_error(source):
    reading = Reading(REGISTERS, Timestamp(0), [Value(1, 5)], source=source)
    try:
        platform_json.write(bytes(16), reading)
    except FrameError as error:
        assert str(error)


def flat(**changes):
    message = {"readingTime": "2023-05-06T11:18:30Z", "meterId": METER, "propertyValues": []} | changes
    return json.dumps({key: value for key, value in message.items() if value is not ...})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "no JSON"),
        ("[]", "object"),
        ("{} {}", "follows"),
        ('{"a": 1,}', "comma"),
        ('{"a": 01}', "no JSON"),
        ('{"a": NaN}', "no JSON"),
        ('{"a": "\t"}', "no JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" * 40 + "]" * 40, "deeper"),
        ("[" * 100000, "deeper"),
        (flat(meterId="a1b2c3d4-e5f6-g7h8-i9j0-k1l2m3n4o5p6"), "not a UUID"),
        (flat(meterId=7), "meterId"),
        (flat(meterId=...), "meterIndividual"),
        (flat(readingTime=...), "readingTime is missing"),
        (flat(readingTime="2023-05-06T11:18:30"), "zone"),
        (flat(readingTime="2023-02-29T11:18:30Z"), "exist"),
        (flat(readingTime="2023-05-06T11:18:61Z"), "exist"),
        (flat(readingTime="2023-05-06T11:18:30+24:00"), "exist"),
        (flat(propertyValues={}), "propertyValues"),
        (flat(propertyValues=[1]), "propertyValues[0]"),
        (flat(propertyValues=[{}]), "propertyValues[0].propertyName is missing"),
        (flat(propertyValues=[{"propertyName": "a", "numericalValue": "abc"}]), "no number"),
        (flat(propertyValues=[{"propertyName": "a", "numericalValue": True}]), "no number"),
        (
            flat(propertyValues=[{"propertyName": "a", "numericalValue": 1, "textValue": "b"}]),
            "and a textValue",
        ),
        (flat(propertyValues=[{"propertyName": "\ud800"}]), "surrogate"),
        (flat(propertyValues=[{"propertyName": "a"}] * 5000), "at most"),
        (flat(faultCode=7), "faultCode"),
        (flat(meterReadingIdentifier="7"), "meterReadingIdentifier"),
        (flat(more="x" * 300000), "at most"),
    ],
)
def test_wrong_messages_are_refused_with_their_field(source, said):
    with pytest.raises(FrameError) as error:
        platform_json.parse(source.encode())
    assert said in str(error.value)


def test_a_message_of_another_meter_than_its_topics():
    with pytest.raises(FrameError, match="its topic"):
        platform_json.parse(flat().encode(), bytes(16))
    assert platform_json.parse(flat().encode(), ids.parse_uuid(METER))[0] == ids.parse_uuid(METER)


def test_our_own_readings_in_both_shapes():
    meter = ids.parse_uuid(METER)
    reading = Reading(
        REGISTERS,
        Timestamp(1700000100),
        [
            Value(registry.obis(1, 8, 0), 65845343, -3, "kWh"),
            Value(registry.obis(96, 1, 0), None, text="12\u00e9"),
        ],
        [0, 1],
    )
    frame = frames.decode(frames.encode(meter, 1, 2, [reading]), meter)
    assert [json.loads(line) for line in platform_json.documents(frame, meter, platform_json.FLAT)] == [
        {
            "readingTime": "2023-11-14T22:15:00Z",
            "meterId": METER,
            "propertyValues": [
                {"propertyName": "1.8.0", "numericalValue": 65845.343, "unit": "kWh"},
                {"propertyName": "C.1.0", "textValue": "12\u00e9"},
            ],
        }
    ]
    [line] = platform_json.documents(frame, meter, platform_json.DESCRIBED)
    assert json.loads(line) == {
        "meterReadingIdentifier": ids.format_uuid(ids.row_id(meter, 1, 2, 2, 0)),
        "readingTime": "2023-11-14T22:15:00Z",
        "faultCode": "OSGP_clock_untrusted,OSGP_meter_time",
        "propertyValues": [
            {
                "unit": "kWh",
                "numericalValue": 65845.343,
                "operationalPropertyDefinition": {
                    "propertyId": "OBIS_1.8.0",
                    "propertyDescription": "Positive active energy (A+) total",
                    "allowedUnits": ["kWh"],
                },
            },
            {
                "textValue": "12\u00e9",
                "operationalPropertyDefinition": {
                    "propertyId": "OBIS_C.1.0",
                    "propertyDescription": "Meter serial number",
                },
            },
        ],
        "meterIndividual": {"meterIndividualId": METER},
    }
    _, again = platform_json.parse(line)
    assert len(again.source) == 1
    assert again.faults == [0, 1]


def test_every_row_of_a_frame_is_a_document():
    meter = ids.parse_uuid(METER)
    series = Series(LOAD_PROFILE, [900, 1800], [Column(1, [5, None], -3, "kWh")], None, [], [(2, 1, 2, 3, 4)])
    frame = frames.decode(frames.encode(meter, 1, 2, [series]), meter)
    found = [json.loads(line) for line in platform_json.documents(frame, meter)]
    assert [len(item["propertyValues"]) for item in found] == [1, 0]
    assert found[1]["meterReadingIdentifier"] == ids.format_uuid(ids.interval_id(meter, 1, 2, 3, 5))
    event = Event(EVENT, Timestamp(900), 17, 5, b"\x01", b"\x02")
    frame = frames.decode(frames.encode(meter, 1, 2, [event]), meter)
    [line] = platform_json.documents(frame, meter, platform_json.FLAT)
    assert json.loads(line)["propertyValues"][0] == {"propertyName": "OSGP_event_code", "numericalValue": 17}
