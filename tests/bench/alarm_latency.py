"""How long an alarm takes from its publisher to the database while others publish in bulk:
`python -m tests.bench.alarm_latency`. Real broker, the cloud's receiver and storage; prints figures only."""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt

from gateway.transmission import frames, topics
from gateway.transmission.model import ALARM, Event, Timestamp
from omdp_cloud.config import Broker
from omdp_cloud.ingest import Ingest, Message, Report
from omdp_cloud.receiver import Receiver
from omdp_cloud.storage import Storage
from tests.bench.ingest import traffic
from tests.brokers import nats

METER = bytes(range(16))


class Watched(Ingest):
    """Notes when each alarm was committed, by its sequence."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, {})
        self.committed: dict[int, float] = {}
        self.sizes: list[int] = []

    async def take(self, messages):  # type: ignore[no-untyped-def]
        report = await super().take(messages)
        now = time.perf_counter()
        self.sizes.append(len(messages))
        for message in messages:
            if message.topic == alarm(0).topic:
                self.committed[frames.head(message.payload)[4]] = now
        return report


def alarm(sequence: int) -> Message:
    event = Event(ALARM, Timestamp(1_700_000_000), 12, sequence, b"\x26\x01\x02\x03\x04\x05")
    return Message(topics.topic(METER, topics.COMPACT, "bench"), frames.encode(METER, 1, sequence, [event]))


async def run(rate: int, seconds: float) -> None:
    bulk = [message for one in traffic(200, 4) for message in one]
    with nats() as broker, tempfile.TemporaryDirectory() as directory:
        storage = await Storage.open(f"sqlite:///{Path(directory) / 'readings.db'}")
        ingest = Watched(storage)
        stopping = asyncio.Event()
        reports: list[Report] = []
        receiver = Receiver(Broker(url=broker.url), ingest, reports.append, stopping)
        running = asyncio.ensure_future(receiver.run())
        await asyncio.sleep(1)
        parts = urlsplit(broker.url)
        sent: dict[int, float] = {}
        async with aiomqtt.Client(
            parts.hostname or "", parts.port or 0, identifier=os.urandom(4).hex()
        ) as client:
            client.pending_calls_threshold = 10_000
            ends = time.perf_counter() + seconds
            number = 0
            while time.perf_counter() < ends:
                for _ in range(rate // 20):
                    one = bulk[number % len(bulk)]
                    number += 1
                    await client.publish(one.topic, one.payload, qos=0)
                sequence = len(sent)
                message = alarm(sequence)
                sent[sequence] = time.perf_counter()
                await client.publish(message.topic, message.payload, qos=1)
                await asyncio.sleep(0.05)
            while len(ingest.committed) < len(sent):
                await asyncio.sleep(0.05)
        stopping.set()
        await running
        await storage.close()
    late = sorted(1000 * (ingest.committed[sequence] - at) for sequence, at in sent.items())
    print(
        f"{number / seconds:,.0f} messages/s of bulk in batches of up to {max(ingest.sizes)}; {len(late)} "
        f"alarms stored after {late[len(late) // 2]:.0f} ms (median), {late[int(len(late) * 0.95)]:.0f} ms "
        f"(95 %), {late[-1]:.0f} ms (longest)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="messages a second of others")
    parser.add_argument("--seconds", type=float, default=10)
    chosen = parser.parse_args()
    asyncio.run(run(chosen.rate, chosen.seconds))
