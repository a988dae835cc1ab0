"""The MQTT machine fed by Hypothesis: any bytes, in any pieces."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_machine import MESSAGE, OVERSIZED, MqttMachine

from gateway.errors import BrokerError

LIMIT = 64
fuzz = settings(max_examples=150, derandomize=True, deadline=None)


def connected() -> MqttMachine:
    machine = MqttMachine("gw", limit=LIMIT)
    machine.connect()
    machine.data_to_send()
    machine.feed(b"\x20\x02\x00\x00")
    machine.next_event()
    return machine


def outcome(data: bytes, sizes: list[int]) -> tuple[list[tuple[object, ...]], bool]:
    """Events, and whether an error ended them, of `data` in pieces of these sizes, over and over."""
    machine = connected()
    events = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        machine.feed(data[at : at + size])
        at += size
        turn += 1
        try:
            while (event := machine.next_event()) is not None:
                events.append(event)
        except BrokerError:
            return events, True
        assert len(machine._buffer) < LIMIT + 5
    return events, False


def publish(topic: str, payload: bytes, pid: int) -> bytes:
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + (pid.to_bytes(2, "big") if pid else b"") + payload
    length, rest = b"", len(body)
    while True:
        length += bytes([rest & 0x7F | (0x80 if rest > 127 else 0)])
        rest >>= 7
        if not rest:
            return bytes([0x32 if pid else 0x30]) + length + body


topics = st.text(st.characters(exclude_characters="+#\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
messages = st.lists(st.tuples(topics, st.binary(max_size=200), st.integers(0, 65535)), max_size=6)
pieces = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@fuzz
@given(messages, pieces)
def test_messages_arrive_the_same_in_any_pieces(sent, sizes):
    data = b"".join(publish(*message) for message in sent)
    expected = []
    for topic, payload, pid in sent:
        length = 2 + len(topic.encode()) + (2 if pid else 0) + len(payload)
        expected.append((OVERSIZED, topic, length) if length > LIMIT else (MESSAGE, topic, payload))
    assert outcome(data, sizes) == (expected, False)


@fuzz
@given(st.binary(max_size=300), pieces)
def test_any_bytes_give_the_same_in_any_pieces(data, sizes):
    assert outcome(data, sizes) == outcome(data, [1])


@fuzz
@given(messages, st.data())
def test_a_damaged_stream_gives_events_or_one_error(sent, data):
    stream = bytearray(b"".join(publish(*message) for message in sent) or b"\xd0\x00")
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(stream), [7]) == outcome(bytes(stream), [1])
