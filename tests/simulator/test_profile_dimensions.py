"""For every firmware and every way to configure a load profile, all tables announce the same dimensions."""

import struct
from itertools import product

import pytest

from gateway.simulator.generations import GENERATIONS, generation
from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.profile import Configuration, DataSet
from gateway.simulator.profile_tables import sets_of
from tests.mep_probe import KEY

_SOURCES = (0, 1, 2, 3, 8, 9, 10, 11, 15, 16, 17, 12, 13, 14, 19, 4)


def data_set(channels: int, minutes: int, scaled: bool) -> DataSet:
    scaling = ((3, 7),) * channels if scaled else ()
    return DataSet(_SOURCES[:channels], minutes, 1440 // minutes, 7 + channels, scaling)


@pytest.mark.parametrize(
    ("firmware", "channels", "end_readings"),
    list(product(GENERATIONS, (1, 2, 15, 16), (False, True))),
)
def test_dimensions_agree(firmware: str, channels: int, end_readings: bool) -> None:
    g = generation(firmware)
    known = sets_of(g)
    sets = [
        data_set(channels, 15, False),
        DataSet(),
        data_set(17 - channels, 60, True),
        DataSet((0,), 1440, 31, 2),
    ]
    configuration = Configuration(tuple(sets[:known]), end_readings, block_start=90)
    meter = VirtualMeter(KEY, firmware=g, start_ms=0, monotonic=lambda: 0, profile=configuration)
    read = meter.image.read

    actual, most, control, status, internal = read(61), read(60), read(62), read(63), read(et(21))
    assert len(actual) == len(most) == 7 + 6 * known and len(status) == 13 * known
    flags = int.from_bytes(actual[4:6], "little")
    assert flags >> 4 & 1 == end_readings and most[4:7] == actual[4:7]
    width = len(internal) // known
    memory = 0
    for n in range(known):
        blocks, intervals, count, code = struct.unpack_from("<HHBB", actual, 7 + 6 * n)
        limits = struct.unpack_from("<HHBB", most, 7 + 6 * n)
        assert (blocks, intervals, count) <= limits[:3] and code <= limits[3]
        element = internal[width * n : width * (n + 1)]
        scaled = flags >> (6 + n) & 1
        mapped = control[1 : 3 * count : 3]
        assert control[3 * count] == 32
        step = 3 * count + 1 + 4 * count * scaled
        if scaled:
            words = struct.unpack_from("<%dH" % (2 * count), control, 3 * count + 1)
            assert words == (3,) * count + (7,) * count
        control = control[step:]
        if not blocks:
            assert element == bytes(width) and (64 + n) not in meter.image
            continue
        header = 5 + 4 * count * end_readings + (intervals + 7) // 8
        interval = count // 2 + 1 + 4 * count
        size = header + intervals * interval
        memory += blocks * size
        assert struct.unpack_from("<IH", element, 8) == (size, header)
        assert element[22:27] == bytes(
            [5 + 4 * count * end_readings, (intervals + 7) // 8, header, interval, count // 2 + 1]
        )
        assert element[28:30] == bytes([count, code])
        listed = element[30:38] + element[70:78] if width > 38 else element[30:38]
        assert listed[:count] == mapped[: len(listed)]
        if width > 90:
            assert element[89:91] == bytes([1, 30])
        assert meter.image.read_part(64 + n, 0, 0)[0] == blocks * size
    assert control == b""
    assert int.from_bytes(actual[:4], "little") == memory
    if et(42) in meter.image:
        check_interface_definition(read(et(42)), internal, actual, known, width)


def check_interface_definition(
    interface: bytes, internal: bytes, actual: bytes, known: int, width: int
) -> None:
    """ET42 has the same dimensions, in its own order."""

    def expected(n: int) -> bytes:
        element = internal[width * n : width * (n + 1)]
        dimensions = actual[7 + 6 * n :][:6]
        options = element[93:94] if width > 93 else interface[32:33]
        start = element[89:91] if width > 90 else interface[35:37]
        return (
            element[8:12]
            + dimensions[:2]
            + dimensions[4:6]
            + element[25:26]
            + options
            + dimensions[2:4]
            + start
        )

    assert interface[23:37] == expected(0)
    fixed, logs = interface[2:4]
    demands, coincidents = interface[13:15]
    at = fixed + 3 * logs + demands + coincidents
    channels = interface[29]
    sources = struct.unpack_from("<%dH" % channels, interface, at)
    assert sources == _SOURCES[:channels]
    at += 2 * channels
    at += 1 + 4 * interface[at]
    if known > 1:
        mask = interface[at]
        at += 1
        assert mask == 0b110
        for n in (2, 3):
            assert interface[at : at + 14] == expected(n)
            at += 14 + 2 * actual[7 + 6 * n + 4]
    required = interface[at:]
    assert not required or required[0] == len(required)


def test_mapped_sources_stand_in_et66() -> None:
    sets = (DataSet(), DataSet((0, 0x4001, 3, 0x4102), 60, 24, 5), DataSet(), DataSet())
    meter = VirtualMeter(KEY, firmware="4.30", start_ms=0, monotonic=lambda: 0, profile=Configuration(sets))
    control, mapping = meter.image.read(62), meter.image.read(et(66))
    sources = control[1 + 1 : 1 + 12 : 3]
    assert sources == bytes([0, 129, 3, 131])
    assert len(mapping) == 4 * 16 * 2
    for source, extended in ((129, 0x4001), (131, 0x4102)):
        assert int.from_bytes(mapping[2 * (source - 112) :][:2], "little") == extended
    types = meter.image.read(et(57))
    assert [types[at] >> 2 & 31 for at in range(0, 12, 4)] == [1, 2, 3]


def test_a_configuration_for_another_firmware_is_refused() -> None:
    with pytest.raises(ValueError, match="1 data sets"):
        VirtualMeter(KEY, firmware="3.10", profile=Configuration((DataSet(),) * 4))
