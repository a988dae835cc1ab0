"""An MQTT 3.1.1 client as a machine without I/O: bytes in, events out, packets to send.

Section numbers are those of the OASIS standard, MQTT Version 3.1.1. The session (client id, messages in
flight) outlives connections: `connect` starts a new one, and what the broker has not acknowledged is
sent again, in its order and marked as duplicate (4.4).
"""

from gateway._compat import TYPE_CHECKING, const
from gateway.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Events, the first item of what next_event returns.
CONNECTED = const(0)  # (CONNECTED, whether the broker remembered the session)
MESSAGE = const(1)  # (MESSAGE, topic, payload); already acknowledged
ACKED = const(2)  # (ACKED, packet id of a publish)
SUBSCRIBED = const(3)  # (SUBSCRIBED, packet id, whether it was granted)
OVERSIZED = const(4)  # (OVERSIZED, topic, bytes); acknowledged and dropped
PONG = const(5)  # (PONG,)

# Packet types with their fixed flags (2.2).
_CONNECT = const(0x10)
_CONNACK = const(0x20)
_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_SUBSCRIBE = const(0x82)
_SUBACK = const(0x90)
_PINGRESP = const(0xD0)
_DUP = const(0x08)
_QOS1 = const(0x02)
_RETAIN = const(0x01)

# Table 3.1; what to do is added because the code alone helps no one.
_REFUSALS = (
    "it does not speak MQTT 3.1.1",
    "it does not allow the client id; set another one",
    "its MQTT service is not available; try again later",
    "user name or password are wrong",
    "the user is not authorized to connect",
)


def _string(text: "str | bytes") -> bytes:
    """A length-prefixed field (1.5.3)."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > 65535:
        raise BrokerError("an MQTT field has %d bytes, at most 65535 fit" % len(data))
    return len(data).to_bytes(2, "big") + data


def _packet(first: int, body_length: int) -> "tuple[bytearray, int]":
    """A packet of the right size with its fixed header (2.2.3) in place, and where the body begins."""
    if body_length > 268435455:
        raise BrokerError("an MQTT packet of %d bytes is longer than the protocol allows" % body_length)
    at = 1 + (1 if body_length < 128 else 2 if body_length < 16384 else 3 if body_length < 2097152 else 4)
    packet = bytearray(at + body_length)
    packet[0] = first
    for index in range(1, at):
        packet[index] = body_length & 0x7F | (0x80 if index < at - 1 else 0)
        body_length >>= 7
    return packet, at


def _topic_name(topic: str) -> bytes:
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise BrokerError("%r is no topic to publish to: it is empty or has a wildcard" % topic)
    return _string(topic)


class _InFlight:
    def __init__(self, pid: int, topic: str, payload: bytes, retain: bool) -> None:
        self.pid = pid
        self.topic = topic
        self.payload = payload
        self.retain = retain
        self.sent = False
        self.left_over = False  # from an earlier connection; whoever published it has had an error

    def encode(self) -> bytearray:
        topic = _topic_name(self.topic)
        packet, at = _packet(
            _PUBLISH | _QOS1 | (_DUP if self.sent else 0) | (_RETAIN if self.retain else 0),
            len(topic) + 2 + len(self.payload),
        )
        packet[at : at + len(topic)] = topic
        at += len(topic)
        packet[at : at + 2] = self.pid.to_bytes(2, "big")
        packet[at + 2 :] = self.payload
        return packet


class MqttMachine:
    """One client's session. Feed what arrives, take events until None, send what data_to_send gives.

    `window`: publishes in flight at most. `limit`: longer messages from the broker are acknowledged and
    dropped as they stream in, so that one of them can't fill the memory or come back for ever.
    `will`: topic, payload and retain of the last will (QoS 1).
    """

    def __init__(
        self,
        client_id: str,
        *,
        username: "str | None" = None,
        password: "str | None" = None,
        keep_alive: int = 60,
        will: "tuple[str, bytes, bool] | None" = None,
        window: int = 4,
        limit: int = 8704,
    ) -> None:
        if not client_id:
            raise BrokerError("a session that outlives its connections needs a client id (MQTT 3.1.3.1)")
        self._client_id = client_id
        self._username = username
        self._password = password
        self._keep_alive = keep_alive
        self._will = will
        self._window = window
        self._limit = limit
        self._last_pid = 0
        self._in_flight: list[_InFlight] = []
        self._reset()

    def _reset(self) -> None:
        self._buffer = bytearray()
        self._skip = 0
        self._outgoing: list[bytes | bytearray | _InFlight] = []
        self._subscribing: list[int] = []
        self.connected = False

    def connect(self) -> None:
        """Begin a new connection (3.1); forgets the old one's bytes, keeps what is in flight."""
        self._reset()
        for message in self._in_flight:
            message.left_over = True
        flags = 0  # clean session 0: the broker keeps the session
        fields = [_string("MQTT"), b"", self._keep_alive.to_bytes(2, "big"), _string(self._client_id)]
        if self._will:
            topic, payload, retain = self._will
            flags |= 0x0C | (0x20 if retain else 0)
            fields += (_topic_name(topic), _string(payload))
        if self._username is not None:
            flags |= 0x80
            fields.append(_string(self._username))
            if self._password is not None:
                flags |= 0x40
                fields.append(_string(self._password))
        fields[1] = bytes((4, flags))
        body = b"".join(fields)
        packet, at = _packet(_CONNECT, len(body))
        packet[at:] = body
        self._outgoing.append(packet)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> "int | None":
        """Put a message in flight; its packet id, or None while the window is full.

        A message that an earlier connection left in flight and that is published again is not sent
        twice: it is on its way already.
        """
        for message in self._in_flight:
            if (
                message.left_over
                and message.topic == topic
                and message.payload == payload
                and message.retain == retain
            ):
                message.left_over = False
                return message.pid
        if len(self._in_flight) >= self._window:
            return None
        _topic_name(topic)
        message = _InFlight(self._next_pid(), topic, payload, retain)
        self._in_flight.append(message)
        self._outgoing.append(message)
        return message.pid

    def subscribe(self, topic_filter: str) -> int:
        """Ask for a subscription with QoS 1 (3.8); its packet id, which SUBSCRIBED repeats."""
        if not topic_filter or "\0" in topic_filter:
            raise BrokerError("%r is no topic filter" % topic_filter)
        pid = self._next_pid()
        body = pid.to_bytes(2, "big") + _string(topic_filter) + b"\x01"
        packet, at = _packet(_SUBSCRIBE, len(body))
        packet[at:] = body
        self._subscribing.append(pid)
        self._outgoing.append(packet)
        return pid

    def ping(self) -> None:
        self._outgoing.append(b"\xc0\x00")

    def disconnect(self) -> None:
        """Say goodbye (3.14): the broker then drops the last will."""
        self._outgoing = [b"\xe0\x00"]

    def data_to_send(self) -> "bytes | bytearray | None":
        """The next packet for the wire; who takes it has to send it or start a new connection."""
        if not self._outgoing:
            return None
        item = self._outgoing.pop(0)
        if isinstance(item, _InFlight):
            packet = item.encode()
            item.sent = True
            return packet
        return item

    @property
    def in_flight(self) -> "Sequence[int]":
        """Packet ids of what the broker has not acknowledged, in order."""
        return [message.pid for message in self._in_flight]

    def feed(self, data: bytes) -> None:
        """Take bytes from the broker; call next_event until it gives None before feeding more."""
        if self._skip >= len(data):
            self._skip -= len(data)
        else:
            self._buffer += data[self._skip :] if self._skip else data
            self._skip = 0

    def next_event(self) -> "tuple[object, ...] | None":
        """The next event, or None when more bytes are needed. Raises BrokerError for what breaks the
        protocol; the connection is then of no more use."""
        while True:
            buffer = self._buffer
            if not buffer:
                return None
            kind = buffer[0] & 0xF0
            self._check_kind(buffer[0])
            length = 0
            at = 1
            while True:
                if at > 4:
                    raise BrokerError("the broker sent a packet length of more than four bytes")
                if at >= len(buffer):
                    return None
                length |= (buffer[at] & 0x7F) << 7 * (at - 1)
                at += 1
                if not buffer[at - 1] & 0x80:
                    break
            self._check_length(kind, length)
            kept = min(length, self._limit)
            if len(buffer) < at + kept:
                return None
            body = memoryview(buffer)[at : at + kept]
            event = self._publish(buffer[0], body, length) if kind == _PUBLISH else self._answer(kind, body)
            # A new buffer, not a resized one: memoryviews of the old one may live on.
            self._buffer = buffer[at + kept :]
            self._skip = max(length - kept - len(self._buffer), 0)
            if length > kept:
                self._buffer = self._buffer[length - kept :]
            return event

    def _next_pid(self) -> int:
        taken = self._subscribing + list(self.in_flight)
        while True:
            self._last_pid = self._last_pid % 65535 + 1
            if self._last_pid not in taken:
                return self._last_pid

    def _check_kind(self, first: int) -> None:
        if first & 0xF0 == _PUBLISH:
            flags = first & 0x0F
            # QoS 2 was never asked for, 3 does not exist, and QoS 0 has no duplicates (3.3.1).
            if flags & 0x04 or (flags & _DUP and not flags & _QOS1):
                raise BrokerError("the broker sent a message with flags %d, which we never asked for" % flags)
        elif first not in (_CONNACK, _PUBACK, _SUBACK, _PINGRESP):
            raise BrokerError("the broker sent a packet of type 0x%02X; is this an MQTT broker?" % first)
        if self.connected == (first == _CONNACK):
            raise BrokerError("the broker sent a packet of type 0x%02X out of turn" % first)

    def _check_length(self, kind: int, length: int) -> None:
        if kind == _PUBLISH:
            wrong = length < 3
        else:
            wrong = length != (0 if kind == _PINGRESP else 3 if kind == _SUBACK else 2)
        if wrong:
            raise BrokerError("the broker sent a packet of type 0x%02X with %d bytes" % (kind, length))

    def _answer(self, kind: int, body: memoryview) -> "tuple[object, ...]":
        if kind == _PINGRESP:
            return (PONG,)
        if kind == _CONNACK:
            return self._connack(body[0], body[1])
        pid = body[0] << 8 | body[1]
        if kind == _SUBACK:
            if pid not in self._subscribing or body[2] not in (0, 1, 2, 0x80):
                raise BrokerError("the broker answered a subscription that was not made")
            self._subscribing.remove(pid)
            return (SUBSCRIBED, pid, body[2] != 0x80)
        for index, message in enumerate(self._in_flight):
            if message.pid == pid and message.sent:
                self._in_flight.pop(index)
                return (ACKED, pid)
        raise BrokerError("the broker acknowledged message %d, which is not in flight" % pid)

    def _connack(self, flags: int, code: int) -> "tuple[object, ...]":
        if code:
            reason = _REFUSALS[code - 1] if code <= len(_REFUSALS) else "code %d" % code
            raise BrokerError("the broker refused the connection: %s" % reason)
        if flags > 1:
            raise BrokerError("the broker sent a CONNACK with flags %d" % flags)
        self.connected = True
        # Whether or not the broker remembers the session: what it did not acknowledge may be lost.
        self._outgoing += self._in_flight
        return (CONNECTED, flags == 1)

    def _publish(self, first: int, body: memoryview, length: int) -> "tuple[object, ...]":
        end = 2 + (body[0] << 8 | body[1])
        start = end + 2 if first & _QOS1 else end
        if end == 2 or start > len(body):
            raise BrokerError("the broker sent a message of %d bytes with a topic of %d" % (length, end - 2))
        try:
            topic = str(bytes(body[2:end]), "utf-8")
        except UnicodeError:
            raise BrokerError("the broker sent a topic that is not UTF-8") from None
        if "+" in topic or "#" in topic or "\0" in topic:
            raise BrokerError("the broker sent a message to a topic with a wildcard")
        if first & _QOS1:
            pid = bytes(body[end:start])
            if pid == b"\0\0":
                raise BrokerError("the broker sent a message with packet id 0")
            self._outgoing.append(b"\x40\x02" + pid)
        if length > len(body):
            return (OVERSIZED, topic, length)
        return (MESSAGE, topic, bytes(body[start:]))
