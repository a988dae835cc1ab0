"""The MQTT 3.1.1 client on Linux: gateway.core.broker.Broker on aiomqtt."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TypeVar

import aiomqtt
import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from .. import clock
from ..core.broker import Broker
from ..errors import BrokerError

_KEEPALIVE_S = 30
_ANSWER_S = 10
_LEAVE_S = 1
# Receipts and commands that wait to be looked at; they are repeated until they are answered, so the
# oldest may go when there are more.
_INCOMING_LIMIT = 256
_INCOMING_BYTES = 16 << 20

_DAY_MS = 86_400_000
# What is renewed by itself is renewed earlier than so long before its end.
_SOON_MS = 14 * _DAY_MS

_log = logging.getLogger("gateway.mqtt")
_T = TypeVar("_T")


class MqttBroker(Broker):
    """One broker, one connection at a time.

    `tls`: a context, or None for plain MQTT. `read_password`: asked at each connection, so that a wrong
    password can be put right meanwhile; may raise ConfigurationError. `will`: topic and payload that the
    broker publishes, retained, when this client vanishes. `session`: the broker is to keep subscriptions, and
    what comes meanwhile, from one connection to the next. `incoming_limit`: messages that may wait to be
    looked at, of 16 MiB in all; `dropped` counts those that gave way.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client_id: str,
        *,
        tls: ssl.SSLContext | None = None,
        username: str | None = None,
        read_password: Callable[[], str] | None = None,
        will: tuple[str, bytes] | None = None,
        session: bool = False,
        incoming_limit: int = _INCOMING_LIMIT,
    ) -> None:
        self.name = f"the MQTT broker {host}:{port}"
        self.dropped = 0
        self._host = host
        self._port = port
        self._client_id = client_id
        self._tls = tls
        self._username = username
        self._read_password = read_password
        self._will = will
        self._session = session
        self._incoming_limit = incoming_limit
        self._client: aiomqtt.Client | None = None
        self._listener: asyncio.Task[None] | None = None
        self._incoming: deque[tuple[str, bytes]] = deque()
        self._incoming_bytes = 0
        self._news = asyncio.Event()  # a message, or the end of the connection

    async def connect(self) -> None:
        await self.close()
        client = aiomqtt.Client(
            self._host,
            self._port,
            username=self._username,
            password=self._read_password() if self._read_password else None,
            identifier=self._client_id,
            will=aiomqtt.Will(self._will[0], self._will[1], qos=1, retain=True) if self._will else None,
            clean_session=not self._session,  # what must not be lost is in the outbox, not in the broker
            keepalive=_KEEPALIVE_S,
            timeout=_ANSWER_S,
            tls_context=self._tls,
            logger=_log,
        )
        client.pending_calls_threshold = 1000  # the sender bounds what is under way; no need to warn
        client._client.on_message = _readable(client._on_message)
        try:
            await _cancellable(client.__aenter__())
        except aiomqtt.MqttError as error:
            state, reason = self._came_back(error)
            raise BrokerError(f"can't connect to {self.name}: {reason}", state) from None
        self._client = client
        self._look_at_certificate(client)
        self._incoming.clear()
        self._incoming_bytes = 0
        self._listener = asyncio.create_task(self._listen(client))

    def _look_at_certificate(self, client: aiomqtt.Client) -> None:
        line = client._client.socket()
        certificate = line.getpeercert() if isinstance(line, ssl.SSLSocket) else None
        if certificate:
            self.certificate_ms = 1000 * int(ssl.cert_time_to_seconds(str(certificate["notAfter"])))

    def concern(self) -> str:
        """That the broker's certificate ends soon; other words each day."""
        if self.certificate_ms is None:
            return ""
        left = self.certificate_ms - clock.utc_ms()
        if left >= _SOON_MS:
            return ""
        ends = datetime.fromtimestamp(self.certificate_ms // 1000, UTC).strftime("%Y-%m-%d")
        if left < 0:
            return f"the certificate of {self.name} has expired ({ends}), the next connection fails: renew it"
        days = left // _DAY_MS
        left_words = f"in {days} day{'s' * (days != 1)}" if days else "today"
        return f"the certificate of {self.name} ends {left_words} ({ends}): renew it"

    async def _listen(self, client: aiomqtt.Client) -> None:
        """Ends with the library's error when the connection is lost."""
        try:
            async for message in client.messages:
                if isinstance(message.payload, bytes):
                    self._put(str(message.topic), message.payload)
                self._news.set()
        finally:
            self._news.set()

    def _put(self, topic: str, payload: bytes) -> None:
        while self._incoming and (
            len(self._incoming) >= self._incoming_limit
            or self._incoming_bytes + len(payload) > _INCOMING_BYTES
        ):
            self._take()
            self.dropped += 1
        self._incoming.append((topic, payload))
        self._incoming_bytes += len(payload)

    def _take(self) -> tuple[str, bytes]:
        topic, payload = self._incoming.popleft()
        self._incoming_bytes -= len(payload)
        return topic, payload

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        await self._acknowledged(
            self._connected().publish(topic, payload, qos=1, retain=retain), f"publishing to {topic}"
        )

    async def subscribe(self, topic: str) -> None:
        codes = await self._acknowledged(self._connected().subscribe(topic, qos=1), f"subscribing to {topic}")
        if any(_number(code) >= 0x80 for code in codes):
            raise BrokerError(
                f"{self.name} refused the subscription to {topic}: give this user the right to it"
            )

    async def receive(self) -> tuple[str, bytes]:
        while not self._incoming:
            self._connected()
            self._news.clear()
            await self._news.wait()
        return self._take()

    async def close(self) -> None:
        client, listener = self._client, self._listener
        self._client = self._listener = None
        if listener is not None:
            listener.cancel()
            await asyncio.wait([listener])
            if not listener.cancelled():
                listener.exception()  # whoever used the connection knows it already
        if client is not None:
            # A broker that hangs is left without a word.
            with contextlib.suppress(aiomqtt.MqttError, OSError, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await _cancellable(client.__aexit__(None, None, None))

    def _connected(self) -> aiomqtt.Client:
        if self._client is None or self._listener is None:
            raise BrokerError(f"there is no connection to {self.name}")
        if self._listener.done():
            raise self._lost()
        return self._client

    async def _acknowledged(self, call: Coroutine[object, object, _T], doing: str) -> _T:
        """What `call` gives; BrokerError as soon as the connection is lost, not when the call times out."""
        assert self._listener is not None
        task = asyncio.ensure_future(call)
        task.add_done_callback(_look_at)
        try:
            await asyncio.wait((task, self._listener), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            raise self._lost()
        try:
            return task.result()
        except aiomqtt.MqttError as error:
            if self._listener is not None and self._listener.done():
                raise self._lost() from None
            raise BrokerError(f"{doing}: no acknowledgement from {self.name}: {error}") from None

    def _lost(self) -> BrokerError:
        error = None
        if self._listener is not None and self._listener.done() and not self._listener.cancelled():
            error = self._listener.exception()
        cause = f" ({error.__cause__ or error})" if error else ""
        return BrokerError(
            f"the connection to {self.name} was lost{cause}. Another client with the id {self._client_id}, "
            "missing rights or a restart of the broker do this; it is connected again."
        )

    def _came_back(self, error: aiomqtt.MqttError) -> tuple[str, str]:
        """What a failed attempt met: the state, and in words what to do about it."""
        if isinstance(error, aiomqtt.MqttCodeError):
            return _refusal(_number(error.rc), self._username)
        # The library keeps the words of the system's error only; the error itself says of what kind it is.
        cause = error.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "untrusted", _untrusted(cause, self._host)
        if isinstance(cause, ssl.SSLError):
            return (
                "failing",
                f"no TLS there ({cause.reason or cause}): is {self._port} the broker's TLS port?",
            )
        if isinstance(cause, socket.gaierror):
            return "unresolved", f"the name {self._host} was not found ({cause.strerror})"
        return "gone", self._away(error, cause)

    def _away(self, error: aiomqtt.MqttError, cause: BaseException | None) -> str:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused, nothing listens there. Is the broker running, and is the port right?"
        if isinstance(cause, ConnectionResetError):
            return "it closed the connection: plain MQTT to a TLS port, or no MQTT broker at all?"
        if isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return "there is no route to it: is this machine on the network?"
        if isinstance(cause, TimeoutError) or "timed out" in str(error):
            return f"no answer within {_ANSWER_S} s: a firewall, plain MQTT to a TLS port, or no MQTT broker?"
        return str(error)


def _readable(take: Callable[[mqtt.Client, object, mqtt.MQTTMessage], None]) -> mqtt.CallbackOnMessage:
    """`take`, but for messages whose topic is none (no UTF-8, or with wildcards). The library's error would
    end the connection, unacknowledged, and the broker deliver the message again on each new one."""

    def on_message(client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        with contextlib.suppress(ValueError):
            take(client, data, message)

    return on_message


async def _cancellable(call: Coroutine[object, object, _T]) -> _T:
    """What `call` gives. A task of its own, for the library waits with wait_for, which before Python 3.12 can
    swallow a cancellation that races with the result: whoever is to end would go on for ever."""
    task = asyncio.ensure_future(call)
    task.add_done_callback(_look_at)
    try:
        await asyncio.wait((task,))
    finally:
        task.cancel()
    return task.result()


def _look_at(task: asyncio.Task[_T]) -> None:
    """How a call ended that is not waited for any more is nobody's business, asyncio's log included."""
    if not task.cancelled():
        task.exception()


def _number(code: object) -> int:
    if isinstance(code, ReasonCode):
        return int(code.value)
    return code if isinstance(code, int) else 0


def _refusal(code: int, username: str | None) -> tuple[str, str]:
    # Both the codes of MQTT 3.1.1 (3.2.2.3) and those of MQTT 5 into which the library turns them.
    if code in (4, 5, 134, 135):
        if username is None:
            return "refused", "it wants a user and password: set username and password_file"
        return "refused", f"it refused the user {username} or the password: check username and password_file"
    if code in (2, 133):
        return "refused", "it refused the client id: set another [gateway] id"
    if code in (1, 132):
        return "failing", "it does not speak MQTT 3.1.1"
    if code in (3, 136):
        return "gone", "it is there but not ready (server unavailable)"
    return "failing", f"it refused the connection (code {code})"


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> str:
    said = error.verify_message
    if error.verify_code == 62 or "match" in said:  # X509_V_ERR_HOSTNAME_MISMATCH
        return f"its certificate is for another name than {host} ({said}): use the name in the certificate"
    if error.verify_code == 10:  # X509_V_ERR_CERT_HAS_EXPIRED
        return f"its certificate has expired ({said}): renew it, or set this machine's clock"
    if error.verify_code == 9:  # X509_V_ERR_CERT_NOT_YET_VALID
        return f"its certificate is not valid yet ({said}): is this machine's clock right?"
    return f"its certificate is not trusted ({said}): name the authority's certificate with ca_file"
