"""The meter's optical port: packets, sessions, time-outs, and what comes of sharing a UART with MEP.

ANSI C12.18-1996; optical guide, chapter 1, "Sharing the Optical Port with the MEP Interface", ET51. A machine
without I/O: bytes and the time go in, bytes come out.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .image import Image, et
from .optical_packets import CHARACTER_MS, RESPONSE_MS, START, OpticalPackets
from .optical_session import BASE, OpticalKeys, OpticalSession
from .service import ADVANCED_WRITES, TableService

# How long the channel may be quiet before a session is over.
TRAFFIC_MS = 6000

# A message of the most packets of the greatest size stays below this.
_MOST_TABLE_DATA = 0xFFFF

# The number ET70.142 has for who is not a MEP client.
OPTICAL_CHANNEL = 0

# What becomes of the first packet while the port switches over from MEP.
NAKED = "nak"
LOST = "lost"
HEARD = "heard"
FIRST_PACKETS = (NAKED, LOST, HEARD)


@dataclass(frozen=True)
class DenialOfService:
    """ET51 (ET55 on meters with two MEP clients): after `session_ms` a session is ended, if `enabled`, and
    for `hold_off_ms` none can begin. More than `failures` wrong passwords in a row lock the port for
    `lock_ms`, if any are limited at all (ET55, firmware 4.30)."""

    enabled: bool
    session_ms: int
    hold_off_ms: int
    failures: int = 0
    lock_ms: int = 0


class OpticalServer:
    """`shared` is whether the UART is MEP's too: then `first_packet` says what becomes of a session's first
    packet (nak, lost or heard), and `holds_uart` shuts MEP out. `denial` reads the configured limits."""

    def __init__(
        self, image: Image, keys: OpticalKeys, *, shared: bool, denial: Callable[[], DenialOfService]
    ) -> None:
        self._image = image
        # What a MEP port requires can't be changed over MEP (MEP guide, chapter 2, "Using TLS Security").
        self.tables = TableService(image, _MOST_TABLE_DATA, ADVANCED_WRITES | {et(97)})
        # Optical guide, "Partial Read Service": what lies beyond a table's end is zeros.
        self.tables.past_end_is_error = False
        self.session = OpticalSession(self.tables, keys, lambda: self.packets.room)
        self.packets = OpticalPackets(self._answer, self._acknowledged)
        self._shared = shared
        self._denial = denial
        self.first_packet = NAKED
        self.requests = 0
        self.traffic_ms = TRAFFIC_MS
        self._switched = False
        self._swallowing = False
        self._last_ms = 0
        self._begun_ms = 0
        self._held_off_until = 0
        self._quiet_ms = self.traffic_ms

    @property
    def holds_uart(self) -> bool:
        """MEP is shut out."""
        return self._shared and self._switched

    @property
    def baud(self) -> int:
        """The rate of the session; it changes when the answer to "negotiate" has been acknowledged."""
        return self.session.baud

    def stretch(self, least_ms: int) -> None:
        """No time-out is shorter than this: in scaled time, a moment of the scheduler's."""
        self.packets.response_ms = max(RESPONSE_MS, 8 * least_ms)
        self.packets.character_ms = max(CHARACTER_MS, least_ms)
        self.traffic_ms = max(TRAFFIC_MS, 24 * least_ms)
        self._quiet_ms = self.traffic_ms

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        """What the meter sends in answer to bytes that arrived."""
        out = self.tick(now_ms)
        if now_ms < self._held_off_until:
            return out
        if not self._switched and not self._switch_over(data, now_ms):
            return out
        paused = now_ms - self._last_ms >= self.packets.character_ms
        self._last_ms = now_ms
        if self._swallowing and not paused:
            return out
        self._swallowing = False
        return out + self.packets.receive(data, now_ms)

    def tick(self, now_ms: int) -> list[bytes]:
        """What is due without a byte arriving; sessions end here."""
        if not self._switched:
            return []
        if now_ms < self._held_off_until:
            self._end()
            return []
        denial = self._denial()
        if denial.enabled and now_ms - self._begun_ms >= denial.session_ms:
            self._end()
            self._held_off_until = now_ms + denial.hold_off_ms
            return []
        out = self.packets.tick(now_ms)
        if now_ms - self._last_ms >= self._quiet_ms:
            self._end()
        return out

    def due_in_ms(self, now_ms: int) -> int | None:
        """Milliseconds until `tick` has something to do; None while no session is open."""
        if not self._switched:
            return None
        waits = [self._last_ms + self._quiet_ms - now_ms]
        denial = self._denial()
        if denial.enabled:
            waits.append(self._begun_ms + denial.session_ms - now_ms)
        packets = self.packets.due_in_ms(now_ms)
        if packets is not None:
            waits.append(packets)
        return max(0, min(waits))

    def line_lost(self) -> None:
        """The probe is off: what arrived in part is nothing; the session ends by its time-out."""
        self.packets.forget()

    def power_cut(self) -> None:
        """Everything begins anew."""
        self._end()
        self._held_off_until = 0

    def _switch_over(self, data: bytes, now_ms: int) -> bool:
        """The start of a packet gets the port; on a shared one at the cost of that packet."""
        if START not in data:
            return False
        self._switched = True
        self._begun_ms = self._last_ms = now_ms
        if self._shared:
            self.packets.spoiled = self.first_packet == NAKED
            self._swallowing = self.first_packet == LOST
        return True

    def _end(self) -> None:
        self.packets.forget()
        self.packets.restart()
        self.session.reset()
        self._quiet_ms = self.traffic_ms
        self._switched = False
        self._swallowing = False

    def _answer(self, message: bytes) -> bytes:
        self.requests += 1
        self._image.channel = OPTICAL_CHANNEL
        response = self.session.answer(message)
        denial = self._denial()
        if denial.failures and self.session.failures > denial.failures:
            self.session.failures = 0
            self._held_off_until = self._last_ms + denial.lock_ms
        wait = self.session.wait_ms
        self._quiet_ms = self.traffic_ms if wait is None else max(wait, self.traffic_ms)
        return response

    def _acknowledged(self) -> None:
        agreed = self.session.settle()
        if agreed is not None:
            self.packets.limit, self.packets.most = agreed
        elif self.session.state == BASE:
            self.packets.restart()
            self._switched = False
