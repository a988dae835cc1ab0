"""Any item goes through a frame and comes back; any bytes are a frame or one clear error."""

import binascii

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.errors import FrameError
from gateway.transmission import bits, coder, columns, frames, ids, packer, registry
from gateway.transmission.model import (
    ALARM,
    EVENT,
    FOREIGN,
    LOAD_PROFILE,
    PRESENT,
    REGISTERS,
    SELF_READ,
    Column,
    Event,
    Reading,
    Series,
    Timestamp,
    Value,
)
from gateway.transmission.rows import rows

METER = bytes(range(100, 116))

few = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

int64 = st.integers(-(1 << 63), (1 << 63) - 1)
mantissas = st.one_of(
    st.integers(-300, 300), st.integers(0, 70000000), int64, st.sampled_from([2**31 - 1, -(2**31), 2**63 - 1])
)
exponents = st.one_of(st.integers(-4, 2), st.integers(-4096, 4096))
texts = st.text(max_size=12)
props = st.one_of(st.integers(0, registry.COUNT - 1), texts)
units = st.one_of(st.none(), st.sampled_from(["kWh", "kW", "V", "A", "Wh"]), texts)
offsets = st.one_of(st.none(), st.sampled_from([0, 60, 120]), st.integers(-1439, 1439))
seconds = st.one_of(st.integers(1600000000, 1900000000), st.integers(-62135596800, 253402300799))
stamps = st.builds(Timestamp, seconds, st.text("0123456789", max_size=9), offsets)
faults = st.lists(st.one_of(st.integers(0, 20), texts), max_size=3)


@st.composite
def values(draw):
    value = Value(draw(props), draw(st.one_of(st.none(), mantissas)), 0, draw(units))
    if value.mantissa is not None:
        value.exponent = draw(exponents)
    elif draw(st.booleans()):
        value.text = draw(texts)
    value.date = draw(st.one_of(st.none(), st.none(), stamps))
    return value


readings = st.builds(
    Reading,
    st.just(SELF_READ),
    stamps,
    st.lists(values(), max_size=20),
    faults,
    st.one_of(st.none(), st.lists(st.one_of(int64, st.binary(max_size=8)), max_size=3).map(tuple)),
    st.one_of(st.none(), st.binary(min_size=16, max_size=16)),
    st.one_of(st.none(), st.binary(max_size=20)),
)

events = st.builds(
    Event,
    st.sampled_from([EVENT]),
    stamps,
    int64,
    int64,
    st.binary(max_size=8),
    st.binary(max_size=12),
    faults,
)


@st.composite
def runs_of_numbers(draw, size):
    """Counters, wandering values, constants, rare spikes, anything; now and then no value."""
    form = draw(st.integers(0, 4))
    if form == 0:
        numbers = draw(st.lists(mantissas, min_size=size, max_size=size))
    elif form == 1:
        numbers = [draw(mantissas)] * size
    else:
        most = (3, 200, 5000)[form - 2]
        steps = draw(st.lists(st.integers(-1 if form == 3 else 0, most), min_size=size, max_size=size))
        numbers = [draw(st.integers(-(1 << 40), 1 << 40))]
        for step in steps[1:]:
            numbers.append(numbers[-1] + step)
    holes = draw(st.lists(st.integers(0, size), max_size=3)) if size else []
    return [None if i in holes else number for i, number in enumerate(numbers[:size])]


@st.composite
def series(draw):
    size = draw(st.one_of(st.integers(0, 5), st.integers(6, 40)))
    step = draw(st.sampled_from([10, 900, 3600]))
    start = draw(st.integers(0, 4000000000))
    times = [start + step * i for i in range(size)]
    if size and draw(st.booleans()):
        times = sorted(draw(st.lists(seconds, min_size=size, max_size=size)))
    found = [
        Column(draw(props), draw(runs_of_numbers(size)), draw(exponents), draw(units))
        for _ in range(draw(st.integers(0, 4)))
    ]
    marks = (
        draw(st.lists(st.tuples(st.integers(0, size - 1), st.one_of(st.integers(0, 9), texts)), max_size=6))
        if size
        else []
    )
    origins = []
    left = size
    while left and draw(st.booleans()):
        count = draw(st.integers(1, left))
        origins.append((count, *draw(st.tuples(*[st.integers(0, 1 << 33)] * 4))))
        left -= count
    if left:
        origins = []
    return Series(LOAD_PROFILE, times, found, draw(offsets), sorted(marks, key=lambda mark: mark[0]), origins)


def told(item):
    told = dict(vars(item))
    if isinstance(item, Reading):
        told["values"] = [
            (value.prop, value.mantissa, value.exponent, value.unit, value.text, value.date)
            for value in item.values
        ]
    if isinstance(item, Series):
        told["columns"] = [{**vars(column), "mantissas": list(column.mantissas)} for column in item.columns]
    return {
        key: list(value) if isinstance(value, tuple) and key != "stored" else value
        for key, value in told.items()
    }


@few
@given(
    st.one_of(
        st.lists(readings, min_size=1, max_size=4),
        st.lists(events, min_size=1, max_size=4),
        st.lists(series(), min_size=1, max_size=2),
    ),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, frames.MAX_SEQUENCE),
)
def test_any_items_come_back(items, epoch, sequence):
    payload = frames.encode(METER, epoch, sequence, items)
    frame = frames.decode(payload, METER)
    assert (frame.epoch, frame.sequence, frame.kind) == (epoch, sequence, items[0].kind)
    assert [told(item) for item in frame.items] == [told(item) for item in items]
    assert msgpack.unpackb(payload)[:2] == [frames.VERSION, payload[2]]
    found = list(rows(frame, METER))
    assert [identifier for identifier, _ in found] == list(ids.frame_ids(METER, frame))


@few
@given(st.lists(st.integers(1, 60).flatmap(runs_of_numbers), min_size=1, max_size=4))
def test_columns_of_any_numbers_share_one_range_coder(found):
    found = [[number or 0 for number in numbers] for numbers in found]
    writer = bits.BitWriter()
    encoder = coder.RangeEncoder()
    for numbers in found:
        columns.put_column(writer, encoder, numbers)
    encoder.finish(writer)
    reader = columns.ColumnReader(bits.BitReader(bytes(writer.finish())))
    back = [reader.read(len(numbers)) for numbers in found]
    reader.finish()
    assert back == found


def sealed(body):
    check = binascii.crc32(body, binascii.crc32(METER)) & 0xFFFF
    return body + check.to_bytes(2, "big")


def decodes_or_refuses(payload):
    try:
        frame = frames.decode(payload, METER)
    except FrameError as error:
        assert str(error)
        return
    for item in frame.items:
        told(item)
    size = sum(len(item.times) * (len(item.columns) + 1) for item in frame.items if isinstance(item, Series))
    size += sum(len(item.values) + 1 for item in frame.items if isinstance(item, Reading))
    assert size <= 65536


@few
@given(
    st.sampled_from([PRESENT, REGISTERS, LOAD_PROFILE, EVENT, ALARM, FOREIGN, 15]),
    st.integers(0, 3),
    st.binary(max_size=200),
)
def test_any_bytes_behind_a_right_check_are_a_frame_or_an_error(kind, form, body):
    cls = (2, 2, 2, 3, 1, 1, 0, 0, 2, 2)[kind] if kind < 10 else 0
    body = b"\0\0\0\1" + bytes([cls]) + body
    decodes_or_refuses(sealed(bytes([0x93, 1, kind | form << 4, 0xC4, len(body) + 2]) + body))


@few
@given(
    st.one_of(st.lists(readings, min_size=1, max_size=2), st.lists(series(), min_size=1, max_size=2)),
    st.data(),
)
def test_a_changed_frame_is_a_frame_or_an_error(items, data):
    payload = bytearray(frames.encode(METER, 1, 2, items)[:-2])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(9, len(payload) - 1))] = data.draw(st.integers(0, 255))
    decodes_or_refuses(sealed(bytes(payload)))


@few
@given(st.binary(max_size=60))
@example(b"\x93\x01\x02\xc4\x07\0\0\0\0\xff\xff\xff")
def test_any_bytes_at_all(payload):
    for read in (frames.head, lambda data: frames.decode(data, METER)):
        try:
            read(payload)
        except FrameError as error:
            assert str(error)


plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), texts, st.binary(max_size=40)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=20),
        st.dictionaries(st.one_of(texts, st.integers(0, 99)), inner, max_size=20),
    ),
    max_leaves=30,
)


@few
@given(plain)
def test_our_messagepack_is_that_of_the_msgpack_package(value):
    packed = packer.pack(value)
    assert packed == msgpack.packb(value)
    assert packer.unpack(packed) == value == msgpack.unpackb(packed, strict_map_key=False)


@few
@given(st.binary(max_size=40))
def test_any_bytes_are_messagepack_of_ours_or_refused(data):
    try:
        value = packer.unpack(data)
    except FrameError:
        return
    assert value == msgpack.unpackb(data, strict_map_key=False)


@pytest.mark.parametrize("value", [1.0, {"a": [float("inf")]}, 1 << 64, {1, 2}])
def test_floats_and_other_types_are_refused_by_name(value):
    with pytest.raises(FrameError):
        packer.pack(value)
