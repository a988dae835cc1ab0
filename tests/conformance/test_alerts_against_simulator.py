"""A gateway that registers with the virtual meter: what the meter's alerts bring, what is written to it, and
that nothing is written unasked. Real driver, line of 9600 baud, virtual time."""

import asyncio
import json

import pytest

from gateway.c1219.alerts import Client
from gateway.c1219.on_demand import OnDemand
from gateway.core import schedule
from gateway.core.gateway import Gateway
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_settings import MeterSettings
from gateway.drivers.link import Link
from gateway.drivers.mep.meter import MepMeter
from gateway.simulator.generations import GENERATIONS
from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import frames, ids, model, registry
from tests.fake_clock import FakeClock
from tests.memory_broker import MemoryBroker

KEY = b"0123456789abcdef"
BASIC = b"fedcba9876543210"
START = 1_719_813_630_000  # 2024-07-01T06:00:30Z
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOTHING = dict.fromkeys(range(model.FOREIGN), 0)
FORWARD, REVERSE = 8, 9


class PortLink(Link):
    """Ends in a MEP port of the virtual meter."""

    def __init__(self, house: "House", channel) -> None:
        self._house = house
        self._channel = channel
        self._data = bytearray()
        self._arrived = asyncio.Event()
        self._tasks = [asyncio.create_task(self._tick())]

    async def _tick(self) -> None:
        while True:
            await self._house.clock.sleep_ms(self._house.tick_ms)
            self._arrive(b"".join(self._channel.tick(self._house.now())))

    def _arrive(self, data: bytes) -> None:
        if data:
            self._data += data
            self._arrived.set()

    async def read(self) -> bytes:
        while not self._data:
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._data)
        self._data.clear()
        return data

    async def write(self, data: bytes) -> None:
        self._house.requests.append(self._house.clock.utc)
        out = b"".join(self._channel.receive(data, self._house.now()))

        async def later() -> None:
            await self._house.clock.sleep_ms(100 + (len(data) + len(out)) * 10 // 9)
            self._arrive(out)

        self._tasks.append(asyncio.create_task(later()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()


class House:
    """`written`: (table, offset, data) of each write that reached the meter, of whatever kind."""

    def __init__(self, firmware: str = "4.30", port: int = 1, key: bytes = KEY, **options: object) -> None:
        self.clock = FakeClock(START)
        self.begin = self.clock.monotonic
        self.meter = VirtualMeter(
            KEY, BASIC, seed=7, firmware=firmware, start_ms=START, monotonic=self.now, **options
        )
        self.meter.inject(28, FORWARD, 300)
        self.meter.inject(28, REVERSE, 0)
        self.port = port
        self.key = key
        self.tick_ms = HOUR
        self.written: list[tuple[int, int, bytes]] = []
        self.requests: list[int] = []
        self.log: list[str] = []
        for number, channel in enumerate(self.meter.ports, 1):
            self._listen(number, channel)

    def _listen(self, number: int, channel) -> None:
        service = channel.server._service

        def noting(message: bytes, advanced: bool) -> bytes:
            if message[0] in (0x40, 0x4F):
                partial = message[0] == 0x4F
                offset = int.from_bytes(message[3:6], "big") if partial else 0
                table = int.from_bytes(message[1:3], "big")
                self.written.append((table, offset, message[8 if partial else 5 :]))
                assert number == self.port
            return service(message, advanced)

        channel.server._service = noting

    def now(self) -> int:
        return self.clock.monotonic - self.begin

    async def open_meter(self) -> MepMeter:
        return MepMeter(PortLink(self, self.meter.ports[self.port - 1]), self.key)

    def run(self, script, client=None, on_demand=None, intervals_ms=None) -> None:
        if client:
            self.tick_ms = 500

        async def main() -> None:
            self.broker = MemoryBroker()
            settings = MeterSettings(
                "m",
                self.open_meter,
                intervals_ms=NOTHING | (intervals_ms or {}),
                client=client,
                on_demand=on_demand,
            )
            self.gateway = Gateway("here", [settings], self.broker, MemoryOutbox(1_000_000), self._note, None)
            running = asyncio.create_task(self.gateway.run())
            try:
                await script()
            finally:
                running.cancel()
                await self.clock.until(running.done, 10 * SECOND)

        self.clock.install()
        try:
            asyncio.run(main())
        finally:
            self.clock.uninstall()

    def _note(self, level: str, text: str) -> None:
        self.log.append(f"{level} {text}")

    def published(self, kind: int) -> list:
        meter = ids.meter_individual_id("ELON", self.meter.serial)
        found = [frames.decode(frame, meter) for frame in self.broker.frames()]
        return [item for frame in found if frame.kind == kind for item in frame.items]

    def powers(self) -> list[dict[str, int]]:
        return [
            {registry.name(v.prop): v.mantissa for v in item.values} for item in self.published(model.PRESENT)
        ]

    def state(self) -> tuple[str, str]:
        (one,) = [w for w in self.gateway.status()["meters"] if w["name"] == "m"]
        return one["state"], one["reason"]

    def tables(self) -> set[int]:
        return {table for table, _, _ in self.written}


async def change(house: House, forward: int, reverse: int = 0) -> int:
    """How many ms after a load was switched the new power was at the broker."""
    house.meter.inject(28, FORWARD, forward)
    house.meter.inject(28, REVERSE, reverse)
    since = house.clock.monotonic
    expected = {"OBIS_1.7.0": forward, "OBIS_2.7.0": reverse}
    await house.clock.until(lambda: house.powers()[-1:] == [expected], 10 * SECOND)
    return house.clock.monotonic - since


PORTS = [("3.50", 1, {}), ("3.70", 1, {}), ("4.30", 1, {}), ("4.30", 1, {"clients": 2})]
PORTS += [("4.30", 2, {"clients": 2})]


@pytest.mark.parametrize(("firmware", "port", "options"), PORTS)
def test_a_change_of_power_is_published_within_four_seconds_and_never_polled(firmware, port, options):
    house = House(firmware, port, **options)

    async def script() -> None:
        await house.clock.until(lambda: house.powers(), MINUTE)
        for forward, reverse in ((2300, 0), (700, 0), (0, 1500), (300, 0)):
            await house.clock.advance(17 * SECOND)
            assert await change(house, forward, reverse) <= 4 * SECOND
        await house.clock.advance(30 * SECOND)
        seen = len(house.powers())
        house.meter.inject(28, FORWARD, 499)
        await house.clock.advance(30 * SECOND)
        assert len(house.powers()) == seen, "less than was asked for"
        assert house.state() == ("working", "")
        flags = house.meter.image.read(et(50))[(port - 1) * 71 + 30]
        assert flags == (0b1011 if port == 1 else 0b1001)

    # Alarms are polled besides, as by default; nothing asks for the power.
    house.run(script, Client(200), intervals_ms={model.ALARM: 3 * SECOND})
    assert [table for table, _, _ in house.written].count(et(50)) == 1
    assert [table for table, _, _ in house.written].count(et(71)) == 2
    assert house.tables() == {7, et(50), et(71)}
    assert {data[:2] for table, _, data in house.written if table == 7} == {b"\x27\x08"}


def test_a_backfill_of_ten_days_does_not_hold_changes_up():
    house = House(history_days=10, life="busy")

    async def script() -> None:
        await house.clock.until(lambda: house.powers(), MINUTE)
        for forward in (3000, 300, 2000, 500):
            await house.clock.advance(11 * SECOND)
            assert await change(house, forward) <= 4 * SECOND
        assert len(house.published(model.LOAD_PROFILE)) >= 5

    intervals = {kind: interval for kind, interval, *_ in schedule.DEFAULT if kind != model.PRESENT}
    house.run(script, Client(200), intervals_ms=intervals)


def test_with_neither_of_both_not_one_write_reaches_the_meter():
    house = House()

    async def script() -> None:
        house.meter.raise_alert(0x1F)
        await house.clock.advance(10 * MINUTE)
        assert house.state()[0] == "working"

    house.run(script, intervals_ms=dict.fromkeys(range(1, model.FOREIGN), MINUTE))
    assert house.written == []
    assert len(house.requests) > 100


def test_to_be_registered_writes_that_and_nothing_else_and_only_once():
    house = House()

    async def script() -> None:
        await house.clock.advance(16 * MINUTE)
        house.meter.inject(28, FORWARD, 9000)
        await house.clock.advance(MINUTE)

    house.run(script, Client())
    assert house.written == [(et(50), 30, b"\x03")]
    house.run(script, Client())
    assert len(house.written) == 1
    assert house.powers() == []


def test_what_a_power_outage_took_is_written_again():
    house = House()

    async def script() -> None:
        await house.clock.until(lambda: house.powers(), MINUTE)
        house.meter.cut_power(20)
        await house.clock.advance(15 * MINUTE)
        assert await change(house, 4000) <= 4 * SECOND

    house.run(script, Client(200))
    assert [table for table, _, _ in house.written].count(et(71)) == 4
    assert [table for table, _, _ in house.written].count(et(50)) == 1


def polls_and_says(house, *reasons) -> None:
    """The gateway works without the meter's alerts, and its reason for that has these words."""

    async def script() -> None:
        await house.clock.advance(MINUTE)
        state, reason = house.state()
        assert state == "working"
        assert all(one in reason for one in reasons), reason
        assert len(house.powers()) >= 5

    house.run(script, Client(200), intervals_ms={model.PRESENT: 10 * SECOND})


@pytest.mark.parametrize("firmware", ["2.10", "3.10"])
def test_a_meter_without_delta_data_says_so_and_is_read_on(firmware):
    assert firmware in GENERATIONS
    house = House(firmware)
    polls_and_says(house, "changes of power", "polled")
    assert house.written == [(et(50), 30, b"\x03" if firmware == "3.10" else b"\x01")]


def test_a_refused_registration_is_told_and_disturbs_nothing():
    house = House()
    service = house.meter.ports[0].server._service
    house.meter.ports[0].server._service = lambda message, advanced: (
        b"\x03" if message[0] == 0x4F else service(message, advanced)
    )

    polls_and_says(house, "registration", "ET50")


def test_alerts_that_nobody_can_end_neither_hide_a_change_nor_disturb_the_rest():
    house = House()

    async def script() -> None:
        await house.clock.until(lambda: house.powers(), MINUTE)
        house.meter.raise_alert(0b1011)
        await house.clock.advance(3 * MINUTE)
        for forward in (3000, 300):
            assert await change(house, forward) <= 4 * SECOND
            await house.clock.advance(MINUTE)
        await house.clock.until(lambda: house.published(model.CLOCK), HOUR)
        assert house.state() == ("working", "")

    house.run(script, Client(200), intervals_ms={model.CLOCK: 5 * MINUTE, model.ALARM: 3 * SECOND})
    spread = [now - before for before, now in zip(house.requests, house.requests[1:], strict=False)]
    assert len(house.requests) * SECOND < sum(spread), "more than one request a second"


def test_an_mbus_change_has_devices_read_once():
    house = House()

    async def script() -> None:
        await house.clock.advance(5 * SECOND)
        house.meter.raise_alert(1 << 3)
        await house.clock.until(lambda: house.published(model.MBUS), 10 * SECOND)
        seen = len(house.requests)
        await house.clock.advance(4 * MINUTE)
        assert len(house.requests) - seen < 20

    house.run(script, Client(), intervals_ms={model.MBUS: 24 * HOUR * 30})
    assert house.tables() == {et(50)}


def telegrams(house: House) -> list[str]:
    values = [v for item in house.published(model.MBUS) for v in item.values]
    return [v.text for v in values if registry.name(v.prop) == "OSGP_mbus_telegram"]


@pytest.mark.parametrize(("firmware", "port", "options"), [("3.10", 1, {}), ("4.30", 2, {"clients": 2})])
def test_devices_are_read_as_often_as_asked_where_the_meter_does_less(firmware, port, options):
    """One device is read daily by the meter, the other one hourly."""
    house = House(firmware, port, **options)

    async def script() -> None:
        await house.clock.advance(7 * HOUR)
        told = house.meter.truth_document()["mbus"]
        on_demand = [one for one in told if not one["scheduled"]]
        assert {one["handle"] for one in on_demand} == {1}
        assert len(on_demand) == 3
        for one in on_demand:
            assert any(one["telegram"] in text for text in telegrams(house))
        assert house.state() == ("working", "")

    house.run(script, on_demand=OnDemand(2 * 3600), intervals_ms={model.MBUS: 2 * HOUR})
    assert len(house.written) == 3
    assert {data[:2] for _, _, data in house.written} == {b"\x13\x08"}


def test_who_may_not_ask_devices_and_devices_that_do_not_answer_are_told():
    house = House(key=BASIC)

    async def refused() -> None:
        await house.clock.advance(3 * HOUR)
        assert "advanced key" in house.state()[1]

    house.run(refused, on_demand=OnDemand(3600), intervals_ms={model.MBUS: HOUR})
    assert len(house.written) <= 3
    house = House()

    async def silent() -> None:
        house.meter.happen("lose_device", 0)
        await house.clock.advance(3 * HOUR)
        assert "device 1: did not answer" in house.state()[1]

    house.run(silent, on_demand=OnDemand(3600), intervals_ms={model.MBUS: HOUR})
    assert json.dumps(house.gateway.status())
