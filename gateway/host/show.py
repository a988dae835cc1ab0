"""What was read, as lines of JSON for programs and as tables for people."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from ..transmission import frames, ids, model
from ..transmission.model import Event, Reading, Series
from ..transmission.platform_json import fault_code, format_time, property_id
from ..transmission.rows import rows
from .values import event_text, meaning, value_text

_WIDTH = 40  # characters of a value on a line

Item = Reading | Series | Event


class About:
    """Whose readings they are."""

    def __init__(self, meter_id: bytes, serial: str) -> None:
        self.meter_id = meter_id
        self.serial = serial


def json_lines(items: Sequence[Item], about: About, since: int | None = None) -> Iterator[str]:
    """One JSON object for each reading: `value` is a decimal string (or text), `unit` null where none
    applies, `faults` there only where there are some. Readings before `since` (UTC seconds) are left out."""
    for reading in _readings(items, about):
        if since is not None and reading.time.seconds < since:
            continue
        values = []
        for value in reading.values:
            entry = {"property": property_id(value.prop), "value": value_text(value), "unit": value.unit}
            if value.date is not None:
                entry["date"] = format_time(value.date)
            values.append(entry)
        line = {
            "kind": model.KIND_NAMES[reading.kind],
            "meterId": ids.format_uuid(about.meter_id),
            "serial": about.serial,
            "readingTime": format_time(reading.time),
            "values": values,
        }
        if reading.faults:
            line["faults"] = fault_code(tuple(reading.faults)).split(",")
        yield json.dumps(line, ensure_ascii=False)


def print_tables(items: Sequence[Item], about: About, since: int | None = None) -> None:
    """A table for each reading, and one for all events or intervals of the same shape."""
    readings = [
        reading
        for reading in _readings([item for item in items if isinstance(item, Series)], about)
        if since is None or reading.time.seconds >= since
    ]
    for shape in dict.fromkeys(map(_shape, readings)):
        _print_rows(shape, [reading for reading in readings if _shape(reading) == shape], about)
    events = [
        item for item in items if isinstance(item, Event) and (since is None or item.time.seconds >= since)
    ]
    if events:
        _print_events(events, about)
    for item in items:
        if isinstance(item, Reading) and (since is None or item.time.seconds >= since):
            _print_reading(item, about)


def _readings(items: Sequence[Item], about: About) -> Iterator[Reading]:
    """Each row as a reading of its own."""
    for item in items:
        frame = frames.Frame(frames.VERSION, item.kind, model.CLASS_OF_KIND[item.kind], 0, 0, [item])
        for _, reading in rows(frame, about.meter_id):
            yield reading


Shape = tuple[tuple[int | str, str | None], ...]


def _shape(reading: Reading) -> Shape:
    return (reading.kind, None), *((value.prop, value.unit) for value in reading.values)


def _print_rows(shape: Shape, readings: Sequence[Reading], about: About) -> None:
    table = _table("time")
    for prop, unit in shape[1:]:
        name = property_id(prop)
        table.add_column(f"{name} [{unit}]" if unit else name, justify="right")
    with_faults = any(reading.faults for reading in readings)
    if with_faults:
        table.add_column("faults")
    for reading in readings:
        cells = [format_time(reading.time), *(value_text(value) for value in reading.values)]
        table.add_row(*cells, *([fault_code(tuple(reading.faults))] if with_faults else []))
    kind = model.KIND_NAMES[readings[0].kind]
    count = f"{len(readings)} interval{'s' * (len(readings) > 1)}"
    print(f"{kind} of meter {about.serial}, {count}")
    for prop, _ in shape[1:]:
        if meaning(prop):
            print(f"  {property_id(prop)}: {meaning(prop)}")
    Console().print(table)


def _print_events(events: Sequence[Event], about: About) -> None:
    table = _table("time")
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("code", justify="right", no_wrap=True)
    table.add_column("event")
    table.add_column("argument")
    table.add_column("faults")
    for event in events:
        table.add_row(
            format_time(event.time),
            str(event.sequence),
            str(event.code),
            event_text(event),
            event.argument.hex(" "),
            fault_code(tuple(event.faults)),
        )
    print(f"{model.KIND_NAMES[events[0].kind]} of meter {about.serial}")
    Console().print(table)


def _print_reading(reading: Reading, about: About) -> None:
    table = _table("property")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    with_dates = any(value.date is not None for value in reading.values)
    if with_dates:
        table.add_column("at", no_wrap=True)
    table.add_column("meaning")
    for value in reading.values:
        # A telegram is long: broken here, because the library would make the other columns narrow instead.
        lines = "\n".join(textwrap.wrap(value_text(value), _WIDTH))
        cells = [property_id(value.prop), lines, value.unit or ""]
        if with_dates:
            cells.append(format_time(value.date) if value.date else "")
        table.add_row(*cells, meaning(value.prop))
    # Apart from the table, whose title would be folded to the table's width.
    print(f"{model.KIND_NAMES[reading.kind]} of meter {about.serial}, {format_time(reading.time)}")
    if reading.faults:
        print(f"faults: {fault_code(tuple(reading.faults))}")
    Console().print(table)


def _table(first: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def total_rows(items: Iterable[Item]) -> int:
    return sum(len(item.times) if isinstance(item, Series) else 1 for item in items)
