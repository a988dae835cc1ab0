"""Dimensions and configuration of the manufacturer's tables: ET11, ET55 (MEP guide, chapter 4)."""

from ..layout import Layout
from ..types import BYTES, U8, U16, U32

# Firmware 4.00 and 4.30, packed as in BT01.14.
_V4_00 = 0x4000
_V4_30 = 0x43C0

ET11 = Layout(
    2059,
    (
        ("devices", U8),
        ("config_entry_size", U8),
        ("status_entry_size", U8),
        ("request_queue_size", U8),
        ("request_entry_size", U8),
        ("data_entry_size", U16),
        ("transaction_request_length", U16),
        ("transaction_response_length", U16),
        ("write_entry_size", U8),
        ("phase_data_size", U8),
        ("config_entry_2_size", U8),
        ("", BYTES, 4),
        ("group_ids", U8),
        ("harmonics", U8),
        ("multicast_length", U8),
        ("alarm_size", U8),
        ("data_sources", U8),
        ("et48_entries", U8),
        ("critical_event_masks", U8),
        ("et57_entries", U8),
        ("relay_switches", U8),
        ("alert_sources", U8),
        ("ram_request_length", U16),
        ("ram_response_length", U16),
        ("", BYTES, 2, _V4_00),
        ("mep_channels", U8, None, _V4_00),
        ("", BYTES, 3, _V4_00),
        ("caution_screens", U8, None, _V4_30),
    ),
    ("firmware",),
)

# From "LCD Message ID" on, Gen 4 meters store one character more; step tariff thresholds follow
# BT20's number of tiers. Only what is needed here is named.
ET55 = Layout(
    2103,
    (
        ("", BYTES, 146),
        ("", BYTES, 1, _V4_00),
        ("step_thresholds", U32, "step_thresholds"),
        ("step_source", U8),
        ("", BYTES, 38),
        ("energy_unit", U8),
    ),
    ("firmware", "step_thresholds"),
)
