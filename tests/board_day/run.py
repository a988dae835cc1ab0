"""`make board-day`: the whole application in its default configuration for a day, within little memory.

A board reads a virtual meter with a busy life over MEP, every kind at the default schedule, and sends it over
TLS to a real broker whose certificate it verifies; the cloud stores it. Time runs SCALE times as fast. Told
are the heap hour by hour, what failed, and what the database has against what the meter knows to be true.
Ends with 1 when anything is not as it should be.
"""

import argparse
import asyncio
import json
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

from gateway.core import schedule
from gateway.simulator import truth
from gateway.simulator.generations import generation
from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.profile import standard
from gateway.simulator.profile_tables import sets_of
from gateway.transmission import model
from tests.board import CREDENTIAL, board_settings, build, lay_out, process, secret
from tests.board_day.judge import Day, Samples
from tests.brokers import NatsServer, wait_for_port
from tests.certificates import Authority
from tests.cloud_toml import cloud_toml
from tests.interpreter import ROOT
from tests.mep_fakes import KEY
from tests.patience import PATIENCE_S

# Summer time begins three hours later, a month ends at the end of the day (22:00 UTC).
BEGIN_MS = int(datetime(2024, 3, 30, 22, 30, tzinfo=UTC).timestamp()) * 1000
HOUR_S = 3600
REPORT_S = 60
# A minute of this machine, whatever the speed: the broker's time-outs are of its time.
KEEP_ALIVE_S = 60
# What came until the last hour is over has been read so much later, self-reads of the day among it.
READ_MS = 100 * 60_000
# What is on its way by then has arrived when nothing has come for so long.
REST_S = 20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--scale", type=int, default=60)
    parser.add_argument("--heap", default="224K")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Stage:
    """Everything around the board, in one directory."""

    def __init__(self, directory: Path, told: argparse.Namespace) -> None:
        self.directory = directory
        self.told = told
        self._real_ms = time.time_ns() // 1_000_000
        g = generation("4.30")
        self.meter = VirtualMeter(
            KEY, seed=told.seed, firmware=g, start_ms=BEGIN_MS, solar_peak_w=4000, life="busy",
            profile=standard(sets_of(g), 4), monotonic=self.now_ms,
        )  # fmt: skip
        self.samples = Samples(self.meter)

    def now_ms(self) -> int:
        return (time.time_ns() // 1_000_000 - self._real_ms) * self.told.scale

    def environment(self) -> dict[str, str]:
        """The board's clock is the meter's world's: origin + (real - origin) * scale."""
        scale = self.told.scale
        origin = (self._real_ms * scale - BEGIN_MS) // (scale - 1)
        return {"OSGP_TIME": f"{scale}@{origin}"}

    def broker(self) -> NatsServer:
        authority = Authority()
        (self.directory / "ca.der").write_bytes(authority.der)
        (self.directory / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(authority.der))
        return NatsServer(
            self.directory / "nats", certificate=authority.issue(self.directory, "localhost", "127.0.0.1")
        )

    def cloud(self, broker: NatsServer) -> tuple[str, ...]:
        file = cloud_toml(self.directory, f"mqtts://localhost:{broker.port}", "credential")
        return sys.executable, "-m", "omdp_cloud.cli", "serve", "-c", str(file)

    def board(self, image: Path, broker: NatsServer) -> tuple[tuple[str, ...], Path, dict[str, str]]:
        settings = board_settings(self.directory, broker.port, self.directory / "line")
        settings |= {
            "schedule": {model.KIND_NAMES[kind]: every // 1000 for kind, every, *_ in schedule.DEFAULT},
            "outbox_dir": "outbox",
            "report_seconds": REPORT_S,
            # This machine's pauses are no board's, and become long ones.
            "watchdog": 0,
        }
        settings["broker"] |= {
            "host": "localhost",
            "ca_file": str(self.directory / "ca.der"),
            "keep_alive": KEEP_ALIVE_S * self.told.scale,
        }
        file = self.directory / "board.json"
        file.write_text(json.dumps(settings))
        root, environment = lay_out(file)
        images = f"{image},{image.with_name('hardware.romfs')}"
        command = (sys.executable, str(ROOT / "tools/run_from_rom.py"), images, "firmware")
        return (*command, "-X", f"heapsize={self.told.heap}"), root, environment | self.environment()


class Told:
    """What the board said."""

    def __init__(self) -> None:
        self.reports: list[dict] = []
        self.lines: list[str] = []

    async def listen(self, board: asyncio.subprocess.Process) -> None:
        assert board.stdout and board.stderr

        async def reports() -> None:
            while line := await board.stdout.readline():
                if line.startswith(b"{"):
                    self.reports.append(json.loads(line))
                    hour = self.reports[-1]["seconds"] // HOUR_S
                    if hour and self.reports[-2]["seconds"] // HOUR_S < hour:
                        print(self.row(hour), flush=True)
                else:
                    self.lines.append(line.decode().rstrip())

        async def lines() -> None:
            while line := await board.stderr.readline():
                self.lines.append(line.decode().rstrip())

        await asyncio.gather(reports(), lines())

    def hour(self, hour: int) -> list[dict]:
        """Its reports."""
        return [one for one in self.reports if one["seconds"] // HOUR_S == hour - 1]

    def heap(self, hour: int) -> int:
        """Bytes that stay alive: the least of this hour, while nothing much is being read."""
        return min(one["heapBytes"] for one in self.hour(hour))

    def row(self, hour: int) -> str:
        reports = self.hour(hour)
        last = reports[-1]
        link, outbox, broker = last["meters"][0]["link"], last["outbox"], last["broker"]
        most = max(one["heapBytes"] for one in reports)
        return "%6d %10d %10d %9d %8d %8d %8d %8d %8d %8d" % (
            *(
                hour,
                self.heap(hour),
                most,
                outbox["usedBytes"],
                link["reads"],
                link["retries"],
                broker["published"],
            ),
            *(outbox["waiting"], last["meters"][0]["failures"], broker["failures"]),
        )

    def count(self, word: str) -> int:
        return sum(word in line for line in self.lines)


HEADER = "%6s %10s %10s %9s %8s %8s %8s %8s %8s %8s" % (
    *("hour", "alive", "at most", "flash", "reads", "retries", "frames", "waiting", "meter", "broker"),
)


async def live(stage: Stage, image: Path) -> Told:
    told = Told()
    directory = stage.directory
    for name, text in (("meter.key", KEY.decode()), ("credential", CREDENTIAL)):
        secret(directory / name, text)
    with stage.broker() as broker:
        async with AsyncExitStack() as stack:
            cloud = await stack.enter_async_context(process(*stage.cloud(broker)))
            assert cloud.stdout
            await asyncio.wait_for(cloud.stdout.readline(), PATIENCE_S)
            await asyncio.to_thread(wait_for_port, broker.port)
            await stack.enter_async_context(pty_line(stage.meter.ports[0], link=directory / "line"))
            command, root, environment = stage.board(image, broker)
            board = await stack.enter_async_context(process(*command, cwd=root, environment=environment))
            began_ms = stage.now_ms()
            print(HEADER, flush=True)
            listening = asyncio.create_task(told.listen(board))
            until_ms = began_ms + stage.told.hours * HOUR_S * 1000
            for name, end_ms in (("day", until_ms), ("after", until_ms + READ_MS)):
                while board.returncode is None and stage.now_ms() < end_ms:
                    await asyncio.sleep(0.5)
                truth.write(stage.meter, directory / f"{name}.json")
            Path(environment["OSGP_BOARD"], "interrupt").touch()
            await asyncio.wait_for(listening, PATIENCE_S)
            await board.wait()
            await all_arrived(directory / "readings.db")
    return told


async def all_arrived(database: Path) -> None:
    newest, since = None, time.monotonic()
    while time.monotonic() - since < REST_S:
        await asyncio.sleep(1)
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=PATIENCE_S)) as connection:
            found = connection.execute("SELECT max(id) FROM meter_reading").fetchone()
        if found != newest:
            newest, since = found, time.monotonic()


def problems(stage: Stage, told: Told) -> Iterator[str]:
    if told.count("MemoryError"):
        yield f"{told.count('MemoryError')} lines of MemoryError"
    if told.count("Traceback"):
        yield f"{told.count('Traceback')} tracebacks"
    lived_s = told.reports[-1]["seconds"] if told.reports else 0
    if lived_s < stage.told.hours * HOUR_S:
        yield f"the board ended after {lived_s / HOUR_S:.1f} hours"
    elif stage.told.hours > 2:
        # In the first hour not all has been needed yet.
        first, last = told.heap(2), told.heap(stage.told.hours)
        print(f"alive in hour 2 {first:,}, in hour {stage.told.hours} {last:,}: {last / first - 1:+.2%}")
        if abs(last - first) > first // 50:
            yield "the live heap is not what it was behind the first hour"
    day = Day(stage.directory, stage.samples)
    yield from day.compare()
    print("\n".join(day.table()))


def main() -> int:
    told = arguments()
    with tempfile.TemporaryDirectory(prefix="board-day-") as name:
        directory = Path(name)
        try:
            image = directory / "app.romfs"
            build(directory / "application", image)
        except subprocess.CalledProcessError as error:
            print(error.stderr, file=sys.stderr)
            return 1
        print(f"-X heapsize={told.heap}, {told.hours} hours, {told.scale} times as fast, seed {told.seed}")
        stage = Stage(directory, told)
        said = asyncio.run(live(stage, image))
        found = list(problems(stage, said))
        if found:
            print("\n".join(said.lines[-40:]))
            print("\n".join(f"WRONG: {one}" for one in found))
        return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
