"""The seam for time: every timer and clock of the gateway goes through here.

Tests run faster than life by scaling: OSGP_TIME=<scale>@<origin> makes one real millisecond <scale>
milliseconds, counted from the real instant <origin> (milliseconds since 1970). The same variable given
to several processes keeps their clocks in step. Everything, link pacing included, scales along.

The interpreter's clock is believed unless it was never set. A board corrects it here (`set_utc`), by network
time or, for want of that, by the meter's clock.
"""

import asyncio

from ._compat import (
    TYPE_CHECKING,
    const,
    getenv,
    real_sleep_ms,
    real_ticks_diff,
    real_ticks_ms,
    real_utc_ms,
    real_wait_for_ms,
)
from .errors import Expired

if TYPE_CHECKING:
    from typing import Any


# Where UTC comes from: network time (or a system that keeps it), the meter's clock, or nowhere yet.
NETWORK = const(0)
METER = const(1)
NOWHERE = const(2)
# 2020-01-01: a clock before that was never set.
_EARLIEST_MS = const(1577836800000)


class _Time:
    def __init__(self) -> None:
        self.scale = 1
        self.shift_ms = 0
        self.by_meter = False
        self.origin_ms = 0
        self.last_ticks = real_ticks_ms()
        self.elapsed_ms = 0  # MicroPython's ticks wrap; this does not


_time = _Time()


def set_scale(scale: int, origin_ms: int = 0) -> None:
    """Let time run `scale` times as fast from the real instant `origin_ms` (ms since 1970; 0: now)."""
    if scale < 1:
        raise ValueError("a time scale is a whole number of at least 1")
    _time.origin_ms = origin_ms or real_utc_ms()
    _time.scale = scale


def scale() -> int:
    """How many milliseconds pass in a real one; who judges pauses of other processes needs it."""
    return _time.scale


def monotonic_ms() -> int:
    """Milliseconds that never step and never wrap; only differences mean something."""
    now = real_ticks_ms()
    _time.elapsed_ms += real_ticks_diff(now, _time.last_ticks)
    _time.last_ticks = now
    return _time.elapsed_ms * _time.scale


def utc_ms() -> int:
    """Milliseconds since 1970-01-01T00:00:00Z; steps when the system clock is set."""
    if _time.scale == 1:
        return real_utc_ms() + _time.shift_ms
    return _time.origin_ms + (real_utc_ms() - _time.origin_ms) * _time.scale + _time.shift_ms


def set_utc(utc: int, source: int) -> None:
    """It is `utc` now (ms), says `source`: NETWORK or METER."""
    _time.shift_ms += utc - utc_ms()
    _time.by_meter = source == METER


def source() -> int:
    """NETWORK, METER or NOWHERE: then `utc_ms` counts from some instant long ago."""
    found: int = METER if _time.by_meter else NETWORK
    if utc_ms() < _EARLIEST_MS:
        found = NOWHERE
    return found


async def sleep_ms(ms: int) -> None:
    await real_sleep_ms(-(-max(ms, 0) // _time.scale))


async def wait_for_ms(awaitable: "Any", ms: int) -> "Any":
    """The awaitable's result; it is cancelled and Expired raised after `ms` milliseconds."""
    try:
        return await real_wait_for_ms(awaitable, -(-ms // _time.scale))
    except asyncio.TimeoutError:
        raise Expired("no result within %d ms" % ms) from None


def _from_environment() -> None:
    setting = getenv("OSGP_TIME")
    if setting:
        scale, _, origin = setting.partition("@")
        set_scale(int(scale), int(origin or "0"))


_from_environment()
