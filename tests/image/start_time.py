"""How long a board takes from power-on to its first reading, by what the unix port needs for it."""

import asyncio
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

# What a pass of pace.py's `work` takes on a board. It took 0.107 times as long as a pass of MicroPython's
# tests/perf_bench/misc_pystone.py on the unix port, and of those an ESP32 at 240 MHz does some 1,700 a second
# (MicroPython's issues #5673 and #6565: 1,661 at 240 MHz, 1,732). An ESP32-C3 at 160 MHz is as fast: a turn
# of 100 coroutines takes it 218 us and an ESP32 at 160 MHz 322 us, which is 215 at 240 MHz (peterhinch's
# micropython-async, issue #79).
_CHIPS = ("ESP32, 240 MHz", "ESP32-C3, 160 MHz")
_PASS_US = (63, 64)
# A handshake: 1.2 to 1.3 s with MicroPython on an ESP32, without its accelerator (micropython-esp32, issue
# #131); more than 3 s with an ESP32-S3, whose accelerator the C3 has, too (ESP-IDF, issue #10523).
_TLS_S = (1.5, 3.0)
# Assumed: that the slot's 300 KB are read from flash and hashed.
_SLOT_S = 0.5
_BUDGET_S = 15
HEAP = "256K"
_RUNS = 5
# Start, eight bits, stop.
_BITS = 10


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
    """`world`: without TLS to the broker. The interpreter looks after a TLS connection each millisecond that
    it waits, which would count as work here. `flashed`: with the application in its ROMFS partition; it is
    executed there, in place. Fails when the start takes more than its budget."""
    images, root = in_place(world.directory, flashed)
    started_s, pass_us = _pace(world)
    cpu, line = [], []
    for _ in range(_RUNS):
        meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
        channel = CountedChannel(meter.ports[0])
        async with pty_line(channel, link=world.line):
            used_s = await _first_reading(world, BoardInPlace(world, images, root))
        cpu.append(used_s - started_s)
        line.append(channel.seconds())
    work = min(cpu)
    rows = [
        (f"interpreter: {1000 * work:.0f} ms here, where a pass of `work` takes {pass_us:.2f} us",
         [work * board_us / pass_us for board_us in _PASS_US]),
        ("meter's line at 9600 baud, with the meter's pauses", [line[-1]] * 2),
        ("TLS to the broker, as such boards are reported to need", _TLS_S),
        ("the slot's check (assumed)", [_SLOT_S] * 2),
    ]  # fmt: skip
    totals = [sum(column) for column in zip(*[seconds for _, seconds in rows], strict=True)]
    rows.append(("from power-on to the first published reading, besides Wi-Fi", totals))
    text = "".join(f"{chip:>19}" for chip in _CHIPS)
    for what, seconds in rows:
        text += "\n" + "".join(f"{one:17.1f} s" for one in seconds) + "  " + what
    assert max(totals) <= _BUDGET_S, text
    return text


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


def _pace(world: World) -> tuple[float, float]:
    """Seconds until the interpreter has started; microseconds of a pass."""
    place = world.directory / "pace"
    place.mkdir()
    command = (mpy_cross(), "-s", "pace", "-o", place / "pace.mpy", ROOT / "tests/image/pace.py")
    subprocess.run(command, check=True)
    packed = world.directory / "pace.romfs"
    tool("build_rom.py", place, packed)
    heap = ("-X", f"heapsize={HEAP}")
    said = [tool("run_from_rom.py", packed, "pace", *heap).split() for _ in range(_RUNS)]
    started, once = (min(map(float, column)) for column in zip(*said, strict=True))
    return started / 1e9, once


class BoardInPlace(PoweredBoard):
    """What was flashed, with the application where the partition is mapped into memory, as on a board."""

    def __init__(self, world: World, images: str, root: Path) -> None:
        super().__init__(world.directory)
        self._images = images
        self._root = root
        self.environment["OSGP_SPACED"] = "1"  # collects as often as a board

    def command(self) -> tuple[tuple[str, ...], Path]:
        program = str(ROOT / "tools/run_from_rom.py")
        return (sys.executable, program, self._images, "firmware", "-X", f"heapsize={HEAP}"), self._root


async def _first_reading(world: World, board: PoweredBoard) -> float:
    """Seconds of the processor."""
    async with aiomqtt.Client("127.0.0.1", world.broker.port, timeout=PATIENCE_S) as client:
        await client.subscribe("+/+/smartMeterMessage/+/compact", qos=1)

        async def first() -> float:
            await anext(client.messages)
            return board.cpu_s()

        used = asyncio.create_task(first())

        async def published() -> float | None:
            return used.result() if used.done() else None

        async with board:
            return await board.until(published, "a first reading")
