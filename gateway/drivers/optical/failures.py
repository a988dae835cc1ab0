"""What can go wrong on an optical port, as errors that say what to do (ANSI C12.18-1996 response codes)."""

from ...errors import AuthenticationError, MeterError, NoAnswer, ProtocolError, Refused, TableError
from .. import c1218

# What the passwords allow, for who was refused (optical guide, "Security and Keys").
RIGHTS = (
    "The read-only key (RK) reads all tables but those of keys and calibration, the provisioning key (PK) "
    "may write too, the unique key (MK) everything that the hardware lock leaves open"
)

_SERVICES = {
    0x20: "identification",
    0x21: "terminating the session",
    0x50: "logon",
    0x51: "security (the password)",
    0x52: "logoff",
    0x70: "asking it to wait",
}
_NOT_ALLOWED = (0x01, 0x02, 0x03, 0x05)


def describe(request: bytes) -> str:
    """The request in words, for messages to people; never what it carries."""
    code = request[0]
    if code in (0x30, 0x3F, 0x40, 0x4F):
        return c1218.describe(request)
    return _SERVICES.get(code) or ("negotiation" if 0x60 <= code <= 0x6B else "service %02X" % code)


def refused(request: bytes, code: int) -> MeterError:
    """The error for an answer `code` to one of the services that make and end a session."""
    what = describe(request)
    if request[0] == 0x51 and code in _NOT_ALLOWED:
        return AuthenticationError(
            "%s: the meter refused the password (answer %02X). A meter may lock its optical port after a few "
            "of these, so it is not tried on and on. Is it this meter's password (MK, PK or RK), whole, and "
            "as the utility wrote it?" % (what, code)
        )
    return Refused(
        "%s: the meter answered %02X%s"
        % (
            what,
            code,
            {
                0x03: ", insufficient security clearance: is the user id right?",
                0x06: ", it is busy: try again later",
                0x07: ", it is not ready: try again later",
                0x08: ", it is locked: try again later",
                0x0A: ", it is in another state than the protocol allows",
            }.get(code, ", it does not do that"),
        ),
        code,
    )


def bad_answer(request: bytes, why: str) -> MeterError:
    return ProtocolError("%s: the answer %s; nothing of it is believed" % (describe(request), why))


def no_answer(request: bytes, acknowledged: bool, tries: int, rejected: int, noise: bool) -> MeterError:
    """The error when packets stayed away or came spoiled, over all retries."""
    what = describe(request)
    if acknowledged:
        if noise:
            return ProtocolError(
                "%s: the answer came spoiled, and again when it was repeated. Does the optical head sit "
                "right?" % what
            )
        return NoAnswer("%s: the meter took the request and did not answer it" % what)
    if rejected == tries:
        return ProtocolError(
            "%s: tried %d times, and each time the meter found the packet spoiled (NAK). Does the optical "
            "head sit right?" % (what, tries)
        )
    if noise or rejected:
        return ProtocolError(
            "%s: tried %d times, and noise came in place of an acknowledgement. Check the seat of the "
            "optical head and the baud rate (a session begins with 9600)" % (what, tries)
        )
    return NoAnswer(
        "%s: tried %d times, and the meter did not acknowledge it. Check the port and the seat of the "
        "optical head; a meter that ended a long session leaves its optical port closed for some minutes "
        "(ET51)" % (what, tries)
    )


def too_long(table: int, count: int, most: int) -> TableError:
    return TableError(
        "%d bytes for the whole of %s do not fit into one request, which carries %d; write it with offsets"
        % (count, c1218.table_name(table), most)
    )
