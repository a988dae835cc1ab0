"""Delta data alerts: the meter watches values and tells its clients when one has moved far enough.

MEP guide, chapter 3, "Delta Data Alerts"; chapter 4, ET71. The meter samples about once a second, which is
as often as its ports look for alerts; nothing is watched while no one looks.
"""

from typing import TYPE_CHECKING

from .image import et
from .life import Snapshot
from .life_tables import DELTA_ENTRY, DELTA_SOURCES

if TYPE_CHECKING:
    from .meter import VirtualMeter

DELTA_DATA = 1 << 4  # ET13.8

_EVERY_MS = 1000
_UNUSED = 255
_INVALID = 1
# The guide names an "Alert State" bit and leaves its place open: the next one.
_ALERT_STATE = 2
_MOST = 2**31 - 1


class DeltaAlerts:
    def __init__(self, meter: "VirtualMeter") -> None:
        self._meter = meter
        self._sampled_ms = 0

    def sample(self, now_ms: int) -> None:
        """Compare what is watched, if a second has passed."""
        meter = self._meter
        table = et(71)
        if table not in meter.image or now_ms - self._sampled_ms < _EVERY_MS:
            return
        self._sampled_ms = now_ms
        held = meter.image.read(table)
        for index in range(DELTA_SOURCES):
            at = index * DELTA_ENTRY
            source = int.from_bytes(held[at : at + 2], "little")
            if source != _UNUSED:
                self._compare(held, at, *self._value(source))

    def _value(self, source: int) -> tuple[int, bool]:
        """What a source says now, and whether there is no such thing. What BT28 has is taken from there."""
        meter = self._meter
        place = meter.image.read(27).find(source) if source < _UNUSED else -1
        if place >= 0:
            held = meter.image.read(28)[4 * place : 4 * place + 4]
            return int.from_bytes(held, "little", signed=True), False
        meter.registers.advance(meter.life.now_ms)
        value, status = Snapshot(meter, meter.life.now_ms)(source, stuffed=False)
        return value, bool(status)

    def _compare(self, held: bytes, at: int, value: int, invalid: bool) -> None:
        delta = int.from_bytes(held[at + 2 : at + 4], "little")
        compared = int.from_bytes(held[at + 4 : at + 8], "little", signed=True)
        status = (held[at + 12] & ~_INVALID) | (_INVALID if invalid else 0)
        if delta and not invalid and abs(value - compared) >= delta:
            compared = value
            status |= _ALERT_STATE
            self._meter.alert_clients(DELTA_DATA)
        sampled = max(-_MOST, min(value, _MOST))
        record = compared.to_bytes(4, "little", signed=True) + sampled.to_bytes(4, "little", signed=True)
        self._meter.image.write(et(71), at + 4, record + bytes([status]))
