"""What the meter is: BT00, BT01, BT15, ET03, ET04 (MEP guide, chapter 4; BT01 also optical guide)."""

from ..layout import Layout
from ..types import BYTES, I16, I32, LTIME, TEXT, U8, U16, U32

BT00 = Layout(
    0,
    (
        ("order", U8, None, None, (("big_endian", 0, 1), ("char_format", 1, 3))),
        (
            "formats",
            U8,
            None,
            None,
            (("time_format", 0, 3), ("access_method", 3, 2), ("bcd_ids", 5, 1), ("int_format", 6, 2)),
        ),
        ("ni_formats", U8, None, None, (("ni_format_1", 0, 4), ("ni_format_2", 4, 4))),
        ("manufacturer", TEXT, 4),
        ("nameplate_type", U8),
        ("default_set", U8),
        ("procedure_parameter_length", U8),
        ("response_data_length", U8),
        ("standard_version", U8),
        ("standard_revision", U8),
        ("basic_tables_length", U8),
        ("extended_tables_length", U8),
        ("basic_procedures_length", U8),
        ("extended_procedures_length", U8),
        ("manufacturer_status_length", U8),
        ("pending_tables", U8),
    ),
)

BT01 = Layout(
    1,
    (
        ("manufacturer", TEXT, 4),
        ("model", TEXT, 8),
        # Packed versions are most significant byte first, unlike everything else.
        ("hardware", BYTES, 2),
        ("firmware", BYTES, 2),
        # BCD by the optical guide, reserved by the MEP guide: so it stays raw here.
        ("manufacturer_serial", BYTES, 8),
    ),
)

BT15 = Layout(
    15,
    (
        ("multiplier", I32),
        ("offset", I32),
        ("flags", U8, None, None, (("ratios_applied", 0, 1),)),
        ("ct_ratio", I32),
        ("vt_ratio", I32),
    ),
)

ET03 = Layout(
    2051,
    (
        ("utility_serial", TEXT, 30),
        ("", BYTES, 107),
        ("image_crc", U16),
    ),
)

ET04 = Layout(
    2052,
    (
        ("plc_sequence", U32),
        ("transceiver_id", BYTES, 6),
        ("subnet", U8),
        ("node", U8),
        ("plc_flags", U8, None, None, (("neuron_phase", 5, 3),)),
        ("rated_frequency", U8),
        ("program_id", BYTES, 8),
        ("self_identification", BYTES, 30),
        ("", BYTES, 4),
        ("registration_current", U16),
        ("maximum_current", U16),
        ("rated_voltage", U16),
        (
            "phases",
            U8,
            None,
            None,
            (
                ("inactive_voltage_phases", 0, 3),
                ("separate_inactive", 3, 1),
                ("inactive_current_phases", 4, 3),
            ),
        ),
        ("dst_off_delta", I16),
        ("self_read_hour", U8),
        ("self_read_minute", U8),
        ("", BYTES, 6),
        ("phase_rotation", U8),
        ("", BYTES, 2),
        ("broadcast_receipt", LTIME),
        ("", BYTES, 34),
        ("idt_version", U8),
    ),
)
