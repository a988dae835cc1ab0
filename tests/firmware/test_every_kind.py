"""Every kind of reading, on both ports, by the board's program: what the cloud stores is the truth, and what
it stores of the gateway on Linux.

The meters and the comparison are those of tests/conformance/test_every_kind_against_truth.py. The boards read
what five eventful weeks left, from nothing; then Linux does, into a database of its own. Hours pass while the
boards have no power, and they go on from the cursors in their outboxes.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.simulator.listen import pty_line
from gateway.transmission import model
from tests.board import CREDENTIAL, Application, board_process, board_settings, cloud, process, secret
from tests.eventful_meter import NIGHT, PASSWORD, World
from tests.expected_readings import Expected
from tests.judged_kinds import Judge, eventful, marks_of, same
from tests.mep_fakes import KEY
from tests.patience import PATIENCE_S
from tests.stored_readings import Stored, check, equal_rows, settle

# More than live values take: a reader with its tables and values comes on top, one at a time.
HEAP = os.environ.get("OSGP_TEST_KINDS_HEAP", "248K")
# So many times as fast as in life; Linux has no field for how many reads it may make in an hour.
BOARD_SCALE = 5
LINUX_SCALE = 12
SECRETS = (("meter.key", KEY), ("meter.password", PASSWORD), ("credential", CREDENTIAL.encode()))


class Clock:
    """The readers': at their start as late as it is in the meters' worlds, which stand still."""

    def __init__(self, world: World, scale: int) -> None:
        self._scale = scale
        self._start_ms = world.meter.run_ms()
        self._began_ms = time.time_ns() // 1_000_000
        # Scaled time is origin + (real time - origin) * scale.
        origin_ms = (self._began_ms * scale - self._start_ms) // (scale - 1)
        self.environment = {"OSGP_TIME": f"{scale}@{origin_ms}"}

    def span_s(self) -> tuple[int, int]:
        """From when until now they have run, by this clock."""
        passed_ms = self._scale * (time.time_ns() // 1_000_000 - self._began_ms)
        return self._start_ms // 1000 - 1, (self._start_ms + passed_ms) // 1000 + 1


class Place:
    """A meter, the port that is read, and who judges what a reader of it stores."""

    def __init__(self, directory: Path, protocol: str, firmware: str, seed: int) -> None:
        self.directory = directory / protocol
        self.directory.mkdir()
        for name, text in SECRETS:
            secret(self.directory / name, text.decode())
        self.protocol = protocol
        self.firmware = firmware
        self.world = World(firmware, NIGHT, "rc4", {}, seed)
        meter = self.world.meter
        self.channel = meter.optical if protocol == "optical" else meter.ports[0]
        self.marks = ["OSGP_not_authenticated"] if protocol == "optical" else []
        self.judge = Judge(meter.run_ms)
        self.stored = Stored(directory / "readings.db", self.world.truth())
        self.seen: set[str] = set()
        self.compared: Counter = Counter()

    def settings(self, port: int) -> Path:
        settings = board_settings(self.directory, port, self.directory / "line") | {
            "protocol": self.protocol,
            # Each once: the next full hour is minutes away.
            "schedule": dict.fromkeys(model.KIND_NAMES[model.CLOCK : model.FOREIGN], 3600),
            "reads_per_hour": 360_000,
            "report_seconds": 300,
            "outbox_dir": "outbox",
        }
        if self.protocol == "optical":
            del settings["key_file"]
            settings["password_file"] = str(self.directory / "meter.password")
        file = self.directory / "board.json"
        file.write_text(json.dumps(settings))
        return file

    def expected(self) -> dict[int, list]:
        """Of the next that reads it."""
        self.told = self.world.truth()
        self.wanted: dict[int, list] = self.judge.expected(self.told, self.marks)
        return self.wanted

    def compare(self, stored: Stored, clock: Clock, part: str) -> None:
        found = stored.new(self.wanted)
        settle(found, self.wanted, Expected(self.told, self.judge.host_ms(), self.marks), *clock.span_s())
        for kind, entries in self.wanted.items():
            name = model.KIND_NAMES[kind]
            same(found[kind], entries, f"{self.firmware} over {self.protocol}, {name}, {part}")
            self.compared[name] += len(entries)
            self.seen.update(marks_of(entries))


async def all_stored(
    child: asyncio.subprocess.Process, databases: list[tuple[Stored, dict[int, list]]]
) -> tuple[str, str]:
    """Ends the child once as much is stored as there is; what it said. Fails with that when it takes too
    long."""
    counts: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for stored, wanted in databases:
        sizes = {kind: len(entries) for kind, entries in wanted.items()}
        for _ in range(5 * PATIENCE_S):
            counts = stored.counts()
            if child.returncode is not None or all(counts[kind] >= sizes[kind] for kind in sizes):
                break
            await asyncio.sleep(0.2)
    complete = child.returncode is None and all(counts[kind] >= sizes[kind] for kind in sizes)
    if child.returncode is None:
        child.send_signal(signal.SIGINT)
    output, errors = [said.decode() for said in await asyncio.wait_for(child.communicate(), PATIENCE_S)]
    if not complete or child.returncode:
        pytest.fail(
            f"ended with {child.returncode}; stored {counts} of {sizes}\n{output[-2000:]}{errors[-4000:]}"
        )
    return output, errors


async def read_by_board(application: Application, place: Place, settings: Path, clock: Clock) -> int:
    """The most bytes that were alive on its heap."""
    async with board_process(application.image, HEAP, settings, clock.environment) as board:
        output, errors = await all_stored(board, [(place.stored, place.wanted)])
    assert "MemoryError" not in errors, errors
    return max(json.loads(line)["heapBytes"] for line in output.splitlines())


def linux_settings(directory: Path, places: list[Place], port: int) -> Path:
    text = (
        f'[gateway]\nid = "linux"\n[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
        f"credential_file = {json.dumps(str(directory / 'credential'))}\n"
    )
    kinds = [name.replace("-", "_") for name in model.KIND_NAMES[model.CLOCK : model.FOREIGN]]
    for place in places:
        secrets = "password_file" if place.protocol == "optical" else "key_file"
        file = place.directory / ("meter.password" if place.protocol == "optical" else "meter.key")
        text += (
            f'[[meter]]\nname = "{place.protocol}"\nprotocol = "{place.protocol}"\n'
            f"port = {json.dumps(str(place.directory / 'line'))}\n{secrets} = {json.dumps(str(file))}\n"
            "[meter.schedule]\n" + "".join(f'{kind} = "1h"\n' for kind in kinds)
        )
    file = directory / "gateway.toml"
    file.write_text(text)
    return file


async def equals_linux(directory: Path, places: list[Place]) -> None:
    """What the boards have stored first, and what Linux stores of the same meters."""
    directory.mkdir()
    secret(directory / "credential", CREDENTIAL)
    databases = [Stored(directory / "readings.db", place.told) for place in places]
    async with cloud(directory) as port:
        file = linux_settings(directory, places, port)
        clock = Clock(places[0].world, LINUX_SCALE)
        command = (sys.executable, "-m", "gateway.host.cli", "run", "-c", str(file))
        async with process(*command, environment=clock.environment) as gateway:
            await all_stored(
                gateway, [(stored, place.wanted) for stored, place in zip(databases, places, strict=True)]
            )
    for stored, place in zip(databases, places, strict=True):
        place.compare(stored, clock, "Linux")
        equal_rows(place.stored.rows, stored.rows)
    check(directory / "readings.db", {stored.meter for stored in databases})


@pytest.mark.timeout(5 * PATIENCE_S)
async def test_every_kind_equals_the_truth_and_linux(application: Application, tmp_path: Path, figures):
    places = [Place(tmp_path, "mep", "4.30", 4), Place(tmp_path, "optical", "3.50", 5)]
    secret(tmp_path / "credential", CREDENTIAL)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(cloud(tmp_path))
        for place in places:
            await stack.enter_async_context(pty_line(place.channel, link=place.directory / "line"))
        alive = []
        for part in ("at first", "later"):
            clock = Clock(places[0].world, BOARD_SCALE)
            reading = []
            for place in places:
                place.expected()
                reading.append(read_by_board(application, place, place.settings(port), clock))
            alive += await asyncio.gather(*reading)
            for place in places:
                place.compare(place.stored, clock, part)
            if part == "at first":
                await equals_linux(tmp_path / "linux", places)
            for place in places:
                place.world.later()
    check(tmp_path / "readings.db", {place.stored.meter for place in places})
    for place in places:
        missing = eventful(place.firmware, NIGHT) - place.seen
        assert not missing, f"too plain a life: {missing}"
        figures(
            f"{place.firmware} over {place.protocol}: "
            + ", ".join(f"{count} {name}" for name, count in place.compared.items())
        )
    figures(f"MicroPython, every kind, -X heapsize={HEAP}: up to {max(alive):,} bytes alive")
