"""A TCP proxy between two parties: it cuts, holds back, slows down and spoils what passes."""

import asyncio
import random


class Proxy:
    """Listens on `port` and passes on to `target`. Faults are switched while it runs.

    `refusing`: connections end at once. `delay_s`: how late each piece is. `bytes_per_s`: 0 is no limit.
    `spoil`: of a million bytes so many are changed, lost or added. Between `hold` and `release` nothing
    passes, and nobody is told. `passed` and `spoiled` count bytes, `held` pieces.
    """

    def __init__(self, target: int, seed: int) -> None:
        self.target = target
        self.port = 0
        self.refusing = False
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.spoil = 0
        self.passed = 0
        self.spoiled = 0
        self.held = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._chance = random.Random(seed)
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self._flowing.set()
        self.cut()
        if self._open:
            await asyncio.wait(self._open)

    def cut(self) -> int:
        """End all connections now; how many there were."""
        for task in self._open:
            task.cancel()
        return len(self._open)

    def hold(self) -> None:
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            if self.refusing:
                return
            far, there = await asyncio.open_connection("127.0.0.1", self.target)
            ways = [
                asyncio.create_task(self._pass(reader, there)),
                asyncio.create_task(self._pass(far, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if not self._flowing.is_set():
                self.held += 1
                await self._flowing.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.bytes_per_s:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            if self.spoil:
                data = self._spoilt(data)
            self.passed += len(data)
            writer.write(data)
            await writer.drain()

    def _spoilt(self, data: bytes) -> bytes:
        chance = self._chance
        out = bytearray()
        for byte in data:
            if chance.randrange(1_000_000) >= self.spoil:
                out.append(byte)
                continue
            self.spoiled += 1
            how = chance.randrange(4)
            if how == 0:
                continue
            out.append(byte if how == 1 else byte ^ 1 << chance.randrange(8))
            if how == 1:
                out += chance.randbytes(chance.randint(1, 8))
        return bytes(out)
