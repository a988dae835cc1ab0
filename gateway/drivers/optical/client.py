"""Sessions with a meter on its optical port: begun, kept, given up, ended."""

from ... import clock
from ..._compat import TYPE_CHECKING, const
from ...errors import AuthenticationError, LinkError, MeterError, NoAnswer, Refused
from ..pump import Pump
from . import services
from .machine import RESPONSE_MS, Machine
from .packets import OVERHEAD
from .session import BASE, OPEN, Session

if TYPE_CHECKING:
    from ..link import Link

# The rate at which every session begins.
BASE_BAUD = 9600
# C12.18's defaults: for an acknowledgement, and between two bytes of a packet.
_ACKNOWLEDGE_MS = const(2000)
_WITHIN_MS = const(500)
# When nothing was said for the traffic time-out and a second, the meter has given up the session, and what it
# had still to say. A second before the time-out the session is there for sure.
_DEAD_MS = RESPONSE_MS + 1000
_DYING_MS = const(2000)
_KEEP_S = const(255)

# Packet size and packets per message that are asked for: the next ones after each failure. A spoiled packet
# costs its own length again, and one that stays spoiled the session. The last is what C12.18 begins with.
_SIZES = ((256, 4), (128, 2), (64, 1))
_LARGEST_PACKET = const(256)
_LONGEST_MESSAGE = const(4 * (256 - 8))
# So many exchanges without a failure, and larger packets are tried again.
_GOOD_LINE = const(64)


class Client:
    """`password`: 20 bytes; `baud`, `user_id`, `user`: see OpticalMeter.

    `room`: bytes of a message, either way, in the session that is or, before the first, that is asked for.
    `silent`: whether the meter did not even acknowledge its identification the last time it was tried.
    `refusal`: the error once the meter has refused the password.
    """

    def __init__(self, link: "Link", password: bytes, baud: int, user_id: int, user: bytes) -> None:
        self.room = _LONGEST_MESSAGE
        self.silent = False
        self._machine = Machine(_LARGEST_PACKET, _LONGEST_MESSAGE)
        self._pump = Pump(
            link,
            self._machine,
            baud=BASE_BAUD,
            response_ms=_ACKNOWLEDGE_MS,
            spacing_ms=0,
            largest=_LARGEST_PACKET,
            on_alert=_no_alert,
            within_ms=_WITHIN_MS,
        )
        self._session = Session(password, user_id, user)
        self._wanted_baud = baud
        self._baud = BASE_BAUD
        self._level = 0  # in _SIZES
        self._good = 0  # exchanges since the last failure
        self._dead_at = clock.monotonic_ms()
        self.refusal: AuthenticationError | None = None

    @property
    def is_open(self) -> bool:
        return self._session.state == OPEN and clock.monotonic_ms() < self._dead_at - _DYING_MS

    def traffic(self) -> "tuple[int, int, int]":
        return self._pump.traffic()

    async def open(self) -> None:
        """Begin a session unless there is one. Raises AuthenticationError, Refused, NoAnswer, ProtocolError
        and LinkError."""
        if self.is_open:
            return
        if self.refusal is not None:
            raise self.refusal
        # A session that was not ended is over when the meter has given it up: until then a packet may come
        # that would be taken for the answer to something else.
        await clock.sleep_ms(self._dead_at - clock.monotonic_ms())
        await self._run_at(BASE_BAUD)
        self._machine.restart()
        size, packets = _SIZES[self._level]
        session = self._session
        session.begin(size, packets, 0 if self._wanted_baud == BASE_BAUD else self._wanted_baud)
        self.silent = False
        while session.state != OPEN:
            first = session.state == BASE
            try:
                await self._advance()
            except AuthenticationError as error:
                self.refusal = error
                await self.end()  # the meter has logged us on, and keeps others out
                raise
            except Refused:
                if first:  # no session has begun, and its answer may come once more, word for word
                    self._dead_at = clock.monotonic_ms()
                    self._machine.forget()
                else:
                    await self.end()
                raise
            except NoAnswer:
                self.silent = first
                raise
            size, packets, rate = session.agreed
            self._machine.packet_size = size
            self._machine.packets = packets
            await self._run_at(rate or self._baud)
        self.room = packets * (size - OVERHEAD)

    async def exchange(self, request: bytes) -> bytes:
        """The answer to a service. Raises NoAnswer, ProtocolError and LinkError; after these, and when it is
        cancelled, there is no session any more."""
        state = self._session.state
        self._session.state = BASE
        try:
            answer = await self._pump.exchange(request)
        finally:
            self._dead_at = clock.monotonic_ms() + _DEAD_MS
        self._session.state = state
        self._good += 1
        if self._good == _GOOD_LINE:
            self._good = 0
            self._level = max(self._level - 1, 0)
        return answer

    def doubt(self) -> None:
        """Something went wrong: this session is given up, the next one has smaller packets."""
        self._session.state = BASE
        self._good = 0
        if not self.silent:
            self._level = min(self._level + 1, len(_SIZES) - 1)

    async def keep(self) -> None:
        """Ask the meter to keep the silent session for some minutes."""
        try:
            if (await self.exchange(services.wait(_KEEP_S)))[0] == 0:
                self._dead_at += 1000 * _KEEP_S
        except (MeterError, LinkError):
            pass  # the next read begins a session

    async def end(self) -> None:
        """Log off and terminate, so that others may come; never raises for a meter that is gone."""
        self._session.end()
        try:
            while self._session.state != BASE:
                await self._advance()
            await self._run_at(BASE_BAUD)
            self._dead_at = clock.monotonic_ms()
        except (MeterError, LinkError):
            pass  # the meter ends the session by its own time-out

    async def close(self) -> None:
        """End the session, if there is one, and close the link."""
        try:
            if self.is_open:
                await self.end()
                await self._pump.flush()
        finally:
            await self._pump.close()

    async def _advance(self) -> None:
        session = self._session
        request = session.request()
        assert request is not None
        session.answered(request, await self.exchange(request))

    async def _run_at(self, rate: int) -> None:
        if rate != self._baud:
            await self._pump.set_baud(rate)
            self._baud = rate


def _no_alert() -> None:
    """Alerts are MEP's."""
