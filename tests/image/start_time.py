"""How long a board takes from power-on to its first reading, by what the unix port needs for it."""

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiomqtt
from flashing import image

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from tests.board import KEY, compile_hardware, tool
from tests.flashed_board import FlashedBoard
from tests.image.world import World
from tests.interpreter import ROOT, mpy_cross
from tests.patience import PATIENCE_S
from tests.powered_board import PoweredBoard

# What a pass of pace.py's `work` takes on an ESP32 at 240 MHz: it took 0.107 times as long as a pass of
# MicroPython's tests/perf_bench/misc_pystone.py on the unix port, and of those an ESP32 does some 1,700 a
# second (MicroPython's issues #5673 and #6565: 1,661 at 240 MHz, 1,732).
BOARD_US = 63
HEAP = "256K"
_RUNS = 5
# Start, eight bits, stop.
_BITS = 10
# Assumed for a board: a TLS handshake with a P-256 certificate, for which it has other code and some hardware
# of its own; and that the slot's 300 KB are read from flash and hashed.
TLS_S = 1.5
SLOT_S = 0.5


class CountedChannel:
    """A port of a meter, and how many bytes went over its line, how often."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.bytes = 0
        self.answers = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        answers: list[bytes] = self._channel.receive(data, now_ms)
        self.bytes += len(data) + sum(map(len, answers))
        self.answers += len(answers)
        return answers

    def seconds(self) -> float:
        pauses = self.answers * self._channel.request_every_ms / 1000
        return self.bytes * _BITS / self._channel.baud + float(pauses)


async def table(world: World, flashed: FlashedBoard) -> str:
    """`flashed`: with the application in its ROMFS partition; it is executed there, in place."""
    images, root = in_place(world.directory, flashed)
    started_s, tls_s, pass_us = _pace(world)
    cpu, line = [], []
    for _ in range(_RUNS):
        meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
        channel = CountedChannel(meter.ports[0])
        async with pty_line(channel, link=world.line):
            used_s = await _first_reading(world, BoardInPlace(world, images, root))
        cpu.append(used_s - started_s - tls_s)
        line.append(channel.seconds())
    work = min(cpu)
    slower = BOARD_US / pass_us
    board = work * slower
    rows = (
        (
            f"interpreter: {1000 * work:.0f} ms here besides TLS, times {slower:.0f} at 240 MHz",
            board,
        ),
        ("meter's line at 9600 baud, with the meter's pauses", line[-1]),
        ("TLS to the broker (assumed)", TLS_S),
        ("the slot's check (assumed)", SLOT_S),
        ("from power-on to the first published reading, besides Wi-Fi", board + line[-1] + TLS_S + SLOT_S),
    )
    return "\n".join(f"{seconds:6.1f} s  {what}" for what, seconds in rows)


def in_place(directory: Path, flashed: FlashedBoard) -> tuple[str, Path]:
    """The images of application and stand-ins, for tools/run_from_rom.py, and the root of the file system."""
    hardware = directory / "hardware-mpy"
    hardware.mkdir()
    compile_hardware(hardware)
    tool("build_rom.py", hardware, directory / "hardware.romfs")
    root = directory / "root"
    for name, data in image.read(flashed.image.read_bytes()).items():
        file = root / name[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o600)
    assert flashed.rom is not None
    return f"{flashed.rom},{directory / 'hardware.romfs'}", root


def _pace(world: World) -> tuple[float, float, float]:
    """Seconds until the interpreter has started, and of a TLS handshake; microseconds of a pass."""
    place, authority = world.directory / "pace", world.directory / "ca.der"
    place.mkdir()
    authority.write_bytes(world.authority.der)
    command = (mpy_cross(), "-s", "pace", "-o", place / "pace.mpy", ROOT / "tests/image/pace.py")
    subprocess.run(command, check=True)
    packed = world.directory / "pace.romfs"
    tool("build_rom.py", place, packed)
    heap = ("-X", f"heapsize={HEAP}")
    said = [
        tool("run_from_rom.py", packed, "pace", *heap, world.broker.port, authority).split()
        for _ in range(_RUNS)
    ]
    started, shaken, once = (min(map(float, column)) for column in zip(*said, strict=True))
    return started / 1e9, shaken / 1e9, once


class BoardInPlace(PoweredBoard):
    """What was flashed, with the application where the partition is mapped into memory, as on a board."""

    def __init__(self, world: World, images: str, root: Path) -> None:
        super().__init__(world.directory)
        self._images = images
        self._root = root

    def command(self) -> tuple[tuple[str, ...], Path]:
        program = str(ROOT / "tools/run_from_rom.py")
        return (sys.executable, program, self._images, "firmware", "-X", f"heapsize={HEAP}"), self._root


async def _first_reading(world: World, board: PoweredBoard) -> float:
    """Seconds of the processor."""
    context = ssl.create_default_context(cadata=world.authority.der)
    async with (
        aiomqtt.Client("127.0.0.1", world.broker.port, tls_context=context, timeout=PATIENCE_S) as client,
    ):
        await client.subscribe("+/+/smartMeterMessage/+/compact", qos=1)

        async def first() -> float:
            await anext(client.messages)
            return board.cpu_s()

        used = asyncio.create_task(first())

        async def published() -> float | None:
            return used.result() if used.done() else None

        async with board:
            return await board.until(published, "a first reading")
