"""Long reads over lines that damage, lose and double bytes: all of it, and never a wrong byte."""

import random

import pytest

from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import Security
from gateway.drivers.mep.tls_client import TlsClient
from gateway.simulator.faulty import LineFaults
from gateway.simulator.meter import VirtualMeter
from tests.faulty_lines import faulty_link, in_virtual_time
from tests.tls_peers import has_mbedtls

KEY = b"0123456789abcdef"
TABLE = 2101  # ET53, no part of which lives
DATA = random.Random(4).randbytes(4000)
MBED = pytest.mark.skipif(
    not has_mbedtls(), reason="python-mbedtls, the virtual meter's TLS, has no wheel here"
)

LINES = {
    "damaged": ("digest", "corrupt=1%"),
    "damaged, encrypted": ("rc4", "corrupt=1%"),
    "everything": ("digest", "corrupt=0.3%,lose=0.3%,double=0.3%,late=0.1%,garbage=0.05%,half=0.02%"),
    "everything, encrypted": ("rc4", "corrupt=0.3%,lose=0.3%,double=0.3%,late=0.1%,garbage=0.05%,half=0.02%"),
}
TLS_LINES = {
    "damaged, TLS": ("tls", "corrupt=0.2%"),
    "everything, TLS": ("tls", "corrupt=0.06%,lose=0.06%,double=0.06%,late=0.05%,garbage=0.01%"),
}
SEEDS = (1, 2, 3)


async def long_read(mode: str, faults: str, seed: int) -> "tuple[bytes, int]":
    """The table, and how many faults the line had."""
    meter = VirtualMeter(KEY, firmware="4.30", security="tls" if mode == "tls" else "rc4")
    meter.image.keep(TABLE, DATA)
    found = []

    async def body() -> None:
        async with faulty_link(meter, LineFaults.parse(f"{faults},seed={seed}")) as link:
            reader = MepMeter(link, Security(KEY, mode, TlsClient, level=1))
            found.append(await reader.read(TABLE, 0, len(DATA)))
            found.append(sum(link.faults.values()))
            await reader.close()

    await in_virtual_time(body())
    return found[0], found[1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("line", [*LINES, *(pytest.param(line, marks=MBED) for line in TLS_LINES)])
async def test_all_of_a_long_read_arrives_as_it_is(line: str, seed: int):
    data, faults = await long_read(*(LINES | TLS_LINES)[line], seed)
    assert data == DATA
    assert faults > 2
