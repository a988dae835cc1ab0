"""A meter on its optical port."""

import asyncio

from ... import clock
from ..._compat import TYPE_CHECKING, const
from ...errors import AuthenticationError, ConfigurationError, NoAnswer, ProtocolError, Refused
from ...meter import Meter
from .. import c1218
from . import services
from .client import BASE_BAUD, Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..link import Link

# What the meter's event log calls this client (BT74, "User ID"). There 0 and 1 are the meter itself and who
# presses its buttons (ANSI C12.19-1997), and the numbers above the last stand for other ports.
USER_ID = 2
LAST_USER_ID = 0xFFFC
USER = "gateway"

_ATTEMPTS = const(3)
_ATTEMPTS_IN_SILENCE = const(2)
# A meter that is busy is asked again so often, within the session's traffic time-out.
_LATER = const(4)
_LATER_MS = const(700)


class OpticalMeter(Meter):
    """`password`: 20 bytes (parse_password); `baud`: the rate for sessions, which always begin at 9600 (the
    link is opened with that); `user_id` and `user` (10 characters at most): what the meter's log calls this
    client; `log_off`: whether `release` ends the session, or asks the meter to keep it for some minutes.

    The session is begun by the first read. Callers that come while an exchange is on wait for their turn, in
    order. Checksums guard the answers, nothing proves their origin: `authenticated` is False.
    """

    authenticated = False

    def __init__(
        self,
        link: "Link",
        password: bytes,
        *,
        baud: int = BASE_BAUD,
        user_id: int = USER_ID,
        user: str = USER,
        log_off: bool = True,
    ) -> None:
        if len(password) != services.PASSWORD_BYTES:
            raise ConfigurationError(
                "a password of the optical port has %d bytes, this has %d"
                % (services.PASSWORD_BYTES, len(password))
            )
        if not 0 <= user_id <= LAST_USER_ID or len(user.encode()) > services.USER_BYTES:
            raise ConfigurationError(
                "a user of the optical port is a number up to %d and a name of up to %d characters"
                % (LAST_USER_ID, services.USER_BYTES)
            )
        if not services.is_rate(baud):
            raise ConfigurationError(
                "an optical session can't run at %d baud, only at 300, 600, 1200, 2400, 4800, 9600, 14400, "
                "19200, 28800 or 57600" % baud
            )
        self._client = Client(link, password, baud, user_id, user.encode())
        self._log_off = log_off
        self._turn = asyncio.Lock()
        self._follow()

    security = "optical"

    @property
    def refusal(self) -> "AuthenticationError | None":  # type: ignore[override]
        """Why the meter does not let this password in; it is not asked again."""
        return self._client.refusal

    def traffic(self) -> "tuple[int, int, int]":
        return self._client.traffic()

    async def read(self, table: int, offset: "int | None" = None, count: "int | None" = None) -> bytes:
        if count is None:
            if offset is not None:
                raise ValueError("an offset needs a count")
            async with self._turn:
                return await self._ask(lambda: c1218.read_message(table))
        at = offset or 0
        if count < 0:
            raise ValueError("a count of %d bytes" % count)
        end = at + count
        pieces = []

        def next_piece() -> bytes:
            return c1218.read_message(table, at, min(end - at, self.max_read))

        async with self._turn:
            while at < end:
                pieces.append(await self._ask(next_piece))
                at += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def write(self, table: int, data: bytes, offset: "int | None" = None) -> None:
        """As Meter.write; longer data than fits one request goes in pieces if an offset is given.

        When an answer stays away the request is sent again in a new session, so the meter may see it twice; a
        procedure call is safe from that by its own sequence number (answer 04).
        """
        at = sent = 0

        def next_piece() -> bytes:
            nonlocal sent
            most = self._client.room - services.WRITE_OVERHEAD
            if offset is not None:
                sent = min(len(data) - at, most)
                return services.write_message(table, data[at : at + sent], offset + at)
            if len(data) > most:
                from .failures import too_long

                raise too_long(table, len(data), most)
            sent = len(data)
            return services.write_message(table, data)

        async with self._turn:
            while True:
                await self._ask(next_piece)
                at += sent
                if at >= len(data):
                    return

    async def release(self) -> None:
        async with self._turn:
            if self._client.is_open:
                await (self._client.end() if self._log_off else self._client.keep())

    async def close(self) -> None:
        # In the middle of an exchange there is no session that could be ended; the meter's time-out does it.
        await self._client.close()

    async def _ask(self, build: "Callable[[], bytes]") -> bytes:
        """The table data in the answer to what `build` makes, which depends on the session's sizes.

        A session that breaks is begun anew, a few times; what was read before stays.
        """
        client = self._client
        attempt = later = 0
        while True:
            attempt += 1
            try:
                await client.open()
                self._follow()
                request = build()
                answer = await client.exchange(request)
                code = answer[0]
                if code == c1218.OK:
                    return services.table_data(request, answer)
                if code not in (services.OUT_OF_STATE, services.RENEGOTIATE) or attempt == _ATTEMPTS:
                    from ..refusals import refusal
                    from .failures import RIGHTS

                    raise refusal(code, request, RIGHTS)
            except (NoAnswer, ProtocolError):
                client.doubt()
                if attempt == (_ATTEMPTS_IN_SILENCE if client.silent else _ATTEMPTS):
                    raise
                continue
            except Refused as error:
                if error.code == services.OUT_OF_STATE and attempt < _ATTEMPTS:
                    continue  # a session that could not be begun has been ended
                later += 1
                if error.code not in services.NOT_YET or later == _LATER:
                    raise
                attempt -= 1
                await clock.sleep_ms(_LATER_MS)
                continue
            if code == services.RENEGOTIATE:
                await client.end()
            else:
                client.doubt()  # the meter has ended the session before its time

    def _follow(self) -> None:
        self.max_read = self._client.room - services.READ_OVERHEAD
