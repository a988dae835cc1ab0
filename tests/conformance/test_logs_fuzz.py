"""Whatever a meter answers for its logs, alarms and devices: items within bounds, or our own error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.c1219.readers import alarms, events, mbus
from gateway.c1219.tables import Tables
from gateway.errors import GatewayError
from gateway.transmission import frames
from gateway.transmission.mbus import enrich
from gateway.transmission.model import Reading
from tests.fake_devices import Devices, data, telegram
from tests.fake_logs import Counter, EventLog, bt71
from tests.fake_meter import FakeMeter, bt01, put, run
from tests.mep_profile import FEW

STEPS = 6


def device_tables(firmware: int) -> dict[int, bytearray]:
    devices = Devices(recurring=4, extended=3, firmware=firmware)
    devices.device(0, 7, alarms=1)
    devices.post(0, data(600, [telegram(1, 1)]))
    for i in range(3):
        devices.schedule(7, data(1200 * i, [telegram(1, 2 + i), telegram(1, 9)]))
    return devices.tables


def log_tables(firmware: int) -> dict[int, bytearray]:
    tables = device_tables(firmware)
    counter = Counter()
    for number, count in ((74, 6), (2127, 5)):
        log = EventLog(counter, count)
        for i in range(4):
            log.log(i, 600 * i)
        tables[number] = log.data
    tables[71] = bt71(6)
    bt00 = bytearray(19)
    bt00[17] = 9
    tables[0] = bt00
    tables[3] = bytearray(13)
    put(tables[2102], 80, 5, 2)
    tables[2129] = bytearray(6 + 12 * 3)
    return tables


WATCHED = (0, 1, 3, 71, 74, 2059, 2062, 2064, 2084, 2093, 2102, 2122, 2127, 2129)
CHANGES = st.lists(st.tuples(st.sampled_from(WATCHED), st.integers(0, 90), st.integers(0, 255)), max_size=14)
SHAPES = st.lists(
    st.tuples(st.sampled_from(WATCHED), st.sampled_from(["absent", "short", "random"])), max_size=2
)


@pytest.mark.parametrize("reader", [alarms, events, mbus], ids=["alarms", "events", "mbus"])
@FEW
@given(
    st.sampled_from([0x2140, 0x3155, 0x38C0, 0x43C0, 0x1280]), CHANGES, SHAPES, st.binary(max_size=60),
    st.binary(max_size=80),
)  # fmt: skip
def test_any_tables_and_cursors(reader, firmware, changes, shapes, noise, cursor):
    tables = log_tables(firmware)
    tables[1] = bytearray(bt01(firmware))
    for table, place, value in changes:
        if place < len(tables[table]):
            tables[table] = bytearray(tables[table])
            tables[table][place] = value
    for table, shape in shapes:
        if shape == "absent":
            tables.pop(table, None)
        elif table in tables:
            tables[table] = tables[table][: len(noise)] if shape == "short" else bytes(noise)
    meter = FakeMeter(tables, max_read=120)
    asked = []
    meter.before_read = lambda table, offset, count: asked.append(count)
    kept = cursor
    for _ in range(STEPS):
        try:
            step = run(reader.read(Tables(meter), kept))
        except GatewayError:
            break
        kept = step.cursor
        assert len(kept) < 256
        for part in frames.split(step.items):
            assert len(frames.encode(bytes(16), 1, 1, part)) <= frames.MAX_FRAME
        for item in step.items:
            if isinstance(item, Reading):
                enrich(item)
        if not step.more:
            break
    assert len(asked) < 600
    assert all(count <= 8192 for count in asked)


@FEW
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=5), st.integers(0, 90))
@pytest.mark.parametrize("reader", [alarms, events, mbus], ids=["alarms", "events", "mbus"])
def test_a_spoiled_cursor_is_no_error(reader, changes, length):
    meter = FakeMeter(log_tables(0x43C0))
    good = run(reader.read(Tables(meter), None)).cursor
    cursor = bytearray(good)
    for place, value in changes:
        if place < len(cursor):
            cursor[place] = value
    run(reader.read(Tables(meter), bytes(cursor)))
    run(reader.read(Tables(meter), good[:length]))
    run(reader.read(Tables(meter), None))
