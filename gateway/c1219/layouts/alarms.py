"""BT03, end device mode status (optical guide, "Reading Meter Alarms"); the MEP guide does not list it."""

from ..layout import Layout
from ..types import BYTES, U8

# What follows the 4 bytes is as long as BT00.17 says.
BT03 = Layout(3, (("mode", U8), ("standard", BYTES, 2), ("extended", BYTES, 1)))
