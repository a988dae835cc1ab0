"""What ends an exchange over MEP, as errors that say what to do (MEP guide, chapter 2, table 2.7)."""

from ...errors import AuthenticationError, MeterError, NoAnswer, ProtocolError
from ..c1218 import describe
from .messages import AUTHENTICATION_FAILURE, SERVICE_SEQUENCE

# What the keys allow, for who was refused.
RIGHTS = "The basic key (MBK) reads all tables and writes few; the advanced key (MAK) may do more"


class TlsStands(ProtocolError):
    """The meter takes nothing but TLS on this port: it is set so, or a TLS session is open."""


def tls_stands(request: bytes) -> MeterError:
    return TlsStands(
        "%s: the meter answered %02X: this port wants TLS, or another program's TLS session is open on "
        'it. Set security to "tls" or "auto", or end that session' % (describe(request), SERVICE_SEQUENCE)
    )


def key_refused() -> MeterError:
    return AuthenticationError(
        "the meter refused the key again and again (answer %02X). Each time counts as an alarm at the meter, "
        "so it is not tried on and on. Is it this meter's key, whole, and as the utility wrote it? A port "
        "that is set to TLS refuses all others too" % AUTHENTICATION_FAILURE
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
