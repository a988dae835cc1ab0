"""The tariff calendar as tables: summer time of the European Union, seasons, self-reads at the end of months
and seasons, and the day's tier switches.

MEP guide, chapter 4: BT50, BT54, and the data type RDATE.
"""

from .calendar import DAY_MS, HOUR_MS, LocalTime, tier_at, utc_datetime
from .generations import Generation

_RECURRING = 23
_SWITCHES = 200
_SWITCHES_OF_A_DAY = 10
_NEW_FORMAT_SINCE = (3, 50)

# Actions of BT54.
_DST_ON = 1
_DST_OFF = 2
_SEASON_0 = 3
_SELF_READ = 1 << 6
_NEW_FORMAT = 1 << 7

_EVERY_MONTH = 13
_LAST_WEEKDAY = 6
_SUNDAY = 0

# The month that a season begins with, on its first day.
_SEASONS = {12: 0, 3: 1, 6: 2, 9: 3}


def season_at(local_ms: int) -> int:
    """The season of a local day: winter is 0."""
    return utc_datetime(local_ms).month % 12 // 3


def is_self_read_day(day: int) -> bool:
    """Whether registers are copied when this day begins, days counted from 1970."""
    return utc_datetime(day * DAY_MS).day == 1


def next_change_ms(local: LocalTime, utc_ms: int) -> int:
    """When the local clock next shows another day, or changes to or from summer time: UTC."""
    midnight = utc_ms + DAY_MS - local.local_ms(utc_ms) % DAY_MS
    if local.is_summer(utc_ms) == local.is_summer(midnight):
        return midnight
    for hour in range(utc_ms // HOUR_MS + 1, midnight // HOUR_MS + 1):
        if local.is_summer(hour * HOUR_MS) != local.is_summer(utc_ms):
            return hour * HOUR_MS
    return midnight


def bt50(g: Generation) -> bytes:
    seasons, dates = _counts(g)
    return bytes([0b11, 0b11000, seasons | 2 << 4, dates, _RECURRING]) + b"".join(
        word.to_bytes(2, "little") for word in (_SWITCHES, len(bt54(g, LocalTime())))
    )


def bt54(g: Generation, local: LocalTime) -> bytes:
    seasons, dates = _counts(g)
    out = bytearray(3 * dates)
    recurring = [(_rdate(month, 1), _SEASON_0 + season | _SELF_READ) for month, season in _SEASONS.items()]
    recurring.append((_rdate(_EVERY_MONTH, 1), _SELF_READ))
    if local.dst_minutes:
        for month, action in ((3, _DST_ON), (10, _DST_OFF)):
            recurring.append((_rdate(month, 1, _LAST_WEEKDAY, _SUNDAY), action))
    recurring += [(0, 0)] * (_RECURRING - len(recurring))
    if g.number >= _NEW_FORMAT_SINCE:
        recurring[0] = (recurring[0][0], recurring[0][1] | _NEW_FORMAT)
    for date, action in recurring:
        out += date.to_bytes(2, "little") + bytes([action])
    day = _day_schedule(g.tiers)
    for number in range(_SWITCHES):
        schedule, place = divmod(number, _SWITCHES_OF_A_DAY)
        switch = day[place] if not schedule and place < len(day) else 0
        out += switch.to_bytes(2, "little") + bytes([schedule])
    return bytes(out) + bytes(5 * seasons) + (1).to_bytes(4, "little")


def _counts(g: Generation) -> tuple[int, int]:
    """Seasons and non-recurring dates."""
    return (12, 25) if g.number >= _NEW_FORMAT_SINCE else (4, 0)


def _rdate(month: int, day: int, offset: int = 0, weekday: int = 7) -> int:
    return month | offset << 4 | weekday << 8 | day << 11


def _day_schedule(tiers: int) -> list[int]:
    """When the tier changes, in the calendar's own form."""
    switches = []
    before = None
    for hour in range(24):
        tier = tier_at(hour * HOUR_MS, tiers)
        if tier != before:
            switches.append(tier | hour << 11)
        before = tier
    return switches
