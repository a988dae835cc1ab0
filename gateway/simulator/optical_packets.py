"""Packets of the optical port: how they look, and the meter's side of sending and receiving them.

ANSI C12.18-1996, data link layer: packets with CRC, toggle bit and countdown, ACK and NAK. A machine without
I/O: bytes and the time go in, bytes come out.
"""

from collections.abc import Callable

START = 0xEE
ACK = 0x06
NAK = 0x15

MULTI = 0x80
FIRST = 0x40
TOGGLE = 0x20

HEADER_BYTES = 6
CRC_BYTES = 2
OVERHEAD = HEADER_BYTES + CRC_BYTES

# What holds before anything is negotiated.
DEFAULT_PACKET_BYTES = 64
DEFAULT_PACKETS = 1

RESPONSE_MS = 2000
CHARACTER_MS = 500
_TRIES = 4  # the packet and three repetitions


def _shifted(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (0x8408 if register & 1 else 0)
    return register


_CRC_TABLE = tuple(_shifted(byte) for byte in range(256))


def crc(data: bytes) -> bytes:
    """CRC-16/X-25 of a packet from its start character on, low byte first."""
    register = 0xFFFF
    for byte in data:
        register = register >> 8 ^ _CRC_TABLE[(register ^ byte) & 0xFF]
    return (register ^ 0xFFFF).to_bytes(2, "little")


def packet(control: int, sequence: int, data: bytes) -> bytes:
    head = bytes([START, 0, control, sequence]) + len(data).to_bytes(2, "big") + data
    return head + crc(head)


class OpticalPackets:
    """Takes requests out of packets and puts responses into them.

    `answer` runs one request message and gives the response message; `acknowledged` hears that the far end
    has the whole response. `limit` and `most` are the packet size in bytes and the packets of one message,
    for both directions. Time-outs in milliseconds are the caller's to stretch: `response_ms` until a packet
    of ours is repeated, `character_ms` between two characters of one of theirs.
    """

    def __init__(self, answer: Callable[[bytes], bytes], acknowledged: Callable[[], None]) -> None:
        self._answer = answer
        self._acknowledged = acknowledged
        self.response_ms = RESPONSE_MS
        self.character_ms = CHARACTER_MS
        # Whether the packet that is on its way in is spoiled by the port's switching over.
        self.spoiled = False
        self.limit = DEFAULT_PACKET_BYTES
        self.most = DEFAULT_PACKETS
        self._pending = bytearray()
        self._lost = False
        self._last_ms = 0
        self._message = bytearray()
        self._expected = -1
        self._last_packet: tuple[int, bytes] | None = None
        self._queue: list[bytes] = []
        self._toggle = 0
        self._tries = 0
        self._sent_ms = 0

    def restart(self) -> None:
        """The base state: nothing negotiated, no packet remembered; what is arriving goes on arriving."""
        self.limit = DEFAULT_PACKET_BYTES
        self.most = DEFAULT_PACKETS
        self._message.clear()
        self._expected = -1
        self._last_packet = None
        self._queue.clear()
        self._toggle = 0

    def forget(self) -> None:
        """Drop what has arrived in part."""
        self._pending.clear()
        self._lost = False
        self.spoiled = False

    @property
    def room(self) -> int:
        """The longest message that fits."""
        return self.most * (self.limit - OVERHEAD)

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        """What goes out in answer to what came in."""
        out = self.tick(now_ms)
        self._last_ms = now_ms
        if self._lost:
            return out
        self._pending += data
        while self._pending and not self._lost:
            if self._pending[0] != START:
                self._control_byte(self._pending.pop(0), now_ms, out)
                continue
            size = self._size()
            if size < 0:
                # No packet is that long, so no one knows where the next begins: wait for a pause.
                self._pending.clear()
                self._lost = True
                break
            if not size or len(self._pending) < size:
                break
            whole = bytes(self._pending[:size])
            del self._pending[:size]
            self._packet(whole, now_ms, out)
        return out

    def tick(self, now_ms: int) -> list[bytes]:
        """What is due: the NAK to a packet that broke off, the repetition of one without ACK."""
        out: list[bytes] = []
        if (self._pending or self._lost) and now_ms - self._last_ms >= self.character_ms:
            self._pending.clear()
            self._lost = False
            self._refuse(out)
        if self._queue and now_ms - self._sent_ms >= self.response_ms:
            self._repeat(now_ms, out)
        return out

    def due_in_ms(self, now_ms: int) -> int | None:
        waits = []
        if self._pending or self._lost:
            waits.append(self._last_ms + self.character_ms - now_ms)
        if self._queue:
            waits.append(self._sent_ms + self.response_ms - now_ms)
        return max(0, min(waits)) if waits else None

    def _size(self) -> int:
        """Length of the packet at the front; 0 when its header isn't there yet, -1 when it can't be one."""
        if len(self._pending) < HEADER_BYTES:
            return 0
        length = int.from_bytes(self._pending[4:6], "big")
        return -1 if length + OVERHEAD > self.limit else length + OVERHEAD

    def _control_byte(self, byte: int, now_ms: int, out: list[bytes]) -> None:
        """ACK and NAK mean our last packet; anything else between packets is noise."""
        if not self._queue:
            return
        if byte == ACK:
            del self._queue[0]
            self._tries = 0
            if self._queue:
                self._transmit(now_ms, out)
            else:
                self._acknowledged()
        elif byte == NAK:
            self._repeat(now_ms, out)

    def _packet(self, whole: bytes, now_ms: int, out: list[bytes]) -> None:
        if self.spoiled or crc(whole[:-CRC_BYTES]) != whole[-CRC_BYTES:]:
            self._refuse(out)
            return
        control, sequence = whole[2], whole[3]
        identity = (control & TOGGLE, whole[-CRC_BYTES:])
        if identity == self._last_packet:
            # Our ACK was lost. The response, if it is lost too, comes by its own time-out.
            out.append(bytes([ACK]))
            return
        if self._queue:
            # Who sends something new has got the last response, or given it up.
            whole_response_out = len(self._queue) == 1
            self._queue.clear()
            if whole_response_out:
                self._acknowledged()
        first = control & FIRST or not control & MULTI
        if first:
            self._message.clear()
            self._expected = sequence
        beyond = len(self._message) + len(whole) - OVERHEAD > self.room
        if sequence != self._expected or beyond or (control & MULTI == 0 and sequence):
            self._refuse(out)
            return
        self._last_packet = identity
        out.append(bytes([ACK]))
        self._message += whole[HEADER_BYTES:-CRC_BYTES]
        self._expected = sequence - 1
        if sequence:
            return
        message = bytes(self._message)
        self._message.clear()
        if message:
            self._respond(self._answer(message), now_ms, out)

    def _refuse(self, out: list[bytes]) -> None:
        self.spoiled = False
        out.append(bytes([NAK]))

    def _respond(self, message: bytes, now_ms: int, out: list[bytes]) -> None:
        share = self.limit - OVERHEAD
        parts = [message[start : start + share] for start in range(0, len(message), share)]
        for index, part in enumerate(parts):
            control = self._toggle
            if len(parts) > 1:
                control |= MULTI | (FIRST if index == 0 else 0)
            self._toggle ^= TOGGLE
            self._queue.append(packet(control, len(parts) - 1 - index, part))
        self._tries = 0
        self._transmit(now_ms, out)

    def _transmit(self, now_ms: int, out: list[bytes]) -> None:
        self._tries += 1
        self._sent_ms = now_ms
        out.append(self._queue[0])

    def _repeat(self, now_ms: int, out: list[bytes]) -> None:
        if self._tries < _TRIES:
            self._transmit(now_ms, out)
        else:
            self._queue.clear()
