"""What a correct reader says of a meter with a given truth (docs/simulator.md), kind by kind, as tuples:

    (whose, UTC seconds, minutes ahead of UTC or None, values by property, faults)

where `whose` is what the meter knows a thing by, and a value is (mantissa, exponent, unit, text, date).
Names, exponents and units are those of the guide's "Source IDs" in the platform's terms, written down here
once more.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gateway.simulator.calendar import LocalTime
from gateway.transmission import registry
from gateway.transmission.model import Event, Series

_RUNS = (
    (0, -3, "kWh", "OBIS_1.8.0 OBIS_2.8.0"),
    (2, -3, "kvarh", "OBIS_3.8.0 OBIS_4.8.0"),
    (4, 0, "s", "OSGP_power_outage_seconds"),
    (5, 0, None, "OSGP_power_outage_count"),
    (6, -3, "kWh", "OBIS_15.8.0 OBIS_16.8.0"),
    (8, -3, "kW", "OBIS_1.7.0 OBIS_2.7.0"),
    (10, -3, "kvar", "OBIS_3.7.0 OBIS_4.7.0"),
    (12, -3, "A", "OBIS_31.7.0 OBIS_51.7.0 OBIS_71.7.0"),
    (15, -3, "V", "OBIS_32.7.0 OBIS_52.7.0 OBIS_72.7.0"),
    (18, -3, None, "OBIS_33.7.0"),
    (19, -3, "Hz", "OBIS_14.7.0"),
    (20, -3, "kVA", "OBIS_9.7.0"),
    (21, -3, None, "OBIS_53.7.0 OBIS_73.7.0"),
    (23, -3, None, "OSGP_sin_phase_angle_1 OSGP_sin_phase_angle_2 OSGP_sin_phase_angle_3"),
    (26, 0, None, "OSGP_pulse_input_1 OSGP_pulse_input_2 OSGP_error_count"),
    (29, -3, "kWh", "OBIS_1.8.1"),
    (40, -3, "kWh", "OBIS_1.8.2"),
    (51, -3, "kWh", "OBIS_1.8.3"),
    (62, -3, "kWh", "OBIS_1.8.4"),
    (81, -3, "kW", "OSGP_primary_1.7.0 OSGP_primary_2.7.0"),
    (83, -3, "kvar", "OSGP_primary_3.7.0 OSGP_primary_4.7.0"),
    (104, -3, "kvar", "OBIS_5.7.0 OBIS_6.7.0 OBIS_7.7.0 OBIS_8.7.0"),
    (108, -3, "kvarh", "OBIS_5.8.0 OBIS_6.8.0 OBIS_7.8.0 OBIS_8.8.0"),
    (185, -3, "kW", "OBIS_21.7.0 OBIS_41.7.0 OBIS_61.7.0 OBIS_22.7.0 OBIS_42.7.0 OBIS_62.7.0"),
    (191, -3, "kW", "OSGP_primary_21.7.0 OSGP_primary_41.7.0 OSGP_primary_61.7.0"),
    (194, -3, "kW", "OSGP_primary_22.7.0 OSGP_primary_42.7.0 OSGP_primary_62.7.0"),
    (197, -3, "A", "OSGP_primary_31.7.0 OSGP_primary_51.7.0 OSGP_primary_71.7.0"),
    (202, -3, "V", "OSGP_continuous_voltage_1 OSGP_continuous_voltage_2 OSGP_continuous_voltage_3"),
    (205, -3, "V", "OBIS_32.5.0 OBIS_52.5.0 OBIS_72.5.0"),
    (208, -3, "kW", "OBIS_1.5.0 OBIS_2.5.0"),
    (210, -3, "kW", "OBIS_21.5.0 OBIS_41.5.0 OBIS_61.5.0 OBIS_22.5.0 OBIS_42.5.0 OBIS_62.5.0"),
    (216, -3, "kVA", " ".join("OSGP_apparent_power_quadrant_%d" % q for q in (1, 2, 3, 4))),
    (220, -3, "kVA", " ".join("OSGP_apparent_power_l1_quadrant_%d" % q for q in (1, 2, 3, 4))),
    (224, -3, "kVA", " ".join("OSGP_apparent_power_l2_quadrant_%d" % q for q in (1, 2, 3, 4))),
    (228, -3, "kVA", " ".join("OSGP_apparent_power_l3_quadrant_%d" % q for q in (1, 2, 3, 4))),
    (232, -3, "A", "OBIS_91.7.0"),
    (233, -3, "A", "OBIS_31.5.0 OBIS_51.5.0 OBIS_71.5.0"),
    (236, -2, "deg", "OSGP_voltage_angle_1 OSGP_voltage_angle_2 OSGP_voltage_angle_3"),
    (239, -3, "kvar", "OBIS_23.7.0 OBIS_43.7.0 OBIS_63.7.0 OBIS_24.7.0 OBIS_44.7.0 OBIS_64.7.0"),
    # M-Bus, by ET57: a water meter's volume, a heat meter's energy and volume.
    (0x4001, -3, "m3", "OSGP_mbus_0_data_type_1"),
    (0x4102, 0, "kWh", "OSGP_mbus_1_data_type_2"),
    (0x4103, -2, "m3", "OSGP_mbus_1_data_type_3"),
)
SOURCES = {
    first + nth: (name, exponent, unit)
    for first, exponent, unit, names in _RUNS
    for nth, name in enumerate(names.split())
}
_IN_BCD = (0x4102, 0x4103)
_ENERGIES = ("kWh", "kvarh", "kVAh")
_TOTALS_ONLY = (4, 5, 26, 27, 28)
_CODE = {8: "1", 9: "2", 10: "3", 11: "4"}  # OBIS C of powers and their demands

# BT64: a channel's status, and those in place of a value.
_STATUSES = {2: "partial", 3: "long", 4: "skipped", 10: "device_missing", 15: "placeholder"}
_VOID = (4, 15)
_COMMON = ("dst", "power_fail", "clock_forward", "clock_backward")


def _number(mantissa, exponent=0, unit=None, date=None):
    return mantissa, exponent, unit, None, date


def _text(text):
    return None, 0, None, text, None


def _seconds(text):
    """Of a time in UTC, or of a local one as if it were."""
    time = datetime.fromisoformat(text)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


class Expected:
    """`told`: the truth; `host_ms`: the gateway's clock; `marks`: faults that each reading has besides."""

    def __init__(self, told, host_ms, marks=()):
        self.told = told
        self.host_ms = host_ms
        self.marks = marks
        self.version = told["identity"]["version"]

    def _entry(self, whose, time, ahead, values, faults=()):
        return whose, time, ahead, values, sorted([*faults, *self.marks])

    def _now(self, whose, values, faults=()):
        return self._entry(whose, self.host_ms // 1000, None, values, faults)

    def _utc(self, local):
        """(seconds, minutes ahead, faults) of a local time: one that was twice is taken for the first."""
        seconds, rules = _seconds(local), LocalTime()
        summer = rules.is_summer(1000 * (seconds - 7200))
        winter = not rules.is_summer(1000 * (seconds - 3600))
        faults = ["OSGP_local_time_ambiguous"] if summer == winter else []
        ahead = 120 if summer else 60
        return seconds - 60 * ahead, ahead, faults

    # What is now.

    def identity(self):
        who = self.told["identity"]
        values = {
            "OBIS_C.1.0": _text(who["serial"]),
            "OSGP_manufacturer": _text(who["manufacturer"]),
            "OSGP_model": _text(who["model"]),
            "OBIS_0.2.0": _text("%d.%02d.%02d" % tuple(who["version"])),
            "OSGP_hardware_version": _text("%d.%02d.%02d" % tuple(who["hardware"])),
            "OSGP_utility_serial_number": _text(who["serial"]),
            "OSGP_manufacturer_serial_number": _text(who["manufacturer_serial"]),
            "OSGP_program_id": _text(who["program_id"].upper()),
            "OBIS_C.1.6": _text("%04X" % who["image_crc"]),
            "OBIS_0.4.2": _number(who["ct_ratio"]),
            "OBIS_0.4.3": _number(who["vt_ratio"]),
        }
        return [self._now(("identity",), values)]

    def clock(self):
        local = self.told["local"]
        drift = 1000 * _seconds(self.told["clock"]) + 500 - self.host_ms
        sign = "+%02d:%02d" % divmod(local["minutes_ahead"], 60)
        values = {
            "OSGP_time_utc": _text(self.told["clock"]),
            "OSGP_time_local": _text(local["time"] + sign),
            "OSGP_clock_drift": _number(drift, -3, "s"),
            "OBIS_C.87.0": _number(local["tier"] + 1),
        }
        return [self._now(("clock",), values, ["OSGP_clock_untrusted"] if abs(drift) > 60_000 else [])]

    def registers(self):
        return [self._now(("registers",), self._blocks(self.told["registers"]))]

    def _shift(self, told):
        return {1: 0, 10: 1, 100: 2}[told["energy_unit"]]

    def _blocks(self, told):
        """The values of a copy of BT23."""
        values = {}
        if told["demand_resets"] is not None:
            values["OBIS_0.1.0"] = _number(told["demand_resets"])
        for tier, counts in enumerate([told["totals"], *told["tiers"]]):
            for place, (source, count) in enumerate(zip(told["sources"], counts, strict=True)):
                if tier and source in _TOTALS_ONLY:
                    continue
                name, exponent, unit = SOURCES[source]
                if place > 14:  # firmware 4: apparent energy, which has no source id of its own
                    unit = "kVAh"
                    name = "OSGP_apparent_energy_quadrant_%d" % (place - 14)
                    name += "_tier_%d" % tier if tier else ""
                if source == 4 and self.version[:2] == [2, 0]:
                    name, unit = "OSGP_power_outage_minutes", "min"
                if tier and name[:5] == "OBIS_":
                    name = name[:-1] + str(tier)
                exponent += self._shift(told) if unit in _ENERGIES else 0
                values[name] = _number(count, exponent, unit)
            for demand in told["demands"][tier]:
                values |= self._demand(demand, tier)
        return values

    def _demand(self, told, tier):
        code = _CODE[told["source"]]
        unit = SOURCES[told["source"]][2]
        date = None if told["stamp"] is None else self._utc(told["stamp"])[:2]
        values = {
            "OBIS_%s.2.%d" % (code, tier): _number(told["cumulative"], -3, unit),
            "OSGP_continuous_%s.2.%d" % (code, tier): _number(told["continuous"], -3, unit),
            "OBIS_%s.6.%d" % (code, tier): _number(told["maximum"], -3, unit, date),
        }
        for source, count in told["coincidents"]:
            name = "OSGP_coincident_%s.7.0_at_%s.6.%d" % (_CODE[source], code, tier)
            values[name] = _number(count, -3, SOURCES[source][2], date)
        return values

    def present(self):
        told = self.told["present"]
        values = {
            "OBIS_%s.4.0" % _CODE[source]: _number(count, -3, SOURCES[source][2])
            for source, count in told["demands"]
        }
        for source, count in told["values"]:
            name, exponent, unit = SOURCES[source]
            values[name] = _number(count, exponent, unit)
        return [self._now(("present",), values)]

    # What is stored.

    def self_reads(self):
        entries = []
        for one in self.told["self_reads"]:
            if one["in_meter"]:
                values = self._blocks(one) | {"OSGP_season": _number(one["season"])}
                if one["billing_definition"] is not None:
                    values["OSGP_billing_definition"] = _number(one["billing_definition"])
                time, ahead, faults = self._utc(one["stamp"])
                entries.append(self._entry(("self-read", one["sequence"]), time, ahead, values, faults))
        return entries

    def load_profile(self):
        told = self.told["load_profile"]
        sets = {
            (each["data_set"], configuration["configuration"]): each
            for configuration in told["configurations"]
            for each in configuration["data_sets"]
        }
        known = self.version[:2] >= [2, 10]  # before that ET21 has no identifier of the configuration
        entries = []
        for one in told["intervals"]:
            if one["in_meter"]:
                configuration = one["configuration"]
                each = sets[one["data_set"], configuration]
                whose = (one["data_set"], configuration if known else 0, one["block"], one["interval"])
                values = self._recorded(one, each)
                entries.append(
                    self._entry(
                        ("interval", *whose), _seconds(one["end"]), None, values, _interval_faults(one, each)
                    )
                )
        return entries

    def _recorded(self, one, each):
        values = {}
        energy = self._shift(self.told["registers"])
        for place, source in enumerate(each["sources"]):
            name, exponent, unit = SOURCES[source]
            exponent += energy if unit in _ENERGIES and source < 0x4000 else 0
            recorded = exponent
            if each["scaling"]:
                # A tenth, or ten times as much, was recorded.
                recorded += {(1, 10): 1, (10, 1): -1}[tuple(each["scaling"][place])]
            if one["statuses"][place] not in _VOID:
                count = one["values"][place]
                values[name] = _number(int("%x" % count) if source in _IN_BCD else count, recorded, unit)
            if one["end_readings"]:
                count = one["end_readings"][place]
                count = int("%x" % count) if source in _IN_BCD else count
                end = "OSGP_end_reading_" + name.removeprefix("OBIS_").removeprefix("OSGP_")
                values[end] = _number(count, exponent, unit)
        return values

    def events(self):
        entries = []
        for one in self.told["events"]["entries"]:
            if one["in_meter"]:
                stamp = datetime.fromisoformat(one["stamp"])
                raw = bytes(
                    [stamp.year % 100, stamp.month, stamp.day, stamp.hour, stamp.minute, stamp.second]
                )
                values = {"code": one["code"], "argument": one["argument"], "user": one["user"]}
                whose = ("event", one["sequence"], raw.hex())
                entries.append(self._entry(whose, _seconds(one["stamp"]), None, values))
        return entries + self.outages()

    def outages(self):
        entries = []
        for one in self.told["outages"]:
            if one["in_meter"]:
                start, start_ahead, faults = self._utc(_local(one["start"]))
                end, ahead, more = self._utc(_local(one["end"]))
                written = datetime.fromtimestamp(start + 60 * start_ahead, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                written += "+%02d:%02d" % divmod(start_ahead, 60)
                values = {
                    "OSGP_power_outage_start": _text(written),
                    "OSGP_power_outage_duration": _number(end - start, 0, "s"),
                }
                entries.append(self._entry(("outage",), end, ahead, values, {*faults, *more}))
        return entries

    def alarms_set(self):
        """{code} of what is set: bits of BT03, and of the devices in ET14."""
        state = {}
        for change in self.told["alarms"]:
            state[8 * change["byte"] + change["bit"]] = change["set"]
        codes = {code for code, is_set in state.items() if is_set}
        for device in self.told["devices"]:
            bits = device["alarms"] | device["device_alarms"] << 16 | (device["status"] in (2, 4)) << 24
            codes |= {256 * (device["device"] + 1) + bit for bit in range(25) if bits >> bit & 1}
        return codes

    def alarms(self, before):
        """What changed against the codes in `before`."""
        after = self.alarms_set()
        return [
            self._now(("alarm", code), {"argument": "01" if code in after else "00"})
            for code in sorted(before ^ after)
        ]

    def telegrams(self):
        entries = []
        for one in self.told["mbus"]:
            if one["in_meter"]:
                time, ahead, faults = self._utc(one["stamp"])
                if one["delayed"] and one["in_meter"] != ["ET16"]:
                    faults.append("OSGP_mbus_late")
                values = {
                    "OSGP_mbus_handle": _number(one["handle"]),
                    "OSGP_mbus_telegram": _text(one["telegram"] + "00"),  # with its end
                    "OSGP_mbus_response_info": _number(0),
                }
                values |= _decoded(one["says"])
                entries.append(self._entry(("telegram", one["handle"]), time, ahead, values, faults))
        return entries

    def devices(self):
        return [
            self._now(
                ("device", one["device"] + 1),
                {
                    "OSGP_mbus_slot": _number(one["device"] + 1),
                    "OSGP_mbus_handle": _number(one["handle"]),
                    "OSGP_mbus_device_status": _number(one["status"]),
                    "OSGP_mbus_alarms": _number(one["alarms"]),
                    "OSGP_mbus_device_alarms": _number(one["device_alarms"]),
                    "OSGP_mbus_read_attempts": _number(one["attempts"]),
                    "OSGP_mbus_read_answers": _number(one["answers"]),
                    "OSGP_mbus_customer_id": _text(one["customer"]),
                },
            )
            for one in self.told["devices"]
        ]


def _local(utc):
    """The local time of an instant, as the meter stores it."""
    seconds = _seconds(utc)
    return (datetime(1970, 1, 1) + timedelta(milliseconds=LocalTime().local_ms(1000 * seconds))).isoformat()


def _interval_faults(one, each):
    faults = ["OSGP_interval_" + name for bit, name in enumerate(_COMMON) if one["common"] >> bit & 1]
    statuses = one["statuses"]
    if min(statuses) == max(statuses):
        return faults + (["OSGP_interval_" + _STATUSES[statuses[0]]] if statuses[0] else [])
    return faults + [
        "OSGP_interval_%s:%s" % (_STATUSES[status], SOURCES[source][0])
        for status, source in zip(statuses, each["sources"], strict=True)
        if status
    ]


def _decoded(says):
    values = {
        "OSGP_mbus_serial_number": _text(says["identification"]),
        "OSGP_mbus_manufacturer": _text(says["maker"]),
        "OSGP_mbus_version": _number(says["version"]),
        "OSGP_mbus_medium": _number(says["medium"]),
        "OSGP_mbus_access_number": _number(says["access"]),
        "OSGP_mbus_status": _number(says["status"]),
        "OSGP_mbus_date_time": _text(says["time"]),
    }
    if "volume_l" in says:
        return values | {
            "OSGP_mbus_fabrication_number": _text(says["identification"]),
            "WATER_volume_of_water": _number(says["volume_l"], -3, "m3"),
            "OSGP_water_flow": _number(says["flow_l_per_h"], -3, "m3/h"),
            "WATER_volume_of_water_storage_1": _number(says["month_volume_l"], -3, "m3"),
            "OSGP_mbus_date_storage_1": _text(says["month"]),
        }
    return values | {
        "OSGP_heat_energy": _number(says["energy_kwh"], 0, "kWh"),
        "OSGP_heat_volume": _number(says["volume_10_l"], -2, "m3"),
        "OSGP_heat_power": _number(says["power_100_w"], -1, "kW"),
        "OSGP_heat_flow_temperature": _number(says["forward_tenth_c"], -1, "degreeCelsius"),
        "OSGP_heat_return_temperature": _number(says["return_tenth_c"], -1, "degreeCelsius"),
        "OSGP_heat_temperature_difference": _number(says["difference_tenth_k"], -1, "K"),
        "OSGP_mbus_on_time": _number(36 * says["on_h"], 2, "s"),
    }


# As `osgp-gateway read --json` writes it.


def lines(entries):
    """(time, values, faults) of what is expected."""
    return sorted(
        (_instant(time, ahead), sorted(_written(whose, values)), faults)
        for whose, time, ahead, values, faults in entries
    )


def lines_said(objects):
    """The same of what was written."""
    return sorted(
        (
            one["readingTime"],
            sorted((v["property"], v["value"], v["unit"] or "", v.get("date", "")) for v in one["values"]),
            sorted(one.get("faults", [])),
        )
        for one in objects
    )


def _instant(seconds, ahead):
    text = datetime.fromtimestamp(seconds + 60 * (ahead or 0), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + ("Z" if ahead is None else "+%02d:%02d" % divmod(ahead, 60))


def _written(whose, values):
    if whose[0] == "event":
        told = {
            "OSGP_event_code": values["code"],
            "OSGP_event_sequence": whose[1],
            "OSGP_event_stamp": whose[2],
            "OSGP_event_argument": values["argument"],
            "OSGP_event_user": values["user"],
        }
        return [(name, str(value), "", "") for name, value in told.items()]
    return [
        (
            name,
            text if mantissa is None else format(Decimal(mantissa).scaleb(exponent), "f"),
            unit or "",
            _instant(*date) if date else "",
        )
        for name, (mantissa, exponent, unit, text, date) in values.items()
    ]


# What was read, in the same form.


def said(items):
    return [
        entry for item in items for entry in (_series(item) if isinstance(item, Series) else [_one(item)])
    ]


def _name(prop):
    return prop if isinstance(prop, str) else registry.name(prop)


def _fault(fault, columns=()):
    if isinstance(fault, int) and fault >= registry.COLUMN_FAULTS:
        of, column = divmod(fault - registry.COLUMN_FAULTS, 32)
        return "%s:%s" % (registry.fault_name(of), _name(columns[column].prop))
    return fault if isinstance(fault, str) else registry.fault_name(fault)


def _one(item):
    faults = sorted(_fault(fault) for fault in item.faults)
    when = item.time.seconds, item.time.offset
    assert item.time.fraction == ""
    if isinstance(item, Event):
        if item.user is None:
            return ("alarm", item.code), *when, {"argument": item.argument.hex()}, faults
        values = {"code": item.code, "argument": item.argument.hex(), "user": item.user}
        return ("event", item.sequence, item.stamp.hex()), *when, values, faults
    values = {
        _name(value.prop): (
            value.mantissa,
            value.exponent,
            value.unit,
            value.text,
            value.date and (value.date.seconds, value.date.offset),
        )
        for value in item.values
    }
    assert len(values) == len(item.values)
    return _whose(item, values), *when, values, faults


def _whose(reading, values):
    if "OSGP_season" in values:
        return "self-read", reading.stored[0]
    if "OSGP_power_outage_start" in values:
        return ("outage",)
    if "OSGP_mbus_slot" in values:
        return "device", values["OSGP_mbus_slot"][0]
    if "OSGP_mbus_telegram" in values:
        return "telegram", values["OSGP_mbus_handle"][0]
    return (("identity",), ("clock",), ("registers",), ("present",))[reading.kind]


def _series(series):
    places = [
        (data_set, configuration, block, first + nth)
        for rows, data_set, configuration, block, first in series.origins
        for nth in range(rows)
    ]
    for row, (place, time) in enumerate(zip(places, series.times, strict=True)):
        values = {
            _name(column.prop): (column.mantissas[row], column.exponent, column.unit, None, None)
            for column in series.columns
            if column.mantissas[row] is not None
        }
        faults = sorted(_fault(fault, series.columns) for at, fault in series.faults if at == row)
        yield ("interval", *place), time, series.offset, values, faults
