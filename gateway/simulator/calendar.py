"""The meter's clocks and its tariff calendar (MEP guide, chapter 4, BT52, BT53, BT55).

All instants are milliseconds; UTC counts from 1970.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS

# Which tier is in force in each hour of the local day, for meters of four and of eight tiers.
_TIERS_OF_4 = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 1, 3, 3, 3, 1, 1, 0, 0)
_TIERS_OF_8 = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7)


def utc_datetime(utc_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)


@dataclass(frozen=True)
class LocalTime:
    """How far local time is ahead of UTC: `offset_minutes` in winter, `dst_minutes` more in summer, from
    the last Sunday of March to the last Sunday of October at 01:00 UTC, as in the European Union."""

    offset_minutes: int = 60
    dst_minutes: int = 60

    def is_summer(self, utc_ms: int) -> bool:
        if not self.dst_minutes:
            return False
        now = utc_datetime(utc_ms)
        return _last_sunday(now.year, 3) <= now < _last_sunday(now.year, 10)

    def local_ms(self, utc_ms: int) -> int:
        """The local wall clock as if it were UTC."""
        minutes = self.offset_minutes + (self.dst_minutes if self.is_summer(utc_ms) else 0)
        return utc_ms + minutes * MINUTE_MS


def _last_sunday(year: int, month: int) -> datetime:
    day = datetime(year, month, 31, 1, tzinfo=UTC)
    return day - timedelta(days=(day.weekday() + 1) % 7)


def tier_at(local_ms: int, tiers: int) -> int:
    """The tier, counted from 0, that the local hour belongs to."""
    hour = local_ms % DAY_MS // HOUR_MS
    return (_TIERS_OF_4 if tiers == 4 else _TIERS_OF_8)[hour]


def long_date(utc_ms: int) -> bytes:
    """LTIME_DATE: year without century, month, day, hour, minute, second."""
    t = utc_datetime(utc_ms)
    return bytes([t.year % 100, t.month, t.day, t.hour, t.minute, t.second])


def short_date(utc_ms: int) -> bytes:
    """STIME_DATE: an LTIME_DATE without its second."""
    return long_date(utc_ms)[:5]


def day_of_week(utc_ms: int) -> int:
    """0 is Sunday (BT52, BT55)."""
    return utc_datetime(utc_ms).isoweekday() % 7
