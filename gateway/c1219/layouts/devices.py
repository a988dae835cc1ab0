"""Devices behind the meter, M-Bus and MEP: ET13, ET14, ET16, ET45, ET74 (MEP guide, chapter 4).

ET13 holds security keys from byte 29 of each entry on; nothing here reads so far.
"""

from ..layout import Layout
from ..types import BYTES, LTIME, TEXT, U8, U16, U32
from .logs import SHORT_HEADER, WIDE_HEADER

# The part of an M-Bus device's entry from byte 8 on; the whole entry is `config_rest` + 28 bytes long.
ET13_CUSTOMER = Layout(2061, (("customer_id", TEXT, 20),))

ET14 = Layout(
    2062,
    (
        ("mode", U8),
        ("", U32),
        ("occupancy", U8),
        (
            "devices",
            (
                ("handle", U16),
                ("status", U8),
                ("baud_rate", U8),
                ("data_length", U16),
                ("attempts", U32),
                ("answers", U32),
                ("alarms", U16),
                ("primary_address", U8),
                ("", LTIME),
                ("device_alarms", U8),
                ("status_read", LTIME),
                ("last_attempt", LTIME),
                ("", BYTES, "status_rest"),
            ),
            "devices",
        ),
    ),
    ("devices",),
)

# What the data of an M-Bus or MEP device begin with, in ET16 and in the logs.
DEVICE_DATA = Layout(
    2064,
    (
        ("time", LTIME),  # local
        (
            "info",
            U8,
            None,
            None,
            (
                ("most_significant_first", 0, 1),
                ("fixed", 1, 1),
                ("key", 2, 1),
                ("authentication", 3, 2),
                ("failed", 5, 1),
            ),
        ),
    ),
)

ET45 = Layout(2093, SHORT_HEADER)
ET74 = Layout(2122, WIDE_HEADER)

# What an entry of ET45 and ET74 has before the same data as ET16.
RECURRING_ENTRY = Layout(
    2093,
    (
        ("length", U16),  # from the handle on
        ("identifier", U16),
        ("handle", U16),
        ("execution", U8),
        ("result", U8),
    ),
)
