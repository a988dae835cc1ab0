"""Packets of ANSI C12.18-1996 on the wire, and the two bytes that answer them.

EE, identity, control, sequence, length (2, most significant byte first), data, CRC-16/X-25 over all of that
(low byte first). A packet that came whole is answered ACK, one that did not NAK.
"""

from ..._compat import const

START = 0xEE
ACK = 0x06
NAK = 0x15

# The control byte.
MULTIPLE = 0x80  # one packet of several; the sequence counts down to 0
FIRST = 0x40  # the first of several
TOGGLE = 0x20  # another with each new packet, the same in one that is sent again

_HEAD = const(6)
OVERHEAD = 8  # what a packet holds besides data

# What a Framer finds.
ACKNOWLEDGED = 1
REJECTED = 2
PACKET = 3
SPOILED = 4


def crc16(data: "bytes | bytearray | memoryview") -> int:
    """CRC-16/X-25: 906E for "123456789"."""
    crc = 0xFFFF
    for byte in data:
        step = (crc ^ byte) & 0xFF
        step = (step ^ step << 4) & 0xFF
        crc = crc >> 8 ^ step << 8 ^ step << 3 ^ step >> 4
    return crc ^ 0xFFFF


def packet(data: "bytes | memoryview", control: int = 0, sequence: int = 0) -> bytes:
    """One packet with `data`; the identity is 00, the only one of a point-to-point line."""
    size = len(data)
    body = bytes((START, 0, control, sequence, size >> 8, size & 0xFF)) + bytes(data)
    crc = crc16(body)
    return body + bytes((crc & 0xFF, crc >> 8))


class Framer:
    """Takes received bytes apart; never holds more than one packet of `largest` bytes.

    Noise in front of a packet is passed over, and so is what another protocol says on a shared port. A packet
    may have begun within one that turned out to be none, so such bytes are looked through once more, for
    packets only: an ACK or NAK in the middle of noise says nothing.
    """

    def __init__(self, largest: int) -> None:
        self._buffer = bytearray(largest)
        self.control = self.sequence = self.check = 0
        self.data = b""
        self.found: int | None = None
        self.reset()

    def reset(self) -> None:
        """What is unfinished will not be finished."""
        self._have = 0
        self._need = 1
        self._noise = False  # a packet was spoiled; where its bytes end is not known
        self._lost = False  # not even its length was credible

    @property
    def unfinished(self) -> bool:
        """Whether a packet has begun and not ended, or what comes is what remains of one."""
        return self._have > 0 or self._lost

    def take(self, data: bytes, start: int) -> int:
        """Take bytes of `data` from `start` on until something is found; gives the index after it.

        `found` is then ACKNOWLEDGED, REJECTED, PACKET (with `control`, `sequence`, `data` and `check`, its
        CRC), SPOILED (a packet came whose CRC is wrong), or None: all taken, more needed.
        """
        buffer = self._buffer
        while True:
            self.found = self._look()
            if self.found is not None or start == len(data):
                return start
            count = min(self._need - self._have, len(data) - start)
            buffer[self._have : self._have + count] = data[start : start + count]
            self._have += count
            start += count

    def _look(self) -> "int | None":
        """What the bytes at hand begin with; None when more are needed, `_need` in all."""
        buffer = self._buffer
        while self._have:
            first = buffer[0]
            if first != START:
                self._drop(1)
                if not self._noise and first in (ACK, NAK):
                    return ACKNOWLEDGED if first == ACK else REJECTED
                continue
            self._need = _HEAD
            if self._have < _HEAD:
                return None
            total = (buffer[4] << 8 | buffer[5]) + OVERHEAD
            if not OVERHEAD < total <= len(buffer):
                self._noise = self._lost = True
                self._drop(1)
                continue
            self._need = total
            if self._have < total:
                return None
            with_crc = memoryview(buffer)
            check = buffer[total - 2] | buffer[total - 1] << 8
            if crc16(with_crc[: total - 2]) != check:
                self._noise = True
                self._drop(1)
                continue
            self.control = buffer[2]
            self.sequence = buffer[3]
            self.data = bytes(with_crc[_HEAD : total - 2])
            self.check = check
            self._noise = self._lost = False
            self._drop(total)
            return PACKET
        self._need = 1
        if self._noise and not self._lost:
            self._noise = False
            return SPOILED
        return None

    def _drop(self, count: int) -> None:
        """Drop `count` bytes, and in noise all up to where the next packet may begin."""
        buffer = self._buffer
        have = self._have
        if self._noise:
            while count < have and buffer[count] != START:
                count += 1
        if count < have:
            buffer[: have - count] = buffer[count:have]
        self._have = have - count
