"""MicroPython's firmware from the network: a pinned version, kept once its SHA-256 was right.

pinned.json has by chip the page where the firmware for it is offered and, once somebody has pinned a version,
that version with the file's address and SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from gateway.errors import ConfigurationError

PINS = Path(__file__).with_name("pinned.json")
_TIMEOUT_S = 30
_MOST_BYTES = 16 << 20


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osgp-gateway"


def fetch(chip: str, directory: Path, pins: Path = PINS) -> Path:
    """The pinned firmware for this chip, from `directory` or the network. Raises ConfigurationError, which
    says how to go on without."""
    pin: dict[str, Any] = json.loads(pins.read_text(encoding="utf-8"))[chip]
    how = f"take the newest file for it from {pin['page']}, and name it with --firmware"
    if "sha256" not in pin:
        raise ConfigurationError(f"no firmware is pinned for an {chip}: {how}")
    kept = directory / f"micropython-{chip}-{pin['version']}-{pin['sha256'][:16]}.bin"
    if kept.exists() and _digest(kept.read_bytes()) == pin["sha256"]:
        return kept
    try:
        with urllib.request.urlopen(pin["url"], timeout=_TIMEOUT_S) as answer:  # noqa: S310 - pinned, https
            data = answer.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"MicroPython {pin['version']} can't be fetched from {pin['url']} ({error}): {how}"
        ) from None
    if _digest(data) != pin["sha256"]:
        raise ConfigurationError(
            f"what came from {pin['url']} is not the pinned MicroPython {pin['version']}: its SHA-256 is "
            f"{_digest(data)}. Nothing was kept; {how}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    new = kept.with_suffix(".new")
    new.write_bytes(data)
    new.replace(kept)
    return kept


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
