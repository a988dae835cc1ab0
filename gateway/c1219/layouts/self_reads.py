"""Self-reads: BT26 (MEP guide, chapter 4), and the billing definition in effect, of ET42."""

from ..layout import Layout
from ..types import BYTES, STIME, U8, U16
from .registers import REGISTERS

BT26 = Layout(
    26,
    (
        ("flags", U8, None, None, (("overflow", 1, 1),)),
        ("valid", U8),
        ("last", U8),
        ("sequence", U16),
        ("unread", U8),
    ),
)

# What stands before the registers of an entry; all of these depend on BT21.
_HEAD = (
    ("billing_definition", U16, None, "demands"),
    ("stamp", STIME, None, "date_time"),
    ("season", U8, None, "season"),
)
BT26_HEAD = Layout(26, _HEAD, ("registers",))
# One of BT21.2 entries.
BT26_ENTRY = Layout(26, _HEAD + (("registers", REGISTERS),), ("registers",))

ET42_BILLING = Layout(2090, (("", BYTES, 8), ("billing_definition", U16)))
