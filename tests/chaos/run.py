"""`python -m tests.chaos.run`: a chaos run, and what it brought to light (docs/testing.md).

Exit code 0: nothing missing, doubled or altered, and every kind of fault hit; 1: otherwise.
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from random import Random

from . import faults
from .judge import KINDS, Database, Judge, Verdict
from .stage import METERS, Stage
from .times import BEGIN_MS

AT_ONCE = 4
# How long nothing may arrive that has to, before it is given up.
PATIENCE_S = 600
# How far the database may be behind the meters, in seconds of the world, until no more faults come, and from
# where on they come again. A meter holds a day of telegrams: a machine that is too slow loses none of them.
BEHIND_S, NEAR_S = 10 * 3600, 6 * 3600
# So many seconds without getting nearer show that the machine is too slow for the speed of the world.
TOO_SLOW_S = 40
SLOWEST = 90
# So long after that it is tried again whether the machine keeps up with a faster world.
AGAIN_S = 90
# A run of so many faults for each kind has hit with every kind, or does not do what it says.
_ENOUGH = 20


class Run:
    """One run of `count` faults, or of each kind once (None). `hits` says how often each really hit."""

    def __init__(self, stage: Stage, count: int | None, kinds: tuple, say) -> None:
        self.stage = stage
        self.hits: Counter = Counter({kind.name: 0 for kind in kinds})
        self.failed: Counter = Counter()
        self.verdicts: dict[str, dict[str, Verdict]] = {}
        self.caught_up = False
        self.counts: dict[str, int] = {}
        self.waits: list[float] = []  # seconds until the backlog had gone, faults and the end's last of all
        self._slowed = time.monotonic()
        self._each = count is None
        self._chosen: list[faults.Fault] = []
        self._count = len(kinds) if count is None else count
        self._chance = Random(f"{stage.seed} faults")
        self._kinds = [kind() for kind in kinds]
        self._tasks: set[asyncio.Task] = set()
        self._broken: BaseException | None = None
        self._say = say
        self._journal = (stage.directory / "faults.log").open("a")

    async def rage(self, days: float) -> None:
        """So many faults within so many days, and as long as the backlog takes in between."""
        world = self.stage.world
        begin = world.now_ms()
        length = days * 86_400_000
        while (hit := self.hits.total()) < self._count and self._broken is None:
            begin += await self._caught_up()
            left = begin + length * (hit + len(self._tasks)) / self._count - world.now_ms()
            await asyncio.sleep(world.real_s(max(0.0, left) / 1000) * self._chance.uniform(0.2, 1.8))
            while len(self._tasks) >= AT_ONCE:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            if self.hits.total() + len(self._tasks) >= self._count:
                if self._tasks:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                continue
            fault = self._choose()
            task = asyncio.create_task(self._hit(fault, self._chance.getrandbits(32)))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        await self._all_done()
        if self._broken is not None:
            raise self._broken
        left = begin + length - world.now_ms()
        if left > 0:
            await asyncio.sleep(world.real_s(left / 1000))

    async def _caught_up(self) -> int:
        """Waits while the database is far behind the meters; ms of the world that it took."""
        stage = self.stage
        database = Database(stage.cloud.database)
        behind = await self._behind(database)
        faster = stage.world.scale < stage.scale and time.monotonic() - self._slowed > AGAIN_S
        if behind is None or behind < BEHIND_S:
            if behind is not None and behind < NEAR_S and faster:
                await self._go_on(min(stage.world.scale * 3 // 2, stage.scale), behind)
            return 0
        begun, real = stage.world.now_ms(), time.monotonic()
        await self._all_done()
        best, since = await self._behind(database) or 1 << 40, time.monotonic()
        while (behind := await self._behind(database)) is None or behind > NEAR_S:
            if behind is not None and behind < best - 600:
                best, since = behind, time.monotonic()
            if time.monotonic() - since > TOO_SLOW_S and stage.world.scale > SLOWEST:
                await self._go_on(max(stage.world.scale * 2 // 3, SLOWEST), best)
                since = time.monotonic()
            await asyncio.sleep(1)
            if time.monotonic() - since > PATIENCE_S:
                break  # the verdict tells what is missing
        self.waits.append(time.monotonic() - real)
        return stage.world.now_ms() - begun

    async def _go_on(self, scale: int, behind: int) -> None:
        await self._all_done()
        self._say(f"{behind / 3600:.0f} hours behind: the world goes on at {scale}")
        await self.stage.go_on(scale)
        self._slowed = time.monotonic()

    async def _all_done(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _behind(self, database: Database) -> int | None:
        cloud = self.stage.cloud
        if cloud.looked_at.locked():
            return None
        async with cloud.looked_at:
            return await asyncio.to_thread(database.behind_s, self.stage.world.now_ms() // 1000)

    def _done(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()

    def _choose(self) -> faults.Fault:
        if not self._each:
            return self._chance.choices(self._kinds, [kind.weight for kind in self._kinds])[0]
        left = [kind for kind in self._kinds if kind not in self._chosen]
        self._chosen.append(self._chance.choice(left))
        return self._chosen[-1]

    async def _hit(self, fault: faults.Fault, seed: int) -> None:
        begun = self.stage.world.now_ms()
        if await fault.hit(self.stage, Random(seed)):
            self.hits[fault.name] += 1
            self._journal.write(f"{begun} to {self.stage.world.now_ms()}: {fault.name} ({seed})\n")
            self._journal.flush()
            total = self.hits.total()
            if total % 50 == 0:
                self._say(f"{total} faults, day {(begun - BEGIN_MS) / 86_400_000:.1f}")
        else:
            self.failed[fault.name] += 1
            if self._each:
                self._chosen.remove(fault)
            await asyncio.sleep(0.05)

    async def settle(self, linger_s: float) -> None:
        """Waits until what the meters know now is in the database, then ends the gateways and judges.

        `linger_s`: of the world, for what comes less often than intervals and events.
        """
        stage = self.stage
        database = Database(stage.cloud.database)
        first = await stage.tell_truth("first")
        # In threads of their own, since all lines lead through ours.
        judges = {
            meter["name"]: await asyncio.to_thread(Judge, first / f"{meter['name']}.json")
            for meter in stage.cast
        }
        begun = since = time.monotonic()
        least = 1 << 40
        while time.monotonic() - since < PATIENCE_S:
            left = {
                name: await asyncio.to_thread(judge.outstanding, database) for name, judge in judges.items()
            }
            if sum(left.values()) < least:
                least, since = sum(left.values()), time.monotonic()
            self._say(f"to arrive: {left}")
            if not any(left.values()):
                self.caught_up = True
                break
            await asyncio.sleep(2)
        self.waits.append(time.monotonic() - begun)
        await asyncio.sleep(stage.world.real_s(linger_s))
        for gateway in stage.gateways.values():
            await gateway.end()
        await asyncio.sleep(1)
        await stage.cloud.end()
        last = await stage.tell_truth("last")
        for meter in stage.cast:
            name = meter["name"]
            judge = Judge(last / f"{name}.json", judges[name])
            self.verdicts[name] = judge.judge(database)
        self.counts = database.counts() | {"dead letters, first": database.dead_letters()}

    def document(self) -> dict:
        return {
            "seed": self.stage.seed,
            "days": self.stage.days,
            "meters": len(self.stage.cast),
            "faults": dict(self.hits),
            "caughtUp": self.caught_up,
            "backlogSeconds": [round(seconds, 1) for seconds in self.waits],
            "scale": self.stage.world.scale,
            "verdicts": {
                name: {kind: vars(verdict) for kind, verdict in kinds.items()}
                for name, kinds in self.verdicts.items()
            },
            "database": self.counts,
        }

    @property
    def never(self) -> list[str]:
        """Faults that did not hit once although there was time for it."""
        enough = self.hits.total() > _ENOUGH * len(self.hits)
        return [name for name, count in self.hits.items() if enough and not count]

    @property
    def wrong(self) -> int:
        return sum(
            one.missing + one.doubled + one.altered
            for kinds in self.verdicts.values()
            for one in kinds.values()
        )

    def report(self) -> str:
        lines = [f"{count:6}  {name}" for name, count in self.hits.items()]
        lines.append(
            f"{self.hits.total():6}  faults in {self.stage.days:g} days, {len(self.stage.cast)} meters"
        )
        head = ("expected", "excused", "later", "rows", "missing", "doubled", "altered", "revised", "retold")
        lines.append("\n%-16s" % "" + "".join("%9s" % word for word in head))
        for name, kinds in self.verdicts.items():
            for kind in KINDS:
                verdict = vars(kinds[kind])
                lines.append("%-16s" % f"{name} {kind}" + "".join("%9d" % verdict[word] for word in head))
        for name, kinds in self.verdicts.items():
            for kind, verdict in kinds.items():
                lines += [f"{name} {kind}: {example}" for example in verdict.examples]
        lines.append(f"database: {self.counts}")
        if self.waits:
            lines.append(
                f"backlog: waited for {len(self.waits)} times, {max(self.waits):.0f} s at most, "
                f"{sum(self.waits):.0f} s in all, {self.waits[-1]:.0f} s at the end"
            )
        lines += [f"never hit: {name}" for name in self.never]
        lines.append(f"everything arrived: {self.caught_up}; wrong: {self.wrong}")
        return "\n".join(lines)


async def play(
    stage: Stage, count: int | None, kinds: tuple = faults.ALL, linger_s: float = 8_000, say=lambda _: None
) -> Run:
    run = Run(stage, count, kinds, say)
    try:
        await stage.begin()
        await run.rage(stage.days)
        await stage.mend()
        await run.settle(linger_s)
    finally:
        await stage.end()
    return run


async def _until_told(work: Coroutine) -> Run:
    """Who is told to end takes all processes along."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--scale", type=int, default=720)
    parser.add_argument("--pace", type=int, default=20)
    parser.add_argument("--report", type=Path, help="JSON")
    parser.add_argument("--keep", type=Path, help="a directory for all files of the run; kept")
    parser.add_argument("--only", default="", help="faults whose names contain one of these, by commas")
    arguments = parser.parse_args()
    wanted = [word for word in arguments.only.split(",") if word]
    kinds = tuple(kind for kind in faults.ALL if not wanted or any(word in kind.name for word in wanted))
    names = tuple(meter["name"] for meter in METERS)
    directory = arguments.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        parser.error(f"{directory} is not empty: what another run left there would be judged as well")
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {text}", flush=True)

    stage = Stage(directory, arguments.seed, arguments.days, arguments.scale, arguments.pace, names)
    run = asyncio.run(_until_told(play(stage, arguments.faults, kinds, say=say)))
    print(run.report())
    if arguments.report:
        arguments.report.write_text(json.dumps(run.document(), indent=1))
    good = run.caught_up and not run.wrong and not run.never
    if arguments.keep is None and good:
        shutil.rmtree(directory)
    elif not good:
        print(f"all files of this run are in {directory}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
