"""A storage of its own for each test, and an ingest into it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.transmission.custody import hop_key
from gateway.transmission.sealing import key_id
from omdp_cloud.ingest import Ingest
from omdp_cloud.storage import Storage

HOP_KEY = hop_key(b"correct horse battery staple")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    opened = await Storage.open(f"sqlite:///{tmp_path}/readings.db")
    yield opened
    await opened.close()


@pytest.fixture
def ingest(storage: Storage) -> Ingest:
    return Ingest(storage, {key_id(HOP_KEY): HOP_KEY}, now=lambda: 1_800_000_000)
