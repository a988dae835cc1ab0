"""The meter lives: power flows, registers count it, clocks run, and a seed fixes all of it."""

import struct
from datetime import UTC, datetime

import pytest

from gateway.simulator.calendar import LocalTime
from gateway.simulator.generations import generation
from gateway.simulator.household import Household
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.registers import WH_MS
from tests.mep_probe import KEY, Hands

HOUR = 3_600_000
# 2024-06-14, a Friday, 04:00:00 UTC: six o'clock in the summer time of central Europe.
START = int(datetime(2024, 6, 14, 4, tzinfo=UTC).timestamp()) * 1000


def alive(hands: Hands, **options: object) -> VirtualMeter:
    return VirtualMeter(KEY, **{"start_ms": START, "monotonic": hands, **options})


def words(data: bytes) -> list[int]:
    return list(struct.unpack("<%di" % (len(data) // 4), data))


def test_same_seed_same_life_whenever_it_is_read() -> None:
    """One meter is read every 7.3 s, the other only at the end: all tables are equal."""
    often, once = Hands(), Hands()
    busy, idle = alive(often, seed=5, solar_peak_w=6000), alive(once, seed=5, solar_peak_w=6000)
    for often.ms in range(0, 6 * HOUR, 73_000):
        busy.image.read(23)
        busy.image.read(28)
    often.ms = once.ms = 6 * HOUR + 1234
    for table in busy.image.tables():
        assert busy.image.read(table) == idle.image.read(table)


def test_other_seeds_are_other_meters() -> None:
    hands = Hands()
    one, two = alive(hands, seed=1), alive(hands, seed=2)
    hands.ms = HOUR
    assert one.serial != two.serial
    assert one.image.read(23) != two.image.read(23)
    assert one.image.read(28) != two.image.read(28)


def test_registers_are_the_integral_of_power() -> None:
    """Summed up ten seconds at a time from the present values, the energy is what the registers gained."""
    hands = Hands()
    meter = alive(hands, solar_peak_w=6000)
    before = meter.truth()["total"]
    watts = {8: 0, 9: 0, 10: 0, 11: 0}
    for hands.ms in range(0, 10 * HOUR, 10_000):
        values = dict(zip(meter.image.read(27), words(meter.image.read(28)), strict=True))
        for source in watts:
            watts[source] += values[source]
    hands.ms = 10 * HOUR
    after = meter.truth()["total"]
    names = ("forward", "reverse", "import_reactive", "export_reactive")
    for (source, total), name in zip(watts.items(), names, strict=True):
        assert total * 10_000 // WH_MS == after[name] - before[name], (source, name)
    assert after["forward"] > before["forward"] + 100
    assert after["reverse"] > before["reverse"] + 100


def test_table_shows_the_truth() -> None:
    hands = Hands()
    meter = alive(hands, firmware="4.30")
    hands.ms = 3 * HOUR
    truth = meter.truth()
    blocks = words(meter.image.read(23))
    names = ["forward", "reverse", "import_reactive", "export_reactive"]
    quadrants = ["q1", "q2", "q3", "q4", "va_q1", "va_q2", "va_q3", "va_q4"]
    for index, block in enumerate([truth["total"], *truth["tiers"]]):
        shown = blocks[19 * index : 19 * (index + 1)]
        assert shown[:4] == [block[name] for name in names]
        assert shown[11:] == [block[name] for name in quadrants]
        assert shown[6] in (shown[0] + shown[1], shown[0] + shown[1] + 1)
    values = dict(zip(meter.image.read(27), words(meter.image.read(28)), strict=True))
    assert values == {source: truth["present"][source] for source in values}


def test_tiers_share_the_total_by_the_local_hour() -> None:
    hands = Hands()
    meter = alive(hands)
    seen = set()
    for hour in range(24):
        hands.ms = hour * HOUR
        before = meter.truth()
        hands.ms = hour * HOUR + HOUR // 2
        after = meter.truth()
        local_hour = (6 + hour) % 24
        assert meter.image.read(55)[3] == local_hour
        tier = meter.image.read(55)[7] & 7
        grown = [i for i in range(4) if after["tiers"][i]["forward"] > before["tiers"][i]["forward"]]
        assert grown == [tier]
        seen.add(tier)
    assert seen == {0, 1, 2, 3}
    last = meter.truth()
    assert abs(sum(tier["forward"] for tier in last["tiers"]) - last["total"]["forward"]) <= 4


def test_truth_of_an_earlier_moment_can_be_had() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = 2 * HOUR
    then = meter.truth()
    meter.set_clock(meter.utc_ms() - 5 * HOUR)
    hands.ms = 9 * HOUR
    meter.image.read(23)
    assert meter.truth(START + 2 * HOUR - 1) != then
    again = meter.truth(START + 2 * HOUR)
    assert again["total"] == then["total"] and again["tiers"] == then["tiers"]


def test_clocks() -> None:
    hands = Hands()
    meter = alive(hands)
    hands.ms = 83_456
    assert meter.image.read(52) == bytes([24, 6, 14, 4, 1, 23, 0b00011101])
    assert meter.image.read(53) == bytes([2, 0, 0, 60, 60, 0])
    assert meter.image.read(55)[:7] == bytes([24, 6, 14, 6, 1, 0, 0b01101101])


def test_winter_and_an_offset_west_of_greenwich() -> None:
    winter = int(datetime(2024, 1, 7, 1, 30, tzinfo=UTC).timestamp()) * 1000
    meter = alive(Hands(), start_ms=winter, local=LocalTime(-210, 0))
    assert meter.image.read(53)[4:] == (-210).to_bytes(2, "little", signed=True)
    assert meter.image.read(55)[:7] == bytes([24, 1, 6, 22, 0, 0, 0b01100110])
    assert meter.image.read(52)[6] & 0x0F == 0


@pytest.mark.parametrize(
    ("month", "day", "hour", "summer"), [(3, 31, 0, 0), (3, 31, 1, 1), (10, 27, 0, 1), (10, 27, 1, 0)]
)
def test_summer_time_begins_and_ends(month: int, day: int, hour: int, summer: int) -> None:
    instant = int(datetime(2024, month, day, hour, tzinfo=UTC).timestamp()) * 1000
    meter = alive(Hands(), start_ms=instant)
    assert meter.image.read(55)[6] >> 3 & 1 == summer
    assert meter.image.read(55)[3] == hour + 1 + summer


def test_setting_the_clock_moves_no_register() -> None:
    hands = Hands()
    steady, set_back = alive(hands), alive(hands)
    hands.ms = HOUR
    set_back.set_clock(set_back.utc_ms() - 3 * HOUR)
    assert set_back.utc_ms() == START - 2 * HOUR
    hands.ms = 2 * HOUR
    assert set_back.utc_ms() == START - HOUR
    assert set_back.truth()["total"] == steady.truth()["total"]
    assert set_back.truth()["tiers"] != steady.truth()["tiers"]


def test_writing_the_offset_moves_local_time() -> None:
    meter = alive(Hands())
    meter.image.write(53, 3, bytes([0, 0, 0]))
    assert meter.image.after_write[53](True)
    assert meter.image.read(55)[3] == 4
    meter.image.write(53, 4, (15 * 60).to_bytes(2, "little"))
    assert not meter.image.after_write[53](True)
    assert meter.image.read(53) == bytes([2, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31), -1, 0])
@pytest.mark.parametrize("demands", [0, 2])
def test_injected_values_stand_until_taken_back(value: int, demands: int) -> None:
    meter = alive(Hands(), firmware=generation("3.80", demands=demands))
    plain = meter.image.read(23), meter.image.read(28)
    meter.inject(23, 1, value)
    meter.inject(28, 15, value)
    first = bool(demands)
    assert words(meter.image.read(23)[first:][:16])[1] == value
    assert words(meter.image.read(28))[demands + 7] == value
    meter.image.unpatch(23)
    meter.image.unpatch(28)
    assert (meter.image.read(23), meter.image.read(28)) == plain
    for table, source in ((23, 99), (28, 0), (21, 0)):
        with pytest.raises(ValueError):
            meter.inject(table, source, value)


def test_another_meter_in_the_same_place() -> None:
    hands = Hands()
    meter = alive(hands, serial="1000000000000001")
    maker = meter.image.read(1)
    hands.ms = 6 * HOUR
    meter.replace("1000000000000002")
    assert meter.image.read(2051)[:17] == b"1000000000000002\0"
    assert meter.image.read(1)[16:] != maker[16:]
    assert words(meter.image.read(23))[:4] == [0, 0, 0, 0]
    hands.ms = 8 * HOUR
    assert 0 < words(meter.image.read(23))[0] < 20_000


def test_demands_keep_the_highest_quarter_hour() -> None:
    hands = Hands()
    meter = alive(hands, firmware=generation("3.80", demands=2))
    highest, at, energy = 0, 0, meter.truth()["total"]["forward"]
    for quarter in range(1, 49):
        hands.ms = quarter * HOUR // 4
        now = meter.truth()["total"]["forward"]
        if 4 * (now - energy) > highest + 4:
            highest, at = 4 * (now - energy), START + hands.ms
        energy = now
    data = meter.image.read(23)
    record = data[1 + 60 :][:17]
    value = int.from_bytes(record[13:], "little")
    assert abs(value - highest) <= 4
    local = datetime.fromtimestamp(at / 1000 + 7200, UTC)
    assert record[:5] == bytes([local.year % 100, local.month, local.day, local.hour, local.minute])
    tiers = [data[1 + (i + 1) * 110 + 60 :][:17] for i in range(4)]
    assert max(int.from_bytes(tier[13:], "little") for tier in tiers) == value


def test_present_values_hang_together() -> None:
    hands = Hands()
    meter = alive(hands, firmware="4.30", solar_peak_w=9000)
    for hands.ms in range(0, 12 * HOUR, 17 * 60_000):
        v = meter.truth()["present"]
        assert v[8] - v[9] == sum(v[185 + p] - v[188 + p] for p in range(3))
        assert v[10] - v[11] == sum(v[239 + p] - v[242 + p] for p in range(3))
        assert 0 in (v[8], v[9])
        for phase, factor in enumerate((18, 21, 22)):
            active = v[185 + phase] - v[188 + phase]
            apparent = v[12 + phase] * v[15 + phase] // 1_000_000
            assert abs(active * 1000 // max(apparent, 1) - v[factor]) <= 40
            assert (v[factor] < 0) == (active < 0) or abs(v[factor]) < 2
            assert 995_000 <= v[factor] ** 2 + v[23 + phase] ** 2 <= 1_005_000
            assert 215_000 < v[15 + phase] < 240_000
            assert sum(v[220 + 4 * phase + q] for q in range(4)) == pytest.approx(apparent, abs=2)
        assert 49_900 < v[19] < 50_100


def test_transformer_ratios_and_units() -> None:
    """BT23 is what flows in the mains, in its unit; BT28 has both sides of the transformers."""
    hands = Hands()
    plain = alive(hands, firmware="4.30")
    behind = alive(hands, firmware=generation("4.30", ct_ratio=20, energy_unit=10))
    hands.ms = 5 * HOUR
    assert words(behind.image.read(23))[0] == words(plain.image.read(23))[0] // 10
    seen, true = behind.truth()["present"], plain.truth()["present"]
    assert seen[81] == true[8] and seen[8] == true[8] // 20
    assert seen[197] == true[12] and seen[12] == true[12] // 20
    assert seen[15] == true[15]


def test_power_is_steady_as_long_as_the_household_says() -> None:
    house = Household(seed=3, solar_peak_w=5000)
    slot = START // 10_000
    end = slot + 3 * 8640
    pieces = 0
    while slot < end:
        until = house.steady_until(slot)
        assert slot < until <= slot + 6
        assert len({house.power(inside) for inside in range(slot, until)}) == 1
        slot = until
        pieces += 1
    assert pieces > 3 * 1440
