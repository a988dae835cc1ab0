"""`omdp-cloud serve` as a process against a real broker, under faults: it recovers by itself, says each
change once, gives no receipt for what is not committed, and loses nothing that no sender holds."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
import pytest

from gateway.transmission import topics
from omdp_cloud.errors import StorageError
from omdp_cloud.storage import Storage
from tests.brokers import NatsServer
from tests.cloud_toml import cloud_toml
from tests.patience import PATIENCE_S
from tests.processes import Program
from tests.senders import TestSender, sending

# How often the cloud is killed; more of it is asked for.
KILLS = int(os.environ.get("OSGP_CLOUD_KILLS", "1"))
CREDENTIAL = b"0123456789abcdef0123456789abcdef"
JSON = (
    '{"readingTime": "2023-11-22T12:00:%02dZ", "meterIndividual": {"meterIndividualId": "%s"}, '
    '"propertyValues": [{"numericalValue": 1, '
    '"operationalPropertyDefinition": {"propertyId": "OBIS_1.8.0"}}]}'
)


class Cloud:
    """The process, its broker and its database; whoever hurts it leaves it running again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = directory / "readings.db"
        (directory / "secret").write_bytes(CREDENTIAL)
        (directory / "secret").chmod(0o600)
        self.broker = NatsServer(directory / "broker").start()
        self.configuration = cloud_toml(directory, self.broker.url)
        self.program: Program

    def start(self) -> None:
        self.program = Program("omdp_cloud.cli", "serve", "-c", self.configuration)
        self.program.expect("^omdp-cloud: broker .*, database ")

    def kill(self) -> None:
        self.program.end(signal.SIGKILL)

    def close(self) -> None:
        with self.program:
            pass
        self.broker.stop()

    def sender(self):
        return sending(self.broker.url, CREDENTIAL, os.urandom(16))

    def stored(self) -> list[bytes]:
        """The ids of all readings, one for each revision."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT meter_reading_identifier FROM meter_reading").fetchall()
        return [bytes.fromhex(row[0]) for row in rows]

    def back_up(self) -> Path:
        backup = self.directory / "backup.db"
        backup.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(backup)) as target,
        ):
            source.backup(target)
        return backup

    def said(self, pattern: str) -> int:
        return sum(pattern in line for line in self.program.said().splitlines())


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    running = Cloud(tmp_path_factory.mktemp("cloud"))
    running.start()
    yield running
    running.close()


def all_there_once(cloud: Cloud, sender: TestSender) -> None:
    stored = cloud.stored()
    assert set(sender.made) <= set(stored), "a reading is missing"
    assert len(stored) == len(set(stored)), "a reading is there twice"


async def comes_again(cloud: Cloud, sender: TestSender) -> None:
    """Returns once all that a restore took away is there again, in a database that is whole."""
    await sender.check()
    async with asyncio.timeout(PATIENCE_S):
        while not sender.rewinds:
            await asyncio.sleep(0.05)
    await sender.settled()
    all_there_once(cloud, sender)
    with closing(sqlite3.connect(cloud.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_lock_of_another_program_is_waited_out_and_told_once(cloud: Cloud):
    async with cloud.sender() as sender:
        sender.make(5)
        await sender.settled()
        with closing(sqlite3.connect(cloud.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            sender.make(20)
            await asyncio.to_thread(cloud.program.expect, "database: .*locked")
            assert sender.pending() == 20, "a receipt for what can't be committed"
            other.execute("ROLLBACK")
        await sender.settled()
        all_there_once(cloud, sender)
    await asyncio.to_thread(cloud.program.expect, "database: works again")
    assert cloud.said("database: ") == 2


async def test_a_broker_that_loses_all_it_holds(cloud: Cloud):
    async with cloud.sender() as sender:
        sender.make(5)
        await sender.settled()
        cloud.broker.stop()
        shutil.rmtree(cloud.broker.directory / "store")
        sender.make(30)
        await asyncio.to_thread(cloud.program.expect, "broker mqtt://.*trying again")
        cloud.broker.start()
        await sender.settled()
        all_there_once(cloud, sender)
    await asyncio.to_thread(cloud.program.expect, "broker mqtt://.*works again")
    assert cloud.said("trying again, and what is published waits there") == 1


@pytest.mark.parametrize("how", ["copied over", "moved into place", "deleted", "restored by SQLite"])
async def test_a_database_set_back_beneath_the_running_cloud(cloud: Cloud, how: str):
    async with cloud.sender() as sender:
        sender.make(40)
        await sender.settled()
        backup = cloud.back_up()
        sender.make(40)
        await sender.settled()
        if how == "copied over":
            shutil.copyfile(backup, cloud.database)
        elif how == "moved into place":
            backup.rename(cloud.database)
        elif how == "restored by SQLite":
            with (
                closing(sqlite3.connect(backup)) as source,
                closing(sqlite3.connect(cloud.database)) as target,
            ):
                source.backup(target)
        else:
            cloud.database.unlink()
        sender.make(3)
        await asyncio.to_thread(cloud.program.expect, "was restored, replaced or deleted")
        await sender.settled()
        await comes_again(cloud, sender)


async def test_killed_then_restored_over_a_log_that_was_left(cloud: Cloud):
    async with cloud.sender() as sender:
        sender.make(20)
        await sender.settled()
        backup = cloud.back_up()
        sender.make(20)
        await sender.settled()
        cloud.kill()
        assert Path(f"{cloud.database}-wal").stat().st_size > 0
        shutil.copyfile(backup, cloud.database)
        cloud.start()
        await comes_again(cloud, sender)


async def test_killed_at_any_point(cloud: Cloud):
    async with cloud.sender() as sender:
        for _ in range(KILLS):
            sender.make(100)
            await asyncio.sleep(random.uniform(0, 0.3))
            cloud.kill()
            believed = sender.receipted()
            assert believed <= set(cloud.stored()), "a receipt for what is not committed"
            cloud.start()
        await sender.settled()
        all_there_once(cloud, sender)


async def test_what_no_sender_holds_outlives_a_cloud_killed_before_its_commit(cloud: Cloud):
    """JSON of others has no custody: once the broker has taken it, the broker must keep it for the cloud."""
    meter = os.urandom(16)
    parts = urlsplit(cloud.broker.url)
    async with aiomqtt.Client(parts.hostname, parts.port) as client:
        with closing(sqlite3.connect(cloud.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for second in range(5):
                text = JSON % (second, uuid.UUID(bytes=meter))
                await client.publish(topics.topic(meter, topics.READINGS, "others"), text.encode(), qos=1)
            await asyncio.to_thread(cloud.program.expect, "database: .*locked")
            cloud.kill()
            other.execute("ROLLBACK")
    cloud.start()
    query = "SELECT count(*) FROM meter_reading r JOIN meter_individual m ON m.id = r.meter"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with closing(sqlite3.connect(cloud.database)) as connection:
                (count,) = connection.execute(
                    f"{query} WHERE m.meter_individual_id = ?", (meter.hex(),)
                ).fetchone()
            if count == 5:
                break
            await asyncio.sleep(0.05)


async def test_a_second_cloud_on_the_same_database_is_refused(cloud: Cloud):
    with pytest.raises(
        StorageError, match=rf"another omdp-cloud \(process {cloud.program.process.pid}\) has it"
    ):
        await Storage.open(f"sqlite:///{cloud.database}")
    async with cloud.sender() as sender:
        sender.make(1)
        await sender.settled()


async def test_ends_within_five_seconds_with_everything_committed_that_was_receipted(cloud: Cloud):
    async with cloud.sender() as sender:
        sender.make(150)
        while not sender.receipted():
            await asyncio.sleep(0.01)
        # It ends with 1 when five seconds were not enough.
        assert await asyncio.to_thread(cloud.program.end) == 0
        assert not Path(f"{cloud.database}-wal").exists()
        assert sender.receipted() <= set(cloud.stored())
        assert cloud.said("ending: ") == 1
        cloud.start()
        await sender.settled()
        all_there_once(cloud, sender)
