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


FIRST_FLAGS = 4 * 66 + 8
SCHEDULED_READ, ON_DEMAND = 1, 2


def test_a_scheduled_read_of_the_client_is_announced_when_it_is_due() -> None:
    for flags, expected in ((1, SCHEDULED_READ), (0, 0)):
        hands = Hands()
        meter = alive(hands)
        probe = Probe(meter)
        registered(probe, flags)
        # Daily at 06:15 local time, in a quarter of an hour.
        meter.happen("schedule_client", 1, 1, 6, 15)
        hands.ms = HOUR // 4 - 60_000
        assert probe.read(et(13), FIRST_FLAGS, 1)[0] == 0
        assert meter.alert(hands.ms) == b""
        hands.ms = HOUR // 4
        assert probe.read(et(13), FIRST_FLAGS, 1)[0] == expected
        assert bool(meter.alert(hands.ms + 5000)) == bool(expected)
    hands = Hands()
    meter = alive(hands)
    registered(Probe(meter), 1)
    hands.ms = 48 * HOUR
    assert Probe(meter).read(et(13), FIRST_FLAGS, 1)[0] == 0, "no one has asked for anything"


def test_a_read_that_was_due_without_power_is_announced_after_it() -> None:
    hands = Hands()
    meter = alive(hands)
    registered(Probe(meter), 1)
    meter.happen("schedule_client", 1, 1, 6, 15)
    hands.ms = HOUR // 8
    meter.cut_power(HOUR // 1000)
    hands.ms = 2 * HOUR
    assert Probe(meter).read(et(13), FIRST_FLAGS, 1)[0] == SCHEDULED_READ


def test_a_request_to_the_client_waits_in_et15_until_it_expires() -> None:
    hands = Hands()
    meter = alive(hands)
    probe = Probe(meter)
    meter.happen("request_client", 1)
    assert probe.read(et(15), 1, 6) == bytes(6), "there is no such client"
    registered(probe, 1)
    meter.happen("request_client", 1, "c0ffee")
    assert probe.read(et(15), 1, 6) == b"\x01\xff\xe8\x03\x04\x00"
    assert probe.read(et(15), 0, 1) == b"\x01", "written next is 1, processed next is 0"
    assert probe.read(et(15), 31, 4) == b"\x03\xc0\xff\xee"
    assert meter.alert(5000) == b"\0\0"
    assert probe.read(et(13), FIRST_FLAGS, 1)[0] == ON_DEMAND
    hands.ms = 30_000
    assert probe.read(et(15), 6, 1) == b"\x02"
    assert probe.read(et(15), 0, 1) == b"\x11"
    assert probe.read(et(13), FIRST_FLAGS, 1)[0] == 0


def test_requests_by_index_go_to_the_lowest_bit_alone() -> None:
    meter = alive(Hands())
    caller = Caller(Probe(meter), 8)
    registered(caller.probe, 1)

    def posted(mask: int) -> bytes:
        answer = caller.call(19, b"\x02\x04" + mask.to_bytes(2, "little") + b"\x0a\x01\x55")
        return answer[:1] if answer[0] else caller.probe.read(et(15), 1 + 6 * answer[1], 6)[2:5]

    assert posted(0x0E) == b"\x02\x00\x04"
    assert posted(0x11) == b"\x01\x00\x04"
    assert posted(0x10) == b"\xe8\x03\x04"
    assert posted(0x0C) == posted(0x14) == posted(0x20) == posted(0) == b"\x03"
    assert caller.call(19, b"\x02\x04\x01\x00\x04\x19" + bytes(25))[0] == 2, "more than ET11.11 allows"


def test_removing_a_client() -> None:
    hands = Hands()
    meter = alive(hands)
    probe = Probe(meter, BASIC_KEY)
    caller = Caller(probe, 8)
    registered(probe, 1)
    status = 6 + 4 * 36
    assert probe.read(et(14), 5, 1)[0] == 0b10011
    assert probe.read(et(14), status, 4) == b"\xe8\x03\x03\x00"
    meter.happen("request_client", 1)
    assert caller.call(17, b"\x00\xf8\x03")[0] == 3, "no device has this handle"
    assert caller.call(17, b"\x02\xe8\x03")[0] == 2
    assert caller.call(17, b"\x00\x01\x00")[0] == 5, "the basic key takes no M-Bus device away"
    assert caller.call(17, b"\x00\xe8\x03")[0] == 0
    assert probe.read(et(50), 30, 1)[0] == 0
    assert probe.read(et(14), 5, 1)[0] == 0b11
    assert probe.read(et(14), status, 36) == bytes(36)
    assert probe.read(et(15), 6, 1) == b"\x03"
    assert probe.read(et(13), FIRST_FLAGS, 1)[0] == 0
    assert caller.call(17, b"\x00\xe8\x03")[0] == 3
    registered(probe, 1)
    assert probe.read(et(14), status, 4) == b"\xe8\x03\x03\x00"


def test_taking_the_flag_back_is_no_removal() -> None:
    """MEP guide, chapter 3: it prevents alerts and EP39, and little else."""
    meter = alive(Hands())
    probe = Probe(meter)
    registered(probe, 1)
    meter.raise_alert(DELTA_ALERT)
    registered(probe, 0)
    assert probe.read(et(14), 5, 1)[0] == 0b10011
    assert meter.alert(5000) == b""
    assert Caller(probe, 8).call(39, b"\x0c")[0] == 3


def test_another_meter_knows_no_client() -> None:
    meter = alive(Hands())
    probe = Probe(meter)
    registered(probe, 1)
    meter.raise_alert(DELTA_ALERT)
    meter.replace("0000000000004711")
    assert probe.read(et(50), 30, 1)[0] == 0
    assert probe.read(et(14), 5, 1)[0] == 0b11
    assert meter.alert(5000) == b""


def test_removing_an_mbus_device() -> None:
    hands = Hands()
    meter = alive(hands, profile=standard(4, 2))
    probe = Probe(meter)
    assert Caller(probe, 8).call(17, b"\x00\x02\x00")[0] == 0
    assert probe.read(et(14), 5, 1)[0] == 1
    hands.ms = 6 * HOUR
    assert probe.read(et(14), 6 + 36, 36) == bytes(36)
    assert {reading["device"] for reading in meter.truth_document()["mbus"]} <= {0}


def test_a_silent_client_is_down_when_the_meter_watches_it() -> None:
    hands = Hands()
    meter = alive(hands)
    probe = Probe(meter)
    registered(probe, 1)
    hands.ms = HOUR
    assert meter.clients.status(1)[2] == 3, "no one watches"
    assert probe.write(et(51), 0, b"\x03") == 0
    hands.ms += 60_000
    assert meter.clients.status(1)[2] == 3
    hands.ms += 1
    assert meter.image.read(et(14))[6 + 4 * 36 + 2] == 4
    assert meter.image.read(3)[6] & 2
    assert probe.read(et(14), 6 + 4 * 36 + 14, 1) == b"\x10", "alarms are latched"
    assert meter.clients.status(1)[2] == 3
    (change,) = [c for c in meter.truth_document()["device_alarms"] if c["device"] == 4]
    assert (change["handle"], change["alarms"], change["stamp"]) == (1000, 16, "2024-06-14T05:01:30Z")


def test_mep_can_be_switched_off_and_resets_are_over_at_once() -> None:
    meter = alive(Hands(), optical_keys=None)
    probe = Probe(meter)
    assert probe.write(et(51), 0, b"\x09") == 0
    assert probe.read(et(51), 0, 1) == b"\x01"
    meter.image.write(et(51), 0, b"\x81")
    assert meter.receive(b"\x00\x01\x01", 0) == []


def test_where_procedures_answer() -> None:
    for firmware, answers in (("2.10", 8), ("3.10", et(59)), ("4.30", et(59))):
        meter = alive(Hands(), firmware)
        probe = Probe(meter)
        registered(probe, 3)
        assert (et(59) in meter.image) == (answers != 8)
        assert Caller(probe, answers).call(17, b"\x00\xe8\x03")[0] == 0
