"""The rules of MEP as the meter keeps them: keys, rights, sequence numbers, retries, lengths, alerts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter
from tests.mep_probe import BASIC_KEY, KEY, Probe, opened, read_message, request, write_message

START = 1_700_000_000_000
UTC_CLOCK = read_message(52, 0, 7)


@pytest.fixture
def meter() -> VirtualMeter:
    return VirtualMeter(KEY, BASIC_KEY, start_ms=START, monotonic=lambda: 0)


def message_to(meter: VirtualMeter, frame: bytes, key: bytes = KEY, encrypted: bool = False) -> bytes:
    (response,) = meter.receive(frame, 0)
    return opened(response, frame, key, encrypted)


@pytest.mark.parametrize("key", [KEY, BASIC_KEY])
@pytest.mark.parametrize("encrypted", [False, True])
def test_answers_each_key_the_way_it_is_asked(meter: VirtualMeter, key: bytes, encrypted: bool) -> None:
    assert len(Probe(meter, key, encrypted).read(23)) == 220


def test_encrypted_exchange_hides_the_data(meter: VirtualMeter) -> None:
    frame = request(UTC_CLOCK, meter.mep.sequence, encrypted=True)
    assert UTC_CLOCK not in frame
    (response,) = meter.receive(frame, 0)
    assert meter.image.read(52) not in response
    assert opened(response, frame, encrypted=True)[3:] == meter.image.read(52)


def test_sequence_error_is_encrypted_and_refusal_is_not(meter: VirtualMeter) -> None:
    ahead = meter.mep.sequence + 8
    frame = request(UTC_CLOCK, ahead, encrypted=True)
    assert message_to(meter, frame, encrypted=True) == b"\x0c" + meter.mep.sequence.to_bytes(4, "big")
    (refused,) = meter.receive(request(UTC_CLOCK, ahead, key=b"another key here", encrypted=True), 0)
    assert refused[:3] == b"\x00\x09\x0b"


def test_wrong_key_learns_nothing(meter: VirtualMeter) -> None:
    (response,) = meter.receive(request(UTC_CLOCK, meter.mep.sequence, key=b"another key here"), 0)
    assert response[:3] == b"\x00\x09\x0b"
    assert len(response) == 11


@pytest.mark.parametrize(
    ("table", "offset", "basic", "advanced"),
    [
        (7, 0, 0, 0),
        (et(50), 30, 0, 0),
        (et(51), 1, 0, 0),
        (et(52), 0, 0, 0),
        (15, 0, 3, 0),
        (53, 0, 3, 0),
        (et(3), 0, 3, 0),
        (et(13), 0, 3, 0),
        (20, 0, 5, 5),
        (28, 0, 5, 5),
        (et(42), 0, 5, 5),
        (99, 0, 5, 5),
        (et(70), 0, 5, 5),
        (et(62), 0, 3, 0),
        (23, 0, 3, 3),
        (et(3), 143, 3, 4),
    ],
)
def test_who_may_write_what(meter: VirtualMeter, table: int, offset: int, basic: int, advanced: int) -> None:
    assert Probe(meter, BASIC_KEY).write(table, offset, b"\x02\x02\x02") == basic
    assert Probe(meter).write(table, offset, b"\x03\x03\x03") == advanced


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (read_message(21, 0, 0), 4),
        (read_message(21, 5, 6), 4),
        (read_message(21, 0, 466), 4),
        (read_message(et(53)), 4),
        (read_message(300), 5),
        (read_message(300, 0, 1), 5),
        (b"\x30\x00", 4),
        (b"\x3f\x00\x15\x00\x00\x00", 4),
        (b"\x4f\x00\x0f\x00", 4),
        (b"\x4f\x00\x0f\x00\x00\x00\x00\x04\x01", 4),
        (b"\x20", 2),
        (b"\x50\x00\x00", 2),
        (b"\x99\x00\x00", 1),
        (b"\x00", 1),
    ],
)
def test_response_codes(meter: VirtualMeter, message: bytes, code: int) -> None:
    assert Probe(meter).ask(message) == bytes([code])


def test_full_read_takes_a_length_and_does_without(meter: VirtualMeter) -> None:
    probe = Probe(meter)
    whole = probe.read(21)
    assert probe.ask(b"\x30\x00\x15\x00\x0a") == b"\x00\x00\x0a" + whole
    assert probe.ask(b"\x30\x00\x15\x00\x04") == b"\x00\x00\x04" + whole[:4]
    assert probe.ask(b"\x30\x00\x15\xff\xff") == b"\x00\x00\x0a" + whole


def test_largest_read_is_465_bytes_in_476(meter: VirtualMeter) -> None:
    frame = request(read_message(et(53), 0, 465), meter.mep.sequence)
    (response,) = meter.receive(frame, 0)
    assert len(response) == 2 + 476


def test_past_the_end_gives_zeros_when_told_so(meter: VirtualMeter) -> None:
    meter.service.past_end_is_error = False
    assert Probe(meter).read(20, 8, 6)[2:] == bytes(4)


def test_a_write_beyond_the_end_is_cut(meter: VirtualMeter) -> None:
    """Table 2.7: additional data is ignored."""
    assert Probe(meter).write(15, 15, b"\x01\x02\x03\x04") == 0
    assert meter.image.read(15)[13:] == b"\x01\x00\x01\x02"


@pytest.mark.parametrize(
    ("ahead", "accepted"), [(-1, False), (0, True), (7, True), (8, False), (2**31, False)]
)
def test_window_of_eight(meter: VirtualMeter, ahead: int, accepted: bool) -> None:
    number = (meter.mep.sequence + ahead) & 0xFFFFFFFF
    before = meter.mep.sequence
    message = message_to(meter, request(UTC_CLOCK, number))
    if accepted:
        assert message[0] == 0
        assert meter.mep.sequence == (number + 1) & 0xFFFFFFFF
    else:
        assert message == b"\x0c" + before.to_bytes(4, "big")


def test_window_when_0c_names_the_last_number(meter: VirtualMeter) -> None:
    """The worked example's reading: the number as it is gets a second 0C, plus one is right."""
    meter.mep.first = 1
    named = message_to(meter, request(UTC_CLOCK, meter.mep.sequence - 5))[1:]
    number = int.from_bytes(named, "big")
    assert message_to(meter, request(UTC_CLOCK, number))[0] == 0x0C
    assert message_to(meter, request(UTC_CLOCK, number + 1))[0] == 0
    assert message_to(meter, request(UTC_CLOCK, number + 2))[0] == 0


def test_window_wraps(meter: VirtualMeter) -> None:
    meter.mep.sequence = 0xFFFFFFFE
    assert message_to(meter, request(UTC_CLOCK, 2))[0] == 0
    assert meter.mep.sequence == 3


def test_same_bytes_again_get_the_same_answer_and_run_nothing(meter: VirtualMeter) -> None:
    frame = request(write_message(7, 0, b"\x11\x08\x05\x00\xf8\x03"), meter.mep.sequence)
    first = meter.receive(frame, 0)
    after = meter.mep.sequence
    assert meter.receive(frame, 0) == first
    assert meter.mep.sequence == after
    # Run a second time it would be refused: the procedure's sequence number would repeat.
    assert opened(first[0], frame) == b"\x00"


def test_same_bytes_again_get_0c_from_a_strict_meter(meter: VirtualMeter) -> None:
    meter.mep.repeats_answered = False
    frame = request(UTC_CLOCK, meter.mep.sequence)
    assert message_to(meter, frame)[0] == 0
    assert message_to(meter, frame)[0] == 0x0C


def test_repeated_procedure_sequence_number_is_refused(meter: VirtualMeter) -> None:
    probe = Probe(meter)
    assert probe.write(7, 0, b"\x11\x08\x05\x00\xf8\x03") == 0
    assert probe.write(7, 0, b"\x11\x08\x05\x00\xf8\x03") == 4
    assert probe.write(7, 0, b"\x11\x08\x06\x00\xf8\x03") == 0


def test_basic_key_may_not_start_every_procedure(meter: VirtualMeter) -> None:
    assert Probe(meter, BASIC_KEY).write(7, 0, b"\x0b\x08\x05") == 0
    assert Probe(meter).read(8, 0, 4) == b"\x0b\x08\x05\x05"
    assert Probe(meter).write(7, 0, b"\x0b\x08\x06") == 0
    assert Probe(meter).read(8, 0, 4) == b"\x0b\x08\x06\x06"


def test_new_definitions_show_as_0c_and_in_et04(meter: VirtualMeter) -> None:
    probe = Probe(meter)
    version = probe.read(et(4), 116, 1)[0]
    expected = meter.mep.sequence
    meter.bump_definitions()
    message = message_to(meter, request(UTC_CLOCK, expected))
    assert message == b"\x0c" + (expected + 25).to_bytes(4, "big")
    assert probe.read(et(4), 116, 1)[0] == version + 1


def test_broken_transaction_is_answered_in_part(meter: VirtualMeter) -> None:
    probe = Probe(meter)
    good = b"\x08\x00" + read_message(21, 0, 4)
    body = good + b"\x00\x00"
    size = 7 + len(body)
    probe.write(et(52), 0, size.to_bytes(2, "little") + b"\x00\x07\x00" + body + b"\x07\x00")
    assert probe.read(et(53), 0, 12)[:5] == b"\x10\x00\x02\x07\x00"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(0, 90), max_size=8), encrypted=st.booleans())
def test_any_cut_of_the_stream_gives_the_same_answers(cuts: list[int], encrypted: bool) -> None:
    meter = VirtualMeter(KEY, start_ms=START, monotonic=lambda: 0)
    number = meter.mep.sequence
    frames = [
        request(m, number + i, encrypted=encrypted) for i, m in enumerate([UTC_CLOCK, read_message(21)])
    ]
    stream = b"\0\0" + frames[0] + b"\0\0" + frames[1]
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    responses = [r for a, b in zip(edges, edges[1:], strict=False) for r in meter.receive(stream[a:b], 0)]
    messages = [opened(r, f, encrypted=encrypted) for r, f in zip(responses, frames, strict=True)]
    assert messages == [b"\x00\x00\x07" + meter.image.read(52), b"\x00\x00\x0a" + meter.image.read(21)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(noise=st.binary(min_size=1, max_size=700))
def test_noise_is_survived_after_a_pause(noise: bytes) -> None:
    """Whatever came before, and however it was cut, a good request after a pause is answered."""
    meter = VirtualMeter(KEY, start_ms=START, monotonic=lambda: 0)
    for response in meter.receive(noise, 0):
        assert response[2] == 0x0B
    frame = request(UTC_CLOCK, meter.mep.sequence)
    (response,) = meter.receive(frame, meter.mep.gap_ms + 1)
    assert opened(response, frame)[0] == 0


def test_impossible_length_silences_the_rest_of_the_burst(meter: VirtualMeter) -> None:
    frame = request(UTC_CLOCK, meter.mep.sequence)
    assert meter.receive(b"\x01\xdd" + frame, 0) == []
    assert meter.receive(frame, meter.mep.gap_ms) == []
    assert len(meter.receive(frame, 2 * meter.mep.gap_ms + 1)) == 1


def test_unfinished_request_is_dropped_after_the_gap(meter: VirtualMeter) -> None:
    frame = request(UTC_CLOCK, meter.mep.sequence)
    assert meter.receive(frame[:10], 0) == []
    assert len(meter.receive(frame[10:], 50)) == 1
    assert meter.receive(frame[:10], 1000) == []
    assert meter.receive(frame[10:], 1051) == []


def test_alerts_come_once_a_second_and_wait_for_a_quiet_line(meter: VirtualMeter) -> None:
    probe = Probe(meter)
    meter.raise_alert(0x02)
    assert meter.alert(10_000) == b""  # no one has registered
    probe.write(et(50), 30, b"\x01")
    meter.receive(request(UTC_CLOCK, meter.mep.sequence), 10_000)
    assert meter.alert(10_999) == b""
    assert meter.alert(11_000) == b"\0\0"
    assert meter.alert(11_999) == b""
    assert meter.alert_in_ms(11_999) == 1
    assert meter.alert(12_000) == b"\0\0"
    meter.raise_alert(0)
    assert meter.alert(20_000) == b""
    assert meter.alert_in_ms(20_000) is None


_ANY_MESSAGE = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.builds(
        lambda code, table, rest: bytes([code]) + table.to_bytes(2, "big") + rest,
        st.sampled_from([0x30, 0x3F, 0x40, 0x4F]),
        st.sampled_from([7, 15, 23, 28, 53, et(13), et(50), et(52), et(53)]),
        st.binary(max_size=60),
    ),
    st.builds(
        lambda table, data: write_message(table, 0, data),
        st.sampled_from([7, 53, et(13), et(50), et(52)]),
        st.binary(min_size=1, max_size=300),
    ),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(messages=st.lists(_ANY_MESSAGE, min_size=1, max_size=4), advanced=st.booleans())
def test_whatever_is_asked_the_meter_answers_and_lives_on(messages: list[bytes], advanced: bool) -> None:
    meter = VirtualMeter(KEY, BASIC_KEY, start_ms=START, monotonic=lambda: 0)
    probe = Probe(meter, KEY if advanced else BASIC_KEY)
    for message in messages:
        response = probe.ask(message)
        assert response[0] in (0, 1, 2, 3, 4, 5)
        assert len(response) <= 468
    assert probe.read(52) == meter.image.read(52)
    assert len(probe.read(55)) == 9


def test_a_transaction_that_writes_transactions_ends(meter: VirtualMeter) -> None:
    """Two records that write each a different transaction into the same table."""
    records = b""
    for number in (1, 2):
        record = write_message(et(52), 3, bytes([number, 0]))
        records += len(record).to_bytes(2, "little") + record
    whole = (7 + len(records)).to_bytes(2, "little") + b"\x00\x01\x00" + records + b"\x01\x00"
    probe = Probe(meter)
    assert probe.write(et(52), 0, whole) == 0
    assert probe.read(et(53), 0, 13) == bytes.fromhex("0d000101000100000100000100")


def test_refusals_follow_a_schedule_of_the_seed() -> None:
    def refused(seed: int) -> list[bool]:
        meter = VirtualMeter(KEY, seed=seed, start_ms=START, monotonic=lambda: 0)
        meter.faults.refuse_permille = 200
        return [Probe(meter).ask(UTC_CLOCK)[0] == 0x0B for _ in range(60)]

    assert refused(7) == refused(7)
    assert refused(7) != refused(8)
    assert 2 < sum(refused(7)) < 30


def test_faults(meter: VirtualMeter) -> None:
    meter.faults.refuse_next = 1
    assert Probe(meter).ask(UTC_CLOCK) == b"\x0b"
    assert Probe(meter).ask(UTC_CLOCK)[0] == 0

    meter.faults.garbage, meter.faults.garbage_after = b"\xff\xfe", b"\x55"
    frame = request(UTC_CLOCK, meter.mep.sequence)
    (noisy,) = meter.receive(frame, 0)
    assert noisy.startswith(b"\xff\xfe") and noisy.endswith(b"\x55")
    assert opened(noisy[2:-1], frame)[0] == 0
    meter.faults.garbage = meter.faults.garbage_after = b""

    meter.faults.flip_next = 1
    frame = request(UTC_CLOCK, meter.mep.sequence)
    (flipped,) = meter.receive(frame, 0)
    with pytest.raises(AssertionError):
        opened(flipped, frame)

    meter.faults.cut_next = 1
    (cut,) = meter.receive(frame, 0)
    assert len(cut) < int.from_bytes(cut[:2], "big")

    before = meter.requests
    meter.faults.silent = True
    assert meter.receive(frame, 0) == []
    assert meter.requests == before
    meter.faults.silent = False
    assert len(meter.receive(frame, 0)) == 1
    assert meter.requests == before + 1
