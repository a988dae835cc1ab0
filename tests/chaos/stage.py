"""Everything of a chaos run but the faults: the processes, the lines between them, and their files."""

import asyncio
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests import mosquitto
from tests.brokers import NatsServer, free_port
from tests.cloud_toml import cloud_toml
from tests.mosquitto import Mosquitto

from .life import of_meter
from .meters import KEY, PASSWORD
from .proxy import Proxy
from .times import BEGIN_MS, World

ROOT = Path(__file__).parents[2]
# How fast the world is at most once the faults have ended.
SETTLING = 120

# South is an adapter; north reads meters of its own and is its concentrator.
CONCENTRATOR, ADAPTER = "north", "south"

# Name, firmware, gateway, and what else is particular about it.
METERS = (
    {"name": "oak", "firmware": "3.10", "gateway": "north", "sets": 1, "demands": 2},
    {"name": "elm", "firmware": "4.30", "gateway": "north", "sets": 2, "solar": 4000, "rebuilt": True},
    {"name": "ash", "firmware": "3.80", "gateway": "south", "sets": 2, "optical": True, "demands": 1},
    {"name": "fir", "firmware": "2.12", "gateway": "south", "sets": 1},
)

_GATEWAY = """\
[gateway]
id = "{name}"
role = "{role}"
state_dir = "{state}"

[broker]
url = "mqtt://127.0.0.1:{broker}"
credential_file = "{credential}"

[outbox]
sync = "{sync}"
"""
_LOCAL = """
[local]
url = "mqtt://127.0.0.1:{local}"
credential_file = "local-credential"
"""
_METER = """
[[meter]]
name = "{name}"
port = "tcp://127.0.0.1:{port}"
{access}

[meter.schedule]
present = "30min"
registers = "1h"
alarms = "10min"
events = "15min"
clock = "3h"
mbus = "1h"
self_reads = "6h"
"""


class Process:
    """A program that can be killed, stopped and started at any moment. What it says is in `log`."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.busy = asyncio.Lock()  # who takes it away and gives it back
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str] | None = None) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        if self.running and self.process is not None:
            self.process.send_signal(number)

    async def kill(self) -> bool:
        """Whether it was running until now."""
        alive = self.running
        if self.process is not None:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)
        return alive

    async def end(self, seconds: float = 20) -> int | None:
        """Ask it to end; its exit code, None when it had to be killed."""
        if self.process is None:
            return None
        self.send(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            await self.kill()
            return None

    def limit_files(self, size: int | None) -> None:
        """No file may grow beyond `size` bytes: writes fail as on a full disk. None: no limit."""
        if self.running and self.process is not None:
            soft = resource.RLIM_INFINITY if size is None else size
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


class Meters(Process):
    """The process of all virtual meters; it obeys one command at a time."""

    def __init__(self, file: Path, log: Path) -> None:
        super().__init__("meters", [sys.executable, "-m", "tests.chaos.meters", str(file)], log)
        self._asked = asyncio.Lock()

    async def begin(self, environment: dict[str, str]) -> None:
        log = self.log.open("ab")
        self.child = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        log.close()
        if await self._answer() != "ready":
            raise RuntimeError(self.log.read_text()[-2000:])

    async def _answer(self) -> str:
        assert self.child.stdout is not None
        return (await self.child.stdout.readline()).decode().strip()

    async def tell(self, *words: object) -> None:
        async with self._asked:
            assert self.child.stdin is not None
            self.child.stdin.write(json.dumps(words).encode() + b"\n")
            answer = await self._answer()
            if answer != "done":
                raise RuntimeError(f"{words}: {answer}; {self.log.read_text()[-2000:]}")

    @property
    def running(self) -> bool:
        return self.child.returncode is None

    def send(self, number: int) -> None:
        self.child.send_signal(number)

    async def end(self, seconds: float = 20) -> int | None:
        self.child.send_signal(signal.SIGCONT)
        self.child.terminate()
        return await asyncio.wait_for(self.child.wait(), seconds)


class Gateway(Process):
    """A gateway with its card: `state`. Its clock may be wrong by `ahead_s` from its next start on."""

    def __init__(self, name: str, stage: "Stage", twin: str = "") -> None:
        directory = stage.directory
        self.id = name
        self.state = directory / f"state-{name}{twin}"
        self.file = directory / f"{name}{twin}.toml"
        self.ahead_s = 0.0
        self._world = stage.world
        adapter = name == ADAPTER
        text = _GATEWAY.format(
            name=name,
            role="adapter" if adapter else "both",
            state=self.state,
            broker=stage.nets[name].port,
            credential="local-credential" if adapter else "credential",
            sync="10min",
        )
        if not adapter and "local" in stage.nets:
            text += _LOCAL.format(local=stage.nets["local"].port)
        for meter in stage.meters_of(name):
            optical = meter.get("optical")
            access = 'protocol = "optical"\npassword_file = "password"' if optical else 'key_file = "key"'
            text += _METER.format(name=meter["name"], port=stage.lines[meter["name"]].port, access=access)
        self.file.write_text(text)
        command = [sys.executable, "-m", "tests.chaos.hurried", "gateway", str(stage.world.pace)]
        super().__init__(
            name + twin, [*command, "run", "-c", str(self.file)], directory / f"{name}{twin}.log"
        )

    def go(self) -> None:
        self.start({"OSGP_TIME": self._world.environment(self.ahead_s)})


class Cloud(Process):
    def __init__(self, stage: "Stage", broker: int) -> None:
        directory = stage.directory
        self.ahead_s = 0.0
        self.database = directory / "readings.db"
        self.looked_at = asyncio.Lock()  # the database, whose file is then not to be replaced
        self._world = stage.world
        file = cloud_toml(directory, f"mqtt://127.0.0.1:{broker}", "credential")
        command = [sys.executable, "-m", "tests.chaos.hurried", "cloud", str(stage.world.pace)]
        super().__init__("cloud", [*command, "serve", "-c", str(file)], directory / "cloud.log")

    def go(self) -> None:
        self.start({"OSGP_TIME": self._world.environment(self.ahead_s)})

    def back_up(self, to: Path) -> None:
        """While it works, as an operator would."""
        to.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(self.database, timeout=30)) as source,
            closing(sqlite3.connect(to)) as copy,
        ):
            source.backup(copy)

    def restore(self, backup: Path) -> None:
        """It must not be running."""
        for end in ("-wal", "-shm"):
            self.database.with_name(self.database.name + end).unlink(missing_ok=True)
        shutil.copyfile(backup, self.database)


class Broker:
    """A broker with its store, as a thing that can be killed."""

    def __init__(self, name: str, server: NatsServer | Mosquitto) -> None:
        self.name = name
        self.server = server
        self.busy = asyncio.Lock()

    async def go(self) -> None:
        await asyncio.to_thread(self.server.start)

    @property
    def running(self) -> bool:
        return self.server.process is not None and self.server.process.poll() is None

    def send(self, number: int) -> None:
        if self.running and self.server.process is not None:
            self.server.process.send_signal(number)

    async def kill(self) -> bool:
        alive = self.running
        if self.server.process is not None:
            self.server.process.kill()
            await asyncio.to_thread(self.server.process.wait)
        return alive

    def wipe(self) -> None:
        """Its whole store is gone."""
        shutil.rmtree(self.server.directory / "store", ignore_errors=True)
        (self.server.directory / "mosquitto.db").unlink(missing_ok=True)

    async def end(self) -> None:
        self.send(signal.SIGCONT)
        await asyncio.to_thread(self.server.stop)


class Stage:
    """`names`: of METERS; all that is needed for them is started by `begin` and ended by `end`."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        days: float,
        scale: int,
        pace: int,
        names: tuple[str, ...],
        settling: int = SETTLING,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self.days = days
        self.scale = scale
        self.pace = pace
        self.settling = settling
        self.cast = [meter for meter in METERS if meter["name"] in names]
        self.brokers: list[Broker] = []
        self.lines: dict[str, Proxy] = {}
        self.nets: dict[str, Proxy] = {}
        self.gateways: dict[str, Gateway] = {}

    def meters_of(self, gateway: str) -> list[dict]:
        return [meter for meter in self.cast if meter["gateway"] == gateway]

    async def begin(self) -> None:
        directory = self.directory
        secrets = {"credential": "c" * 32, "local-credential": "l" * 32}
        for name, text in {"key": KEY.hex(), "password": PASSWORD.decode(), **secrets}.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o600)
        names = sorted({meter["gateway"] for meter in self.cast})
        self.brokers.append(Broker("broker", NatsServer(directory / "nats")))
        if ADAPTER in names:
            self.brokers.append(Broker("local broker", _local_server(directory / "local")))
        for broker in self.brokers:
            await broker.go()
        self.world = World(self.scale, self.pace, time.time_ns() // 1_000_000, BEGIN_MS)
        told = []
        for nth, meter in enumerate(self.cast):
            port = free_port()
            self.lines[meter["name"]] = proxy = Proxy(port, self.seed * 100 + nth)
            await proxy.start()
            seed = self.seed * 10 + nth
            life = of_meter(seed, BEGIN_MS, self.days, meter.get("rebuilt", False))
            told.append({**meter, "port": port, "seed": seed, "history": 1, "life": life})
        file = directory / "meters.json"
        file.write_text(json.dumps({"world": vars(self.world), "meters": told}))
        self.meters = Meters(file, directory / "meters.log")
        await self.meters.begin({"OSGP_TIME": str(self.pace)})
        ways = dict.fromkeys(("cloud", *names), self.brokers[0])
        if ADAPTER in names:
            ways |= {"local": self.brokers[1], ADAPTER: self.brokers[1]}
        for nth, (name, broker) in enumerate(ways.items()):
            self.nets[name] = proxy = Proxy(broker.server.port, self.seed * 100 + 50 + nth)
            await proxy.start()
        self.cloud = Cloud(self, self.nets["cloud"].port)
        self.cloud.go()
        for name in names:
            self.gateways[name] = Gateway(name, self)
            self.gateways[name].go()

    async def mend(self) -> None:
        """Everything as it should be, whatever befell it; and days take longer from here on, so that what is
        late for want of a faster machine arrives while the meters still hold it."""
        for proxy in (*self.lines.values(), *self.nets.values()):
            proxy.refusing = False
            proxy.spoil = proxy.bytes_per_s = 0
            proxy.delay_s = 0
            proxy.release()
        for process in (*self.gateways.values(), self.cloud):
            process.limit_files(None)
            process.send(signal.SIGCONT)
            process.ahead_s = 0
        await self.go_on(min(self.world.scale, self.settling))

    async def go_on(self, scale: int) -> None:
        """At another speed, for which all programs with a clock have to be started anew."""
        for process in (*self.gateways.values(), self.cloud):
            await process.kill()
        self.world.go_on(scale)
        await self.meters.tell("world", vars(self.world))
        for process in (*self.gateways.values(), self.cloud):
            process.go()

    async def tell_truth(self, word: str) -> Path:
        directory = self.directory / f"truth-{word}"
        directory.mkdir(exist_ok=True)
        await self.meters.tell("truth", str(directory))
        return directory

    async def end(self) -> None:
        for gateway in self.gateways.values():
            gateway.send(signal.SIGCONT)
            await gateway.end()
        if hasattr(self, "cloud"):
            self.cloud.send(signal.SIGCONT)
            await self.cloud.end()
        if hasattr(self, "meters"):
            await self.meters.end()
        for broker in self.brokers:
            await broker.end()
        for proxy in (*self.lines.values(), *self.nets.values()):
            await proxy.stop()


def _local_server(directory: Path) -> NatsServer | Mosquitto:
    """Another kind of broker, where it is installed."""
    try:
        mosquitto.command()
    except pytest.skip.Exception:
        return NatsServer(directory)
    return Mosquitto(directory)
