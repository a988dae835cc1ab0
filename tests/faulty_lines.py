"""Links in memory to a virtual meter, good or bad, in virtual time if a FakeClock is installed.

```python
async with faulty_link(meter, LineFaults.parse("corrupt=1%,seed=7")) as link:
    ...  # hand `link` to a driver; link.faults counts what went wrong
```
`in_virtual_time(body())` runs all of that without waiting for real.
`channel` is a VirtualMeter (its first MEP port), or one of its ports: meter.ports[1], meter.optical.
"""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress

from gateway.drivers.link import Link
from gateway.errors import LinkError
from gateway.simulator.faulty import LineFaults
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.port import Port
from tests.fake_clock import FakeClock


class MeterLink(Link):
    """What a driver takes for a line. After a reset it raises LinkError until `reopen`."""

    def __init__(self, channel, faults: LineFaults | None, paced: bool) -> None:
        self.port = Port(channel, paced, faults, self._reset)
        self.resets = 0
        self._open = False
        self._data = bytearray()
        self._news = asyncio.Event()
        self._plug()

    @property
    def faults(self) -> Counter[str]:
        """How often each fault has happened."""
        return self.port.line.done if self.port.line is not None else Counter()

    async def read(self) -> bytes:
        while not self._data:
            if not self._open:
                raise LinkError("the line was reset; open it again")
            self._news.clear()
            await self._news.wait()
        data = bytes(self._data)
        self._data.clear()
        return data

    async def write(self, data: bytes) -> None:
        if not self._open:
            raise LinkError("the line was reset; open it again")
        self.port.arrived(bytes(data))

    async def close(self) -> None:
        if self._open:
            self._open = False
            self.port.unplug()

    async def reopen(self) -> "MeterLink":
        await self.close()
        self._plug()
        return self

    def _plug(self) -> None:
        self._data.clear()
        self._open = True
        self.port.plug(self._arrived)

    def _arrived(self, data: bytes) -> None:
        self._data += data
        self._news.set()

    def _reset(self) -> None:
        self.resets += 1
        self._open = False
        self.port.unplug()
        self._news.set()


async def in_virtual_time(body, utc_ms: int = 1_700_000_000_000):
    """What a coroutine gives, on a clock that jumps to whatever is due next."""
    time = FakeClock(utc_ms)
    time.install()
    task = asyncio.ensure_future(body)
    try:
        await time.until(task.done, 10**9)
        return task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        time.uninstall()


@asynccontextmanager
async def faulty_link(channel, faults: LineFaults | None = None, *, paced: bool = False):
    """A link to a meter or one of its ports; without `faults` a good one."""
    link = MeterLink(channel.ports[0] if isinstance(channel, VirtualMeter) else channel, faults, paced)
    task = asyncio.create_task(link.port.run())
    try:
        yield link
    finally:
        await link.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
