"""`osgp-gateway status`, `backfill` and `read`, as far as a running gateway is asked."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from ..errors import ConfigurationError
from ..transmission import model
from . import read as reading
from .control_client import Running, running, the_one
from .links import parse_port
from .meter_access import MeterAccess
from .show import About, Item
from .status_text import page


class _ThroughGateway(reading.Source):
    """A meter of a running gateway, which owns the line."""

    def __init__(self, one: Running, meter: str) -> None:
        self._one = one
        self._meter = meter

    def read(self, kind: int, since: int | None) -> AsyncIterator[tuple[About, Sequence[Item]]]:
        return self._one.read(self._meter, model.KIND_NAMES[kind], since)


async def status(configuration: Path | None, gateway: str | None, as_json: bool) -> None:
    async with running(configuration, gateway) as found:
        told = await the_one(found).status()
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        print("\n".join(page(told)))


async def backfill(
    kind: str, begin: str, end: str, meter: str | None, configuration: Path | None, gateway: str | None
) -> None:
    first, last = reading.parse_time_option("--from", begin), reading.parse_time_option("--to", end)
    if first > last:
        raise ConfigurationError(f"--to {end} lies before --from {begin}")
    async with running(configuration, gateway) as found:
        one = the_one(found)
        name = _chosen(meter, list(await one.meters()))
        print(f"{name}: {await one.backfill(name, kind, first, last)}")


async def read_port(wish: reading.Wish, port: str, access: Callable[[], MeterAccess]) -> None:
    """The meter at `port`, through the gateway that has it, or else by `access` to it."""
    wanted = _place(str(parse_port(port)))
    async with running(None, all_there_may_be=False) as found:
        for one in found:
            for name, theirs in (await one.meters()).items():
                if _place(theirs) == wanted:
                    await reading.read_from(_ThroughGateway(one, name), wish)
                    return
    await reading.read(access(), wish)


async def read_named(wish: reading.Wish, configuration: Path | None, meter: str | None) -> None:
    """A meter of the configuration, through its gateway if that runs; or of a gateway that runs."""
    async with running(configuration) as found:
        if found:
            one = the_one(found)
            name = _chosen(meter, list(await one.meters()))
            await reading.read_from(_ThroughGateway(one, name), wish)
            return
    if configuration is None:
        raise ConfigurationError(
            "no gateway runs here, as far as can be seen: name the meter with --port PORT, or with -c FILE "
            "and --meter NAME"
        )
    from . import config, service

    settings = config.load(configuration)
    name = _chosen(meter, [section.name for section in settings.meter])
    (section,) = (section for section in settings.meter if section.name == name)
    await reading.read(service.access_to(section, settings.gateway.state_dir), wish)


def _chosen(meter: str | None, names: list[str]) -> str:
    there_are = ", ".join(names) or "none"
    if meter is None:
        if len(names) != 1:
            raise ConfigurationError(f"choose the meter with --meter; there are: {there_are}")
        return names[0]
    if meter not in names:
        raise ConfigurationError(f"no meter is called {meter}; there are: {there_are}")
    return meter


def _place(port: str) -> str:
    """One name for a port: adapters have several."""
    return os.path.realpath(port) if port.startswith("/") else port
