"""Frames in, the platform's JSON out."""

import base64
import io
import json
import sys
import uuid
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError, FrameError
from gateway.host.decode import decode
from gateway.transmission import envelope, frames, model, registry
from gateway.transmission.model import Column, Reading, Series, Timestamp, Value

METER = uuid.UUID("faa04757-898e-5910-8dc8-2eecce8ef393")


def frame(*items) -> bytes:
    return frames.encode(METER.bytes, 0x01020304, 7, list(items))


READING = Reading(
    model.PRESENT,
    Timestamp(1_700_000_000),
    [
        Value(registry.number("OBIS_1.7.0"), 431, 0, "W"),
        Value(registry.number("OBIS_32.7.0"), 22940, -2, "V"),
        Value(registry.number("OBIS_13.7.0"), -998, -3, None),
    ],
)


@pytest.fixture
def decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(content: bytes, meter_id: str | None = None, flat: bool = False) -> list[dict]:
        file = tmp_path / "frame"
        file.write_bytes(content)
        decode(file, meter_id, flat)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_every_form_of_the_file_gives_the_same(decoded):
    wrapped = envelope.wrap(METER.bytes, frame(READING))
    first = decoded(wrapped)
    assert len(first) == 1
    assert decoded(wrapped.hex().encode()) == first
    assert decoded(base64.encodebytes(wrapped)) == first
    bare = frame(READING)
    assert decoded(bare, str(METER)) == first
    assert decoded(bare.hex(" ").upper().encode() + b"\n", str(METER)) == first


def test_the_specifications_form(decoded):
    (reading,) = decoded(envelope.wrap(METER.bytes, frame(READING)))
    assert uuid.UUID(reading["meterReadingIdentifier"])
    assert reading["readingTime"] == "2023-11-14T22:13:20Z"
    assert reading["meterIndividual"]["meterIndividualId"] == str(METER)
    assert [value["operationalPropertyDefinition"]["propertyId"] for value in reading["propertyValues"]] == [
        "OBIS_1.7.0",
        "OBIS_32.7.0",
        "OBIS_13.7.0",
    ]


def test_the_flat_form_keeps_every_digit(decoded):
    (reading,) = decoded(envelope.wrap(METER.bytes, frame(READING)), flat=True)
    assert reading["meterId"] == str(METER)
    assert [value["numericalValue"] for value in reading["propertyValues"]] == ["431", "229.40", "-0.998"]


def test_a_line_for_each_row_and_frame(decoded):
    column = Column(registry.number("OBIS_1.7.0"), [1, 2, 3], 0, "W")
    series = Series(model.PRESENT, [1_700_000_000, 1_700_000_010, 1_700_000_020], [column])
    content = envelope.wrap(METER.bytes, frame(series)) + envelope.wrap(METER.bytes, frame(READING))
    assert len(decoded(content)) == 4


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in (None, Path("-")):
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(envelope.wrap(METER.bytes, frame(READING))))
        )
        decode(name, None, False)
        assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("content", [b"", b" \n", b"hello world", b"zz", b"\x93", b"\xff" * 40, b"0" * 7])
def test_what_is_no_frame(decoded, content: bytes):
    with pytest.raises(FrameError):
        decoded(content, str(METER))


def test_every_damage_to_a_frame_is_told(decoded):
    whole = frame(READING)
    for at in range(len(whole)):
        with pytest.raises(FrameError):
            decoded(whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :], str(METER))
    for length in range(1, len(whole)):
        with pytest.raises(FrameError):
            decoded(whole[:length], str(METER))


def test_wrong_usage(decoded, tmp_path: Path):
    with pytest.raises(ConfigurationError, match="--meter-id"):
        decoded(frame(READING))
    with pytest.raises(ConfigurationError, match="not a UUID"):
        decoded(frame(READING), "house")
    with pytest.raises(ConfigurationError, match="leave --meter-id out"):
        decoded(envelope.wrap(METER.bytes, frame(READING)), str(METER))
    with pytest.raises(ConfigurationError, match="no such file"):
        decode(tmp_path / "absent", None, False)
    with pytest.raises(FrameError):
        decoded(frame(READING), str(uuid.UUID(int=1)))  # the check in a frame covers its meter
