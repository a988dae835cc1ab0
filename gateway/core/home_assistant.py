"""Shows meters to Home Assistant: live values, and what it has to know to find them (MQTT discovery).

Live values go as they are read, at most one message in five seconds of a kind. Discovery goes one message
after the other, retained: for each property when it is seen first, and for all of them when Home Assistant
says that it is born. It makes its words in gateway/transmission/discovery.py, which is loaded for that and
forgotten.
"""

import asyncio

from .._compat import TYPE_CHECKING, forget
from ..transmission import live, model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .gateway import Gateway
    from .meter_task import MeterTask
    from .supervisor import Worker

_KINDS = (model.PRESENT, model.REGISTERS, model.CLOCK)


class HomeAssistant:
    """`prefix`: of discovery topics, "homeassistant" unless it is set otherwise there."""

    def __init__(self, gateway: "Gateway", prefix: str) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._known: dict[tuple[bytes, int], list[int]] = {}  # by meter and kind: properties seen
        self._due: list[tuple[MeterTask, int, int]] = []
        self._wake = asyncio.Event()
        for meter in gateway.meters:
            meter.onlookers.append(_Onlooker(self, meter).take)
        gateway.sender.listen(prefix + "/status", self._said)
        gateway.also("home assistant", self.run)

    def take(self, meter: "MeterTask", kind: int, items: "Sequence[Any]") -> None:
        """Something of a kind was read."""
        if kind not in _KINDS or not items or meter.meter_id is None:
            return
        reading = items[-1]
        sender = self._gateway.sender
        topic = live.live_topic(meter.meter_id, kind, sender.concentrator)
        sender.show(topic, live.live(reading.values, reading.time.seconds))
        known = self._known.setdefault((meter.meter_id, kind), [])
        for value in reading.values:
            if isinstance(value.prop, int) and value.mantissa is not None and value.prop not in known:
                known.append(value.prop)
                self._due.append((meter, kind, value.prop))
                self._wake.set()

    def _said(self, payload: bytes) -> None:
        if payload == b"online":
            self._due = [
                (meter, kind, prop)
                for meter in self._gateway.meters
                for (meter_id, kind), known in self._known.items()
                if meter_id == meter.meter_id
                for prop in known
            ]
            self._wake.set()

    async def run(self, worker: "Worker") -> None:
        while True:
            worker.report("working")
            self._wake.clear()
            if not self._due:
                forget("gateway.transmission", "discovery")
                await self._wake.wait()
                continue
            taken = asyncio.Event()
            if self._announce(taken, *self._due.pop(0)):
                await taken.wait()

    def _announce(self, taken: asyncio.Event, meter: "MeterTask", kind: int, prop: int) -> bool:
        from ..transmission import discovery

        assert meter.meter_id is not None
        sender = self._gateway.sender
        device = discovery.Device(
            meter.meter_id, meter.settings.name, meter.identity, sender.concentrator, sender.own_status
        )
        message = device.message(self._prefix, kind, prop)
        if message is not None:
            sender.pass_on(message[0], message[1], taken.set, True)
        return message is not None


class _Onlooker:
    def __init__(self, home: HomeAssistant, meter: "MeterTask") -> None:
        self._home = home
        self._meter = meter

    def take(self, kind: int, items: "Sequence[Any]") -> None:
        self._home.take(self._meter, kind, items)
