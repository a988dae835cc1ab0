"""The platform's JSON, both shapes, lossless both ways. CPython only.

The specification's form is a MeterReading (Open Meter Data Platform, part 2); the flat form is what its
reference implementation speaks: readingTime, meterId, and propertyName, numericalValue, unit per value.

A reading that came as JSON keeps in `Reading.source` how it was written: one byte of style when it looks
as this module writes it, else that byte and a template: the source with a control character (a hole) for
all that the reading itself says, deflated with a dictionary. So a frame gives back the same bytes.
"""

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import FrameError
from . import json_text, registry
from .ids import format_uuid, parse_uuid
from .json_text import Node, quote
from .model import FOREIGN, Reading, Timestamp, Value
from .registry_descriptions import allowed_units, description
from .rows import rows

if TYPE_CHECKING:
    from .frames import Frame

MAX_SIZE = 262144  # of a JSON message
MAX_VALUES = 4096

# Style: bits of the source's first byte.
FLAT = 1
COMPACT = 2  # no blanks behind commas and colons
QUOTED = 4  # numbers as strings
UNICODE = 8  # characters beyond ASCII as they are
DESCRIBED = 16  # propertyDescription and allowedUnits as the registry has them
_TEMPLATE = 128

# Holes.
_METER, _TIME, _NAME, _ID, _NUMBER, _UNIT, _TEXT = "\1\2\3\4\5\6\7"
_IDENTIFIER, _FAULT, _DATE, _DESCRIPTION, _UNITS, _NEXT = "\x0b\x0c\x0e\x0f\x10\x11"
_HOLE = re.compile("[\1-\7\x0b\x0c\x0e-\x11]")

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,64}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DECIMAL = re.compile(r"([+-]?)(\d{1,400})(?:\.(\d{0,400}))?(?:[eE]([+-]?\d{1,4}))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(payload: bytes, meter_id: bytes | None = None) -> tuple[bytes, Reading]:
    """The meter's id (16 bytes) and the reading of one JSON message in either shape.

    `meter_id`: the meter that the message must be of, where its topic names one. Raises FrameError, with
    the field, for anything that is not a MeterReading of a real UUID and an RFC 3339 time with its zone.
    """
    if len(payload) > MAX_SIZE:
        raise FrameError(f"a JSON message of {len(payload)} bytes; at most {MAX_SIZE} are taken")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        raise FrameError("a JSON message is not UTF-8") from None
    root = json_text.parse(text)
    if root.kind != "object":
        raise FrameError("a JSON message is to be an object: a MeterReading")
    return _Parser(text, root, meter_id).result()


def write(meter_id: bytes, reading: Reading, style: int = 0, identifier: bytes | None = None) -> bytes:
    """The reading as JSON: as it was written when it came as JSON, else in this `style`.

    `identifier`: the meterReadingIdentifier of the specification's form, where the reading has none of
    its own. Raises FrameError when the reading's source is damaged.
    """
    if reading.identifier is not None or reading.source is not None:
        identifier = reading.identifier
    template = None
    if reading.source is not None:
        style, template = _read_source(reading.source)
    if template is None:
        template = _template(style, reading, identifier is not None)
    return _fill(template, style, meter_id, reading, identifier).encode()


def documents(frame: "Frame", meter_id: bytes, style: int = 0) -> Iterator[bytes]:
    """Every row of a frame as JSON."""
    for identifier, reading in rows(frame, meter_id):
        yield write(meter_id, reading, style, identifier)


def parse_time(text: str, what: str) -> Timestamp:
    """An RFC 3339 time. Raises FrameError, naming `what`."""
    match = _RFC3339.fullmatch(text)
    if not match:
        raise FrameError(f"{what} {text[:64]!r} is no RFC 3339 time with its zone, like 2023-05-06T11:18:30Z")
    year, month, day, hour, minute, second = (int(group) for group in match.groups()[:6])
    sign, hours, minutes = match.group(8), int(match.group(9) or 0), int(match.group(10) or 0)
    try:
        # A leap second is the next minute's first.
        civil = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        civil = None
    if civil is None or second > 60 or hours > 23 or minutes > 59:
        raise FrameError(f"{what} {text[:64]!r} does not exist")
    offset = None if sign is None else (hours * 60 + minutes) * (-1 if sign == "-" else 1)
    seconds = (civil - _EPOCH) // timedelta(seconds=1) + (second == 60) - (offset or 0) * 60
    return Timestamp(seconds, match.group(7) or "", offset)


def format_time(time: Timestamp) -> str:
    """RFC 3339. Raises FrameError for years beyond 1 to 9999."""
    offset = time.offset or 0
    try:
        civil = _EPOCH + timedelta(seconds=time.seconds + 60 * offset)
    except OverflowError:
        raise FrameError(f"{time.seconds} seconds since 1970 are beyond the years of RFC 3339") from None
    text = civil.replace(tzinfo=None).isoformat() + ("." + time.fraction if time.fraction else "")
    if time.offset is None:
        return text + "Z"
    return f"{text}{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"


def parse_number(text: str) -> tuple[int, int] | None:
    """Mantissa and exponent of a decimal number, digits kept ("229.40" is 22940, -2); None when it is
    none, or too big for 64 bits."""
    match = _DECIMAL.fullmatch(text)
    if not match:
        return None
    sign, whole, fraction, power = match.groups()
    mantissa = int(whole + (fraction or ""))
    if sign == "-":
        mantissa = -mantissa
    exponent = int(power or 0) - len(fraction or "")
    return (mantissa, exponent) if -(1 << 63) <= mantissa < 1 << 63 and abs(exponent) <= 4096 else None


def format_number(mantissa: int, exponent: int) -> str:
    """The decimal number with all its digits."""
    if exponent > 0 or exponent < -40:
        return f"{mantissa}e{exponent}"
    if not exponent:
        return str(mantissa)
    digits = str(abs(mantissa)).zfill(1 - exponent)
    return f"{'-' if mantissa < 0 else ''}{digits[:exponent]}.{digits[exponent:]}"


def property_id(prop: int | str) -> str:
    """The property's id as the specification writes it, for a number of the registry or a name."""
    if isinstance(prop, str):
        return prop
    name = registry.name(prop)
    if name is None:
        raise FrameError(f"property {prop} is not in this version's registry")
    return name


def property_name(prop: int | str) -> str:
    """The property's name as the flat form writes it: an OBIS code alone."""
    return prop if isinstance(prop, str) else property_id(prop).removeprefix("OBIS_")


def fault_code(faults: "list[int | str] | tuple[int | str, ...]") -> str:
    """Fault codes as the one text that the platform has for them."""
    names = []
    for fault in faults:
        name = fault if isinstance(fault, str) else registry.fault_name(fault)
        if name is None:
            raise FrameError(f"fault code {fault} is not in this version's list")
        names.append(name)
    return ",".join(names)


def _parse_faults(text: str) -> list[int | str]:
    known = [registry.fault_number(name) for name in text.split(",")]
    numbers: list[int | str] = [number for number in known if number is not None]
    return numbers if len(numbers) == len(known) else [text]


class _Parser:
    """Takes from the source what a reading can say, and cuts a hole wherever it would write the same."""

    def __init__(self, text: str, root: Node, meter_id: bytes | None) -> None:
        self._text = text
        self._holes: list[tuple[int, int, str]] = []
        self._flat = "meterId" in root.members
        style = FLAT if self._flat else 0
        style |= 0 if ": " in text else COMPACT
        self._style = style if text.isascii() else style | UNICODE
        self.meter_id = self._meter(root)
        if meter_id is not None and self.meter_id != meter_id:
            raise FrameError(
                f"the message is of meter {format_uuid(self.meter_id)}, its topic of {format_uuid(meter_id)}"
            )
        self.identifier = self._identifier(root)
        time = self._time(_member(root, "readingTime"), "readingTime", _TIME)
        faults = self._faults(root)
        array = _member(root, "propertyValues")
        if array.kind != "array" or len(array.items) > MAX_VALUES:
            raise FrameError(f"propertyValues is to be an array of at most {MAX_VALUES} values")
        values = [self._value(node, f"propertyValues[{i}]") for i, node in enumerate(array.items)]
        self._reading = Reading(FOREIGN, time, values, faults, None, self.identifier)

    def result(self) -> tuple[bytes, Reading]:
        template = []
        at = 0
        for start, end, hole in sorted(self._holes):
            template.append(self._text[at:start] + hole)
            at = end
        template.append(self._text[at:])
        self._reading.source = _write_source(
            "".join(template), self._style, self._reading, self.identifier is not None
        )
        return self.meter_id, self._reading

    def _hole(self, node: Node, hole: str, content: str) -> None:
        if node.kind == "string" and node.raw[1:-1] == content:
            self._holes.append((node.start + 1, node.end - 1, hole))
        elif node.kind == "number" and node.raw == content:
            self._holes.append((node.start, node.end, hole))

    def _meter(self, root: Node) -> bytes:
        if self._flat:
            node, what = _member(root, "meterId"), "meterId"
        else:
            node = _member(_member(root, "meterIndividual"), "meterIndividualId", "meterIndividual.")
            what = "meterIndividual.meterIndividualId"
        meter_id = _uuid(node, what)
        self._hole(node, _METER, format_uuid(meter_id))
        return meter_id

    def _identifier(self, root: Node) -> bytes | None:
        node = root.members.get("meterReadingIdentifier")
        if node is None or node.null():
            return None
        identifier = _uuid(node, "meterReadingIdentifier")
        self._hole(node, _IDENTIFIER, format_uuid(identifier))
        return identifier

    def _time(self, node: Node, what: str, hole: str) -> Timestamp:
        time = parse_time(node.string(what), what)
        self._hole(node, hole, format_time(time))
        return time

    def _faults(self, root: Node) -> list[int | str]:
        node = root.members.get("faultCode")
        if node is None or node.null():
            return []
        text = node.string("faultCode")
        faults = _parse_faults(text)
        self._hole(node, _FAULT, quote(fault_code(faults), not self._style & UNICODE))
        return faults

    def _value(self, node: Node, what: str) -> Value:
        if node.kind != "object":
            raise FrameError(f"{what} is to be an object")
        self._holes.append((node.start, node.start, _NEXT))
        plain = not self._style & UNICODE
        prop = self._property(node, what, plain)
        value = Value(prop, None)
        unit = node.members.get("unit")
        if unit is not None and not unit.null():
            value.unit = unit.string(f"{what}.unit")
            self._hole(unit, _UNIT, quote(value.unit, plain))
        date = node.members.get("date")
        if date is not None and not date.null():
            value.date = self._time(date, f"{what}.date", _DATE)
        number = node.members.get("numericalValue")
        text = node.members.get("textValue")
        if number is not None and not number.null():
            if text is not None and not text.null():
                raise FrameError(f"{what} has a numericalValue and a textValue")
            self._number(number, f"{what}.numericalValue", value)
        elif text is not None and not text.null():
            value.text = text.string(f"{what}.textValue")
            self._hole(text, _TEXT, quote(value.text, plain))
        return value

    def _property(self, node: Node, what: str, plain: bool) -> int | str:
        if self._flat:
            named = _member(node, "propertyName", f"{what}.")
            name = named.string(f"{what}.propertyName")
            number = registry.number("OBIS_" + name)
            if number is None:
                number = registry.number(name)
            prop: int | str = name if number is None else number
            self._hole(named, _NAME, quote(property_name(prop), plain))
            return prop
        inner = f"{what}.operationalPropertyDefinition"
        definition = _member(node, "operationalPropertyDefinition", f"{what}.")
        named = _member(definition, "propertyId", f"{inner}.")
        name = named.string(f"{inner}.propertyId")
        number = registry.number(name)
        prop = name if number is None else number
        self._hole(named, _ID, quote(name, plain))
        words = definition.members.get("propertyDescription")
        if number is not None and words is not None:
            self._hole(words, _DESCRIPTION, quote(description(number), plain))
        units = definition.members.get("allowedUnits")
        if number is not None and units is not None:
            self._units(units, number)
        return prop

    def _units(self, node: Node, number: int) -> None:
        if self._text[node.start : node.end] == _units(number, self._style):
            self._holes.append((node.start, node.end, _UNITS))

    def _number(self, node: Node, what: str, value: Value) -> None:
        token = node.string(what) if node.kind == "string" else node.raw
        if node.kind not in ("string", "number") or not _DECIMAL.fullmatch(token):
            raise FrameError(f"{what} {token[:40]!r} is no number")
        if node.kind == "string":
            self._style |= QUOTED
        number = parse_number(token)
        if number is None:
            # Beyond 64 bits: kept as the text it is.
            value.text = token
            self._hole(node, _TEXT, token)
        else:
            value.mantissa, value.exponent = number
            self._hole(node, _NUMBER, format_number(*number))


def _member(node: Node, key: str, where: str = "") -> Node:
    found = node.members.get(key)
    if found is None:
        raise FrameError(f"{where}{key} is missing")
    return found


def _uuid(node: Node, what: str) -> bytes:
    try:
        return parse_uuid(node.string(what))
    except FrameError as error:
        raise FrameError(f"{what}: {error}") from None


def _units(number: int, style: int) -> str:
    comma = "," if style & COMPACT else ", "
    return "[" + comma.join(f'"{quote(unit, True)}"' for unit in allowed_units(number) or ()) + "]"


def _template(style: int, reading: Reading, identified: bool) -> str:
    """What this module writes for the reading, with holes."""
    if style & FLAT:
        text = f'{{"readingTime": "{_TIME}", "meterId": "{_METER}", "propertyValues": ['
        end = "]}"
    else:
        text = f'{{"meterReadingIdentifier": "{_IDENTIFIER}", ' if identified else "{"
        text += f'"readingTime": "{_TIME}", '
        text += f'"faultCode": "{_FAULT}", ' if reading.faults else ""
        text += '"propertyValues": ['
        end = f'], "meterIndividual": {{"meterIndividualId": "{_METER}"}}}}'
    text += ", ".join(_value_template(style, value) for value in reading.values) + end
    return text.replace(", ", ",").replace(": ", ":") if style & COMPACT else text


def _value_template(style: int, value: Value) -> str:
    parts = []
    if value.mantissa is not None:
        mark = f'"{_NUMBER}"' if style & QUOTED else _NUMBER
        parts.append(f'"numericalValue": {mark}')
    elif value.text is not None:
        parts.append(f'"textValue": "{_TEXT}"')
    unit = [] if value.unit is None else [f'"unit": "{_UNIT}"']
    if style & FLAT:
        parts = [f'"propertyName": "{_NAME}"'] + parts + unit
    else:
        date = [] if value.date is None else [f'"date": "{_DATE}"']
        definition = f'"propertyId": "{_ID}"'
        if style & DESCRIBED and not isinstance(value.prop, str):
            definition += f', "propertyDescription": "{_DESCRIPTION}"'
            if allowed_units(value.prop) is not None:
                definition += f', "allowedUnits": {_UNITS}'
        parts = unit + date + parts + [f'"operationalPropertyDefinition": {{{definition}}}']
    return _NEXT + "{" + ", ".join(parts) + "}"


def _fill(template: str, style: int, meter_id: bytes, reading: Reading, identifier: bytes | None) -> str:
    out = []
    at = 0
    row = -1
    plain = not style & UNICODE
    value = None
    for match in _HOLE.finditer(template):
        out.append(template[at : match.start()])
        at = match.end()
        hole = match.group()
        if hole == _NEXT:
            row += 1
            value = reading.values[row] if row < len(reading.values) else None
        elif hole == _METER:
            out.append(format_uuid(meter_id))
        elif hole == _TIME:
            out.append(format_time(reading.time))
        elif hole == _IDENTIFIER and identifier is not None:
            out.append(format_uuid(identifier))
        elif hole == _FAULT and reading.faults:
            out.append(quote(fault_code(tuple(reading.faults)), plain))
        elif value is not None:
            out.append(_fill_value(hole, value, style, plain))
        else:
            raise FrameError("a reading's source does not fit its values")
    out.append(template[at:])
    return "".join(out)


def _fill_value(hole: str, value: Value, style: int, plain: bool) -> str:
    if hole == _NAME:
        return quote(property_name(value.prop), plain)
    if hole == _ID:
        return quote(property_id(value.prop), plain)
    if hole == _NUMBER and value.mantissa is not None:
        return format_number(value.mantissa, value.exponent)
    if hole == _TEXT and value.text is not None:
        return quote(value.text, plain)
    if hole == _UNIT and value.unit is not None:
        return quote(value.unit, plain)
    if hole == _DATE and value.date is not None:
        return format_time(value.date)
    if hole in (_DESCRIPTION, _UNITS) and not isinstance(value.prop, str):
        return quote(description(value.prop), plain) if hole == _DESCRIPTION else _units(value.prop, style)
    raise FrameError("a reading's source does not fit its values")


def _write_source(template: str, style: int, reading: Reading, identified: bool) -> bytes:
    for more in (0, DESCRIBED):
        if template == _template(style | more, reading, identified):
            return bytes((style | more,))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_DICTIONARY)
    return bytes((style | _TEMPLATE,)) + deflate.compress(template.encode()) + deflate.flush()


def _read_source(source: bytes) -> tuple[int, str | None]:
    if not source:
        raise FrameError("a reading's source is empty")
    style = source[0]
    if not style & _TEMPLATE:
        return style, None
    inflate = zlib.decompressobj(-15, zdict=_DICTIONARY)
    try:
        template = inflate.decompress(source[1:], MAX_SIZE).decode("utf-8")
    except (zlib.error, UnicodeDecodeError):
        raise FrameError("a reading's source is damaged") from None
    if not inflate.eof:
        raise FrameError("a reading's source is damaged or too long")
    return style & ~_TEMPLATE, template


# What templates are likely made of, most likely last; frozen, like everything that decoding needs.
_DICTIONARY = (
    b'"physicalMeterClass": "HEAT""GAS""WATER""ELECTRICITY""physicalElementIsVirtual": false, true, '
    b'"physicalMeterOperationalProperties": [{"propertyId": "", "propertyName": "", "allowedUnits": [""]}]'
    b'"householdId": "", "physicalMeter": {"physicalMeterType": {"physicalElementId": "", '
    b'"physicalElementName": "", "physicalElementVersionId": "", "physicalElementIsVirtual": false, '
    b'"physicalMeterClass": "ELECTRICITY"}}}"textValue": "\7""numericalValue": "\5"'
    b'{"readingTime":"\2","meterId":"\1","propertyValues":[\x11{"propertyName":"\3","numericalValue":"\5",'
    b'"unit":"\6"},\x11{"propertyName":"\3","numericalValue":"\5","unit":"\6"}]}'
    b'{"readingTime": "\2", "meterId": "\1", "propertyValues": [\x11{"propertyName": "\3", '
    b'"numericalValue": "\5", "unit": "\6"}, \x11{"propertyName": "\3", "numericalValue": "\5", "unit": '
    b'"\6"}]}'
    b'{\n  "meterReadingIdentifier": "\x0b",\n  "readingTime": "\2",\n  "sequenceNumber": 1,\n  "faultCode": '
    b'"\x0c",\n  "propertyValues": [\n    \x11{\n      "unit": "\6",\n      "date": "\x0e",\n      '
    b'"numericalValue": \5,\n      "operationalPropertyDefinition": {\n        "propertyId": "\4",\n        '
    b'"propertyDescription": "\x0f",\n        "allowedUnits": \x10\n      }\n    },\n    \x11{\n      '
    b'{"meterReadingIdentifier": "\x0b", "readingTime": "\2", "sequenceNumber": 1, "faultCode": "\x0c", '
    b'"propertyValues": [\x11{"unit": "\6", "date": "\x0e", "numericalValue": \5, '
    b'"operationalPropertyDefinition": {"propertyId": "\4", "propertyDescription": "\x0f", "allowedUnits": '
    b'\x10}}, \x11{"unit": "\6", "date": "\x0e", "numericalValue": \5, "operationalPropertyDefinition": '
    b'{"propertyId": "\4", "propertyDescription": "\x0f", "allowedUnits": \x10}}], "meterIndividual": '
    b'{"meterIndividualId": "\1", "householdId": "", "physicalMeterType": {"physicalElementId": "", '
    b'"physicalElementName": "", "physicalElementVersionId": "", "physicalElementIsVirtual": false, '
    b'"physicalMeterClass": "ELECTRICITY"}}}'
)
