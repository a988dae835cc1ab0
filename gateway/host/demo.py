"""`osgp-gateway demo`: the whole way of a reading on one machine, with nothing left out.

A virtual meter on a pseudo-terminal at 9600 baud, the gateway as a process of its own, NATS with its MQTT
listener and the cloud with SQLite; all on loopback, free ports and a temporary directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import secrets
import socket
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, closing
from pathlib import Path

from ..errors import ConfigurationError, GatewayError
from .children import Child, running
from .demo_readings import ReadingsTable, shortened
from .signals import ending

_LOOK_S = 0.1

_GATEWAY = """\
[gateway]
state_dir = "state"
id = "demo"

[broker]
url = "mqtt://127.0.0.1:{port}"
credential_file = "credential"

[[meter]]
name = "house"
port = "{meter}"
key_file = "meter.key"

[meter.schedule]
present = "2s"
registers = "10s"
clock = "15s"
events = "5s"
mbus = "20s"
self_reads = "30s"
"""

_CLOUD = """\
[engine]
port = {port}
store = {store}

[database]
url = {database}

[custody]
credential_file = {credential}
"""


async def demo(seconds: int | None, as_json: bool) -> None:
    """Until Ctrl-C, SIGTERM or `seconds`; GatewayError when a part failed, or nothing landed in time."""
    _need_cloud()
    with ending() as ended, tempfile.TemporaryDirectory(prefix="osgp-demo-") as directory:
        show = _Show(Path(directory), as_json)
        showing = asyncio.create_task(show.run())
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait((showing, waiting), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (showing, waiting):
            task.cancel()
        await asyncio.wait((showing, waiting))
        if not showing.cancelled():
            showing.result()  # by itself it ends only with an error
        show.say(f"{show.readings} readings with {show.values} values landed in the database")
        if not show.readings and not ended.is_set():
            raise GatewayError(f"no reading landed within {seconds} s{show.logs()}")


class _Show:
    def __init__(self, directory: Path, as_json: bool) -> None:
        self.readings = 0
        self.values = 0
        self._directory = directory
        self._as_json = as_json
        self._children: list[Child] = []

    def say(self, text: str) -> None:
        """What is no reading: with --json it would be in the way."""
        if not self._as_json:
            print(text, flush=True)

    def logs(self) -> str:
        return "".join(f"\n{child.name} said: {child.tail()}" for child in self._children)

    async def run(self) -> None:
        """Until cancelled; then all that was started has ended."""
        directory = self._directory
        port = _free_port()
        meter = directory / "meter"
        database = directory / "readings.db"
        _write_files(directory, port, meter, database)
        self.say(
            f"virtual meter on a pseudo-terminal at 9600 baud -> gateway -> MQTT on 127.0.0.1:{port} -> cloud"
        )
        async with AsyncExitStack() as stack:
            # Ended in the opposite order: the gateway first, then those that it leans on.
            await self._start(stack, "the virtual meter", "gateway.host.cli", *_simulate(directory, meter))
            await self._start(
                stack, "the cloud", "omdp_cloud.cli", "serve", "-c", str(directory / "cloud.toml")
            )
            await self._watched(_until_there(meter, port))
            await self._start(
                stack, "the gateway", "gateway.host.cli", "run", "-c", str(directory / "gateway.toml")
            )
            await self._watched(self._print_readings(database))

    async def _start(self, stack: AsyncExitStack, name: str, module: str, *arguments: str) -> None:
        log = self._directory / f"{module}-{arguments[0]}.log"
        self._children.append(await stack.enter_async_context(running(name, module, arguments, log)))

    async def _watched(self, work: Coroutine[None, None, None]) -> None:
        """`work`, which ends with an error as soon as one of the programs ends."""
        tasks = [asyncio.create_task(work), *(asyncio.create_task(child.ended()) for child in self._children)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _print_readings(self, path: Path) -> None:
        with closing(ReadingsTable(path)) as table:
            while True:
                landed = table.new()
                self.readings += len(landed)
                self.values += sum(len(one.reading.values) for one in landed)
                lines = [one.as_json() for one in landed] if self._as_json else shortened(landed)
                for line in lines:
                    print(line, flush=True)
                await asyncio.sleep(_LOOK_S)


async def _until_there(meter: Path, port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            if meter.exists():
                return
        await asyncio.sleep(_LOOK_S)


def _write_files(directory: Path, port: int, meter: Path, database: Path) -> None:
    for name, length in (("meter.key", 16), ("credential", 32)):
        file = directory / name
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(length), encoding="ascii")
    quoted = {
        "port": port,
        "store": json.dumps(str(directory / "nats")),
        "database": json.dumps(f"sqlite:///{database}"),
        "credential": json.dumps(str(directory / "credential")),
    }
    (directory / "cloud.toml").write_text(_CLOUD.format(**quoted), encoding="utf-8")
    (directory / "gateway.toml").write_text(_GATEWAY.format(port=port, meter=meter), encoding="utf-8")


def _simulate(directory: Path, meter: Path) -> tuple[str, ...]:
    key = str(directory / "meter.key")
    line = ("--listen", "pty", "--link", str(meter), "--key-file", key, "--baud", "9600")
    return "simulate", *line, "--firmware", "4.30", "--history", "1", "--life", "busy"


def _need_cloud() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("sqlalchemy", "aiosqlite")):
        raise ConfigurationError(
            "the demo needs the cloud, which is not installed: pip install 'osgp-gateway[cloud]'"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
