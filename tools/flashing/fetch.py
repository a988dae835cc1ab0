"""MicroPython's firmware from the network: a pinned version, kept once its SHA-256 was right.

pinned.json has by chip the version, its file's address and SHA-256, and the page where others are offered.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from gateway.errors import ConfigurationError

from .show import Show

PINS = Path(__file__).with_name("pinned.json")
_TIMEOUT_S = 30
_MOST_BYTES = 16 << 20
_PIECE = 1 << 16


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osgp-gateway"


def fetch(chip: str, directory: Path, show: Show, pins: Path = PINS) -> Path:
    """The pinned firmware for this chip, from `directory` or the network. Raises ConfigurationError, which
    says how to go on without."""
    pin: dict[str, Any] = json.loads(pins.read_text(encoding="utf-8"))[chip]
    how = f"load a file for it from {pin['page']} and name it with --firmware"
    kept = directory / f"micropython-{chip}-{pin['version']}-{pin['sha256'][:16]}.bin"
    if kept.exists() and _digest(kept.read_bytes()) == pin["sha256"]:
        return kept
    try:
        with show.step(f"Fetching MicroPython {pin['version']} from {pin['url']}"):
            data = _load(pin["url"], show)
    except (OSError, http.client.HTTPException) as error:
        raise ConfigurationError(
            f"MicroPython {pin['version']} can't be fetched from {pin['url']} ({error}): {how}"
        ) from None
    if _digest(data) != pin["sha256"]:
        raise ConfigurationError(
            f"what came from {pin['url']} is not the pinned MicroPython {pin['version']}: its SHA-256 is "
            f"{_digest(data)}. Nothing was kept; {how}"
        )
    new = kept.with_suffix(".new")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        new.write_bytes(data)
        new.replace(kept)
    except OSError as error:
        raise ConfigurationError(
            f"{directory}: the firmware can't be kept there ({error.strerror}); XDG_CACHE_HOME names "
            "another directory"
        ) from None
    return kept


def _load(url: str, show: Show) -> bytes:
    data = bytearray()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - pinned, https
        size = int(answer.headers.get("Content-Length") or 0)
        while len(data) < _MOST_BYTES and (piece := answer.read(_PIECE)):
            data += piece
            show.advance(len(data), max(size, len(data)))
    return bytes(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
