"""`osgp-gateway check`: what a configuration means, once it is sound."""

from __future__ import annotations

from pathlib import Path

from . import config
from .meter_access import read_key


def summary(path: Path) -> list[str]:
    """Lines for people. Raises ConfigurationError with all that is wrong."""
    found = config.load(path)
    broker = found.broker
    how = "with TLS" if broker.tls else "without encryption"
    who = f" as {broker.username}" if broker.username else ""
    until = {
        "cloud": "the cloud's receipt, which proves the shared credential",
        "broker": "the broker's acknowledgement",
    }[broker.custody]
    lines = [
        f"{path} is sound",
        f"gateway {found.gateway.id}",
        f"  publishes to {broker.host}:{broker.port} {how}{who}, and keeps each frame until {until}",
    ]
    for meter in found.meter:
        lines.append(
            f"meter {meter.name} on {meter.port}, {meter.protocol} at {meter.baud} baud, {meter.security}"
        )
        lines.append(f"  key in {meter.key_file}: {read_key(meter.key_file)[1]}")
        lines.append(f"  reads {', '.join(_intervals(meter.schedule))}; identity on each connection")
    return lines


def _intervals(schedule: config.ScheduleSection) -> list[str]:
    return [
        f"{kind} every {config.duration_text(interval)}" if interval else f"no {kind}"
        for kind, interval in schedule.model_dump().items()
    ]
