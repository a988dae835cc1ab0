"""Each trouble of a meter and of the broker, for hours: its state, one line in the log, a status with its
reason on the broker, and that all goes on by itself. Real driver, virtual meter, virtual time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway import clock
from gateway.core.gateway import Gateway
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_settings import MeterSettings
from gateway.errors import BrokerError, LinkError
from gateway.host.links import Port
from gateway.host.meter_access import MepAccess
from gateway.host.status import WholeStatus
from gateway.simulator.channels import MepChannel
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests import virtual_loop
from tests.faulty_lines import MeterLink, faulty_link
from tests.memory_broker import MemoryBroker

NOON = 1_720_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
KEY, OTHER_KEY = b"0123456789abcdef", b"fedcba9876543210"
INTERVALS = dict.fromkeys(range(model.FOREIGN), 0) | {model.PRESENT: MINUTE, model.CLOCK: HOUR}


class Line(Port):
    """To a meter: it can be pulled, and the meter behind it can fall silent or be another."""

    def __init__(self) -> None:
        super().__init__(path="/dev/ttyUSB0")
        self.link: MeterLink | None = None
        self.pulled = False
        self.silent = False
        self.requests = 0

    async def open(self, baud: int = 9600) -> MeterLink:
        if self.pulled or self.link is None:
            raise LinkError("can't open /dev/ttyUSB0: no such port")
        return await self.link.reopen()

    def attach(self, link: MeterLink) -> None:
        write = link.write

        async def counted(data: bytes) -> None:
            self.requests += 1
            if not self.silent:
                await write(data)

        link.write = counted
        self.link = link

    def pull(self) -> None:
        self.pulled = True
        assert self.link is not None
        self.link._reset()


class House:
    """A gateway with one meter, "house", in virtual time."""

    def __init__(self, directory: Path) -> None:
        self.key_file = directory / "key"
        self.write_key(KEY)
        self.line = Line()
        self.broker = MemoryBroker()
        self.lines: list[str] = []
        self.serial = 0

    def write_key(self, key: bytes) -> None:
        self.key_file.write_bytes(key)
        self.key_file.chmod(0o600)

    def run(self, script: Callable[[], Awaitable[None]]) -> None:
        virtual_loop.run(lambda: self._run(script), NOON)

    async def _run(self, script: Callable[[], Awaitable[None]]) -> None:
        access = MepAccess(self.line, self.key_file)
        self.gateway = Gateway(
            "here",
            [MeterSettings("house", access.open, intervals_ms=INTERVALS)],
            self.broker,
            MemoryOutbox(1_000_000),
            lambda level, text: self.lines.append(f"{level} {text}") if level != "debug" else None,
        )
        self.status = WholeStatus(self.gateway)
        began = clock.monotonic_ms()

        def port(key: bytes) -> MepChannel:
            meter = VirtualMeter(key, seed=7, start_ms=NOON, monotonic=lambda: clock.monotonic_ms() - began)
            meter.ports[0].due_in_ms = lambda now: HOUR  # it has no client that it could alert
            return meter.ports[0]

        async with faulty_link(port(KEY)) as right, faulty_link(port(OTHER_KEY)) as changed:
            self.right, self.changed = right, changed
            self.line.attach(changed)
            self.line.attach(right)
            running = asyncio.create_task(self.gateway.run())
            try:
                await clock.sleep_ms(5 * MINUTE)
                self.lines.clear()
                await script()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    @property
    def meter(self) -> dict:
        (one,) = self.status()["meters"]
        return one

    def shown(self) -> dict:
        """The newest retained status of the meter."""
        last: list[bytes] = [
            payload
            for topic, payload, retain in self.broker.published
            if retain and "smartMeterMessage" in topic
        ]
        return json.loads(last[-1])


def mend_pulled(house: House) -> None:
    house.line.pulled = False


def fall_silent(house: House) -> None:
    house.line.silent = True


def answer_again(house: House) -> None:
    house.line.silent = False


@pytest.mark.parametrize(
    ("state", "said", "harm", "mend"),
    [
        ("link-gone", "", lambda house: house.line.pull(), mend_pulled),
        ("silent", "did not answer", fall_silent, answer_again),
    ],
)
def test_a_meter_that_is_away_for_hours(tmp_path: Path, state, said, harm, mend):
    house = House(tmp_path)

    async def script() -> None:
        harm(house)
        since = clock.utc_ms()
        await clock.sleep_ms(4 * HOUR)
        one = house.meter
        assert one["state"] == state and said in one["reason"]
        assert 0 <= one["sinceMs"] - since <= 2 * MINUTE
        assert one["kinds"]["present"]["staleMs"] - since <= 4 * MINUTE
        assert one["kinds"]["clock"]["staleMs"] - since <= 3 * HOUR + MINUTE
        shown = house.shown()
        assert (shown["state"], shown["reason"]) == (state, one["reason"])
        assert shown["since"] == one["sinceMs"] // 1000 and sorted(shown["stale"]) == ["clock", "present"]
        assert house.status()["problems"] == [f"house: {state}: {one['reason']}"]
        told = [line for line in house.lines if f"house: {state}" in line]
        # What went away, and why it can't be opened again, are two things to know.
        assert len(told) == (2 if state == "link-gone" else 1), told
        assert len(house.lines) == len(told) + 2, house.lines  # what became stale, at two times
        mend(house)
        house.lines.clear()
        await clock.sleep_ms(2 * MINUTE)
        # One kind may be looked at while the other is still to be read.
        lines = [line for line in house.lines if not line.startswith("warning house: stale")]
        assert lines == ["info house: working", "info house: nothing is stale any more"]
        assert house.lines[-1] == lines[-1] and len(house.lines) <= 3, house.lines
        assert house.meter["state"] == "working" and house.status()["healthy"]
        assert (house.shown()["state"], house.shown()["stale"]) == ("working", [])

    house.run(script)


def test_a_key_that_was_changed_at_the_meter(tmp_path: Path):
    house = House(tmp_path)

    async def script() -> None:
        house.line.link = house.changed
        house.line.requests = 0
        house.right._reset()
        await clock.sleep_ms(HOUR - MINUTE)
        assert house.meter["state"] == "key-refused"
        assert house.line.requests == 3
        await clock.sleep_ms(11 * HOUR)
        assert 3 + 10 <= house.line.requests <= 3 + 11
        assert "as the utility wrote it" in house.shown()["reason"]
        told = [line for line in house.lines if "key-refused" in line]
        assert len(told) == 1 and told[0].startswith("warning "), told
        assert not any(key.decode() in line for line in house.lines for key in (KEY, OTHER_KEY))
        house.write_key(OTHER_KEY)
        await clock.sleep_ms(2 * MINUTE)
        assert house.meter["state"] == "working"

    house.run(script)


def test_a_key_that_is_changed_while_the_connection_stands(tmp_path: Path):
    house = House(tmp_path)

    async def script() -> None:
        house.right.port.unplug()
        house.right.write = house.changed.write
        house.changed.port.plug(house.right._arrived)
        house.line.requests = 0
        await clock.sleep_ms(3 * MINUTE)
        assert house.meter["state"] == "key-refused"
        assert house.line.requests <= 4  # once it asked for the sequence number to be set right

    house.run(script)


def test_a_broker_that_is_away_for_hours(tmp_path: Path):
    house = House(tmp_path)

    async def script() -> None:
        for state in ("gone", "unresolved", "untrusted"):
            house.lines.clear()
            house.broker.refuses = BrokerError("can't connect", state)
            house.broker.lose_connection()
            await clock.sleep_ms(2 * HOUR)
            status = house.status()
            assert status["broker"]["state"] == state
            assert status["problems"] == [f"broker: {state}: can't connect"]
            assert status["outbox"]["pendingFrames"] >= 120
            # That the connection was lost, and why there is no other.
            assert house.lines[1:] == [f"warning broker: {state}: can't connect"], house.lines
            house.broker.refuses = None
            await clock.sleep_ms(2 * MINUTE)
            assert house.lines[2:] == ["info broker: working"]
            assert house.status()["outbox"]["pendingFrames"] == 0

    house.run(script)


def test_what_flaps_for_hours_floods_neither_log_nor_broker(tmp_path: Path):
    house = House(tmp_path)

    async def script() -> None:
        house.broker.published.clear()
        for _ in range(60):
            house.line.pull()
            await clock.sleep_ms(10_000)
            house.line.pulled = False
            await clock.sleep_ms(50_000)
        assert len(house.lines) <= 10 + 6 + 2, len(house.lines)
        assert house.meter["failures"] >= 50
        assert len(house.broker.statuses()) <= 2 * HOUR / 5000  # of the meter and the gateway

    house.run(script)
