"""Load profiles of the virtual meter, which was written from the guides on its own: what the reader finds
is what it says it recorded, as it comes and whatever happens meanwhile."""

from datetime import datetime

import pytest

from gateway.c1219.readers import load_profile
from gateway.c1219.tables import Tables
from gateway.errors import Refused, TableError
from gateway.simulator import profile
from gateway.simulator.generations import generation
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.profile_tables import sets_of
from gateway.transmission import frames, registry
from tests.fake_meter import FakeMeter, run

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MS = 1_711_700_000_000  # 2024-03-29, two days before summer time
NAMES = {
    0: "OBIS_1.8.0", 1: "OBIS_2.8.0", 2: "OBIS_3.8.0", 3: "OBIS_4.8.0", 4: "OSGP_power_outage_seconds",
    5: "OSGP_power_outage_count", 8: "OBIS_1.7.0", 9: "OBIS_2.7.0", 10: "OBIS_3.7.0", 11: "OBIS_4.7.0",
    12: "OBIS_31.7.0", 13: "OBIS_51.7.0", 14: "OBIS_71.7.0", 15: "OBIS_32.7.0", 16: "OBIS_52.7.0",
    17: "OBIS_72.7.0", 18: "OBIS_33.7.0", 19: "OBIS_14.7.0", 21: "OBIS_53.7.0", 22: "OBIS_73.7.0",
    23: "OSGP_sin_phase_angle_1", 24: "OSGP_sin_phase_angle_2", 29: "OBIS_1.8.1", 40: "OBIS_1.8.2",
    51: "OBIS_1.8.3", 62: "OBIS_1.8.4",
}  # fmt: skip
# What the virtual meter's M-Bus devices count: property, exponent, whether in binary coded decimal (ET57).
DEVICES = {
    0x4001: ("OSGP_mbus_0_data_type_1", -3, False),
    0x4102: ("OSGP_mbus_1_data_type_2", 0, True),
    0x4103: ("OSGP_mbus_1_data_type_3", -2, True),
}
# In place of a value: skipped, not decrypted, opted out, awaited.
VOID = (4, 8, 12, 15)
STATUSES = {2: "partial", 3: "long", 4: "skipped", 10: "device_missing", 15: "placeholder"}


class Image(FakeMeter):
    """The virtual meter's tables without a line; `pace` is how long an answer takes."""

    def __init__(self, meter, now, pace=0, max_read=465):
        FakeMeter.__init__(self, None, max_read)
        self.meter = meter
        self.now = now
        self.pace = pace
        self.bytes = 0

    async def read(self, table, offset=None, count=None):
        self.now["ms"] += self.pace
        image = self.meter.image
        if table not in image:
            raise Refused("no table %d" % table, 5, table)
        size, found = image.read_part(table, offset, count)
        if len(found) < count:
            raise Refused("table %d has %d bytes" % (table, size), 4, table)
        self.bytes += count
        return found


class Reader:
    def __init__(self, reader, image):
        self.reader = reader
        self.image = image
        self.tables = Tables(image)
        self.cursor = None
        self.items = []

    def all(self):
        while True:
            step = run(self.reader.read(self.tables, self.cursor))
            self.items += step.items
            self.cursor = step.cursor
            if step.items:
                assert len(frames.encode(bytes(16), 1, 1, step.items)) <= frames.MAX_FRAME
            if not step.more:
                return self

    def rows(self):
        """{(data set, configuration, block, interval): (end, {property: (mantissa, exponent)}, faults)}"""
        found = {}
        for series in self.items:
            names = [c.prop if isinstance(c.prop, str) else registry.name(c.prop) for c in series.columns]
            row = 0
            for rows, number, configuration, block, first in series.origins:
                for index in range(first, first + rows):
                    key = (number, configuration, block, index)
                    assert key not in found
                    values = {
                        name: (column.mantissas[row], column.exponent)
                        for name, column in zip(names, series.columns, strict=True)
                        if column.mantissas[row] is not None
                    }
                    faults = [told(fault, names) for at, fault in series.faults if at == row]
                    found[key] = (series.times[row], values, sorted(faults))
                    row += 1
        return found


def told(fault, names):
    if isinstance(fault, int) and fault >= registry.COLUMN_FAULTS:
        of, column = divmod(fault - registry.COLUMN_FAULTS, 32)
        return f"{registry.fault_name(of)}:{names[column]}"
    return registry.fault_name(fault)


@pytest.fixture
def now():
    return {"ms": 0}


def build(now, firmware, days=3, **options):
    g = generation(firmware)
    sets = options.pop("sets", 4)
    life = options.pop("life", "none")
    configuration = profile.standard(sets_of(g), sets, **options)
    return VirtualMeter(
        bytes(16), seed=5, firmware=g, start_ms=START_MS, solar_peak_w=3000, profile=configuration,
        history_days=days, life=life, monotonic=lambda: now["ms"],
    )  # fmt: skip


def seconds(text):
    return int(datetime.fromisoformat(text).timestamp())


def truth(meter, in_meter=True):
    """As Reader.rows, without end readings."""
    document = meter.truth_document()["load_profile"]
    sources, scalings = {}, {}
    for configuration in document["configurations"]:
        for each in configuration["data_sets"]:
            key = (each["data_set"], configuration["configuration"])
            sources[key] = each["sources"]
            scalings[key] = each["scaling"]
    known = meter.generation.number >= (2, 10)  # before that ET21 has no configuration id
    rows = {}
    for one in document["intervals"]:
        if in_meter and not one["in_meter"]:
            continue
        key = (one["data_set"], one["configuration"])
        values = {}
        told = faults_of(one, sources[key])
        for i, source in enumerate(sources[key]):
            if source in NAMES and one["statuses"][i] not in VOID:
                exponent = registry.exponent(registry.number(NAMES[source]))
                for scalar, divisor in scalings[key][i : i + 1]:
                    # Ten times as much, or a tenth, was recorded.
                    exponent += {(1, 10): 1, (10, 1): -1}[scalar, divisor]
                values[NAMES[source]] = (one["values"][i], exponent)
            elif source in DEVICES and one["statuses"][i] not in VOID:
                name, exponent, decimal = DEVICES[source]
                values[name] = (int(f"{one['values'][i]:x}") if decimal else one["values"][i], exponent)
        key = (one["data_set"], one["configuration"] if known else 0, one["block"], one["interval"])
        rows[key] = (seconds(one["end"]), values, told)
    return rows


def faults_of(one, sources):
    common = ("dst", "power_fail", "clock_forward", "clock_backward")
    faults = [f"OSGP_interval_{name}" for bit, name in enumerate(common) if one["common"] >> bit & 1]
    statuses = one["statuses"]
    if min(statuses) == max(statuses):
        faults += [f"OSGP_interval_{STATUSES[statuses[0]]}"] if statuses[0] else []
    else:
        for status, source in zip(statuses, sources, strict=True):
            if status:
                name = DEVICES[source][0] if source in DEVICES else NAMES[source]
                faults.append(f"OSGP_interval_{STATUSES[status]}:{name}")
    return sorted(faults)


def same(found, wanted):
    assert sorted(found) == sorted(wanted)
    for key, (end, values, faults) in wanted.items():
        recorded = {name: value for name, value in found[key][1].items() if "end_reading" not in name}
        assert (key, found[key][0], recorded, found[key][2]) == (key, end, values, faults)


@pytest.mark.parametrize("firmware", ["2.10", "2.12", "3.0", "4.0", "4.10"])
def test_each_interval_once_as_it_ends(now, firmware):
    meter = build(now, firmware)
    image = Image(meter, now)
    reader = Reader(load_profile, image).all()
    wanted = truth(meter)
    assert len(wanted) > 280
    same(reader.rows(), wanted)
    # What comes live: each interval once, as it ends, for few bytes.
    for _ in range(12):
        now["ms"] += 5 * MINUTE_MS
        before = image.bytes
        reader.all()
        assert image.bytes - before < 800
    same(reader.rows(), truth(meter))


@pytest.mark.parametrize("firmware", ["3.0", "3.10", "3.70"])
def test_m_bus_channels_where_only_et42_names_their_sources(now, firmware):
    meter = build(now, firmware, days=0)
    water_and_heat = profile.DataSet((0, 0x4001, 0x4102, 0x4103), 60, 24, 5)
    sets = sets_of(meter.generation)
    meter.configure_profile(
        profile.Configuration((water_and_heat,) * min(sets, 3) + (profile.DataSet(),) * (sets > 1))
    )
    meter.image.remove(2114)
    now["ms"] += 30 * HOUR_MS
    found, wanted = Reader(load_profile, Image(meter, now)).all().rows(), truth(meter)
    assert any("OSGP_mbus_1_data_type_3" in row[1] for row in wanted.values())
    same(found, wanted)


def test_clocks_power_and_reconfigurations(now):
    meter = build(now, "3.50", sets=2, days=1)
    reader = Reader(load_profile, Image(meter, now))
    reader.all()
    for change in (
        lambda: meter.set_clock(meter.utc_ms() + 7 * MINUTE_MS),
        lambda: meter.set_clock(meter.utc_ms() - 4 * MINUTE_MS),
        lambda: meter.cut_power(1200),
        lambda: meter.set_clock(meter.utc_ms() + 3 * HOUR_MS),
        lambda: meter.set_clock(meter.utc_ms() - 2 * HOUR_MS),
        lambda: meter.cut_power(7 * 3600),
        lambda: meter.configure_profile(profile.standard(4, 3, end_readings=True)),
        lambda: meter.set_clock(meter.utc_ms() - 26 * HOUR_MS),
        lambda: meter.configure_profile(profile.standard(4, 1, scaling=True)),
    ):
        change()
        now["ms"] += 8 * HOUR_MS
        reader.all()
        now["ms"] += 50 * MINUTE_MS
        reader.all()
    wanted = truth(meter, in_meter=False)
    found = reader.rows()
    missing = sorted(set(wanted) - set(found))
    # Between the last read and a reconfiguration nothing ended, so nothing is missing.
    assert not missing
    same(found, wanted)


def test_a_busy_life(now):
    meter = build(now, "4.30", days=2, life="busy")
    reader = Reader(load_profile, Image(meter, now)).all()
    same(reader.rows(), truth(meter))
    told = {fault for row in reader.rows().values() for fault in row[2]}
    assert len(told) > 3


def test_intervals_that_end_while_they_are_read(now):
    meter = build(now, "4.30", sets=3, days=2)
    image = Image(meter, now, pace=20_000)
    reader = Reader(load_profile, image)
    for _ in range(8):
        try:
            reader.all()
        except TableError:
            pass  # the meter was too fast, and that is said
    image.pace = 0
    reader.all()
    same(reader.rows(), truth(meter, in_meter=False))
