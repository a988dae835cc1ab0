"""For every firmware and configuration, the tables have the sizes that the dimension tables announce."""

import struct
from itertools import product

import pytest

from gateway.errors import ConfigurationError
from gateway.simulator.definitions import PRESENT_SOURCES
from gateway.simulator.generations import GENERATIONS, Generation, generation
from gateway.simulator.image import Image, et, name_of
from gateway.simulator.meter import VirtualMeter
from tests.mep_probe import KEY, Probe

START = 1_700_000_000_000

CONFIGURATIONS = [generation(name) for name in GENERATIONS] + [
    generation("3.10", demands=1),
    generation("3.50", demands=8),
    generation("4.0", demands=3, tiers=8),
    *(generation("3.80", summations=s, tiers=t) for s, t in product((11, 15, 19), (4, 8))),
    *(generation("4.30", present_values=count) for count in (18, 22, 26, 41, 55, 72, 75, 84)),
    generation("4.10", ct_ratio=40, energy_unit=10),
]


def meter_of(g: Generation) -> VirtualMeter:
    return VirtualMeter(KEY, firmware=g, start_ms=START, monotonic=lambda: 0)


@pytest.mark.parametrize(
    "g", CONFIGURATIONS, ids=lambda g: "%d.%02d-%d" % (*g.number, CONFIGURATIONS.index(g))
)
def test_sizes_follow_the_dimension_tables(g: Generation) -> None:
    image = meter_of(g).image
    actual = image.read(21) if 21 in image else image.read(20)
    flags, _, _, sums, demands, coincidents, occurrences, tiers, present_demands, present = actual
    assert len(actual) == 10

    record = (
        5 * occurrences * (flags >> 1 & 1) + 4 * (flags >> 4 & 1) + 4 * (flags >> 5 & 1) + 4 * occurrences
    )
    block = 4 * sums + record * demands + 4 * occurrences * coincidents
    assert len(image.read(23)) == (flags >> 2 & 1) + block * (1 + tiers)
    assert len(image.read(22)) == sums + demands + (demands + 7) // 8 + 2 * coincidents
    assert len(image.read(27)) == present_demands + present
    assert len(image.read(28)) == present_demands * (7 if flags >> 6 & 1 else 4) + 4 * present
    assert all(have <= most for have, most in zip(actual[2:], image.read(20)[2:], strict=True))

    general = image.read(0)
    assert len(general) == 19 + sum(general[13:17]) + general[13] + general[14]
    bits = int.from_bytes(general[19 : 19 + general[13] + general[14]], "little")
    used = {n for n in range(8 * general[13]) if bits >> n & 1}
    used |= {et(n) for n in range(8 * general[14]) if bits >> (8 * general[13] + n) & 1}
    assert used == set(image.tables())

    extended = image.read(et(11))
    slots, config, status, queue, entry, data, request, response = struct.unpack_from("<5B3H", extended)
    assert len(image.read(et(13))) == slots * config
    assert len(image.read(et(14))) == 6 + slots * status
    assert len(image.read(et(15))) == 1 + queue * (entry + extended[11]) + extended[20]
    assert len(image.read(et(16))) == slots * data
    assert len(image.read(et(52))) == request
    assert len(image.read(et(53))) == response
    clients = extended[34] if len(extended) > 34 else 1
    assert slots == 4 + clients
    assert len(image.read(et(51))) == clients * 10
    assert len(image.read(et(50))) == clients * (35 + 6 * extended[22])

    if et(42) in image:
        interface = image.read(et(42))
        fixed, logs = interface[2:4]
        assert int.from_bytes(interface[:2], "little") == len(interface)
        assert interface[11:19] == actual[2:]
        assert int.from_bytes(interface[21:23], "little") == block
        selection = image.read(22)
        sources = interface[fixed + 3 * logs :][: demands + coincidents]
        after_flags = sums + demands + (demands + 7) // 8
        assert sources == selection[sums : sums + demands] + selection[after_flags:][:coincidents]
        assert logs == image.read(et(36))[0]
    if g.gen4:
        assert image.read(et(70))[142] == 1


@pytest.mark.parametrize(("name", "packed"), [("3.10", 0x3155), ("3.0", 0x3018)])
def test_firmware_version_as_the_guide_packs_it(name: str, packed: int) -> None:
    """BT01: 3.10.21 is 0x3155, 3.00.24 is 0x3018."""
    assert meter_of(generation(name)).image.read(1)[14:16] == packed.to_bytes(2, "big")


@pytest.mark.parametrize("name", ["2.0", "2.10"])
def test_old_firmware_has_only_bt20(name: str) -> None:
    probe = Probe(meter_of(generation(name)))
    assert probe.ask(b"\x30\x00\x15") == b"\x05"
    assert len(probe.read(20)) == 10
    assert probe.ask(b"\x30\x08\x2a") == b"\x05"


def test_generations_have_the_present_values_the_guide_dates() -> None:
    """BT28: which firmware version added which values."""
    counts = {name: g.present_values for name, g in GENERATIONS.items()}
    assert counts["2.0"] == counts["2.10"] == 18 and counts["2.12"] == counts["3.0"] == 22
    assert counts["3.10"] == 26 and counts["3.50"] == 41 and counts["3.70"] == 55
    assert counts["4.0"] == 72 and counts["4.10"] == 75 and counts["4.30"] == 84
    assert len(PRESENT_SOURCES) == len(set(PRESENT_SOURCES)) == 84


def test_oldest_firmware_counts_outages_in_minutes() -> None:
    """Optical guide, BT23, "Power Outage Duration"."""
    for name, unit in (("2.0", 60), ("2.10", 1), ("4.30", 1)):
        meter = meter_of(generation(name))
        meter.counters.outage_seconds = 7200
        assert int.from_bytes(meter.image.read(23)[16:20], "little") == 7200 // unit


def test_energy_unit_stands_where_et55_says() -> None:
    image = meter_of(generation("4.10", ct_ratio=40, energy_unit=100)).image
    tiers = image.read(20)[7]
    assert image.read(et(55))[147 + 4 * (tiers - 1) + 39] == 100
    image = meter_of(generation("3.70", energy_unit=10)).image
    assert image.read(et(55))[146 + 4 * (image.read(20)[7] - 1) + 39] == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"firmware": "9.9"},
        {"summations": 12},
        {"tiers": 5},
        {"present_values": 17},
        {"present_values": 85},
        {"demands": 9},
        {"firmware": "2.0", "demands": 1},
        {"energy_unit": 7},
        {"firmware": "3.50", "energy_unit": 10},
        {"ct_ratio": 0},
    ],
)
def test_what_no_meter_has_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        generation(**wrong)


def test_patches_lie_over_a_table_until_taken_off() -> None:
    image = Image()
    image.compute(28, lambda: bytes(8))
    image.patch(28, 4, (-5).to_bytes(4, "little", signed=True))
    assert image.read(28) == bytes(4) + b"\xfb\xff\xff\xff"
    image.unpatch(28)
    assert image.read(28) == bytes(8)


def test_table_names() -> None:
    assert [name_of(n) for n in (0, 23, et(3), et(79))] == ["BT00", "BT23", "ET03", "ET79"]


def test_reconfiguration_moves_dimensions_and_version() -> None:
    meter = meter_of(generation("3.80"))
    probe = Probe(meter)
    version = probe.read(et(4), 116, 1)[0]
    probe.write(et(50), 30, b"\x01")
    meter.reconfigure(generation("3.80", summations=15, demands=2))
    assert probe.read(21)[3:6] == bytes([15, 2, 4])
    assert len(meter.image.read(23)) == 1 + 5 * (60 + 2 * 17 + 16)
    assert probe.read(et(4), 116, 1)[0] == version + 1
    assert meter.registered
