"""`python -m tests.chaos.meters FILE`: the virtual meters of a chaos run, told what befalls them.

FILE is JSON: the world's times, and for each meter its name, firmware, port and the like. Commands come as
lines of JSON on standard input, each answered with one line: ["happen", meter, happening, arguments...] and
["truth", directory], which writes what a correct reader must have found by now, and ["world", times].
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.simulator import truth
from gateway.simulator.generations import generation
from gateway.simulator.listen import serve_tcp
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.simulator.profile import standard
from gateway.simulator.profile_tables import sets_of

from .times import World

KEY = bytes(range(16))
PASSWORD = b"the unique key of it"


def meter_of(told: dict, world: World) -> VirtualMeter:
    g = generation(told["firmware"], demands=told.get("demands", 0))
    life = [(at, name, tuple(arguments)) for at, name, *arguments in told.get("life", ())]
    return VirtualMeter(
        KEY,
        seed=told["seed"],
        firmware=g,
        start_ms=world.now_ms(),
        solar_peak_w=told.get("solar", 0),
        profile=standard(sets_of(g), told.get("sets", 1)),
        history_days=told.get("history", 0),
        life=life,
        monotonic=world.now_ms,
        optical_keys=OpticalKeys(PASSWORD, None, None) if told.get("optical") else None,
    )


def _obey(meters: dict[str, VirtualMeter], world: World, words: list) -> str:
    if words[0] == "happen":
        meters[words[1]].happen(words[2], *words[3:])
        return "done"
    if words[0] == "world":
        vars(world).update(words[1])
        return "done"
    if words[0] == "truth":
        for name, meter in meters.items():
            truth.write(meter, Path(words[1]) / f"{name}.json")
        return "done"
    return "unknown"


async def _main(told: dict) -> None:
    world = World(**told["world"])
    meters = {}
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with AsyncExitStack() as stack:
        for one in told["meters"]:
            meter = meters[one["name"]] = meter_of(one, world)
            meter.supply()
            channel = meter.optical if one.get("optical") else meter.ports[0]
            await stack.enter_async_context(serve_tcp(channel, port=one["port"]))
        print("ready", flush=True)
        buffer = b""

        def commands() -> None:
            nonlocal buffer
            data = os.read(0, 65536)
            if not data:
                ended.set()
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                print(_obey(meters, world, json.loads(line)), flush=True)

        loop.add_reader(0, commands)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
