"""Event logs, alarms, copies of registers, outages and M-Bus: the tables hold what the truth says.

They are decoded here by the guides alone.
"""

import struct
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.simulator.generations import GENERATIONS, generation
from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.profile import standard
from gateway.simulator.profile_tables import sets_of
from tests.mep_probe import KEY, Hands

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = int(datetime(2024, 3, 27, 10, 7, tzinfo=UTC).timestamp()) * 1000


def alive(hands: Hands, firmware: object = "4.30", **options: object) -> VirtualMeter:
    return VirtualMeter(KEY, firmware=firmware, monotonic=hands, **{"start_ms": START, **options})


def stamp(raw: bytes) -> str:
    year, *rest = raw
    return datetime(2000 + year, *rest).strftime("%Y-%m-%dT%H:%M:%S")


def ring(data: bytes, widths: str, capacity: int, size: int) -> tuple[list[bytes], int, int]:
    """Entries from the oldest on, last sequence number, flags."""
    header = struct.calcsize("<B" + widths)
    flags, valid, last, sequence, unread = struct.unpack_from("<B" + widths, data)
    assert len(data) == header + capacity * size
    assert unread <= capacity and valid <= capacity
    entries = [data[header + n * size :][:size] for n in range(capacity)]
    return [entries[(last - back) % capacity] for back in range(valid - 1, -1, -1)], sequence, flags


def history(meter: VirtualMeter, name: str) -> list[dict[str, object]]:
    dimensions = meter.image.read(71)
    assert dimensions[3] == 2
    entries = int.from_bytes(dimensions[5:7], "little")
    if name == "ET79":
        entries = int.from_bytes(meter.image.read(et(54))[80:82], "little")
    table = {"BT74": 74, "ET79": et(79)}[name]
    found, last, _ = ring(meter.image.read(table), "HHIH", entries, 14)
    sequence = last
    out: list[dict[str, object]] = []
    for entry in reversed(found):
        low, user, code = struct.unpack_from("<HHH", entry, 6)
        sequence -= (sequence - low) & 0xFFFF
        out.append(
            {
                "sequence": sequence,
                "stamp": stamp(entry[:6]) + "Z",
                "code": code & 0xFFF,
                "argument": entry[12:].hex(),
                "user": user,
            }
        )
    return out[::-1]


def check_events(meter: VirtualMeter) -> list[dict[str, object]]:
    told = meter.truth_document()["events"]["entries"]
    names = ["BT74", "ET79"] if et(79) in meter.image else ["BT74"]
    for name in names:
        fields = ("sequence", "stamp", "code", "argument", "user")
        held = [{key: event[key] for key in fields} for event in told if name in event["in_meter"]]
        assert history(meter, name) == held
    return told


def check_copies(meter: VirtualMeter) -> list[dict[str, object]]:
    told = meter.truth_document()["self_reads"]
    actual = meter.image.read(21) if 21 in meter.image else meter.image.read(20)
    sums, demands, tiers = actual[3], actual[4], actual[7]
    size = 2 * (demands > 0) + 6 + len(meter.image.read(23))
    found, last, _ = ring(meter.image.read(26), "BBHB", actual[2], size)
    held = [read for read in told if read["in_meter"]]
    assert len(found) == len(held)
    for back, (entry, read) in enumerate(zip(reversed(found), reversed(held), strict=True)):
        if demands:
            assert int.from_bytes(entry[:2], "little") == read["billing_definition"]
            entry = entry[2:]
        assert stamp(entry[:5] + bytes(1))[:16] == read["stamp"]
        assert entry[5] == read["season"]
        assert last - back == read["sequence"]
        data = entry[6:]
        assert data.hex() == read["data"]
        block = (len(data) - (demands > 0)) // (1 + tiers)
        blocks = [
            struct.unpack_from("<%di" % sums, data, (demands > 0) + n * block) for n in range(1 + tiers)
        ]
        assert [list(values) for values in blocks] == [read["totals"], *read["tiers"]]
    return told


def check_mbus(meter: VirtualMeter) -> list[dict[str, object]]:
    told = meter.truth_document()["mbus"]
    read = meter.image.read
    found: list[tuple[object, ...]] = []

    def telegram(entry: bytes) -> tuple[str, str]:
        length = entry[7]
        assert entry[6] == 0 and entry[7 + length] == 0
        return stamp(entry[:6]), entry[8 : 7 + length].hex()

    status, data = read(et(14)), read(et(16))
    for index in range(4):
        state = status[6 + 36 * index :][:36]
        used = int.from_bytes(state[4:6], "little")
        assert bool(status[5] >> index & 1) == (state[:2] != bytes(2))
        if used:
            entry = data[517 * index :][:517]
            assert used == 8 + entry[7]
            found.append(("ET16", int.from_bytes(state[:2], "little"), *telegram(entry)))
    if et(36) in meter.image:
        dimensions = read(et(36))
        number, size, _, capacity = struct.unpack_from("<4H", dimensions, 1 + 4 * 17)
        assert number == 45 | 1 << 11
        for entry in ring(read(et(45)), "BBHB", capacity, size)[0]:
            length, _, handle, execution, result = struct.unpack_from("<HHHBB", entry)
            assert execution in (0, 2) and result == 4
            assert length == 6 + 8 + entry[8 + 7]
            found.append(("ET45", handle, *telegram(entry[8:])))
        if et(74) in meter.image:
            more = int.from_bytes(read(et(54))[69:71], "little")
            for entry in ring(read(et(74)), "HHHH", more, size)[0]:
                found.append(("ET74", int.from_bytes(entry[4:6], "little"), *telegram(entry[8:])))
    held = [(r["in_meter"][0], r["handle"], r["stamp"], r["telegram"]) for r in told if r["in_meter"]]
    assert sorted(held) == sorted(found)
    return told


def check_alarms(meter: VirtualMeter) -> set[str]:
    held = meter.image.read(3)
    assert len(held) == 4 + meter.image.read(0)[17]
    standing: dict[str, tuple[int, int]] = {}
    for change in meter.truth_document()["alarms"]:
        if change["set"]:
            standing[change["name"]] = (change["byte"], change["bit"])
        else:
            del standing[change["name"]]
    bits = {(byte, bit) for byte in range(1, len(held)) for bit in range(8) if held[byte] >> bit & 1}
    assert bits == set(standing.values())
    return set(standing)


def check(meter: VirtualMeter) -> None:
    check_events(meter)
    check_copies(meter)
    check_mbus(meter)
    check_alarms(meter)
    if et(81) in meter.image:
        outages = meter.truth_document()["outages"]
        capacity = int.from_bytes(meter.image.read(et(36))[1 + 6 * 17 + 6 :][:2], "little")
        found = ring(meter.image.read(et(81)), "BBHB", capacity, 12)[0]
        assert len(found) == min(len(outages), capacity)


@pytest.mark.parametrize("firmware", GENERATIONS)
def test_a_busy_life_on_every_firmware(firmware: str) -> None:
    hands = Hands()
    g = generation(firmware)
    meter = alive(hands, firmware, life="busy", profile=standard(sets_of(g), 2), seed=4)
    for hands.ms in (DAY, 5 * DAY + HOUR):
        check(meter)
    told = meter.truth_document()
    assert told["outages"] and told["mbus"] and told["self_reads"] and told["alarms"]
    assert [e["sequence"] for e in told["events"]["entries"][:3]] != [0, 0, 0]


@pytest.mark.parametrize("demands", [0, 3])
def test_self_reads_at_the_ends_of_months_and_seasons(demands: int) -> None:
    hands = Hands()
    meter = alive(hands, generation("4.30", demands=demands), start_ms=START - 27 * DAY)
    hands.ms = 6 * DAY
    assert [r["stamp"] for r in check_copies(meter)] == ["2024-03-01T00:00"]
    # Nobody needs all of the month: its end comes sooner.
    meter.set_clock(meter.utc_ms() + 24 * DAY)
    hands.ms = 8 * DAY
    told = check_copies(meter)
    assert [(r["stamp"], r["season"]) for r in told] == [
        ("2024-03-01T00:00", 0),
        ("2024-04-01T00:00", 1),
    ]
    assert meter.image.read(24)[:6] == bytes([24, 3, 1, 0, 0, 0])
    assert meter.image.read(24)[6:].hex() == told[0]["data"]
    assert meter.image.read(55)[8] >> 4 == 1
    codes = [event["code"] for event in check_events(meter) if event["code"] < 2048]
    # Self-read and season, the clock with summer time, a self-read.
    assert codes == [21, 24, 3, 4, 22, 21]


def test_summer_time_begins_and_ends_when_bt53_and_bt54_say() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = 5 * DAY
    (change,) = [e for e in check_events(meter) if e["code"] == 22]
    assert change["stamp"] == "2024-03-31T01:00:00Z"
    calendar, dimensions = meter.image.read(54), meter.image.read(50)
    assert int.from_bytes(dimensions[7:9], "little") == len(calendar) == 808
    recurring = calendar[3 * dimensions[3] :][: 3 * dimensions[4]]
    dates = {
        recurring[at + 2] & 31: int.from_bytes(recurring[at : at + 2], "little")
        for at in range(0, len(recurring), 3)
    }
    # The last Sunday of March and of October, on or after the first.
    assert dates[1] == 3 | 6 << 4 | 0 << 8 | 1 << 11
    assert dates[2] == 10 | 6 << 4 | 0 << 8 | 1 << 11
    # On at two in the morning, off an hour of summer time later.
    assert meter.image.read(53)[:4] == bytes([2, 0, 0, 60])
    assert meter.image.read(et(4))[63:65] == b"\x3c\x00"


def test_events_are_shared_between_the_logs() -> None:
    hands = Hands()
    meter = alive(hands)
    meter.happen("log_event", 22)
    meter.happen("log_event", 43, 7)
    meter.happen("log_event", 47)
    meter.happen("log_event", 23)
    told = check_events(meter)
    assert [event["logs"] for event in told] == [["ET79"], ["BT74"], ["BT74", "ET79"], ["ET79"]]
    first = told[0]["sequence"]
    assert [event["sequence"] for event in told] == [first, first + 1, first + 2, first + 3]
    assert told[1]["argument"] == "0700"


@pytest.mark.parametrize(("firmware", "goes_on"), [("3.50", False), ("3.70", True)])
def test_resetting_a_log(firmware: str, goes_on: bool) -> None:
    meter = alive(Hands(), firmware)
    for code in range(40, 45):
        meter.happen("log_event", code)
    last = check_events(meter)[-1]["sequence"]
    meter.happen("reset_log", "BT74")
    told = check_events(meter)
    assert [event["code"] for event in told if event["in_meter"]] == [16]
    assert told[-1]["sequence"] == (last + 1 if goes_on else 1)
    assert meter.truth_document()["events"]["resets"][0]["log"] == "BT74"


def test_a_full_log_wraps_around() -> None:
    meter = alive(Hands(), replace(generation("4.30"), events=7))
    for argument in range(40):
        meter.happen("log_event", 43, argument)
    told = check_events(meter)
    assert [e["argument"] for e in told if e["in_meter"]] == ["%02x00" % n for n in range(33, 40)]
    assert meter.image.read(74)[0] >> 1 & 1


def test_power_outages() -> None:
    hands = Hands()
    meter = alive(hands)
    counted = struct.unpack("<2i", meter.image.read(23)[16:24])
    meter.at(meter.run_ms() + HOUR, "cut_power", 90)
    hands.ms = HOUR + 30 * SECOND
    assert meter.supply() == (False, 1)
    hands.ms = 2 * HOUR
    check(meter)
    assert struct.unpack("<2i", meter.image.read(23)[16:24]) == (counted[0] + 90, counted[1] + 1)
    codes = [(event["code"], event["stamp"]) for event in check_events(meter) if event["code"] < 3]
    assert codes == [(1, "2024-03-27T11:07:00Z"), (2, "2024-03-27T11:08:30Z")]
    # Local time.
    assert meter.image.read(et(81))[6:18] == bytes([24, 3, 27, 12, 7, 0, 24, 3, 27, 12, 8, 30])
    assert "power failure" in check_alarms(meter)


def test_alarms_are_set_and_cleared_with_their_events() -> None:
    hands = Hands()
    meter = alive(hands)
    meter.at(meter.run_ms() + 5 * MINUTE, "set_alarm", "magnetic tamper")
    meter.at(meter.run_ms() + 9 * MINUTE, "clear_alarm", "magnetic tamper")
    hands.ms = 6 * MINUTE
    assert meter.image.read(3)[7] >> 1 & 1
    hands.ms = 10 * MINUTE
    assert not meter.image.read(3)[7] >> 1 & 1
    code = 2048 + 8 * (7 - 4) + 1
    mine = [(e["argument"], e["stamp"]) for e in check_events(meter) if e["code"] == code]
    assert mine == [("0100", "2024-03-27T10:12:00Z"), ("0000", "2024-03-27T10:16:00Z")]
    with pytest.raises(ValueError, match="nonsense"):
        meter.happen("set_alarm", "nonsense")


def test_mbus_reads_follow_their_schedule() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = 20 * HOUR
    told = check_mbus(meter)
    water = [r for r in told if r["device"] == 0]
    heat = [r for r in told if r["device"] == 1]
    assert [r["stamp"] for r in water] == ["2024-03-28T00:05:00"]
    assert [r["stamp"][11:] for r in heat] == ["%02d:10:00" % (hour % 24) for hour in range(11, 31)]
    assert heat[0]["tables"] == ["ET16"] and heat[1]["tables"] == ["ET45"]
    access = [bytes.fromhex(r["telegram"])[8] for r in heat]
    assert access == [(access[0] + n) & 0xFF for n in range(20)]


def test_mbus_log_passes_on_to_its_extension() -> None:
    hands = Hands()
    meter = alive(hands, replace(generation("4.30"), recurring_reads=5, extended_reads=3))
    hands.ms = 20 * HOUR
    told = check_mbus(meter)
    held = [r["in_meter"] for r in told]
    assert sum(h == ["ET45"] for h in held) == 5
    assert sum(h == ["ET74"] for h in held) == 3
    assert held[-1] == ["ET74"] or held[-2] == ["ET74"]


def bcd(raw: bytes) -> int:
    return int(raw[::-1].hex())


def test_telegrams_count_up() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = 3 * DAY
    told = check_mbus(meter)
    volumes, energies = [], []
    for reading in told:
        raw = bytes.fromhex(reading["telegram"])
        records = raw[12:]
        assert raw[10:12] == bytes(2)
        if raw[7] == 7:
            assert records[:2] == b"\x0c\x78" and records[2:6] == raw[:4]
            assert records[6:8] == b"\x04\x13"
            volumes.append(int.from_bytes(records[8:12], "little"))
        else:
            assert raw[7] == 4 and records[:2] == b"\x0c\x06"
            energies.append(bcd(records[2:6]))
    assert len(volumes) == 3 and volumes == sorted(volumes) and 200 < volumes[1] - volumes[0] < 600
    assert energies == sorted(energies) and energies[0] < energies[-1]


def test_a_device_that_is_gone() -> None:
    hands = Hands()
    meter = alive(hands, profile=standard(4, 2))
    hands.ms = 2 * HOUR
    before = len(check_mbus(meter))
    meter.happen("lose_device", 1)
    hands.ms = 5 * HOUR
    assert len(check_mbus(meter)) == before
    state = meter.image.read(et(14))[6 + 36 :][:36]
    assert state[2] == 2 and int.from_bytes(state[14:16], "little") >> 4 & 1
    hourly = [i for i in meter.truth_document()["load_profile"]["intervals"] if i["data_set"] == 2]
    assert hourly[-1]["statuses"] == [0, 0, 10, 10] and hourly[-1]["values"][2:] == [0, 0]
    assert hourly[0]["statuses"] == [0, 0, 0, 0]
    assert "m-bus alarm" in check_alarms(meter)
    meter.happen("find_device", 1)
    hands.ms = 7 * HOUR
    assert len(check_mbus(meter)) > before


def test_same_seed_same_life_however_it_is_looked_at() -> None:
    often, once = Hands(), Hands()
    busy, idle = alive(often, life="busy", seed=9), alive(once, life="busy", seed=9)
    for often.ms in range(0, 2 * DAY, 977_000):
        busy.image.read(74)
    often.ms = once.ms = 2 * DAY
    assert busy.truth_document() == idle.truth_document()
    other = alive(once, life="busy", seed=10)
    assert other.truth_document()["events"] != idle.truth_document()["events"]


def test_registers_reconfigured_in_mid_life() -> None:
    hands = Hands()
    meter = alive(hands)
    meter.happen("self_read")
    version = meter.image.read(et(4))[116]
    meter.happen("configure_registers", 15, 2)
    assert meter.image.read(et(4))[116] == version + 1
    assert [read["in_meter"] for read in check_copies(meter)] == [False]
    meter.happen("self_read")
    first, second = check_copies(meter)
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert second["billing_definition"] == 1
    assert "dimension change" in check_alarms(meter)


def test_demand_reset() -> None:
    hands = Hands()
    meter = alive(hands, generation("4.30", demands=1))
    hands.ms = 3 * HOUR
    block = 1 + 4 * 19
    cumulative, continuous, maximum = struct.unpack_from("<3i", meter.image.read(23), block + 5)
    assert cumulative == 0 and continuous == maximum > 0
    meter.happen("reset_demands")
    held = meter.image.read(23)
    assert held[0] == 1
    assert struct.unpack_from("<3i", held, block + 5) == (maximum, maximum, 0)
    kept = meter.image.read(25)
    assert struct.unpack_from("<3i", kept, 6 + block + 5) == (0, maximum, maximum)
    assert check_events(meter)[-1]["code"] == 20


def test_alarms_of_devices_stay_until_they_are_cleared() -> None:
    hands = Hands()
    meter = alive(hands)

    def shown() -> tuple[int, int]:
        state = meter.image.read(et(14))[6 + 36 :][:36]
        return int.from_bytes(state[14:16], "little"), state[23]

    def told() -> tuple[int, int]:
        change = [c for c in meter.truth_document()["device_alarms"] if c["device"] == 1][-1]
        return change["alarms"], change["device_alarms"]

    hands.ms = HOUR
    assert shown() == told() == (0b1, 0)
    meter.happen("set_device_status", 1, 4)
    assert shown() == (0b1, 0)
    hands.ms = 2 * HOUR
    assert shown() == told() == (0b101, 4)
    assert bytes.fromhex(check_mbus(meter)[-1]["telegram"])[9] == 4
    meter.happen("set_device_status", 1, 0)
    hands.ms = 3 * HOUR
    assert shown() == told() == (0b101, 4)
    meter.happen("clear_device_alarms", 1)
    assert shown() == told() == (0, 0)
    meter.happen("lose_device", 1)
    hands.ms = 4 * HOUR
    assert shown() == told() == (0b10000, 0)
