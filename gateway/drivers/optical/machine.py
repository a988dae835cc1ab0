"""The link layer of an ANSI C12.18-1996 client, a machine without I/O: one request, one answer, in packets.

    state      what happens                                next       event
    IDLE       begin                                       READY
    READY      output                                      SENT       (the packet)
    SENT       ACK, more packets to send                   READY      SEND: the next
               ACK of the last packet                      RECEIVING  TAKEN
               a new packet, which says as much            RECEIVING  as there
               NAK, or silence                             READY      SEND: the same again
    RECEIVING  NAK, before anything else                   READY      SEND: the same again
               the packet that is due, more to come        RECEIVING  REPLY: ACK, TAKEN
               the last packet                             IDLE       REPLY: ACK, ANSWER
               a spoiled packet                            RECEIVING  REPLY: NAK
               a packet that is not due                    IDLE       FAILED
               silence                                     IDLE       FAILED
    these two  the last packet once more (lost ACK)        the same   REPLY: ACK
               any of these too often                      IDLE       FAILED
    any        abandon                                     IDLE

A packet is the same as the last one when toggle bit and CRC are the same. An optical head may hear what it
sends: our own packet is never an answer, and where it has been heard once, an ACK in front of it is the echo
of our last one. After FAILED nobody knows what the meter thinks was said: the session has to be given up, or
the next answer might be one to an earlier request.
"""

from ..._compat import TYPE_CHECKING, const
from ...errors import ProtocolError
from .. import events
from . import packets
from .packets import FIRST, MULTIPLE, OVERHEAD, TOGGLE, Framer, packet

if TYPE_CHECKING:
    from typing import Any

    Event = tuple[int, Any]

# C12.18's defaults, which hold until both sides agree on others.
DEFAULT_PACKET = 64
DEFAULT_PACKETS = 1

_IDLE = const(0)
_READY = const(1)
_SENT = const(2)
_RECEIVING = const(3)

_RETRIES = const(3)
# The channel traffic time-out: who has heard nothing for so long gives the session up. The answer to an
# acknowledged request comes by then, and in it there is room for the meter's own retries.
RESPONSE_MS = 6000

_ACK = bytes((packets.ACK,))
_NAK = bytes((packets.NAK,))


class Machine:
    """One exchange at a time. `largest`: bytes of the largest packet that is ever taken; `most`: bytes of the
    longest answer.

    `packet_size` and `packets`: how large and how many the packets of a request may be.
    """

    def __init__(self, largest: int, most: int) -> None:
        self.packet_size = DEFAULT_PACKET
        self.packets = DEFAULT_PACKETS
        self._framer = Framer(largest)
        self._most = most
        self._state = _IDLE
        self._out = 0  # the toggle bit of the next new packet
        self._last: tuple[int, int] | None = None  # toggle bit and CRC of the last packet received
        self._fresh = True
        self._echoes = False  # whether the line lets us hear what we send
        self._heard = False  # our packet
        self._request = self._packet = b""

    @property
    def unfinished(self) -> bool:
        return self._framer.unfinished

    def fits(self, count: int) -> bool:
        """Whether a request of `count` bytes can be sent."""
        return count <= self.packets * (self.packet_size - OVERHEAD)

    def restart(self) -> None:
        """A new session: the meter's first packet may have either toggle bit."""
        self._fresh = True
        self.packet_size = DEFAULT_PACKET
        self.packets = DEFAULT_PACKETS

    def forget(self) -> None:
        """No packet that comes is the last one once more, even if it looks the same."""
        self._last = None

    def begin(self, message: bytes) -> None:
        """Start an exchange with a C12.18 request."""
        if not message or not self.fits(len(message)):
            raise ValueError("a request of %d bytes fits no packets" % len(message))
        self._request = message
        self._sent = 0
        self._answer = bytearray()
        self._due: int | None = None  # the sequence number of the next packet, once the first has come
        self._spoiled = 0
        self._noise = False
        self._rejected = 0
        self._next()

    def output(self) -> bytes:
        """The packet to send; from here on an acknowledgement counts."""
        self._state = _SENT
        self._tries += 1
        self._heard = False
        return self._packet

    def receive(self, data: bytes) -> "list[Event]":
        """What the bytes bring, in order."""
        found: list[Event] = []
        at = 0
        framer = self._framer
        while True:
            at = framer.take(data, at)
            kind = framer.found
            if kind is None:
                return found
            if kind == packets.PACKET:
                self._judge(found)
            elif self._state == _SENT:
                if kind == packets.ACKNOWLEDGED:
                    if self._heard or not self._echoes or self._tries > 1:
                        found.append(self._acknowledged())
                elif kind == packets.REJECTED:
                    self._rejected += 1
                    found.append(self._again())
                else:
                    self._noise = True
            elif self._state == _RECEIVING:
                if kind == packets.SPOILED:
                    found.append(self._reject())
                elif kind == packets.REJECTED and self._is_unheard():
                    self._rejected += 1
                    found.append(self._again())

    def pause(self) -> None:
        """The line was quiet for longer than a packet may pause."""
        self._framer.reset()

    def silence(self) -> "Event | None":
        """The time for what is due is over, or for the next byte of what is unfinished."""
        cut_off = self._framer.unfinished
        self._framer.reset()
        if self._state == _SENT:
            if not cut_off:
                return self._again()
            self._noise = True
        elif self._state == _RECEIVING:
            return self._reject() if cut_off else self._give_up()
        return None

    def abandon(self) -> None:
        """Nobody waits for this exchange any more."""
        if self._state != _IDLE:
            self._last = None
        self._state = _IDLE
        self._request = self._packet = b""

    def _next(self) -> None:
        """Make the next packet of the request."""
        room = self.packet_size - OVERHEAD
        count = -(-len(self._request) // room)
        number = self._sent // room
        control = self._out
        self._out ^= TOGGLE
        if count > 1:
            control |= MULTIPLE if number else MULTIPLE | FIRST
        part = self._request[self._sent : self._sent + room]
        self._sent += len(part)
        self._packet = packet(part, control, count - 1 - number)
        self._tries = 0
        self._state = _READY

    def _acknowledged(self) -> "Event":
        if self._sent < len(self._request):
            self._next()
            return events.SEND, None
        self._state = _RECEIVING
        return events.TAKEN, RESPONSE_MS

    def _again(self) -> "Event":
        if self._tries > _RETRIES:
            return self._give_up()
        self._state = _READY
        return events.SEND, None

    def _is_unheard(self) -> bool:
        """Whether a NAK may mean that what was taken for an acknowledgement was noise. Once we have said NAK,
        it may be our own that is heard."""
        return self._due is None and not self._spoiled and self._tries <= _RETRIES

    def _reject(self) -> "Event":
        self._noise = True
        self._spoiled += 1
        if self._spoiled > _RETRIES:
            return self._give_up()
        return events.REPLY, _NAK

    def _judge(self, found: "list[Event]") -> None:
        framer = self._framer
        state = self._state
        if state not in (_SENT, _RECEIVING):
            return
        if packet(framer.data, framer.control, framer.sequence) == self._packet:
            self._echoes = self._heard = True
            return
        last = self._last
        toggle = framer.control & TOGGLE
        if last == (toggle, framer.check):
            found.append((events.REPLY, _ACK))
            return
        if state == _SENT:
            # The meter answers what it acknowledged. Without a toggle bit to tell by, it may as well be
            # something old: the meter sends it again if it is not acknowledged.
            if self._fresh or last is None or last[0] == toggle or self._sent < len(self._request):
                return
            self._state = _RECEIVING
        if not self._is_due():
            found.append(self._fail_by_order())
            return
        self._last = (toggle, framer.check)
        self._fresh = False
        self._answer += framer.data
        self._due = framer.sequence - 1
        self._spoiled = 0
        found.append((events.REPLY, _ACK))
        if framer.sequence:
            found.append((events.TAKEN, RESPONSE_MS))
        else:
            answer = bytes(self._answer)
            self._answer = bytearray()
            self._state = _IDLE
            self._request = self._packet = b""
            found.append((events.ANSWER, answer))

    def _is_due(self) -> bool:
        framer = self._framer
        kind = framer.control & (MULTIPLE | FIRST)
        if len(self._answer) + len(framer.data) > self._most:
            return False
        if self._due is not None:
            return kind == MULTIPLE and framer.sequence == self._due
        return kind == MULTIPLE | FIRST or kind == framer.sequence == 0

    def _fail_by_order(self) -> "Event":
        from .failures import describe

        return self._fail(
            ProtocolError(
                "%s: packet %d with control byte %02X and %d bytes is not the one that is due; nothing of "
                "the answer is believed"
                % (
                    describe(self._request),
                    self._framer.sequence,
                    self._framer.control,
                    len(self._framer.data),
                )
            )
        )

    def _give_up(self) -> "Event":
        from .failures import no_answer

        return self._fail(
            no_answer(self._request, self._state == _RECEIVING, self._tries, self._rejected, self._noise)
        )

    def _fail(self, error: Exception) -> "Event":
        self.abandon()
        return events.FAILED, error
