"""Load profiles: what comes is what the meter recorded, once each, whatever happens while it is read."""

import unittest

from gateway.c1219.readers import load_profile, profile_in_turn
from gateway.c1219.tables import Tables
from gateway.errors import NoAnswer, Refused, TableError
from gateway.transmission import frames, registry
from gateway.transmission.model import LOAD_PROFILE
from tests.fake_meter import put, run
from tests.profile_meter import START, DataSet, ProfileMeter

# What Linux takes at once; a board takes less.
load_profile._READ_SIZE, load_profile._STEP_VALUES = 5632, 480

# BT22's sources and what the platform calls them.
NAMES = {
    0: "OBIS_1.8.0", 1: "OBIS_2.8.0", 2: "OBIS_3.8.0", 3: "OBIS_4.8.0", 4: "OSGP_power_outage_seconds",
    6: "OBIS_15.8.0", 12: "OBIS_31.7.0", 15: "OBIS_32.7.0", 18: "OBIS_33.7.0", 19: "OBIS_14.7.0",
    29: "OBIS_1.8.1", 62: "OBIS_1.8.4", 73: "OSGP_mep_counter_1", 81: "OSGP_primary_1.7.0",
    205: "OBIS_32.5.0", 244: "OBIS_64.7.0",
}  # fmt: skip


class Random:
    """The same numbers on both interpreters."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (self.state >> 33) % limit


VOID = (4, 8, 12, 15)
STATUSES = {
    1: "overflow", 2: "partial", 3: "long", 4: "skipped", 5: "test", 8: "undecrypted", 9: "clock_error",
    10: "device_missing", 11: "not_current", 12: "opted_out", 15: "placeholder",
}  # fmt: skip
COMMON = ("dst", "power_fail", "clock_forward", "clock_backward")


def name_of(prop):
    return registry.name(prop) if isinstance(prop, int) else prop


def fault_text(fault, names):
    if isinstance(fault, int) and fault >= 256:
        return "%s:%s" % (registry.fault_name((fault - 256) // 32), names[(fault - 256) % 32])
    return registry.fault_name(fault) if isinstance(fault, int) else fault


class Reader:
    """Reads like core does: keeps the cursor, and takes each reading once by its id."""

    def __init__(self, meter, cursor=None):
        self.meter = meter
        self.tables = Tables(meter)
        self.cursor = cursor
        self.found = {}  # (set, configuration, sequence, interval) -> (time, {property: value}, faults)
        self.order = []
        self.twice = 0
        self.frame = 0
        self.keeps = True
        self.read = load_profile.read

    def step(self):
        step = run(self.read(self.tables, self.cursor))
        for series in step.items if self.keeps else ():
            self.keep(series)
        if step.items and self.keeps:
            self.frame = max(self.frame, len(frames.encode(bytes(16), 1, 1, step.items)))
        assert len(step.cursor) < 256
        self.cursor = step.cursor
        return step

    def all(self, limit=10000):
        while self.step().more:
            limit -= 1
            assert limit
        return self

    def keep(self, series):
        assert series.kind == LOAD_PROFILE
        assert sorted(series.times) == list(series.times)
        names = [name_of(column.prop) for column in series.columns]
        assert len(set(names)) == len(names)
        faults = {}
        for row, fault in series.faults:
            faults.setdefault(row, []).append(fault_text(fault, names))
        row = 0
        for rows, number, configuration, sequence, first in series.origins:
            for index in range(first, first + rows):
                key = (number, configuration, sequence, index)
                values = {}
                for i in range(len(names)):
                    value = series.columns[i].mantissas[row]
                    if value is not None:
                        values[names[i]] = (value, series.columns[i].exponent)
                told = (series.times[row], values, sorted(faults.get(row, [])))
                if key in self.found:
                    self.twice += 1
                    assert self.found[key] == told
                self.found[key] = told
                self.order.append(key)
                row += 1
        assert row == len(series.times)


def expected(each, key):
    """What the reader must say of an interval, by the model alone."""
    time, values, common, statuses, ends = each.truth[key]
    told = {}
    faults = ["OSGP_interval_" + COMMON[bit] for bit in range(4) if common >> bit & 1]
    for i in range(each.channels):
        name = NAMES[each.sources[i]]
        exponent = 0 if registry.number(name) is None else registry.exponent(registry.number(name))
        if statuses[i] not in VOID:
            told[name] = (values[i], exponent)
        if ends:
            told["OSGP_end_reading_" + name[5:]] = (ends[i], exponent)
    if min(statuses) == max(statuses):
        if statuses[0]:
            faults.append("OSGP_interval_" + STATUSES[statuses[0]])
    else:
        for i in range(each.channels):
            if statuses[i]:
                faults.append("OSGP_interval_%s:%s" % (STATUSES[statuses[i]], NAMES[each.sources[i]]))
    return time, told, sorted(faults)


def fill(each, count, first=1000):
    for i in range(count):
        each.record([first + 7 * i + 1000 * c for c in range(each.channels)])


def simple(blocks=4, intervals=8, sources=(0, 1, 2, 3), **options):
    return DataSet(blocks, intervals, list(sources), **options)


class Case(unittest.TestCase):
    def same(self, reader, number, each, keys):
        """The reader has exactly these of the data set, as the model says."""
        found = [key[1:] for key in reader.order if key[0] == number]
        self.assertEqual(sorted(found), sorted(keys))
        for key in keys:
            self.assertEqual((key, reader.found[(number,) + key]), (key, expected(each, key)))


class TestWhatIsThere(Case):
    def test_a_day_of_four_channels(self):
        each = simple(30, 96)
        fill(each, 3 * 96 + 40)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter).all()
        self.same(reader, 1, each, each.held())
        # One Series a block, oldest first, and each interval once.
        self.assertEqual(reader.order, sorted(reader.order))

    def test_an_empty_profile_and_none_at_all(self):
        meter = ProfileMeter([simple(), None, None, None])
        step = Reader(meter).step()
        self.assertEqual((step.items, step.more, step.interval_s), ([], False, 900))
        step = Reader(ProfileMeter([None] * 4)).step()
        self.assertEqual((step.items, step.more, step.interval_s), ([], False, None))

    def test_old_firmware_has_one_data_set(self):
        for firmware in (0x3155, 0x2140, 0x2020, 0x35E0):
            each = simple()
            fill(each, 19)
            meter = ProfileMeter([each], firmware)
            reader = Reader(meter).all()
            keys = each.held()
            self.same(reader, 1, each, keys)
            self.assertFalse([r for r in meter.reads if r[0] == 61 and r[1] > 7])

    def test_a_meter_of_new_firmware_with_one_data_set(self):
        each = simple()
        fill(each, 19)
        meter = ProfileMeter([each])
        render = meter.render

        def short(table, offset, count):
            if table in (60, 61) and offset + count > 13:
                raise Refused("too far", 4, table)
            return render(table, offset, count)

        meter.render = short
        self.same(Reader(meter).all(), 1, each, each.held())

    def test_four_data_sets_of_different_shapes(self):
        sets = [
            simple(5, 96),
            simple(3, 24, (12,), minutes=60),
            simple(
                7,
                10,
                (15, 18, 19),
                minutes=1,
                configuration=4_000_000_000,
                sequence=0xFFFFFFFE,
                end_readings=True,
            ),
            simple(2, 3, sorted(NAMES), minutes=1440),
        ]
        counts = (200, 60, 55, 5)
        for i in range(4):
            fill(sets[i], counts[i])
        # End readings are one flag for all data sets; without room for them in the header there are none.
        reader = Reader(ProfileMeter(sets)).all()
        for i in range(4):
            self.same(reader, i + 1, sets[i], sets[i].held())

    def test_a_gap_in_the_data_sets(self):
        each = simple(sources=(0, 1, 2))
        fill(each, 20)
        reader = Reader(ProfileMeter([None, None, each, None])).all()
        self.same(reader, 3, each, each.held())

    def test_blocks_larger_than_a_step(self):
        for each, count in ((simple(3, 96, sorted(NAMES)), 150), (simple(2, 700, (0, 1)), 1100)):
            fill(each, count)
            meter = ProfileMeter([each, None, None, None])
            reader = Reader(meter).all()
            self.same(reader, 1, each, each.held())
            self.assertTrue(reader.frame < 8192)
            data = sum([r[2] for r in meter.reads if r[0] == 64])
            self.assertTrue(data <= count * each.interval_size + 6 * each.header)

    def test_every_status_and_flag(self):
        each = simple(3, 40, (0, 1, 2))
        for common in range(16):
            each.record([1, -2, 3], common)
        for status in STATUSES:
            each.record([1, -2, 3], 0, [status] * 3)
            each.record([1, -2, 3], 8, [0, status, 0])
            each.record([1, 2147483647, -2147483648], 1, [status, 0, 3])
        reader = Reader(ProfileMeter([each, None, None, None])).all()
        self.same(reader, 1, each, each.held())
        texts = [text for told in reader.found.values() for text in told[2]]
        for status in STATUSES.values():
            self.assertIn("OSGP_interval_" + status, texts)
            self.assertIn("OSGP_interval_%s:OBIS_2.8.0" % status, texts)

    def test_statuses_that_the_guide_does_not_know(self):
        each = simple(2, 8, (0,))
        for status in (6, 7, 13, 14):
            each.record([5], 0, [status])
        reader = Reader(ProfileMeter([each, None, None, None])).all()
        self.assertEqual(
            [told[2] for told in (reader.found[key] for key in reader.order)],
            [["OSGP_interval_status_%d" % status] for status in (6, 7, 13, 14)],
        )

    def test_intervals_that_were_not_processed(self):
        each = simple(3, 16)
        for i in range(40):
            each.record([i] * 4, processed=i % 5 not in (1, 2) and i != 15)
        self.same(Reader(ProfileMeter([each, None, None, None])).all(), 1, each, each.held())

    def test_a_block_that_ended_early(self):
        each = simple(5, 16)
        fill(each, 10)
        each.close()
        fill(each, 20)
        self.same(Reader(ProfileMeter([each, None, None, None])).all(), 1, each, each.held())

    def test_a_block_without_a_time_is_not_lost(self):
        each = simple(3, 4, (0,))
        fill(each, 8)
        each.ring[0][0:5] = b"\xff\xff\xff\xff\xff"
        reader = Reader(ProfileMeter([each, None, None, None])).all()
        for index in range(4):
            time, values, faults = reader.found[(1, 1, 0, index)]
            self.assertEqual((time, faults), (946684800 + 900 * (index + 1), ["OSGP_clock_untrusted"]))
            self.assertEqual(values["OBIS_1.8.0"][0], 1000 + 7 * index)


class TestTheCursor(Case):
    def test_each_new_interval_once_and_with_few_bytes(self):
        each = simple(4, 96)
        fill(each, 100)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter).all()
        for _ in range(110):
            each.record([5, 6, 7, 8])
            meter.reads.clear()
            asked, told = len(meter.reads), meter.bytes
            self.assertFalse(reader.step().more)
            self.assertTrue(len(meter.reads) - asked <= 6)
            self.assertTrue(meter.bytes - told <= 170, meter.bytes - told)
            # Nothing new: one short question.
            asked, told = len(meter.reads), meter.bytes
            reader.step()
            self.assertEqual((len(meter.reads) - asked, meter.bytes - told), (2, 14))
        self.same(reader, 1, each, sorted(each.truth))
        self.assertEqual(reader.twice, 0)

    def test_after_days_off_only_what_was_missed(self):
        each = simple(30, 96)
        fill(each, 500)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter).all()
        seen = len(reader.order)
        fill(each, 1000)
        later = Reader(meter, reader.cursor).all()
        self.assertEqual(len(later.order), 1000)
        self.assertEqual(seen, 500)
        self.assertEqual(later.order, sorted(later.order))

    def test_what_was_overwritten_meanwhile_is_left_out(self):
        each = simple(4, 8)
        fill(each, 20)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter).all()
        fill(each, 100)
        later = Reader(meter, reader.cursor).all()
        self.same(later, 1, each, each.held())

    def test_garbage_begins_with_the_oldest(self):
        each = simple(4, 8)
        fill(each, 30)
        meter = ProfileMeter([each, None, None, None])
        good = Reader(meter).all().cursor
        for cursor in (
            b"", b"\x01", b"\x02" + good[1:], good[:-1], good + b"\x00", b"\x01\x05" + good[2:],
            good[:6] + b"\xff\xff\xff\x7f" + good[10:], good[:2] + b"\x09" + good[3:], b"\xff" * 60,
            good[:10] + b"\xff\xff" + b"\x01\x00",
        ):  # fmt: skip
            self.same(Reader(meter, cursor).all(), 1, each, each.held())

    def test_since_a_time(self):
        each = simple(10, 8)
        fill(each, 60)
        meter = ProfileMeter([each, None, None, None])
        for nth in (1, 2, 8, 9, 33, 59, 60, 61, 70):
            for shift in (-899, 0):
                start = START + 900 * nth + shift
                reader = Reader(meter, load_profile.since(start)).all()
                wanted = [key for key in each.truth if each.truth[key][0] >= start]
                self.same(reader, 1, each, wanted)
                # And it goes on from there.
                fill(each, 3)
                reader.all()
                self.assertTrue(len(reader.order) >= 3)
                for key in each.held()[-3:]:
                    self.assertIn((1,) + key, reader.found)
        self.same(Reader(meter, load_profile.since(0)).all(), 1, each, each.held())

    def test_since_a_time_leaves_nothing_out_where_the_clock_was_wrong(self):
        for spoiled in range(1, 11):  # this block and the next, as if the meter had lost its time
            each = simple(12, 8, start=START + 864000)
            fill(each, 8 * spoiled)
            true = each.now
            each.now = START
            fill(each, 16)
            each.now = true + 14400
            fill(each, 8 * (10 - spoiled))
            start = START + 864000 + 900 * 12
            reader = Reader(ProfileMeter([each, None, None, None]), load_profile.since(start)).all()
            for key in each.held():
                if each.truth[key][0] >= start or spoiled > 2 and key[1] in (spoiled, spoiled + 1):
                    self.assertIn((1,) + key, reader.found)

    def test_since_a_time_in_several_data_sets(self):
        sets = [simple(10, 8), simple(30, 24, (12,), minutes=5), None, simple(4, 2, (0,), minutes=1440)]
        fill(sets[0], 70)
        fill(sets[1], 700)
        fill(sets[3], 3)
        start = START + 40000
        reader = Reader(ProfileMeter(sets), load_profile.since(start)).all()
        for i in (0, 1, 3):
            self.same(reader, i + 1, sets[i], [k for k in sets[i].held() if sets[i].truth[k][0] >= start])

    def test_a_log_that_was_reset(self):
        each = simple(6, 8, sequence=100)
        fill(each, 30)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter).all()
        for sequence in (0, 3):
            each.configure(configuration=1, sequence=sequence)  # the numbers begin anew, nothing else does
            fill(each, 20)
            later = Reader(meter, reader.cursor).all()
            self.same(later, 1, each, each.held())

    def test_the_sequence_of_blocks_wraps(self):
        each = simple(4, 4, sequence=0xFFFFFFFD)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter)
        for _ in range(40):
            fill(each, 1)
            reader.all()
        self.same(reader, 1, each, sorted(each.truth))
        self.assertEqual(reader.twice, 0)


class TestWhileItMoves(Case):
    def test_a_reconfiguration_at_every_exchange(self):
        for notice in (True, False):  # by ET04.116, or by ET21.78 alone
            at = 0
            while True:
                at += 1
                each = simple(6, 8)
                fill(each, 45)
                each.refuses = at % 2 == 0
                meter = ProfileMeter([each, None, None, None])
                left = [at]

                def tick(meter=meter, each=each, left=left, notice=notice):
                    left[0] -= 1
                    if left[0] == 0:
                        each.configure(sources=[12, 15], intervals=6, minutes=5)
                        fill(each, 20, -90)
                        if notice:
                            meter.reconfigured()

                meter.tick = tick
                reader = Reader(meter)
                reader.all(100)
                if left[0] <= 0:
                    reader.all(100)
                for key in reader.found:
                    if key[1] == 2:
                        self.assertEqual(reader.found[key], expected(each, key[1:]))
                    else:
                        self.assertEqual(set(reader.found[key][1]), {"OBIS_%d.8.0" % c for c in (1, 2, 3, 4)})
                        self.assertEqual(reader.found[key][0], each.truth[key[1:]][0])
                        values = reader.found[key][1]
                        self.assertEqual(
                            [values["OBIS_%d.8.0" % c][0] for c in (1, 2, 3, 4)], each.truth[key[1:]][1]
                        )
                if left[0] > 0:
                    break  # it came after the last exchange
                self.assertEqual(
                    sorted([key[1:] for key in reader.found if key[1] == 2]), sorted(each.held())
                )
            self.assertTrue(at > 10)

    def test_an_interval_ends_at_every_exchange(self):
        for sets in (1, 3):
            each = [simple(8, 6, (0, 1, 2)) for _ in range(sets)]
            for one in each:
                fill(one, 40)
            meter = ProfileMeter(each + [None] * (4 - sets))
            count = [0]

            def tick(each=each, count=count):
                count[0] += 1
                if count[0] % 2:
                    for one in each:
                        fill(one, 1, count[0])

            meter.tick = tick
            reader = Reader(meter)
            for _ in range(30):
                try:
                    reader.step()
                except TableError:
                    pass  # too fast for it, and it says so
            meter.tick = None
            reader.all()
            self.assertEqual(reader.twice, 0)
            for i in range(sets):
                for key in each[i].held():
                    self.assertIn((i + 1,) + key, reader.found)
            for key in reader.found:
                self.assertEqual(reader.found[key], expected(each[key[0] - 1], key[1:]))

    def test_a_block_overwritten_while_it_is_read(self):
        each = simple(3, 96)
        fill(each, 3 * 96)
        meter = ProfileMeter([each, None, None, None])

        def tick():
            if [r for r in meter.reads if r[0] == 64 and r[1] < each.block_size]:
                meter.tick = None
                fill(each, 97, 500000)

        meter.tick = tick
        reader = Reader(meter).all()
        for key in reader.found:
            self.assertEqual(reader.found[key], expected(each, key[1:]))
        for key in each.held():
            self.assertIn((1,) + key, reader.found)
        self.assertFalse([key for key in reader.found if key[2] == 0])

    def test_random_meters(self):
        rng = Random(20260131)
        for _ in range(10):
            self.live(rng)

    def live(self, rng):
        """A meter of random shape that records, skips, closes, is configured anew, and answers slowly."""
        sets = []
        for number in range(4):
            if number and rng.below(2):
                sets.append(None)
                continue
            sources = sorted(NAMES)[: 1 + rng.below(16)]
            sets.append(
                DataSet(
                    11 + rng.below(4), 2 + rng.below(30), sources, (1, 15, 60, 1440)[rng.below(4)],
                    rng.below(1 << 30), rng.below(1 << 30), START, rng.below(2) == 1,
                )
            )  # fmt: skip
        used = [each for each in sets if each is not None]
        meter = ProfileMeter(sets, max_read=(465, 48, 100, 0)[rng.below(4)])
        pace = [0]

        def advance(each, count):
            for _ in range(count):
                values = [rng.below(1 << 31) * 2 - (1 << 31) + rng.below(2) for _ in range(each.channels)]
                statuses = None
                if rng.below(4) == 0:
                    known = sorted(STATUSES)
                    statuses = [rng.below(3) and known[rng.below(len(known))] for _ in values]
                each.record(
                    values, rng.below(16) if rng.below(3) == 0 else 0, statuses,
                    rng.below(12) > 0, [value // 2 for value in values],
                )  # fmt: skip
                if rng.below(40) == 0:
                    each.close()

        def tick():
            if pace[0] and rng.below(pace[0]) == 0:
                advance(used[rng.below(len(used))], 1)

        for each in used:
            advance(each, rng.below(each.intervals * 3))
        meter.tick = tick
        reader = Reader(meter)
        for _ in range(12):
            pace[0] = (0, 8, 20)[rng.below(3)]
            try:
                reader.all(200)
            except TableError:
                pass  # too fast for it
            pace[0] = 0
            reader.all(200)
            each = used[rng.below(len(used))]
            advance(each, rng.below(each.intervals * 2))
            if rng.below(8) == 0:
                reader.all(200)  # else the old configuration's last intervals are gone for good
                each.configure(intervals=2 + rng.below(30))
                each.refuses = rng.below(2) == 1
                meter.reconfigured()
            if rng.below(4) == 0:
                reader = self.reconnect(reader)
        reader.all(200)
        self.assertEqual(reader.twice, 0)
        self.assertTrue(reader.frame <= frames.MAX_FRAME)
        for i in range(4):
            if sets[i] is not None:
                keys = [key[1:] for key in reader.found if key[0] == i + 1]
                self.assertTrue(sorted(keys) == sorted(sets[i].truth))
                for key in keys:
                    self.assertEqual(reader.found[(i + 1,) + key], expected(sets[i], key))

    def reconnect(self, reader):
        again = Reader(reader.meter, reader.cursor)
        again.found, again.order, again.frame = reader.found, reader.order, reader.frame
        return again


class TestTheLink(Case):
    def test_what_came_before_an_error_is_not_read_again(self):
        each = simple(8, 96)
        fill(each, 5 * 96)
        meter = ProfileMeter([each, None, None, None], max_read=48)
        reader = Reader(meter)
        rng = Random(7)
        lost = [0]

        def tick():
            if rng.below(10) == 0:
                lost[0] += 1
                raise NoAnswer("lost")

        meter.tick = tick
        more = True
        while more:
            try:
                more = reader.step().more
            except NoAnswer:
                pass
        self.same(reader, 1, each, each.held())
        self.assertTrue(lost[0] > 10)
        data = [r for r in meter.reads if r[0] == 64 and r[2] == 48]
        self.assertEqual(len(set(data)), len(data))

    def test_a_board_that_forgets_after_each_step_asks_once_how_it_is_configured(self):
        each = simple(12, 96)
        fill(each, 6 * 96)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter)
        reader.read = profile_in_turn.read
        steps = 0
        while reader.step().more:
            reader.tables.memo.pop("load_profile", None)
            steps += 1
            if steps == 3:
                asked = [r for r in meter.reads if r[0] == 62]
                held = list(reader.order)
                each.configure()
                meter.reconfigured()
                fill(each, 2 * 96)
        self.same(reader, 1, each, [key[1:] for key in held] + each.held())
        self.assertEqual(len(asked), 1)
        self.assertEqual([key for key in reader.tables.memo if key == "traced"], [])

    def test_backfill_is_few_large_exact_reads(self):
        each = simple(40, 96)
        fill(each, 30 * 96)
        meter = ProfileMeter([each, None, None, None])
        reader = Reader(meter)
        reader.keeps = False
        reader.all()
        data = sum([r[2] for r in meter.reads if r[0] == 64])
        self.assertTrue(data <= 30 * each.block_size, data)
        rest = [r for r in meter.reads if r[0] != 64]
        self.assertTrue(len(rest) <= 50, len(rest))
        self.assertTrue(meter.bytes - data < data // 25)
        self.assertTrue(max([r[2] for r in meter.reads]) <= 465)


class TestWhatIsNotBelieved(Case):
    def check(self, table, offset, data, recorded=30):
        each = simple()
        fill(each, recorded)
        meter = ProfileMeter([each, None, None, None])
        render = meter.render

        def spoiled(number, start, count):
            found = render(number, start, count)
            if number == table:
                found = bytearray(found)
                found[offset : offset + len(data)] = data
            return found

        meter.render = spoiled
        with self.assertRaises(TableError):
            Reader(meter).all()
        self.assertTrue(meter.bytes < 2000)

    def test_dimensions_beyond_reason(self):
        self.check(61, 7, b"\xff\xff\xff\xff")
        self.check(61, 7, b"\xff\xff")
        self.check(61, 9, b"\xff\xff")
        self.check(61, 9, b"\x09\x00")
        self.check(61, 11, b"\xff")
        self.check(61, 11, b"\x05")
        self.check(61, 12, b"\x00")
        self.check(2069, 8, b"\xff\xff\xff\xff")
        self.check(2069, 8, b"\x01\x00\x00\x00")
        self.check(2069, 12, b"\x04\x00")
        self.check(2069, 22, b"\x00")
        self.check(2069, 22, b"\xff")
        self.check(2069, 23, b"\x00")
        self.check(2069, 25, b"\x00")
        self.check(2069, 26, b"\x02")
        self.check(62, 12, b"\x10")
        self.check(63, 1, b"\x05\x00")
        self.check(63, 3, b"\x04\x00")

    def test_one_bad_data_set_does_not_keep_the_others(self):
        for table, at in ((61, 9), (63, 3)):
            sets = [simple(), simple(), None, None]
            for each in sets[:2]:
                fill(each, 30)
            meter = ProfileMeter(sets)
            render = meter.render
            meter.render = lambda number, start, count, render=render, table=table, at=at: (
                render(number, start, count)
                if number != table
                else render(number, start, count)[:at] + b"\xff\xff" + render(number, start, count)[at + 2 :]
            )
            reader = Reader(meter)
            with self.assertRaises(TableError):
                reader.all()
            self.same(reader, 2, sets[1], sets[1].held())

    def test_a_data_set_without_blocks_has_no_last_one(self):
        sets = [simple(), simple(), None, None]
        fill(sets[1], 30)
        sets[0].last = 0xFFFF
        reader = Reader(ProfileMeter(sets)).all()
        self.same(reader, 2, sets[1], sets[1].held())


class TestChannels(Case):
    def columns(self, each, meter=None):
        meter = meter or ProfileMeter([each, None, None, None])
        step = Reader(meter).step()
        return [(name_of(c.prop), c.exponent, c.unit, list(c.mantissas)) for c in step.items[0].columns]

    def test_the_same_source_twice(self):
        each = simple(2, 4, (0, 0, 255, 0))
        each.record([1, 2, 3, 4])
        self.assertEqual(
            self.columns(each),
            [
                ("OBIS_1.8.0", -3, "kWh", [1]),
                ("OBIS_1.8.0_2", -3, "kWh", [2]),
                ("OBIS_1.8.0_3", -3, "kWh", [4]),
            ],
        )

    def test_telegrams_of_old_firmware(self):
        each = simple(2, 4, (0, 255, 255))
        each.first_segment = 1
        each.record([1, 0x72040868, 3])
        self.assertEqual(
            self.columns(each, ProfileMeter([each], 0x2159)),
            [
                ("OBIS_1.8.0", -3, "kWh", [1]),
                ("OSGP_mbus_segment_1_raw", 0, None, [0x72040868]),
                ("OSGP_mbus_segment_2_raw", 0, None, [3]),
            ],
        )

    def test_scalars_and_divisors_are_undone(self):
        factors = [(1, 1), (1, 1000), (1000, 1), (3, 1), (2, 7), (0, 5)]
        each = simple(2, 4, (0, 1, 2, 3, 12, 15), factors=factors)
        each.record([5, 6, -7, 8, 9, 10])
        found = self.columns(each)
        self.assertEqual(
            found,
            [
                ("OBIS_1.8.0", -3, "kWh", [5]), ("OBIS_2.8.0", 0, "kWh", [6]),
                ("OBIS_3.8.0", -6, "kvarh", [-7]),
                ("OBIS_4.8.0_times_3", -3, "kvarh", [8]), ("OBIS_31.7.0", -4, "A", [9 * 35]),
                ("OBIS_32.7.0", -3, "V", [10]),
            ],
        )  # fmt: skip

    def test_scalars_that_are_not_in_use_have_their_place_and_no_effect(self):
        sets = [simple(2, 4, (0, 1), factors=[(1000, 3), (7, 2)]), simple(2, 4, (2,)), None, None]
        for each in sets[:2]:
            each.record([5] * each.channels)
        meter = ProfileMeter(sets)
        dimensions = meter.dimensions()
        render = meter.render
        actual = dimensions[:4] + bytes((dimensions[4] & 0x3F,)) + dimensions[5:]
        meter.render = lambda table, *part: actual if table == 61 else render(table, *part)
        found = [row[1] for row in Reader(meter).all().found.values()]
        self.assertEqual(found, [{"OBIS_1.8.0": (5, -3), "OBIS_2.8.0": (5, -3)}, {"OBIS_3.8.0": (5, -3)}])

    def test_present_demands_are_named_by_what_they_are_of(self):
        each = simple(2, 4, (88, 97, 95))
        each.record([1, 2, 3])
        meter = ProfileMeter([each, None, None, None])
        meter.tables[21] = bytes((3, 12, 0, 11, 2, 0, 1, 4, 0, 55))
        meter.tables[22] = bytes(range(11)) + b"\x08\x0a\x03"
        self.assertEqual(
            self.columns(each, meter),
            [
                ("OBIS_1.4.0", -3, "kW", [1]),
                ("OBIS_3.5.0", -3, "kvar", [2]),
                ("OSGP_present_demand_8", 0, None, [3]),
            ],
        )

    def test_mapped_sources(self):
        each = simple(2, 4, (112, 113, 114, 163))
        each.record([1, -2, 3, 4])
        meter = ProfileMeter(
            [each, None, None, None], mapped={112: 0x0003, 113: 0x4105, 114: 244, 163: 0x5001}
        )
        self.assertEqual(
            self.columns(each, meter),
            [
                ("OBIS_4.8.0", -3, "kvarh", [1]), ("OSGP_mbus_1_data_type_5_raw", 0, None, [-2]),
                ("OBIS_64.7.0", -3, "kvar", [3]), ("OSGP_source_20481", 0, None, [4]),
            ],
        )  # fmt: skip

    def listed(self, sets, listed, firmware=0x38C0):
        """Names and values of each data set where ET42 stands in for ET66."""
        meter = ProfileMeter(sets, firmware, listed=listed)
        meter.define()
        for each in sets:
            if each is not None:
                each.record(list(range(1, each.channels + 1)))
        return meter

    def test_sources_of_et42_where_et66_is_absent(self):
        meter = self.listed(
            [simple(2, 4, (0, 112)), None, simple(2, 4, (128, 2, 129)), simple(2, 4, (112,))],
            [(0, 0x4105), None, (0x4002, 2, 244), (0x0001,)],
        )
        reader = Reader(meter).all()
        self.assertEqual(
            sorted(
                sorted((name, value[0]) for name, value in row[1].items()) for row in reader.found.values()
            ),
            [
                [("OBIS_1.8.0", 1), ("OSGP_mbus_1_data_type_5_raw", 2)],
                [("OBIS_2.8.0", 1)],
                [("OBIS_3.8.0", 2), ("OBIS_64.7.0", 3), ("OSGP_mbus_0_data_type_2_raw", 1)],
            ],
        )
        # An old meter has one data set, and shorter parts before it.
        meter = self.listed([simple(2, 4, (0, 112))], [(0, 0x4001)], 0x3155)
        meter.define(37, 0, 0, 0, 0)
        rows = list(Reader(meter).all().found.values())
        self.assertEqual(sorted(rows[0][1]), ["OBIS_1.8.0", "OSGP_mbus_0_data_type_1_raw"])

    def test_end_readings_go_by_the_channel_of_the_same_source(self):
        each = DataSet(2, 1, (0, 113), end_readings=True)
        meter = self.listed([each], [(0, 0x0003)], 0x3155)
        rows = list(Reader(meter).all().found.values())
        self.assertEqual(
            sorted(rows[0][1]),
            ["OBIS_1.8.0", "OBIS_4.8.0", "OSGP_end_reading_1.8.0", "OSGP_end_reading_4.8.0"],
        )

    def test_sources_that_no_table_names_keep_their_number(self):
        for change in (
            lambda meter: meter.tables.pop(2090),
            lambda meter: put(meter.tables[2090], 41 + 21 + 9 + 2, 112, 2),  # as BT62 has it
        ):
            meter = self.listed([simple(2, 4, (0, 112))], [(0, 0x4001)], 0x3155)
            change(meter)
            rows = list(Reader(meter).all().found.values())
            self.assertEqual(sorted(rows[0][1]), ["OBIS_1.8.0", "OSGP_source_112"])
        meter = self.listed([None, simple(2, 4, (112,)), None, None], [None, (0x4001,), None, None])
        meter.tables[2102] = bytes(90)
        rows = list(Reader(meter).all().found.values())
        self.assertEqual(sorted(rows[0][1]), ["OSGP_source_112"])

    def test_an_et42_that_contradicts_bt61_is_not_believed(self):
        for at, value in ((29, 3), (2, 20), (0, 60)):
            meter = self.listed([simple(2, 4, (0, 112))], [(0, 0x4001)], 0x3155)
            meter.tables[2090][at] = value
            self.assertRaises(TableError, Reader(meter).all)

    def test_intervals_from_before_the_channels_changed(self):
        each = DataSet(3, 4, (0, 1), end_readings=True)
        fill(each, 3)
        first = each.now + 60 * each.minutes  # of the first interval with a source changed
        fill(each, 2)
        second = each.now + 60 * each.minutes
        each.record([1, 2], processed=False)
        fill(each, 4)
        for firmware, known in ((0x3780, True), (0x13C0, True), (0x3640, False), (0x13A0, False)):
            meter = ProfileMeter([each] + [None] * 3, firmware)
            meter.changed([(START, (7, 7), b""), (first, (2, 244), b""), (second, (0x4101, 88), b"\x0a")])
            reader = Reader(meter).all()
            names = {}
            for time, values, _ in reader.found.values():
                names[time] = sorted(name for name in values if "end" not in name)
                ends = sorted(name[17:] for name in values if "end" in name)
                if ends and known:
                    self.assertEqual(ends, [name[5:] for name in names[time]])
            self.assertEqual(sorted(names), sorted([row[0] for row in each.truth.values()]))
            for time in names:
                wanted = ["OBIS_1.8.0", "OBIS_2.8.0"]
                if known and time < first:
                    wanted = ["OBIS_3.8.0", "OBIS_64.7.0"]
                elif known and time < second:
                    wanted = ["OBIS_3.4.0", "OSGP_mbus_1_data_type_1_raw"]
                self.assertEqual(names[time], wanted)
            for key, row in reader.found.items():
                self.assertEqual(
                    sorted([v[0] for n, v in row[1].items() if "end" not in n]),
                    sorted(each.truth[key[1:]][1]),
                )

    def test_as_many_data_sets_as_the_meter_has_dimensions_for(self):
        for count in (2, 3, 4):
            sets = [simple(2, 4 + i, range(3 - i % 2), minutes=(15, 60, 5, 30)[i]) for i in range(count)]
            for i in range(count):
                fill(sets[i], 6 + i)
            reader = Reader(ProfileMeter(sets, 0x3640)).all()
            for i in range(count):
                self.same(reader, i + 1, sets[i], sets[i].held())

    def test_channels_changed_in_the_primary_data_set_alone(self):
        for firmware, at in ((0x3780, 109), (0x43C0, 110)):
            for primary in (0, 1):
                sets = [simple(2, 4, (0,)), simple(2, 4, (1,)), None, None]
                fill(sets[0], 2)
                fill(sets[1], 2)
                meter = ProfileMeter(sets, firmware)
                meter.changed([(sets[0].now + 1000000, (2,), b"")])
                meter.tables[2103] = bytes(at) + bytes((primary,)) + bytes(120)
                names = {1: {"OBIS_1.8.0"}, 2: {"OBIS_2.8.0"}}
                names[primary + 1] = {"OBIS_3.8.0"}
                for key, row in Reader(meter).all().found.items():
                    self.assertEqual(set(row[1]), names[key[0]])

    def test_changes_of_channels_beyond_belief(self):
        for size, count in ((44, 4), (513, 4)):
            each = simple(2, 4, (0,))
            each.record([1])
            meter = ProfileMeter([each] + [None] * 3)
            meter.changed([], size, count)
            self.assertRaises(TableError, Reader(meter).all)
        meter.changed([(START + 60 * i, (i,), b"") for i in range(17)], 143, 17)
        self.assertRaises(TableError, Reader(meter).all)
        # What changed is not what is recorded: the display, or other channels.
        meter.changed([(START + 60 * i, (3, i), b"") for i in range(17)], 143, 17)
        self.assertEqual(list(list(Reader(meter).all().found.values())[0][1]), ["OBIS_4.8.0"])

    def mbus(self, entries, *recorded):
        each = simple(2, 8, (112,))
        for raw in recorded:
            each.record([raw - (1 << 32) if raw >> 31 else raw])
        meter = ProfileMeter([each, None, None, None], mapped={112: 0x4002})
        meter.tables[2059] = bytes(25) + bytes((len(entries),)) + bytes(20)
        meter.tables[2105] = b"".join([bytes(entry) for entry in entries])
        return self.columns(each, meter)[0]

    def test_m_bus_values_by_their_data_type(self):
        base = 1 | 2 << 2
        name = "OSGP_mbus_0_data_type_2"
        for header, raw, exponent, unit, value in (
            ((0x0C, 0x13, 0), 0x12345678, -3, "m3", 12345678),
            ((0x0C, 0x93, 0x3A), 0x00000042, -3, "m3", 42),
            ((0x0B, 0x13, 0), 0x00345678, -3, "m3", 345678),
            ((0x0A, 0x5A, 0), 0x0000F123, -1, "degreeCelsius", -123),
            ((0x04, 0x06, 0), 0xFFFFFFFE, 0, "kWh", -2),
            ((0x04, 0x0E, 0), 5, 0, "MJ", 5),
            ((0x02, 0x59, 0), 0x0000FFFE, -2, "degreeCelsius", -2),
            ((0x42, 0x59, 0), 0x00000102, -2, "degreeCelsius", 258),
            ((0x01, 0x2B, 0), 0x000000FF, -3, "kW", -1),
            ((0x03, 0x3B, 0), 0x00800000, -3, "m3/h", -8388608),
            ((0x84, 0x10, 0x16), 7, 0, "m3", 7),
        ):  # fmt: skip
            self.assertEqual(self.mbus([(base,) + header], raw), (name, exponent, unit, [value]))

    def test_m_bus_values_without_a_clear_meaning_stay_raw(self):
        base = 1 | 2 << 2
        raw = "OSGP_mbus_0_data_type_2_raw"
        for entries in (
            [(base, 0x05, 0x13, 0)],  # a real number
            [(base, 0x06, 0x13, 0)],  # 48 bits
            [(base, 0x0D, 0x13, 0)],  # of variable length
            [(base, 0x04, 0x6D, 0)],  # a date
            [(base, 0x04, 0xFD, 0x17)],  # an extension of VIFs
            [(base, 0x84, 0x80, 0x80)],  # no end
            [(base, 0x04, 0x13, 0), (base, 0x04, 0x14, 0)],  # two meanings
            [(2 | 2 << 2, 0x04, 0x13, 0)],  # a MEP client's
            [(1 | 3 << 2, 0x04, 0x13, 0)],  # another data type
        ):
            self.assertEqual(self.mbus(entries, 0xFFFFFFFE), (raw, 0, None, [-2]))
        # Special or not, corrected or not, the unit is the same; an entry may go on in the next.
        self.assertEqual(
            self.mbus([(base, 0x0C, 0x13, 0), (base | 128, 0x0C, 0x93, 0x3A)], 0x10)[1:], (-3, "m3", [10])
        )
        self.assertEqual(self.mbus([(base, 0x84, 0x80, 0x40), (3, 0x14, 0, 0)], 9)[1:], (-2, "m3", [9]))

    def test_digits_that_are_none(self):
        name, _, _, values = self.mbus([(1 | 2 << 2, 0x0C, 0x13, 0)], 0x1234567A, 0x12)
        self.assertEqual(values, [None, 12])

    def test_zeros_in_place_of_what_a_device_was_not_asked_for(self):
        name = "OSGP_mbus_1_data_type_1_raw"
        for minutes, size, known in ((60, 22, True), (0, 22, False), (15, 22, False), (60, 0, False)):
            each = simple(2, 8, (0, 112))
            for value in (0, 0, 5, 0, 0):  # the fourth ends with the hour, and may be zero
                each.record([0, value])
            meter = ProfileMeter([each, None, None, None], mapped={112: 0x4101})
            meter.tables[2059] = bytes(13) + bytes((size,)) + bytes(30)
            meter.tables[2082] = bytes(22 + 4) + bytes((minutes, 0)) + bytes(60)
            reader = Reader(meter).all()
            rows = [reader.found[key] for key in reader.order]
            self.assertEqual([row[1]["OBIS_1.8.0"] for row in rows], [(0, -3)] * 5)
            found = [(row[1].get(name, (None,))[0], row[2]) for row in rows]
            void = (None, ["OSGP_interval_skipped:" + name]) if known else (0, [])
            self.assertEqual(found, [void, void, (5, []), (0, []), void])

    def test_an_interval_that_waits_for_a_device_is_not_yet_read(self):
        each = simple(3, 8, (0, 112))
        fill(each, 3)
        meter = ProfileMeter([each, None, None, None], mapped={112: 0x4001})
        for base in (0, 1):
            each.in_progress = each.next - 1 + base
            reader = Reader(meter).all()
            self.assertEqual(len(reader.order), 2)
            each.in_progress = 0
            reader.all()
            self.assertEqual(len(reader.order), 3)
            self.assertEqual(reader.twice, 0)

    def test_what_a_device_answered_after_an_error_is_read(self):
        each = simple(3, 8, (0, 112))
        fill(each, 2)
        each.record([5, 0], statuses=[0, 15])
        each.in_progress = 3
        meter = ProfileMeter([each, None, None, None], mapped={112: 0x4001})
        reader = Reader(meter)
        data = []

        def before_read(table, offset, count):
            if table == 64 and count > 20:
                data.append(table)
            elif table == 2069 and data:
                meter.before_read = None
                raise NoAnswer("lost")

        meter.before_read = before_read
        with self.assertRaises(NoAnswer):
            reader.all()
        each.next -= 1
        each.record([5, 77])
        each.in_progress = 0
        reader.all()
        self.assertEqual(reader.found[reader.order[-1]][1]["OSGP_mbus_0_data_type_1_raw"], (77, 0))
