"""From the meter's local stamps to UTC, by its own rules: BT53's offsets, BT54's dates, ET04's off time.

The local clock (BT55) goes forward when daylight saving time begins: at BT53's time of day, on a date of
the calendar with action 1. It goes back on a date with action 2, ET04.63 minutes later in the day; both
times of day are the local clock's own as it stands before the change.
"""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import Refused, TableError
from .layouts.calendar import BT54, BT54_OLD, ET04_DST
from .layouts.clocks import BT52, BT53
from .types import civil, month_days, seconds_of

if TYPE_CHECKING:
    from .layout import Table
    from .tables import Tables

_DST_ON = const(1)
_DST_OFF = const(2)
_DAY = const(86400)
# Calendars change without a new interface version, some times a year.
_KEEP_MS = const(3600000)


def _day(year: int, month: int, day: int) -> int:
    """Days since 1970; -1 where the calendar has no such day."""
    if not 2000 <= year <= 2099 or not 1 <= month <= 12 or not 1 <= day <= month_days(year, month):
        return -1
    days: int = (seconds_of(bytes((year - 2000, month, day, 0, 0))) or 0) // _DAY
    return days


def recurring_day(date: "Table", year: int) -> int:
    """The day (since 1970) that an RDATE (MEP guide, "Data Types") means in that year; -1: none.

    Only dates of a month are meant here: a clock is not changed every month, week or some days.
    """
    month: int = date["month"]
    offset: int = date["offset"]
    wanted: int = date["weekday"]
    base = _day(year, month, date["day"])
    if base < 0:
        return -1
    weekday = (base + 4) % 7  # 1970-01-01 was a Thursday; 0 is Sunday
    if 1 <= offset <= 6 and wanted > 6:
        return -1
    if offset == 1:
        return base - ((weekday - wanted - 1) % 7 + 1)
    if 2 <= offset <= 5:
        return base + (wanted - weekday) % 7 + 7 * (offset - 2)
    if offset == 6:
        last = _day(year, month, month_days(year, month))
        last -= ((last + 4) % 7 - wanted) % 7
        return last if last >= base else -1
    if offset == 15:
        return base + 1
    if weekday == 0:
        return base + (1 if offset in (8, 12, 14) else -2 if offset in (9, 13) else 0)
    if weekday == 6:
        return base + (2 if offset in (10, 12) else -1 if offset in (11, 13, 14) else 0)
    return base


class LocalTime:
    """`zone`, `adjustment`: minutes ahead of UTC, and how many more in daylight saving time. `dates`:
    the calendar's changes of it, as BT54's records; `on`, `off`: seconds of the day they happen at.
    `dst`: whether it is in effect now, which holds for a meter whose calendar never changes it."""

    def __init__(
        self, zone: int, adjustment: int, dst: int, dates: "list[Table]", on: int = 0, off: int = 0
    ) -> None:
        self.zone = zone
        self.adjustment = adjustment
        self.dst = dst
        self._dates = dates
        self._times = (on, off)

    def _changes(self, year: int) -> "list[tuple[int, int]]":
        """(UTC, whether daylight saving time begins) of all changes around the year, in order."""
        changes = []
        for date in self._dates:
            begins = date["action"] == _DST_ON
            ahead = self.zone + (0 if begins else self.adjustment)
            seconds = self._times[0 if begins else 1] - 60 * ahead
            if "year" in date:
                days = [_day(2000 + date["year"], date["month"], date["day"])]
            else:
                days = [recurring_day(date, y) for y in range(year - 1, year + 2)]
            for day in days:
                if day >= 0:
                    changes.append((day * _DAY + seconds, 1 if begins else 0))
        changes.sort()
        return changes

    def _in_effect(self, changes: "list[tuple[int, int]]", utc: int) -> int:
        state = 1 - changes[0][1] if changes else self.dst
        for when, dst in changes:
            if when <= utc:
                state = dst
        return state

    def utc_of(self, local: int) -> "tuple[int, int, bool]":
        """(UTC, minutes ahead of it, whether that is certain) of seconds on the local clock.

        It is not in the hour that the clock went through twice, of which this takes the first, nor in
        the one that it left out, which is taken for standard time.
        """
        changes = self._changes(civil(local)[0])
        summer = self.zone + self.adjustment
        in_summer = self._in_effect(changes, local - 60 * summer)
        in_winter = not self._in_effect(changes, local - 60 * self.zone)
        if in_summer:
            return local - 60 * summer, summer, not in_winter
        return local - 60 * self.zone, self.zone, in_winter


async def local_time(tables: "Tables") -> LocalTime:
    """The meter's rules, at most an hour old. Raises TableError for offsets that can't be."""
    memo = tables.memo
    known: tuple[int, LocalTime] | None = memo.get("local_time")
    if known is not None and clock.monotonic_ms() - known[0] < _KEEP_MS:
        return known[1]
    dst = (await tables.get(BT52, "state"))["dst"]
    offsets = await tables.get(BT53)
    zone = offsets["zone_offset"]
    # -12 to +14 hours (BT53).
    if not -720 <= zone <= 840:
        raise TableError("BT53 puts local time %d minutes ahead of UTC" % zone)
    dates = await _dates(tables) if offsets["dst_adjustment"] else []
    on = off = 0
    if dates:
        time = offsets["dst_time"]
        on = (time[0] * 60 + time[1]) * 60 + time[2]
        found = await tables.get_if_there(ET04_DST)
        off = on + 60 * (found["dst_off_delta"] if found else 0)
    rules = LocalTime(zone, offsets["dst_adjustment"], dst, dates, on, off)
    memo["local_time"] = (clock.monotonic_ms(), rules)
    return rules


async def _dates(tables: "Tables") -> "list[Table]":
    try:
        calendar = await tables.get_if_there(BT54)
    except Refused:
        return []  # no permission: what is in effect now has to do
    if calendar is None:
        return []
    recurring = calendar["recurring_dates"]
    if calendar["single_dates"] and recurring and not recurring[0]["new_format"]:
        old = await tables.get(BT54_OLD)
        found = _changing(old["recurring_dates"])
        if found:
            return found
    return _changing(calendar["single_dates"] + recurring)


def _changing(dates: "list[Table]") -> "list[Table]":
    return [date for date in dates if date["action"] in (_DST_ON, _DST_OFF)]
