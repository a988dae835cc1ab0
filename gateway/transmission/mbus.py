"""M-Bus telegrams into values with units (EN 13757-3), for the cloud and the command line. CPython only.

A telegram is what the meter keeps of a device's answer (MEP guide, ET16): a header of 12 bytes, data records
and a closing zero, or the fixed structure of 16 bytes. Boards send it raw. pyMeterBus takes it apart and says
what each record is; the numbers are taken from the bytes themselves, because it would round them.

Water is WATER_..., gas and heat OSGP_gas_... and OSGP_heat_..., all else OSGP_mbus_.... A record that is not
the present value says so behind that: "_storage_1", "_tariff_2", "_unit_1", "_maximum", "_minimum", "_error".
Where a gas meter tells its volume at base conditions and as it counted it, the latter is "_uncorrected".
Values that the device marks as wrong, and records that only their manufacturer understands, are left out;
they stand in the raw telegram.
"""

import struct
from decimal import Decimal
from functools import cache

from meterbus.core_objects import FunctionType, MeasureUnit, VIFTable
from meterbus.exceptions import MBusFrameDecodeError
from meterbus.telegram_body import TelegramBody
from meterbus.telegram_variable_data_record import TelegramVariableDataRecord

from ..errors import FrameError
from .model import MBUS, Reading, Value
from .registry import fault_number, number
from .registry import name as property_name

MAX_TELEGRAM = 255  # its length is one byte

_HEADER = 12
_FIXED = 16
# ET16, response info.
_MOST_SIGNIFICANT_FIRST = 1
_FIXED_STRUCTURE = 2
_DECRYPTED = 4

_MEDIA = {3: "gas", **dict.fromkeys((4, 10, 11, 12, 13), "heat")}
_MEDIA |= dict.fromkeys((6, 7, 0x15, 0x16, 0x17, 0x28), "water")
_FIXED_MEDIA = {3: "gas", 4: "heat", 5: "heat", 6: "water", 7: "water"}

# What pyMeterBus calls the quantity of a VIF, where our word is another.
_QUANTITIES = {
    "ENERGY_WH": "energy",
    "ENERGY_J": "energy",
    "POWER_W": "power",
    "POWER_J_H": "power",
    "VOLUME_FLOW": "flow",
    "VOLUME_FLOW_EXT": "flow",
    "VOLUME_FLOW_EXT_S": "flow",
    "FABRICATION_NO": "fabrication_number",
    "DATE_TIME_GENERAL": "date_time",
    "Energy": "energy",
    "Volume": "volume",
    "Mass": "mass",
    "Power": "power",
}
# Quantities by medium with a property of another name, or of the platform's.
_NAMES = {
    "water_volume": "WATER_volume_of_water",
    "water_flow_temperature": "WATER_water_inlet_temperature",
}
_OF_MEDIUM = {
    "water": ("flow", "volume", "flow_temperature"),
    "gas": ("flow", "volume"),
    "heat": (
        "energy",
        "volume",
        "power",
        "flow",
        "flow_temperature",
        "return_temperature",
        "temperature_difference",
    ),
}
# Our unit and the exponent that makes it of the device's.
_UNITS: dict[MeasureUnit, tuple[str | None, int]] = {
    MeasureUnit.WH: ("kWh", -3),
    MeasureUnit.J: ("MJ", -6),
    MeasureUnit.W: ("kW", -3),
    MeasureUnit.J_H: ("MJ/h", -6),
    MeasureUnit.M3: ("m3", 0),
    MeasureUnit.M3_H: ("m3/h", 0),
    MeasureUnit.M3_MIN: ("m3/min", 0),
    MeasureUnit.M3_S: ("m3/s", 0),
    MeasureUnit.C: ("degreeCelsius", 0),
    MeasureUnit.SECONDS: ("s", 0),
    MeasureUnit.HCA: (None, 0),
    MeasureUnit.NONE: (None, 0),
}
# Of the second tables of VIFs (0xFB, 0xFD): what is needed, and right in the library.
_EXTENDED = {0x200, 0x201, 0x210, 0x211, 0x218, 0x219, 0x21A, 0x228, 0x229, 0x10C, 0x10D, 0x10E, 0x10F, 0x117}
_EXTENDED |= set(range(0x140, 0x162))
_GIGAJOULE = {0x208: 8, 0x209: 9}  # 10^n J, which the library leaves without a unit
_RESERVED = (0x6F, 0x7C, 0x7D, 0x7E, 0x7F, 0x7B)
_CORRECTIONS = range(0x70, 0x78)  # VIFE: times 10^(n - 6)
_UNCORRECTED = 0x3A  # VIFE: not converted to base conditions, as many gas meters count
_FUNCTIONS = {
    FunctionType.INSTANTANEOUS_VALUE: "",
    FunctionType.MAXIMUM_VALUE: "_maximum",
    FunctionType.MINIMUM_VALUE: "_minimum",
    FunctionType.ERROR_STATE_VALUE: "_error",
}
# Units of the fixed structure: first code, quantity, unit, exponent of the first; each goes up by tens.
_FIXED_UNITS = (
    (0x02, 9, "energy", "kWh", -3),
    (0x0B, 9, "energy", "MJ", -3),
    (0x14, 9, "power", "kW", -3),
    (0x1D, 9, "power", "MJ/h", -3),
    (0x26, 9, "volume", "m3", -6),
    (0x2F, 9, "flow", "m3/h", -6),
)
_FIXED_HISTORIC = 0x3E  # as the first counter, at a fixed date
_MAX_MANTISSA = 1 << 63


def is_encrypted(telegram: bytes, info: int = 0) -> bool:
    """Whether the records are encrypted still: the signature names a mode and the meter had no key."""
    return (
        not info & (_DECRYPTED | _FIXED_STRUCTURE)
        and len(telegram) >= _HEADER
        and bool(_mode(telegram, info))
    )


def decode(telegram: bytes, info: int = 0) -> list[Value]:
    """What the telegram says: serial number, manufacturer, version, medium, access number and status of the
    device, and its records. `info`: ET16's response info. Raises FrameError for what is no telegram, or an
    encrypted one."""
    if len(telegram) > MAX_TELEGRAM:
        raise FrameError(f"an M-Bus telegram of {len(telegram)} bytes; at most {MAX_TELEGRAM} are possible")
    values = _fixed(telegram, info) if info & _FIXED_STRUCTURE else _variable(telegram, info)
    known = set()
    single = []
    for value in values:
        if value.prop not in known:  # records that say the same twice: the first counts
            known.add(value.prop)
            single.append(value)
    return single


def enrich(reading: Reading) -> Reading:
    """The reading with the values of its raw telegram behind its own, or with a fault code that says why
    there are none. Readings without a telegram come back as they are."""
    if reading.kind != MBUS:
        return reading
    raw = info = None
    for value in reading.values:
        if value.prop == number("OSGP_mbus_telegram"):
            raw = value.text
        elif value.prop == number("OSGP_mbus_response_info"):
            info = value.mantissa
    if raw is None:
        return reading
    values = list(reading.values)
    faults = list(reading.faults)
    try:
        telegram = bytes.fromhex(raw)
        if is_encrypted(telegram, info or 0):
            _add_fault(faults, "OSGP_mbus_encrypted")
            values += _header(telegram, info or 0)
        else:
            values += decode(telegram, info or 0)
    except (FrameError, ValueError):
        _add_fault(faults, "OSGP_mbus_undecodable")
    return Reading(
        reading.kind, reading.time, values, faults, reading.stored, reading.identifier, reading.source
    )


def _add_fault(faults: list[int | str], name: str) -> None:
    known = fault_number(name)
    faults.append(name if known is None else known)


def _variable(telegram: bytes, info: int) -> list[Value]:
    if len(telegram) < _HEADER:
        raise FrameError(f"an M-Bus telegram of {len(telegram)} bytes; its header alone has {_HEADER}")
    if is_encrypted(telegram, info):
        raise FrameError(f"an M-Bus telegram encrypted in mode {_mode(telegram, info)}; its key is not here")
    body = TelegramBody()
    try:
        body.load([0x76 if info & _MOST_SIGNIFICANT_FIRST else 0x72, *telegram])
        values = _header(telegram, info)
        medium = _MEDIA.get(telegram[7], "mbus")
        uncorrected: list[Value] = []
        for record in body.bodyPayload.records:
            value = _record(record, medium)
            if value:
                (uncorrected if _is_uncorrected(record.vib.parts) else values).append(value)
        values += _apart(uncorrected, {value.prop for value in values})
    except (MBusFrameDecodeError, IndexError, KeyError, ValueError, TypeError) as error:
        raise FrameError(f"an M-Bus telegram whose records can't be told apart: {error!r}") from None
    return values


def _is_uncorrected(vib: list[int]) -> bool:
    return any(vife & 0x7F == _UNCORRECTED for vife in vib[2 if vib[0] in (0xFB, 0xFD) else 1 :])


def _apart(values: list[Value], taken: set[int | str]) -> list[Value]:
    """The values, under names of their own where these are `taken`."""
    for value in values:
        if value.prop in taken:
            known = property_name(value.prop) if isinstance(value.prop, int) else value.prop
            value.prop = f"{known}_uncorrected"
    return values


def _mode(telegram: bytes, info: int) -> int:
    """Of the signature; the bits below are about wireless transmission."""
    return telegram[10 if info & _MOST_SIGNIFICANT_FIRST else 11] & 0x1F


def _header(telegram: bytes, info: int) -> list[Value]:
    serial, maker = telegram[:4], telegram[4:6]
    if not info & _MOST_SIGNIFICANT_FIRST:
        serial, maker = serial[::-1], maker[::-1]
    letters = int.from_bytes(maker, "big")
    name = "".join(chr((letters >> shift & 31) + 64) for shift in (10, 5, 0))
    return [
        _value("OSGP_mbus_serial_number", text=serial.hex()),
        _value("OSGP_mbus_manufacturer", text=name),
        _value("OSGP_mbus_version", telegram[6]),
        _value("OSGP_mbus_medium", telegram[7]),
        _value("OSGP_mbus_access_number", telegram[8]),
        _value("OSGP_mbus_status", telegram[9]),
    ]


def _value(
    name: str,
    mantissa: int | None = None,
    exponent: int = 0,
    unit: str | None = None,
    text: str | None = None,
) -> Value:
    known = number(name)
    return Value(name if known is None else known, mantissa, exponent, unit, text)


def _name(medium: str, quantity: str) -> str:
    if quantity not in _OF_MEDIUM.get(medium, ()):
        return f"OSGP_mbus_{quantity}"
    return _NAMES.get(f"{medium}_{quantity}", f"OSGP_{medium}_{quantity}")


@cache
def _factor(factor: float) -> tuple[int, int]:
    """A factor of the library's table as an integer and an exponent: 0.001 is 1, -3 and 3600.0 is 36, 2."""
    _, digits, exponent = Decimal(repr(factor)).normalize().as_tuple()
    return int("".join(map(str, digits))), int(exponent)


def _meaning(vib: list[int]) -> tuple[str, str | None, int, int] | None:
    """Quantity, unit, factor and exponent of a value information block; None for what is not known."""
    vif, more = vib[0], vib[1:]
    code = vif & 0x7F
    if vif in (0xFB, 0xFD):
        code = more[0] & 0x7F | (0x200 if vif == 0xFB else 0x100)
        more = more[1:]
        if code in _GIGAJOULE:
            return ("energy", "MJ", 1, _GIGAJOULE[code] - 6) if not more else None
        if code not in _EXTENDED:
            return None
    elif code in _RESERVED:
        return None
    factor, unit, kind = VIFTable.lut[code]
    mantissa, exponent = _factor(float(factor))
    for vife in more:
        if vife & 0x7F == _UNCORRECTED:
            continue
        if vife & 0x7F not in _CORRECTIONS:
            return None  # it would change what the value means
        exponent += (vife & 7) - 6
    quantity = kind if isinstance(kind, str) else kind.name
    ours, shift = _UNITS.get(unit, (unit.value, 0))
    return _QUANTITIES.get(quantity, quantity.lower()), ours, mantissa, exponent + shift


def _record(record: TelegramVariableDataRecord, medium: str) -> Value | None:
    vib = record.vib.parts
    function = _FUNCTIONS.get(record.dib.function_type)
    raw = bytes(record.dataField.parts)
    if not vib or function is None or not raw:
        return None
    meaning = _meaning(vib)
    if meaning is None:
        return None
    quantity, unit, factor, exponent = meaning
    storage, tariff, device = record.dib.parse_dife()
    name = _name(medium, quantity)
    name += f"_storage_{storage}" if storage else ""
    name += f"_tariff_{tariff}" if tariff else ""
    name += f"_unit_{device}" if device else ""
    name += function
    coding = record.dib.parts[0] & 15
    if quantity in ("date", "date_time"):
        text = _date(raw)
        return _value(name, text=text) if text else None
    if coding == 13:
        text = raw[::-1].decode("latin-1")
        return _value(name, text=text) if text.isprintable() else None
    if quantity == "fabrication_number" and coding > 8:
        return _value(name, text=raw[::-1].hex())
    numbers = _number(raw, coding)
    if numbers is None or abs(numbers[0] * factor) >= _MAX_MANTISSA:
        return None
    return _value(name, numbers[0] * factor, numbers[1] + exponent, unit)


def _number(raw: bytes, coding: int) -> tuple[int, int] | None:
    """Mantissa and exponent of a record's bytes; None when the device marks them as wrong."""
    size = {1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 8, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}.get(coding)
    if size != len(raw):
        return None
    if coding < 8 and coding != 5:
        value = int.from_bytes(raw, "little", signed=True)
        return None if size > 1 and value == -1 << 8 * size - 1 else (value, 0)
    if coding == 5:
        return _real(raw)
    return _bcd(raw)


def _bcd(raw: bytes) -> tuple[int, int] | None:
    digits = raw[::-1].hex()
    negative = digits[0] == "f"
    digits = digits[1:] if negative else digits
    if not digits.isdecimal():
        return None
    return (-int(digits) if negative else int(digits)), 0


def _real(raw: bytes) -> tuple[int, int] | None:
    """The shortest decimal that is this single-precision number and no other."""
    value = struct.unpack("<f", raw)[0]
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if text.lstrip("-") in ("inf", "nan"):
            return None
        if struct.pack("<f", float(text)) == raw or digits == 9:
            break
    sign, figures, exponent = Decimal(text).as_tuple()
    mantissa = int("".join(map(str, figures)))
    return (-mantissa if sign else mantissa), int(exponent)


def _date(raw: bytes) -> str | None:
    """Types G (2 bytes), F (4) and I (6): date, with minutes, with seconds; None for what is none."""
    if len(raw) not in (2, 4, 6):
        return None
    at = {2: 0, 4: 2, 6: 3}[len(raw)]
    low, high = raw[at], raw[at + 1]
    year, month, day = high >> 4 << 3 | low >> 5, high & 15, low & 31
    if year > 99 or not 1 <= month <= 12 or not 1 <= day <= 31:
        return None
    text = f"20{year:02d}-{month:02d}-{day:02d}" if year <= 80 else f"19{year:02d}-{month:02d}-{day:02d}"
    if len(raw) == 2:
        return text
    seconds = raw[0] & 63 if len(raw) == 6 else 0
    minute, hour = raw[at - 2] & 63, raw[at - 1] & 31
    invalid = raw[at - 2] & 0x80 if len(raw) == 4 else 0
    if invalid or hour > 23 or minute > 59 or seconds > 59:
        return None
    return f"{text}T{hour:02d}:{minute:02d}" + (f":{seconds:02d}" if len(raw) == 6 else "")


def _fixed(telegram: bytes, info: int) -> list[Value]:
    if len(telegram) < _FIXED:
        raise FrameError(f"a fixed M-Bus telegram of {len(telegram)} bytes; it has {_FIXED}")
    order = slice(None) if info & _MOST_SIGNIFICANT_FIRST else slice(None, None, -1)
    status = telegram[5]
    medium = telegram[7] >> 6 << 2 | telegram[6] >> 6
    values = [
        _value("OSGP_mbus_serial_number", text=telegram[:4][order].hex()),
        _value("OSGP_mbus_medium", medium),
        _value("OSGP_mbus_access_number", telegram[4]),
        _value("OSGP_mbus_status", status),
    ]
    first = telegram[6] & 63
    for counter in range(2):
        code = telegram[6 + counter] & 63
        suffix = "_storage_1" if status & 2 else ""
        if counter and code == _FIXED_HISTORIC:
            code, suffix = first, "_storage_1"
        raw = telegram[8 + 4 * counter : 12 + 4 * counter][order]
        taken = (int.from_bytes(raw, "big", signed=True), 0) if status & 1 else _bcd(raw[::-1])
        for start, count, quantity, unit, exponent in _FIXED_UNITS:
            if start <= code < start + count and taken is not None:
                name = _name(_FIXED_MEDIA.get(medium, "mbus"), quantity) + suffix
                values.append(_value(name, taken[0], exponent + code - start, unit))
    return values
