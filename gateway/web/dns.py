"""Answers every name with the board's own address, so that a phone on its access point finds the page.

RFC 1035, one question a message; anything else gets no answer.
"""

from .._compat import const

_HEADER = const(12)
_LONGEST = const(512)
_A = const(1)
_ANY = const(255)
_IN = const(1)


def answer(query: bytes, address: bytes) -> "bytes | None":
    """The message to send back; None where there is nothing to say. `address`: 4 bytes.

    Kinds other than A have no records here, and that is said at once, so that no phone waits for them.
    """
    if len(query) > _LONGEST or len(query) < _HEADER + 5:
        return None
    # QR 0, opcode 0; one question, no answers and no authorities. Additional records (EDNS) are passed over.
    if query[2] & 0xF8 or bytes(query[4:10]) != b"\0\1\0\0\0\0":
        return None
    at = _HEADER
    while query[at]:
        if query[at] > 63:  # a question compresses nothing
            return None
        at += 1 + query[at]
        if at + 5 > len(query) or at - _HEADER > 254:
            return None
    end = at + 5
    kind = query[at + 1] << 8 | query[at + 2]
    found = kind in (_A, _ANY) and query[at + 3] << 8 | query[at + 4] == _IN
    # QR, AA, RD as it was asked.
    head = bytes(query[:2]) + bytes((0x84 | query[2] & 1, 0, 0, 1, 0, 1 if found else 0, 0, 0, 0, 0))
    reply = head + bytes(query[_HEADER:end])
    if found:
        # The name is that of the question; a minute, so that no phone believes it for long.
        reply += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + address
    return reply
