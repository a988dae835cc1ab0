"""The gateway's status (docs/status.md) in words: a line for the service manager, a page for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

# What somebody can do where the reason does not say so itself.
_ADVICE = {
    "silent": "Is the meter powered, the cable in its MEP port, nothing else on the line?",
    "key-refused": "Put the right one into its file, and where systemd hands it out, restart: systemctl "
    "restart osgp-gateway",
}
_NOT_TAKEN = {
    "strangers": "of adapters without a credential: see docs/roles.md",
    "refused": "could not be understood",
    "full": "found no room, and stay with their adapters",
    "lost": "found no room, and are lost",
    "dropped": "came faster than they could be taken",
}
_MIB = 1 << 20
_NONE = {"reason": ""}
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400

Status = dict[str, Any]


def headline(status: Status) -> str:
    """One line: what is not as it should be, and what waits."""
    meters, broker = status["meters"], status["broker"]
    well = [meter for meter in meters if meter["state"] in ("working", "idle")]
    parts = [f"{len(well)} of {_count(len(meters), 'meter')} well"] if meters else []
    parts += [f"{meter['name']}: {meter['state']}" for meter in meters if meter not in well]
    parts.append(f"broker: {broker['state']}")
    if "local" in status:
        parts.append(f"local broker: {status['local']['state']}")
    parts.append(_waiting(status))
    if status["outbox"]["state"] == "failing":
        parts.append(f"storage fails: {status['outbox']['reason']}")
    return "; ".join(parts)


def page(status: Status) -> Iterator[str]:
    """Lines for a terminal."""
    now = status["nowMs"]
    program = status.get("program")
    started = f", running for {span(now - program['startedMs'])}" if program else ""
    yield f"gateway {status['gateway']}{started}"
    if "healthy" in status:
        yield "  all is well" if status["healthy"] else "  not all is well:"
        reasons = [
            one["reason"]
            for one in (*status["meters"], status["broker"], status["outbox"], status.get("local", _NONE))
        ]
        for problem in status["problems"]:
            if not any(reason and reason in problem for reason in reasons):  # which is told below
                yield f"    {problem}"
    for meter in status["meters"]:
        yield ""
        yield from _meter(meter, now)
    yield ""
    yield from _broker(status["broker"], now, status["monotonicMs"])
    yield from _outbox(status, now)
    if "local" in status:
        yield from _local(status["local"], now)
    if "commands" in status:
        commands = status["commands"]
        taken, ignored = commands["taken"], commands["ignored"]
        yield f"commands: {taken} taken, {commands['running']} running, {ignored} ignored"


def span(ms: int) -> str:
    """A length of time in its two biggest units: "8 s", "4 min 10 s", "3 d 4 h"."""
    seconds = max(ms, 0) // 1000
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    for big, small, words in ((_HOUR_S, 60, "min s"), (_DAY_S, 3600, "h min"), (1 << 60, 86400, "d h")):
        if seconds < big:
            name, rest_name = words.split()
            rest = seconds % small // {"s": 1, "min": _MINUTE_S, "h": _HOUR_S}[rest_name]
            return f"{seconds // small} {name}" + (f" {rest} {rest_name}" if rest else "")
    raise AssertionError("no span is that long")


def _state(one: Status, now: int) -> str:
    """State, since when, and why, with what to do."""
    text = f"{one['state']} for {span(now - one['sinceMs'])}"
    return text + (f", tried again {_count(one['failures'], 'time')}" if one["failures"] else "")


def _why(one: Status, indent: str) -> Iterator[str]:
    if one["reason"]:
        yield f"{indent}{one['reason']}"
    if one["state"] in _ADVICE:
        yield f"{indent}{_ADVICE[one['state']]}"


def _meter(meter: Status, now: int) -> Iterator[str]:
    yield f"meter {meter['name']}: {_state(meter, now)}"
    yield from _why(meter, "  ")
    about = [meter["identity"] or "not yet said who it is"]
    if meter.get("security"):
        about.append(meter["security"])
    drift = meter.get("driftMs")
    if drift is not None:
        about.append(f"its clock is {_seconds(abs(drift))} {'ahead' if drift >= 0 else 'behind'}")
    link = meter.get("link")
    if link and link["exchanges"]:
        about.append(f"{link['answers']} answers to {link['exchanges']} requests, {link['retries']} repeated")
    yield f"  {'; '.join(about)}"
    for name, kind in meter["kinds"].items():
        yield f"  {name:<13}{_kind(kind, now)}"


def _kind(kind: Status, now: int) -> str:
    last = kind["lastMs"]
    text = "not read yet" if last is None else f"read {span(now - last)} ago"
    if kind.get("intervalMs"):
        text += f", every {span(kind['intervalMs'])}"
    if kind.get("staleMs") is not None:
        text += f"; STALE since {_time(kind['staleMs'])}"
    if kind["missed"]:
        text += f"; {_count(kind['missed'], 'time')} too late"
    if kind["problem"]:
        text += f"; {kind['problem']}"
    return text


def _broker(broker: Status, now: int, monotonic: int) -> Iterator[str]:
    yield f"broker: {_state(broker, now)}"
    yield from _why(broker, "  ")
    acknowledged = broker.get("acknowledgedAtMs")
    if acknowledged is not None:
        ago = span(monotonic - acknowledged)
        yield f"  took {_count(broker['published'], 'frame')}, the last message {ago} ago"
    ends = broker.get("certificateMs")
    if ends is not None:
        yield f"  its certificate is good until {_time(ends)}"


def _outbox(status: Status, now: int) -> Iterator[str]:
    outbox = status["outbox"]
    yield f"outbox: {_state(outbox, now)}"
    yield from _why(outbox, "  ")
    used, capacity = outbox["usedBytes"], outbox["capacityBytes"]
    yield f"  {_waiting(status)}; {_mebibytes(used)} of {_mebibytes(capacity)} MiB used"
    if outbox["droppedFrames"]:
        yield f"  {_count(outbox['droppedFrames'], 'frame')} of present values gave way to newer ones"
    if outbox["damagedFiles"]:
        were = "was" if outbox["damagedFiles"] == 1 else "were"
        yield f"  {_count(outbox['damagedFiles'], 'damaged file')} {were} set aside: see docs/outbox.md"


def _local(local: Status, now: int) -> Iterator[str]:
    yield f"local broker: {_state(local, now)}"
    yield from _why(local, "  ")
    meters, frames = _count(local["meters"], "meter"), _count(local["frames"], "frame")
    yield f"  serves adapters of {meters}, took {frames} of them"
    for field, words in _NOT_TAKEN.items():
        if local[field]:
            yield f"  {_count(local[field], 'message')} {words}"


def _waiting(status: Status) -> str:
    """What the receiver does not have yet, and for how long."""
    outbox = status["outbox"]
    frames = outbox.get("pendingFrames")
    if not outbox["waiting"] or frames == 0:
        return "nothing waits to be sent"
    if frames is None:
        return f"something of {_count(outbox['waiting'], 'meter')} waits to be sent"
    oldest = outbox.get("oldestMs")
    since = "" if oldest is None else f", the oldest for {span(status['nowMs'] - oldest)}"
    return f"{_count(frames, 'frame')} {'waits' if frames == 1 else 'wait'} to be sent{since}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000 // 100} s" if ms < _MINUTE_S * 1000 else span(ms)


def _mebibytes(size: int) -> str:
    tenths = size * 10 // _MIB
    return f"{tenths // 10}.{tenths % 10}"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
