"""Events, alarms, outages and telegrams of the virtual meter, as the readers find them, against its truth."""

from datetime import UTC, datetime

import pytest

from gateway import clock as time_seam
from gateway.c1219.readers import alarms, events
from gateway.c1219.tables import Tables
from gateway.simulator.generations import GENERATIONS, generation
from gateway.simulator.meter import VirtualMeter
from gateway.transmission.model import Event
from tests.fake_meter import FakeMeter, run

START_MS = 1_720_000_000_000  # 2024-07-03, a summer's day
MINUTE_MS = 60_000


class ImageTables:
    def __init__(self, meter):
        self.meter = meter

    def __contains__(self, table):
        return table in self.meter.image

    def __getitem__(self, table):
        return self.meter.image.read(table)


class World:
    """A virtual meter, and readers that keep their cursors."""

    def __init__(self, now, firmware, life="busy", seed=7, **options):
        self.now = now
        self.meter = VirtualMeter(
            bytes(16), seed=seed, firmware=generation(firmware, **options), start_ms=START_MS, life=life,
            monotonic=lambda: now["ms"],
        )  # fmt: skip
        self.connect()
        self.cursors = {}

    def connect(self):
        self.fake = FakeMeter(ImageTables(self.meter))
        self.tables = Tables(self.fake)

    def drain(self, reader):
        items = []
        more = True
        while more:
            step = run(reader.read(self.tables, self.cursors.get(reader)))
            self.cursors[reader] = step.cursor
            items += step.items
            more = step.more
        return items

    def through(self, hours, every, reader):
        """What the reader finds in so many hours, looked at every so many minutes."""
        found = []
        for _ in range(hours * 60 // every):
            self.now["ms"] += every * MINUTE_MS
            found += self.drain(reader)
        return found

    def truth(self):
        return self.meter.truth_document()


@pytest.fixture
def now(monkeypatch):
    instant = {"ms": 0}
    monkeypatch.setattr(time_seam, "utc_ms", lambda: START_MS + instant["ms"])
    return instant


def instant(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(event):
    return event.sequence, instant(event.time.seconds), event.code, event.argument.hex(), event.user


def entry(event):
    return event["sequence"], event["stamp"], event["code"], event["argument"], event["user"]


@pytest.mark.parametrize("firmware", ["2.10", "3.0", "3.50", "3.70", "4.30"])
def test_all_events_of_busy_days(now, firmware):
    world = World(now, firmware)
    found = [item for item in world.through(24 * 5, 120, events) if isinstance(item, Event)]
    truth = world.truth()["events"]
    entries = [entry(event) for event in truth["entries"]]
    assert len(entries) > 12
    assert len({told(event) for event in found}) == len(found)
    if truth["resets"]:
        assert {told(event) for event in found} <= set(entries)
    else:
        assert [told(event) for event in found] == entries
        assert not any(event.faults for event in found)
    for event in truth["entries"]:
        assert not event["in_meter"] or entry(event) in {told(found_) for found_ in found}


@pytest.mark.parametrize("firmware", ["3.10", "4.30"])
def test_a_gateway_that_was_off_for_weeks_finds_what_is_left(now, firmware):
    world = World(now, firmware, seed=11)
    world.through(24, 60, events)
    now["ms"] += 12 * 24 * 60 * MINUTE_MS
    found = [item for item in world.drain(events) if isinstance(item, Event)]
    left = [entry(event) for event in world.truth()["events"]["entries"] if event["in_meter"]]
    assert [told(event) for event in found] == left[-len(found) :]
    assert len(found) > 20


@pytest.mark.parametrize("firmware", ["2.10", "3.10", "3.50"])
def test_a_reset_log_counts_anew(now, firmware):
    world = World(now, firmware, life="none")
    for code in (41, 42, 43):
        world.meter.happen("log_event", code)
    assert [item.code for item in world.drain(events)][-3:] == [41, 42, 43]
    world.meter.happen("reset_log", "BT74")
    world.meter.happen("log_event", 44, 0x1234)
    found = world.drain(events)
    left = [entry(event) for event in world.truth()["events"]["entries"] if event["in_meter"]]
    assert [told(event) for event in found] == left
    assert (found[-1].code, found[-1].argument) == (44, b"\x34\x12")


@pytest.mark.parametrize("firmware", GENERATIONS)
def test_alarms_set_and_cleared(now, firmware):
    world = World(now, firmware, life="none")
    world.drain(alarms)
    before = len(world.truth()["alarms"])
    found = []
    for name in world.meter.life.alarms.names:
        for happening in ("set_alarm", "clear_alarm"):
            world.meter.happen(happening, name)
            found += [(event.code, event.argument[0]) for event in world.drain(alarms) if event.code < 256]
    changes = world.truth()["alarms"][before:]
    assert {(8 * change["byte"] + change["bit"], int(change["set"])) for change in changes} <= set(found)
    assert len(found) == len(changes)


@pytest.mark.parametrize("firmware", ["2.10", "4.30"])
def test_alarms_are_in_the_logs_where_bt03_is_refused(now, firmware):
    world = World(now, firmware)
    world.meter.image.remove(3)
    found = [alarm for alarm in world.through(120, 60, alarms) if alarm.code < 256]
    about = {1: (19, 1), 2: (19, 0), 42: (14, 1), 43: (15, 1), 44: (16, 1), 47: (20, 1), 48: (21, 1)}
    entries = world.meter.truth_document()["events"]["entries"]
    wanted = [(one["sequence"], *about[one["code"]]) for one in entries if one["code"] in about]
    assert wanted
    # The looks before the last three were followed by one at the logs.
    told = [(alarm.sequence, alarm.code, alarm.argument[0]) for alarm in found]
    assert told == wanted[: len(told)] and len(told) >= len(wanted) - 4
