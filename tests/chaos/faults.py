"""The faults of a chaos run. Each hits once when told to, and says whether it really did.

A fault that takes a process away holds its lock until it has given it back, so that two faults never have the
same process at a time; apart from that they overlap as they come.
"""

import asyncio
import contextlib
import shutil
import signal
from random import Random

from .proxy import Proxy
from .stage import Cloud, Gateway, Process, Stage

HOUR_S = 3600


class Fault:
    """`name`: in the report. `weight`: how often it comes in relation to others."""

    name = ""
    weight = 10

    async def hit(self, stage: Stage, chance: Random) -> bool:
        raise NotImplementedError


@contextlib.asynccontextmanager
async def _ours(process):
    """Whether we have the process for ourselves."""
    if process.busy.locked():
        yield False
        return
    async with process.busy:
        yield True


def _gateway(stage: Stage, chance: Random) -> Gateway:
    return chance.choice(list(stage.gateways.values()))


async def _killed(process: Gateway | Cloud, chance: Random) -> bool:
    async with _ours(process) as ours:
        if not ours:
            return False
        hit = await process.kill()
        await asyncio.sleep(chance.choice((0, 0, 0.1, 1)))
        process.go()
        await asyncio.sleep(chance.uniform(0, 3))  # else it would never come to its work
        return hit


async def _broker_killed(stage: Stage, chance: Random, wipe: bool) -> bool:
    broker = chance.choice(stage.brokers)
    async with _ours(broker) as ours:
        if not ours:
            return False
        hit = await broker.kill()
        if wipe:
            broker.wipe()
        await asyncio.sleep(chance.choice((0, 0.1, 1)))
        await broker.go()
        return hit


async def _cut(proxy: Proxy, chance: Random) -> bool:
    if proxy.refusing:
        return False
    proxy.refusing = chance.random() < 0.5
    hit = bool(proxy.cut())
    if proxy.refusing:
        await asyncio.sleep(chance.uniform(0.1, 3))
        proxy.refusing = False
    return hit


async def _held(proxy: Proxy, seconds: float, lost: bool) -> bool:
    before = proxy.held
    proxy.hold()
    try:
        await asyncio.sleep(seconds)
        if lost:
            proxy.cut()
    finally:
        proxy.release()
    return proxy.held > before


class KillGateway(Fault):
    name = "gateway killed"
    weight = 16

    async def hit(self, stage, chance):
        return await _killed(_gateway(stage, chance), chance)


class KillCloud(Fault):
    name = "cloud killed"
    weight = 12

    async def hit(self, stage, chance):
        return await _killed(stage.cloud, chance)


class KillBroker(Fault):
    name = "broker killed"
    weight = 8

    async def hit(self, stage, chance):
        return await _broker_killed(stage, chance, wipe=False)


class WipeBroker(Fault):
    name = "broker's store wiped"
    weight = 8

    async def hit(self, stage, chance):
        return await _broker_killed(stage, chance, wipe=True)


class Stall(Fault):
    name = "process stopped for a while"
    weight = 8

    async def hit(self, stage, chance):
        process = chance.choice([*stage.gateways.values(), stage.cloud, *stage.brokers, stage.meters])
        async with _ours(process) as ours:
            if not ours or not process.running:
                return False
            process.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(chance.uniform(0.05, 2))
            finally:
                process.send(signal.SIGCONT)
            return True


class CutNet(Fault):
    name = "network cut"
    weight = 10

    async def hit(self, stage, chance):
        return await _cut(chance.choice(list(stage.nets.values())), chance)


class HoldNet(Fault):
    name = "network silent"
    weight = 6

    async def hit(self, stage, chance):
        net = chance.choice(list(stage.nets.values()))
        return await _held(net, chance.uniform(0.1, 4), lost=chance.random() < 0.5)


class SlowNet(Fault):
    name = "network slow"
    weight = 6

    async def hit(self, stage, chance):
        net = chance.choice(list(stage.nets.values()))
        before = net.passed
        net.delay_s = chance.choice((0, 0.02, 0.2))
        net.bytes_per_s = chance.choice((20_000, 5_000, 2_000))
        try:
            await asyncio.sleep(chance.uniform(0.5, 4))
        finally:
            net.delay_s = net.bytes_per_s = 0
        return net.passed > before


class CutLine(Fault):
    name = "meter's line cut"
    weight = 8

    async def hit(self, stage, chance):
        return await _cut(chance.choice(list(stage.lines.values())), chance)


class HoldLine(Fault):
    name = "meter's line silent"
    weight = 6

    async def hit(self, stage, chance):
        line = chance.choice(list(stage.lines.values()))
        return await _held(line, chance.uniform(0.1, 3), lost=False)


class Noise(Fault):
    name = "noise on a meter's line"
    weight = 8

    async def hit(self, stage, chance):
        line = chance.choice(list(stage.lines.values()))
        before = line.spoiled
        line.spoil = chance.choice((1_000, 5_000, 20_000))
        try:
            await asyncio.sleep(chance.uniform(0.5, 4))
        finally:
            line.spoil = 0
        return line.spoiled > before


class FullDisk(Fault):
    """Writes to files fail (RLIMIT_FSIZE of the running process: EFBIG where a full disk says ENOSPC); what
    was written stays."""

    name = "disk full"
    weight = 8

    async def hit(self, stage, chance):
        process: Process = chance.choice([*stage.gateways.values(), stage.cloud])
        async with _ours(process) as ours:
            if not ours or not process.running:
                return False
            process.limit_files(chance.choice((0, 100, 4096)))
            try:
                await asyncio.sleep(chance.uniform(0.2, 3))
                if chance.random() < 0.2:
                    await process.kill()
                    process.go()  # type: ignore[attr-defined]
            finally:
                process.limit_files(None)
            return True


class Restore(Fault):
    name = "cloud restored from an hour-old backup"
    weight = 6

    def __init__(self) -> None:
        self._at_work = False

    async def hit(self, stage, chance):
        backup = stage.directory / "backup.db"
        if self._at_work:
            return False
        self._at_work = True
        try:
            await asyncio.to_thread(stage.cloud.back_up, backup)
            await asyncio.sleep(stage.world.real_s(chance.uniform(1, 1.5) * HOUR_S))
            async with stage.cloud.busy:
                await stage.cloud.kill()
                async with stage.cloud.looked_at:
                    await asyncio.to_thread(stage.cloud.restore, backup)
                stage.cloud.go()
                await asyncio.sleep(chance.uniform(0, 3))
            return True
        finally:
            self._at_work = False


class SetBack(Fault):
    name = "gateway's card set back"
    weight = 3

    def __init__(self) -> None:
        self._at_work: set[str] = set()

    async def hit(self, stage, chance):
        gateway = _gateway(stage, chance)
        copy = gateway.state.with_name(gateway.state.name + "-copy")
        if gateway.name in self._at_work or gateway.busy.locked():
            return False
        self._at_work.add(gateway.name)
        try:
            async with gateway.busy:
                await gateway.kill()
                _copied(gateway.state, copy)
                gateway.go()
            await asyncio.sleep(stage.world.real_s(chance.uniform(0.5, 8) * HOUR_S))
            async with gateway.busy:
                await gateway.kill()
                _copied(copy, gateway.state)
                gateway.go()
            return True
        finally:
            self._at_work.discard(gateway.name)


class Clone(Fault):
    """For a while two gateways with the same card, name and meters are at work; then either is gone."""

    name = "gateway's card cloned"
    weight = 3

    async def hit(self, stage, chance):
        gateway = _gateway(stage, chance)
        async with _ours(gateway) as ours:
            if not ours:
                return False
            await gateway.kill()
            twin = Gateway(gateway.id, stage, "-twin")
            _copied(gateway.state, twin.state)
            gateway.go()
            twin.go()
            await asyncio.sleep(chance.uniform(2, 6))
            hit = gateway.running and twin.running
            await twin.kill()
            if chance.random() < 0.5:
                await gateway.kill()
                _copied(twin.state, gateway.state)
                gateway.go()
            return hit


def _copied(source, target) -> None:
    shutil.rmtree(target, ignore_errors=True)
    source.mkdir(exist_ok=True)  # it may not have come to that
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.sock"))


class HostClock(Fault):
    """A machine comes up with a wrong clock, and later with the right one."""

    name = "clock of a machine wrong"
    weight = 4

    async def hit(self, stage, chance):
        machine = chance.choice([*stage.gateways.values(), stage.cloud])
        if machine.ahead_s or machine.busy.locked():
            return False
        size = chance.choice((30, 300, 2 * HOUR_S, 2 * HOUR_S, 30 * HOUR_S))
        for ahead in (chance.choice((-1, 1)) * chance.uniform(0.1, 1) * size, 0.0):
            async with machine.busy:
                await machine.kill()
                machine.ahead_s = ahead
                machine.go()
            await asyncio.sleep(chance.uniform(1, 6) if ahead else 0)
        return True


class MeterClock(Fault):
    name = "clock of a meter moved"
    weight = 4

    async def hit(self, stage, chance):
        meter = chance.choice(stage.cast)["name"]
        size = chance.choice((9, 9, 9, 60, 600, 2 * HOUR_S))
        seconds = chance.choice((-1, 1)) * chance.randint(2, size)
        await stage.meters.tell("happen", meter, "move_clock", seconds)
        if abs(seconds) > 30:
            await asyncio.sleep(stage.world.real_s(chance.uniform(0.1, 3) * HOUR_S))
            await stage.meters.tell("happen", meter, "move_clock", -seconds)
        return True


class MeterPower(Fault):
    name = "power of a meter cut"
    weight = 4

    async def hit(self, stage, chance):
        meter = chance.choice(stage.cast)["name"]
        await stage.meters.tell("happen", meter, "cut_power", chance.choice((3, 40, 600, 3600, 7200)))
        return True


ALL = (
    KillGateway,
    KillCloud,
    KillBroker,
    WipeBroker,
    Stall,
    CutNet,
    HoldNet,
    SlowNet,
    CutLine,
    HoldLine,
    Noise,
    FullDisk,
    Restore,
    SetBack,
    Clone,
    HostClock,
    MeterClock,
    MeterPower,
)
