"""Whatever an optical line brings, the machine ends in an event, asks for more, or fails with our error."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers import events
from gateway.drivers.c1218 import read_message
from gateway.drivers.optical import services
from gateway.drivers.optical.machine import Machine
from gateway.drivers.optical.meter import OpticalMeter
from gateway.drivers.optical.packets import PACKET, Framer
from gateway.drivers.optical.password import parse_password
from gateway.drivers.optical.session import BASE, OPEN, Session
from gateway.errors import ConfigurationError, GatewayError, MeterError, ProtocolError
from tests.mep_fakes import VirtualTime
from tests.mep_profile import FEW, MANY
from tests.optical_fakes import ACK, NAK, PASSWORD, FakePort, OpticalLink, packet_of, packets_of, table_answer
from tests.walked_machine import Walk

LARGEST = 256
MOST = 992
# Bytes that look like something: acknowledgements, packets whole, spoiled, out of order, absurdly long.
PACKETS = st.builds(
    packet_of,
    st.binary(min_size=0, max_size=40),
    st.sampled_from([0, 0x20, 0x40, 0x80, 0xA0, 0xC0, 0xE0, 0xFF]),
    st.sampled_from([0, 1, 2, 255]),
)
PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([ACK, NAK, ACK + ACK, b"\xee", b"\xee\0\0\0\xff\xff", b"\xee\0\0\0\0\0", b"\xee" * 9]),
    PACKETS,
    PACKETS.map(lambda whole: whole[:-1]),
    PACKETS.map(lambda whole: whole[:-1] + bytes((whole[-1] ^ 1,))),
)
STEPS = st.lists(st.one_of(PIECES, st.sampled_from(["pause", "silence", "abandon", "begin"])), max_size=30)


@MANY
@given(STEPS, st.binary(min_size=1, max_size=200))
def test_any_bytes_in_any_order(steps, message):
    machine = Machine(LARGEST, MOST)
    machine.packet_size, machine.packets = 64, 4
    walk = Walk(machine, message)

    def follow(found):
        for kind, value in found:
            assert walk.waiting
            if kind == events.SEND:
                walk.resend()
                assert walk.frame[:1] == b"\xee"
            elif kind == events.REPLY:
                assert value in (ACK, NAK)
            elif kind == events.ANSWER:
                assert 0 < len(value) <= MOST
                walk.waiting = False
            elif kind == events.FAILED:
                assert isinstance(value, MeterError)
                walk.waiting = False
            else:
                assert kind == events.TAKEN
                assert 0 < value <= 6000

    for step in steps:
        follow(walk.step(step))
        assert walk.sent <= 4 * 5  # packets, each with its repetitions

    # And it can always go on.
    machine.abandon()
    machine.pause()
    machine.restart()
    machine.begin(b"\x20")
    machine.output()
    found = machine.receive(ACK + packet_of(b"\0\0\1\0", 0x20)) + machine.receive(packet_of(b"\0\0\1\0"))
    assert (events.ANSWER, b"\0\0\1\0") in found


@MANY
@given(st.lists(PIECES, max_size=20), st.binary(max_size=5))
def test_the_framer_keeps_its_bounds_and_gives_only_what_its_check_proves(pieces, data):
    framer = Framer(64)
    for piece in pieces:
        at = 0
        while True:
            at = framer.take(piece, at)
            if framer.found is None:
                break
            if framer.found == PACKET:
                assert 0 < len(framer.data) <= 56
                made = packet_of(framer.data, framer.control, framer.sequence)
                assert made[-2:] == framer.check.to_bytes(2, "little")
    framer.reset()
    whole = packet_of(data or b"\0")
    framer.take(whole, 0)
    assert framer.found == PACKET


@MANY
@given(st.lists(st.binary(min_size=1, max_size=8), max_size=8), st.sampled_from([0, 9600, 19200]))
def test_a_session_ends_open_at_its_base_or_in_our_error(answers, rate):
    session = Session(PASSWORD, 1, b"me")
    session.begin(256, 4, rate)
    for answer in answers:
        request = session.request()
        if request is None:
            break
        try:
            session.answered(request, answer)
        except MeterError as error:
            assert PASSWORD.decode() not in str(error)
            assert session.state == BASE
            break
        size, count, agreed = session.agreed
        assert 32 <= size <= 256
        assert 1 <= count <= 4
        assert agreed in (0, 9600, 19200)
    assert session.state <= OPEN


@MANY
@given(st.binary(min_size=1, max_size=40), st.integers(1, 30))
def test_table_data_is_what_was_asked_for_or_an_error(answer, count):
    request = read_message(23, 0, count)
    try:
        data = services.table_data(request, answer)
    except ProtocolError:
        return
    assert answer[:3] + data == b"".join((answer[:1], len(data).to_bytes(2, "big"), data))
    assert len(data) == count
    assert table_answer(data)[1:] == answer[1:]


@MANY
@given(st.one_of(st.text(max_size=45), st.text("0123456789abcdefABCDEF", min_size=38, max_size=42)))
def test_a_password_is_20_bytes_or_an_error_that_does_not_show_it(text):
    try:
        password, form = parse_password(text)
    except ConfigurationError as error:
        if len(text.strip()) > 8:
            assert text.strip() not in str(error)
    else:
        assert len(password) == 20
        assert text.strip() not in form


TABLE = bytes(at * 7 & 0xFF for at in range(900))


class Noise:
    """A line that spoils `permille` of all bytes, loses or doubles `permille` of all pieces, seeded."""

    def __init__(self, seed: int, permille: int) -> None:
        self.state = seed * 2654435761 % 2**32 or 1
        self.permille = permille

    def draw(self, below: int) -> int:
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return (self.state >> 8) % below

    def __call__(self, data: bytes) -> bytes | None:
        made = bytearray(data)
        for at in range(len(made)):
            if self.draw(1000) < self.permille:
                made[at] ^= 1 + self.draw(255)
        if self.draw(1000) < self.permille:
            return None
        if self.draw(1000) < self.permille:
            return bytes(made + made)
        if self.draw(1000) < self.permille:
            del made[self.draw(len(made)) :]
        return bytes(made)


@pytest.mark.parametrize("permille", [2, 5, 10])
def test_no_wrong_byte_ever_comes_through_a_bad_line(permille):
    """And nearly all is read in the end, though a meter repeats itself three times only."""
    time = VirtualTime()
    time.install()
    right = failed = 0

    async def run(seed: int) -> None:
        nonlocal right, failed
        link = OpticalLink(time)
        far = FakePort(time, link, {2101: TABLE})
        far.spoil, far.hear = Noise(seed, permille), Noise(seed + 7919, permille)
        meter = OpticalMeter(link, PASSWORD)
        for start in range(0, 900, 300):
            for _ in range(3):
                try:
                    data = await meter.read(2101, start, 300)
                except GatewayError:
                    failed += 1
                    continue
                assert data == TABLE[start : start + 300]
                right += 1
                break
        await meter.release()
        await meter.close()

    try:
        for seed in range(12):
            asyncio.run(run(seed))
    finally:
        time.restore()
    assert right >= 12 * 3 - 1
    assert failed <= 12


@FEW
@given(st.integers(0, 2**32), st.integers(1, 988))
def test_answers_of_every_length_come_back_whole(start, count):
    machine = Machine(LARGEST, MOST)
    data = bytes((start + at * 31) & 0xFF for at in range(count))
    machine.begin(b"\x20")
    machine.output()
    found = machine.receive(ACK + b"".join(packets_of(table_answer(data), LARGEST, start & 1)))
    answer = [value for kind, value in found if kind == events.ANSWER]
    assert [services.table_data(read_message(1, 0, count), made) for made in answer] == [data]
