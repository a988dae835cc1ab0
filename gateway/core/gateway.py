"""The gateway: meters in, frames out; the same program on Linux and on the board."""

from .._compat import TYPE_CHECKING
from .supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
    from typing import Any

    from ..meter import Meter
    from .broker import Broker
    from .supervisor import Log


class MeterSettings:
    """One meter.

    `name`: the user's word for it in states and logs, unique. `open_meter`: a coroutine function that
    connects link and driver and gives a fresh Meter, raising LinkError or MeterError; called for each
    connection. `meter_id`: its MeterIndividualId (UUID as text); None takes the UUIDv5 of manufacturer
    and serial number. `serial`: the serial number it must have; None accepts the first one seen.
    `intervals_ms`: by kind of reading, where they differ from the default schedule; 0 leaves it out.
    """

    def __init__(
        self,
        name: str,
        open_meter: "Callable[[], Awaitable[Meter]]",
        meter_id: "str | None" = None,
        serial: "str | None" = None,
        intervals_ms: "Mapping[int, int] | None" = None,
    ) -> None:
        self.name = name
        self.open_meter = open_meter
        self.meter_id = meter_id
        self.serial = serial
        self.intervals_ms = intervals_ms


class Gateway:
    """Reads `meters` by their schedules and hands every frame over to `broker` through `outbox`.

    `log(level, text)`: level is "debug", "info", "warning" or "error". `identities`: a mapping from a
    meter's name to the identity last seen there (text); one that outlives the process lets a replaced
    meter be noticed across restarts. All of time goes through gateway.clock.
    """

    def __init__(
        self,
        meters: "Sequence[MeterSettings]",
        broker: "Broker",
        outbox: "Any",
        log: "Log",
        identities: "MutableMapping[str, str] | None" = None,
    ) -> None:
        self.supervisor = Supervisor(log)

    async def run(self) -> None:
        """Until cancelled; then ends the meters' sessions, syncs the outbox and leaves the broker."""
        await self.supervisor.run()

    def confirm(self, name: str) -> None:
        """A person says that the meter `name` was replaced on purpose: its new identity is taken."""

    def status(self) -> "dict[str, Any]":
        """For people and programs: {"workers": Supervisor.states(), "meters": [...], "outbox": {...}}."""
        return {"workers": self.supervisor.states()}
