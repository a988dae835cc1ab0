"""Everything a meter holds, over both of its ports, on every firmware generation, is what it knows to be
true: nothing missing, nothing else, every value, unit, time and fault.

A virtual meter with five eventful weeks behind it is read through driver and link, from nothing; then a few
more hours pass, and what is new is read from the cursors by whoever connects anew. Time stands still in the
meter's world while it is read, so that what it says has one truth. `pytest -s` shows how many things were
compared.
"""

import asyncio
import json
from collections import Counter
from datetime import datetime

import pytest

from gateway import clock as time_seam
from gateway.c1219.tables import Tables
from gateway.core import cursors
from gateway.core.marks import mark
from gateway.core.meter_task import read_kind
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import DIGEST, RC4, TLS, Security
from gateway.drivers.mep.tls_client import TlsClient
from gateway.drivers.optical.meter import OpticalMeter
from gateway.simulator.generations import GENERATIONS, generation
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.simulator.profile import standard
from gateway.simulator.profile_tables import sets_of
from gateway.transmission import model
from gateway.transmission.mbus import enrich
from tests.expected_readings import Expected, said
from tests.mep_fakes import KEY, VirtualTime
from tests.simulated_line import SimulatedLink

PASSWORD = b"the unique key of it"
OPTICAL = "optical"
HOUR_MS = 3_600_000

# A season ends on the 1st of March, summer time begins on the 31st, a month ends on the day after.
SPRING = ("2024-02-28T12:00:00+00:00", "2024-04-03T12:20:30+00:00")
# Summer time ends on the 27th of October: an hour comes twice.
AUTUMN = ("2024-10-25T12:00:00+00:00", "2024-11-02T12:20:30+00:00")

# When, what happens, and with what.
_SPRING_LIFE = (
    ("03-05T10:00", "flood"),
    ("03-29T06:00", "configure_profile", 1, 4),
    ("03-29T15:00", "reset_demands"),
    ("03-29T20:13", "cut_power", 5),
    ("03-30T03:20", "cut_power", 2400),
    ("03-30T08:00", "configure_profile", 4, 4),
    ("03-30T10:03", "move_clock", 420),
    ("03-30T14:30", "move_clock", -300),
    ("03-31T00:40", "cut_power", 3000),
    ("03-31T21:58", "cut_power", 1200),
    ("04-01T09:00", "lose_device", 1),
    ("04-01T13:30", "find_device", 1),
    ("04-01T20:00", "set_device_status", 0, 4),
    ("04-02T06:00", "clear_device_alarms", 1),
    ("04-02T09:00", "set_alarm", "magnetic tamper"),
    ("04-02T09:30", "clear_alarm", "magnetic tamper"),
    ("04-02T10:00", "self_read"),
    ("04-02T11:00", "set_alarm", "cover removed"),
    ("04-02T15:00", "move_clock", 7260),
    ("04-02T22:10", "move_clock", -7200),
    ("04-03T06:30", "lose_device", 1),
    ("04-03T08:30", "find_device", 1),
    ("04-03T09:00", "move_clock", -63),
)
_AUTUMN_LIFE = (
    ("10-26T06:00", "flood"),
    ("10-26T20:13", "cut_power", 90),
    ("10-27T00:30", "self_read"),
    ("10-27T00:40", "cut_power", 3000),
    ("10-27T12:00", "configure_profile", 4, 2),
    ("10-28T03:20", "cut_power", 7200),
    ("10-29T10:03", "move_clock", 4),
    ("10-31T11:00", "set_alarm", "phase loss"),
    ("11-01T08:00", "lose_device", 0),
    ("11-02T05:50", "cut_power", 1500),
    ("11-02T10:03", "move_clock", -4),
)
# And then, seconds after the first reading.
_LATER = (
    (600, "clear_alarm", "cover removed"),
    (601, "clear_alarm", "phase loss"),
    (660, "set_alarm", "reverse energy"),
    (700, "find_device", 0),
    (1500, "cut_power", 1000),
    (3600, "self_read"),
    (4000, "log_event", 2061, 0x1234),
    (5000, "lose_device", 1),
    (8000, "find_device", 1),
    (9000, "configure_profile", 2, 3),
    (11_000, "cut_power", 3600),
    (15_000, "move_clock", 63),
    (16_000, "reset_demands"),
)
_LATER_MS = 19_000_000

# Firmware (all there is), the year's season, ports, and what else is configured.
METERS = (
    ("2.0", AUTUMN, (DIGEST, OPTICAL), {}),
    ("2.10", SPRING, (DIGEST, OPTICAL), {}),
    ("3.10", SPRING, (DIGEST, OPTICAL), {"demands": 2}),
    ("3.50", SPRING, (DIGEST, OPTICAL), {}),
    ("3.70", SPRING, (DIGEST, OPTICAL), {"demands": 4, "ct_ratio": 40, "energy_unit": 10}),
    ("3.80", AUTUMN, (DIGEST, OPTICAL), {"demands": 1}),
    ("4.30", SPRING, (DIGEST, OPTICAL), {}),
    ("4.30", AUTUMN, (TLS,), {"demands": 3}),
    ("2.12", AUTUMN, (DIGEST, OPTICAL), {}),
    ("3.0", AUTUMN, (DIGEST, OPTICAL), {}),
    ("4.0", AUTUMN, (DIGEST, OPTICAL), {"ct_ratio": 40, "vt_ratio": 100, "energy_unit": 100}),
    ("4.10", AUTUMN, (RC4, OPTICAL), {"summations": 15, "tiers": 4, "demands": 4}),
)
# Load profiles with end readings, scalars and divisors.
_WITH_EXTRAS = ("3.50", "4.30")
NOW = (model.IDENTITY, model.CLOCK, model.REGISTERS, model.PRESENT)


class World:
    """A virtual meter after its eventful weeks; `later` lets hours pass."""

    def __init__(self, firmware, season, security, options):
        begin, now = (int(datetime.fromisoformat(text).timestamp()) * 1000 for text in season)
        self.ms = 0
        g = generation(firmware, **options)
        self.meter = VirtualMeter(
            KEY,
            seed=4,
            firmware=g,
            start_ms=begin,
            solar_peak_w=4000,
            profile=standard(sets_of(g), 0 if season is SPRING else 1, blocks=5),
            life=list(_happenings(season, firmware in _WITH_EXTRAS)),
            monotonic=lambda: self.ms,
            optical_keys=OpticalKeys(PASSWORD, None, None),
            security=security,
        )
        self.ms = now - begin
        self.meter.run_ms()

    def later(self):
        now = self.meter.run_ms()
        for seconds, name, *arguments in _LATER:
            if name == "configure_profile":
                arguments[0] = min(arguments[0], sets_of(self.meter.generation))
            self.meter.at(now + 1000 * seconds, name, *arguments)
        self.ms += _LATER_MS

    def truth(self):
        """As its file says it."""
        return json.loads(json.dumps(self.meter.truth_document()))


def _happenings(season, extras):
    """`extras`: the load profile has end readings, scalars and divisors."""
    life = _SPRING_LIFE if season is SPRING else _AUTUMN_LIFE
    for day, name, *arguments in life:
        at = int(datetime.fromisoformat("2024-%s:00+00:00" % day).timestamp()) * 1000
        if name == "flood":  # more events than a log holds
            for nth in range(210):
                yield at + 1000 * nth, "log_event", (2048 + nth, nth)
        elif name == "configure_profile":
            yield at, name, (*arguments, extras)
        else:
            yield at, name, tuple(arguments)


class Reader:
    """Who reads a meter over one of its ports, and keeps the cursors."""

    def __init__(self, time, world, port):
        self._time = time
        self._world = world
        self._port = port
        self._cursors = {}

    def connect(self):
        meter = self._world.meter
        if self._port == OPTICAL:
            return OpticalMeter(SimulatedLink(self._time, meter.optical), PASSWORD)
        link = SimulatedLink(self._time, meter.ports[0])
        return MepMeter(link, Security(KEY, self._port, TlsClient))

    async def read(self):
        """What is there now, or since the last time, by kind."""
        connection = self.connect()
        try:
            tables = Tables(connection)
            found = {}
            for kind in range(len(model.KIND_NAMES)):
                if kind in NOW:
                    found[kind] = said(mark(await read_kind(kind, tables), connection))
                elif kind in cursors.KINDS:
                    found[kind] = [entry async for entry in self._stored(tables, kind)]
            return found
        finally:
            await connection.close()

    async def _stored(self, tables, kind):
        read_step, _ = cursors.reader(kind)
        more = True
        while more:
            step = await read_step(tables, self._cursors.get(kind))
            items = mark(step.items, tables.meter)
            for entry in said([enrich(item) if kind == model.MBUS else item for item in items]):
                yield entry
            self._cursors[kind] = step.cursor
            more = step.more


class Judge:
    """What each port must say next, by the truth."""

    def __init__(self, host_ms):
        self.host_ms = host_ms
        self._known = {}
        self._alarms = set()
        self._states = {}

    def expected(self, told, marks):
        """By kind: what is now, and what the meter stored since the last time."""
        now = Expected(told, self.host_ms(), marks)
        wanted = {
            model.IDENTITY: now.identity(),
            model.CLOCK: now.clock(),
            model.REGISTERS: now.registers(),
            model.PRESENT: now.present(),
            model.SELF_READ: self._new(model.SELF_READ, now.self_reads()),
            model.LOAD_PROFILE: self._new(model.LOAD_PROFILE, now.load_profile()),
            model.ALARM: now.alarms(self._alarms),
            model.EVENT: self._new(model.EVENT, now.events()),
            model.MBUS: self._new(model.MBUS, now.telegrams()) + self._changed(now.devices()),
        }
        self._alarms = now.alarms_set()
        return wanted

    def _new(self, kind, entries):
        known = self._known.get(kind, set())
        self._known[kind] = known | set(map(_text, entries))
        return [entry for entry in entries if _text(entry) not in known]

    def _changed(self, entries):
        """Devices' states whose handle, status or alarms are others."""
        changed = []
        for entry in entries:
            values = entry[3]
            state = [values[name] for name in _STATE]
            if self._states.get(entry[0]) != state:
                self._states[entry[0]] = state
                changed.append(entry)
        return changed


_STATE = tuple("OSGP_mbus_" + name for name in ("handle", "device_status", "alarms", "device_alarms"))


def _text(entry):
    whose, time, ahead, values, faults = entry
    return repr((whose, time, ahead, sorted(values.items()), faults))


def _marks(entries):
    """What makes these entries more than plain ones."""
    for _, _, _, values, faults in entries:
        for fault in faults:
            yield fault.partition(":")[0]
        if any("end_reading" in name for name in values):
            yield "end reading"


def _eventful(firmware, season):
    """What must have been among what was compared, or it was too plain a life."""
    number = tuple(map(int, firmware.split(".")))
    marks = {"dst", "power_fail", "clock_forward", "clock_backward", "partial", "long"}
    if number >= (3, 50):
        marks |= {"skipped", "device_missing", "placeholder"}
    marks = {"OSGP_interval_" + mark for mark in marks if mark != "dst" or season is SPRING}
    if number >= (3, 0):
        marks.add("OSGP_mbus_late")
    if season is AUTUMN:
        marks.add("OSGP_local_time_ambiguous")
    if firmware in _WITH_EXTRAS:
        marks.add("end reading")
    return marks


def _same(found, wanted, about):
    """Nothing missing, nothing else, nothing twice; and what one log or data set holds in its order."""
    found_texts, wanted_texts = [_text(entry) for entry in found], [_text(entry) for entry in wanted]
    missing = Counter(wanted_texts) - Counter(found_texts)
    others = Counter(found_texts) - Counter(wanted_texts)
    assert not missing and not others, "%s: %d missing, %d of %d others\n%s\n%s" % (
        about, missing.total(), others.total(), len(found), next(iter(missing), ""), next(iter(others), ""),
    )  # fmt: skip
    for log in {entry[0][:2] if entry[0][0] == "interval" else entry[0][:1] for entry in wanted}:
        if log[0] not in ("telegram", "device", "alarm"):
            order = [entry for entry in found if entry[0][: len(log)] == log]
            assert order == [entry for entry in wanted if entry[0][: len(log)] == log], about


@pytest.fixture(scope="module")
def compared():
    """How many things were compared, by firmware and port and kind; shown at the end."""
    counts = {}
    yield counts
    names = [model.KIND_NAMES[kind] for kind in (*NOW, *cursors.KINDS)]
    print("\n%-14s" % "" + "".join("%13s" % name for name in names))
    for place in counts:
        row = [counts[place][kind] for kind in (*NOW, *cursors.KINDS)]
        print("%-14s" % ("%s %s" % place) + "".join("%13d" % count for count in row))


def test_no_firmware_is_left_out():
    assert {firmware for firmware, *_ in METERS} == set(GENERATIONS)


@pytest.mark.parametrize(
    ("firmware", "season", "ports", "options"), METERS, ids=[m[0] + "-" + m[2][0] for m in METERS]
)
def test_every_kind_over_every_port_is_the_truth(monkeypatch, compared, firmware, season, ports, options):
    if TLS in ports:
        pytest.importorskip("mbedtls", reason="python-mbedtls has wheels up to Python 3.12")
    time = VirtualTime()
    time.install()
    monkeypatch.setattr(time_seam, "utc_ms", lambda: world.meter.run_ms())
    world = World(firmware, season, "tls" if TLS in ports else "rc4", options)
    readers = [(port, Reader(time, world, port), Judge(world.meter.run_ms)) for port in ports]

    seen = set()

    async def all_ports(part):
        told = world.truth()
        for port, reader, judge in readers:
            found = await reader.read()
            wanted = judge.expected(told, ["OSGP_not_authenticated"] if port == OPTICAL else [])
            counts = compared.setdefault((firmware, port), Counter())
            for kind, entries in wanted.items():
                about = "%s over %s, %s, %s" % (firmware, port, model.KIND_NAMES[kind], part)
                _same(found[kind], entries, about)
                counts[kind] += len(entries)
                seen.update(_marks(entries))

    try:
        asyncio.run(all_ports("at first"))
        world.later()
        asyncio.run(all_ports("later"))
    finally:
        time.restore()
    assert seen >= _eventful(firmware, season), _eventful(firmware, season) - seen
