"""A registered client's alerts: looked at when they are heard, and served."""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import FrameError, OutboxError, Refused, TableError
from .alerts import AlertGate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..c1219.alerts import Client
    from ..c1219.tables import Tables
    from .collector import Collector

# A meter may forget its client without a word, as with a power outage.
_PREPARE_MS = const(900000)
# Alerts are held back for a second after each request (MEP guide, chapter 2, "Alert Sequence timing"), so who
# never falls silent for so long has to look by himself.
_LISTEN_MS = const(1200)
_DEAF_MS = const(1500)


class AlertWatch:
    """`gate`: the AlertGate; `wake`: called when an alert is to be looked at now."""

    def __init__(self, collector: "Collector", client: "Client", wake: "Callable[[], None]") -> None:
        self.gate = AlertGate()
        self._collector = collector
        self._client = client
        self._wake = wake
        self._problem = ""
        self._prepared_ms: int | None = None
        self._listened_ms = 0

    def connected(self) -> None:
        """A new connection: nobody knows whether the meter still has its client."""
        self._prepared_ms = None

    def raised(self) -> None:
        now = clock.monotonic_ms()
        self.gate.raised(now)
        if not self.gate.wait_ms(now):
            self._wake()

    def rested(self, since_ms: int) -> None:
        """The line was silent since then (monotonic)."""
        now = clock.monotonic_ms()
        if now - since_ms >= _LISTEN_MS:
            self._listened_ms = now

    @property
    def unprepared(self) -> bool:
        """Whether it is time to look whether the client is registered."""
        return self._prepared_ms is None or clock.monotonic_ms() - self._prepared_ms >= _PREPARE_MS

    async def prepare(self, tables: "Tables") -> None:
        """Have the client registered."""
        await self._collector.patiently(self._client.prepare, tables)
        self.gate.longest_ms = self._client.pause_ms
        self._prepared_ms = self._listened_ms = clock.monotonic_ms()

    def wait_ms(self, spare_in_ms: int) -> "int | None":
        """How long until `serve`; None: nothing is heard, and the line is silent often enough."""
        if self.gate.longest_ms is None:
            return self.gate.wait_ms(clock.monotonic_ms(), spare_in_ms)
        if self._is_deaf():
            return 0
        # A change that the meter watches for is worth the reserve.
        return self.gate.wait_ms(clock.monotonic_ms())

    def _is_deaf(self) -> bool:
        """Whether the meter had no moment to alert us for a while."""
        deaf: bool = clock.monotonic_ms() - self._listened_ms >= _DEAF_MS
        return deaf

    async def serve(self, tables: "Tables") -> "Sequence[int]":
        """Looks what the meter has to tell, and brings it; gives the kinds that are to be read for it."""
        collector = self._collector
        heard = self.gate.wait_ms(clock.monotonic_ms()) == 0
        items: Sequence[Any] = ()
        asked: Sequence[int] = ()
        try:
            items, asked = await collector.patiently(self._client.serve, tables)
            for item in items:
                collector.append(item.kind, [item], tables.meter)
                collector.has_read(item.kind, [item])
        except (Refused, TableError, FrameError, OutboxError) as error:
            problem = "%s: an alert can't be served: %s" % (collector.settings.name, error)
            if problem != self._problem:
                self._problem = problem
                collector.log("warning", problem)
        finally:
            self._listened_ms = clock.monotonic_ms()
            if heard:
                # Also when the link goes: an alert that breaks it each time waits longer each time.
                self.gate.handled(self._listened_ms, bool(items) or bool(asked))
        return asked
