"""The gateway: meters in, frames out; the same program on Linux and on the board."""

import asyncio
import json

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import ConfigurationError, Expired
from ..transmission import topics
from ..transmission.custody import hop_key
from .meter_task import MeterSettings, MeterTask
from .sender import Sender
from .supervisor import Supervisor, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .broker import Broker
    from .outbox import Outbox
    from .supervisor import Log

__all__ = ["Gateway", "MeterSettings", "last_will"]

# How long what is left in the outbox may take to go when the gateway ends.
_DRAIN_MS = const(2000)


class Gateway:
    """Reads `meters` by their schedules and hands every frame over to `broker` through `outbox`.

    `name`: the gateway's id, one level of a topic; `last_will(name)` is for the broker's client.
    `log(level, text)`: level is "debug", "info", "warning" or "error". `credential`: the secret shared
    with whoever gives receipts (the MQTT password); None takes the broker's acknowledgement for custody.
    Who each meter is stands in the outbox's notes, so that a replaced meter is noticed as far as the
    outbox outlives the process. All of time goes through gateway.clock.
    """

    def __init__(
        self,
        name: str,
        meters: "Sequence[MeterSettings]",
        broker: "Broker",
        outbox: "Outbox",
        log: "Log",
        credential: "bytes | None" = None,
    ) -> None:
        self.outbox = outbox
        key = None if credential is None else hop_key(credential)
        self.sender = Sender(outbox, broker, name, key, on_rewind=self._rewind)
        self.supervisor = Supervisor(log)
        self.meters = [MeterTask(settings, outbox, log) for settings in meters]
        for meter in self.meters:
            self.supervisor.add(meter.settings.name, meter.run).on_change = self._show
        self._broker = Worker("broker", self.sender.run, log)

    async def run(self) -> None:
        """Until cancelled; then ends the meters' sessions, sends what is left in the outbox if that goes
        fast, syncs it, and leaves the broker."""
        self.sender.set_status(None, _status("online"))
        sending = asyncio.create_task(self._broker.run())
        try:
            await self.supervisor.run()
        finally:
            for meter in self.meters:
                self._show_one(meter, "stopped", "", clock.utc_ms())
            self.sender.set_status(None, _status("stopped"))
            try:
                await clock.wait_for_ms(self.sender.drained(), _DRAIN_MS)
            except Expired:
                pass
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                await self.outbox.sync()

    def confirm(self, name: str) -> None:
        """A person says that the meter `name` was replaced on purpose; see MeterTask.confirm."""
        for meter in self.meters:
            if meter.settings.name == name:
                meter.confirm()
                return
        raise ConfigurationError("no meter is called %s" % name)

    def _rewind(self, meter_id: bytes, since: int) -> None:
        from .cursors import rewind
        from .horizon import go_back

        # Of a meter, too, that has not yet said who it is since the start.
        rewind(self.outbox, meter_id, go_back(self.outbox, meter_id, since))
        for meter in self.meters:
            if meter.meter_id == meter_id:
                meter.read_again()

    def status(self) -> "dict[str, Any]":
        """For people and programs. "workers": as Supervisor.states, the broker's connection last;
        "meters": name, meterId ("" before it is known), identity, reads, badAnswers, and by kind of
        reading lastMs (UTC, None before the first), problem ("" for none) and missed (how often it came
        too late); "outbox": frames published and receipted, and how many meters have some to send."""
        return {
            "workers": self.supervisor.states() + [self._broker.status()],
            "meters": [meter.status() for meter in self.meters],
            "outbox": {
                "published": self.sender.published,
                "receipted": self.sender.custody.forgotten,
                "waiting": len(self.outbox.meters()),
            },
        }

    def _show(self) -> None:
        for meter, worker in zip(self.meters, self.supervisor.workers):  # noqa: B905 - MicroPython's zip has no strict
            self._show_one(meter, worker.state, worker.reason, worker.since_ms)

    def _show_one(self, meter: MeterTask, state: str, reason: str, since_ms: int) -> None:
        if meter.meter_id is not None:
            self.sender.set_status(meter.meter_id, _status(state, reason, since_ms))


def last_will(name: str) -> "tuple[str, bytes]":
    """Topic and payload that the broker publishes, retained, when the gateway `name` vanishes."""
    return topics.gateway_status(name), b'{"state": "offline"}'


def _status(state: str, reason: str = "", since_ms: "int | None" = None) -> bytes:
    since = clock.utc_ms() if since_ms is None else since_ms
    return json.dumps({"state": state, "reason": reason, "since": since // 1000}).encode()
