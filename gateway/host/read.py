"""`osgp-gateway read`: what a meter says now, directly over its port."""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..c1219.readers.identity import identify
from ..c1219.tables import Tables
from ..core.meter_task import read_kind
from ..errors import ConfigurationError
from ..transmission import ids, model
from ..transmission.model import Reading
from ..transmission.platform_json import format_time, property_id
from .meter_access import MeterAccess
from .values import meaning, value_text

# The kinds that have a reader, in the order in which `all` reads them.
KINDS = {
    model.KIND_NAMES[kind]: kind for kind in (model.IDENTITY, model.CLOCK, model.REGISTERS, model.PRESENT)
}


def parse_kinds(words: list[str]) -> list[int]:
    """Kinds by name, each once, in the order given; "all" for every kind. Raises ConfigurationError."""
    unknown = [word for word in words if word not in KINDS and word != "all"]
    if unknown:
        raise ConfigurationError(
            f"no reading is called {', '.join(unknown)}; there are {', '.join(KINDS)} and all"
        )
    named = list(KINDS) if "all" in words else list(dict.fromkeys(words))
    return [KINDS[word] for word in named]


async def read(access: MeterAccess, kinds: list[int], as_json: bool) -> None:
    """Print each kind as soon as it is read. Raises LinkError, MeterError or TableError."""
    meter = await access.open()
    try:
        tables = Tables(meter)
        who = await identify(tables)
        meter_id = ids.meter_individual_id(who.manufacturer, who.serial)
        about = {"meterId": ids.format_uuid(meter_id), "serial": who.serial}
        for kind in kinds:
            for reading in await read_kind(kind, tables):
                if as_json:
                    print(json.dumps(as_object(reading, about), ensure_ascii=False), flush=True)
                else:
                    print_table(reading, about)
    finally:
        await meter.close()


def as_object(reading: Reading, about: dict[str, str]) -> dict[str, Any]:
    """One line of --json. `value` is a decimal string (or text), `unit` null where none applies."""
    values = []
    for value in reading.values:
        entry = {"property": property_id(value.prop), "value": value_text(value), "unit": value.unit}
        if value.date is not None:
            entry["date"] = format_time(value.date)
        values.append(entry)
    return {
        "kind": model.KIND_NAMES[reading.kind],
        **about,
        "readingTime": format_time(reading.time),
        "values": values,
    }


def print_table(reading: Reading, about: dict[str, str]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("property", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    with_dates = any(value.date is not None for value in reading.values)
    if with_dates:
        table.add_column("at", no_wrap=True)
    table.add_column("meaning")
    for value in reading.values:
        cells = [property_id(value.prop), value_text(value), value.unit or ""]
        if with_dates:
            cells.append(format_time(value.date) if value.date else "")
        table.add_row(*cells, meaning(value.prop))
    # Apart from the table, whose title would be folded to the table's width.
    print(f"{model.KIND_NAMES[reading.kind]} of meter {about['serial']}, {format_time(reading.time)}")
    Console().print(table)
