"""Load profile: BT60 to BT64, ET21, ET42, ET54.0, ET57, ET66 (MEP guide, chapter 4; ET21's history
optical guide).

Up to four data sets stand one behind the other in all tables but BT64 to BT67, which are one data set's
each. Their elements depend on the data set, so readers take them by offset.
"""

from ..layout import Layout
from ..types import BYTES, STIME, U8, U16, U32

_DIMENSIONS = (
    ("", BYTES, 4),
    # "scalars": one bit for each data set.
    ("flags", U16, None, None, (("end_readings", 4, 1), ("scalars", 6, 4))),
    ("formats", U8),
    (
        "sets",
        (("blocks", U16), ("intervals", U16), ("channels", U8), ("interval_time", U8)),
        "data_sets",
    ),
)

# Maximum dimensions (BT60) and actual ones (BT61) have one form.
BT60 = Layout(60, _DIMENSIONS, ("data_sets",))
BT61 = Layout(61, _DIMENSIONS, ("data_sets",))
FIRST_DATA_SET = 7  # offset of what is the first data set's
DATA_SET = 6  # bytes of what is one's

# One data set's element.
BT62 = Layout(
    62,
    (
        ("channels", (("", U8), ("source", U8), ("end_source", U8)), "channels"),
        ("format", U8),
        ("scalars", U16, "scaled_channels"),
        ("divisors", U16, "scaled_channels"),
    ),
)

# One data set's element; "valid_intervals" is the newest block's.
BT63 = Layout(
    63,
    (
        ("flags", U8, None, None, (("overflow", 1, 1), ("active", 5, 1))),
        ("valid_blocks", U16),
        ("last_block", U16),
        ("sequence", U32),
        ("", BYTES, 2),
        ("valid_intervals", U16),
    ),
)

# The data sets' own tables are BT64 to BT67: end time, end readings, simple status, intervals.
BT64_END = Layout(64, (("end", STIME),))

# One data set's element from offset 8 on, as far as firmware has it: the configuration's id came with
# 2.10, the interval in progress with 3.10. Elements of firmware with more than one data set are 131 bytes.
ET21_SIZE = 131
ET21_START = 8
ET21 = Layout(
    2069,
    (
        ("block_size", U32),
        ("header_size", U16),
        ("valid_blocks", U16),
        ("valid_intervals", U16),
        ("last_block", U16),
        ("last_interval", U16),
        ("status_offset", U8),
        ("status_size", U8),
        ("intervals_offset", U8),
        ("interval_size", U8),
        ("channel_offset", U8),
        ("", U8),
        ("channels", U8),
        ("interval_time", U8),
        ("", BYTES, 48, "has_configuration"),
        ("configuration", U32, None, "has_configuration"),
        # From this channel on old firmware records an M-Bus telegram, four bytes a channel.
        ("first_segment", U8, None, "has_configuration"),
        ("", BYTES, 8, "has_progress"),
        ("in_progress", U16, None, "has_progress"),
        ("options", U8, None, "has_progress", (("ansi", 3, 1),)),
    ),
)

# How devices are asked: an entry of ET11.13 bytes for each.
ET34 = Layout(2082, ())

# M-Bus data types: what ET11.25 counts.
ET57 = Layout(
    2105,
    (
        (
            "types",
            (
                ("kind", U8, None, None, (("type", 0, 2), ("mdt", 2, 5), ("special", 7, 1))),
                ("header", BYTES, 3),
            ),
            "data_types",
        ),
    ),
)

# The extended source ids of sources 112 to 163, one table for all data sets: as many as they use.
ET66 = Layout(2114, (("source", U16),))
FIRST_MAPPED = 112

# Without ET66: ET42, which no layout holds, and whether it has data sets 2 to 4 (ET54.0.2).
ET42 = Layout(2090, ())
ET54_COMPATIBILITY = Layout(2102, ())
MORE_SETS = 4
