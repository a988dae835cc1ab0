"""When the meter changes to and from daylight saving time: BT50, the dates of BT54 (MEP guide, chapter 4)."""

from ..layout import Layout
from ..types import BYTES, I16, U8, U16

BT50 = Layout(50, (("", BYTES, 3), ("single_dates", U8), ("recurring_dates", U8)))

# "new_format" is said by the first recurring date for the whole table.
_BITS = (("action", 0, 5), ("demand_reset", 5, 1), ("self_read", 6, 1), ("new_format", 7, 1))
_ACTION = ("what", U8, None, None, _BITS)

_RECURRING = (
    "recurring_dates",
    (
        (
            "date",
            U16,
            None,
            None,
            (("month", 0, 4), ("offset", 4, 4), ("weekday", 8, 3), ("day", 11, 5)),
        ),
        _ACTION,
    ),
    "recurring_dates",
)

# Tier switches and season schedules follow; nothing here reads them.
BT54 = Layout(
    54,
    (
        (
            "single_dates",
            (("date", U16, None, None, (("year", 0, 7), ("month", 7, 4), ("day", 11, 5))), _ACTION),
            "single_dates",
        ),
        _RECURRING,
    ),
    ("calendar",),
)
# The format of firmware before 3.50, which later firmware takes too: no single dates, whatever BT50.3 says.
BT54_OLD = Layout(54, (_RECURRING,), ("calendar",))

# ET04.63: minutes from the time of day that daylight saving time begins at to the one that it ends at.
ET04_DST = Layout(2052, (("", BYTES, 63), ("dst_off_delta", I16)))
