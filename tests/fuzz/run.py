"""`make fuzz SEED=1 COUNT=1000000 [ONLY=part of a name]`: so many inputs for each decoder, in all processors.

What finds a fault is told with a file in tests/fuzz/corpus/<decoder>, which `make test` replays from then on.
"""

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

from tests.fuzz import engine
from tests.fuzz.decoders import decoders

CORPUS = Path(__file__).parent / "corpus"
SHARE = 10 * engine.CHUNK  # inputs a process takes at a time
TOLD = 5  # faults of a decoder, the first of each sort


def share(work: tuple[str, int, int, int]) -> tuple[str, int, list[tuple[bytes, str]]]:
    """Runs in a process of its own."""
    name, seed, start, count = work
    with engine.bounds():
        found = {}
        for fault in engine.run(decoders()[name], seed, start, count):
            found.setdefault(fault.what, fault.data)
    return name, count, [(data, what) for what, data in found.items()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="decoders whose names have this in them")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    names = [name for name in decoders() if arguments.only in name]
    if not names:
        print(
            f"no decoder has {arguments.only!r} in its name; there are: {', '.join(decoders())}",
            file=sys.stderr,
        )
        return 2
    work = [
        (name, arguments.seed, start, min(SHARE, arguments.count - start))
        for name in names
        for start in range(0, arguments.count, SHARE)
    ]
    done = dict.fromkeys(names, 0)
    faults: dict[str, list[str]] = {name: [] for name in names}
    begin = time.monotonic()
    with multiprocessing.Pool(arguments.processes, maxtasksperchild=20) as pool:
        for name, count, found in pool.imap(share, work):
            done[name] += count
            for data, what in found:
                if what not in faults[name] and len(faults[name]) < TOLD:
                    faults[name].append(what)
                    print(f"{name}: {what}\n  kept as {keep(name, data)}", flush=True)
            if done[name] == arguments.count:
                passed = time.monotonic() - begin
                print(
                    f"{passed:8.1f} s  {name}: {done[name]:,} inputs, {len(faults[name])} faults", flush=True
                )
    bad = sum(map(len, faults.values()))
    print(f"{len(names)} decoders, {sum(done.values()):,} inputs, {bad} faults")
    return 1 if bad else 0


def keep(name: str, data: bytes) -> Path:
    path = CORPUS / name.replace(" ", "-") / engine.name_of(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main())
