"""Stands between an MQTT client and its broker: records what one sends, holds back what it should hear."""

import asyncio

from tests.patience import PATIENCE_S


def packets(data: bytes) -> list[bytes]:
    """The whole packets in `data` (MQTT 3.1.1, 2.2)."""
    found = []
    while len(data) >= 2:
        at, length = 1, 0
        while True:
            length |= (data[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if data[at - 1] < 0x80:
                break
        if len(data) < at + length:
            break
        found.append(data[: at + length])
        data = data[at + length :]
    return found


class Proxy:
    """`async with Proxy(port) as proxy`, connect to `proxy.port`. `connections`: the bytes of each
    connection, client to broker. With `deaf` set nothing of the broker reaches the client."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: list[bytearray] = []
        self.deaf = False
        self.port = 0
        self._sent = asyncio.Event()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def published(self, connection: int) -> list[tuple[int, bytes]]:
        """(first byte, rest of the packet after its length) of each PUBLISH on a connection."""
        return [
            (packet[0], packet[2:])
            for packet in packets(bytes(self.connections[connection]))
            if packet[0] & 0xF0 == 0x30
        ]

    async def until_published(self, connection: int, count: int) -> None:
        while len(self.connections) <= connection or len(self.published(connection)) < count:
            self._sent.clear()
            await asyncio.wait_for(self._sent.wait(), PATIENCE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        record = bytearray()
        self.connections.append(record)

        async def upstream() -> None:
            while data := await reader.read(4096):
                record.extend(data)
                self._sent.set()
                broker_writer.write(data)

        async def downstream() -> None:
            while data := await broker_reader.read(4096):
                if not self.deaf:
                    writer.write(data)

        try:
            await asyncio.wait(
                [asyncio.ensure_future(upstream()), asyncio.ensure_future(downstream())],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.close()
            broker_writer.close()
