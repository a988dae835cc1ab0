"""What a MEP client has of its own: ET15, ET50, ET71 (MEP guide, chapter 4)."""

from ..layout import Layout
from ..types import BYTES, I32, U8, U16

# On-demand requests to M-Bus and MEP devices, a circular queue.
ET15 = Layout(
    2063,
    (
        ("pointers", U8),
        (
            "requests",
            (
                ("transaction", U16),
                ("handle", U16),
                ("type", U8),
                ("result", U8),
                ("", BYTES, "request_rest"),
            ),
            "requests",
        ),
    ),
    ("requests",),
)

# The first MEP client's record, as far as it is used; a second client's has another offset.
ET50 = Layout(
    2098,
    (
        ("", BYTES, 30),
        (
            "flags",
            U8,
            None,
            None,
            (("registered", 0, 1), ("et59", 1, 1), ("mbus_alerts", 2, 1), ("delta_alerts", 3, 1)),
        ),
    ),
)

ET71 = Layout(
    2119,
    (
        (
            "sources",
            (
                ("source", U16),
                ("delta", U16),
                ("compared", I32),
                ("sampled", I32),
                ("status", U8, None, None, (("invalid", 0, 1),)),
            ),
            "alert_sources",
        ),
    ),
    ("alert_sources",),
)
