"""The meter's clocks: BT52 (UTC), the local time that BT53 makes of it, the active tier of BT55.

BT55's own time is updated once a minute, so its seconds say nothing: local time is BT52 and the offsets.
"""

from ... import clock
from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ...transmission.model import CLOCK, Reading, Timestamp, Value
from ..layouts.clocks import BT52, BT53, BT55
from ..types import civil, seconds_of
from .common import fault, prop, text_value

if TYPE_CHECKING:
    from ..tables import Tables

# A meter clock that is further off puts whole intervals in the wrong place.
TRUSTED_DRIFT_MS = const(60000)


async def utc_offset(tables: "Tables", dst: "int | None" = None) -> int:
    """Minutes that the meter's local time is ahead of UTC now; `dst` is BT52's flag where it is known."""
    if dst is None:
        dst = (await tables.get(BT52, "state"))["dst"]
    table = await tables.get(BT53)
    offset: int = table["zone_offset"]
    if dst:
        offset += table["dst_adjustment"]
    # -12 to +14 hours (BT53), and daylight saving time on top.
    if not -720 <= offset <= 840 + 255:
        raise TableError("BT53 puts local time %d minutes ahead of UTC" % offset)
    return offset


def rfc3339(seconds: int) -> str:
    return "%d-%02d-%02dT%02d:%02d:%02d" % civil(seconds)


def _offset_text(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    return "%s%02d:%02d" % (sign, abs(minutes) // 60, abs(minutes) % 60)


async def utc_ms(tables: "Tables") -> "int | None":
    """The meter's UTC (BT52), to the half second; None when it is no time at all."""
    table = await tables.get(BT52)
    try:
        seconds = seconds_of(table["clock"])
    except TableError:
        return None
    return None if seconds is None else seconds * 1000 + 500


async def read(tables: "Tables") -> "list[Reading]":
    """One Reading: time of the gateway's clock; meter time, UTC and local, its drift, the active tier.

    Drift is the meter's clock minus the gateway's, in milliseconds (exponent -3, unit s), to the half
    second that BT52's whole seconds allow. The fault OSGP_clock_untrusted says that the meter's clock
    is no time at all or more than a minute off. A gateway that has no network time gives no
    drift and takes the meter's time for the reading, with the fault OSGP_meter_time.
    """
    before = clock.utc_ms()
    table = await tables.get(BT52)
    after = clock.utc_ms()
    offset = await utc_offset(tables, table["dst"])
    tier = (await tables.get(BT55, "tariff"))["tier"]
    time = Timestamp(after // 1000)
    values = []
    faults = []
    try:
        seconds = seconds_of(table["clock"])
    except TableError:
        seconds = None
    if seconds is None:
        faults.append(fault("OSGP_clock_untrusted"))
    else:
        local = rfc3339(seconds + 60 * offset)
        values.append(text_value("OSGP_time_utc", rfc3339(seconds) + "Z"))
        values.append(text_value("OSGP_time_local", local + _offset_text(offset)))
        if clock.source() != clock.NETWORK:
            time = Timestamp(seconds)
            faults.append(fault("OSGP_meter_time"))
        else:
            # BT52 shows the second that has begun: on average half of it has passed.
            drift = seconds * 1000 + 500 - (before + after) // 2
            values.append(Value(prop("OSGP_clock_drift"), drift, -3, "s"))
            if abs(drift) > TRUSTED_DRIFT_MS:
                faults.append(fault("OSGP_clock_untrusted"))
    # Meters count tiers from 0, their displays and the platform from 1 (BT22, "Source IDs").
    values.append(Value(prop("OBIS_C.87.0"), tier + 1))
    return [Reading(CLOCK, time, values, faults)]
