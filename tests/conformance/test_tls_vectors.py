"""The TLS client against a real meter's session, and against everything that a server must not do."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.drivers.mep.tls_alerts import TlsAlert, alert_in
from gateway.drivers.mep.tls_client import MAX_MESSAGE, MAX_RECORD, TlsClient
from gateway.drivers.mep.tls_machine import TlsMachine
from gateway.errors import GatewayError, ProtocolError

VECTOR = json.loads((Path(__file__).parent.parent / "vectors/mep_tls_psk.json").read_text())
FRAMES = [bytes.fromhex(frame["records"]) for frame in VECTOR["frames"]]
HELLO, SERVER_HELLO, FINISHED, SERVER_FINISHED, REQUEST, ANSWER = FRAMES
PLAIN_REQUEST, PLAIN_ANSWER = (bytes.fromhex(VECTOR["frames"][at]["plaintext"]) for at in (4, 5))
KEY = bytes.fromhex(VECTOR["psk"])
IDENTITY = bytes.fromhex(VECTOR["psk_identity"])
RANDOM = HELLO[11:43]

fast = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def client() -> TlsClient:
    started = TlsClient(IDENTITY, KEY, lambda count: RANDOM[:count])
    assert started.start() == HELLO
    return started


def established() -> TlsClient:
    opened = client()
    assert opened.feed(SERVER_HELLO) == FINISHED
    assert opened.feed(SERVER_FINISHED) == b""
    assert opened.established
    return opened


def record(kind: int, body: bytes, version: bytes = b"\3\3") -> bytes:
    return bytes((kind,)) + version + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def hello(version=b"\3\3", suite=b"\0\xa9", compression=b"\0", session=b"", extensions=b"") -> bytes:
    body = version + bytes(32) + bytes((len(session),)) + session + suite + compression + extensions
    return message(2, body)


def test_the_session_of_a_real_meter_byte_for_byte():
    opened = established()
    assert opened.wrap(PLAIN_REQUEST) == REQUEST
    assert opened.unwrap(ANSWER) == PLAIN_ANSWER


def test_the_whole_exchange_in_mep_frames():
    machine = TlsMachine(lambda identity, key: TlsClient(identity, key, lambda n: RANDOM[:n]), KEY, (1,))
    machine.begin(PLAIN_REQUEST)
    found: list = []
    for frame in VECTOR["frames"]:
        framed = bytes.fromhex(frame["code"]) + bytes.fromhex(frame["records"])
        framed = len(framed).to_bytes(2, "big") + framed
        if frame["dir"] == "client":
            assert machine.output() == framed
        else:
            found = machine.receive(framed)
    assert found == [(2, PLAIN_ANSWER)]
    assert machine.level == 1


@pytest.mark.parametrize("step", [1, 2, 7])
def test_records_in_pieces_of_any_size(step):
    taken = client()
    sent = b""
    for records in (SERVER_HELLO, SERVER_FINISHED):
        for at in range(0, len(records), step):
            sent += taken.feed(records[at : at + step])
    assert sent == FINISHED
    answer = b"".join(taken.unwrap(ANSWER[at : at + step]) for at in range(0, len(ANSWER), step))
    assert answer == PLAIN_ANSWER


@pytest.mark.parametrize("size", [1, 3, 50])
def test_handshake_messages_over_many_records(size):
    messages = SERVER_HELLO[5:86] + SERVER_HELLO[91:]
    records = b"".join(record(22, messages[at : at + size]) for at in range(0, len(messages), size))
    assert client().feed(records) == FINISHED


def test_messages_that_share_a_record():
    assert client().feed(record(22, SERVER_HELLO[5:86] + SERVER_HELLO[91:])) == FINISHED


def test_a_hint_is_read_over():
    hint = message(12, b"\0\3hey")
    # The hint is a part of what both sides prove, so only what comes before Finished is as recorded.
    sent = client().feed(record(22, SERVER_HELLO[5:86] + hint + SERVER_HELLO[91:]))
    assert sent[:-32] == FINISHED[:-32]
    assert sent != FINISHED


def test_a_hello_request_and_warnings_are_ignored():
    records = record(22, message(0, b"")) + record(21, b"\1\x5a") + SERVER_HELLO
    assert client().feed(records) == FINISHED


WRONG_HELLOS = {
    "TLS 1.1": hello(version=b"\3\2"),
    "TLS 1.3": hello(version=b"\3\4"),
    "weaker suite": hello(suite=b"\0\xa8"),
    "suite without encryption": hello(suite=b"\0\x2c"),
    "the SCSV as suite": hello(suite=b"\0\xff"),
    "compression": hello(compression=b"\1"),
    "long session id": hello(session=bytes(33)),
    "extension nobody asked for": hello(extensions=b"\0\4\0\x17\0\0"),
    "renegotiation": hello(extensions=b"\0\6\xff\1\0\2\1\0"),
    "extensions of wrong length": hello(extensions=b"\0\6\xff\1\0\1\0"),
    "cut off": message(2, b"\3\3" + bytes(20)),
    "a key exchange before it": message(12, b"\0\0"),
    "done before it": message(14, b""),
    "Finished before it": message(20, bytes(12)),
    "a certificate": hello() + message(11, bytes(3)),
    "two hellos": hello() + hello(),
    "two hints": hello() + message(12, b"\0\0") * 2,
    "a hint of wrong length": hello() + message(12, b"\0\5h"),
    "done with content": hello() + message(14, b"\0"),
    "a huge message": b"\2\xff\xff\xff",
}


@pytest.mark.parametrize("name", WRONG_HELLOS)
def test_what_a_server_must_not_say(name):
    refused = client()
    with pytest.raises(ProtocolError, match="TLS"):
        refused.feed(record(22, WRONG_HELLOS[name]))
    with pytest.raises(ProtocolError):
        refused.feed(SERVER_HELLO)
    assert not refused.established


@pytest.mark.parametrize(
    "records",
    [
        record(23, b"data"),
        record(20, b"\1"),
        record(24, b""),
        record(22, b"", b"\2\0"),
        b"\x16\3\3" + (MAX_RECORD + 1).to_bytes(2, "big"),
        record(21, b"\2"),
        record(22, message(0, b"")) * 40,
        record(22, b"") * 2,
    ],
)
def test_records_at_the_wrong_time(records):
    with pytest.raises(ProtocolError):
        client().feed(records)


@pytest.mark.parametrize("at", range(6, len(SERVER_FINISHED)))
def test_a_wrong_finished_opens_nothing(at):
    refused = client()
    refused.feed(SERVER_HELLO)
    wrong = bytearray(SERVER_FINISHED)
    wrong[at] ^= 1
    try:
        refused.feed(bytes(wrong))
    except ProtocolError:
        pass
    assert not refused.established


def test_finished_without_encryption_opens_nothing():
    refused = client()
    refused.feed(SERVER_HELLO)
    with pytest.raises(ProtocolError):
        refused.feed(record(22, message(20, bytes(12))))
    assert not refused.established


@pytest.mark.parametrize("at", range(len(ANSWER)))
def test_one_wrong_bit_in_an_answer_is_never_believed(at):
    wrong = bytearray(ANSWER)
    wrong[at] ^= 4
    opened = established()
    opened.wrap(PLAIN_REQUEST)
    try:
        assert opened.unwrap(bytes(wrong)) == b""
    except ProtocolError:
        with pytest.raises(ProtocolError):
            opened.unwrap(ANSWER)


def server_records(*plain: bytes) -> list[bytes]:
    """What the meter's side of the session says behind its Finished."""
    side = established()._read
    return [record(23, side.seal(23, data)) for data in plain]


@pytest.mark.parametrize("at", [0, 2, 4, 20, -1])
def test_a_session_goes_on_behind_a_record_that_the_line_has_damaged(at: int):
    opened = established()
    first, second, third = server_records(b"one", b"two", b"three")
    damaged = bytearray(first)
    damaged[at] ^= 1
    with pytest.raises(ProtocolError):
        opened.unwrap(bytes(damaged) if at != 4 else bytes(damaged) + b"more")
    opened.skip()
    assert opened.unwrap(second) == b"two"
    with pytest.raises(ProtocolError):
        opened.unwrap(first)  # late, and in the third one's place
    opened.skip()
    with pytest.raises(ProtocolError):
        opened.unwrap(third)


@pytest.mark.parametrize(
    ("request_", "code"), [(PLAIN_REQUEST, 0x80), (b"\x4f\0\7\0\0\0\0\1x", 0x58)], ids=["read", "write"]
)
def test_after_a_damaged_answer_a_read_goes_on_in_the_session_and_a_write_does_not(
    request_: bytes, code: int
):
    machine = TlsMachine(lambda identity, key: TlsClient(identity, key, lambda n: RANDOM[:n]), KEY, (1,))
    machine.begin(request_)
    machine.output()
    for records in (SERVER_HELLO, SERVER_FINISHED):
        machine.receive(mep(b"\0" + records))
        machine.output()
    damaged, good = server_records(b"\0\0\1x", b"\0\0\1y")
    machine.receive(mep(b"\0" + damaged[:-1] + b"?"))
    assert machine.output()[2] == code
    if code == 0x80:
        assert machine.receive(mep(b"\0" + good))[0][1] == b"\0\0\1y"


def mep(body: bytes) -> bytes:
    return len(body).to_bytes(2, "big") + body


def test_an_answer_counts_once():
    opened = established()
    assert opened.unwrap(ANSWER) == PLAIN_ANSWER
    with pytest.raises(ProtocolError, match="not authentic"):
        opened.unwrap(ANSWER)


def test_nothing_is_sent_without_a_session():
    for unready in (TlsClient(IDENTITY, KEY), client()):
        with pytest.raises(ProtocolError):
            unready.wrap(b"data")
        with pytest.raises(ProtocolError):
            unready.unwrap(ANSWER)


def test_alerts():
    with pytest.raises(TlsAlert, match="unknown PSK identity") as caught:
        client().feed(record(21, b"\2\x73"))
    assert caught.value.code == 115
    with pytest.raises(TlsAlert, match="protocol version"):
        client().feed(record(21, b"\2\x46", b"\3\1"))
    with pytest.raises(TlsAlert, match="close notify"):
        client().feed(record(21, b"\1\0"))
    assert alert_in(SERVER_HELLO) is None
    assert alert_in(SERVER_HELLO + record(21, b"\2\x14")) == 20
    assert alert_in(record(21, b"\1\x5a")) is None


def test_randoms_differ_and_keys_are_not_shown():
    first, second = TlsClient(IDENTITY, KEY), TlsClient(IDENTITY, KEY)
    assert first.start()[11:43] != second.start()[11:43]
    assert KEY.hex() not in repr(first)


PIECES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([SERVER_HELLO, SERVER_FINISHED, ANSWER, SERVER_HELLO[:86], record(21, b"\2\x14")]),
    st.builds(
        record,
        st.sampled_from([20, 21, 22, 23]),
        st.one_of(st.binary(max_size=60), st.sampled_from(list(WRONG_HELLOS.values()))),
    ),
    st.tuples(
        st.sampled_from([SERVER_HELLO, SERVER_FINISHED]), st.integers(0, 200), st.binary(max_size=3)
    ).map(lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + len(cut[2]) :]),
)


@fast
@given(st.lists(PIECES, max_size=6))
@example([SERVER_HELLO, SERVER_FINISHED, ANSWER])
def test_whatever_comes_is_taken_or_refused(pieces):
    fed = client()
    for piece in pieces:
        try:
            fed.unwrap(piece) if fed.established else fed.feed(piece)
        except ProtocolError:
            assert not fed.established
            return
        assert len(fed._records) <= MAX_RECORD + 5
        assert len(fed._messages) <= MAX_MESSAGE + 4


@fast
@given(st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 3, 10, 11]), PIECES), max_size=8), st.booleans())
def test_whatever_comes_in_mep_frames_ends_in_an_event_or_our_own_error(answers, patient):
    machine = TlsMachine(lambda identity, key: TlsClient(identity, key, lambda n: RANDOM[:n]), KEY, (0, 1))
    machine.patient = patient
    machine.begin(PLAIN_REQUEST)
    machine.output()
    for code, piece in answers:
        body = bytes((code,)) + piece[:475]
        for kind, value in machine.receive(len(body).to_bytes(2, "big") + body):
            if kind == 1:
                machine.output()
            elif kind == 3:
                assert isinstance(value, GatewayError)
            else:
                assert kind in (4, 5, 7) or (kind == 2 and value == PLAIN_ANSWER)
        event = machine.silence()
        if event is not None and event[0] == 1:
            machine.output()
