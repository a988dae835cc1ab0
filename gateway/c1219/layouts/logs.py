"""Event logs, the power outage log and the log of changed channels: BT70, BT71, BT74, ET54, ET75, ET79, ET81
(MEP guide, chapter 4; BT70 and BT71 optical guide, "Reading the Event Log"), and ET36, the dimensions of
the manufacturer's logs."""

from ..layout import Layout
from ..types import BYTES, LTIME, U8, U16, U32

_DIMENSIONS = (
    ("flags", U8),
    ("standard_events", U8),
    ("manufacturer_events", U8),
    ("argument_length", U8),
    ("event_argument_length", U8),
    ("history_entries", U16),
    ("event_entries", U16),
)

# Maximum dimensions (BT70) and actual ones (BT71) have one form.
BT70 = Layout(70, _DIMENSIONS)
BT71 = Layout(71, _DIMENSIONS)

# What all logs begin with, in numbers of different width. Entries follow at once.
_FLAGS = (
    "flags",
    U8,
    None,
    None,
    (("descending", 0, 1), ("overflow", 1, 1), ("circular", 2, 1), ("inhibit", 3, 1)),
)
_EVENT_HEADER = (_FLAGS, ("valid", U16), ("last", U16), ("sequence", U32), ("unread", U16))
SHORT_HEADER = (_FLAGS, ("valid", U8), ("last", U8), ("sequence", U16), ("unread", U8))
WIDE_HEADER = (_FLAGS, ("valid", U16), ("last", U16), ("sequence", U16), ("unread", U16))

BT74 = Layout(74, _EVENT_HEADER)
# The guide's heading says 0x0849, its number (2127) and its table 0x084F.
ET79 = Layout(2127, _EVENT_HEADER)
ET75 = Layout(2123, SHORT_HEADER)
ET81 = Layout(2129, SHORT_HEADER)

# An entry of BT74 and ET79 without its argument, whose length is BT71.3.
EVENT_ENTRY = Layout(
    74,
    (
        ("time", LTIME),
        ("sequence", U16),
        ("user", U16),
        ("event", U16, None, None, (("code", 0, 12),)),
    ),
)

# Only what is needed here is named.
ET54 = Layout(2102, (("", BYTES, 69), ("recurring_entries", U16), ("", BYTES, 9), ("alternate_entries", U16)))

ET36_COUNT = Layout(2084, (("logs", U8),))
ET36 = Layout(
    2084,
    (
        ("logs", U8),
        (
            "dimensions",
            (
                # The number of a basic table, or of an extended one from 2048 on.
                ("table_id", U16, None, None, (("table", 0, 12),)),
                ("size", U16),
                ("maximum", U16),
                ("entries", U16),
                ("flags", U8, None, None, (("length_included", 0, 1),)),
                ("", BYTES, 8),
            ),
            "logs",
        ),
    ),
)
