"""A meter for tests of tables: bytes from a dictionary, and helpers that lay out tables by the guide's
own formulas, independent of the layouts under test. Portable."""

import asyncio

from gateway.errors import Refused
from gateway.meter import Meter
from gateway.transmission import registry


class FakeMeter(Meter):
    """`tables`: number -> bytes. `reads`: what was asked, (table, offset, count)."""

    authenticated = True

    def __init__(self, tables, max_read=465, absent_code=5):
        self.tables = tables
        self.max_read = max_read
        self.absent_code = absent_code
        self.reads = []
        self.before_read = None  # called with (table, offset, count), may change the meter
        self.resyncs = None

    async def read(self, table, offset=None, count=None):
        self.reads.append((table, offset, count))
        await asyncio.sleep(0)
        if self.before_read:
            self.before_read(table, offset, count)
        if table not in self.tables:
            raise Refused("table %d: %02X" % (table, self.absent_code), self.absent_code, table)
        data = self.tables[table]
        return bytes(data) if offset is None else bytes(data[offset : offset + count])


def put(data, offset, value, size=4):
    """An integer in a bytearray, least significant byte first, two's complement."""
    value &= (1 << 8 * size) - 1
    for i in range(size):
        data[offset + i] = value >> 8 * i & 255


def dimensions(
    summations=11, tiers=4, demands=0, coincidents=0, occurrences=0, flags=0x03, present_demands=0, present=55
):
    """BT20 or BT21."""
    return bytes(
        (flags, 0x0C, 0, summations, demands, coincidents, occurrences, tiers, present_demands, present)
    )


def bt01(firmware=0x3155):
    return b"NES 83331-3I" + b"\x30\x18" + bytes((firmware >> 8, firmware & 255)) + bytes(8)


def standard(**dims):
    """The tables every reader may ask for, of a meter of firmware 3.10."""
    et04 = bytearray(140)
    et04[116] = 7
    return {
        1: bt01(),
        21: dimensions(**dims),
        52: bytes((24, 7, 1, 12, 30, 15, 0x0E)),
        53: bytes((2, 0, 0, 60, 60, 0)),
        55: bytes((24, 7, 1, 14, 30, 0, 0x0E, 0, 0)),
        2051: b"20401234567" + bytes(132),
        2052: et04,
    }


def run(coroutine):
    return asyncio.run(coroutine)


def by_name(reading):
    """{property name: value}; a property must not come twice."""
    found = {}
    for value in reading.values:
        name = registry.name(value.prop) if isinstance(value.prop, int) else value.prop
        if name in found:
            raise AssertionError("%s comes twice" % name)
        found[name] = value
    return found


def amount(value):
    return value.mantissa, value.exponent, value.unit
