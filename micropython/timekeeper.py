"""Keeps the board's clock right, and measures how it drifts."""

import sys
import time

from gateway import clock
from gateway._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from typing import Any

    from gateway.core.supervisor import Log

_AGAIN_MS = const(3600000)
_TRY_AGAIN_MS = const(30000)
_LONGEST_WAIT_MS = const(600000)
# Below that a correction says more about the way to the server than about the clock.
_LEAST_FOR_DRIFT_MS = const(600000)
_TO_2000_S = const(946684800)


class Timekeeper:
    """`settings`: "server" ("" for none) and "port". `drift_ppm`: what the board's clock loses (positive) in
    a million, by the last two answers; None before. `due`: when to ask next (monotonic)."""

    def __init__(self, settings: "dict[str, Any]", log: "Log") -> None:
        self.due = clock.monotonic_ms()
        self.drift_ppm: int | None = None
        self.reason = "not yet asked"
        self._settings = settings
        self._log = log
        self._offset_ms: int | None = None
        self._asked_ms: int | None = None  # monotonic, of the last answer
        self._at_ms: int | None = None
        self._wait_ms = 0
        self._system_set = False

    @property
    def expected(self) -> bool:
        """Whether network time may still come soon."""
        return bool(self._settings["server"]) and clock.source() != clock.NETWORK

    async def ask(self) -> None:
        """To be called every second: one question, when it is due."""
        if not self._system_set and clock.source() != clock.NOWHERE:
            self._set_system()
        server, port = self._settings["server"], self._settings["port"]
        if not server or clock.monotonic_ms() < self.due:
            return
        from network_time import NoTime, ask

        try:
            offset = await ask(server, port)
        except NoTime as error:
            self._wait_ms = min(max(2 * self._wait_ms, _TRY_AGAIN_MS), _LONGEST_WAIT_MS)
            self.due = clock.monotonic_ms() + self._wait_ms
            if str(error) != self.reason:
                self.reason = str(error)
                self._log("warning", "network time: %s" % error)
            return
        finally:
            sys.modules.pop("network_time", None)
        now = clock.monotonic_ms()
        if self._asked_ms is not None and now - self._asked_ms >= _LEAST_FOR_DRIFT_MS:
            self.drift_ppm = offset * 1000000 // (now - self._asked_ms)
        if self.reason:
            self._log("info", "network time: the clock was %d ms off" % -offset)
        clock.set_utc(clock.utc_ms() + offset, clock.NETWORK)
        self._set_system()
        self.reason = ""
        self._asked_ms = now
        self._at_ms = clock.utc_ms()
        self._offset_ms = offset
        self._wait_ms = 0
        self.due = now + _AGAIN_MS

    def _set_system(self) -> None:
        """The system's clock, too: TLS judges certificates by it."""
        import machine

        utc, source = clock.utc_ms(), clock.source()
        began = clock.monotonic_ms()
        epoch_s = 0 if time.gmtime(0)[0] == 1970 else _TO_2000_S
        now = time.gmtime(utc // 1000 - epoch_s)
        machine.RTC().datetime(tuple(now[:3]) + (now[6],) + tuple(now[3:6]) + (utc % 1000 * 1000,))
        clock.set_utc(utc + clock.monotonic_ms() - began, source)
        self._system_set = True

    def status(self) -> "dict[str, Any]":
        return {
            "source": ("network", "meter", "none")[clock.source()],
            "reason": self.reason,
            "syncedMs": self._at_ms,
            "correctedMs": self._offset_ms,
            "driftPpm": self.drift_ppm,
        }
