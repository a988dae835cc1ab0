"""What a registered client may ask the meter to do, and how the meter calls it."""

from datetime import UTC, datetime

from gateway.simulator.generations import generation
from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.profile import standard
from tests.mep_probe import BASIC_KEY, KEY, Hands, Probe

HOUR = 3_600_000
START = int(datetime(2024, 6, 14, 4, 0, 30, tzinfo=UTC).timestamp()) * 1000
FORWARD_WATTS = 8
DELTA_ALERT = 1 << 4
MBUS_ALERT = 1 << 3


def alive(hands: Hands, firmware: object = "4.30", **options: object) -> VirtualMeter:
    return VirtualMeter(KEY, BASIC_KEY, start_ms=START, monotonic=hands, firmware=firmware, **options)


class Caller:
    """Starts procedures with a new number each time and reads their results."""

    def __init__(self, probe: Probe, answers: int) -> None:
        self.probe = probe
        self.answers = answers
        self.number = 4

    def call(self, procedure: int, parameters: bytes = b"") -> bytes:
        """Result code and response."""
        self.number = self.number + 1 if self.number < 9 else 5
        head = (procedure | 1 << 11).to_bytes(2, "little") + bytes([self.number])
        assert self.probe.write(7, 0, head + parameters) == 0
        answer = self.probe.read(self.answers)
        assert answer[:3] == head
        return answer[3:]


def test_on_demand_mbus_read() -> None:
    hands = Hands()
    meter = alive(hands)
    probe = Probe(meter)
    caller = Caller(probe, 8)
    request = (0x0401).to_bytes(2, "little") + (2).to_bytes(2, "little") + b"\x02"
    assert caller.call(19, request)[:2] == b"\x00\x00"
    entry = probe.read(et(15), 1, 6)
    assert entry == request + b"\x00"
    hands.ms = 10_000
    assert probe.read(et(15), 1, 6) == request + b"\x01"
    (told,) = meter.truth_document()["mbus"]
    assert (told["handle"], told["scheduled"], told["tables"]) == (2, False, ["ET16"])
    assert told["telegram"] in probe.read(et(16), 517, 200).hex()


def test_on_demand_requests_that_can_not_be() -> None:
    hands = Hands()
    meter = alive(hands)
    caller = Caller(Probe(meter), 8)
    assert caller.call(19, b"\x01\x04\x09\x00\x02")[0] == 3
    assert caller.call(19, b"\x01\x04\x01\x00\x55")[0] == 2
    results = [caller.call(19, bytes([n, 4, 1, 0, 2]))[:2] for n in range(6)]
    assert results == [bytes([0, n]) for n in range(5)] + [b"\x07\x00"]
    basic = Caller(Probe(meter, BASIC_KEY), 8)
    basic.number = caller.number
    assert basic.call(19, b"\x01\x04\x01\x00\x02")[0] == 5
    meter.happen("lose_device", 0)
    hands.ms = 60_000
    caller.number = basic.number
    assert caller.call(19, b"\x11\x04\x01\x00\x02")[:2] == b"\x00\x00"
    hands.ms = 70_000
    assert Probe(meter).read(et(15), 1, 6)[5] == 2


def registered(probe: Probe, flags: int) -> None:
    assert probe.write(et(50), 30, bytes([flags])) == 0


def watch(probe: Probe, source: int, delta: int) -> None:
    assert probe.write(et(71), 0, source.to_bytes(2, "little") + delta.to_bytes(2, "little")) == 0


def test_delta_data_alert() -> None:
    hands = Hands()
    meter = alive(hands)
    probe = Probe(meter)
    registered(probe, 1 | 1 << 3)
    meter.inject(28, FORWARD_WATTS, 500)
    watch(probe, FORWARD_WATTS, 200)
    hands.ms = 2000
    # From nothing to 500 W is a change too.
    assert probe.read(et(13), 4 * 66 + 8, 1)[0] == DELTA_ALERT
    assert Caller(probe, 8).call(39, b"\x0c")[0] == 0
    assert probe.read(et(13), 4 * 66 + 8, 1)[0] == 0
    meter.inject(28, FORWARD_WATTS, 699)
    hands.ms = 4000
    assert meter.alert(hands.ms) == b""
    meter.inject(28, FORWARD_WATTS, 701)
    hands.ms = 6000
    assert meter.alert(hands.ms) == b"\x00\x00"
    entry = probe.read(et(71), 0, 13)
    assert entry[4:8] == entry[8:12] == (701).to_bytes(4, "little")


def test_delta_data_is_forgotten_without_power_and_unknown_sources_are_marked() -> None:
    hands = Hands()
    meter = alive(hands)
    probe = Probe(meter)
    registered(probe, 1 | 1 << 3)
    watch(probe, 999, 1)
    hands.ms = 2000
    assert probe.read(et(71), 12, 1)[0] & 1
    assert probe.read(et(13), 4 * 66 + 8, 1)[0] == 0
    meter.cut_power(5)
    hands.ms = 9000
    assert probe.read(et(71), 0, 4) == b"\xff\x00\x00\x00"


def test_mbus_alert_comes_with_the_load_profile_to_who_wants_it() -> None:
    for flags, expected in ((1, 0), (1 | 1 << 2, MBUS_ALERT)):
        hands = Hands()
        meter = alive(hands, profile=standard(4, 2))
        probe = Probe(meter)
        registered(probe, flags)
        hands.ms = HOUR
        assert probe.read(et(13), 4 * 66 + 8, 1)[0] == expected
        assert bool(meter.alert(hands.ms + 5000)) == bool(expected)


def test_transactions_can_be_locked() -> None:
    hands = Hands()
    meter = alive(hands, clients=2)
    probe = Probe(meter)
    caller = Caller(probe, 8)
    locked_at = 97 + 6 * 7
    assert caller.call(61, b"\x01")[0] == 0
    assert probe.read(et(54), locked_at, 2) == b"\x01\x01"
    meter.image.channel = 2
    assert not meter.image.after_write[et(52)](True)
    hands.ms = 11_000
    assert meter.image.after_write[et(52)](True)
    assert probe.read(et(54), locked_at, 2) == b"\x00\x00"


def test_rescheduling_an_mbus_device() -> None:
    hands = Hands()
    meter = alive(hands)
    # Daily at 06:15 local time, which is in a quarter of an hour.
    assert Probe(meter).write(et(13), 0, bytes([0, 6, 15, 1])) == 0
    hands.ms = HOUR // 3
    stamps = [reading["stamp"] for reading in meter.truth_document()["mbus"] if reading["device"] == 0]
    assert stamps == ["2024-06-14T06:15:00"]


def test_older_firmware_has_no_delta_data() -> None:
    meter = alive(Hands(), generation("3.10"))
    assert et(71) not in meter.image
