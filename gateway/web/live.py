"""What the page shows of the newest readings, and of a day's power."""

from array import array

from .._compat import TYPE_CHECKING, const
from ..clock import utc_ms
from ..transmission.model import PRESENT, REGISTERS
from ..transmission.registry import name, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_STEP_MS = const(600000)
_STEPS = const(144)
_UNKNOWN = const(-0x7FFFFFFF)
# Registers on the page: what was drawn and fed in since ever; the rest is for the record.
_REGISTERS = ("OBIS_1.8.0", "OBIS_2.8.0")


class Live:
    """Small and always there, so that a page that is opened has a day to show."""

    def __init__(self) -> None:
        self._at_ms = 0
        self._present: list[tuple[Any, ...]] = []
        self._registers: list[tuple[Any, ...]] = []
        self._drawn, self._fed = number("OBIS_1.7.0"), number("OBIS_2.7.0")
        self._totals = [number(one) for one in _REGISTERS]
        self._watts = array("i", [_UNKNOWN] * _STEPS)
        self._step = 0
        self._sum = self._count = 0

    def take(self, kind: int, items: "Sequence[Any]") -> None:
        """What was read: items of a kind, as readers give them."""
        if kind == REGISTERS and items:
            self._registers = [
                (one.prop, one.mantissa, one.exponent, one.unit)
                for one in items[0].values
                if one.prop in self._totals
            ]
        elif kind == PRESENT and items:
            self._at_ms = utc_ms()
            self._present = [
                (one.prop, one.mantissa, one.exponent, one.unit)
                for one in items[0].values
                if one.text is None
            ]
            watts = self.watts()
            if watts is not None:
                self._keep(watts, self._at_ms // _STEP_MS)

    def watts(self) -> "int | None":
        """Power now: what is drawn minus what is fed in; None before the first reading."""
        return watts_of(self._present, self._drawn, self._fed)

    def _keep(self, watts: int, step: int) -> None:
        if step != self._step:
            oldest = step - _STEPS + 1
            # Where the clock was put back nothing of what was known is of the time that it seems to be.
            for skipped in range(max(self._step + 1, oldest) if step > self._step else oldest, step + 1):
                self._watts[skipped % _STEPS] = _UNKNOWN
            self._step = step
            self._sum = self._count = 0
        self._sum += watts
        self._count += 1
        self._watts[step % _STEPS] = self._sum // self._count

    def values(self) -> "dict[str, Any]":
        """The page's "live"."""
        found = []
        for prop, mantissa, exponent, of in self._present + self._registers:
            called = prop if isinstance(prop, str) else name(prop)
            if called is not None:
                found.append((called, mantissa, exponent, of or ""))
        return {"atMs": self._at_ms, "values": found}

    def history(self) -> "dict[str, Any]":
        """Means of ten minutes each, the last one's so far."""
        if not self._step:
            return {"endMs": 0, "stepS": _STEP_MS // 1000, "watts": []}
        watts = []
        for step in range(self._step - _STEPS + 1, self._step + 1):
            mean = self._watts[step % _STEPS]
            watts.append(None if mean == _UNKNOWN else mean)
        return {"endMs": self._at_ms, "stepS": _STEP_MS // 1000, "watts": watts}


def watts_of(values: "Sequence[Sequence[Any]]", drawn: "int | None", fed: "int | None") -> "int | None":
    """Of (property, mantissa, exponent, unit) in kW."""
    total = None
    for prop, mantissa, exponent, _ in values:
        if prop in (drawn, fed) and mantissa is not None:
            watts = mantissa * 10 ** (exponent + 3) if exponent >= -3 else mantissa // 10 ** (-3 - exponent)
            total = (total or 0) + (watts if prop == drawn else -watts)
    return total
