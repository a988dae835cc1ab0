"""What the properties of the registry mean, in words, and the units they may have. CPython only."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from . import registry


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return data


@cache
def description(number: int) -> str:
    """The property's description. Raises KeyError when the registry has no such number."""
    name = registry.name(number)
    if name is None:
        raise KeyError(number)
    data = _data()
    if name in data["platform"]:
        return str(data["platform"][name][0])
    if name in data["stems"]:
        return str(data["stems"][name])
    if name in data["obis"]:
        return str(data["obis"][name])
    if name.startswith("OSGP_primary_"):
        base = "OBIS_" + name.removeprefix("OSGP_primary_")
        known = data["platform"].get(base, [""])[0] or data["obis"][base]
        return f"{known}, on the primary side of the transformers"
    if name.startswith("OSGP_"):
        stem, suffix = name.rsplit("_", 1)
        return str(data["stems"][stem]) % int(suffix)
    # Tariffs beyond the platform's four.
    stem, suffix = name.rsplit(".", 1)
    return str(data["platform"][stem + ".4"][0]).replace("T4", "T" + suffix)


@cache
def allowed_units(number: int) -> tuple[str, ...] | None:
    """The units that the property may have; None when the list names none."""
    name = registry.name(number)
    if name is None:
        raise KeyError(number)
    platform = _data()["platform"]
    if name in platform:
        units = platform[name][1]
        return None if units is None else tuple(units)
    unit = registry.unit(number)
    return None if unit is None else (unit,)
