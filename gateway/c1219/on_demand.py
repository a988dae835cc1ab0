"""Has the meter read its M-Bus devices more often than it does by itself: EP19 and ET15 (MEP guide,
chapter 3, "Reading On-Demand M-Bus Data").

What a device answers is in ET16, where readers/mbus.py finds it. Each request is a write to the meter and
costs a device's battery, so a device is asked at most once an hour, and not at once after a start.
"""

import os

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import ProcedureFailed, Refused, TableError
from .procedures import procedures

if TYPE_CHECKING:
    from .layout import Table
    from .tables import Tables

_EP19 = const(2067)
_BILLING_READ = const(2)
_NUMBERS = const(0x0400)  # transaction numbers of MEP applications: 0x0400 to 0x04FF
_DEVICES = const(4)  # M-Bus devices have the first slots

_ET13 = const(2061)
_NO_DAY = const(39)  # with it, weekly means never

_LEAST_S = const(3600)
_EARLY_S = const(60)
_WAIT_S = const(120)
_LOOK_MS = const(2000)


class OnDemand:
    """`every_s`: how old a device's data may get; one that the meter reads at least as often by its own
    schedule (ET13) is not asked. `problems`: as of Client, by device."""

    def __init__(self, every_s: int) -> None:
        self.problems: dict[str, str] = {}
        self._every_s = max(every_s, _LEAST_S)
        self._asked_s: dict[int, int] = {}  # by handle
        self._waiting: dict[int, tuple[int, int]] = {}  # by transaction number: handle, since when
        self._number = os.urandom(1)[0]

    async def ask(self, tables: "Tables") -> "int | None":
        """Ask the devices that are due. In how many ms answers may be there, None when none is waited for.

        Errors as for Tables.get; what the meter refuses is in `problems`.
        """
        now_s = clock.utc_ms() // 1000
        requests = None
        if self._waiting:
            requests = await _requests(tables)
            self._look(requests, now_s)
        for handle in await self._due(tables, now_s):
            if requests is None:
                requests = await _requests(tables)
            self._asked_s[handle] = now_s
            number = self._free(requests)
            words = "device %d" % handle
            try:
                await (await procedures(tables)).call(_EP19, request(number, handle), 1)
            except (Refused, TableError, ProcedureFailed) as error:
                self.problems[words] = "can't be read on demand: %s. It takes the advanced key (MAK)" % error
            else:
                self._waiting[number] = (handle, now_s)
        return _LOOK_MS if self._waiting else None

    def _look(self, requests: "list[Table]", now_s: int) -> None:
        """What has become of the requests."""
        results = {one["transaction"]: one["result"] for one in requests if one["type"]}
        for number in list(self._waiting):
            handle, since_s = self._waiting[number]
            result = results.get(number, 0)
            if not result and 0 <= now_s - since_s < _WAIT_S:
                continue
            del self._waiting[number]
            words = "device %d" % handle
            if result == 1:
                self.problems.pop(words, None)
            else:
                self.problems[words] = "did not answer the meter (ET15: result %d)" % result

    async def _due(self, tables: "Tables", now_s: int) -> "list[int]":
        """Handles of the devices whose data are too old."""
        from .layouts.devices import ET14

        table = await tables.get_if_there(ET14, "occupancy", "devices")
        due = []
        size = (await tables.dimensions(("devices",)))["config_rest"] + 28 if table else 0
        for slot, device in enumerate(table["devices"][:_DEVICES] if table else ()):
            handle = device["handle"]
            if table is None or not table["occupancy"] >> slot & 1 or not handle:
                continue
            asked = self._asked_s.setdefault(handle, now_s)
            if now_s < asked:
                self._asked_s[handle] = now_s  # the clock was set back
            elif now_s - asked >= self._every_s - _EARLY_S and not self._waits_for(handle):
                schedule = await tables.meter.read(_ET13, slot * size, 4)
                if period_s(schedule[0], schedule[3]) > self._every_s:
                    due.append(handle)
        return due

    def _waits_for(self, handle: int) -> bool:
        return handle in [one[0] for one in self._waiting.values()]

    def _free(self, requests: "list[Table]") -> int:
        """A transaction number that is not in ET15."""
        taken = [one["transaction"] for one in requests]
        while True:
            self._number = (self._number + 1) & 0xFF
            number: int = _NUMBERS + self._number
            if number not in taken and number not in self._waiting:
                return number


def request(number: int, handle: int) -> bytes:
    """EP19's parameters for a billing read."""
    return bytes((number & 0xFF, number >> 8, handle & 0xFF, handle >> 8, _BILLING_READ))


def period_s(day: int, frequency: int) -> int:
    """Seconds between a device's scheduled reads (ET13)."""
    if frequency > 3 or (frequency == 2 and day == _NO_DAY):
        return 0x7FFFFFFF
    return (3600, 86400, 604800, 2678400)[frequency]


async def _requests(tables: "Tables") -> "list[Table]":
    from .layouts.mep_client import ET15

    requests: list[Table] = (await tables.get(ET15))["requests"]
    return requests
