"""C12.18 response codes as errors that say what to do (MEP guide, chapter 2, table 2.7; ANSI C12.18-1996)."""

from .._compat import const
from ..errors import MeterError, Refused
from .c1218 import PROCEDURES, describe, is_full_read, is_write, table_of

_NO_PERMISSION = const(0x03)

_MEANINGS = {
    0x01: "unrecognized request: it does not know this kind of request; its firmware may be too old for it",
    0x02: "unsupported request: its firmware lacks this table or this way to access it",
    0x03: "no permission: the key's rights or the meter's hardware lock forbid it",
    0x04: "operation not possible: the table is absent from this firmware or shorter than that",
    0x05: "table operation not possible: the table is absent from this firmware, shorter than that, or not "
    "to be accessed in this way",
    0x06: "busy: try again later",
    0x07: "data not ready: try again later",
    0x08: "data locked: another client holds it; try again later",
    0x09: "renegotiate: it wants another session, and again in each new one",
    0x0A: "invalid service sequence state: this is not the time for it; over MEP, a TLS session is expected "
    "or open on this port",
}

_PROCEDURE_REFUSED = (
    "operation not possible: the meter is busy, or has seen this procedure sequence number: call again with "
    "the next"
)


def refusal(code: int, request: bytes, rights: str) -> MeterError:
    """The error for an answer to a read or write `request` with `code`, which is not 00; `rights`: a sentence
    on what the port's keys allow."""
    meaning = _MEANINGS.get(code, "a code that the guide does not name")
    if code == _NO_PERMISSION:
        meaning += ". " + rights
    if code == 0x04 and table_of(request) == PROCEDURES and is_write(request):
        meaning = _PROCEDURE_REFUSED
    if is_full_read(request):
        meaning += "; a table that does not fit into one answer has to be read with offset and count"
    return Refused(
        "%s: the meter answered %02X, %s" % (describe(request), code, meaning), code, table_of(request)
    )
