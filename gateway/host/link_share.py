"""What a schedule needs of a meter's link: messages, time, and how late an alarm may come.

The line carries 10 bits a byte; a MEP meter answers at most once in 100 ms and pauses for 25 ms after each
117 bytes (MEP guide, chapter 2, "MEP Protocol Timing"). What the kinds read is that of a meter with firmware
4.30; older ones have less. What has piled up is read in the time that is left.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core import schedule
from ..drivers.mep.security import AUTO, TLS
from ..errors import ConfigurationError
from ..transmission import model
from . import config
from .config_fields import duration_text

_HOUR_MS = 3_600_000

# By kind: bytes of the tables that one run reads, and how often it makes sure that the meter's dimensions
# stand where the port does not tell when they change, a message each.
_BYTES = {
    model.ALARM: (16, 0),
    model.PRESENT: (336, 1),
    model.REGISTERS: (684, 1),
    model.CLOCK: (15, 0),
    model.LOAD_PROFILE: (148, 1),
    model.EVENT: (28, 2),
    model.MBUS: (643, 2),
    model.SELF_READ: (100, 1),
}

_THINKING_MS = 20  # until the meter answers
_SPACING_MS = 100
_SEGMENT = 117
_PAUSE_MS = 25
# What the largest answer carries of tables.
_LARGEST = 456

# Bytes of a request, and of an answer beyond the table's.
_MEP = (22, 13)
_MEP_TLS = (40, 35)
_OPTICAL = (17, 13)
# An optical exchange is acknowledged both ways; packets of 64 bytes, of which a session makes larger ones.
_OPTICAL_TURNS_MS = 45
# To begin a session and to end it: both mostly at 9600 baud, waiting for the other side.
_SESSION_MS = 433
# Who has to wait so long ends the session.
_WORTH_RELEASING_MS = 1000

# From the meter's answer to the row in the database, and what else may come in between.
_ONWARD_MS = 250
_STEP_MS = 100
_FASTEST_MS = 500


@dataclass(frozen=True)
class Row:
    """What is read how often, or sessions: messages and milliseconds of line in an hour."""

    name: str
    messages: int
    line_ms: int

    @property
    def percent(self) -> float:
        return 100 * self.line_ms / _HOUR_MS


@dataclass(frozen=True)
class Plan:
    """`intervals_ms`: by kind; `reads_per_hour`: the most that go out; `rows`: what they need;
    `alarm_ms`: how long it takes at most from an alarm in the meter until it is published, None without."""

    intervals_ms: dict[int, int]
    reads_per_hour: int
    rows: list[Row]
    alarm_ms: int | None

    @property
    def messages(self) -> int:
        return sum(row.messages for row in self.rows)

    @property
    def percent(self) -> float:
        return sum(row.percent for row in self.rows)


def plan(section: config.MeterSection) -> Plan:
    """What the configuration of a meter comes to. Raises ConfigurationError for what the line can't carry."""
    line = _Line(section)
    intervals = section.schedule.intervals_ms()
    latency = section.alarm_latency
    reads = schedule.READS_PER_HOUR
    if latency and not section.schedule.alarms:
        raise ConfigurationError(f'meter {section.name}: alarm_latency is of no use with alarms = "off"')
    if latency:
        interval = latency - line.alarm_ms(0)
        if interval < _FASTEST_MS:
            raise ConfigurationError(
                f'meter {section.name}: alarm_latency = "{duration_text(latency)}" can\'t be held: at '
                f"{section.baud} baud an alarm, which may have to wait for a message, takes up to "
                f"{line.alarm_ms(_FASTEST_MS) / 1000:.1f} s"
            )
        intervals[model.ALARM] = min(section.schedule.alarms, interval // _STEP_MS * _STEP_MS)
    rows = line.rows(intervals)
    if latency:
        reads = max(reads, sum(row.messages for row in rows) * 21 // 20)
    every = intervals.get(model.ALARM, 0)
    return Plan(intervals, reads, rows, line.alarm_ms(every) if every else None)


class _Line:
    def __init__(self, section: config.MeterSection) -> None:
        self.optical = section.protocol == "optical"
        self.baud = section.baud
        self.tells = not self.optical and section.security not in (TLS, AUTO)
        self.sessions = self.optical and section.log_off == "cycle"
        self.request, self.answer = _OPTICAL if self.optical else _MEP if self.tells else _MEP_TLS

    def message_ms(self, count: int, spaced: bool = True) -> int:
        """How long the line is taken by a read of `count` bytes; `spaced`: until the next request."""
        asking = self._line_ms(self.request)
        answer = count + self.answer
        answering = self._line_ms(answer)
        if self.optical:
            return asking + answering + _OPTICAL_TURNS_MS
        answering += _THINKING_MS + (answer - 1) // _SEGMENT * _PAUSE_MS
        return asking + (max(answering, _SPACING_MS) if spaced else answering)

    def run_ms(self, kind: int, messages: int) -> int:
        """One run of a kind, whose bytes come in messages of one size."""
        count, checks = _BYTES[kind]
        total = messages * self.message_ms(count // messages)
        return total if self.tells else total + checks * self.message_ms(1)

    def rows(self, intervals: dict[int, int]) -> list[Row]:
        rows = []
        for kind, default, _, _, messages in schedule.DEFAULT:
            every = intervals.get(kind, default)
            if every:
                more = 0 if self.tells else _BYTES[kind][1]
                name = model.KIND_NAMES[kind].replace("-", " ")
                rows.append(
                    Row(
                        f"{name} every {duration_text(every)}",
                        (messages + more) * _HOUR_MS // every,
                        self.run_ms(kind, messages) * _HOUR_MS // every,
                    )
                )
        if self.sessions:
            rows.append(self._session_row(intervals))
        return rows

    def alarm_ms(self, every: int) -> int:
        """At most, from an alarm to its publishing: the next read, behind the largest message."""
        session = _SESSION_MS if self.sessions else 0
        waiting = self.message_ms(_LARGEST)
        return every + waiting + session + self.message_ms(_BYTES[model.ALARM][0], False) + _ONWARD_MS

    def _session_row(self, intervals: dict[int, int]) -> Row:
        """A session for all that is due within a second."""
        times: set[int] = set()
        for kind, default, offset, _, _ in schedule.DEFAULT:
            every = intervals.get(kind, default)
            if every:
                times.update(range(offset % every, _HOUR_MS, every))
        sessions = 0
        last = -_HOUR_MS
        for at in sorted(times):
            if at - last > _WORTH_RELEASING_MS:
                sessions += 1
            last = at
        return Row(f"{sessions} sessions", 0, sessions * _SESSION_MS)

    def _line_ms(self, count: int) -> int:
        return -(-count * 10_000 // self.baud)
