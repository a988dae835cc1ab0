"""A meter on its MEP port."""

import asyncio

from ..._compat import TYPE_CHECKING, const
from ...errors import AuthenticationError, NoAnswer, ProtocolError, TableError
from ...meter import Meter
from ..c1218 import read_message, table_data, table_name, write_message
from ..read_size import ReadSize
from .security import SecuredPort, Security

if TYPE_CHECKING:
    from ..link import Link

DEFAULT_BAUD = 9600  # MEP guide, chapter 2, "MEP Port Baud Rate"

# Damaged answers in a row, after which a line is given up: one that has worked before, and one that never has
# and may run at another rate. With 1 % of bytes damaged nearly every other small piece arrives.
_PATIENCE = const(30)
_PATIENCE_AT_FIRST = const(8)
# Over TLS each failure takes a handshake, of which 6 in 100 arrive whole.
_PATIENCE_OVER_TLS = const(200)
# Exchanges without any answer, each of them tried three times, on a line that is known to be bad.
_SILENCES = const(3)


class MepMeter(Meter):
    """`security`: a Security, or the key alone (16 bytes, parse_key) for what needs no more than the digest;
    `baud`: the line's rate, of which the time-outs are made.

    Callers that come while an exchange is on wait for their turn, in order. The pieces of a long read
    follow each other without another's request between them; they get smaller on a line that damages them,
    and what has arrived is kept.
    """

    authenticated = True

    def __init__(self, link: "Link", security: "Security | bytes", baud: int = DEFAULT_BAUD) -> None:
        if isinstance(security, bytes):
            security = Security(security)
        self._port = SecuredPort(link, security, baud, self._alert)
        self.max_read = self._port.max_read
        self.resyncs = self._port.resyncs
        self._size = ReadSize(self.max_read)
        self._turn = asyncio.Lock()

    @property
    def security(self) -> str:  # type: ignore[override]
        return self._port.security

    @property
    def proven(self) -> bool:  # type: ignore[override]
        return self._port.proven

    def traffic(self) -> "tuple[int, int, int]":
        return self._port.traffic()

    async def read(self, table: int, offset: "int | None" = None, count: "int | None" = None) -> bytes:
        if count is None:
            if offset is not None:
                raise ValueError("an offset needs a count")
            message = read_message(table)
            async with self._turn:
                return table_data(message, await self._exchange(message))
        start = offset or 0
        if count < 0:
            raise ValueError("a count of %d bytes" % count)
        pieces = []
        async with self._turn:
            while count:
                piece = await self._piece(table, start, count)
                start += len(piece)
                count -= len(piece)
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def write(self, table: int, data: bytes, offset: "int | None" = None) -> None:
        """As Meter.write; longer data than fits one request goes in pieces if an offset is given.

        A request whose answer was lost is sent again, so the meter may see it twice; a procedure call is
        safe from that by its own sequence number (answer 04).
        """
        most = self._port.max_write
        if offset is None and len(data) > most:
            raise TableError(
                "%d bytes for the whole of %s do not fit into one request, which carries %d; write it with "
                "offsets" % (len(data), table_name(table), most)
            )
        async with self._turn:
            for at in range(0, max(len(data), 1), most):
                piece = data[at : at + most]
                await self._exchange(write_message(table, piece, None if offset is None else offset + at))

    async def close(self) -> None:
        await self._port.close()

    async def _piece(self, table: int, start: int, count: int) -> bytes:
        """The first bytes of what is wanted, as many as the line lets through."""
        size = self._size
        silences = 0
        bad_line = size.size < size.largest
        while True:
            step = min(count, size.size)
            message = read_message(table, start, step)
            try:
                answer = await self._exchange(message, False)
            except (NoAnswer, ProtocolError) as error:
                size.bad(step)
                if isinstance(error, NoAnswer):
                    silences += 1
                    if silences == (_SILENCES if bad_line else 1):
                        raise
                elif not self._port.damaged or size.failures >= self._patience():
                    raise
                else:
                    bad_line = True
                continue
            data = table_data(message, answer)
            size.good(step)
            return data

    def _patience(self) -> int:
        patience: int = _PATIENCE_AT_FIRST
        if self._port.proven:
            patience = _PATIENCE_OVER_TLS if self._port.over_tls else _PATIENCE
        return patience

    async def _exchange(self, message: bytes, patient: bool = True) -> bytes:
        port = self._port
        if self.refusal is not None:
            raise self.refusal
        try:
            return await port.exchange(message, patient)
        except AuthenticationError as error:
            self.refusal = error
            raise
        finally:
            self.resyncs = port.resyncs
            if port.max_read != self.max_read:
                self.max_read = port.max_read
                self._size = ReadSize(port.max_read)

    def _alert(self) -> None:
        if self.on_alert is not None:
            self.on_alert()
