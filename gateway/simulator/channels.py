"""The meter's ports as the line sees them: bytes in, bytes out, how fast, and what is due by itself."""

from collections.abc import Callable
from typing import Protocol

from .clients import Clients
from .faults import Faults
from .image import Image, et
from .mep_server import MepServer
from .optical_server import OpticalServer
from .pacing import REQUEST_EVERY_MS, Piece, pieces
from .port_settings import multiple_clients

# ET13: a configuration entry has 66 bytes, the first MEP client's is the fifth, the second one's the sixth.
_ET13_ENTRY = 66
_ET13_FIRST_CLIENT = 4
_BAUD_OFFSET = 6
_ALERT_FLAGS_OFFSET = 8
# ET50: a record for each client, its flags in byte 30.
_ET50_RECORD = 35 + 6 * 6
_CLIENT_FLAGS_OFFSET = 30
_REGISTERED = 1
# Alert flags that a client has to ask for, by its flags in ET50.
_WANTS = {1 << 3: 1 << 2, 1 << 4: 1 << 3}

_BAUD_RATES = (9600, 300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 115200)

# A pause as long as this ends an unfinished MEP request. With no line rate to go by, it is well below the
# client's response timeout of 500 ms.
_GAP_MS = 50
_GAP_FAST_MS = 200


# Whether the meter has power, and how often that has failed: with it go all sessions.
Supply = Callable[[], tuple[bool, int]]


class Channel(Protocol):
    """What a line needs to know of a port."""

    @property
    def baud(self) -> int:
        """The rate at which bytes come and go now."""

    @property
    def request_every_ms(self) -> int:
        """The least time between two responses."""

    def pieces(self, length: int, baud: int) -> list[Piece]:
        """When which bytes of a response go out."""

    def begin(self, paced: bool, least_ms: int) -> None:
        """A line is about to run; no time-out is to be shorter than `least_ms`."""

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        """What goes out in answer to what came in."""

    def tick(self, now_ms: int) -> list[bytes]:
        """What goes out by itself."""

    def due_in_ms(self, now_ms: int) -> int | None:
        """Milliseconds until `tick` has something to say; None when no such moment is known."""

    def line_lost(self) -> None:
        """Who was at the other end is gone."""

    def sent(self, data: bytes) -> None:
        """These bytes have left."""


class MepChannel:
    """The port of MEP client `number`, 1 or 2."""

    request_every_ms = REQUEST_EVERY_MS

    def __init__(
        self,
        image: Image,
        server: MepServer,
        faults: Faults,
        number: int,
        supply: Supply,
        clients: Clients,
    ) -> None:
        self.server = server
        self.number = number
        self.requests = 0
        # Set on meters that share their UART between the ports.
        self.optical: OpticalChannel | None = None
        self._image = image
        self._faults = faults
        self._supply = supply
        self._clients = clients
        self._cuts = 0
        entry = (_ET13_FIRST_CLIENT + number - 1) * _ET13_ENTRY
        self._baud_at = entry + _BAUD_OFFSET
        self._alerts_at = entry + _ALERT_FLAGS_OFFSET
        self._flags_at = (number - 1) * _ET50_RECORD + _CLIENT_FLAGS_OFFSET

    @property
    def baud(self) -> int:
        """The rate of the port (ET13, "Baud Rate")."""
        code = self._image.read(et(13))[self._baud_at]
        return _BAUD_RATES[code] if code < len(_BAUD_RATES) else _BAUD_RATES[0]

    def set_baud(self, baud: int) -> None:
        """Raises ValueError for a rate that ET13 does not know."""
        code = 0 if baud == _BAUD_RATES[0] else _BAUD_RATES.index(baud)
        self._image.write(et(13), self._baud_at, bytes([code]))

    @property
    def registered(self) -> bool:
        """The client has announced itself (ET50.30.0)."""
        return bool(self._image.read(et(50))[self._flags_at] & _REGISTERED)

    def raise_alert(self, flags: int) -> None:
        """Set alert flags (ET13.8 of this client's entry); a registered client hears of it."""
        self._image.write(et(13), self._alerts_at, bytes([flags]))

    def add_alert(self, flag: int) -> None:
        """Set one alert flag more, if a client is there that wants to hear of it (ET50.30)."""
        wanted = self._image.read(et(50))[self._flags_at]
        if wanted & _WANTS.get(flag, _REGISTERED):
            held = self._image.read(et(13))[self._alerts_at]
            self.raise_alert(held | flag)

    def clear_alert(self, flag: int) -> None:
        """The client has taken notice."""
        self.raise_alert(self._image.read(et(13))[self._alerts_at] & ~flag)

    def pieces(self, length: int, baud: int) -> list[Piece]:
        return pieces(length, baud)

    def begin(self, paced: bool, least_ms: int) -> None:
        self.server.gap_ms = max(_GAP_MS if paced else _GAP_FAST_MS, least_ms)

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        if self._shut_out():
            return []
        self._image.channel = self.number
        responses = self.server.receive(data, now_ms)
        self.requests += len(responses)
        return [self._faults.spoil(response) for response in responses]

    def tick(self, now_ms: int) -> list[bytes]:
        alert = self.server.alert(now_ms) if self._alerting() else b""
        return [alert] if alert else []

    def due_in_ms(self, now_ms: int) -> int | None:
        return self.server.alert_in_ms(now_ms) if self._alerting() else None

    def line_lost(self) -> None:
        self.server.line_lost()

    def sent(self, data: bytes) -> None:
        if self.optical is not None:
            self.optical.overheard(data)

    def _alerting(self) -> bool:
        flags = self._image.read(et(13))[self._alerts_at]
        self.server.alerting = bool(flags) and self.registered and not self._shut_out()
        return self.server.alerting

    def _shut_out(self) -> bool:
        """No one listens: no power, no second client, or the optical port has the UART."""
        powered, cuts = self._supply()
        if cuts != self._cuts:
            self._cuts = cuts
            self.server.power_cut()
        second = self.number > 1 and not multiple_clients(self._image)
        if not powered or self._faults.silent or second or self._clients.disabled(self.number):
            return True
        return self.optical is not None and self.optical.server.holds_uart


class OpticalChannel:
    """The optical port. `overheard` is called with what leaves on MEP through a shared UART: it appears on
    the optical line too (MEP guide, chapter 2, "Using the MEP and Optical Ports concurrently")."""

    request_every_ms = 0

    def __init__(self, server: OpticalServer, faults: Faults, supply: Supply) -> None:
        self.server = server
        self.overheard: Callable[[bytes], None] = lambda _data: None
        self._faults = faults
        self._supply = supply
        self._cuts = 0

    @property
    def baud(self) -> int:
        return self.server.baud

    def pieces(self, length: int, baud: int) -> list[Piece]:
        return pieces(length, baud, segment=length)

    def begin(self, paced: bool, least_ms: int) -> None:
        self.server.stretch(least_ms)

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        return [] if self._dead() else self._spoiled(self.server.receive(data, now_ms))

    def tick(self, now_ms: int) -> list[bytes]:
        return [] if self._dead() else self._spoiled(self.server.tick(now_ms))

    def due_in_ms(self, now_ms: int) -> int | None:
        return None if self._dead() else self.server.due_in_ms(now_ms)

    def line_lost(self) -> None:
        self.server.line_lost()

    def sent(self, data: bytes) -> None:
        pass

    def _dead(self) -> bool:
        powered, cuts = self._supply()
        if cuts != self._cuts:
            self._cuts = cuts
            self.server.power_cut()
        return not powered or self._faults.silent

    def _spoiled(self, out: list[bytes]) -> list[bytes]:
        # Faults count responses; ACK and NAK are none.
        return [self._faults.spoil(data) if len(data) > 1 else data for data in out]
