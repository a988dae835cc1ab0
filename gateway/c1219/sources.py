"""What a source id stands for (MEP guide, BT22, "Source IDs"), as a property of the registry.

Values as the meter counts them (before current and voltage transformer ratios, except in BT23) have the
platform's OBIS properties; sources "post CT/VT ratio" are OSGP_primary_..., averages are the last
completed period's (D = 5). A source that no list knows keeps its number: "OSGP_source_N".
"""

from .._compat import TYPE_CHECKING, const
from ..transmission.registry import exponent, unit
from ..transmission.registry import number as property_number

if TYPE_CHECKING:
    Column = tuple[int | str, int, str | None]

UNUSED = const(255)
PRESENT_DEMAND = const(88)  # the first of eight present and eight previous demands

# Sources with an OBIS code, in runs: first id, how many, C and D of the first, step of C.
# D + 128 is the registry's mark for the primary side.
_OBIS = (
    b"\x00\x04\x01\x08\x01"  # 0 energy: 1.8.0 to 4.8.0
    b"\x06\x02\x0f\x08\x01"  # 6 forward + reverse, forward - reverse: 15.8.0, 16.8.0
    b"\x08\x04\x01\x07\x01"  # 8 power: 1.7.0 to 4.7.0
    b"\x0c\x03\x1f\x07\x14"  # 12 currents: 31.7.0, 51.7.0, 71.7.0
    b"\x0f\x03\x20\x07\x14"  # 15 voltages: 32.7.0, 52.7.0, 72.7.0
    b"\x12\x01\x21\x07\x00"  # 18 power factor L1: 33.7.0
    b"\x13\x01\x0e\x07\x00"  # 19 frequency: 14.7.0
    b"\x14\x01\x09\x07\x00"  # 20 apparent power: 9.7.0
    b"\x15\x02\x35\x07\x14"  # 21 power factors L2, L3: 53.7.0, 73.7.0
    b"\x51\x04\x01\x87\x01"  # 81 power, primary
    b"\x68\x04\x05\x07\x01"  # 104 reactive power by quadrant: 5.7.0 to 8.7.0
    b"\x6c\x04\x05\x08\x01"  # 108 reactive energy by quadrant: 5.8.0 to 8.8.0
    b"\xa4\x03\x20\x03\x14"  # 164 minimum voltages: 32.3.0, 52.3.0, 72.3.0
    b"\xa7\x03\x20\x06\x14"  # 167 maximum voltages: 32.6.0, 52.6.0, 72.6.0
    b"\xaa\x02\x01\x06\x01"  # 170 maximum active power: 1.6.0, 2.6.0
    b"\xac\x04\x05\x06\x01"  # 172 maximum reactive power by quadrant: 5.6.0 to 8.6.0
    b"\xb1\x02\x01\x86\x01"  # 177 maximum active power, primary
    b"\xb3\x03\x15\x86\x14"  # 179 and forward by phase
    b"\xb6\x03\x16\x86\x14"  # 182 and reverse by phase
    b"\xb9\x03\x15\x07\x14"  # 185 forward power: 21.7.0, 41.7.0, 61.7.0
    b"\xbc\x03\x16\x07\x14"  # 188 reverse power: 22.7.0, 42.7.0, 62.7.0
    b"\xbf\x03\x15\x87\x14"  # 191 forward power, primary
    b"\xc2\x03\x16\x87\x14"  # 194 reverse power, primary
    b"\xc5\x03\x1f\x87\x14"  # 197 currents, primary
    b"\xcd\x03\x20\x05\x14"  # 205 average voltages: 32.5.0, 52.5.0, 72.5.0
    b"\xd0\x02\x01\x05\x01"  # 208 average power: 1.5.0, 2.5.0
    b"\xd2\x03\x15\x05\x14"  # 210 average forward power: 21.5.0, 41.5.0, 61.5.0
    b"\xd5\x03\x16\x05\x14"  # 213 average reverse power: 22.5.0, 42.5.0, 62.5.0
    b"\xe8\x01\x5b\x07\x00"  # 232 neutral current: 91.7.0
    b"\xe9\x03\x1f\x05\x14"  # 233 average currents: 31.5.0, 51.5.0, 71.5.0
    b"\xef\x03\x17\x07\x14"  # 239 import reactive power: 23.7.0, 43.7.0, 63.7.0
    b"\xf2\x03\x18\x07\x14"  # 242 export reactive power: 24.7.0, 44.7.0, 64.7.0
)

# The others, packed: first id, how many, the property; numbered from 1 where they are many.
_NAMED = (
    b"\x04\x01OSGP_power_outage_seconds\n"
    b"\x05\x01OSGP_power_outage_count\n"
    b"\x17\x03OSGP_sin_phase_angle\n"
    b"\x1a\x02OSGP_pulse_input\n"
    b"\x1c\x01OSGP_error_count\n"
    b"\x49\x08OSGP_mep_counter\n"
    b"\x58\x08OSGP_present_demand\n"
    b"\x60\x08OSGP_previous_demand\n"
    b"\xb0\x01OSGP_source_time\n"
    b"\xc9\x01OSGP_interval_time_adjustment\n"
    b"\xca\x03OSGP_continuous_voltage\n"
    b"\xd8\x04OSGP_apparent_power_quadrant\n"
    b"\xdc\x04OSGP_apparent_power_l1_quadrant\n"
    b"\xe0\x04OSGP_apparent_power_l2_quadrant\n"
    b"\xe4\x04OSGP_apparent_power_l3_quadrant\n"
    b"\xec\x03OSGP_voltage_angle\n"
)

# Sources 29 to 72 are the eleven summations of tiers 1 to 4, in this order of total sources.
_TIER_FIRST = const(29)
_TIER_LAST = const(72)
_TIER_TOTALS = b"\x00\x01\x02\x03\x04\x05\x06\x07\x1a\x1b\x1c"
_TIER_NAMED = (
    b"\x04\x01OSGP_tier_power_outage_minutes\n"
    b"\x05\x01OSGP_tier_power_outage_count\n"
    b"\x1a\x01OSGP_pulse_input_1_tier\n"
    b"\x1b\x01OSGP_pulse_input_2_tier\n"
    b"\x1c\x01OSGP_tier_error_count\n"
)

# BT23's and BT28's order where BT22 and BT27 are absent: first and last id of each run. Summations 15 to
# 18, apparent energy by quadrant, have no source id.
SUMMATION_ORDER = b"\x00\x07\x1a\x1c\x6c\x6f"
PRESENT_ORDER = b"\x08\x19\x51\x54\x68\x6b\xb9\xc7\xca\xf4"
APPARENT_ENERGY = const(15)


def default_order(runs: bytes, count: int) -> bytes:
    """The first `count` source ids of the guide's order, UNUSED where the guide names none."""
    order = bytearray()
    for i in range(0, len(runs), 2):
        order.extend(bytes(range(runs[i], runs[i + 1] + 1)))
    while len(order) < count:
        order.append(UNUSED)
    return bytes(order[:count])


def obis_of(source: int) -> "tuple[int, int] | None":
    """(C, D) of a source with an OBIS code, else None."""
    for i in range(0, len(_OBIS), 5):
        nth = source - _OBIS[i]
        if 0 <= nth < _OBIS[i + 1]:
            return _OBIS[i + 2] + nth * _OBIS[i + 4], _OBIS[i + 3]
    return None


def obis_name(c: int, d: int, e: int) -> str:
    if d > 127:
        return "OSGP_primary_%d.%d.%d" % (c, d - 128, e)
    return "OBIS_%d.%d.%d" % (c, d, e)


def _listed(names: bytes, source: int) -> "tuple[str, int, int] | None":
    """What a list calls a source, how many it calls so, and the how manieth this one is; None where it is in
    none."""
    at = 0
    while at < len(names):
        end = names.find(b"\n", at)
        nth = source - names[at]
        if 0 <= nth < names[at + 1]:
            return names[at + 2 : end].decode(), names[at + 1], nth + 1
        at = end + 1
    return None


def name_of(source: int, tier: int = 0) -> str:
    """The property's name of a source's total (tier 0), or of a summation's share in tier 1 to 8."""
    if _TIER_FIRST <= source <= _TIER_LAST:
        tier, nth = divmod(source - _TIER_FIRST, 11)
        return name_of(_TIER_TOTALS[nth], tier + 1)
    listed = _listed(_TIER_NAMED, source) if tier else None
    if listed:
        return "%s_%d" % (listed[0], tier)
    code = obis_of(source)
    if code:
        return obis_name(code[0], code[1], tier)
    listed = _listed(_NAMED, source)
    if listed:
        return listed[0] if listed[1] == 1 else "%s_%d" % (listed[0], listed[2])
    return "OSGP_source_%d" % source


def demand_name(source: int, demands: bytes) -> "tuple[str, str | None]":
    """Property of a demand of the current or the last completed period (OBIS D = 4 and 5), and one that
    it counts like. Sources 88 to 103 are the present and previous values of what `demands` (BT22) selects."""
    d, chosen = 4, source
    if PRESENT_DEMAND <= source < PRESENT_DEMAND + 16:
        nth = source - PRESENT_DEMAND
        if nth >= 8:
            d, nth = 5, nth - 8
        if nth >= len(demands):
            return name_of(source), None
        chosen = demands[nth]
    code = obis_of(chosen)
    if code is None:
        return name_of(source), None
    return obis_name(code[0], d, 0), "OBIS_%d.7.0" % code[0]


_NOTHING = const(0xFFFF)
_FIRST_NAME = const(0xF000)  # above the registry's numbers


class Columns:
    """(property, exponent, unit) of each column, or None for one that carries nothing: a sequence, packed,
    four bytes each, because a table has hundreds and they are kept."""

    def __init__(self) -> None:
        self._packed = bytearray()
        self._names: list[str] = []  # properties that the registry lacks
        self._units: list[str] = []

    def append(self, column: "Column | None") -> None:
        number, exponent, place = _NOTHING, 0, 0
        if column is not None:
            prop, exponent, unit = column
            if isinstance(prop, int):
                number = prop
            else:
                number = _FIRST_NAME + len(self._names)
                self._names.append(prop)
            if unit is not None:
                if unit not in self._units:
                    self._units.append(unit)
                place = self._units.index(unit) + 1
        self._packed.extend(bytes((number >> 8, number & 0xFF, exponent & 0xFF, place)))

    def __len__(self) -> int:
        return len(self._packed) >> 2

    def used(self) -> int:
        """How many of them carry something."""
        count = 0
        for i in range(0, len(self._packed), 4):
            if self._packed[i] << 8 | self._packed[i + 1] != _NOTHING:
                count += 1
        return count

    def __getitem__(self, i: int) -> "Column | None":
        at = 4 * (i if i >= 0 else i + len(self))
        if not 0 <= at < len(self._packed):
            raise IndexError(i)
        number = self._packed[at] << 8 | self._packed[at + 1]
        if number == _NOTHING:
            return None
        exponent, place = self._packed[at + 2], self._packed[at + 3]
        return (
            number if number < _FIRST_NAME else self._names[number - _FIRST_NAME],
            exponent - 256 if exponent & 0x80 else exponent,
            self._units[place - 1] if place else None,
        )


class Resolver:
    """Properties of a table's columns, each at most once in a reading.

    What comes a second time gets its name with "_2" and so on: two demands of one source, or a second
    occurrence, are different values. `shift` is added to the exponents of energy, which the meter
    may count in units of 10 or 100 (ET55). The guide says so of Wh and varh, in words older than the
    registers for VAh; those have the same digits to roll over in, so the same unit is taken for them.
    """

    def __init__(self, shift: int = 0) -> None:
        self.columns = Columns()
        self._shift = shift
        self._taken: set[int | str] = set()

    def skip(self) -> None:
        self.columns.append(None)

    def add(self, name: str, like: "str | None" = None) -> None:
        """Append a property with the exponent and unit that OSGP meters count it in, by the registry;
        one that the registry lacks counts as the property `like`."""
        number = property_number(name)
        prop = name if number is None else number
        nth = 1
        while prop in self._taken:
            nth += 1
            prop = "%s_%d" % (name, nth)
        self._taken.add(prop)
        if number is None and like:
            number = property_number(like)
        if number is None:
            self.columns.append((prop, 0, None))
            return
        shown = unit(number)
        shift = self._shift if shown in ("kWh", "kvarh", "kVAh") else 0
        self.columns.append((prop, exponent(number) + shift, shown))
