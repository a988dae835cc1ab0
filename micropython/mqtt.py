"""The gateway's MQTT client on MicroPython: moves bytes between a socket and the protocol machine."""

import asyncio

from mqtt_machine import ACKED, MESSAGE, OVERSIZED, SUBSCRIBED, MqttMachine

from gateway._compat import TYPE_CHECKING
from gateway.clock import monotonic_ms, sleep_ms, wait_for_ms
from gateway.core.broker import Broker
from gateway.errors import BrokerError, Expired

if TYPE_CHECKING:
    import ssl
    from typing import Any

_INBOX = 16


def tls_context(ca_der: bytes) -> "ssl.SSLContext":
    """A TLS client context that believes certificates of this CA (DER) and no others."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED  # MicroPython's default verifies nothing
    try:
        context.load_verify_locations(cadata=ca_der)
    except (ValueError, OSError) as error:
        raise BrokerError(
            "the broker's CA certificate can't be read (%s); it has to be DER" % error
        ) from None
    return context


class _Answer:
    """What somebody waits for: the broker's answer to a packet id, or the connection's end."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.granted = False
        self.error: str | None = None

    def settle(self, granted: bool, error: "str | None") -> None:
        self.granted = granted
        self.error = error
        self.event.set()


class MqttBroker(Broker):
    """A broker reached over TCP or TLS.

    Messages that wait to be received are bounded: when 16 wait, the oldest goes and `dropped` counts it,
    because receipts are cumulative and a reader that lags must not stop acknowledgements.
    `keep_alive` in seconds also bounds how long the broker may be silent, or leave a message
    unacknowledged, before the connection is given up.
    """

    def __init__(
        self,
        host: str,
        port: int,
        machine: MqttMachine,
        *,
        keep_alive: int = 60,
        tls: "ssl.SSLContext | None" = None,
        server_hostname: "str | None" = None,
        connect_timeout_ms: int = 15000,
    ) -> None:
        self._host = host
        self._port = port
        self._machine = machine
        self._keep_alive_ms = keep_alive * 1000
        self._tls = tls
        self._server_hostname = server_hostname or host
        self._connect_timeout_ms = connect_timeout_ms
        self._error: str | None = "not connected to the broker"
        self._answers: dict[int, _Answer] = {}
        self._inbox: list[tuple[str, bytes]] = []
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._arrived = asyncio.Event()
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    async def connect(self) -> None:
        await self._end()
        where = "MQTT broker %s:%d" % (self._host, self._port)
        try:
            # On CPython the TLS handshake happens here, on MicroPython with the first write.
            reader, writer = await wait_for_ms(self._open(), self._connect_timeout_ms)
        except Expired:
            raise BrokerError("%s does not answer; is the address right?" % where) from None
        except OSError as error:
            raise BrokerError("%s: %s" % (where, self._advise(error)), _state(error)) from None
        greeted = False
        try:
            self._machine.connect()
            await wait_for_ms(self._greet(reader, writer), self._connect_timeout_ms)
            greeted = True
        except Expired:
            raise BrokerError(
                "%s took the connection and said nothing; is it an MQTT port?" % where
            ) from None
        # ValueError is what MicroPython raises for a certificate that it does not believe.
        except (OSError, ValueError, BrokerError) as error:
            raise BrokerError("%s: %s" % (where, self._advise(error)), _state(error)) from None
        finally:
            if not greeted:
                await _close(writer)
        self._error = None
        self._heard = self._progress = monotonic_ms()
        self._ended.clear()
        self._task = asyncio.create_task(self._serve(reader, writer))
        await asyncio.sleep(0)  # a task that is cancelled before it began would close nothing

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        async with self._turn:
            while True:
                self._check()
                pid = self._machine.publish(topic, payload, retain)
                if pid is not None:
                    break
                self._room.clear()
                await self._room.wait()
            if len(self._machine.in_flight) == 1:
                self._progress = monotonic_ms()
        await self._answer(pid)

    async def subscribe(self, topic: str) -> None:
        self._check()
        answer = await self._answer(self._machine.subscribe(topic))
        if not answer.granted:
            raise BrokerError("the broker refused the subscription to %s; check the user's rights" % topic)

    async def receive(self) -> "tuple[str, bytes]":
        while not self._inbox:
            self._check()
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.pop(0)

    async def close(self) -> None:
        self._machine.disconnect()
        self._wake.set()
        if self._error is None:
            # The broker closes the connection when it has our goodbye (3.14.4).
            try:
                await wait_for_ms(self._ended.wait(), 1000)
            except Expired:
                pass
        await self._end()

    async def _open(self) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        if self._tls is None:
            return await asyncio.open_connection(self._host, self._port)
        return await asyncio.open_connection(
            self._host, self._port, ssl=self._tls, server_hostname=self._server_hostname
        )

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flush(writer)
        while not self._machine.connected:
            await self._take(reader)

    async def _take(self, reader: asyncio.StreamReader) -> None:
        """Read once and handle every event in it."""
        data = await reader.read(256)
        if not data:
            raise BrokerError("it closed the connection")
        self._heard = monotonic_ms()
        self._machine.feed(data)
        while True:
            event: Any = self._machine.next_event()
            if event is None:
                break
            if event[0] == MESSAGE:
                if len(self._inbox) >= _INBOX:
                    self._inbox.pop(0)
                    self.dropped += 1
                self._inbox.append(event[1:])
                self._arrived.set()
                await asyncio.sleep(0)  # whoever receives keeps pace with a burst
            elif event[0] == OVERSIZED:
                self.dropped += 1
            elif event[0] == ACKED or event[0] == SUBSCRIBED:
                self._progress = self._heard
                self._room.set()
                answer = self._answers.pop(event[1], None)
                if answer:
                    answer.settle(event[0] == ACKED or event[2], None)
        self._wake.set()

    async def _flush(self, writer: asyncio.StreamWriter) -> None:
        while True:
            packet = self._machine.data_to_send()
            if packet is None:
                return
            writer.write(packet)
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Owns the connection from CONNACK to its end."""
        sender = asyncio.create_task(self._send(writer))
        watch = asyncio.create_task(self._watch())
        try:
            while True:
                await self._take(reader)
        except asyncio.CancelledError:
            self._lost("the connection was closed")
        except Exception as error:
            self._lost(str(error))
        sender.cancel()
        watch.cancel()
        try:
            await _close(writer)
        finally:
            self._ended.set()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._flush(writer)
                await self._wake.wait()
                self._wake.clear()
        except Exception as error:
            self._fail(str(error))

    async def _watch(self) -> None:
        """Keeps the connection alive, and ends it when the broker no longer is (3.1.2.10, 4.4)."""
        seconds = self._keep_alive_ms // 1000
        while True:
            await sleep_ms(self._keep_alive_ms // 2)
            now = monotonic_ms()
            if now - self._heard > self._keep_alive_ms:
                return self._fail("the broker was silent for more than %d s" % seconds)
            if self._machine.in_flight and now - self._progress > self._keep_alive_ms:
                return self._fail("the broker acknowledged nothing for more than %d s" % seconds)
            self._machine.ping()
            self._wake.set()

    def _fail(self, error: str) -> None:
        self._lost(error)
        if self._task:
            self._task.cancel()

    def _lost(self, error: str) -> None:
        if self._error is None:
            self._error = "MQTT broker %s:%d: connection lost: %s" % (self._host, self._port, error)
        for answer in self._answers.values():
            answer.settle(False, self._error)
        self._answers = {}
        self._room.set()
        self._arrived.set()

    async def _end(self) -> None:
        if self._task:
            if self._error is None:
                self._task.cancel()
            await self._ended.wait()
            self._task = None

    async def _answer(self, pid: int) -> _Answer:
        answer = self._answers[pid] = _Answer()
        self._wake.set()
        await answer.event.wait()
        if answer.error:
            raise BrokerError(answer.error)
        return answer

    def _check(self) -> None:
        if self._error:
            raise BrokerError(self._error)

    def _advise(self, error: Exception) -> str:
        text = str(error).strip()
        if isinstance(error, BrokerError):
            return text
        if isinstance(error, ValueError) or "CERTIFICATE" in text:
            return "%s; check the CA file, and that the certificate is for %s" % (text, self._server_hostname)
        if "SSL" in text:
            return "%s; is it a TLS port?" % text
        return "%s; is the broker running there?" % text


def _state(error: Exception) -> str:
    """The word of docs/status.md."""
    text = str(error)
    if isinstance(error, ValueError) or "CERTIFICATE" in text:
        return "untrusted"
    if "addrinfo" in text or "-202" in text:  # the unix port's words, and lwIP's EAI_FAIL
        return "unresolved"
    return "refused" if "refused the connection: " in text else "gone"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await wait_for_ms(writer.wait_closed(), 1000)
    except (OSError, Expired):
        pass
