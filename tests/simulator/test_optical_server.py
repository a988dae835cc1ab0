"""The virtual meter's optical port: packets, services, rights, time-outs, and the shared UART."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator.image import Image, et
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_server import DenialOfService, OpticalServer
from gateway.simulator.optical_session import OpticalKeys
from tests.faulty_lines import faulty_link
from tests.mep_probe import KEY, Probe, read_message, request
from tests.optical_probe import (
    ACK,
    NAK,
    PASSWORD,
    PROVISIONING_PASSWORD,
    READ_ONLY_PASSWORD,
    OpticalProbe,
    crc,
    full_read,
    full_write,
    logon,
    negotiate,
    packet,
    partial_read,
    partial_write,
    security,
)

KEYS = OpticalKeys(PASSWORD, PROVISIONING_PASSWORD, READ_ONLY_PASSWORD)
IDENTIFY = bytes.fromhex("ee00000000012013 10")
IDENTITY = b"\x00\x00\x01\x00\x00"
BIG = et(53)


def image() -> Image:
    made = Image()
    for table, size in ((0, 30), (1, 24), (4, 10), (7, 258), (8, 16), (23, 100), (et(3), 30), (et(21), 8)):
        made.keep(table, bytes((table + at) % 251 for at in range(size)))
    made.keep(BIG, bytes(at % 249 for at in range(1785)))
    return made


def server(shared: bool = False, denial: DenialOfService | None = None) -> OpticalServer:
    limits = denial or DenialOfService(False, 0, 0)
    return OpticalServer(image(), KEYS, shared=shared, denial=lambda: limits)


@pytest.fixture
def probe() -> OpticalProbe:
    return OpticalProbe(server())


def virtual(firmware: str) -> VirtualMeter:
    return VirtualMeter(KEY, firmware=firmware, optical_keys=KEYS)


# Packets.


def test_known_checksums() -> None:
    assert crc(b"123456789") == bytes.fromhex("6e90")
    assert packet(b"\x20") == IDENTIFY
    assert server().receive(IDENTIFY, 0) == [ACK, packet(IDENTITY)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_session_whole_and_byte_by_byte(probe: OpticalProbe, whole: bool) -> None:
    probe.whole = whole
    probe.open()
    assert probe.read(23) == image().read(23)
    assert probe.read(23, 5, 7) == image().read(23)[5:12]
    assert probe.read(BIG) == image().read(BIG)
    assert probe.packets == -(-(1785 + 4) // 248)
    assert probe.ask(full_write(7, b"\x11\x08\x05"), share=4) == b"\0"
    assert probe.read(7, 0, 3) == b"\x11\x08\x05"
    assert probe.ask(b"\x52") == b"\0"
    assert probe.ask(b"\x21") == b"\0"
    assert probe.ask(b"\x20") == IDENTITY


def test_noise_between_packets_is_ignored(probe: OpticalProbe) -> None:
    assert probe.send(b"\x00\x15\x06\xff") == b""
    assert probe.send(b"\x00\x15\x06\xff" + IDENTIFY) == ACK + packet(IDENTITY)
    assert probe.send(b"\x00\x06\xff" + packet(b"\x21", 0x20)) == ACK + packet(b"\0", 0x20)


def test_a_corrupted_packet_is_refused_and_its_repetition_taken(probe: OpticalProbe) -> None:
    for at in range(6, 9):
        bad = bytearray(IDENTIFY)
        bad[at] ^= 0x40
        assert probe.send(bytes(bad)) == NAK
    assert probe.send(IDENTIFY) == ACK + packet(IDENTITY)


def test_an_impossible_length_waits_for_a_pause() -> None:
    port = server()
    assert port.receive(b"\xee\x00\x00\x00\xff\xff" + IDENTIFY, 0) == []
    assert port.due_in_ms(0) == 500
    assert port.tick(499) == []
    assert port.tick(500) == [NAK]
    assert port.receive(IDENTIFY, 600)[0] == ACK


def test_a_broken_off_packet_is_refused_after_a_pause() -> None:
    port = server()
    assert port.receive(IDENTIFY[:5], 0) == []
    assert port.receive(IDENTIFY[5:], 499)[0] == ACK
    port = server()
    port.receive(IDENTIFY[:5], 0)
    assert port.tick(500) == [NAK]
    assert port.receive(IDENTIFY, 501)[0] == ACK


def test_a_duplicate_is_acknowledged_and_not_run(probe: OpticalProbe) -> None:
    probe.open()
    write = packet(partial_write(7, 0, b"\x01"), probe.toggle)
    assert probe.send(write)[:1] == ACK
    served = probe.port.requests
    assert probe.send(write) == ACK
    assert probe.port.requests == served
    assert probe.take(b"".join(probe.port.tick(2000))) == b"\0"


def test_the_same_message_with_the_other_toggle_is_a_new_one(probe: OpticalProbe) -> None:
    probe.open()
    assert probe.read(23) == probe.read(23)
    assert probe.port.requests == 6


def test_without_ack_a_response_is_repeated_three_times() -> None:
    port = server()
    first = port.receive(IDENTIFY, 0)[1]
    for now in (2000, 4000):
        assert port.tick(now - 1) == []
        assert port.tick(now) == [first]
    assert port.receive(b"\x15", 4500) == [first]
    assert port.receive(b"\x15", 4600) == []


def test_a_nak_asks_for_one_packet_of_many_again(probe: OpticalProbe) -> None:
    probe.open(size=64)
    answer = probe.send(packet(full_read(23), probe.toggle))
    assert answer[:1] == ACK
    second = probe.send(ACK)
    assert second[3] == 0
    assert probe.send(NAK) == second
    assert probe.send(ACK) == b""


def test_a_packet_out_of_sequence_is_refused(probe: OpticalProbe) -> None:
    probe.open()
    assert probe.send(packet(b"\x40\x00", 0xC0 | probe.toggle, 2)) == ACK
    assert probe.send(packet(b"\x07", 0x80 | probe.toggle ^ 0x20, 0)) == NAK
    assert probe.send(packet(b"\x07", 0x80 | probe.toggle ^ 0x20, 1)) == ACK
    assert probe.ask(full_read(23))[0] == 0  # a new message drops the unfinished one


def test_a_message_of_more_packets_than_agreed_is_refused(probe: OpticalProbe) -> None:
    probe.open(size=64, count=2)
    message = full_write(7, bytes(120))
    assert probe.send(packet(message[:56], 0xC0 | probe.toggle, 2)) == ACK
    assert probe.send(packet(message[56:112], 0x80 | probe.toggle ^ 0x20, 1)) == ACK
    assert probe.send(packet(message[112:], 0x80 | probe.toggle, 0)) == NAK


def test_a_response_that_does_not_fit_is_an_error(probe: OpticalProbe) -> None:
    assert probe.ask(b"\x20") == IDENTITY
    assert probe.ask(logon()) == b"\0"
    assert probe.ask(security(PASSWORD)) == b"\0"
    assert probe.ask(partial_read(23, 0, 53)) == b"\x04"
    assert probe.read(23, 0, 52) == image().read(23)[:52]


# Services.


def test_negotiation_takes_the_smaller_of_both(probe: OpticalProbe) -> None:
    probe.ask(b"\x20")
    assert probe.ask(negotiate(8192, 255)) == b"\x00\x01\x00\x40\x06"
    assert probe.ask(negotiate(100, 3, 6)) == b"\x00\x00\x64\x03\x06"


def test_the_rate_changes_when_the_answer_is_acknowledged(probe: OpticalProbe) -> None:
    probe.ask(b"\x20")
    answer = probe.send(packet(negotiate(256, 8, 6, 8, 10), probe.toggle))
    assert answer[1:] == packet(b"\x00\x01\x00\x08\x0a", probe.toggle)
    assert probe.port.baud == 9600
    probe.send(ACK)
    assert probe.port.baud == 57600
    probe.toggle ^= 0x20
    assert probe.ask(b"\x21") == b"\0"
    assert probe.port.baud == 9600


def test_an_unknown_rate_leaves_the_one_in_use(probe: OpticalProbe) -> None:
    probe.ask(b"\x20")
    assert probe.ask(negotiate(256, 8, 12, 99)) == b"\x00\x01\x00\x08\x06"
    assert probe.port.baud == 9600


def test_services_at_the_wrong_time(probe: OpticalProbe) -> None:
    wrong = b"\x0a"
    for message in (negotiate(), logon(), security(PASSWORD), full_read(1), b"\x52", b"\x21", b"\x70\x01"):
        assert probe.ask(message) == wrong
    probe.ask(b"\x20")
    for message in (b"\x20", security(PASSWORD), full_read(1), full_write(7, b"\0"), b"\x52"):
        assert probe.ask(message) == wrong
    probe.ask(logon())
    for message in (b"\x20", logon(), negotiate()):
        assert probe.ask(message) == wrong


def test_malformed_and_unknown_services(probe: OpticalProbe) -> None:
    probe.open()
    for message in (b"\x51short", b"\x30\x00", b"\x3f\x00\x17", b"\x40\x00\x07", b"\x52\x00"):
        assert probe.ask(message) == b"\x01"
    # Timing setup and authentication belong to later editions.
    for code in (0x31, 0x3E, 0x41, 0x53, 0x71, 0x99):
        assert probe.ask(bytes([code, 0, 1])) == b"\x02"


def test_a_write_with_a_wrong_checksum_changes_nothing(probe: OpticalProbe) -> None:
    probe.open()
    before = probe.read(7)
    good = partial_write(7, 0, b"\x55\xaa")
    assert probe.ask(good[:-1] + bytes([good[-1] ^ 1])) == b"\x01"
    assert probe.read(7) == before
    assert probe.ask(good) == b"\0"
    assert probe.read(7)[:2] == b"\x55\xaa"


def test_what_lies_beyond_a_table_is_zeros(probe: OpticalProbe) -> None:
    probe.open()
    assert probe.read(23, 98, 4) == image().read(23)[98:] + b"\0\0"
    assert probe.ask(full_read(99)) == b"\x05"


@pytest.mark.parametrize(
    ("password", "limited", "writes"),
    [
        (PASSWORD, b"\0", b"\0"),
        (PROVISIONING_PASSWORD, b"\0", b"\0"),
        (READ_ONLY_PASSWORD, b"\x03", b"\x03"),
    ],
)
def test_the_key_decides(probe: OpticalProbe, password: bytes, limited: bytes, writes: bytes) -> None:
    probe.open(password)
    assert probe.read(23) == image().read(23)
    assert probe.ask(full_read(et(21)))[:1] == limited
    assert probe.ask(partial_write(7, 0, b"\x01")) == writes


def test_without_a_key_only_open_tables(probe: OpticalProbe) -> None:
    probe.ask(b"\x20")
    probe.ask(negotiate())
    probe.ask(logon())
    for table in (0, 1, et(3)):
        assert probe.read(table) == image().read(table)
    assert probe.ask(full_read(23)) == b"\x03"
    assert probe.ask(security(b"wrong")) == b"\x03"
    assert probe.ask(full_read(23)) == b"\x03"
    assert probe.ask(security(PASSWORD)) == b"\0"
    assert probe.read(23) == image().read(23)
    assert probe.ask(b"\x52") == b"\0"
    assert probe.ask(logon()) == b"\0"
    assert probe.ask(full_read(23)) == b"\x03"


def test_passwords_filled_up_with_spaces_or_zeros(probe: OpticalProbe) -> None:
    probe.ask(b"\x20")
    probe.ask(logon())
    assert probe.ask(b"\x51" + PASSWORD.ljust(20, b" ")) == b"\0"
    assert probe.ask(b"\x51" + PASSWORD.ljust(20, b"\0")) == b"\0"


# Time-outs.


def test_a_quiet_channel_ends_the_session(probe: OpticalProbe) -> None:
    probe.open()
    probe.now_ms = 5999
    assert probe.read(23)
    probe.now_ms = 5999 + 6000
    probe.toggle = 0
    assert probe.ask(b"\x20") == IDENTITY


def test_wait_keeps_it_open_once(probe: OpticalProbe) -> None:
    probe.open()
    assert probe.ask(b"\x70\x3c") == b"\0"
    assert probe.port.due_in_ms(probe.now_ms) == 60_000
    probe.now_ms += 59_999
    assert probe.read(23)
    probe.now_ms += 6_000
    assert probe.send(packet(full_read(23), probe.toggle)) == ACK + packet(b"\x0a")


def test_an_overlong_session_is_ended_and_held_off() -> None:
    port = server(denial=DenialOfService(True, 20_000, 30_000))
    probe = OpticalProbe(port)
    probe.open()
    for probe.now_ms in range(0, 20_000, 5_000):
        assert probe.read(23)
    probe.now_ms = 20_000
    assert probe.send(packet(full_read(23), probe.toggle)) == b""
    assert probe.send(IDENTIFY) == b""
    probe.now_ms = 49_999
    assert probe.send(IDENTIFY) == b""
    probe.now_ms = 50_000
    assert probe.send(IDENTIFY)[:1] == ACK


def test_a_probe_taken_off_in_mid_packet() -> None:
    port = server()
    port.receive(IDENTIFY[:4], 0)
    port.line_lost()
    assert port.receive(IDENTIFY, 10)[0] == ACK


# The meter's two ports.


@pytest.mark.parametrize(
    ("mode", "answers"), [("nak", [NAK]), ("lost", []), ("heard", [ACK, packet(IDENTITY)])]
)
def test_the_first_packet_on_a_shared_port(mode: str, answers: list[bytes]) -> None:
    meter = virtual("3.10")
    assert meter.optical is not None
    meter.optical.server.first_packet = mode
    assert meter.optical.receive(IDENTIFY, 0) == answers
    assert meter.ports[0].receive(request(read_message(1), meter.mep.sequence), 0) == []
    if mode != "heard":
        assert meter.optical.receive(IDENTIFY, 2000) == [ACK, packet(IDENTITY)]


def test_an_optical_session_shuts_mep_out_of_a_shared_port() -> None:
    meter = virtual("3.10")
    assert meter.optical is not None
    mep = Probe(meter)
    optical = OpticalProbe(meter.optical)
    serial = mep.read(et(3), 0, 30)
    optical.open()
    assert optical.read(et(3), 0, 30) == serial
    assert meter.receive(request(read_message(1), meter.mep.sequence), 0) == []
    assert optical.ask(b"\x21") == b"\0"
    assert mep.read(et(3), 0, 30) == serial


def test_alerts_wait_for_the_end_of_the_optical_session() -> None:
    meter = virtual("3.70")
    assert meter.optical is not None
    Probe(meter).write(et(50), 30, b"\x01")
    meter.raise_alert(0x08)
    optical = OpticalProbe(meter.optical, 10_000)
    optical.open()
    assert meter.alert(10_000) == b""
    optical.ask(b"\x21")
    assert meter.alert(10_000) == b"\0\0"


def test_a_silent_meter_has_nothing_due() -> None:
    meter = virtual("3.10")
    assert meter.optical is not None
    OpticalProbe(meter.optical).open()
    assert meter.optical.due_in_ms(100) is not None
    meter.faults.silent = True
    assert meter.optical.due_in_ms(10_000) is None
    assert meter.optical.tick(10_000) == []


def test_separate_ports_on_generation_4() -> None:
    meter = virtual("4.30")
    assert meter.optical is not None
    assert meter.optical.receive(IDENTIFY, 0) == [ACK, packet(IDENTITY)]
    optical = OpticalProbe(meter.optical)
    optical.toggle = 0x20
    optical.ask(negotiate())
    optical.ask(logon())
    optical.ask(security(PASSWORD))
    mep = Probe(meter)
    assert mep.write(et(3), 0, b"written here") == 0
    assert optical.read(et(3), 0, 12) == b"written here"
    assert optical.ask(partial_write(et(3), 0, b"and there   ")) == b"\0"
    assert mep.read(et(3), 0, 12) == b"and there   "


@pytest.mark.parametrize("firmware", ["2.0", "2.10", "3.10", "3.50", "3.70", "4.30"])
def test_every_firmware_answers_the_same_on_both_ports(firmware: str) -> None:
    meter = virtual(firmware)
    assert meter.optical is not None
    over_mep = {table: Probe(meter).read(table) for table in (1, 20, 22, 27, et(3), et(11))}
    optical = OpticalProbe(meter.optical)
    optical.open()
    assert {table: optical.read(table) for table in over_mep} == over_mep


def test_procedures_over_the_optical_port_answer_in_bt08() -> None:
    meter = virtual("3.80")
    assert meter.optical is not None
    assert Probe(meter).write(et(50), 30, b"\x03") == 0  # registered, answers in ET59
    optical = OpticalProbe(meter.optical)
    optical.open()
    assert optical.ask(partial_write(7, 0, b"\x11\x08\x21\x00\xe8\x03")) == b"\0"
    assert optical.read(8, 0, 4) == b"\x11\x08\x21\x00"


async def test_what_mep_sends_appears_on_the_optical_line_of_a_shared_port() -> None:
    for firmware, shared in (("3.10", True), ("4.30", False)):
        meter = virtual(firmware)
        assert meter.optical is not None
        async with faulty_link(meter) as mep, faulty_link(meter.optical) as eye:
            await mep.write(request(read_message(1), meter.mep.sequence))
            sent = await mep.read()
            if shared:
                assert await eye.read() == sent
            await eye.write(IDENTIFY)
            assert await eye.read() == (NAK if shared else ACK + packet(IDENTITY))


def test_which_port_is_this() -> None:
    meter = virtual("4.30")
    assert meter.optical is not None
    optical = OpticalProbe(meter.optical)
    optical.open()
    assert optical.read(et(70), 142, 1) == b"\x00"
    assert Probe(meter).read(et(70), 142, 1) == b"\x01"
    assert optical.read(et(70), 142, 1) == b"\x00"


def test_limits_of_a_session_come_from_the_meters_tables() -> None:
    meter = virtual("3.50")
    assert meter.optical is not None
    meter.image.write(et(51), 0, b"\x01" + bytes(3) + b"\x05\x00\x0a\x00")
    optical = OpticalProbe(meter.optical)
    optical.open()
    optical.now_ms = 5_000
    assert optical.send(packet(full_read(1), optical.toggle)) == b""
    optical.now_ms = 14_999
    assert optical.send(IDENTIFY) == b""
    optical.now_ms = 15_000
    assert optical.send(IDENTIFY) == NAK


@pytest.mark.parametrize("firmware", ["3.10", "4.30"])
def test_a_wrong_password_is_an_alarm(firmware: str) -> None:
    meter = virtual(firmware)
    assert meter.optical is not None
    assert not meter.image.read(3)[5] & 1
    OpticalProbe(meter.optical).open()
    assert not meter.image.read(3)[5] & 1
    optical = OpticalProbe(meter.optical, 10_000)
    optical.ask(b"\x20")
    optical.ask(logon())
    assert optical.ask(security(b"wrong")) == b"\x03"
    assert meter.image.read(3)[5] & 1


def test_too_many_wrong_passwords_lock_the_port() -> None:
    """ET55.22 allows so many in a row, ET55.23 is in minutes (MEP guide, chapter 4)."""
    meter = virtual("4.30")
    assert meter.optical is not None
    meter.image.write(et(55), 22, b"\x02\x01")
    optical = OpticalProbe(meter.optical)
    optical.ask(b"\x20")
    optical.ask(logon())
    for password, answer in ((b"a", 3), (b"b", 3), (PASSWORD, 0), (b"a", 3), (b"b", 3), (b"c", 3)):
        assert optical.ask(security(password)) == bytes([answer])
    assert optical.send(packet(full_read(1), optical.toggle)) == b""
    optical.now_ms = 59_999
    assert optical.send(IDENTIFY) == b""
    optical.now_ms = 60_000
    assert optical.send(IDENTIFY)[:1] == ACK


# Anything at all.


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3000)), max_size=12))
def test_any_bytes_are_survived(pieces: list[tuple[bytes, int]]) -> None:
    port = server(shared=True)
    now = 0
    for data, pause in pieces:
        now += pause
        port.receive(data, now)
        due = port.due_in_ms(now)
        assert due is None or due >= 0
        port.tick(now)
    now += 300_000
    port.tick(now)
    probe = OpticalProbe(port, now)
    probe.open()
    assert probe.read(23) == image().read(23)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=12), st.booleans())
def test_any_message_has_an_answer(messages: list[bytes], in_session: bool) -> None:
    probe = OpticalProbe(server())
    if in_session:
        probe.open()
    for message in messages:
        assert probe.ask(message)
