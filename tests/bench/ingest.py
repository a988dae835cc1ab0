"""How fast the cloud takes frames: `python -m tests.bench.ingest`. Prints figures; nothing passes or fails.

200 meters send what they send at the default schedule, in batches as they come together while the one before
is committed: present values mostly, with load profile, registers and asks between.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import tempfile
import time
from pathlib import Path

from gateway.transmission import frames, topics
from gateway.transmission.custody import Ask, hop_key
from gateway.transmission.model import LOAD_PROFILE, PRESENT, Column, Reading, Series, Timestamp, Value
from gateway.transmission.sealing import key_id
from omdp_cloud.ingest import Ingest, Message
from omdp_cloud.storage import Storage

KEY = hop_key(b"a credential of the bench")
EPOCH = 0xDEADBEEF


def present(meter: bytes, sequence: int) -> Message:
    time = Timestamp(1_700_000_000 + 10 * sequence)
    values = [Value(number, 1000 * sequence + number, -3, "kW") for number in range(20)]
    payload = frames.encode(meter, EPOCH, sequence, [Reading(PRESENT, time, values)])
    return Message(topics.topic(meter, topics.COMPACT, "bench"), payload)


def profile(meter: bytes, sequence: int) -> Message:
    times = [1_700_000_000 + 900 * (4 * sequence + row) for row in range(4)]
    columns = [
        Column(number, [4 * sequence + row + number for row in range(4)], -3, "kWh") for number in range(4)
    ]
    series = Series(LOAD_PROFILE, times, columns, origins=[(4, 0, 1, sequence, 0)])
    payload = frames.encode(meter, EPOCH, sequence, [series])
    return Message(topics.topic(meter, topics.COMPACT, "bench"), payload)


def ask(meter: bytes, low: int) -> Message:
    streams = [(cls, EPOCH, low, []) for cls in range(4)]
    payload = Ask(os.urandom(8), b"", [], streams, [], []).encode(KEY, meter)
    return Message(topics.ask(meter), payload)


def traffic(meters: int, rounds: int) -> list[list[Message]]:
    """One list of messages a round: a frame of each meter, and every 16th round what else there is."""
    names = [hop_key(b"meter %d" % number)[:16] for number in range(meters)]
    made = []
    for sequence in range(rounds):
        one = [present(meter, sequence) for meter in names]
        if sequence % 16 == 0:
            one = [ask(meter, sequence) for meter in names] + one
            one += [profile(meter, sequence // 16) for meter in names]
        made.append(one)
    return made


async def run(meters: int, rounds: int, size: int, profiled: bool) -> None:
    batches = []
    for one in traffic(meters, rounds):
        batches += [one[start : start + size] for start in range(0, len(one), size)]
    with tempfile.TemporaryDirectory() as directory:
        storage = await Storage.open(f"sqlite:///{directory}/readings.db")
        ingest = Ingest(storage, {key_id(KEY): KEY})
        rows = receipts = 0
        slowest = 0.0
        profiler = cProfile.Profile()
        began, cpu = time.perf_counter(), time.process_time()
        if profiled:
            profiler.enable()
        for batch in batches:
            before = time.perf_counter()
            report = await ingest.take(batch)
            slowest = max(slowest, time.perf_counter() - before)
            rows += report.outcome.stored
            receipts += len(report.receipts)
        profiler.disable()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        await storage.close()
        size_mb = Path(directory, "readings.db").stat().st_size / 1e6
    messages = sum(map(len, batches))
    print(
        f"{meters} meters, {messages} messages in {len(batches)} batches of at most {size}: "
        f"{seconds:.2f} s ({cpu:.2f} s of CPU)\n"
        f"  {messages / seconds:,.0f} messages/s, {rows / seconds:,.0f} readings/s, "
        f"{receipts / seconds:,.0f} receipts/s, slowest batch {1000 * slowest:.0f} ms, {size_mb:.1f} MB"
    )
    if profiled:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meters", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=32)
    parser.add_argument("--size", type=int, default=200, help="messages in a batch")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(run(chosen.meters, chosen.rounds, chosen.size, chosen.profile))
