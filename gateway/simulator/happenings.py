"""What can be made to happen to a meter, by name: now, at a chosen moment, or by a scenario."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from . import profile_tables
from .profile import standard

if TYPE_CHECKING:
    from .meter import VirtualMeter


def _cut_power(meter: "VirtualMeter", run_ms: int, duration: int) -> None:
    meter.life.cut_power(run_ms, duration)


def _move_clock(meter: "VirtualMeter", run_ms: int, seconds: int) -> None:
    meter.life.set_clock(run_ms, meter.world.clock_at(run_ms) + 1000 * seconds)


def _set_alarm(meter: "VirtualMeter", _run_ms: int, name: str) -> None:
    meter.life.alarm(name)


def _clear_alarm(meter: "VirtualMeter", _run_ms: int, name: str) -> None:
    meter.life.alarm(name, is_set=False)


def _log_event(meter: "VirtualMeter", _run_ms: int, code: int, argument: int = 0) -> None:
    meter.life.note(code, argument)


def _reset_log(meter: "VirtualMeter", _run_ms: int, table: str = "BT74") -> None:
    if table in meter.life.events.logs:
        meter.life.events.clear(table, meter.life.clock)


def _reset_demands(meter: "VirtualMeter", _run_ms: int) -> None:
    meter.life.reset_demands()


def _self_read(meter: "VirtualMeter", _run_ms: int) -> None:
    meter.life.self_read()


def _lose_device(meter: "VirtualMeter", _run_ms: int, index: int) -> None:
    meter.life.bus.devices[index].missing = True


def _find_device(meter: "VirtualMeter", _run_ms: int, index: int) -> None:
    meter.life.bus.devices[index].missing = False


def _set_device_status(meter: "VirtualMeter", _run_ms: int, index: int, status: int) -> None:
    meter.life.bus.devices[index].status = status


def _clear_device_alarms(meter: "VirtualMeter", _run_ms: int, index: int) -> None:
    meter.life.bus.clear_alarms(meter.life.bus.slots[index], meter.life.clock)


def _request_client(meter: "VirtualMeter", _run_ms: int, client: int = 1, data: str = "") -> None:
    if client <= len(meter.ports):
        meter.clients.ask(client, bytes.fromhex(data))


def _schedule_client(
    meter: "VirtualMeter",
    _run_ms: int,
    client: int,
    frequency: int,
    hour: int = 0,
    minute: int = 0,
    day: int = 0,
) -> None:
    if client <= len(meter.ports):
        meter.clients.set_schedule(client, frequency, hour, minute, day)


def _configure_profile(
    meter: "VirtualMeter", _run_ms: int, sets: int, blocks: int = 40, extras: bool = False
) -> None:
    known = profile_tables.sets_of(meter.generation)
    meter.take_profile(standard(known, sets, end_readings=extras, scaling=extras, blocks=blocks))


def _configure_registers(meter: "VirtualMeter", _run_ms: int, summations: int, demands: int) -> None:
    g = meter.generation
    if demands and not g.knows_demand:
        return
    most = max(summations, g.max_summations)
    meter.reconfigure(replace(g, summations=summations, max_summations=most, demands=demands))


HAPPENINGS: dict[str, Callable[..., None]] = {
    "cut_power": _cut_power,
    "move_clock": _move_clock,
    "set_alarm": _set_alarm,
    "clear_alarm": _clear_alarm,
    "log_event": _log_event,
    "reset_log": _reset_log,
    "reset_demands": _reset_demands,
    "self_read": _self_read,
    "lose_device": _lose_device,
    "find_device": _find_device,
    "set_device_status": _set_device_status,
    "clear_device_alarms": _clear_device_alarms,
    "request_client": _request_client,
    "schedule_client": _schedule_client,
    "configure_profile": _configure_profile,
    "configure_registers": _configure_registers,
}
