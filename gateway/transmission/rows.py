"""What a frame says, one MeterReading at a time, each with its id: for databases and the platform's JSON."""

import binascii

from .._compat import TYPE_CHECKING
from .ids import frame_ids
from .model import ALARM, Event, Reading, Series, Timestamp, Value
from .registry import COLUMN_FAULTS, fault_name, name, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .frames import Frame


def rows(frame: "Frame", meter_id: bytes) -> "Iterator[tuple[bytes, Reading]]":
    """The meterReadingIdentifier (16 bytes) and the reading of every row, in the frame's order.

    A row of a series is a reading of the properties that have a value there; an event is one of its
    code, sequence, raw stamp, argument (the latter two in hexadecimal digits) and user.
    """
    identifiers = frame_ids(meter_id, frame)
    for item in frame.items:
        if isinstance(item, Series):
            for row in _series_rows(item):
                yield next(identifiers), row
        else:
            yield next(identifiers), _event_row(item) if isinstance(item, Event) else item


def _series_rows(series: Series) -> "Iterator[Reading]":
    at = 0
    for row in range(len(series.times)):
        faults = []
        while at < len(series.faults) and series.faults[at][0] == row:
            faults.append(_fault(series, series.faults[at][1]))
            at += 1
        values = [
            Value(column.prop, column.mantissas[row], column.exponent, column.unit)
            for column in series.columns
            if column.mantissas[row] is not None
        ]
        yield Reading(series.kind, Timestamp(series.times[row], "", series.offset), values, faults)


def _fault(series: Series, fault: "int | str") -> "int | str":
    """A fault of one column with the property it is about: "OSGP_interval_skipped:OBIS_1.8.0"."""
    if isinstance(fault, str) or fault < COLUMN_FAULTS:
        return fault
    of, column = divmod(fault - COLUMN_FAULTS, 32)
    if column >= len(series.columns):
        return fault
    prop = series.columns[column].prop
    what = fault_name(of)
    about = prop if isinstance(prop, str) else name(prop)
    return "%s:%s" % (of if what is None else what, about)


def _event_row(event: Event) -> Reading:
    values = [
        Value(_known("OSGP_alarm_code" if event.kind == ALARM else "OSGP_event_code"), event.code),
        Value(_known("OSGP_event_sequence"), event.sequence),
        Value(_known("OSGP_event_stamp"), None, text=_hex(event.stamp)),
    ]
    if event.argument:
        values.append(Value(_known("OSGP_event_argument"), None, text=_hex(event.argument)))
    if event.user is not None:
        values.append(Value(_known("OSGP_event_user"), event.user))
    return Reading(event.kind, event.time, values, event.faults)


def _known(name: str) -> "int | str":
    found = number(name)
    return name if found is None else found


def _hex(value: bytes) -> str:
    return str(binascii.hexlify(value), "ascii")
