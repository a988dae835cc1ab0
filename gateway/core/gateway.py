"""The gateway: meters in, frames out; the same program on Linux and on the board."""

import asyncio
import json

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import ConfigurationError, Expired, OutboxError
from ..transmission import topics
from ..transmission.custody import hop_key
from ..transmission.model import ALARM, CLASS_OF_KIND, KIND_NAMES
from .meter_task import MeterTask
from .sender import Sender
from .supervisor import Supervisor, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .broker import Broker
    from .commands import Commands
    from .concentrator import Concentrator
    from .meter_settings import MeterSettings
    from .outbox import Outbox
    from .supervisor import Log, Work

# How long what is left in the outbox may take to go when the gateway ends. With 2 s for the meters' sessions
# (meter_task) and 1 s for the broker's it has ended within 5 s, whatever hangs.
_DRAIN_MS = const(1500)
_LOOK_MS = const(10000)
# How long frames may wait to become durable; those of events and alarms do not wait.
SYNC_MS = const(10000)


class Gateway:
    """Reads `meters` by their schedules and hands every frame over to `broker` through `outbox`.

    `name`: the gateway's id, one level of a topic; `last_will(name)` is for the broker's client.
    `log(level, text)`: level is "debug", "info", "warning" or "error". `credential`: the secret shared
    with whoever gives receipts (the MQTT password); None takes the broker's acknowledgement for custody.
    Who each meter is stands in the outbox's notes, so that a replaced meter is noticed as far as the
    outbox outlives the process. `sync_ms`: how long a frame may wait until it is durable; events and alarms
    do not wait. `adapter`: the broker is a concentrator's. All of time goes through gateway.clock.
    """

    def __init__(
        self,
        name: str,
        meters: "Sequence[MeterSettings]",
        broker: "Broker",
        outbox: "Outbox",
        log: "Log",
        credential: "bytes | None" = None,
        sync_ms: int = SYNC_MS,
        adapter: bool = False,
    ) -> None:
        self.name = name
        self.outbox = outbox
        self._synced_ms: int | None = None
        self._started_ms = clock.utc_ms()
        self._log = log
        self._sync_ms = sync_ms
        self._urgent = asyncio.Event()
        self._ending = False
        key = None if credential is None else hop_key(credential)
        self.sender = Sender(outbox, broker, name, key, on_rewind=self._rewind, adapter=adapter)
        self.supervisor = Supervisor(log)
        self.meters = [MeterTask(settings, outbox, log) for settings in meters]
        for meter in self.meters:
            self.supervisor.add(meter.settings.name, meter.run).on_change = self._show
        self.broker_worker = Worker("broker", self.sender.run, log)
        self._storage = Worker("outbox", self._store, log, self._show_own)
        self._about: dict[str, Any] = {}
        self._others: list[Worker] = []
        self.commands: Commands | None = None
        self._concentrator: Concentrator | None = None
        outbox.on_append = self._appended

    def concentrate(self, concentrator: "Concentrator") -> None:
        """Serve adapters, too; before `run`."""
        self._concentrator = concentrator
        self._local = self.supervisor.add("local broker", concentrator.run)

    def take(self, commands: "Commands") -> None:
        """To be called before `run`: the meters' owners may command."""
        self.commands = commands
        commands.serve(self.sender, self.meters)

    def also(self, name: str, work: "Work") -> None:
        """Run this, too, from the start on; before `run`."""
        self._others.append(Worker(name, work, self._log))

    def tell(self, about: "dict[str, Any]") -> None:
        """What else its own status on the broker says from now on."""
        self._about = about
        self._show_own()

    async def run(self) -> None:
        """Until cancelled; then ends the meters' sessions, sends what is left in the outbox if that goes
        fast, syncs it, and leaves the broker."""
        self._show_own()
        others = [
            asyncio.create_task(worker.run()) for worker in [self.broker_worker, self._storage] + self._others
        ]
        if self.commands is not None:
            others.append(asyncio.create_task(Worker("commands", self.commands.run, self._log).run()))
        try:
            await self.supervisor.run()
        finally:
            self._ending = True
            for meter in self.meters:
                self._show_one(meter, "stopped", "", clock.utc_ms())
            self.sender.set_status(None, _status("stopped"))
            self._urgent.set()  # what can't be sent any more is on disk at least
            try:
                await clock.wait_for_ms(self.sender.drained(), _DRAIN_MS)
            except Expired:
                pass
            finally:
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                try:
                    await self.outbox.sync()
                except OutboxError as error:
                    self._log("error", "what was read last is lost: %s" % error)

    def _appended(self, cls: int) -> None:
        if cls == CLASS_OF_KIND[ALARM] or self.outbox.due:
            self._urgent.set()
        self.sender.appended(cls)

    async def _store(self, worker: Worker) -> None:
        """Makes durable what came together meanwhile, and looks how old values are; for as long as the
        gateway runs."""
        due = clock.monotonic_ms() + self._sync_ms
        while True:
            try:
                await clock.wait_for_ms(
                    self._urgent.wait(), min(max(due - clock.monotonic_ms(), 0), _LOOK_MS)
                )
            except Expired:
                pass
            for meter, its in zip(self.meters, self.supervisor.workers):  # noqa: B905 - MicroPython's zip has no strict
                if meter.look(its):
                    self._show_one(meter, its.state, its.reason, its.since_ms)
            now = clock.monotonic_ms()
            if now < due and not self._urgent.is_set():
                continue
            due = now + self._sync_ms
            self._urgent.clear()
            await self.outbox.sync()
            self._synced_ms = clock.utc_ms()
            worker.report("working")
            for meter_id in self.outbox.losses():
                self._rewind(meter_id, 0)

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
        if self._concentrator is not None:
            self._concentrator.rewind(meter_id, since)

    def status(self) -> "dict[str, Any]":
        """How everything is, for people and programs: docs/status.md."""
        meters = []
        for meter, worker in zip(self.meters, self.supervisor.workers):  # noqa: B905 - MicroPython's zip has no strict
            one = worker.status()
            one.update(meter.status())
            meters.append(one)
        broker = self.broker_worker.status()
        broker.update(self.sender.status())
        outbox = self._storage.status()
        outbox["syncedMs"] = self._synced_ms
        outbox["receipted"] = self.sender.custody.forgotten
        outbox["waiting"] = len(self.outbox.meters())
        outbox["usedBytes"] = self.outbox.used
        outbox["capacityBytes"] = self.outbox.capacity
        outbox["droppedFrames"] = self.outbox.dropped
        outbox["damagedFiles"] = self.outbox.damaged
        outbox["tornBytes"] = self.outbox.torn
        status: dict[str, Any] = {
            "gateway": self.name,
            "nowMs": clock.utc_ms(),
            "monotonicMs": clock.monotonic_ms(),
            "meters": meters,
            "broker": broker,
            "outbox": outbox,
        }
        if self.commands is not None:
            status["commands"] = self.commands.status()
        if self._concentrator is not None:
            status["local"] = self._local.status()
            status["local"].update(self._concentrator.status())
        return status

    def _show(self) -> None:
        if self.commands is not None:
            self.commands.look()
        for meter, worker in zip(self.meters, self.supervisor.workers):  # noqa: B905 - MicroPython's zip has no strict
            self._show_one(meter, worker.state, worker.reason, worker.since_ms)

        self._show_own()

    def _show_one(self, meter: MeterTask, state: str, reason: str, since_ms: int) -> None:
        meter_id = meter.expected_id
        if meter_id is not None:
            stale = [KIND_NAMES[kind] for kind in meter.vitals.stale]
            self.sender.set_status(meter_id, _status(state, reason, since_ms, "stale", stale))

    def _show_own(self) -> None:
        if not self._ending:
            troubled = {
                worker.name: worker.state
                for worker in self.supervisor.workers
                if worker.state not in ("starting", "working", "idle")
            }
            self.sender.set_status(
                None,
                _status("online", self._storage.reason, self._started_ms, "troubled", troubled, self._about),
            )


def last_will(name: str, adapter: bool = False) -> "tuple[str, bytes]":
    """Topic and payload that the broker publishes, retained, when the gateway `name` vanishes."""
    topic = topics.adapter_status(name) if adapter else topics.gateway_status(name)
    return topic, b'{"state": "offline"}'


def _status(
    state: str,
    reason: str = "",
    since_ms: "int | None" = None,
    more: str = "",
    what: "Any" = None,
    about: "dict[str, Any] | None" = None,
) -> bytes:
    since = clock.utc_ms() if since_ms is None else since_ms
    status = {"state": state, "reason": reason, "since": since // 1000}
    if more:
        status[more] = what
    if about:
        status.update(about)
    return json.dumps(status).encode()
