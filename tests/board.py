"""The board's application as tests run it on MicroPython's unix port, and what it needs around it."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.brokers import free_port, wait_for_port
from tests.cloud_toml import cloud_toml
from tests.interpreter import ROOT, micropython, mpy_cross
from tests.patience import PATIENCE_S

KEY = "0123456789abcdef0123"
PASSWORD = "The meter's password"
CREDENTIAL = "one that both ends know"


class Application:
    """The bytecode, where it lies, the same as an image, and its sizes as a table."""

    def __init__(self, directory: Path, image: Path, table: str) -> None:
        self.directory = directory
        self.image = image
        self.table = table


def tool(name: str, *arguments: object) -> str:
    """What one of the project's tools says."""
    command = [sys.executable, f"tools/{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@contextlib.asynccontextmanager
async def process(
    *command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child that is ended with Ctrl-C's signal, and killed when that does not help."""
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(child.wait(), PATIENCE_S)
            except TimeoutError:
                child.kill()


def compile_hardware(directory: Path) -> None:
    """The stand-ins as bytecode: on a board they are no part of the heap either."""
    for source in (ROOT / "tests/board_hardware").glob("*.py"):
        if source.name not in ("__init__.py", "board.py"):
            out = directory / source.with_suffix(".mpy").name
            subprocess.run([mpy_cross(), "-s", source.stem, "-o", out, source], check=True)


def build(directory: Path, image: Path) -> str:
    """The application's bytecode, its image and, beside that, one of the stand-ins for hardware; gives the
    sizes as a table."""
    hardware = directory.with_name("hardware")
    for one in (directory, image.parent, hardware):
        one.mkdir(exist_ok=True)
    sizes = tool("build_mpy.py", directory)
    tool("build_rom.py", directory, image)
    compile_hardware(hardware)
    tool("build_rom.py", hardware, image.with_name("hardware.romfs"))
    return sizes


def lay_out(settings: Path) -> tuple[Path, dict[str, str]]:
    """A board's file system beside the `settings` (a JSON file): its root, and the environment of a program
    that stands there for the board's firmware. The settings' "port" is the line to the meter."""
    root, hardware = settings.parent / "flash", settings.parent / "hardware"
    given = json.loads(settings.read_text())
    line = given.pop("port", "")
    (root / "config").mkdir(parents=True, exist_ok=True)
    hardware.mkdir(exist_ok=True)
    for name in ("boot.py", "main.py"):
        shutil.copy(ROOT / "micropython" / name, root)
    shutil.copy(ROOT / "micropython/boards/dabbler.json", root / "config/profile.json")
    (root / "config/board.json").write_text(json.dumps(given))
    return root, {
        "OSGP_BOARD": str(hardware),
        "OSGP_UART": line,
    }


@contextlib.asynccontextmanager
async def board_process(
    image: Path, heap: str, settings: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The application from its image, as a board runs it from its flash. Beside it lies that of the stand-ins
    for hardware, as the fixture `application` builds it. SIGINT becomes Ctrl-C on the board's console."""
    root, world = lay_out(settings)
    images = f"{image},{image.with_name('hardware.romfs')}"
    command = (sys.executable, str(ROOT / "tools/run_from_rom.py"), images, "firmware")
    async with process(
        *command, "-X", f"heapsize={heap}", cwd=root, environment=world | (environment or {})
    ) as board:
        kill = board.send_signal

        def send_signal(number: int) -> None:
            if number == signal.SIGINT:
                Path(world["OSGP_BOARD"], "interrupt").touch()
            else:
                kill(number)

        board.send_signal = send_signal  # type: ignore[method-assign]
        yield board


def secret(file: Path, text: str) -> Path:
    file.write_text(text + "\n")
    file.chmod(0o600)
    return file


@contextlib.asynccontextmanager
async def cloud(directory: Path) -> AsyncIterator[int]:
    """omdp-cloud with its embedded broker and SQLite; gives the broker's port."""
    port = free_port()
    file = cloud_toml(directory, port, "credential")
    async with process(sys.executable, "-m", "omdp_cloud.cli", "serve", "-c", str(file)) as child:
        assert child.stdout
        async with asyncio.timeout(PATIENCE_S):
            line = await child.stdout.readline()
        if not line:
            pytest.fail((await child.communicate())[1].decode())
        await asyncio.to_thread(wait_for_port, port)
        yield port


def board_settings(directory: Path, port: int, line: Path) -> dict:
    return {
        "port": str(line),
        "key_file": str(directory / "meter.key"),
        "schedule": {"present": 1, "registers": 2, "clock": 3},
        "broker": {
            "host": "127.0.0.1",
            "port": port,
            "client_id": "board",
            "credential_file": str(directory / "credential"),
        },
        "wifi": {"ssid": "home"},
        "ntp": {"server": ""},
        "report_seconds": 1,
    }


def failures(report: dict) -> list[int]:
    """How often meter, broker and outbox had to be tried again."""
    return [one["failures"] for one in (*report["meters"], report["broker"], report["outbox"])]


# What reading the configuration says, and the exit code of its error.
_CHECK = """\
import sys
sys.path[:] = ["", ".frozen", %r, %r]
import board_config
try:
    board_config.make(lambda level, text: print(text, file=sys.stderr))
except Exception as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


async def run_with(application: Application, directory: Path, settings: object) -> tuple[int | None, str]:
    """What a board says that finds these settings when it starts."""
    file = directory / "board.json"
    file.write_text(json.dumps(settings))
    root, environment = lay_out(file)
    check = _CHECK % (str(ROOT / "tests/board_hardware"), str(application.directory))
    (root / "check.py").write_text(check)
    async with process(micropython(), "check.py", cwd=root, environment=environment) as board:
        _, errors = await asyncio.wait_for(board.communicate(), PATIENCE_S)
    return board.returncode, errors.decode()
