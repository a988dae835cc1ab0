"""Whatever a meter answers about load profiles, self-reads and its calendar ends in series, readings or our
own error, and costs no more than a step's worth of bytes."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.c1219.layouts import calendar, profile
from gateway.c1219.layouts import self_reads as self_read_layouts
from gateway.c1219.local_time import local_time, recurring_day
from gateway.c1219.readers import load_profile, self_reads
from gateway.c1219.readers.profile_columns import meaning
from gateway.c1219.readers.profile_values import value
from gateway.c1219.tables import Tables
from gateway.errors import Refused, TableError
from gateway.transmission import frames
from gateway.transmission.model import Reading, Series
from tests.fake_meter import FakeMeter, bt01, run, standard
from tests.profile_meter import DataSet, ProfileMeter

quick = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
LAYOUTS = [
    layout
    for module in (calendar, profile, self_read_layouts)
    for name, layout in vars(module).items()
    if name[:2] in ("BT", "ET") and hasattr(layout, "decode")
]
BYTE = st.integers(0, 255)
DIMENSIONS = (
    "single_dates", "recurring_dates", "data_sets", "channels", "scaled_channels", "has_configuration",
    "has_progress", "data_types", "demands", "date_time", "season", "reset_counter", "summations", "tiers",
    "demand_times", "cumulative", "continuous", "occurrences", "coincidents",
)  # fmt: skip
CURSORS = st.one_of(
    st.none(), st.binary(max_size=80), st.builds(load_profile.since, st.integers(-5, 1 << 41)),
    st.builds(
        lambda marks: b"\x01" + b"".join(marks), st.lists(st.binary(min_size=13, max_size=13), max_size=4)
    ),
)  # fmt: skip


@quick
@given(st.data())
def test_layouts(data):
    layout = data.draw(st.sampled_from(LAYOUTS))
    numbers = st.one_of(st.integers(0, 16), st.integers(0, 65535))
    dims = {name: data.draw(numbers) for name in DIMENSIONS}
    try:
        table = layout.decode(data.draw(st.binary(max_size=300)), dims)
    except TableError:
        return
    assert isinstance(table, dict)


class Counting(FakeMeter):
    """Answers everything it is asked, and counts the bytes."""

    asked = 0

    async def read(self, table, offset=None, count=None):
        assert count is not None
        assert count <= 8192
        self.asked += count
        assert self.asked < 200_000
        found = await FakeMeter.read(self, table, offset, count)
        return found + bytes(count - len(found)) if len(found) < count else found


def steps(reader, tables, cursor):
    """What a few steps bring; every step fits a frame, and every cursor the outbox's notes."""
    items = []
    for _ in range(3):
        try:
            step = run(reader.read(tables, cursor))
        except (TableError, Refused):
            break
        items += step.items
        cursor = step.cursor
        assert len(cursor) < 256
        if step.items:
            for some in frames.split(step.items):
                assert len(frames.encode(bytes(16), 1, 1, some)) <= frames.MAX_FRAME
    return items


CONTENT = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda byte, size: bytes((byte,)) * size, st.integers(0, 255), st.integers(0, 600)),
)


@quick
@given(
    st.dictionaries(
        st.sampled_from((60, 61, 62, 63, 64, 65, 67, 2069, 2084, 2090, 2103, 2105, 2114, 2123)), CONTENT
    ),
    st.sampled_from((0x2020, 0x3155, 0x3640, 0x38C0, 0x43C0, 0x1280)),
    CURSORS,
    st.sampled_from((0, 20, 117, 465)),
)
def test_a_profile_of_garbage(garbage, firmware, cursor, max_read):
    meter = Counting({**standard(), **garbage, 1: bt01(firmware)}, max_read)
    for item in steps(load_profile, Tables(meter), cursor):
        assert isinstance(item, Series)


@quick
@given(
    st.integers(1, 16), st.integers(1, 40), st.booleans(), st.integers(0, 120), CURSORS,
    st.lists(st.tuples(st.sampled_from((60, 61, 62, 63, 64, 2069)), st.integers(0, 200), BYTE), max_size=4),
    st.binary(max_size=400),
)  # fmt: skip
def test_a_profile_with_spoiled_bytes(channels, intervals, ends, count, cursor, spoiled, statuses):
    each = DataSet(5, intervals, list(range(channels)), end_readings=ends)
    for i in range(count):
        status = [
            (statuses[(i * channels + c) % len(statuses)] & 15 if statuses else 0) for c in range(channels)
        ]
        each.record([i * c for c in range(channels)], i & 15, status)
    meter = ProfileMeter([each, None, None, None])
    each.moved = True  # reads beyond the table give zeros
    render = meter.render

    def spoil(table, offset, size):
        found = render(table, offset, size)
        changes = [(at, byte) for number, at, byte in spoiled if number == table]
        if not changes:
            return found
        if table == 64:
            found = b"".join(each.ring)
        found = bytearray(found)
        for at, byte in changes:
            found[at % len(found)] = byte
        return bytes(found) + bytes(70_000)

    meter.render = spoil
    for item in steps(load_profile, Tables(meter), cursor):
        assert isinstance(item, Series)
        assert len(item.times) <= intervals or spoiled
    assert meter.bytes < 200_000


@quick
@given(
    st.dictionaries(st.sampled_from((22, 26, 50, 52, 53, 54, 2090, 2103)), CONTENT),
    st.tuples(*[st.integers(0, limit) for limit in (127, 15, 255, 19, 8, 16, 2, 8, 8, 84)]),
    st.one_of(st.none(), st.binary(max_size=20)),
    st.sampled_from((0, 20, 465)),
)
def test_self_reads_of_garbage(garbage, bt21, cursor, max_read):
    meter = Counting({**standard(), **garbage, 21: bytes(bt21)}, max_read)
    for item in steps(self_reads, Tables(meter), cursor):
        assert isinstance(item, Reading)


@quick
@given(st.dictionaries(st.sampled_from((50, 52, 53, 54, 2052)), CONTENT), st.integers(946684800, 4102444799))
def test_a_calendar_of_garbage(garbage, local):
    try:
        rules = run(local_time(Tables(Counting({**standard(), **garbage}))))
    except (TableError, Refused):
        return
    utc, offset, certain = rules.utc_of(local)
    assert utc + 60 * offset == local
    assert -720 <= offset <= 840 + 255
    assert isinstance(certain, bool)


@quick
@given(st.integers(0, 65535), st.integers(2000, 2099))
def test_every_recurring_date(number, year):
    date = calendar.BT54.decode(
        bytes((number & 255, number >> 8, 1)), {"single_dates": 0, "recurring_dates": 1}
    )["recurring_dates"][0]
    day = recurring_day(date, year)
    assert day == -1 or abs(day - ((year - 1970) * 365 + (year - 1969) // 4)) < 375


@quick
@given(st.binary(max_size=12), st.binary(min_size=4, max_size=4), st.integers(1, 1000))
def test_m_bus_values(header, raw, factor):
    found = meaning(header)
    if found is not None:
        exponent, unit, coding = found
        count = value((0, "x", exponent, unit, coding, factor), raw)
        assert count is None or count % factor == 0
