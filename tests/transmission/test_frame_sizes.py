"""What frames weigh on the wire, whole MQTT payloads, printed with every run."""

import json
import lzma
import struct
from itertools import pairwise

import pytest

from gateway.transmission import frames, ids, platform_json
from gateway.transmission.model import EVENT, LOAD_PROFILE, Column, Event, Series, Timestamp
from tests.household import load_profile, present_values
from tests.interpreter import ROOT

METER = ids.parse_uuid("bf17c6a0-82ce-4214-adbd-5a7e4ecdb0ff")


@pytest.fixture
def say(figures):
    def say(what, size, values):
        figures(f"{what}: {size} bytes, {size / values:.2f} per value")

    return say


def size_of(*items):
    payload = frames.encode(METER, 0xDEADBEEF, 100000, items)
    assert frames.decode(payload, METER).items
    return len(payload)


def reference_json(series):
    """The same values as the reference implementation writes them: one message for each instant."""
    frame = frames.decode(frames.encode(METER, 1, 1, [series]), METER)
    style = platform_json.FLAT | platform_json.QUOTED
    return sum(len(document) for document in platform_json.documents(frame, METER, style))


def deltas_under_lzma(series):
    """The values alone, as differences of 16 bits, under a strong general-purpose compressor."""
    data = b"".join(
        struct.pack("<h", max(-32768, min(32767, b - a)))
        for column in series.columns
        for a, b in pairwise(column.mantissas)
    )
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 1, "pb": 1}]
    return len(lzma.compress(data, format=lzma.FORMAT_ALONE, filters=filters)) - 13


def test_a_reading_of_13_properties(say):
    message = json.loads((ROOT / "tests/vectors/reference_reading.json").read_text())["message"]
    source = json.dumps(message).encode()
    size = size_of(platform_json.parse(source)[1])
    say(f"one reading of 13 properties ({len(source)} bytes as JSON)", size, 13)
    assert size <= 64
    assert size * 15 <= len(source) == 997


@pytest.mark.parametrize("roof_watts", [0, 5000], ids=["no roof", "solar roof"])
def test_a_day_of_load_profile(say, roof_watts):
    series = load_profile(1, roof_watts)
    size = size_of(series)
    text = reference_json(series)
    say(f"a day of load profile, {roof_watts} W of roof ({text} bytes as JSON)", size, 4 * 96)
    assert size <= 0.80 * 4 * 96
    assert size * 110 <= text
    assert size < deltas_under_lzma(series)


def test_a_single_live_interval(say):
    day = load_profile(1, 5000)
    columns = [Column(c.prop, c.mantissas[:1], c.exponent, c.unit) for c in day.columns]
    size = size_of(Series(LOAD_PROFILE, day.times[:1], columns, origins=[(1, 1, 0x12345678, 300, 17)]))
    say("a single interval of load profile", size, 4)
    assert size <= 48


def test_an_hour_of_present_values(say):
    series = present_values(3600)
    values = len(series.times) * len(series.columns)
    size = size_of(series)
    say(f"an hour of present values every 10 s, {len(series.columns)} properties", size, values)
    assert values == 360 * 18
    assert size < deltas_under_lzma(series)
    assert size <= 0.85 * values


def test_an_event(say):
    size = size_of(
        Event(EVENT, Timestamp(1700000000), 17, 12345, bytes((23, 11, 14, 22, 13, 20)), b"\x01\x02")
    )
    say("an event with 2 bytes of argument", size, 1)
    assert size <= 26
