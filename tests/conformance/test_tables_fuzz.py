"""Whatever a meter answers ends in values or in a TableError: every decoder, random bytes and dimensions."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.c1219.layouts import clocks, extended, general, registers
from gateway.c1219.readers import clock, identity, present
from gateway.c1219.readers import registers as registers_reader
from gateway.c1219.tables import Tables
from gateway.c1219.types import bcd, civil, seconds_of, text
from gateway.errors import Refused, TableError
from gateway.transmission.model import Reading
from tests.fake_meter import FakeMeter, run

LAYOUTS = [
    layout
    for module in (clocks, extended, general, registers)
    for name, layout in vars(module).items()
    if name[:2] in ("BT", "ET")
]
DIMENSIONS = (
    "summations", "demands", "demand_flag_bytes", "demand_times", "coincidents", "occurrences", "tiers",
    "present_demands", "present_values", "reset_counter", "cumulative", "continuous", "time_remaining",
    "firmware", "step_thresholds",
)  # fmt: skip
NUMBERS = st.one_of(st.integers(0, 9), st.integers(0, 255), st.integers(0, 65535))

quick = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def test_every_declared_table_is_fuzzed():
    assert sorted(layout.name for layout in LAYOUTS) == [
        "BT00", "BT01", "BT15", "BT20", "BT21", "BT22", "BT23", "BT27", "BT28", "BT52", "BT53", "BT55",
        "ET03", "ET04", "ET11", "ET55",
    ]  # fmt: skip


@quick
@given(st.sampled_from(LAYOUTS), st.lists(NUMBERS, min_size=15, max_size=15), st.binary(max_size=600))
def test_decoders(layout, numbers, data):
    dims = dict(zip(DIMENSIONS, numbers, strict=True))
    try:
        table = layout.decode(data, dims)
    except TableError as error:
        assert layout.name in str(error)
    else:
        assert layout.size(dims) <= len(data)
        assert table


@quick
@given(st.sampled_from(LAYOUTS), st.lists(NUMBERS, min_size=15, max_size=15), st.integers(0, 500))
def test_reads_cover_each_byte_of_a_table_once(layout, numbers, limit):
    dims = dict(zip(DIMENSIONS, numbers, strict=True))
    try:
        size = layout.size(dims)
        reads = layout.reads(dims, limit, gap=1000)
    except TableError:
        return
    end = 0
    for offset, count in reads:
        assert offset >= end
        assert count > 0
        assert not limit or count <= max(limit, 30)  # a text of 30 characters is one value
        end = offset + count
    assert end <= size


@quick
@given(st.binary(max_size=12))
def test_values(data):
    assert "\0" not in text(data)
    for convert in (bcd, seconds_of):
        try:
            found = convert(data)
        except (TableError, IndexError) as error:
            assert isinstance(error, TableError) or len(data) not in (5, 6)
        else:
            if convert is seconds_of and found is not None and len(data) == 6:
                year, *rest = civil(found)
                assert bytes((year - 2000, *rest)) == data


# What a reader may ask; lengths around the true ones, and contents of every kind.
TABLES = (0, 1, 15, 20, 21, 22, 23, 27, 28, 52, 53, 55, 2051, 2052, 2103)
CONTENT = st.one_of(
    st.binary(max_size=64),
    st.builds(lambda byte, size: bytes((byte,)) * size, st.integers(0, 255), st.integers(0, 4000)),
)
PLAUSIBLE_BT21 = st.builds(
    lambda flags, rest: bytes((flags, 12, 0)) + bytes(rest),
    st.integers(0, 127),
    st.tuples(*[st.integers(0, limit) for limit in (19, 8, 16, 2, 8, 8, 84)]),
)


@settings(quick, max_examples=150)
@given(
    st.sampled_from((clock, identity, present, registers_reader)),
    st.dictionaries(st.sampled_from(TABLES), CONTENT),
    st.one_of(st.none(), PLAUSIBLE_BT21),
    st.sampled_from((3, 4, 5)),
    st.sampled_from((0, 1, 20, 117, 465)),
)
def test_readers(reader, tables, bt21, code, max_read):
    # The true length is rarely hit by chance: zeros fill up what is asked for.
    tables = {number: data + bytes(4000) if len(data) % 2 else data for number, data in tables.items()}
    if bt21:
        tables[21] = bt21
    try:
        readings = run(reader.read(Tables(FakeMeter(tables, max_read, code))))
    except (TableError, Refused):
        return
    for reading in readings:
        assert isinstance(reading, Reading)
        props = [value.prop for value in reading.values]
        assert len(set(props)) == len(props)
        assert all((value.mantissa is None) != (value.text is None) for value in reading.values)
