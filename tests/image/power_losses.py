"""A flashed board loses its power, again and again, while it reads what a meter has stored for weeks: part of
`make test-firmware`.

The last write before each loss is torn. In the end the cloud's database has all that the meter stored, once
and unchanged: nothing that was acknowledged, or that the cursors had passed, was lost on the way.
"""

import json
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from flashing import image

from gateway.simulator.listen import pty_line
from gateway.transmission import model
from tests.board import secret
from tests.esp_firmware import STOCK, WITH_ROMFS
from tests.eventful_meter import NIGHT
from tests.eventful_meter import World as MeterWorld
from tests.firmware.test_every_kind import Clock
from tests.flashed_board import StartedBoard, flashed_board
from tests.image.world import World
from tests.judged_kinds import Judge, same
from tests.mep_fakes import KEY
from tests.patience import PATIENCE_S
from tests.stored_readings import Stored

CUTS = int(os.environ.get("OSGP_TEST_CUTS", "8"))
SCALE = 5
# In a row, before all that the meter has stored is read to its end; so much is there to be read in hours.
IN_A_ROW = min(CUTS // 2, 10)
# Writes between a start and the loss: some of the outbox's opening, most while it is filled.
MOST_WRITES = 60
# What a meter stores: told once each, whatever happens to who reads it.
KEPT = {
    model.LOAD_PROFILE: "interval",
    model.EVENT: "event",
    model.SELF_READ: "self-read",
    model.MBUS: "telegram",
}


def kept(entries: dict[int, list]) -> dict[int, list]:
    return {kind: [one for one in entries[kind] if one[0][0] == name] for kind, name in KEPT.items()}


def only_alarms_were_told_again(database: Path) -> None:
    """Those have no time of their own: who lost that he told them tells them with the time at which he sees
    them set. Nothing else was said in two ways, and nothing was refused or given up."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        revised = connection.execute(
            "SELECT DISTINCT r.kind FROM reading_key AS k JOIN meter_reading AS r ON r.id = k.reading"
            " WHERE k.revision > 0"
        ).fetchall()
        assert set(revised) <= {(model.ALARM,)}
        for table in ("dead_letter", "custody_drop"):
            assert not connection.execute(f"SELECT * FROM {table}").fetchall(), table


@pytest.mark.timeout((20 + CUTS) * PATIENCE_S)
@pytest.mark.parametrize("partitions", [STOCK, WITH_ROMFS], ids=["files", "romfs"])
async def test_what_the_meter_stored_arrives_whole(tmp_path: Path, figures, partitions) -> None:
    chance = random.Random(f"losses {partitions == STOCK}")
    around = World(tmp_path)
    secret(tmp_path / "meter.key", KEY.decode())
    flashed = flashed_board(tmp_path / "board", around.gateway_toml(), partitions=partitions)
    settings = json.loads(image.read(flashed.image.read_bytes())["/config/board.json"])
    settings |= {"schedule": dict.fromkeys(model.KIND_NAMES[model.CLOCK : model.FOREIGN], 60)}
    settings |= {"reads_per_hour": 360_000, "watchdog": 0}
    flashed.change({"/config/board.json": json.dumps(settings).encode()})
    meter = MeterWorld("4.30", NIGHT, "rc4", {}, 4)
    judge = Judge(meter.meter.run_ms)
    stored = Stored(around.database, meter.truth())
    board = StartedBoard(flashed, tmp_path)
    arrived: list[int] = []

    async def complete(wanted: dict[int, list]) -> bool:
        counts = stored.counts()
        return all(counts[kind] >= len(entries) for kind, entries in kept(wanted).items())

    async def loses_power(wanted: dict[int, list]) -> bool:
        """False when there was nothing left to lose."""

        async def look() -> bool | None:
            if (board.hardware / "power").exists():
                return True
            return False if await complete(wanted) else None

        board.environment |= Clock(meter, SCALE).environment
        board.environment["OSGP_LOSE_POWER"] = str(chance.randrange(1, MOST_WRITES))
        board.power_on()
        lost = await board.until(look, "the loss of its power")
        await board.power_off()
        del board.environment["OSGP_LOSE_POWER"]
        if lost:
            arrived.append(sum(stored.counts()[kind] for kind in KEPT))
        return lost

    compared: Counter = Counter()
    async with around.at_work(), pty_line(meter.meter.ports[0], link=board.line):
        while len(arrived) < CUTS:
            wanted = judge.expected(meter.truth(), [])
            for _ in range(min(IN_A_ROW, CUTS - len(arrived))):
                if not await loses_power(wanted):
                    break

            async def whole(wanted: dict[int, list] = wanted) -> bool | None:
                return await complete(wanted) or None

            async with board:
                await board.says("house: working")
                await board.until(whole, "all that the meter stored in the database")
            found = kept(stored.new(wanted))
            for kind, entries in kept(wanted).items():
                same(found[kind], entries, f"{model.KIND_NAMES[kind]} after {len(arrived)} losses")
                compared[KEPT[kind]] += len(entries)
            meter.later()
    only_alarms_were_told_again(around.database)
    counts = ", ".join(f"{count} {name}s" for name, count in compared.items())
    figures(
        f"{len(arrived)} losses of power, {board.starts} starts: {counts}, none missing, doubled or altered\n"
        f"rows that had arrived at each loss: {arrived}"
    )
