"""What a meter says over its optical port is what it says over MEP, on bad lines too; sessions and keys."""

import asyncio
import json

import pytest

from gateway import clock as time_seam
from gateway.c1219.tables import Tables
from gateway.core.cursors import KINDS, reader
from gateway.core.kinds import read_kind
from gateway.core.marks import mark
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import DIGEST, Security
from gateway.drivers.optical.meter import OpticalMeter
from gateway.errors import AuthenticationError, GatewayError, NoAnswer, Refused
from gateway.host.show import About, json_lines
from gateway.simulator.faulty import LineFaults
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.transmission import model
from tests.mep_fakes import KEY, VirtualTime
from tests.simulated_line import SimulatedLink

START_MS = 1_720_000_000_000
UNIQUE, PROVISIONING, READ_ONLY = b"the unique key of it", b"the provisioning one", b"one to read with...."
ABOUT = About(bytes(16), "serial")


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch):
    """The protocols' time; the meter's world stands still, so that both ports tell of the same instant."""
    monkeypatch.setattr(time_seam, "utc_ms", lambda: START_MS)
    virtual = VirtualTime()
    virtual.install()
    yield virtual
    virtual.restore()


def virtual_meter(firmware: str, **options: object) -> VirtualMeter:
    return VirtualMeter(
        KEY,
        seed=3,
        firmware=firmware,
        start_ms=START_MS,
        monotonic=lambda: 0,
        optical_keys=OpticalKeys(UNIQUE, PROVISIONING, READ_ONLY),
        **{"history_days": 2, "life": "busy", **options},
    )


def optical(time: VirtualTime, meter: VirtualMeter, password: bytes | None = None, **options: object):
    return OpticalMeter(SimulatedLink(time, meter.optical), password or UNIQUE, **options)


def mep(time: VirtualTime, meter: VirtualMeter) -> MepMeter:
    return MepMeter(SimulatedLink(time, meter.ports[0]), Security(KEY, DIGEST))


async def read_all(meter, kind: int) -> list[dict]:
    """What a kind brings in the end, as lines of JSON, without the mark of this port."""
    tables = Tables(meter)
    if kind not in KINDS:
        items = list(mark(await read_kind(kind, tables), meter))
    else:
        items = []
        read_step, _ = reader(kind)
        cursor = None
        while True:
            step = await read_step(tables, cursor)
            items += mark(step.items, meter)
            cursor = step.cursor
            if not step.more:
                break
    lines = [json.loads(line) for line in json_lines(items, ABOUT)]
    for line in lines:
        marked = "OSGP_not_authenticated" in line.get("faults", [])
        assert marked is not meter.authenticated
        line["faults"] = [fault for fault in line.get("faults", []) if fault != "OSGP_not_authenticated"]
    await meter.release()
    return lines


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.mark.parametrize(
    "faults",
    [
        LineFaults(lose=10_000, seed=1),
        LineFaults(double=10_000, seed=2),
        LineFaults(corrupt=10_000, seed=3),
        LineFaults(late=6_000, half=3_000, seed=4),
        LineFaults(garbage=4_000, corrupt=2_000, lose=2_000, seed=5),
    ],
    ids=["lost", "doubled", "corrupted", "late and cut off", "garbage"],
)
@pytest.mark.parametrize("firmware", ["3.10", "4.30"])
def test_over_bad_lines_it_is_the_same_or_an_error(time: VirtualTime, firmware: str, faults: LineFaults):
    async def compare() -> None:
        meter = virtual_meter(firmware)
        link = SimulatedLink(time, meter.optical, faults)
        over_optical, over_mep = OpticalMeter(link, UNIQUE), mep(time, meter)
        errors = 0
        for kind in (model.IDENTITY, model.CLOCK, model.REGISTERS, model.PRESENT, model.EVENT):
            for _ in range(6):
                try:
                    found = await read_all(over_optical, kind)
                    break
                except GatewayError:
                    errors += 1
            await over_optical.release()
            await time.sleep_ms(10_000)  # where the meter has not heard of it, the session ends by itself
            assert found == await read_all(over_mep, kind)
        assert errors <= 5
        assert sum((link.inward.done + link.outward.done).values()) >= 5
        await over_optical.close()
        await over_mep.close()

    run(compare())


@pytest.mark.parametrize("firmware", ["3.10", "4.30"])
@pytest.mark.parametrize("baud", [9600, 19200])
def test_sessions_begin_and_end_again_and_again(time: VirtualTime, firmware: str, baud: int):
    async def go() -> None:
        meter = virtual_meter(firmware, history_days=0, life="none")
        over_optical, over_mep = optical(time, meter, baud=baud), mep(time, meter)
        for pause in (0, 1_000, 5_500, 6_500, 60_000) * 2:
            assert await over_optical.read(1, 0, 4) == await over_mep_or_shut_out(over_mep, firmware)
            assert meter.optical.baud == baud
            await over_optical.release()
            assert await over_mep.read(1, 0, 4) == await over_optical.read(1, 0, 4)
            if pause % 1_000:  # and without an end, too
                await time.sleep_ms(pause)
            else:
                await over_optical.release()
                await time.sleep_ms(pause)
        await over_optical.close()
        await over_mep.close()

    async def over_mep_or_shut_out(over_mep: MepMeter, firmware: str) -> bytes:
        """On shared ports an open session shuts MEP out (optical guide, chapter 1)."""
        if firmware[0] == "4":
            return await over_mep.read(1, 0, 4)
        with pytest.raises(NoAnswer):
            await over_mep.read(1, 0, 4)
        return b"ELON"

    run(go())


@pytest.mark.parametrize("fate", ["nak", "lost", "heard"])
def test_whatever_becomes_of_the_first_packet_on_a_shared_port(time: VirtualTime, fate: str):
    async def go() -> None:
        meter = virtual_meter("3.10", history_days=0, life="none")
        meter.optical.server.first_packet = fate
        over_optical, over_mep = optical(time, meter), mep(time, meter)
        for _ in range(3):
            assert await over_optical.read(1, 0, 4) == b"ELON"
            await over_optical.release()
            assert await over_mep.read(1, 0, 4) == b"ELON"
        await over_optical.close()
        await over_mep.close()

    run(go())


def test_keys_and_their_rights(time: VirtualTime):
    async def go() -> None:
        meter = virtual_meter("3.10", history_days=0, life="none")
        for password in (UNIQUE, PROVISIONING, READ_ONLY):
            over_optical = optical(time, meter, password)
            assert await over_optical.read(1, 0, 4) == b"ELON"
            await over_optical.close()
        reading = optical(time, meter, READ_ONLY)
        with pytest.raises(Refused) as caught:
            await reading.write(7, b"\0\0\1")
        assert caught.value.code == 3
        await reading.close()
        stranger = optical(time, meter, b"some other password.")
        with pytest.raises(AuthenticationError):
            await stranger.read(1, 0, 4)
        await stranger.close()

    run(go())


def test_a_day_of_intervals_and_all_events_at_one_wrong_byte_in_a_hundred(time: VirtualTime):
    async def go(seed: int) -> tuple[int, int]:
        meter = virtual_meter("3.50", history_days=1)
        link = SimulatedLink(time, meter.optical, LineFaults(corrupt=10_000, seed=seed))
        over_optical, over_mep = OpticalMeter(link, UNIQUE), mep(time, meter)
        tries = 0
        for kind in (model.LOAD_PROFILE, model.EVENT):
            tables = Tables(over_optical)
            read_step, _ = reader(kind)
            found: list[str] = []
            cursor = None
            more = True
            while more:
                tries += 1
                assert tries < 200
                try:
                    step = await read_step(tables, cursor)
                except GatewayError:
                    continue
                found += json_lines(step.items, ABOUT)
                cursor, more = step.cursor, step.more
            await time.sleep_ms(10_000)  # the meter may not have heard of the session's end
            expected = await read_all(over_mep, kind)
            assert len(expected) > 50 or kind == model.EVENT
            assert [{"faults": [], **json.loads(line)} for line in found] == expected
        await over_optical.close()
        await over_mep.close()
        return tries, time.now

    for seed in range(2):
        run(go(seed))
