"""`osgp-gateway check`: what a configuration means, once it is sound."""

from __future__ import annotations

from pathlib import Path

from ..core import schedule
from ..drivers.mep.security import AUTO, TLS, Security, TlsMemory
from ..errors import ConfigurationError
from . import config, link_share
from .config_fields import duration_text
from .meter_access import read_key, read_password
from .roles import credential, described
from .state_dir import state_dir
from .tls_memory import TlsMeters

ROLES = {
    "both": "which reads its meters for the cloud",
    "adapter": "an adapter, which reads its meters for a concentrator",
    "concentrator": "a concentrator, which forwards for adapters",
}


def summary(path: Path) -> list[str]:
    """Lines for people. Raises ConfigurationError with all that is wrong."""
    found = config.load(path)
    broker = found.broker
    how = "with TLS" if broker.tls else "without encryption"
    who = f" as {broker.username}" if broker.username else ""
    role = found.gateway.role
    receiver = "concentrator" if role == "adapter" else "cloud"
    until = {
        "cloud": f"the {receiver}'s receipt, which proves the shared credential",
        "broker": "the broker's acknowledgement",
    }[broker.custody]
    tls_meters = TlsMeters(state_dir(found.gateway.state_dir))
    lines = [
        f"{path} is sound",
        f"gateway {found.gateway.id}, {ROLES[role]}",
        f"  publishes to {broker.host}:{broker.port} {how}{who}, and keeps each frame until {until}",
    ]
    if found.local is not None:
        local = found.local
        how = "with TLS" if local.tls else "without encryption"
        who = f" as {local.username}" if local.username else ""
        lines.append(f"  serves adapters on {local.host}:{local.port} {how}{who}:")
        lines += described(local, credential(broker))
    for meter in found.meter:
        about = f"meter {meter.name} on {meter.port}, {meter.protocol} at {meter.baud} baud"
        if meter.password_file is not None:
            lines.append(f"{about}, not authenticated")
            lines.append(f"  password in {meter.password_file}: {read_password(meter.password_file)[1]}")
        elif meter.key_file is not None:
            lines.append(f"{about}, {meter.security}")
            key, form = read_key(meter.key_file)
            lines.append(f"  key in {meter.key_file}: {form}")
            level = tls_meters.level(meter.name, meter.port)
            if level is not None:
                lines.append("  has spoken TLS, so nothing less is spoken with it")
                if meter.security not in (TLS, AUTO):
                    Security(key, meter.security, memory=TlsMemory(level))  # raises what `run` would
        lines.append(f"  reads {', '.join(_intervals(meter.schedule))}; identity on each connection")
        if meter.idle:
            lines.append(f"  leaves the port alone from {_time(meter.idle[0])} to {_time(meter.idle[1])} UTC")
        lines += _writes(meter)
        lines.append(_commands(found, meter))
        lines += _link(meter)
    return lines


def _link(meter: config.MeterSection) -> list[str]:
    """What the schedule needs of the meter's link. Raises ConfigurationError for more than there is."""
    plan = link_share.plan(meter)
    width = max(len(row.name) for row in plan.rows) + 2 if plan.rows else 0
    lines = [f"  {'in an hour':{width}}{'reads':>7}{'seconds':>9}   of its link"]
    for name, reads, line_ms, percent in (
        *((row.name, row.messages, row.line_ms, row.percent) for row in plan.rows),
        ("in total", plan.messages, sum(row.line_ms for row in plan.rows), plan.percent),
    ):
        lines.append(f"    {name:{width}}{reads:5}{line_ms / 1000:9.1f}{percent:10.1f} %")
    if plan.percent > 100:
        raise ConfigurationError(
            "\n".join(
                (
                    f"meter {meter.name}: its schedule needs {plan.percent:.0f} % of the time of its link at "
                    f'{meter.baud} baud: set longer intervals, or "off" for what you do not need',
                    *lines,
                )
            )
        )
    if plan.alarm_ms is not None:
        lines.append(f"  an alarm in the meter is published within {plan.alarm_ms / 1000:.1f} s")
    advice = schedule.READS_PER_HOUR
    if plan.messages > advice and plan.reads_per_hour > advice:
        lines.append(
            f"  warning: alarm_latency takes {plan.messages} reads an hour, which exceeds the guide's advice "
            f"of {advice} on average: the meter's other clients may have to wait"
        )
    elif plan.messages > advice:
        lines.append(
            f"  warning: this takes some {plan.messages} reads an hour. No more than {advice} go out, as the "
            "guide advises: what is read most often comes later than set here. "
            'Set longer intervals, or "off" for what you do not need'
        )
    return lines


def _writes(meter: config.MeterSection) -> list[str]:
    """What will be written to the meter."""
    lines = []
    if meter.registers:
        lines.append("  writes its registration to the meter (ET50), once, and acts on its alerts")
    if meter.power_change_w:
        lines.append(
            f"  has the meter tell changes of power of {meter.power_change_w} W and more: writes ET71 once "
            "and after power outages, and calls a procedure (EP39) for each change"
        )
    if meter.on_demand_ms:
        every = duration_text(max(meter.on_demand_ms, 3_600_000))
        lines.append(
            f"  has M-Bus devices read every {every} where the meter does so less often: calls a procedure "
            "(EP19) for each device and read"
        )
    return lines or ["  writes nothing to the meter"]


def _commands(found: config.Configuration, meter: config.MeterSection) -> str:
    """Who may command the meter, and what."""
    file = found.command_credential(meter)
    if file is None or not found.commands.allow:
        return "  takes no commands"
    # Nothing but a board is updated by one.
    taken = [one for one in found.commands.allow if one != "update" or found.board]
    allowed = ", ".join(taken) or "none that is not for a board"
    line = f"  takes commands ({allowed}) from who knows the secret in {file}"
    if file in (found.broker.credential_file, found.broker.password_file):
        line += ": the secret of the broker section, so who gives receipts can command too; give it its own"
    return line


def _intervals(section: config.ScheduleSection) -> list[str]:
    found = []
    for name, interval in section.model_dump().items():
        kind = name.replace("_", " ")
        if interval is None:
            found.append(f"{kind} as its intervals end")
        else:
            found.append(f"{kind} every {duration_text(interval)}" if interval else f"no {kind}")
    return found


def _time(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
