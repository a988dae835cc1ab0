"""C12.18 response codes as errors that say what to do (MEP guide, chapter 2, table 2.7; ANSI C12.18-1996)."""

from .._compat import const
from ..errors import MeterError, Refused
from .c1218 import PROCEDURES, describe, is_full_read, is_write, table_of

_NO_PERMISSION = const(0x03)
_FIRST = const(0x01)
_LAST = const(0x0A)


def refusal(code: int, request: bytes, rights: str) -> MeterError:
    """The error for an answer to a read or write `request` with `code`, which is not 00; `rights`: a sentence
    on what the port's keys allow."""
    # In one text, which a board has in memory only now.
    meanings = (
        "unrecognized request: it does not know this kind of request; its firmware may be too old for it\n"
        "unsupported request: its firmware lacks this table or this way to access it\n"
        "no permission: the key's rights or the meter's hardware lock forbid it\n"
        "operation not possible: the table is absent from this firmware or shorter than that\n"
        "table operation not possible: the table is absent from this firmware, shorter than that, or not to "
        "be accessed in this way\n"
        "busy: try again later\n"
        "data not ready: try again later\n"
        "data locked: another client holds it; try again later\n"
        "renegotiate: it wants another session, and again in each new one\n"
        "invalid service sequence state: this is not the time for it; over MEP, a TLS session is expected or "
        "open on this port"
    )
    meaning = "a code that the guide does not name"
    if _FIRST <= code <= _LAST:
        meaning = meanings.split("\n")[code - _FIRST]
    if code == _NO_PERMISSION:
        meaning += ". " + rights
    if code == 0x04 and table_of(request) == PROCEDURES and is_write(request):
        meaning = (
            "operation not possible: the meter is busy, or has seen this procedure sequence number: call "
            "again with the next"
        )
    if is_full_read(request):
        meaning += "; a table that does not fit into one answer has to be read with offset and count"
    return Refused(
        "%s: the meter answered %02X, %s" % (describe(request), code, meaning), code, table_of(request)
    )
