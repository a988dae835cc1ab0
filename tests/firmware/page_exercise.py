"""Serves the board's page on MicroPython with a small application around it; tests are its phone.

    micropython page_exercise.py PORT FILES ROUNDS

In the root of the board's file system; PORT is the page's after set-up, the profile has those of set-up.
First set-up, as many times as ROUNDS says, each until the page asks for a restart, and after each a line of
JSON: bytes alive on the heap, and what of the page is loaded still. Then the page of a board that works.
"""

import asyncio
import gc
import json
import sys


class Meter:
    def __init__(self):
        self.onlookers = []


class Gateway:
    name = "house"

    def __init__(self):
        self.meters = [Meter()]


class Application:
    """What application.Application has for the page."""

    problems = ""
    reset = "the power came"

    def __init__(self, gateway):
        self.gateway = gateway
        self.lines = []
        self.ended = asyncio.Event()
        self.log("info", "starting: %s" % self.reset)

    def log(self, level, text):
        self.lines.append((len(self.lines) + 1, 1760000000000, level, text))
        sys.stderr.write("%s %s\n" % (level, text))

    def restart(self, why):
        self.ended.set()

    def status(self):
        from gateway.clock import monotonic_ms, utc_ms

        meter = {
            "name": "house",
            "identity": "NES 300012345",
            "state": "working",
            "reason": "",
            "driftMs": -1200,
        }
        return {
            "gateway": "house",
            "nowMs": utc_ms(),
            "monotonicMs": monotonic_ms(),
            "meters": [meter],
            "broker": {"state": "untrusted", "reason": "certificate verify failed", "published": 12},
            "outbox": {"state": "working", "reason": "", "usedBytes": 250000, "capacityBytes": 1048576},
            "wifi": {
                "ssid": "home",
                "connected": True,
                "reason": "",
                "address": "192.168.1.20",
                "rssi": -61,
            },
            "board": {"uptimeS": 86400 * 3, "reset": self.reset, "heapFree": 51000},
            "application": {
                "version": "1.2.0",
                "state": "good",
                "last": ["", "1.3.0", False, "it did not reach the broker"],
            },
        }


async def serve(application, settings):
    from page import serve

    task = asyncio.create_task(serve(application, settings))
    for _ in range(3000):
        if task.done() or application.ended.is_set():
            break
        if application.gateway is not None:
            read(application)
        await asyncio.sleep_ms(50)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    sys.modules.pop("page", None)


def read(application):
    """As the meter would tell it."""
    from gateway.transmission.model import PRESENT, REGISTERS, Reading, Timestamp, Value
    from gateway.transmission.registry import number

    found = (
        ("OBIS_1.7.0", 431, "kW"),
        ("OBIS_32.7.0", 228315, "V"),
        ("OBIS_52.7.0", 229870, "V"),
        ("OBIS_72.7.0", 230114, "V"),
        ("OBIS_31.7.0", 1204, "A"),
        ("OBIS_51.7.0", 377, "A"),
        ("OBIS_71.7.0", 299, "A"),
        ("OBIS_14.7.0", 50013, "Hz"),
    )
    values = [Value(number(name), mantissa, -3, unit) for name, mantissa, unit in found]
    total = Value(number("OBIS_1.8.0"), 7654321, -3, "kWh")
    for onlooker in application.gateway.meters[0].onlookers:
        onlooker(PRESENT, [Reading(PRESENT, Timestamp(0), values)])
        onlooker(REGISTERS, [Reading(REGISTERS, Timestamp(0), [total])])


async def nothing():
    await asyncio.sleep_ms(0)


def alive():
    asyncio.run(nothing())  # asyncio keeps the task that ran last, and what that knew
    for _ in range(3):
        gc.collect()
    return gc.mem_alloc()


def main(port, files, rounds):
    for _ in range(rounds):
        asyncio.run(set_up(files))
        left = [name for name in sys.modules if "page" in name or "trial" in name or "gateway.web." in name]
        print(json.dumps({"alive": alive(), "left": left}))
    asyncio.run(run(port, files))


async def set_up(files):
    import page

    page.FILES = files
    await serve(Application(None), None)


async def run(port, files):
    import board_config
    import page

    page.FILES = files
    settings = board_config.load()["page"]
    settings["port"] = port
    await serve(Application(Gateway()), settings)


main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
