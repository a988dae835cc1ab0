"""TLS inside MEP frames: handshake, table traffic, rights by key, refusals, and how sessions end."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mbedtls", reason="python-mbedtls has wheels up to Python 3.12")

from gateway.errors import ConfigurationError
from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.simulator.port_settings import MAX_TLS_READ
from tests.mep_probe import BASIC_KEY, KEY, Probe, opened, read_message, request, write_message
from tests.optical_probe import PASSWORD, OpticalProbe, partial_write
from tests.tls_probe import TlsProbe, framed

UTC_CLOCK = read_message(52, 0, 4)
# ET97: "require TLS" on the port of MEP client 1, three free texts before it.
REQUIRED = 24 + 99


def virtual(security: str = "both", **options: object) -> VirtualMeter:
    return VirtualMeter(KEY, BASIC_KEY, firmware="4.30", security=security, **options)  # type: ignore[arg-type]


@pytest.fixture
def meter() -> VirtualMeter:
    return virtual()


@pytest.mark.parametrize("whole", [True, False])
def test_a_session(meter: VirtualMeter, whole: bool) -> None:
    probe = TlsProbe(meter, whole=whole)
    assert probe.handshake() == 0
    assert probe.read(52, 0, 4) == meter.image.read(52)[:4]
    assert probe.read(21) == meter.image.read(21)
    assert probe.ask(write_message(et(3), 0, b"hello")) == b"\0"
    assert probe.read(et(3), 0, 5) == b"hello"
    assert probe.exchange(0x57, b"\0") == b"\0"
    assert probe.exchange(0x80, b"anything") == b"\x0a"


def test_the_most_that_fits_a_record(meter: VirtualMeter) -> None:
    probe = TlsProbe(meter)
    probe.handshake()
    assert len(probe.read(et(53), 0, MAX_TLS_READ)) == MAX_TLS_READ
    assert probe.ask(read_message(et(53), 0, MAX_TLS_READ + 1)) == b"\x04"


@pytest.mark.parametrize(("key_id", "key", "code"), [(1, KEY, b"\0"), (0, BASIC_KEY, b"\x03")])
def test_the_identity_chooses_key_and_rights(
    meter: VirtualMeter, key_id: int, key: bytes, code: bytes
) -> None:
    probe = TlsProbe(meter, key=key, identity=bytes([100, 0, key_id]))
    assert probe.handshake() == 0
    assert meter.mep.tls is not None
    assert meter.mep.tls.identity == bytes([100, 0, key_id])
    assert probe.ask(write_message(et(3), 0, b"x")) == code
    assert probe.ask(write_message(et(50), 0, b"x")) == b"\0"


@pytest.mark.parametrize(
    ("identity", "key", "alert"),
    [
        (b"d\0\1", BASIC_KEY, 20),  # bad record MAC: the key is not that identity's
        (b"d\0\2", KEY, 115),  # unknown PSK identity
        (b"d\1", KEY, 115),
    ],
)
def test_a_wrong_identity_or_key_gets_the_alert(
    meter: VirtualMeter, identity: bytes, key: bytes, alert: int
) -> None:
    probe = TlsProbe(meter, key=key, identity=identity)
    assert probe.handshake() == 3
    assert probe.last[1:] == bytes([0x15, 3, 3, 0, 2, 2, alert])
    assert probe.exchange(0x59, b"\x16\x03\x03\x00\x01\x00") == b"\x0a"
    assert TlsProbe(meter).handshake() == 0


def test_no_basic_key_in_the_meter() -> None:
    meter = VirtualMeter(KEY, firmware="4.30", security="tls")
    assert TlsProbe(meter, key=KEY, identity=b"d\0\0").handshake() == 3


def test_table_traffic_without_a_session(meter: VirtualMeter) -> None:
    assert TlsProbe(meter).exchange(0x80, b"\x17\x03\x03\x00\x10" + bytes(16)) == b"\x0a"
    assert TlsProbe(meter).exchange(0x59, b"\x17\x03\x03\x00\x10" + bytes(16)) == b"\x0a"


def test_a_new_handshake_resets_the_session(meter: VirtualMeter) -> None:
    first, second = TlsProbe(meter), TlsProbe(meter)
    first.handshake()
    assert second.handshake() == 0
    assert second.read(52, 0, 4)
    assert first.exchange(0x80, first.sealed(UTC_CLOCK))[0] == 1
    assert second.exchange(0x80, second.sealed(UTC_CLOCK)) == b"\x0a"


def test_a_corrupted_record_ends_the_session(meter: VirtualMeter) -> None:
    probe = TlsProbe(meter)
    probe.handshake()
    record = bytearray(probe.sealed(UTC_CLOCK))
    record[-1] ^= 1
    assert probe.exchange(0x80, bytes(record))[0] == 1
    assert probe.exchange(0x80, probe.sealed(UTC_CLOCK)) == b"\x0a"
    assert TlsProbe(meter).handshake() == 0


def test_the_same_bytes_again_get_the_same_response(meter: VirtualMeter) -> None:
    probe = TlsProbe(meter)
    probe.handshake()
    frame = framed(0x80, probe.sealed(write_message(et(3), 0, b"once")))
    (response,) = meter.receive(frame, 0)
    assert meter.receive(frame, 0) == [response]
    probe.opened(response)
    assert probe.read(et(3), 0, 4) == b"once"


def test_a_flight_in_several_messages(meter: VirtualMeter) -> None:
    probe = TlsProbe(meter)
    answer = probe.exchange(0x58, probe.step())
    probe.buffer.receive_from_network(answer[1:])
    flight = probe.step()
    parts = []
    while flight:
        size = 5 + int.from_bytes(flight[3:5], "big")
        parts.append(flight[:size])
        flight = flight[size:]
    assert len(parts) == 3  # key exchange, change of cipher, finished
    assert [probe.exchange(0x59, part) for part in parts[:2]] == [b"\0", b"\0"]
    answer = probe.exchange(0x59, parts[2])
    assert answer[0] == 0 and len(answer) > 1
    probe.buffer.receive_from_network(answer[1:])
    assert probe.step() == b""
    assert probe.read(52, 0, 4)


def test_the_guides_client_is_answered_like_by_the_guides_meter(meter: VirtualMeter) -> None:
    vector = json.loads((Path(__file__).parents[1] / "vectors" / "mep_tls_psk.json").read_text())
    hello, answered, flight = (bytes.fromhex(frame["records"]) for frame in vector["frames"][:3])
    (response,) = meter.receive(framed(0x58, hello), 0)
    assert response[2:3] == b"\0"
    # Records, message types and lengths, version, session id, suite: all but what is random is the same.
    shape = [(0, 11), (43, 44), (76, 95)]
    assert [response[3:][a:b] for a, b in shape] == [answered[a:b] for a, b in shape]
    (response,) = meter.receive(framed(0x59, flight), 0)
    assert response[2] == 3  # its Finished belongs to another session


def test_terminate_needs_a_byte(meter: VirtualMeter) -> None:
    probe = TlsProbe(meter)
    probe.handshake()
    assert meter.receive(b"\x00\x01\x57", 0) == []  # no message is that short
    meter.mep.line_lost()
    assert probe.exchange(0x57, b"x") == b"\0"


def test_sessions_are_lost_on_request_and_with_the_power(meter: VirtualMeter) -> None:
    probe = TlsProbe(meter)
    probe.handshake()
    meter.mep.power_cut()
    assert probe.exchange(0x80, probe.sealed(UTC_CLOCK)) == b"\x0a"
    assert TlsProbe(meter).handshake() == 0


def test_a_power_cut_silences_both_ports_and_ends_their_sessions() -> None:
    now = [0]
    meter = virtual(optical_keys=OpticalKeys(PASSWORD), monotonic=lambda: now[0])
    assert meter.optical is not None
    probe, optical = TlsProbe(meter), OpticalProbe(meter.optical)
    probe.handshake()
    optical.open()
    meter.cut_power(60)
    assert meter.receive(framed(0x80, probe.sealed(UTC_CLOCK)), 0) == []
    assert meter.optical.receive(bytes.fromhex("ee0000000001201310"), 0) == []
    now[0] = 61_000
    assert probe.exchange(0x80, probe.sealed(UTC_CLOCK)) == b"\x0a"
    assert TlsProbe(meter).handshake() == 0
    OpticalProbe(meter.optical).open()


# TLS and RC4 on one port.


def test_rc4_is_refused_while_a_session_stands(meter: VirtualMeter) -> None:
    Probe(meter).read(52)
    probe = TlsProbe(meter)
    probe.handshake()
    frame = request(UTC_CLOCK, meter.mep.sequence)
    (response,) = meter.receive(frame, 0)
    assert response[2] == 0x0B
    assert probe.read(52, 0, 4)
    assert probe.exchange(0x57, b"\0") == b"\0"
    assert Probe(meter).read(52)


def test_a_port_that_requires_tls_refuses_rc4() -> None:
    meter = virtual("tls")
    frame = request(UTC_CLOCK, meter.mep.sequence)
    (response,) = meter.receive(frame, 0)
    assert response[2] == 0x0B
    assert TlsProbe(meter).handshake() == 0


def test_a_port_without_tls_takes_a_handshake_for_a_bad_request() -> None:
    meter = virtual("rc4")
    probe = TlsProbe(meter)
    assert probe.handshake() == 0x0B
    assert Probe(meter).read(52)


def test_the_optical_port_changes_what_a_mep_port_requires() -> None:
    meter = virtual(optical_keys=OpticalKeys(PASSWORD))
    assert meter.optical is not None
    optical = OpticalProbe(meter.optical)
    optical.open()
    assert Probe(meter).write(et(97), REQUIRED, b"\x01") == 5  # not over MEP
    assert optical.ask(partial_write(et(97), REQUIRED, b"\x01")) == b"\0"
    (response,) = meter.receive(request(UTC_CLOCK, meter.mep.sequence), 0)
    assert response[2] == 0x0B
    assert optical.ask(partial_write(et(97), REQUIRED, b"\x00")) == b"\0"
    assert Probe(meter).read(52)


@pytest.mark.parametrize(("firmware", "security"), [("3.80", "tls"), ("4.0", "both"), ("4.30", "none")])
def test_what_no_meter_speaks(firmware: str, security: str) -> None:
    with pytest.raises(ConfigurationError, match=security):
        VirtualMeter(KEY, firmware=firmware, security=security)


# Two MEP ports.


def test_two_clients_have_a_port_each() -> None:
    meter = virtual(clients=2)
    first, second = Probe(meter), Probe(meter.ports[1])
    for number, probe in enumerate((first, second), 1):
        assert probe.read(et(70), 142, 1) == bytes([number])
        assert probe.read(et(54), 0, 2)[1] & 1
        assert probe.read(et(11), 34, 1) == b"\x02"
    assert first.write(et(3), 0, b"seen by both") == 0
    assert second.read(et(3), 0, 12) == b"seen by both"


def test_each_client_registers_and_is_alerted_by_itself() -> None:
    meter = virtual(clients=2)
    first, second = meter.ports
    assert Probe(second).write(et(50), 71 + 30, b"\x01") == 0
    assert (first.registered, second.registered) == (False, True)
    second.raise_alert(0x08)
    assert meter.image.read(et(13))[5 * 66 + 8] == 0x08
    assert first.tick(5000) == []
    assert second.tick(5000) == [b"\0\0"]


def test_the_second_port_has_its_own_rate_sequence_and_session() -> None:
    meter = virtual(clients=2)
    first, second = meter.ports
    second.set_baud(115200)
    assert (first.baud, second.baud) == (9600, 115200)
    assert first.server.sequence != second.server.sequence
    TlsProbe(second).handshake()
    assert Probe(first).read(52)


def test_a_backward_compatible_meter_uses_one_port(meter: VirtualMeter) -> None:
    first, second = meter.ports
    assert Probe(first).read(et(54), 0, 2)[1] & 1 == 0
    assert second.receive(request(UTC_CLOCK, second.server.sequence), 0) == []


@pytest.mark.parametrize(("firmware", "clients"), [("3.80", 2), ("4.30", 3)])
def test_more_clients_than_ports(firmware: str, clients: int) -> None:
    with pytest.raises(ConfigurationError, match="MEP clients"):
        VirtualMeter(KEY, firmware=firmware, clients=clients)


# Anything at all.


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0x57, 0x58, 0x59, 0x80, 0x30]), st.binary(max_size=80)),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_any_records_are_survived(messages: list[tuple[int, bytes]], in_session: bool) -> None:
    meter = SURVIVOR
    meter.mep.power_cut()
    if in_session:
        TlsProbe(meter).handshake()
    for code, data in messages:
        meter.receive(framed(code, data), 0)
        meter.mep.line_lost()
    assert TlsProbe(meter).handshake() == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_spoiled_handshake_is_survived(data: st.DataObject) -> None:
    meter = SURVIVOR
    probe = TlsProbe(meter)
    hello = bytearray(probe.step())
    for _ in range(data.draw(st.integers(1, 3))):
        hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    meter.receive(framed(0x58, bytes(hello)), 0)
    meter.mep.line_lost()
    assert TlsProbe(meter).handshake() == 0


SURVIVOR = virtual()


def test_the_probe_checks_digests() -> None:
    meter = virtual("rc4")
    frame = request(UTC_CLOCK, meter.mep.sequence)
    (response,) = meter.receive(frame, 0)
    with pytest.raises(AssertionError):
        opened(response[:-1] + bytes([response[-1] ^ 1]), frame)
