"""ANSI C12.18-1996 services beyond tables, and what the optical port adds to table services.

Requests are bytes; an answer begins with a response code, 00 for done. Numbers have their most significant
byte first.
"""

from ..._compat import const
from .. import c1218

IDENTIFY = b"\x20"
TERMINATE = b"\x21"
LOGOFF = b"\x52"
RENEGOTIATE = 0x09  # the meter wants another session
OUT_OF_STATE = 0x0A  # invalid service sequence state
# Busy, data not ready, data locked: nothing was done, and the same may be asked a little later.
NOT_YET = (0x06, 0x07, 0x08)

PASSWORD_BYTES = 20
_NOBODY = b"          "
USER_BYTES = len(_NOBODY)

# Baud rates by their code in negotiation; code 0 is a rate that is set elsewhere. What the standard's later
# editions add is left out: meters of the first one do not know it.
_RATES = (0, 300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 57600)

# What an answer to a read holds besides data: code, count and checksum.
READ_OVERHEAD = 4
# What a write holds besides data: code, table, offset, count and checksum.
WRITE_OVERHEAD = 9

_SMALLEST_PACKET = const(32)


def negotiate(packet_size: int, packets: int, rate: int) -> bytes:
    """Ask for packets of `packet_size` bytes, as many per message, and `rate` (0: the one that is).

    With a rate, 9600 is offered too, which every meter knows.
    """
    body = bytes((packet_size >> 8, packet_size & 0xFF, packets))
    if not rate:
        return b"\x60" + body
    codes = bytes((_RATES.index(rate), 6) if rate != 9600 else (6,))
    return bytes((0x60 + len(codes),)) + body + codes


def is_rate(rate: int) -> bool:
    return rate in _RATES[1:]


def negotiated(request: bytes, answer: bytes) -> "tuple[int, int, int]":
    """Packet size, packets and rate (0: the one that is) that the meter chose.

    More than was asked for is brought down to that: what the meter can do beyond is not used.
    """
    if len(answer) < 4:
        raise _bad_answer(request, "has %d bytes" % len(answer))
    size = answer[1] << 8 | answer[2]
    count = answer[3]
    offered = request[4:]
    code = answer[4] if offered and len(answer) > 4 else 0
    if size < _SMALLEST_PACKET or not count:
        raise _bad_answer(request, "offers %d packets of %d bytes" % (count, size))
    if code and code not in offered:
        raise _bad_answer(request, "names a baud rate that was not offered (code %02X)" % code)
    return min(size, request[1] << 8 | request[2]), min(count, request[3]), _RATES[code]


def is_identity(answer: bytes) -> bool:
    """Whether it answers an identification: code, standard, version and revision; features may follow."""
    return len(answer) >= 4 and answer[0] == c1218.OK


def logon(user_id: int, user: bytes) -> bytes:
    """`user`: 10 characters at most, the rest is spaces."""
    return bytes((0x50, user_id >> 8, user_id & 0xFF)) + user + _NOBODY[len(user) :]


def security(password: bytes) -> bytes:
    return b"\x51" + password + bytes(PASSWORD_BYTES - len(password))


def wait(seconds: int) -> bytes:
    """Ask the meter to keep a silent session open for so long, 255 at most."""
    return bytes((0x70, seconds))


def checksum(data: bytes) -> int:
    """The two's complement of the sum of all bytes of table data."""
    return -sum(data) & 0xFF


def write_message(table: int, data: bytes, offset: "int | None" = None) -> bytes:
    return c1218.write_message(table, data, offset) + bytes((checksum(data),))


def table_data(request: bytes, answer: bytes) -> bytes:
    """The table data in an answer with code 00; raises ProtocolError unless count and checksum fit.

    For a write it is empty.
    """
    if c1218.is_write(request):
        return b""
    data = c1218.table_data(request, answer[:-1])
    if checksum(data) != answer[-1]:
        raise _bad_answer(request, "has the checksum %02X, its data has %02X" % (answer[-1], checksum(data)))
    return data


def _bad_answer(request: bytes, why: str) -> Exception:
    from .failures import bad_answer

    return bad_answer(request, why)
