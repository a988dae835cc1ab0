"""Procedures and transactions through the real driver: where responses stand on which port, and that a
transaction's parts come as asked."""

import asyncio

import pytest

from gateway.c1219 import procedures, transactions
from gateway.c1219.tables import Tables
from gateway.errors import ProcedureFailed, Refused
from gateway.simulator.image import et
from tests.conformance.test_alerts_against_simulator import House

PORTS = [
    ("2.10", 1, 0, procedures.BT08, {}),
    ("3.10", 1, 2, procedures.ET59, {}),
    ("3.10", 1, 0, procedures.BT08, {}),
    ("4.30", 1, 2, procedures.ET59, {}),
    ("4.30", 1, 2, procedures.ET59, {"clients": 2}),
    ("4.30", 2, 0, procedures.ET85, {"clients": 2}),
]


def run(house: House, script) -> None:
    async def main() -> None:
        meter = await house.open_meter()
        work = asyncio.create_task(script(Tables(meter)))
        await house.clock.until(work.done, 60_000)
        await meter.close()
        work.result()

    house.clock.install()
    try:
        asyncio.run(main())
    finally:
        house.clock.uninstall()


@pytest.mark.parametrize(("firmware", "port", "flags", "table", "options"), PORTS)
def test_responses_stand_where_the_port_and_et50_say(firmware, port, flags, table, options):
    house = House(firmware, port, **options)

    async def script(tables: Tables) -> None:
        await tables.meter.write(et(50), bytes((1 | flags,)), (port - 1) * 71 + 30)
        assert await procedures.response_table(tables) == table
        calling = await procedures.procedures(tables)
        for _ in range(7):
            await calling.call(2048 + 39, b"\x0c")
        with pytest.raises(ProcedureFailed, match="EP17"):
            await calling.call(2048 + 17, b"\x07\x00\x00")

    run(house, script)


@pytest.mark.parametrize(
    ("firmware", "port", "options"), [("3.10", 1, {}), ("4.30", 1, {}), ("4.30", 2, {"clients": 2})]
)
def test_the_parts_of_a_transaction(firmware, port, options):
    house = House(firmware, port, **options)
    parts = [(52, 0, 7), (23, 0, 40), (et(4), 110, 10), (28, 0, 60)]

    async def script(tables: Tables) -> None:
        lock = await procedures.procedures(tables) if port == 2 else None
        for number in (1, 2):
            found = await transactions.read(tables.meter, number, parts, lock=lock)
            assert [len(part) for part in found] == [count for _, _, count in parts]
            assert found[2] == house.meter.image.read_part(et(4), 110, 10)[1]
        with pytest.raises(Refused):
            await transactions.read(tables.meter, 3, [(999, 0, 4)], lock=lock)

    run(house, script)
    assert (7 in house.tables()) == (port == 2)
