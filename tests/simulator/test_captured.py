"""Captured tables: a real household meter, served by a meter whose dimensions fit its answers."""

import json
import struct
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.simulator.captured import fitting, read_tables
from gateway.simulator.definitions import PRESENT_SOURCES
from gateway.simulator.meter import VirtualMeter
from tests.mep_probe import KEY, Probe

REAL = Path(__file__).parents[1] / "vectors" / "real_meter.json"
FACTS = json.loads(REAL.read_text())

# What the guide numbers the file's names by, in BT22 and BT27.
TOTALS = {
    "forward active Wh": 0,
    "reverse active Wh": 1,
    "import reactive varh": 2,
    "export reactive varh": 3,
    "power outage seconds": 4,
    "power outages": 5,
    "forward+reverse Wh": 6,
    "forward-reverse Wh": 7,
}
SOME = {
    "forward W": 8,
    "reverse W": 9,
    "import var": 10,
    "export var": 11,
    "L1 mA": 12,
    "L2 mA": 13,
    "L3 mA": 14,
    "L1 mV": 15,
    "L2 mV": 16,
    "L3 mV": 17,
    "frequency mHz": 19,
    "VA": 20,
    "power factor L1 1/1000": 18,
    "power factor L2 1/1000": 21,
    "power factor L3 1/1000": 22,
}


@pytest.fixture
def probe() -> Probe:
    tables = read_tables(REAL)
    meter = VirtualMeter(KEY, firmware=fitting(tables), start_ms=1_700_000_000_000)
    for table, data in tables.items():
        meter.image.keep(table, data)
    return Probe(meter)


def test_the_real_meter_answers_as_it_did(probe: Probe) -> None:
    for name, table in (("BT23", 23), ("BT28", 28)):
        frame = bytes.fromhex(FACTS[name]["frame"])
        assert b"\x00\x00\xdc" + probe.read(table) == frame[2:-8]


def test_selections_give_the_values_their_meaning(probe: Probe) -> None:
    dimensions = probe.read(21)
    assert dimensions[3:10] == bytes([11, 0, 0, 0, 4, 0, 55])
    totals = dict(zip(probe.read(22), struct.unpack_from("<11i", probe.read(23)), strict=True))
    assert {name: totals[source] for name, source in TOTALS.items()} == FACTS["BT23"]["total"]
    values = struct.unpack("<55i", probe.read(28))
    assert list(values) == FACTS["BT28"]["values"]
    present = dict(zip(probe.read(27), values, strict=True))
    assert {name: present[source] for name, source in SOME.items()} == FACTS["BT28"]["some"]


def test_the_rest_of_the_meter_lives(probe: Probe) -> None:
    assert probe.read(52)[:2] == bytes([23, 11])
    assert len(probe.read(2051)) == 143


def test_dimension_tables_of_the_file_win(tmp_path: Path) -> None:
    file = tmp_path / "tables.json"
    file.write_text(json.dumps({"about": "x", "BT21": "3f0e0c0f0800010408" + "1a", "BT23": {"data": "00"}}))
    g = fitting(read_tables(file))
    assert (g.summations, g.demands, g.tiers, g.present_values) == (15, 8, 4, 26)


@pytest.mark.parametrize(
    ("values", "summations", "tiers"), [(55, 11, 4), (99, 11, 8), (75, 15, 4), (171, 19, 8)]
)
def test_blocks_are_told_from_the_length(values: int, summations: int, tiers: int) -> None:
    g = fitting({23: bytes(4 * values), 28: bytes(4 * 84)})
    assert (g.summations, g.tiers, g.present_values) == (summations, tiers, 84)
    assert len(PRESENT_SOURCES[: g.present_values]) == 84


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "Expecting"),
        ("[]", "no member is named like a table"),
        ('{"about": "nothing"}', "no member is named like a table"),
        ('{"BT23": {"data": "0g"}}', "BT23 has no table data in hex"),
        ('{"ET03": {"frame": "00"}}', "ET03 has no table data in hex"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, part: str) -> None:
    file = tmp_path / "tables.json"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        read_tables(file)
    assert str(file) in str(caught.value) and part in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.json"):
        read_tables(tmp_path / "nowhere.json")


def test_a_block_of_no_known_shape_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="54 values"):
        fitting({23: bytes(4 * 54)})
