"""Tables that a real meter answered, served in place of the living ones.

The file is JSON: an object whose members named as in the guide ("BT23", "ET03") hold either the table
data as hex, or an object with the hex under "data"; other members are for people. What is served stands
still. BT23 and BT28 say nothing about their own layout, so the meter around them is given the dimensions
that fit: from BT21 or BT20 when the file has them, else from the lengths.
"""

import json
import re
from pathlib import Path

from ..errors import ConfigurationError
from .generations import DEFAULT_FIRMWARE, GENERATIONS, SUMMATION_COUNTS, Generation, generation
from .image import EXTENDED

_NAME = re.compile(r"(BT|ET)(\d{2,3})")


def read_tables(path: Path) -> dict[int, bytes]:
    """Table data by table number. Raises ConfigurationError that names the file and the member."""
    try:
        members = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError("tables file %s: %s" % (path, error)) from None
    tables = {}
    for name, member in members.items() if isinstance(members, dict) else ():
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        data = member.get("data") if isinstance(member, dict) else member
        try:
            tables[int(match[2]) + (EXTENDED if match[1] == "ET" else 0)] = bytes.fromhex(str(data))
        except ValueError:
            raise ConfigurationError(
                "tables file %s: %s has no table data in hex under 'data'" % (path, name)
            ) from None
    if not tables:
        raise ConfigurationError("tables file %s: no member is named like a table, as BT23 or ET03" % path)
    return tables


def fitting(tables: dict[int, bytes], firmware: str | None = None) -> Generation:
    """The generation whose dimensions fit the tables. Raises ConfigurationError when none does."""
    dimensions = tables.get(21) or tables.get(20)
    if dimensions and len(dimensions) >= 10:
        return generation(
            firmware or DEFAULT_FIRMWARE,
            summations=dimensions[3],
            tiers=dimensions[7],
            present_values=dimensions[9],
            demands=dimensions[4],
        )
    present = len(tables[28]) // 4 if 28 in tables else None
    if 23 not in tables:
        return generation(firmware or _oldest_with(present), present_values=present)
    values = len(tables[23]) // 4
    for tiers in (4, 8):
        for summations in SUMMATION_COUNTS:
            if len(tables[23]) == 4 * summations * (1 + tiers):
                return generation(
                    firmware or _oldest_with(present),
                    summations=summations,
                    tiers=tiers,
                    present_values=present,
                )
    raise ConfigurationError(
        "BT23 with %d values is no block of 11, 15 or 19 summations and 4 or 8 tiers without demands; "
        "give BT21 as well" % values
    )


def _oldest_with(present: int | None) -> str:
    """The oldest firmware that has as many present values."""
    for name, candidate in GENERATIONS.items():
        if present is not None and candidate.present_values >= present and candidate.has_bt21:
            return name
    return DEFAULT_FIRMWARE
