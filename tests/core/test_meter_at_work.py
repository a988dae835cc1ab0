"""A meter's task in hours of a virtual meter's life: all that it stores arrives once, within the budget."""

import asyncio
from collections import Counter

import pytest

from gateway.core import cursors, schedule
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_settings import MeterSettings
from gateway.core.meter_task import MeterTask
from gateway.errors import LinkError, Refused
from gateway.meter import Meter
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import frames, model
from gateway.transmission.rows import rows
from tests.fake_clock import FakeClock
from tests.virtual_test import Supervised

START = 1_719_813_600_000  # 2024-07-01T06:00:00Z: a month has just ended
MINUTE = 60_000
HOUR = 60 * MINUTE
MESSAGE_MS = 150  # what a short read takes at 9600 baud


class Port(Meter):
    """The virtual meter's tables, one message after the other; `gone`: the line is pulled out."""

    max_read = 465
    authenticated = True

    def __init__(self, house: "House") -> None:
        self.resyncs = 0
        self.house = house

    async def read(self, table: int, offset: int | None = None, count: int | None = None) -> bytes:
        await self.house.clock.sleep_ms(MESSAGE_MS)
        if self.house.gone:
            raise LinkError("pulled out")
        self.house.reads.append(self.house.clock.utc)
        try:
            if offset is None or count is None:
                return self.house.meter.image.read(table)
            data = self.house.meter.image.read_part(table, offset, count)[1]
        except KeyError:
            raise Refused("no such table", 5, table) from None
        return data + bytes(count - len(data))

    async def close(self) -> None:
        pass


class House:
    def __init__(self, firmware: str, **options: object) -> None:
        self.clock = FakeClock(START)
        self.begin = self.clock.monotonic
        self.meter = VirtualMeter(
            bytes(16),
            seed=7,
            firmware=firmware,
            start_ms=START,
            monotonic=lambda: self.clock.monotonic - self.begin,
            **options,
        )
        self.outbox = MemoryOutbox(16_000_000)
        self.reads: list[int] = []
        self.gone = False
        self.log: list[str] = []

    async def open_meter(self) -> Port:
        if self.gone:
            raise LinkError("pulled out")
        return Port(self)

    def run(self, script, **settings: object) -> None:
        async def main() -> None:
            self.task = MeterTask(
                MeterSettings("m", self.open_meter, **settings),
                self.outbox,
                lambda level, text: self.log.append(text),
            )
            async with Supervised(lambda level, text: self.log.append(text), ("m", self.task.run)):
                await script()

        self.clock.install()
        try:
            asyncio.run(main())
        finally:
            self.clock.uninstall()

    def stored(self, kind: int) -> list:
        """(id, reading) of every row of this kind, in the order in which they went into the outbox."""
        found = []
        meter = self.task.meter_id
        entry = self.outbox.following(meter, model.CLASS_OF_KIND[kind], -1)
        while entry is not None:
            if frames.head(entry.frame)[1] == kind:
                found += rows(frames.decode(entry.frame, meter), meter)
            entry = self.outbox.following(meter, model.CLASS_OF_KIND[kind], entry.place)
        return found

    def compare(self) -> None:
        """The outbox against the truth: all that the meter holds, nothing twice."""
        truth = self.meter.truth_document()
        ends = [one["end"] for one in truth["load_profile"]["intervals"] if one["in_meter"]]
        profile = self.stored(model.LOAD_PROFILE)
        assert sorted(as_text(reading.time.seconds) for _, reading in profile) == sorted(ends)
        events = [one for one in truth["events"]["entries"] if one["in_meter"]]
        found = [number(reading, "OSGP_event_sequence") for _, reading in self.stored(model.EVENT)]
        found = [one for one in found if one is not None]
        assert found == sorted(found)
        assert set(found) >= {one["sequence"] for one in events}
        telegrams = [one["telegram"] for one in truth["mbus"] if one["in_meter"]]
        read = [text(reading, "OSGP_mbus_telegram") for _, reading in self.stored(model.MBUS)]
        assert {one[:-2] for one in read if one} >= set(telegrams)
        kept = [one for one in truth["self_reads"] if one["in_meter"]]
        assert len(self.stored(model.SELF_READ)) == len(kept)

    def no_row_twice(self) -> None:
        for kind in cursors.KINDS:
            identifiers = Counter(identifier for identifier, _ in self.stored(kind))
            assert not identifiers or max(identifiers.values()) == 1, model.KIND_NAMES[kind]


def as_text(seconds: int) -> str:
    from gateway.transmission.model import Timestamp
    from gateway.transmission.platform_json import format_time

    return format_time(Timestamp(seconds))


def number(reading, name: str):
    return next((value.mantissa for value in reading.values if name_of(value) == name), None)


def text(reading, name: str):
    return next((value.text for value in reading.values if name_of(value) == name), None)


def name_of(value) -> str:
    from gateway.transmission.platform_json import property_id

    return property_id(value.prop)


@pytest.mark.parametrize("firmware", ["2.10", "4.30"])
def test_the_default_schedule_brings_all_that_piled_up_and_what_comes(firmware: str, figures):
    house = House(firmware, history_days=3, life="busy")

    async def script() -> None:
        await house.clock.advance(20 * MINUTE)
        # The backlog is in; from here on the profile comes a minute after each interval's end.
        assert len(house.stored(model.LOAD_PROFILE)) > 200
        await house.clock.advance(102 * MINUTE)

    house.run(script)
    house.compare()
    house.no_row_twice()
    hour = [at for at in house.reads if at > START + 62 * MINUTE]
    figures(f"firmware {firmware}: {len(hour)} messages in an hour of the default schedule")
    # A busy life has more events than the schedule counts on.
    assert len(hour) <= 1.15 * schedule.reads_in_an_hour({})
    assert house.task.bucket.waited_ms == 0
    present = [reading.time.seconds for _, reading in house.stored(model.PRESENT)]
    gaps = [after - earlier for earlier, after in zip(present, present[1:], strict=False)]
    assert max(gaps) <= 14, gaps
    assert house.task.problems == {}


def test_first_readings_take_few_messages(figures):
    """Each takes a board a tenth of a second (tests/image/start_time.py)."""
    house = House("4.30", history_days=3, life="busy")
    after: dict[int, int] = {}

    async def script() -> None:
        house.task.onlookers.append(lambda kind, items: after.setdefault(kind, len(house.reads)))
        await house.clock.advance(20_000)

    house.run(script)
    figures(", ".join(f"{model.KIND_NAMES[kind]} after {count} messages" for kind, count in after.items()))
    assert after[model.IDENTITY] <= 9
    assert after[model.PRESENT] <= 17


def test_a_gateway_that_was_off_for_hours_reads_what_it_missed_and_no_more():
    house = House("3.80", history_days=2, life="busy")

    async def first() -> None:
        await house.clock.advance(20 * MINUTE)

    async def pulled_out() -> None:
        await house.clock.advance(5 * MINUTE)
        house.gone = True
        await house.clock.advance(6 * HOUR)
        house.gone = False
        await house.clock.advance(20 * MINUTE)

    house.run(first)
    house.run(pulled_out)  # a restart, and then no line for hours
    house.compare()
    house.no_row_twice()


def test_what_the_cloud_lost_comes_again_with_the_same_ids():
    house = House("4.30", history_days=2, life="quiet")
    since = START // 1000 - 86400

    async def script() -> None:
        await house.clock.advance(20 * MINUTE)
        before = {kind: house.stored(kind) for kind in (model.LOAD_PROFILE, model.EVENT, model.MBUS)}
        cursors.rewind(house.outbox, house.task.meter_id, since)
        house.task.read_again()
        await house.clock.advance(5 * MINUTE)
        for kind, rows_before in before.items():
            again = [one for one, _ in house.stored(kind)[len(rows_before) :]]
            # What the meter does not store, the state of a device, has no id of its own.
            lost = [
                one
                for one, reading in rows_before
                if reading.time.seconds >= since
                and (kind != model.MBUS or text(reading, "OSGP_mbus_telegram"))
            ]
            assert set(lost) <= set(again), model.KIND_NAMES[kind]
            assert lost or kind == model.EVENT
        ends = [reading.time.seconds for _, reading in house.stored(model.LOAD_PROFILE)[len(before[5]) :]]
        assert min(ends) >= since - 900

    house.run(script)
