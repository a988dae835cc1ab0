"""Whatever a line brings, the machine ends in an event, asks for more, or fails with an error of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers import events
from gateway.drivers.c1218 import describe, read_message, table_data, write_message
from gateway.drivers.mep.framing import ALERT, GARBAGE, MAX_MESSAGE, MESSAGE, Framer
from gateway.drivers.mep.key import parse_key
from gateway.drivers.mep.machine import Machine
from gateway.errors import ConfigurationError, GatewayError, MeterError, ProtocolError
from tests.mep_fakes import KEY, answer, framed
from tests.mep_profile import FEW, MANY
from tests.walked_machine import Walk

# Bytes that look like something: lengths, alerts, refusals, whole frames with a digest that fits nothing.
PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"\0", b"\0\0", b"\0\x01\x0b", b"\x01\xdc", b"\x01\xdd", b"\xff\xff", framed(b"\x0b" + bytes(8))]
    ),
    st.binary(max_size=30).map(lambda body: framed(body + bytes(8))),
)
STEPS = st.lists(
    st.one_of(PIECES, st.sampled_from(["pause", "silence", "abandon", "answer", "begin"])), max_size=30
)
# The most sendings one exchange can lead to: the first, two after silence, three after 0C, two after 0B.
MOST_SENT = 8


@MANY
@given(STEPS, st.booleans())
def test_any_bytes_in_any_order(steps, encrypt):
    machine = Machine(KEY, encrypt=encrypt)
    walk = Walk(machine, read_message(23, 0, 4))

    def follow(found):
        for kind, value in found:
            assert kind in (events.SEND, events.ANSWER, events.FAILED, events.IGNORED, events.ALERT)
            assert walk.waiting or kind == events.ALERT
            if kind == events.SEND:
                walk.resend()
            elif kind == events.ANSWER:
                assert value == b"\0\0\4good"
                walk.waiting = False
            elif kind == events.FAILED:
                assert isinstance(value, MeterError)
                assert KEY.decode() not in str(value)
                walk.waiting = False

    def good() -> list:
        return machine.receive(answer(walk.frame, b"\0\0\4good"))

    for step in steps:
        if step != "answer":
            follow(walk.step(step))
        elif not encrypt and walk.frame:
            follow(good())
        assert walk.sent <= MOST_SENT

    # And it can always go on; one refusal in a row more may be the last that is answered.
    machine.abandon()
    machine.pause()
    walk.begin()
    if not encrypt:
        follow(good())
        assert not walk.waiting


@MANY
@given(st.binary(max_size=600), st.lists(st.integers(1, 80), max_size=20))
def test_framing_does_not_depend_on_the_pieces(data, sizes):
    def found_in(pieces):
        framer, found = Framer(), []
        for piece in pieces:
            at = 0
            while at < len(piece):
                at = framer.take(piece, at)
                if framer.found == MESSAGE:
                    found.append(framer.message())
                    assert 1 <= len(found[-1]) <= MAX_MESSAGE
                elif framer.found in (ALERT, GARBAGE) and (framer.found == ALERT or found[-1:] != [GARBAGE]):
                    found.append(framer.found)
        return found, framer.unfinished

    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    pieces.append(data[at:])
    assert found_in([data]) == found_in(pieces) == found_in([data[at : at + 1] for at in range(len(data))])


@FEW
@given(st.binary(min_size=1, max_size=40), st.integers(0, 0xFFFF), st.integers(1, 30))
def test_any_authenticated_answer_gives_exactly_what_was_asked_for_or_an_error(reply, table, count):
    for message in (
        read_message(table),
        read_message(table, 0, count),
        write_message(table, bytes(count), 9),
    ):
        describe(message)
        machine = Machine(KEY)
        machine.begin(message)
        [(kind, value)] = machine.receive(answer(machine.output(), reply))
        if kind == events.ANSWER:
            try:
                data = table_data(message, value)
            except ProtocolError:
                continue
            assert len(data) in {0x30: (len(reply) - 3,), 0x3F: (count,), 0x4F: (0,)}[message[0]]
        else:
            assert kind == events.SEND or isinstance(value, GatewayError)


@FEW
@given(st.one_of(st.text(max_size=44), st.text("0123456789abcdefABCDEF:- \n", min_size=10, max_size=50)))
def test_any_text_is_a_key_or_refused_without_showing_it(text):
    try:
        key, form = parse_key(text)
    except ConfigurationError as error:
        stripped = text.strip()
        assert f"{len(stripped)} characters" in str(error)
        if len(stripped) > 8:
            assert stripped not in str(error)
    else:
        assert len(key) == 16
        assert form.startswith(f"{len(text.strip())} ")


@pytest.mark.parametrize("number", range(6))
def test_one_spoiled_byte_anywhere_is_never_believed(number):
    from tests.portable.test_mep_vectors import ANSWERED

    exchange = ANSWERED[number]
    for at in range(len(exchange.response)):
        for bit in range(8):
            spoiled = bytearray(exchange.response)
            spoiled[at] ^= 1 << bit
            assert events.ANSWER not in [kind for kind, _ in exchange.sent().receive(bytes(spoiled))]
