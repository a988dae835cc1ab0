"""The embedded broker: there again when it ended by itself, gone with a cloud that is killed."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from omdp_cloud import engine
from omdp_cloud.config import Engine

HOST = """\
import asyncio, sys
from pathlib import Path
from omdp_cloud import engine
from omdp_cloud.config import Engine

async def main():
    async with engine.running(Engine(port=0, store=Path(sys.argv[1]))) as port:
        print(port, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until(port: int, there: bool) -> None:
    async with asyncio.timeout(30):
        while listens(port) != there:
            await asyncio.sleep(0.02)


async def test_it_comes_again_when_it_is_killed(tmp_path: Path):
    async with engine.running(Engine(port=0, store=tmp_path)) as port:
        assert listens(port)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        (server,) = (pid for pid in children if "nats" in Path(f"/proc/{pid}/cmdline").read_text())
        os.kill(int(server), signal.SIGKILL)
        await until(port, there=False)
        await until(port, there=True)
    assert not listens(port)


async def test_it_goes_with_a_cloud_that_is_killed(tmp_path: Path):
    cloud = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert cloud.stdout is not None
    port = int(await cloud.stdout.readline())
    assert listens(port)
    cloud.kill()
    await cloud.wait()
    await until(port, there=False)
