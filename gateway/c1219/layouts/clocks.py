"""The meter's clocks: BT52, BT53, BT55 (MEP guide, chapter 4)."""

from ..layout import Layout
from ..types import I16, LTIME, TIME, U8, U16

_STATE = (
    "state",
    U8,
    None,
    None,
    (("weekday", 0, 3), ("dst", 3, 1), ("gmt", 4, 1), ("zone_applied", 5, 1), ("dst_applied", 6, 1)),
)

BT52 = Layout(52, (("clock", LTIME), _STATE))

BT53 = Layout(
    53,
    (
        ("dst_time", TIME),
        ("dst_adjustment", U8),  # minutes
        ("zone_offset", I16),  # minutes
    ),
)

BT55 = Layout(
    55,
    (
        ("clock", LTIME),
        _STATE,
        (
            "tariff",
            U16,
            None,
            None,
            (("tier", 0, 3), ("tier_drive", 6, 2), ("special_schedule", 8, 4), ("season", 12, 4)),
        ),
    ),
)
