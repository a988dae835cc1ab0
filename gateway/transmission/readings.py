"""Readings in frames: one instant, its properties in columns of bits."""

import binascii

from .._compat import TYPE_CHECKING, bit_length, const
from ..errors import FrameError
from . import registry
from .bits import MAX_INT, BitReader, BitWriter, uint_cost, unzigzag, zigzag
from .model import Reading, Timestamp, Value
from .stamps import checked, get_stamp, put_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NUMBER = const(0)
TEXT = const(1)
NOTHING = const(2)
HEX = const(3)  # a text of hexadecimal digits, in half its bytes: telegrams

MAX_VALUES = const(65536)  # in one frame
_MAX_EXPONENT = const(4096)
_MIN_HEX = const(16)  # digits; shorter texts are not worth the look


def put_prop(writer: BitWriter, prop: "int | str", before: int) -> int:
    """A property: 0 and the difference to the number before it, or 1 and its name. Gives its number."""
    if isinstance(prop, str):
        writer.put(1, 1)
        writer.put_text(prop)
        return before
    if not 0 <= prop < registry.COUNT:
        raise FrameError("%d is no number of the property registry" % prop)
    writer.put(0, 1)
    writer.put_int(prop - before, 3)
    return prop


def get_prop(reader: BitReader, before: int) -> "int | str":
    if reader.get(1):
        return reader.get_text()
    return checked_prop(before + reader.get_int(3))


def checked_prop(number: int) -> int:
    if not 0 <= number < registry.COUNT:
        raise FrameError("property %d is not in this version's registry" % number)
    return number


def put_unit(writer: BitWriter, unit: "str | None") -> None:
    """0 and a text, or 1 for no unit, or its line in the list of units and 1."""
    index = 0 if unit is None else registry.unit_number(unit)
    writer.put_uint(0 if index is None else index + 1, 2)
    if index is None and unit is not None:
        writer.put_text(unit)


def get_unit(reader: BitReader) -> "str | None":
    index = reader.get_uint(2)
    if not index:
        return reader.get_text()
    if index == 1:
        return None
    unit = registry.unit_name(index - 1)
    if unit is None:
        raise FrameError("unit %d is not in this version's list" % (index - 1))
    return unit


def default_unit(prop: "int | str") -> "str | None":
    return None if isinstance(prop, str) else registry.unit(prop)


def default_exponent(prop: "int | str") -> int:
    return 0 if isinstance(prop, str) else registry.exponent(prop)


def check_exponent(exponent: int) -> None:
    if not -_MAX_EXPONENT <= exponent <= _MAX_EXPONENT:
        raise FrameError("a decimal exponent of %d: %d either way is the limit" % (exponent, _MAX_EXPONENT))


def get_exponent(reader: BitReader, before: int) -> int:
    exponent = before + reader.get_int(1)
    check_exponent(exponent // 2)  # differences from the registry's may be a little over
    return exponent


def put_fault(writer: BitWriter, fault: "int | str") -> None:
    if isinstance(fault, str):
        writer.put(1, 1)
        writer.put_text(fault)
    else:
        writer.put(0, 1)
        writer.put_uint(fault, 3)


def get_fault(reader: BitReader) -> "int | str":
    return reader.get_text() if reader.get(1) else reader.get_uint(3)


class _Layout:
    """What the values of a reading are, without their numbers: the next reading often has the same."""

    def __init__(self) -> None:
        self.props: list[int | str] = []
        self.kinds = bytearray()
        self.exponents: list[int] = []  # relative to the registry's; 0 for what is no number
        self.units: list[str | None] = []


def _kinds(values: "Sequence[Value]") -> bytearray:
    """What each value is; raises FrameError for what no value can be."""
    kinds = bytearray(len(values))
    for i in range(len(values)):
        value = values[i]
        if value.mantissa is None:
            kinds[i] = NOTHING if value.text is None else HEX if _is_hex(value.text) else TEXT
        elif value.text is not None:
            raise FrameError("a value is a number or a text, not both")
        else:
            kinds[i] = NUMBER
        check_exponent(value.exponent)
    return kinds


def _change(value: Value, kind: int) -> int:
    """By how much the exponent differs from the registry's; 0 for what is no number."""
    return value.exponent - default_exponent(value.prop) if kind == NUMBER else 0


def _alike(values: "Sequence[Value]", kinds: bytearray, others: "Sequence[Value]", before: bytearray) -> bool:
    """Whether these readings' values are the same, without their numbers."""
    if kinds != before:
        return False
    for i in range(len(values)):
        one, other = values[i], others[i]
        if one.prop != other.prop or one.unit != other.unit:
            return False
        if _change(one, kinds[i]) != _change(other, kinds[i]):
            return False
    return True


def _is_hex(text: str) -> bool:
    size = len(text)
    if size < _MIN_HEX or size & 1:
        return False
    return all("0" <= digit <= "9" or "a" <= digit <= "f" for digit in text)


def _put_layout(writer: BitWriter, values: "Sequence[Value]", kinds: bytearray) -> None:
    count = len(values)
    writer.put_uint(count, 3)
    if not count:
        return
    # Rising numbers, the usual case, need no sign: 1, then each difference less 1.
    rising = True
    before = -1
    for value in values:
        prop = value.prop
        if isinstance(prop, str) or prop <= before:
            rising = False
            break
        before = prop
    writer.put(1 if rising else 0, 1)
    before = -1
    for value in values:
        prop = value.prop
        if rising and not isinstance(prop, str):
            if prop >= registry.COUNT:
                raise FrameError("%d is no number of the property registry" % prop)
            writer.put_uint(prop - before - 1, 0)
            before = prop
        else:
            before = put_prop(writer, prop, before)
    plain = not any(kinds)
    writer.put(1 if plain else 0, 1)
    if not plain:
        for kind in kinds:
            writer.put(kind, 2)
    usual = True
    for i in range(count):
        if _change(values[i], kinds[i]):
            usual = False
    writer.put(1 if usual else 0, 1)
    if not usual:
        before = 0
        for i in range(count):
            if kinds[i] == NUMBER:
                exponent = _change(values[i], NUMBER)
                writer.put(1 if exponent != before else 0, 1)
                if exponent != before:
                    writer.put_int(exponent - before, 1)
                before = exponent
    usual = all(value.unit == default_unit(value.prop) for value in values)
    writer.put(1 if usual else 0, 1)
    if not usual:
        for value in values:
            same = value.unit == default_unit(value.prop)
            writer.put(0 if same else 1, 1)
            if not same:
                put_unit(writer, value.unit)


def _get_layout(reader: BitReader) -> _Layout:
    layout = _Layout()
    count = reader.get_uint(3)
    if count > reader.left():
        raise FrameError("a reading has more values than its frame has bits")
    if not count:
        return layout
    rising = reader.get(1)
    before = -1
    for _ in range(count):
        if rising:
            before = checked_prop(before + reader.get_uint(0) + 1)
            layout.props.append(before)
        else:
            prop = get_prop(reader, before)
            layout.props.append(prop)
            if not isinstance(prop, str):
                before = prop
    layout.kinds = bytearray(count)
    if not reader.get(1):
        for i in range(count):
            layout.kinds[i] = reader.get(2)
    usual = reader.get(1)
    before = 0
    for i in range(count):
        if not usual and layout.kinds[i] == NUMBER and reader.get(1):
            before = get_exponent(reader, before)
        layout.exponents.append(before if layout.kinds[i] == NUMBER else 0)
    usual = reader.get(1)
    for i in range(count):
        layout.units.append(
            get_unit(reader) if not usual and reader.get(1) else default_unit(layout.props[i])
        )
    return layout


def _groups(kinds: bytearray, key: "Callable[[int], tuple[str | None, int]]") -> "list[list[int]]":
    """The places of the numbers with the same unit and exponent (`key`), in the order of each group's
    first."""
    groups: dict[tuple[str | None, int], list[int]] = {}
    order = []
    for i in range(len(kinds)):
        if kinds[i] == NUMBER:
            which = key(i)
            if which not in groups:
                groups[which] = []
                order.append(groups[which])
            groups[which].append(i)
    return order


def _put_numbers(writer: BitWriter, values: "Sequence[Value]", kinds: bytearray) -> None:
    count = len(values)
    codes = [0] * count
    for i in range(count):
        codes[i] = values[i].mantissa or 0
    if count and not -MAX_INT - 1 <= min(codes) <= max(codes) <= MAX_INT:
        raise FrameError("a value does not fit into 64 bits")
    differs = bytearray(count)
    signed = False
    for group in _groups(kinds, lambda i: (values[i].unit, values[i].exponent)):
        # Voltages are close to each other, currents are not: differences where these are shorter.
        saved = 0
        for i in range(1, len(group)):
            code = zigzag(codes[group[i]] - codes[group[i - 1]])
            saved += bit_length(codes[group[i]]) - bit_length(code)
        if len(group) > 1:
            writer.put(1 if saved > 0 else 0, 1)
        for i in range(len(group) - 1, -1, -1):
            if i and saved > 0:
                codes[group[i]] = zigzag(codes[group[i]] - codes[group[i - 1]])
                differs[group[i]] = 1
            elif codes[group[i]] < 0:
                signed = True
    writer.put(1 if signed else 0, 1)
    if signed:
        for i in range(count):
            if kinds[i] == NUMBER and not differs[i]:
                codes[i] = zigzag(codes[i])
    _put_codes(writer, codes, kinds)


def _get_numbers(reader: BitReader, layout: _Layout) -> "list[int]":
    groups = _groups(
        layout.kinds, lambda i: (layout.units[i], layout.exponents[i] + default_exponent(layout.props[i]))
    )
    close = [len(group) > 1 and reader.get(1) == 1 for group in groups]
    signed = reader.get(1)
    numbers = [0] * len(layout.props)
    _get_codes(reader, layout, numbers)
    for j in range(len(groups)):
        before = None
        for i in groups[j]:
            if close[j] and before is not None:
                numbers[i] = before + unzigzag(numbers[i])
            elif signed:
                numbers[i] = unzigzag(numbers[i])
            before = numbers[i]
            if not -MAX_INT - 1 <= before <= MAX_INT:
                raise FrameError("a value does not fit into 64 bits")
    return numbers


def _put_codes(writer: BitWriter, codes: "list[int]", kinds: bytearray) -> None:
    """Of the numbers: lengths, in a fixed number of bits (0) or as differences (1), then the bits below each
    first."""
    lengths = bytearray(len(codes))
    width = 0
    differences = count = 0
    before = 8
    for i in range(len(codes)):
        if kinds[i] == NUMBER:
            length = lengths[i] = bit_length(codes[i])
            width = max(width, bit_length(length))
            differences += uint_cost(zigzag(length - before), 2)
            before = length
            count += 1
    fixed = 3 + width * count <= differences
    writer.put(0 if fixed else 1, 1)
    if fixed:
        writer.put(width, 3)
    before = 8
    for i in range(len(codes)):
        if kinds[i] != NUMBER:
            continue
        length = lengths[i]
        if fixed:
            writer.put(length, width)
        else:
            writer.put_int(length - before, 2)
            before = length
        if length:
            writer.put(codes[i] - (1 << (length - 1)), length - 1)


def _get_codes(reader: BitReader, layout: _Layout, codes: "list[int]") -> None:
    fixed = not reader.get(1)
    width = reader.get(3) if fixed else 0
    length = 8
    for i in range(len(codes)):
        if layout.kinds[i] == NUMBER:
            length = reader.get(width) if fixed else length + reader.get_int(2)
            if not 0 <= length <= 65:
                raise FrameError("a value of %d bits" % length)
            codes[i] = 1 << (length - 1) | reader.get(length - 1) if length else 0


def _put_more(writer: BitWriter, reading: Reading) -> None:
    """What few readings have: identifier, what the meter stored, fault codes, source."""
    more = reading.identifier is not None or reading.stored is not None or reading.source is not None
    more = more or len(reading.faults) > 0
    writer.put(1 if more else 0, 1)
    if not more:
        return
    writer.put(0 if reading.identifier is None else 1, 1)
    if reading.identifier is not None:
        if len(reading.identifier) != 16:
            raise FrameError("an identifier has 16 bytes, not %d" % len(reading.identifier))
        for byte in reading.identifier:
            writer.put(byte, 8)
    writer.put(0 if reading.stored is None else 1, 1)
    if reading.stored is not None:
        writer.put_uint(len(reading.stored), 1)
        for item in reading.stored:
            if isinstance(item, int):
                writer.put(0, 1)
                writer.put_number(zigzag(checked(item)))
            else:
                writer.put(1, 1)
                writer.put_bytes(item, 2)
    writer.put(1 if reading.faults else 0, 1)
    if reading.faults:
        writer.put_uint(len(reading.faults) - 1, 0)
        for fault in reading.faults:
            put_fault(writer, fault)
    writer.put(0 if reading.source is None else 1, 1)
    if reading.source is not None:
        writer.put_bytes(reading.source, 0)


def _get_more(reader: BitReader, reading: Reading) -> None:
    if not reader.get(1):
        return
    if reader.get(1):
        reading.identifier = bytes([reader.get(8) for _ in range(16)])
    if reader.get(1):
        stored: list[int | bytes] = []
        for _ in range(reader.get_uint(1)):
            stored.append(reader.get_bytes(2) if reader.get(1) else checked(unzigzag(reader.get_number())))
        reading.stored = tuple(stored)
    if reader.get(1):
        faults = []
        for _ in range(reader.get_uint(0) + 1):
            faults.append(get_fault(reader))
        reading.faults = faults
    if reader.get(1):
        reading.source = reader.get_bytes(0)


def put_readings(writer: BitWriter, readings: "Sequence[Reading]") -> None:
    time: Timestamp | None = None
    before: Sequence[Value] | None = None
    before_kinds = bytearray()
    total = 0
    for reading in readings:
        put_stamp(writer, reading.time, time)
        time = reading.time
        values = reading.values
        kinds = _kinds(values)
        total += len(values) + 1
        if total > MAX_VALUES:
            raise FrameError("more than %d values in one frame" % MAX_VALUES)
        if before is None:
            _put_layout(writer, values, kinds)
        else:
            same = _alike(values, kinds, before, before_kinds)
            writer.put(1 if same else 0, 1)
            if not same:
                _put_layout(writer, values, kinds)
        before, before_kinds = values, kinds
        _put_numbers(writer, values, kinds)
        for i in range(len(kinds)):
            text = values[i].text
            if text is not None:
                if kinds[i] == HEX:
                    writer.put_bytes(binascii.unhexlify(text), 4)
                else:
                    writer.put_text(text)
        _put_dates(writer, reading)
        _put_more(writer, reading)


def get_readings(reader: BitReader, kind: int, count: int) -> "list[Reading]":
    readings = []
    time: Timestamp | None = None
    layout: _Layout | None = None
    total = 0
    for _ in range(count):
        time = get_stamp(reader, time)
        if layout is None or not reader.get(1):
            layout = _get_layout(reader)
        total += len(layout.props) + 1
        if total > MAX_VALUES:
            raise FrameError("more than %d values in one frame" % MAX_VALUES)
        numbers = _get_numbers(reader, layout)
        values = []
        for i in range(len(numbers)):
            prop = layout.props[i]
            value = Value(prop, None, 0, layout.units[i])
            if layout.kinds[i] == NUMBER:
                value.mantissa = numbers[i]
                value.exponent = layout.exponents[i] + default_exponent(prop)
            elif layout.kinds[i] == TEXT:
                value.text = reader.get_text()
            elif layout.kinds[i] == HEX:
                value.text = str(binascii.hexlify(reader.get_bytes(4)), "ascii")
            values.append(value)
        reading = Reading(kind, time, values)
        _get_dates(reader, reading)
        _get_more(reader, reading)
        readings.append(reading)
    return readings


def _put_dates(writer: BitWriter, reading: Reading) -> None:
    dated = any(value.date is not None for value in reading.values)
    writer.put(1 if dated else 0, 1)
    before = reading.time
    if dated:
        for value in reading.values:
            if value.date is None:
                writer.put(0, 1)
            else:
                same = value.date == before
                writer.put(2 if same else 3, 2)
                if not same:
                    put_stamp(writer, value.date, before)
                before = value.date


def _get_dates(reader: BitReader, reading: Reading) -> None:
    before = reading.time
    if reader.get(1):
        for value in reading.values:
            if reader.get(1):
                if reader.get(1):
                    before = get_stamp(reader, before)
                value.date = before
