"""The load profile: what the tables hold is what the truth says, decoded here by the guide alone."""

import struct
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from gateway.simulator.generations import GENERATIONS, generation
from gateway.simulator.image import et
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.profile import Configuration, DataSet, standard
from gateway.simulator.profile_tables import sets_of
from tests.mep_probe import KEY, Hands, Probe

MINUTE = 60_000
HOUR = 3_600_000
DAY = 24 * HOUR
# 2024-03-29, a Friday, 10:07 UTC; summer time begins on Sunday.
START = int(datetime(2024, 3, 29, 10, 7, tzinfo=UTC).timestamp()) * 1000
ELEMENT = {"2.0": 38, "2.10": 83, "2.12": 83, "3.0": 83, "3.10": 94}


def alive(hands: Hands, firmware: str = "4.30", **options: object) -> VirtualMeter:
    g = generation(firmware)
    profile = options.pop("profile", None) or standard(sets_of(g), 4)
    return VirtualMeter(KEY, firmware=g, start_ms=START, monotonic=hands, profile=profile, **options)


def stamp(raw: bytes) -> str:
    year, month, day, hour, minute = raw[:5]
    return datetime(2000 + year, month, day, hour, minute, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decoded(meter: VirtualMeter) -> list[dict[str, object]]:
    """Every interval in BT64 to BT67, by BT60 to BT63 and ET21."""
    read = meter.image.read
    actual, status, internal = read(61), read(63), read(et(21))
    count = len(status) // 13
    assert len(actual) == len(read(60)) == 7 + 6 * count
    assert len(internal) % count == 0
    width = len(internal) // count
    end_readings = int.from_bytes(actual[4:6], "little") >> 4 & 1
    found = []
    for n in range(count):
        blocks, intervals, channels, code = struct.unpack_from("<HHBB", actual, 7 + 6 * n)
        element = internal[width * n : width * (n + 1)]
        _, valid, last, sequence, _, valid_intervals = struct.unpack_from("<BHHIHH", status, 13 * n)
        table = 64 + n
        assert (table in meter.image) == (blocks > 0)
        if not blocks:
            continue
        size, header, valid_again, count_again, last_again, last_interval = struct.unpack_from(
            "<IHHHHH", element, 8
        )
        simple_at, simple_size, first, each, data_at = element[22:27]
        assert (valid_again, last_again, count_again) == (valid, last, valid_intervals)
        assert simple_at == 5 + 4 * channels * end_readings
        assert simple_size == (intervals + 7) // 8
        assert first == header == simple_at + simple_size
        assert data_at == channels // 2 + 1
        assert each == data_at + 4 * channels
        assert size == header + intervals * each
        assert element[28:30] == bytes([channels, code])
        assert meter.image.read_part(table, 0, 0)[0] == blocks * size
        minutes = 1440 if code == 84 else code
        for back in range(valid - 1, -1, -1):
            at = (last - back) % blocks * size
            block = meter.image.read_part(table, at, size)[1]
            processed = [i for i in range(intervals) if block[simple_at + i // 8] >> i % 8 & 1]
            ends = list(struct.unpack_from("<%di" % (channels * end_readings), block, 5))
            if not back:
                assert (len(processed), processed[-1]) == (valid_intervals, last_interval)
            for i in processed:
                one = block[first + i * each : first + (i + 1) * each]
                nibbles = [nibble for byte in one[:data_at] for nibble in (byte >> 4, byte & 15)]
                behind = timedelta(minutes=minutes * (processed[-1] - i))
                end = datetime.fromisoformat(stamp(block)) - behind
                found.append(
                    {
                        "data_set": n + 1,
                        "configuration": int.from_bytes(element[78:82], "little"),
                        "block": sequence - back,
                        "interval": i,
                        "end": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                        "values": list(struct.unpack("<%di" % channels, one[data_at:])),
                        "common": nibbles[0],
                        "statuses": nibbles[1 : 1 + channels],
                        "end_readings": ends if i == intervals - 1 else [],
                        "in_meter": True,
                    }
                )
    return found


def key(interval: dict[str, object]) -> tuple[object, ...]:
    return interval["data_set"], interval["block"], interval["interval"]


def check(meter: VirtualMeter) -> list[dict[str, object]]:
    """The tables hold what the truth says they hold; gives all of the truth."""
    told = meter.truth_document()["load_profile"]["intervals"]
    held = sorted((interval for interval in told if interval["in_meter"]), key=key)
    assert decoded(meter) == held
    return told


@pytest.mark.parametrize("firmware", GENERATIONS)
def test_tables_hold_the_truth_on_every_firmware(firmware: str) -> None:
    hands = Hands()
    known = sets_of(generation(firmware))
    profile = None
    if firmware == "2.0":
        # Without ET21.78 the configuration can't be told from the table.
        profile = standard(known)
    meter = alive(hands, firmware, profile=profile)
    hands.ms = 30 * HOUR
    assert len(meter.image.read(et(21))) == known * ELEMENT.get(firmware, 131)
    if firmware != "2.0":
        told = check(meter)
        assert {interval["data_set"] for interval in told} == set(range(1, known + 1))
        assert sum(interval["data_set"] == 1 for interval in told) == 120
    if et(42) in meter.image:
        interface, internal = meter.image.read(et(42)), meter.image.read(et(21))
        assert interface[23:27] == internal[8:12]
        assert interface[27:31] == meter.image.read(61)[7:9] + meter.image.read(61)[11:13]
        assert interface[31] == internal[25]


def test_intervals_are_snapshots_of_the_registers() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = 8 * MINUTE
    before = meter.truth()["total"]
    hands.ms = 3 * HOUR
    first = next(i for i in check(meter) if i["data_set"] == 1)
    assert first["end"] == "2024-03-29T10:15:00Z"
    assert first["interval"] == 40
    names = ("forward", "reverse", "import_reactive", "export_reactive")
    assert first["values"] == [before[name] for name in names]


def test_blocks_wrap_around() -> None:
    hands = Hands()
    small = Configuration((DataSet((0, 8, 15), 5, 12, 5), *(DataSet(),) * 3))
    meter = alive(hands, profile=small)
    hands.ms = 9 * HOUR + 11 * MINUTE
    told = check(meter)
    assert len(told) == (9 * 60 + 11 + 2) // 5
    assert [i["in_meter"] for i in told] == sorted(i["in_meter"] for i in told)
    assert not told[0]["in_meter"] and told[-1]["in_meter"]
    status = meter.image.read(63)
    assert status[0] >> 1 & 1, "unread blocks were overwritten"
    assert status[1:3] == b"\x05\x00"


def test_end_readings_scalars_and_divisors() -> None:
    hands = Hands()
    meter = alive(hands, profile=standard(4, 4, end_readings=True, scaling=True))
    hands.ms = 2 * DAY
    told = check(meter)
    control = meter.image.read(62)
    assert control[13:29] == b"\x01\x00" * 4 + b"\x0a\x00" * 4
    flags = int.from_bytes(meter.image.read(61)[4:6], "little")
    assert [bit for bit in range(16) if flags >> bit & 1] == [4, 6, 8, 10, 11]
    complete = meter.image.read_part(64, 0, 5 + 16)[1]
    last = next(i for i in told if i["data_set"] == 1 and i["interval"] == 95)
    assert complete == struct.pack("<5B4i", 24, 3, 30, 0, 0, *last["end_readings"])
    assert [reading // 10 for reading in last["end_readings"]] == last["values"]


def test_power_failure_marks_intervals_and_keeps_the_clock() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = HOUR
    before = meter.truth()["total"]
    meter.cut_power(40 * 60)
    probe = Probe(meter)
    assert meter.receive(bytes(20), 0) == []
    hands.ms = 2 * HOUR
    assert probe.read(52)[:5] == bytes([24, 3, 29, 12, 7])
    told = {i["end"]: i for i in check(meter) if i["data_set"] == 1}
    marked = [end for end, i in told.items() if i["common"] & 2]
    assert marked == ["2024-03-29T%s:00Z" % t for t in ("11:15", "11:30", "11:45", "12:00")]
    assert told["2024-03-29T11:30:00Z"]["values"][0] == before["forward"]
    quality = {i["end"]: i for i in check(meter) if i["data_set"] == 3}
    assert quality["2024-03-29T11:30:00Z"]["values"] == [0] * 16
    assert quality["2024-03-29T11:30:00Z"]["statuses"] == [4] * 16
    outage = meter.image.read(23)[16:24]
    assert struct.unpack("<2i", outage)[0] >= 2400


@pytest.mark.parametrize(
    ("minutes", "ends"),
    [
        # Within the interval in progress (11:00 to 11:15), over the next ones, over midnight.
        (3, {"11:15": (4, 2)}),
        (50, {"11:15": (4, 2), "12:00": (4, 2)}),
        (15 * 60, {"11:15": (4, 2), "02:15": (4, 2)}),
        # Back within the interval, into the one before, further.
        (-5, {"11:15": (8, 3)}),
        (-20, {"11:15": (8, 3)}),
        (-50, {"11:15": (8, 3), "10:30": (8, 3)}),
        (-15 * 60, {"11:15": (8, 3), "20:15": (8, 3)}),
    ],
)
def test_setting_the_clock(minutes: int, ends: dict[str, tuple[int, int]]) -> None:
    hands = Hands()
    meter = alive(hands, profile=standard(4))
    hands.ms = HOUR
    meter.set_clock(meter.utc_ms() + minutes * MINUTE)
    hands.ms = 6 * HOUR
    told = check(meter)
    marked = {i["end"][11:16]: (i["common"], i["statuses"][0]) for i in told if i["common"] & 12}
    assert marked == ends
    values = [i["values"][0] for i in told]
    assert values == sorted(values)


def test_summer_time_is_marked_and_moves_no_interval() -> None:
    hands = Hands()
    meter = alive(hands, profile=standard(4))
    hands.ms = 3 * DAY
    told = check(meter)
    assert len(told) == 3 * 96
    assert all((i["end"] > "2024-03-31T01:00:00Z") == bool(i["common"] & 1) for i in told)


def test_reconfiguration_in_mid_life() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = 5 * HOUR
    version, sequence = meter.image.read(et(4))[116], meter.mep.sequence
    old = int.from_bytes(meter.image.read(et(21))[78:82], "little")
    meter.configure_profile(Configuration((DataSet((0,), 1, 60, 200), *(DataSet(),) * 3)))
    assert meter.image.read(et(4))[116] == version + 1
    assert meter.mep.sequence == sequence + 25
    hands.ms = 7 * HOUR
    told = check(meter)
    new = int.from_bytes(meter.image.read(et(21))[78:82], "little")
    assert {i["configuration"] for i in told} == {old, new}
    assert sum(i["configuration"] == new for i in told) == 120
    assert 65 not in meter.image


def test_history_is_there_from_the_first_moment() -> None:
    meter = alive(Hands(), profile=standard(4), history_days=3)
    assert meter.utc_ms() == START
    assert len(check(meter)) == 3 * 96


def test_looking_often_or_once_gives_the_same() -> None:
    often, once = Hands(), Hands()
    busy, idle = alive(often, seed=3), alive(once, seed=3)
    for often.ms in range(0, 12 * HOUR, 211_000):
        busy.image.read(63)
    often.ms = once.ms = 12 * HOUR
    assert busy.truth_document() == idle.truth_document()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_tables_hold_the_truth(seed: int) -> None:
    """Power cuts and clock steps of every size, one upon the other, over blocks that wrap."""
    chance = Random(seed)
    hands = Hands()
    sets = (
        DataSet((0, 1, 15), 15, chance.choice((4, 24, 96)), 6),
        DataSet((0,), 5, chance.choice((12, 50, 288)), 5),
        DataSet((0, 8), 60, 24, 3),
        DataSet((0,), 1, 60, 9),
    )
    profile = Configuration(sets, bool(seed % 2), block_start=chance.choice((0, 0, 90)))
    meter = alive(hands, profile=profile, seed=seed)
    for _ in range(12):
        at = START + chance.randrange(20 * HOUR)
        if chance.random() < 0.4:
            meter.at(at, "cut_power", chance.choice((1, 20, 900, 5000)))
        else:
            most = chance.choice((30, 600, 7200, 90_000))
            meter.at(at, "move_clock", chance.randint(-most, most))
    for hands.ms in (7 * HOUR, 13 * HOUR, 21 * HOUR):
        told = check(meter)
    assert len({key(i) for i in told}) == len(told)
    for number in (1, 2, 3, 4):
        values = [i["values"][0] for i in told if i["data_set"] == number]
        assert values == sorted(values)
        blocks: dict[object, list[dict[str, object]]] = {}
        for i in told:
            if i["data_set"] == number:
                blocks.setdefault(i["block"], []).append(i)
        duration = timedelta(minutes=sets[number - 1].minutes)
        for block in blocks.values():
            origins = {datetime.fromisoformat(i["end"]) - i["interval"] * duration for i in block}
            assert len(origins) == 1


@pytest.mark.parametrize(
    ("rate", "statuses"), [(60, [4, 4, 4, 0]), (30, [4, 0, 4, 0]), (0, [0, 0, 0, 0]), (1440, [4, 4, 4, 4])]
)
def test_how_often_devices_are_asked_is_in_et34(rate: int, statuses: list[int]) -> None:
    hands = Hands()
    sets = (DataSet((0, 0x4001), 15, 96, 4), DataSet(), DataSet(), DataSet())
    meter = alive(hands, profile=Configuration(sets))
    assert Probe(meter).write(et(34), 4, rate.to_bytes(2, "little")) == 0
    # From 10:07 to the next midnight: the last interval of a day is read at any rate.
    hands.ms = 14 * HOUR
    told = check(meter)
    assert [interval["statuses"][1] for interval in told[:4]] == statuses
    assert told[-1]["end"] == "2024-03-30T00:00:00Z" and told[-1]["statuses"][1] == 0
