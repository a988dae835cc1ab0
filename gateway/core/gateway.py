"""The gateway: meters in, frames out; the same program on Linux and on the board."""

from .._compat import TYPE_CHECKING
from .meter_task import MeterSettings
from .supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .broker import Broker
    from .outbox import Outbox
    from .supervisor import Log


class Gateway:
    """Reads `meters` by their schedules and hands every frame over to `broker` through `outbox`.

    `log(level, text)`: level is "debug", "info", "warning" or "error". Who each meter is stands in the
    outbox's notes, so that a replaced meter is noticed as far as the outbox outlives the process.
    """

    def __init__(
        self,
        meters: "Sequence[MeterSettings]",
        broker: "Broker",
        outbox: "Outbox",
        log: "Log",
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
