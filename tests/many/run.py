"""`make many METERS=200 MINUTES=5`: so many virtual meters over TCP, each behind its own line of 9600 baud,
read by one gateway at the default schedule; tells processor time, memory, and how late jobs were.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.brokers import NatsServer
from tests.processes import Program

SIMULATORS = 2
SECRET = "0123456789abcdef0123456789abcdef"
BROKER = """\
[gateway]
id = "many"
state_dir = "{directory}/state"
[broker]
url = "{url}"
custody = "broker"
"""
METER = """\
[[meter]]
name = "m{number}"
port = "{address}"
key_file = "{directory}/key"
"""


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("a process has no memory")


def at(values: list[int], share: float) -> int:
    return values[min(int(share * len(values)), len(values) - 1)]


def simulators(stack: ExitStack, directory: Path, meters: int, baud: str) -> tuple[list[Program], list[str]]:
    programs, addresses = [], []
    for number in range(SIMULATORS):
        count = meters * (number + 1) // SIMULATORS - meters * number // SIMULATORS
        program = stack.enter_context(
            Program(
                *("gateway.host.cli", "simulate", "--key-file", directory / "key", "--baud", baud),
                *("--count", count, "--seed", 1000 * number + 1, "--life", "quiet", "--history", 1),
            )
        )
        programs.append(program)
        addresses += [program.expect("listening on (.*)", 300)[1] for _ in range(count)]
    return programs, addresses


def run(meters: int, minutes: int, baud: str, warm_s: int) -> int:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        (directory / "key").write_text(SECRET)
        (directory / "key").chmod(0o600)
        broker = stack.enter_context(NatsServer(directory / "nats"))
        meter_programs, addresses = simulators(stack, directory, meters, baud)
        (directory / "gateway.toml").write_text(
            BROKER.format(directory=directory, url=broker.url)
            + "".join(
                METER.format(number=number, address=address, directory=directory)
                for number, address in enumerate(addresses)
            )
        )
        late = directory / "late.json"
        gateway = stack.enter_context(
            Program("tests.many.gateway", late, "run", "-c", directory / "gateway.toml")
        )
        gateway.expect(f"starts with {meters} meters", 120)
        pid = gateway.process.pid
        print(f"{meters} meters: {warm_s} s for what has piled up, then {minutes} min", flush=True)
        time.sleep(warm_s)
        at_first, began = processor_s(pid), time.monotonic()
        simulated = sum(processor_s(one.process.pid) for one in meter_programs)
        gateway.process.send_signal(signal.SIGUSR1)
        memory = []
        for minute in range(minutes):
            time.sleep(60)
            memory.append(memory_mb(pid))
            so_far = (processor_s(pid) - at_first) / (time.monotonic() - began)
            print(f"  {minute + 1} min: {100 * so_far:.0f} % of a core, {memory[-1]:.0f} MB", flush=True)
        took = time.monotonic() - began
        used = (processor_s(pid) - at_first) / took
        simulated = (sum(processor_s(one.process.pid) for one in meter_programs) - simulated) / took
        code = gateway.end(seconds=60)
        report(json.loads(late.read_text()))
        print(
            f"gateway: {100 * used:.1f} % of a core, {max(memory):.0f} MB at most; the meters: "
            f"{100 * simulated:.1f} % of a core; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
        missed = sum(one["missed"] for one in json.loads(late.read_text()).values())
        trouble = [line for line in gateway.lines if "WARNING" in line or "ERROR" in line]
        print("\n".join(trouble[:10]))
        print(f"{missed} deadlines missed, the gateway ended with {code}")
        return 1 if missed or code else 0


def report(found: dict[str, dict[str, list[int]]]) -> None:
    print("kind            jobs  missed   begins late by ms (p50, p99, most)   ends (p50, p99, most)")
    for kind, one in found.items():
        began, ended = one["began"], one["ended"]
        if began:
            print(
                f"{kind:13}{len(began):7}{one['missed']:8}"
                f"{at(began, 0.5):12}{at(began, 0.99):8}{began[-1]:8}"
                f"{at(ended, 0.5):18}{at(ended, 0.99):8}{ended[-1]:8}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make many", description=__doc__)
    parser.add_argument("--meters", type=int, default=200)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--baud", default="9600", help="of the meters' lines, or fast")
    parser.add_argument("--warm", type=int, default=120, help="seconds before measuring")
    options = parser.parse_args()
    return run(options.meters, options.minutes, options.baud, options.warm)


if __name__ == "__main__":
    sys.exit(main())
