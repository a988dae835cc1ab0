"""Response codes as errors that say what to do (MEP guide, chapter 2, table 2.7, and C12.18's own codes)."""

from ...errors import AuthenticationError, MeterError, NoAnswer, ProtocolError, Refused
from .messages import AUTHENTICATION_FAILURE, PROCEDURES, describe, is_full_read, is_write, table_of

_MEANINGS = {
    0x01: "unrecognized request: it does not know this kind of request; its firmware may be too old for it",
    0x02: "unsupported request: its firmware lacks this table or this way to access it",
    0x03: "no permission: the key's rights or the meter's hardware lock forbid it. The basic key (MBK) reads "
    "all tables and writes few; the advanced key (MAK) may do more",
    0x04: "operation not possible: the table is absent from this firmware or shorter than that",
    0x05: "table operation not possible: the table is absent from this firmware, shorter than that, or not "
    "to be accessed in this way",
    0x06: "busy: try again later",
    0x07: "data not ready: try again later",
    0x08: "data locked: another client holds it; try again later",
    0x0A: "invalid service sequence state: a TLS session is expected or open on this port",
}

_PROCEDURE_REFUSED = (
    "operation not possible: the meter is busy, or has seen this procedure sequence number: call again with "
    "the next"
)


def refusal(code: int, request: bytes) -> MeterError:
    """The error for an authenticated answer to `request` with a `code` other than 00, 0B and 0C."""
    meaning = _MEANINGS.get(code, "a code that the guide does not name")
    if code == 0x04 and table_of(request) == PROCEDURES and is_write(request):
        meaning = _PROCEDURE_REFUSED
    if is_full_read(request):
        meaning += "; a table that does not fit into one answer has to be read with offset and count"
    return Refused(
        "%s: the meter answered %02X, %s" % (describe(request), code, meaning), code, table_of(request)
    )


def key_refused(request: bytes, times: int) -> MeterError:
    return AuthenticationError(
        "%s: the meter refused the key %d times in a row (answer %02X). Each time counts as an alarm at the "
        "meter, so it is not tried on and on. Is it this meter's key, whole, and as the utility wrote it?"
        % (describe(request), times, AUTHENTICATION_FAILURE)
    )


def out_of_step(request: bytes, times: int) -> MeterError:
    return ProtocolError(
        "%s: the meter asked %d times for another sequence number. Does a second program use this port?"
        % (describe(request), times)
    )


def no_answer(request: bytes, tries: int, unproven: int, garbage: bool) -> MeterError:
    """The error when no try got an answer to be believed.

    `unproven`: how many whole answers came whose digest does not fit; `garbage`: whether bytes came that
    are no answer at all.
    """
    what = "%s: tried %d times, " % (describe(request), tries)
    if unproven:
        return ProtocolError(
            what + "and %d answers came whose digest does not fit; none is believed. Noise on the line, or "
            "a port that is set to TLS or is no MEP port" % unproven
        )
    if garbage:
        return ProtocolError(
            what + "and bytes came that are no MEP answer. Check the baud rate (9600 unless ET13 says "
            "otherwise), the wiring and whether this is the MEP port"
        )
    return NoAnswer(
        what + "and the meter did not answer. Check the port, the wiring, the ENABLE line and the baud rate; "
        "on generation 2 and 3 meters a session on the optical port shuts the MEP port out"
    )
