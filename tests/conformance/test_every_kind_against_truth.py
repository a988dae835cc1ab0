"""Everything a meter holds, over both of its ports, on every firmware generation, is what it knows to be
true: nothing missing, nothing else, every value, unit, time and fault.

A virtual meter with five eventful weeks behind it is read through driver and link, from nothing; then a few
more hours pass, and what is new is read from the cursors by whoever connects anew. Time stands still in the
meter's world while it is read, so that what it says has one truth. `pytest -s` shows how many things were
compared.
"""

import asyncio
from collections import Counter

import pytest

from gateway import clock as time_seam
from gateway.c1219.tables import Tables
from gateway.core import cursors
from gateway.core.kinds import read_kind
from gateway.core.marks import mark
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import DIGEST, RC4, TLS, Security
from gateway.drivers.mep.tls_client import TlsClient
from gateway.drivers.optical.meter import OpticalMeter
from gateway.simulator.generations import GENERATIONS
from gateway.transmission import model
from gateway.transmission.mbus import enrich
from tests.eventful_meter import AUTUMN, PASSWORD, SPRING, World
from tests.expected_readings import said
from tests.judged_kinds import Judge, eventful, marks_of, same
from tests.mep_fakes import KEY, VirtualTime
from tests.simulated_line import SimulatedLink

OPTICAL = "optical"
NOW = (model.IDENTITY, model.CLOCK, model.REGISTERS, model.PRESENT)

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
                same(found[kind], entries, about)
                counts[kind] += len(entries)
                seen.update(marks_of(entries))

    try:
        asyncio.run(all_ports("at first"))
        world.later()
        asyncio.run(all_ports("later"))
    finally:
        time.restore()
    assert seen >= eventful(firmware, season), eventful(firmware, season) - seen
