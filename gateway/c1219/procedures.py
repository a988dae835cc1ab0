"""Calls procedures (MEP guide, chapter 4, "Calling Procedures"; ANSI C12.19).

A call is a write to BT07; what came of it stands in BT08, ET59 or ET85, depending on who asks. Each call
is a write to a meter's memory, so nobody calls a procedure whom the configuration has not allowed to.
"""

import os

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import ProcedureFailed, Refused, TableError

if TYPE_CHECKING:
    from ..meter import Meter
    from .tables import Tables

_BT07 = const(7)
BT08 = 8
ET59 = 2107
ET85 = 2133
_ET50 = const(2098)
_ET54 = const(2102)
_ET70 = const(2118)

_PORT = const(142)  # ET70.142: 1 or 2
_FLAGS = const(30)  # ET50.30: bit 1 says that ET59 is used

# Sequence numbers of MEP clients; one must differ from the one before.
_FIRST = const(5)
_NUMBERS = const(5)

_REPEATED_OR_BUSY = const(4)
_INCOMPLETE = const(1)
_HEADER = const(4)
_TRIES = const(4)
_LOOKS = const(4)
_LOOK_MS = const(500)  # a response may take a second to be posted

_RESULTS = (
    "completed",
    "accepted but not fully completed",
    "invalid parameter, ignored",
    "conflicts with the meter's set-up, ignored",
    "timing constraint, ignored",
    "no authorization, ignored",
    "not known to this meter, ignored",
)


def request(procedure: int, number: int, parameters: bytes = b"") -> bytes:
    """What BT07 takes: `procedure` as in BPxx (bit 11 clear) or EPxx (2048 + xx)."""
    return bytes((procedure & 0xFF, procedure >> 8 & 0x0F, number)) + parameters


def result(data: bytes, procedure: int, number: int) -> "int | None":
    """The result code in a response table's first bytes; None when they answer another call."""
    if len(data) < _HEADER:
        raise TableError("a procedure's response has %d bytes, at least 4 are expected" % len(data))
    if data[0] | (data[1] & 0x0F) << 8 != procedure or data[2] != number:
        return None
    return data[3]


async def mep_port(tables: "Tables") -> int:
    """Which MEP port this client is on: 1 or 2 where the meter has two (ET54.0.8, ET70.142), 0 where it has
    only one (MEP guide, chapter 2, "Determining the MEP Port")."""
    memo = tables.memo
    port: int | None = memo.get("mep_port")
    if port is None:
        port = 0
        try:
            if (await tables.meter.read(_ET54, 0, 2))[1] & 1:
                port = (await tables.meter.read(_ET70, _PORT, 1))[0]
        except Refused:
            pass
        memo["mep_port"] = port
    return port


async def response_table(tables: "Tables") -> int:
    """Where this client's responses stand: ET85 on a second MEP port, else ET59 where ET50.30.1 says so, else
    BT08. A meter that does not know these tables uses BT08."""
    if await mep_port(tables) == 2:
        return ET85
    try:
        return ET59 if (await tables.meter.read(_ET50, _FLAGS, 1))[0] & 2 else BT08
    except Refused:
        return BT08


class Procedures:
    """Calls procedures of one meter over one connection; `answers` is the table of `response_table`."""

    def __init__(self, meter: "Meter", answers: int) -> None:
        self._meter = meter
        self._answers = answers
        self._next = os.urandom(1)[0] % _NUMBERS

    async def call(self, procedure: int, parameters: bytes = b"", output: int = 0) -> bytes:
        """Carry it out; gives `output` bytes that it answers.

        Raises ProcedureFailed with the meter's result, or what Meter raises. When the answer to the write
        was lost the procedure may run twice, so only those that bear it are called.
        """
        number = await self._start(procedure, parameters)
        data = b""
        for look in range(_LOOKS):
            if look:
                await clock.sleep_ms(_LOOK_MS)
            data = await self._meter.read(self._answers, 0, _HEADER + output)
            code = result(data, procedure, number)
            if code == 0:
                return data[_HEADER:]
            if code is not None and code != _INCOMPLETE:
                raise ProcedureFailed(
                    "procedure %s: the meter says: %s" % (name(procedure), _result(code)), procedure, code
                )
        if result(data, procedure, number) is None:
            raise TableError(
                "procedure %s: its response never appeared; another client may have called one meanwhile, or "
                "the responses stand elsewhere (ET50.30.1)" % name(procedure)
            )
        raise ProcedureFailed(
            "procedure %s: %s after %d ms" % (name(procedure), _RESULTS[1], _LOOKS * _LOOK_MS),
            procedure,
            _INCOMPLETE,
        )

    async def _start(self, procedure: int, parameters: bytes) -> int:
        """Answer 04 means a repeated number or a busy meter: the next number, a few times."""
        for attempt in range(_TRIES):
            number: int = _FIRST + self._next
            self._next = (self._next + 1) % _NUMBERS
            try:
                await self._meter.write(_BT07, request(procedure, number, parameters))
            except Refused as refusal:
                if refusal.code != _REPEATED_OR_BUSY or attempt == _TRIES - 1:
                    raise
                await clock.sleep_ms(_LOOK_MS)
            else:
                return number
        raise AssertionError


async def procedures(tables: "Tables") -> Procedures:
    """The meter's procedures; the same for everyone on this connection, so that numbers do not repeat."""
    memo = tables.memo
    known: Procedures | None = memo.get("procedures")
    if known is None:
        known = memo["procedures"] = Procedures(tables.meter, await response_table(tables))
    return known


def name(procedure: int) -> str:
    return ("EP%02d" if procedure & 0x800 else "BP%02d") % (procedure & 0x7FF)


def _result(code: int) -> str:
    return _RESULTS[code] if code < len(_RESULTS) else "code %d" % code
