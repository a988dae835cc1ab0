"""What Home Assistant has to be told of a meter: MQTT discovery messages. Loaded for that only."""

import json

from .._compat import TYPE_CHECKING
from . import registry, topics
from .ids import format_uuid
from .live import live_topic

if TYPE_CHECKING:
    from typing import Any

# By unit of the registry: unit, device class, state class and digits that are shown, as Home Assistant knows
# them (its sensor integration, SensorDeviceClass and the units that go with each); then how many places the
# value is shifted, because it has no such unit with a "k" in every version.
_UNITS: "dict[str, tuple[str, str, str, int, int]]" = {
    "kWh": ("kWh", "energy", "total_increasing", 2, 0),
    "kvarh": ("kvarh", "", "total_increasing", 2, 0),
    "kVAh": ("kVAh", "", "total_increasing", 2, 0),
    "kW": ("W", "power", "measurement", 0, 3),
    "kvar": ("var", "reactive_power", "measurement", 0, 3),
    "kVA": ("VA", "apparent_power", "measurement", 0, 3),
    "A": ("A", "current", "measurement", 2, 0),
    "V": ("V", "voltage", "measurement", 1, 0),
    "Hz": ("Hz", "frequency", "measurement", 2, 0),
    "min": ("min", "duration", "total_increasing", 0, 0),
    "s": ("s", "duration", "measurement", 1, 0),
    "deg": ("\xb0", "", "measurement", 1, 0),
}
# OBIS value group C below 20; beyond, 20 for each phase.
_WHAT = (
    "",
    "import",
    "export",
    "reactive import",
    "reactive export",
    "reactive quadrant 1",
    "reactive quadrant 2",
    "reactive quadrant 3",
    "reactive quadrant 4",
    "apparent import",
    "apparent export",
    "current",
    "voltage",
    "power factor",
    "frequency",
    "import and export",
    "net import",
)
_PHASES = ("", " L1", " L2", " L3", " N")
# Group D.
_MODES = {2: "cumulative demand", 4: "average demand", 5: "last demand", 6: "maximum", 7: "", 8: "energy"}
_NET = 16
_POWER_FACTOR = 13


class Device:
    """A meter as Home Assistant sees it. `identity`: manufacturer and serial number; `status`: the topic of
    the gateway's own status; `version`: of the program."""

    def __init__(
        self, meter: bytes, name: str, identity: str, concentrator: "str | None", status: str
    ) -> None:
        manufacturer, _, serial = identity.rpartition(" ")
        uuid = format_uuid(meter)
        self._meter = meter
        self._id = "osgp_" + uuid.replace("-", "")
        self._concentrator = concentrator
        self._device = {
            "identifiers": [self._id],
            "name": name,
            "manufacturer": manufacturer,
            "serial_number": serial,
        }
        # Of the meter the state stands there; while the gateway is gone, its word is the last will's.
        self._availability = [
            {
                "topic": topics.topic(meter, topics.STATUS, concentrator),
                "value_template": _ONE_OF % "['working', 'idle']",
            },
            {"topic": status, "value_template": _ONE_OF % "['online']"},
        ]

    def message(self, prefix: str, kind: int, prop: int) -> "tuple[str, bytes] | None":
        """Topic and payload, to be retained, for a property that comes with readings of `kind`; None for what
        is no number with a meaning of its own."""
        name = registry.name(prop)
        about = describe(prop)
        if name is None or about is None:
            return None
        unit, device_class, state_class, digits, shift = about[1:]
        key = "%s_%s" % (self._id, name.replace(".", "_"))
        value = "value_json['%s']" % name
        message: dict[str, Any] = {
            "name": about[0],
            "unique_id": key,
            "state_topic": live_topic(self._meter, kind, self._concentrator),
            "value_template": "{{ %s }}"
            % (value if not shift else "(%s * 1%s) | round(3)" % (value, "0" * shift)),
            "suggested_display_precision": digits,
            "availability": self._availability,
            "availability_mode": "all",
            "device": self._device,
            "origin": {"name": "osgp-gateway"},
        }
        for field, given in (
            ("unit_of_measurement", unit),
            ("device_class", device_class),
            ("state_class", state_class),
        ):
            if given:
                message[field] = given
        if name == "OSGP_clock_drift":
            message["entity_category"] = "diagnostic"
        return "%s/sensor/%s/%s/config" % (prefix, self._id, name.replace(".", "_")), json.dumps(
            message
        ).encode()


_ONE_OF = "{{ 'online' if value_json.state in %s else 'offline' }}"


def describe(prop: int) -> "tuple[str, str, str, str, int, int] | None":
    """Name, unit, device class, state class, digits shown and places shifted; None for what is not shown."""
    name = registry.name(prop)
    if name is None:
        return None
    if name == "OSGP_clock_drift":
        return ("clock drift",) + _UNITS["s"]
    unit = registry.unit(prop) or ""
    if not name.startswith("OBIS_"):
        return None
    groups = name[5:].split(".")
    if not all(group.isdigit() for group in groups):
        return None
    c, d, e = [int(group) for group in groups]
    kind = c % 20 if c > 20 else c
    if not 0 < kind < len(_WHAT) or d not in _MODES or c // 20 >= len(_PHASES):
        return None
    if kind == _POWER_FACTOR:
        known = ("", "power_factor", "measurement", 2, 0)
    elif unit in _UNITS:
        known = _UNITS[unit]
    else:
        return None
    if known[2] == "total_increasing" and kind == _NET:
        known = known[:2] + ("total",) + known[3:]
    words = _WHAT[kind] + (_PHASES[c // 20] if c > 20 else "")
    mode = _MODES[d]
    if not mode and known[1].endswith("power"):
        mode = "power"
    if mode:
        words += " " + mode
    if e:
        words += " tariff %d" % e
    return (words,) + known
