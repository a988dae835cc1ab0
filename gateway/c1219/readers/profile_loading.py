"""Finds out how a load profile is configured: once for many reads, and forgotten on a board before the first.

Dimensions come from BT61, geometry from ET21 (whose offsets are the real ones: the formula for the simple
status in BT64 holds only with end readings), what is recorded from BT62.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import TableError
from ..layouts.profile import BT60, BT61, BT62
from .profile_columns import Sources
from .profile_sets import DataSet, Profile, entry_of

if TYPE_CHECKING:
    from ..layout import Table
    from ..tables import Tables

_INT32 = const(32)
_DAY_CODE = const(84)
_TRIES = const(3)

# Packed firmware versions (BT01.14); modules number their firmware from 1 on.
_V2_00 = const(0x2000)
_V3_10 = const(0x3140)


async def load(tables: "Tables") -> Profile:
    """Raises TableError when the meter is configured anew all the time."""
    for _ in range(_TRIES):
        actual = await tables.get(BT61)
        profile = await _load(tables, actual)
        # The dimensions must go with the configuration id, which is read after them.
        if await tables.get(BT61) == actual:
            return profile
    raise TableError("the load profile's dimensions (BT61) changed during each of %d reads" % _TRIES)


async def _load(tables: "Tables", actual: "Table") -> Profile:
    firmware = (await tables.dimensions(("firmware",)))["firmware"]
    profile = Profile(
        {"has_configuration": 1, "has_progress": 1 if firmware >= _V3_10 or firmware < _V2_00 else 0}
    )
    most: Table | None = None
    sources = Sources(tables)
    at = 0
    for number in range(len(actual["sets"])):
        claim = actual["sets"][number]
        if most is None:
            # The guide makes scalars and divisors in BT62 depend on BT60, not on BT61.
            most = await tables.get_if_there(BT60, "flags") or actual
        channels = claim["channels"]
        dims = {"channels": channels, "scaled_channels": channels if most["scalars"] >> number & 1 else 0}
        if claim["blocks"] and claim["intervals"] and channels:
            each = DataSet(number)
            try:
                await _load_set(tables, profile, each, claim)
                control = BT62.decode(await tables.part(BT62, at, BT62.size(dims)), dims)
                if not actual["scalars"] >> number & 1:
                    control["scalars"] = ()  # they have a place, and are not in use
                await _load_columns(each, control, sources, actual["end_readings"])
                await _load_past(tables, each, control, sources)
            except TableError as error:
                profile.trouble = error
            else:
                profile.sets.append(each)
        at += BT62.size(dims)
    return profile


async def _load_set(tables: "Tables", profile: Profile, each: DataSet, claim: "Table") -> None:
    each.blocks = claim["blocks"]
    each.intervals = claim["intervals"]
    each.channels = claim["channels"]
    entry = await entry_of(tables, profile, each)
    each.take_geometry(entry)
    minutes = claim["interval_time"]
    if minutes == _DAY_CODE and not entry.get("ansi", 0):
        minutes = 1440
    if not minutes:
        raise TableError("data set %d of the load profile has intervals of 0 minutes" % (each.number + 1))
    each.seconds = 60 * minutes


async def _load_columns(each: DataSet, control: "Table", sources: Sources, end_readings: int) -> None:
    if control["format"] != _INT32:
        raise TableError(
            "data set %d of the load profile is recorded in format %d (BT62); only INT32 (32) is known"
            % (each.number + 1, control["format"])
        )
    ends = []
    if end_readings and each.status_offset >= 5 + 4 * each.channels:
        ends = [channel["end_source"] for channel in control["channels"]]
    each.columns, each.end_columns, each.is_mbus = await sources.channels(
        each.number,
        [channel["source"] for channel in control["channels"]],
        ends,
        control["scalars"],
        control["divisors"],
        each.first_segment,
    )


async def _load_past(tables: "Tables", each: DataSet, control: "Table", sources: Sources) -> None:
    """The columns that an end reading's source went with may have changed with it."""
    from .profile_changes import changes

    channels = control["channels"]
    for until, listed, demands in await changes(tables, each.number, each.channels):
        ends = []
        if each.end_columns:
            for i in range(each.channels):
                alike = channels[i]["end_source"] == channels[i]["source"]
                ends.append(listed[i] if alike else channels[i]["end_source"])
        columns, end_columns, is_mbus = await sources.channels(
            each.number, listed, ends, control["scalars"], control["divisors"], each.first_segment, demands
        )
        each.past.append((until, columns, end_columns))
        each.is_mbus = each.is_mbus or is_mbus
