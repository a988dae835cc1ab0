"""A meter on its MEP port."""

import asyncio

from ..._compat import TYPE_CHECKING
from ...errors import TableError
from ...meter import Meter
from ..c1218 import READ_OVERHEAD, WRITE_OVERHEAD, read_message, table_data, table_name, write_message
from ..pump import Pump
from .digest import DIGEST_BYTES
from .framing import MAX_FRAME, MAX_MESSAGE
from .machine import SECURITY_OVERHEAD, Machine

if TYPE_CHECKING:
    from ..link import Link

# MEP guide, chapter 2, "MEP Port Baud Rate" and "MEP Protocol Timing".
DEFAULT_BAUD = 9600
_RESPONSE_MS = 500
_SPACING_MS = 100

_MAX_WRITE = MAX_MESSAGE - WRITE_OVERHEAD - SECURITY_OVERHEAD


class MepMeter(Meter):
    """`key`: 16 bytes (parse_key); `encrypt`: RC4 for requests and answers, the digest is always there;
    `baud`: the line's rate, of which the time-outs are made.

    Callers that come while an exchange is on wait for their turn, in order. The pieces of a long read
    follow each other without another's request between them.
    """

    max_read = MAX_MESSAGE - READ_OVERHEAD - DIGEST_BYTES  # 465
    authenticated = True

    def __init__(self, link: "Link", key: bytes, encrypt: bool = False, baud: int = DEFAULT_BAUD) -> None:
        self._machine = Machine(key, encrypt)
        self._pump = Pump(
            link,
            self._machine,
            baud=baud,
            response_ms=_RESPONSE_MS,
            spacing_ms=_SPACING_MS,
            largest=MAX_FRAME,
            on_alert=self._alert,
        )
        self.resyncs = 0
        self._turn = asyncio.Lock()

    async def read(self, table: int, offset: "int | None" = None, count: "int | None" = None) -> bytes:
        if count is None:
            if offset is not None:
                raise ValueError("an offset needs a count")
            message = read_message(table)
            async with self._turn:
                return await self._exchange(message)
        start = offset or 0
        if count < 0:
            raise ValueError("a count of %d bytes" % count)
        pieces = []
        async with self._turn:
            while count:
                step = min(count, self.max_read)
                pieces.append(await self._exchange(read_message(table, start, step)))
                start += step
                count -= step
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def write(self, table: int, data: bytes, offset: "int | None" = None) -> None:
        """As Meter.write; longer data than fits one request goes in pieces if an offset is given.

        A request whose answer was lost is sent again, so the meter may see it twice; a procedure call is
        safe from that by its own sequence number (answer 04).
        """
        if offset is None and len(data) > _MAX_WRITE:
            raise TableError(
                "%d bytes for the whole of %s do not fit into one request, which carries %d; write it with "
                "offsets" % (len(data), table_name(table), _MAX_WRITE)
            )
        async with self._turn:
            for at in range(0, max(len(data), 1), _MAX_WRITE):
                piece = data[at : at + _MAX_WRITE]
                await self._exchange(write_message(table, piece, None if offset is None else offset + at))

    async def close(self) -> None:
        await self._pump.close()

    async def _exchange(self, message: bytes) -> bytes:
        try:
            return table_data(message, await self._pump.exchange(message))
        finally:
            self.resyncs = self._machine.resyncs

    def _alert(self) -> None:
        if self.on_alert is not None:
            self.on_alert()
