"""A virtual meter at work behind a good line of its own rate, read by the whole task and driver in virtual
time: what went over the line, for which kind, and when what came into the outbox."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway import clock
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_settings import MeterSettings
from gateway.core.meter_task import MeterTask
from gateway.drivers.mep.meter import MepMeter
from gateway.drivers.mep.security import TLS, Security
from gateway.drivers.optical.meter import OpticalMeter
from gateway.meter import Meter
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.transmission import frames
from tests import virtual_loop
from tests.faulty_lines import faulty_link
from tests.virtual_test import Supervised

START_MS = 1_720_000_000_000  # 2024-07-03T09:46:40Z
KEY = bytes(range(0x30, 0x40))
PASSWORD = b"a password with 20 b"


@dataclass
class Exchange:
    """One message and its answer, with what the driver needs for it: repetitions, a session. `kind` -1: for
    no kind. `began_ms`: when the first byte went out."""

    kind: int
    began_ms: int = -1
    sent_ms: int = 0  # the last byte
    ended_ms: int = 0
    sent: int = 0
    received: int = 0

    def line_ms(self, spacing_ms: int) -> int:
        """Until another request could go out."""
        return max(self.ended_ms, self.sent_ms + spacing_ms) - self.began_ms


class WorkingMeter:
    """`port`: "mep" or "optical"; `security`: of the MEP port. All times are monotonic milliseconds since the
    begin. `options`: of the VirtualMeter."""

    def __init__(
        self, firmware: str, port: str = "mep", baud: int = 9600, security: str = "digest", **options: Any
    ) -> None:
        self.port = port
        self.baud = baud
        self.exchanges: list[Exchange] = []
        self.appended: list[tuple[int, int]] = []  # kind, when
        self.outbox = MemoryOutbox(64_000_000)
        self.log: list[str] = []
        self._security = security
        self._open_exchange: Exchange | None = None
        self._firmware = firmware
        self._options = options

    @property
    def now(self) -> int:
        return clock.monotonic_ms() - self._begin

    def run(self, script: "Callable[[], Awaitable[None]]", **settings: Any) -> None:
        """Runs `script` beside the task."""
        virtual_loop.run(lambda: self._run(script, settings), START_MS)

    async def _run(self, script: "Callable[[], Awaitable[None]]", settings: "dict[str, Any]") -> None:
        self._begin = clock.monotonic_ms()
        self.meter = VirtualMeter(
            KEY,
            seed=7,
            firmware=self._firmware,
            start_ms=START_MS,
            monotonic=lambda: self.now,
            security="tls" if self._security == TLS else "rc4",
            optical_keys=OpticalKeys(PASSWORD) if self.port == "optical" else None,
            **self._options,
        )
        if self.port == "mep":
            self.meter.set_baud(self.baud)
        channel = self.meter.optical if self.port == "optical" else self.meter.ports[0]
        async with faulty_link(channel, paced=True) as link:
            self._count(link)
            self.link = link
            self.task = MeterTask(
                MeterSettings("m", self._open, **settings),
                self.outbox,
                lambda level, text: self.log.append(text),
            )
            self.outbox.on_append = self._appended
            async with Supervised(lambda level, text: self.log.append(text), ("m", self.task.run)):
                await script()

    def _appended(self, cls: int) -> None:
        meter = self.task.meter_id
        assert meter is not None
        place = self.task._places[cls]
        while (entry := self.outbox.following(meter, cls, place)) is not None:
            place = entry.place
            self.appended.append((frames.head(entry.frame)[1], self.now))

    def _count(self, link: Any) -> None:
        write, arrived = link.write, link._arrived

        async def counted(data: bytes) -> None:
            one = self._open_exchange
            if one is not None:
                if one.began_ms < 0:
                    one.began_ms = self.now
                one.sent += len(data)
                one.sent_ms = self.now + len(data) * 10_000 // self.baud
            await write(data)

        def heard(data: bytes) -> None:
            if self._open_exchange is not None:
                self._open_exchange.received += len(data)
            arrived(data)

        link.write, link._arrived = counted, heard

    async def _open(self) -> Meter:
        link = await self.link.reopen()
        link.port.plug(link._arrived)
        if self.port == "optical":
            driver: Meter = OpticalMeter(link, PASSWORD)
            driver._ask = self._watched(driver._ask)
            driver.release = self._watched(driver.release)
        else:
            tls = None
            if self._security == TLS:
                from gateway.drivers.mep.tls_client import TlsClient

                tls = TlsClient
            security = Security(KEY, self._security, tls, level=1 if tls else None)
            driver = MepMeter(link, security, self.baud)
            driver._exchange = self._watched(driver._exchange)
        return driver

    def _watched(self, exchange: Any) -> Any:
        async def watched(*arguments: Any) -> Any:
            running = self.task._running
            one = self._open_exchange = Exchange(running[-1][1] if running else -1)
            try:
                return await exchange(*arguments)
            finally:
                one.ended_ms = self.now
                self._open_exchange = None
                if one.began_ms >= 0:
                    self.exchanges.append(one)

        return watched
