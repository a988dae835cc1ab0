"""Registers and present values: BT20 to BT23, BT27, BT28 (MEP guide, chapter 4; BT20 optical guide).

A register block is also what BT25, BT26 and ET41 keep: REGISTERS are BT23's fields.
"""

from ..layout import Layout
from ..types import I32, STIME, TIME, U8

_DIMENSIONS = (
    (
        "flags",
        U8,
        None,
        None,
        (
            ("season", 0, 1),
            ("date_time", 1, 1),
            ("reset_counter", 2, 1),
            ("cumulative", 4, 1),
            ("continuous", 5, 1),
            ("time_remaining", 6, 1),
        ),
    ),
    ("self_read_flags", U8, None, None, (("self_read_sequence", 1, 1),)),
    ("self_reads", U8),
    ("summations", U8),
    ("demands", U8),
    ("coincidents", U8),
    ("occurrences", U8),
    ("tiers", U8),
    ("present_demands", U8),
    ("present_values", U8),
)

# Maximum dimensions (BT20) and actual ones (BT21) have one form.
BT20 = Layout(20, _DIMENSIONS)
BT21 = Layout(21, _DIMENSIONS)

# The most that is believed. The guides know 19 summations, 8 demands with 2 coincidents each, one
# occurrence, 8 tiers and 84 present values (BT21, BT28); newer firmware may bring some more.
LIMITS = (
    ("summations", 32),
    ("demands", 8),
    ("coincidents", 16),
    ("occurrences", 2),
    ("tiers", 8),
    ("present_demands", 8),
    ("present_values", 128),
)

BT22 = Layout(
    22,
    (
        ("summations", U8, "summations"),
        ("demands", U8, "demands"),
        ("maximum", U8, "demand_flag_bytes"),
        ("coincidents", U8, "coincidents"),
        ("coincident_demands", U8, "coincidents"),
    ),
    ("registers",),
)

_DEMAND = (
    ("times", STIME, "demand_times"),
    ("cumulative", I32, None, "cumulative"),
    ("continuous", I32, None, "continuous"),
    ("values", I32, "occurrences"),
)

_BLOCK = (
    ("summations", I32, "summations"),
    ("demands", _DEMAND, "demands"),
    ("coincidents", (("values", I32, "occurrences"),), "coincidents"),
)

REGISTERS = (
    ("demand_resets", U8, None, "reset_counter"),
    ("total", _BLOCK),
    ("tiers", _BLOCK, "tiers"),
)

BT23 = Layout(23, REGISTERS, ("registers",))

BT27 = Layout(
    27,
    (
        ("demands", U8, "present_demands"),
        ("values", U8, "present_values"),
    ),
    ("registers",),
)

BT28 = Layout(
    28,
    (
        ("demands", (("remaining", TIME, None, "time_remaining"), ("value", I32)), "present_demands"),
        ("values", I32, "present_values"),
    ),
    ("registers",),
)
