"""The gateway as its configuration describes it: meters, broker and outbox put together."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from .. import clock
from ..c1219.alerts import Client
from ..c1219.on_demand import OnDemand
from ..core.gateway import Gateway, last_will
from ..core.meter_settings import MeterSettings
from . import config, link_share
from .broker_link import broker
from .links import parse_port
from .logs import log
from .meter_access import MeterAccess, OpticalAccess, mep_access
from .outbox_dir import opened, outbox_dir
from .owners import take_commands
from .roles import credential, serve

# Messages of adapters that may wait to be looked at.
_FROM_ADAPTERS = 1024


def assemble(settings: config.Configuration, recordings: Path | None, stack: AsyncExitStack) -> Gateway:
    """The gateway as it is configured; what it needs besides ends with `stack`. Raises ConfigurationError."""
    meters: list[MeterSettings] = []
    for section in settings.meter:
        access = access_to(section, settings.gateway.state_dir)
        log("info", f"{section.name}: {access.secret_form}")
        if recordings is not None:
            recorder = access.record_to(recordings / f"{section.name}-{clock.utc_ms() // 1000}.jsonl")
            stack.callback(recorder.close)
            log("info", f"{section.name}: link traffic is recorded to {recorder.path}")
        meters.append(_meter(section, access, settings.gateway.stale_after, len(meters)))
    directory = outbox_dir(settings.gateway.state_dir, settings.gateway.id)
    name, adapter = settings.gateway.id, settings.gateway.role == "adapter"
    gateway = Gateway(
        name,
        meters,
        broker(settings.broker, name, will=last_will(name, adapter)),
        stack.enter_context(opened(directory, settings.outbox.size_mb << 20)),
        log,
        credential(settings.broker),
        settings.outbox.sync,
        adapter=adapter,
    )
    take_commands(gateway, settings)
    if settings.local is not None:
        serve(
            gateway,
            # It keeps for us what other makers' adapters publish while we are away.
            broker(settings.local, name, session=True, incoming_limit=_FROM_ADAPTERS),
            settings.local,
            credential(settings.broker),
        )
    log("info", f"gateway {settings.gateway.id} starts with {len(meters)} meter{'s' * (len(meters) != 1)}")
    return gateway


def access_to(section: config.MeterSection, state: Path | None) -> MeterAccess:
    """The meter, as it is configured. Raises ConfigurationError."""
    port = parse_port(section.port)
    if section.password_file is not None:
        return OpticalAccess(
            port,
            section.password_file,
            section.baud,
            section.user_id,
            section.user,
            log_off=section.log_off == "cycle",
        )
    assert section.key_file is not None  # config.load has seen to it
    return mep_access(
        port, section.key_file, section.baud, section.security, section.key_level, section.name, state
    )


def _meter(section: config.MeterSection, access: MeterAccess, stale_after: int, place: int) -> MeterSettings:
    plan = link_share.plan(section)
    if plan.percent > 100:
        log(
            "warning",
            f"{section.name}: its schedule needs {plan.percent:.0f} % of the time of its link: what comes "
            "too late is left out (`osgp-gateway check`)",
        )
    return MeterSettings(
        section.name,
        access.open,
        meter_id=section.id,
        serial=section.serial,
        intervals_ms=plan.intervals_ms,
        reads_per_hour=plan.reads_per_hour,
        idle_s=section.idle,
        client=Client(section.power_change_w or 0) if section.registers else None,
        on_demand=OnDemand(section.on_demand_ms // 1000) if section.on_demand_ms else None,
        stale_after=stale_after,
        place=place,
    )
