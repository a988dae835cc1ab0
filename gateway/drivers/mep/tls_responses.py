"""What ends an exchange over MEP with TLS, as errors that say what to do (MEP guide, tables 2.1 to 2.3)."""

from ...errors import AuthenticationError, MeterError, NoAnswer, ProtocolError
from ..c1218 import describe
from .messages import SERVICE_SEQUENCE

BASIC = 0  # key ids ("PSK Identity Hint")
ADVANCED = 1

LEVEL_NAMES = ("MBK", "MAK")


class NoTls(ProtocolError):
    """The meter answered the beginning of a handshake as one that does not know TLS; `found` says that."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found + advice)
        self.found = found


def _what(request: bytes) -> str:
    return describe(request) if request else "ending the TLS session"


def no_tls(request: bytes, code: int) -> MeterError:
    return NoTls(
        "%s: the meter answered %02X to a TLS handshake, so this port does not speak TLS"
        % (_what(request), code),
        '. Its firmware may be too old; set security to "rc4" or "auto"',
    )


def no_tls_any_more(error: NoTls) -> MeterError:
    return NoTls(
        error.found,
        " any more. It has before, so nothing less is spoken with it. If it was exchanged, or its port was "
        "set to RC4 on purpose, forget that (osgp-gateway forget-security); else somebody on the line may be "
        "keeping TLS away",
    )


def key_refused(levels: "tuple[int, ...]") -> MeterError:
    names = " and as ".join([LEVEL_NAMES[level] for level in levels])
    return AuthenticationError(
        "the meter refused the key, offered as %s, in the TLS handshake. Each time may count as an alarm "
        "at the meter, so it is not tried on and on. Is it this meter's key, whole, and as the utility wrote "
        "it? Is it the basic key (MBK) or the advanced one (MAK)?" % names
    )


def session_lost(request: bytes) -> MeterError:
    return ProtocolError(
        "%s: the meter lost the TLS session, and the next one too (answer %02X). Does a second program use "
        "this port?" % (_what(request), SERVICE_SEQUENCE)
    )


def no_answer(request: bytes, tries: int, problem: str, damaged: bool) -> MeterError:
    """The error when no try got an answer to be believed; `problem`: what was wrong with the last one."""
    what = "%s over TLS: tried %d times, " % (_what(request), tries)
    if problem:
        return ProtocolError(
            what + "and the answers do not hold: %s. Noise on the line, a wrong key, or no MEP port" % problem
        )
    if damaged:
        return ProtocolError(
            what + "and bytes came that are no MEP answer. Check the baud rate (9600 unless ET13 says "
            "otherwise), the wiring and whether this is the MEP port"
        )
    return NoAnswer(
        what + "and the meter did not answer. Check the port, the wiring, the ENABLE line and the baud rate; "
        "it may also have a firmware that does not know TLS"
    )
