"""Every kind of reading, on both ports, by the board's program: what the cloud stores is the truth.

The meters and the comparison are those of tests/conformance/test_every_kind_against_truth.py. The board reads
what five eventful weeks left, from nothing; hours pass while it has no power, and it goes on from the cursors
in its outbox.
"""

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from gateway.simulator.listen import pty_line
from gateway.transmission import model
from tests.board import CREDENTIAL, board_process, board_settings, cloud, secret
from tests.eventful_meter import NIGHT, PASSWORD, World
from tests.expected_readings import Expected
from tests.judged_kinds import Judge, eventful, marks_of, same
from tests.mep_fakes import KEY
from tests.resting import interrupted
from tests.stored_readings import Stored, settle

# More than live values take: a reader with its tables and values comes on top, one at a time.
HEAP = os.environ.get("OSGP_TEST_KINDS_HEAP", "352K")
SCALE = 5


class Clock:
    """The board's: at its start as late as it is in the meter's world, which stands still."""

    def __init__(self, world: World) -> None:
        self._start_ms = world.meter.run_ms()
        self._began_ms = time.time_ns() // 1_000_000
        # Scaled time is origin + (real time - origin) * scale.
        origin_ms = (self._began_ms * SCALE - self._start_ms) // (SCALE - 1)
        self.environment = {"OSGP_TIME": f"{SCALE}@{origin_ms}"}

    def span_s(self) -> tuple[int, int]:
        """From when until now the board has run, by its clock."""
        passed_ms = SCALE * (time.time_ns() // 1_000_000 - self._began_ms)
        return self._start_ms // 1000 - 1, (self._start_ms + passed_ms) // 1000 + 1


async def all_stored(stored: Stored, wanted: dict[int, list], child: asyncio.subprocess.Process) -> None:
    """Until as much is stored as there is; fails with what the child said when it takes too long."""
    sizes = {kind: len(entries) for kind, entries in wanted.items()}
    for _ in range(600):
        counts = stored.counts()
        if all(counts[kind] >= sizes[kind] for kind in sizes):
            return
        if child.returncode is not None:
            break
        await asyncio.sleep(0.2)
    output, errors = await interrupted(child)
    pytest.fail(
        f"ended with {child.returncode}; stored {counts} of {sizes}\n"
        f"{output.decode()[-2000:]}{errors.decode()[-4000:]}"
    )


@pytest.mark.parametrize(("protocol", "firmware"), [("mep", "4.30"), ("optical", "3.50")])
async def test_every_kind_equals_the_truth(
    application, tmp_path: Path, figures, protocol: str, firmware: str
):
    optical = protocol == "optical"
    secrets = (("meter.key", KEY), ("meter.password", PASSWORD), ("credential", CREDENTIAL.encode()))
    for name, text in secrets:
        secret(tmp_path / name, text.decode())
    world = World(firmware, NIGHT, "rc4", {})
    channel = world.meter.optical if optical else world.meter.ports[0]
    judge = Judge(world.meter.run_ms)
    stored = Stored(tmp_path / "readings.db", world.truth())
    marks = ["OSGP_not_authenticated"] if optical else []
    seen: set[str] = set()
    compared: Counter = Counter()
    alive: list[int] = []

    async with cloud(tmp_path) as port, pty_line(channel, link=tmp_path / "line"):
        settings = board_settings(tmp_path, port, tmp_path / "line") | {
            "protocol": protocol,
            # Each once: the next full hour is minutes away.
            "schedule": dict.fromkeys(model.KIND_NAMES[model.CLOCK : model.FOREIGN], 3600),
            "reads_per_hour": 360_000,
            "report_seconds": 300,
            "outbox_dir": str(tmp_path / "outbox"),
        }
        if optical:
            del settings["key_file"]
            settings["password_file"] = str(tmp_path / "meter.password")
        file = tmp_path / "board.json"
        file.write_text(json.dumps(settings))

        for part in ("at first", "later"):
            told = world.truth()
            wanted = judge.expected(told, marks)
            clock = Clock(world)
            async with board_process(application.image, HEAP, file, clock.environment) as board:
                await all_stored(stored, wanted, board)
                output, errors = await interrupted(board)
            assert board.returncode == 0, errors.decode()
            assert "MemoryError" not in errors.decode()
            alive += [json.loads(line)["heapBytes"] for line in output.decode().splitlines()]
            found = stored.new(wanted)
            settle(found, wanted, Expected(told, judge.host_ms(), marks), *clock.span_s())
            for kind, entries in wanted.items():
                same(found[kind], entries, f"{firmware} over {protocol}, {model.KIND_NAMES[kind]}, {part}")
                compared[model.KIND_NAMES[kind]] += len(entries)
                seen.update(marks_of(entries))
            world.later()
    stored.check()
    assert seen >= eventful(firmware, NIGHT), eventful(firmware, NIGHT) - seen
    figures(
        f"MicroPython, every kind, {protocol}, -X heapsize={HEAP}: up to {max(alive):,} bytes alive\n"
        + ", ".join(f"{count} {name}" for name, count in compared.items())
    )
