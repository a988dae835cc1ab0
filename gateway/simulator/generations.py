"""Firmware generations as data: what differs between the meters that are in the field.

MEP guide, chapter 4, BT00, BT21, BT28, BT50, ET11, ET55; optical guide, BT20, BT23 and BT28 (BT20 alone up
to 2.10, outages in minutes in 2.0, 22 present values from 2.12), ET11 (what grew when).
"""

from dataclasses import dataclass, replace

from ..errors import ConfigurationError

SUMMATION_COUNTS = (11, 15, 19)
TIER_COUNTS = (4, 8)
MAX_DEMANDS = 8


@dataclass(frozen=True)
class Generation:
    """The dimensions a meter has as it leaves the factory. `version` is major, minor, build."""

    version: tuple[int, int, int]
    summations: int
    present_values: int
    has_bt21: bool = True
    max_summations: int = 15
    tiers: int = 4
    self_reads: int = 253
    demands: int = 0
    # Flags of BT20.0 that came with demand registers in 3.10.
    knows_demand: bool = True
    ct_ratio: int = 1
    vt_ratio: int = 1
    energy_unit: int = 1
    transaction_request_bytes: int = 768
    dimension_bytes: int = 24  # ET11
    system_bytes: int = 123  # ET04
    status_bytes: int = 91  # ET54
    has_load_profile_map: bool = False  # ET66, with several data sets from 3.50
    alarm_bytes: int = 9  # BT00.17
    events: int = 100  # BT71.5
    alternate_events: int = 60  # ET54.80, from firmware 3.70 on
    recurring_reads: int = 30  # ET36, entries of ET45
    extended_reads: int = 0  # ET54.69, entries of ET74, from firmware 3.60 on
    outage_entries: int = 20  # ET36, entries of ET81, from firmware 3.70 on

    @property
    def number(self) -> tuple[int, int]:
        return self.version[:2]

    @property
    def gen4(self) -> bool:
        return self.version[0] >= 4

    @property
    def outage_unit_seconds(self) -> int:
        """What BT23 counts the time without power in."""
        return 60 if self.number == (2, 0) else 1

    @property
    def packed_version(self) -> int:
        """BT01.14, MSB first: 4 bits major, 7 bits minor, 5 bits build."""
        major, minor, build = self.version
        return major << 12 | minor << 5 | build

    @property
    def coincidents(self) -> int:
        """Two for each demand (BT21.5)."""
        return 2 * self.demands


_BASE_2 = Generation(
    (2, 0, 9), 11, 18, has_bt21=False, self_reads=12, max_summations=11, knows_demand=False, alarm_bytes=4
)
_BASE_3 = Generation((3, 0, 24), 11, 22, self_reads=214, knows_demand=False)
_BASE_35 = Generation(
    (3, 50, 7), 11, 41, transaction_request_bytes=896, dimension_bytes=32, has_load_profile_map=True
)
_BASE_37 = replace(_BASE_35, version=(3, 70, 12), present_values=55, tiers=8)
_BASE_4 = replace(
    _BASE_37,
    version=(4, 0, 11),
    summations=19,
    max_summations=19,
    present_values=72,
    dimension_bytes=38,
    system_bytes=140,
    status_bytes=141,
    events=200,
)

GENERATIONS = {
    "2.0": _BASE_2,
    "2.10": replace(_BASE_2, version=(2, 10, 3), self_reads=24),
    "2.12": replace(_BASE_2, version=(2, 12, 4), self_reads=24, present_values=22, has_bt21=True),
    "3.0": _BASE_3,
    "3.10": Generation((3, 10, 21), 11, 26),
    "3.50": _BASE_35,
    "3.70": _BASE_37,
    "3.80": replace(_BASE_37, version=(3, 80, 5), tiers=4, system_bytes=129),
    "4.0": _BASE_4,
    "4.10": replace(_BASE_4, version=(4, 10, 2), present_values=75, status_bytes=145),
    "4.30": replace(_BASE_4, version=(4, 30, 6), present_values=84, status_bytes=150, dimension_bytes=39),
}
DEFAULT_FIRMWARE = "3.80"


def generation(
    firmware: str = DEFAULT_FIRMWARE,
    *,
    summations: int | None = None,
    tiers: int | None = None,
    present_values: int | None = None,
    demands: int = 0,
    ct_ratio: int = 1,
    vt_ratio: int = 1,
    energy_unit: int = 1,
) -> Generation:
    """The generation `firmware`, with another configuration where one is named.

    Raises ConfigurationError for what no meter has.
    """
    base = GENERATIONS.get(firmware)
    if base is None:
        raise ConfigurationError("firmware %s: known are %s" % (firmware, ", ".join(GENERATIONS)))
    if summations is None:
        summations = base.max_summations if demands else base.summations
    made = replace(
        base,
        summations=summations,
        max_summations=max(summations, base.max_summations),
        tiers=tiers or base.tiers,
        present_values=present_values or base.present_values,
        demands=demands,
        ct_ratio=ct_ratio,
        vt_ratio=vt_ratio,
        energy_unit=energy_unit,
    )
    if made.summations not in SUMMATION_COUNTS:
        raise ConfigurationError("summations %d: a meter has 11, 15 or 19" % made.summations)
    if made.tiers not in TIER_COUNTS:
        raise ConfigurationError("tiers %d: a meter has 4 or 8" % made.tiers)
    if not 18 <= made.present_values <= 84:
        raise ConfigurationError("present values %d: a meter has 18 to 84" % made.present_values)
    if not 0 <= made.demands <= (MAX_DEMANDS if made.knows_demand else 0):
        raise ConfigurationError(
            "demands %d: a meter has 0 to 8, and none before firmware 3.10" % made.demands
        )
    if made.energy_unit not in (1, 10, 100) or (made.energy_unit > 1 and made.number < (3, 70)):
        raise ConfigurationError(
            "energy unit %d: a meter counts in 1, and from firmware 3.70 in 10 or 100" % made.energy_unit
        )
    if ct_ratio < 1 or vt_ratio < 1:
        raise ConfigurationError("transformer ratios are whole numbers of at least 1")
    return made
