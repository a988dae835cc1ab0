"""The embedded broker: there again when it ended by itself, gone with a cloud that is killed."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

from omdp_cloud import engine
from omdp_cloud.config import Engine
from tests.brokers import free_port
from tests.patience import PATIENCE_S

HOST = """\
import asyncio, sys
from pathlib import Path
from omdp_cloud import engine
from omdp_cloud.config import Engine

async def main():
    async with engine.running(Engine(port=int(sys.argv[2]), store=Path(sys.argv[1]))):
        print("runs", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until_listening(port: int, there: bool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while listens(port) != there:
            await asyncio.sleep(0.02)


def servers() -> set[int]:
    """The process ids of this process's engines: those that have become nats-server already."""
    found = set()
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/exe").readlink().name == "nats-server":
                found.add(int(pid))
    return found


async def test_it_comes_again_when_it_is_killed(tmp_path: Path):
    async with engine.running(Engine(port=free_port(), store=tmp_path)) as port:
        (first,) = servers()
        os.kill(first, signal.SIGKILL)
        # The next one may listen a moment later: that nothing listens in between is not to be seen for sure.
        async with asyncio.timeout(PATIENCE_S):
            while not servers() - {first}:
                await asyncio.sleep(0.02)
        await until_listening(port, there=True)
    assert not listens(port)


async def test_it_goes_with_a_cloud_that_is_killed(tmp_path: Path):
    port = free_port()
    cloud = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, str(tmp_path), str(port), stdout=asyncio.subprocess.PIPE
    )
    assert cloud.stdout is not None
    assert await cloud.stdout.readline() == b"runs\n"
    assert listens(port)
    cloud.kill()
    await cloud.wait()
    await until_listening(port, there=False)
