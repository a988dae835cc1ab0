"""Lives for a meter: quiet ones and busy ones from a seed, or one from a file.

A file holds a JSON list of happenings: `{"at": "2024-01-31T12:00:00Z", "do": "cut_power", "with": [600]}`, or
`"after": 90` in seconds from the meter's beginning in place of `at`.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .alarms import check_name
from .calendar import DAY_MS
from .generations import MAX_DEMANDS, SUMMATION_COUNTS
from .happenings import HAPPENINGS

if TYPE_CHECKING:
    from .meter import VirtualMeter

KINDS = ("none", "quiet", "busy")

# Run time, name, arguments.
Happening = tuple[int, str, tuple[object, ...]]

_TEN_YEARS = 10 * 366 * 86_400
# What the arguments of happenings may be, by name.
_ALLOWED: dict[str, range | tuple[object, ...]] = {
    "duration": range(_TEN_YEARS),
    "seconds": range(-_TEN_YEARS, _TEN_YEARS),
    "code": range(1 << 16),
    "argument": range(1 << 16),
    "table": ("BT74", "ET79"),
    "index": range(2),
    "status": range(256),
    "client": range(1, 3),
    "frequency": range(5),
    "hour": range(24),
    "minute": range(60),
    "day": range(40),
    "sets": range(5),
    "blocks": range(1, 1000),
    "summations": SUMMATION_COUNTS,
    "demands": range(MAX_DEMANDS + 1),
}

_TAMPERS = ("magnetic tamper", "cover removed", "reverse energy", "power quality", "phase loss")


def begin(meter: "VirtualMeter", life: str | list[Happening], seed: int) -> None:
    """Give a meter one of KINDS for a life, or what read_file gives."""
    if not isinstance(life, str):
        for run_ms, name, arguments in life:
            meter.at(run_ms, name, *arguments)
        return
    if life not in KINDS:
        raise ConfigurationError("life %s: there are %s, or a file" % (life, ", ".join(KINDS)))
    if life != "none":
        start = meter.world.start_ms
        meter.life.plan(start, lambda _: _live(meter, life, seed, start))


def _live(meter: "VirtualMeter", life: str, seed: int, day_ms: int) -> None:
    """Plan one day; its end plans the next."""
    chance = Random("%d %s life %d" % (seed, life, day_ms // DAY_MS))
    happenings = _busy_day(chance) if life == "busy" else _quiet_day(chance)
    for offset, name, arguments in happenings:
        meter.at(day_ms + offset, name, *arguments)
    meter.life.plan(day_ms + DAY_MS, lambda _: _live(meter, life, seed, day_ms + DAY_MS))


def _quiet_day(chance: Random) -> Iterator[Happening]:
    """The clock is set right now and then, and rarely something fails."""
    if chance.random() < 0.5:
        yield _moment(chance), "move_clock", (chance.choice((-3, -2, 2, 3)),)
    if chance.random() < 0.1:
        yield _moment(chance), "cut_power", (chance.randint(2, 300),)
    if chance.random() < 0.05:
        yield from _tamper(chance)


def _busy_day(chance: Random) -> Iterator[Happening]:
    """All that can happen to a meter, some of it each day."""
    for _ in range(chance.randint(0, 2)):
        yield _moment(chance), "cut_power", (chance.choice((3, 40, 600, 3600)),)
    for _ in range(chance.randint(1, 2)):
        yield from _tamper(chance)
    kind = chance.random()
    if kind < 0.5:
        yield _moment(chance), "move_clock", (chance.choice((-9, -4, 5, 8)),)
    elif kind < 0.7:
        yield _moment(chance), "move_clock", (60 * chance.randint(-50, 50),)
    elif kind < 0.75:
        yield _moment(chance), "move_clock", (3600 * chance.choice((-5, -2, 2, 7)),)
    if chance.random() < 0.2:
        yield _moment(chance), "reset_demands", ()
    if chance.random() < 0.2:
        yield _moment(chance), "self_read", ()
    if chance.random() < 0.05:
        yield _moment(chance), "reset_log", (chance.choice(("BT74", "ET79")),)
    if chance.random() < 0.2:
        lost, index = _moment(chance), chance.randrange(2)
        yield lost, "lose_device", (index,)
        yield lost + chance.randint(2, 5) * 3_600_000, "find_device", (index,)
    if chance.random() < 0.2:
        index, battery_low = chance.randrange(2), 1 << 2
        yield _moment(chance), "set_device_status", (index, chance.choice((0, battery_low)))
        yield _moment(chance), "clear_device_alarms", (index,)
    if chance.random() < 0.05:
        yield _moment(chance), "configure_profile", (chance.randint(1, 4),)
    if chance.random() < 0.3:
        yield _moment(chance), "request_client", (1,)


def _tamper(chance: Random) -> Iterator[Happening]:
    name, moment = chance.choice(_TAMPERS), _moment(chance)
    yield moment, "set_alarm", (name,)
    yield moment + chance.randrange(1000, 10_800_000), "clear_alarm", (name,)


def _moment(chance: Random) -> int:
    return chance.randrange(DAY_MS)


def read_file(path: Path, start_ms: int) -> list[Happening]:
    """The happenings in a file, for a meter that begins at `start_ms`. Raises ConfigurationError."""
    try:
        listed = json.loads(path.read_text("utf-8"))
        return [_entry(entry, start_ms) for entry in listed]
    except OSError as error:
        raise ConfigurationError("can't read %s: %s" % (path, error.strerror)) from None
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError("%s is no list of happenings: %s" % (path, error)) from None


def _entry(entry: dict[str, object], start_ms: int) -> Happening:
    name = entry["do"]
    if name not in HAPPENINGS:
        raise ValueError("%r can't happen; what can: %s" % (name, ", ".join(HAPPENINGS)))
    arguments = entry.get("with", [])
    if not isinstance(arguments, list):
        raise ValueError("what %s happens with is a list" % name)
    try:
        of_happening = signature(HAPPENINGS[str(name)])
        for argument, given in list(of_happening.bind(None, 0, *arguments).arguments.items())[2:]:
            _check(argument, given, of_happening.parameters[argument].annotation)
    except TypeError as error:
        raise ValueError("%s with %r: %s" % (name, arguments, error)) from None
    if "at" in entry:
        at = datetime.fromisoformat(str(entry["at"]))
        since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        run_ms = (since.days * 86_400 + since.seconds) * 1000
    else:
        run_ms = start_ms + 1000 * int(str(entry["after"]))
    return run_ms, str(name), tuple(arguments)


def _check(argument: str, given: object, kind: type) -> None:
    """Raises TypeError and ValueError for what an argument can't be."""
    if type(given) is not kind:
        raise TypeError("%s can't be %r" % (argument, given))
    if argument == "name":
        check_name(given)
    if argument == "data":
        bytes.fromhex(str(given))
    allowed = _ALLOWED.get(argument)
    if allowed is not None and given not in allowed:
        what = (
            "%d to %d" % (allowed[0], allowed[-1])
            if isinstance(allowed, range)
            else ", ".join(map(str, allowed))
        )
        raise ValueError("%s %s: there are %s" % (argument, given, what))
