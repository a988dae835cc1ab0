"""Instants as text for people and files."""

from __future__ import annotations

import datetime


def rfc3339(utc_ms: int) -> str:
    """Milliseconds since 1970 as 2026-11-22T13:54:28.123Z."""
    instant = datetime.datetime.fromtimestamp(utc_ms // 1000, datetime.UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{utc_ms % 1000:03d}Z"
