"""What the meter stores comes over step by step: nothing twice, nothing missed, whatever happens between."""

from gateway import clock
from gateway.c1219.readers.common import Step
from gateway.core import cursors, horizon, schedule
from gateway.core.memory_outbox import MemoryOutbox
from gateway.errors import LinkError, OutboxError, Refused
from gateway.transmission import frames, ids, model
from tests.portable.test_core_meter_task import MINUTE, NOON, SECOND, Bench

HOUR = 60 * MINUTE
METER = ids.meter_individual_id("NES", "20401234567")
QUARTER = 900


class Log:
    """What a meter stores of one kind: `times` (UTC seconds), read `size` at a time over `table`."""

    def __init__(self, kind, times, size=4, interval_s=None):
        self.kind = kind
        self.times = list(times)
        self.size = size
        self.interval_s = interval_s
        self.asked = []  # the cursor of each step

    async def read(self, tables, cursor):
        self.asked.append(cursor)
        await clock.sleep_ms(50)
        await tables.meter.read(1, 0, 4)
        at = int(str(cursor, "ascii")) if cursor else 0
        times = [time for time in self.times if time >= at][: self.size]
        items = [model.Event(self.kind, model.Timestamp(time), 7, n, b"") for n, time in enumerate(times)]
        after = times[-1] + 1 if times else at
        more = any(time >= after for time in self.times)
        return Step(items, str(after).encode(), more, self.interval_s)

    def since(self, utc_seconds):
        return str(utc_seconds).encode()


def backlog(count, until=NOON // 1000):
    """`count` quarters of an hour, the last at `until`."""
    return range(until - (count - 1) * QUARTER, until + 1, QUARTER)


class CursorBench(Bench):
    def setUp(self):
        Bench.setUp(self)
        self.outbox = MemoryOutbox(4000000)
        self.logs = {}
        self.reader = cursors.reader
        cursors.reader = lambda kind: (self.logs[kind].read, self.logs[kind].since)
        schedule.DEFAULT = (
            (model.LOAD_PROFILE, 15 * MINUTE, MINUTE, 50, 5),
            (model.SELF_READ, 24 * HOUR, 0, 80, 4),
            (model.EVENT, MINUTE, 0, 60, 3),
            (model.PRESENT, 10 * SECOND, 0, 30, 1),
            (model.ALARM, 3 * SECOND, 0, 10, 1),
        )

    def tearDown(self):
        cursors.reader = self.reader
        Bench.tearDown(self)

    def only(self, *kinds):
        """Settings that leave all other kinds out."""
        return {row[0]: 0 for row in schedule.DEFAULT if row[0] not in kinds}

    def of_kind(self, kind, meter=METER):
        """The frames of one kind, not decoded."""
        found = []
        cls = model.CLASS_OF_KIND[kind]
        entry = self.outbox.following(meter, cls, -1)
        while entry is not None:
            if frames.head(entry.frame)[1] == kind:
                found.append(entry.frame)
            entry = self.outbox.following(meter, cls, entry.place)
        return found

    def times(self, kind, meter=METER):
        return [
            item.time.seconds
            for frame in self.of_kind(kind, meter)
            for item in frames.decode(frame, meter).items
        ]


class TestSteps(CursorBench):
    def test_all_that_has_piled_up_once_and_oldest_first_then_what_comes(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(42))

        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.assertEqual(self.times(model.EVENT), list(backlog(42)))
            asked = len(log.asked)
            await self.clock.advance(2 * MINUTE)
            self.assertEqual(len(log.asked), asked + 2)  # nothing new: one look for each slot
            log.times.append(NOON // 1000 + 500)
            await self.clock.advance(MINUTE)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(self.times(model.EVENT), list(backlog(42)) + [NOON // 1000 + 500])
        self.assertIsNone(log.asked[0])

    def test_a_restart_goes_on_where_the_outbox_stands(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(10))

        async def script(worker):
            await self.clock.advance(5 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        log.times += [NOON // 1000 + 60]
        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(self.times(model.EVENT), log.times)

    def test_a_link_that_breaks_in_a_step_loses_and_repeats_nothing(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(60))

        breaks = [3, 9]

        def fails(table, *_):
            if breaks and len(log.asked) == breaks[0]:
                breaks.pop(0)
                return LinkError("gone")
            return None

        async def script(worker):
            self.line.fails = fails
            await self.clock.advance(15 * MINUTE)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(self.times(model.EVENT), log.times)
        self.assertEqual(self.line.opened, 3)

    def test_a_refusal_waits_and_is_asked_again_before_the_next_day(self):
        log = self.logs[model.SELF_READ] = Log(model.SELF_READ, backlog(3))
        refusal = Refused("BT26: busy", 6, 26)

        async def script(worker):
            self.line.fails = lambda table, *_: refusal if log.asked and table == 1 else None
            await self.clock.advance(MINUTE)
            self.assertIn("self-reads: BT26: busy", worker.reason)
            self.assertEqual(len(log.asked), 1)
            self.line.mend()
            await self.clock.advance(5 * MINUTE)
            self.assertEqual(worker.reason, "")

        self.run_bench(script, intervals_ms=self.only(model.SELF_READ))
        self.assertEqual(self.times(model.SELF_READ), log.times)

    def test_a_reader_that_says_more_and_stands_still_is_not_asked_for_ever(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, [])

        async def stuck(tables, cursor):
            log.asked.append(cursor)
            return Step([], b"here", True)

        log.read = stuck

        async def script(worker):
            await self.clock.advance(50 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(len(log.asked), 2)

    def test_what_is_not_new_writes_no_note(self):
        self.logs[model.ALARM] = Log(model.ALARM, backlog(3))
        written = []
        set_note = self.outbox.set_note

        def counted(name, value):
            written.append(name)
            set_note(name, value)

        self.outbox.set_note = counted

        async def script(worker):
            await self.clock.advance(MINUTE)

        self.run_bench(script, intervals_ms=self.only(model.ALARM))
        self.assertEqual(len([name for name in written if name.startswith(b"cursor/alarms/")]), 1)


class TestOrder(CursorBench):
    def test_present_values_and_alarms_overtake_a_backfill(self):
        takes_ms = 700

        async def slow(tables, cursor):
            await self.clock.sleep_ms(takes_ms)
            return await profile.read_(tables, cursor)

        profile = self.logs[model.LOAD_PROFILE] = Log(model.LOAD_PROFILE, backlog(400))
        profile.read_, profile.read = profile.read, slow
        alarms = self.logs[model.ALARM] = Log(model.ALARM, [])
        seen = []

        async def alarm(tables, cursor):
            seen.append(self.clock.utc)
            return Step([], b"")

        alarms.read = alarm

        async def script(worker):
            await self.clock.advance(40 * SECOND)
            self.assertTrue(20 < len(self.times(model.LOAD_PROFILE)) < 400)
            await self.clock.advance(60 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE, model.PRESENT, model.ALARM))
        self.assertEqual(self.times(model.LOAD_PROFILE), profile.times)
        gaps = [seen[n] - seen[n - 1] for n in range(1, len(seen))]
        self.assertTrue(max(gaps) <= 3 * SECOND + 2 * takes_ms, gaps)
        self.assertEqual(len(self.of_kind(model.PRESENT)), 11)

    def test_a_backfill_leaves_tokens_for_what_is_urgent(self):
        profile = self.logs[model.LOAD_PROFILE] = Log(model.LOAD_PROFILE, backlog(1000), size=1)
        waited = []

        async def script(worker):
            for _ in range(20):
                await self.clock.advance(MINUTE)
                waited.append(self.task.bucket.waited_ms)

        self.run_bench(script, intervals_ms=self.only(model.LOAD_PROFILE, model.PRESENT), reads_per_hour=1800)
        self.assertEqual(waited[-1], 0)
        self.assertEqual(len(self.of_kind(model.PRESENT)), 121)
        done = len(self.times(model.LOAD_PROFILE))
        self.assertTrue(366 < done < 460, done)  # present values take 2 of 1800 every 10 s
        self.assertEqual(self.times(model.LOAD_PROFILE), profile.times[:done])

    def test_reads_stay_within_the_budget(self):
        for kind in (model.LOAD_PROFILE, model.EVENT, model.ALARM, model.SELF_READ):
            self.logs[kind] = Log(kind, backlog(1500), size=2)

        async def script(worker):
            await self.clock.advance(20 * MINUTE)

        self.run_bench(script)
        # A third of an hour's, and what the bucket holds at the beginning.
        self.assertTrue(1000 < self.task.bucket.used <= 1500, self.task.bucket.used)
        self.assertEqual(self.task.bucket.waited_ms, 0)


class TestRhythm(CursorBench):
    def looks(self, intervals_ms=None, interval_s=None):
        """Minutes of the hour at which the load profile is looked at, from the second look on."""
        log = self.logs[model.LOAD_PROFILE] = Log(model.LOAD_PROFILE, [], interval_s=interval_s)
        minutes = []
        read = log.read

        async def noting(tables, cursor):
            minutes.append(self.clock.utc // MINUTE % 60)
            return await read(tables, cursor)

        log.read = noting

        async def script(worker):
            await self.clock.advance(60 * MINUTE)

        settings = self.only(model.LOAD_PROFILE)
        settings.update(intervals_ms or {})
        self.run_bench(script, intervals_ms=settings)
        return minutes[1:]

    def test_a_minute_after_each_quarter_of_an_hour_by_default(self):
        self.assertEqual(self.looks(), [16, 31, 46, 1])

    def test_the_meters_own_intervals(self):
        self.assertEqual(self.looks(interval_s=1800), [31, 1])
        self.assertEqual(self.looks(interval_s=600), [11, 21, 31, 41, 51, 1])

    def test_what_the_configuration_says_stands(self):
        self.assertEqual(self.looks({model.LOAD_PROFILE: 20 * MINUTE}, interval_s=600), [21, 41, 1])


class TestRewind(CursorBench):
    def test_what_the_receiver_lost_is_read_again_from_the_time_it_names(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(20))
        since = log.times[12]

        async def script(worker):
            await self.clock.advance(2 * SECOND)
            self.assertEqual(self.times(model.EVENT), log.times)
            cursors.rewind(self.outbox, METER, since)
            self.task.read_again()
            await self.clock.advance(2 * SECOND)
            self.assertEqual(self.times(model.EVENT), log.times + log.times[12:])
            await self.clock.advance(5 * MINUTE)
            self.assertEqual(self.times(model.EVENT), log.times + log.times[12:])

        self.run_bench(script, intervals_ms=self.only(model.EVENT))

    def test_a_backfill_that_is_not_there_yet_leaves_nothing_out(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(40))

        async def script(worker):
            await self.clock.until(lambda: len(log.asked) == 3)
            cursors.rewind(self.outbox, METER, log.times[35])
            self.task.read_again()
            await self.clock.advance(5 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(sorted(set(self.times(model.EVENT))), log.times)

    def test_the_task_notes_how_far_back_that_would_be(self):
        self.logs[model.EVENT] = Log(model.EVENT, backlog(20))

        async def script(worker):
            await self.clock.advance(30 * MINUTE)
            at = self.clock.utc // 1000
            self.assertEqual(horizon.go_back(self.outbox, METER, at), 0)  # nothing has its receipt
            count = len(self.of_kind(model.EVENT))
            self.outbox.forget(METER, 0, self.outbox.epoch, 0, count - 1)
            self.outbox.forget(METER, 2, self.outbox.epoch, 0, 0)  # who the meter is
            await self.clock.advance(31 * MINUTE)
            at = self.clock.utc // 1000
            self.assertTrue(at - 90000 < horizon.go_back(self.outbox, METER, at) <= at - 86400)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))

    def test_twice_lost_begins_at_the_earlier(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(40))

        async def script(worker):
            await self.clock.advance(5 * SECOND)
            cursors.rewind(self.outbox, METER, log.times[10])
            cursors.rewind(self.outbox, METER, log.times[30])
            self.task.read_again()
            await self.clock.advance(5 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(self.times(model.EVENT), log.times + log.times[10:])

    def test_lost_in_the_middle_of_a_step(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(8))
        read = log.read

        async def slow(tables, cursor):
            step = await read(tables, cursor)
            await self.clock.sleep_ms(1000)
            return step

        log.read = slow

        async def script(worker):
            await self.clock.until(lambda: len(log.asked) == 2)
            cursors.rewind(self.outbox, METER, 0)
            self.task.read_again()
            await self.clock.until(lambda: len(log.asked) == 4)
            cursors.rewind(self.outbox, METER, 0)
            self.task.read_again()
            await self.clock.advance(20 * SECOND)
            asked = len(log.asked)
            await self.clock.advance(30 * SECOND)
            self.assertEqual(len(log.asked), asked)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(self.times(model.EVENT)[-8:], log.times)

    def test_alarms_are_not_told_twice_while_the_outbox_offers_them_again(self):
        log = self.logs[model.ALARM] = Log(model.ALARM, backlog(5))

        async def script(worker):
            await self.clock.advance(4 * SECOND)
            self.assertEqual(self.times(model.ALARM), log.times)
            self.outbox.whole_since = lambda cls: NOON // 1000 if cls == model.EVENTS_CLASS else None
            first = NOON // 1000 - cursors.MARGIN_S  # from where on others are read that were read at noon
            cursors.rewind(self.outbox, METER, first)
            self.task.read_again()
            await self.clock.advance(4 * SECOND)
            self.assertEqual(self.times(model.ALARM), log.times)
            cursors.rewind(self.outbox, METER, first - 1)  # some may be gone
            self.task.read_again()
            await self.clock.advance(4 * SECOND)
            self.assertEqual(self.times(model.ALARM)[:5], log.times)
            self.assertTrue(len(self.times(model.ALARM)) > 5)

        self.run_bench(script, intervals_ms=self.only(model.ALARM))

    def test_a_kind_never_read_begins_with_the_oldest_anyway(self):
        cursors.rewind(self.outbox, METER, NOON // 1000)
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(5))

        async def script(worker):
            await self.clock.advance(2 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(self.times(model.EVENT), log.times)


class TestReplaced(CursorBench):
    def test_another_meter_is_read_from_its_oldest(self):
        meter_id = "01234567-89ab-cdef-0123-456789abcdef"
        meter = ids.parse_uuid(meter_id)
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(5))

        async def script(worker):
            await self.clock.advance(2 * SECOND)
            self.assertEqual(self.times(model.EVENT, meter), log.times)
            self.line.tables[2051] = b"99900000001" + bytes(132)
            self.line.cut(LinkError("unplugged"))
            await self.clock.until(lambda: worker.state == "link-gone")
            self.line.mend()
            await self.clock.until(lambda: worker.state == "replaced")
            self.task.confirm()
            await self.clock.advance(5 * SECOND)
            self.assertEqual(self.times(model.EVENT, meter), log.times + log.times)

        self.run_bench(script, meter_id=meter_id, intervals_ms=self.only(model.EVENT))

    def test_a_serial_number_changed_in_the_configuration(self):
        meter_id = "01234567-89ab-cdef-0123-456789abcdef"
        meter = ids.parse_uuid(meter_id)
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(5))

        async def script(worker):
            await self.clock.advance(2 * SECOND)

        settings = self.only(model.EVENT)
        self.run_bench(script, meter_id=meter_id, serial="20401234567", intervals_ms=settings)
        self.line.tables[2051] = b"99900000001" + bytes(132)
        self.run_bench(script, meter_id=meter_id, serial="99900000001", intervals_ms=settings)
        self.assertEqual(self.times(model.EVENT, meter), log.times + log.times)


class TestFullOutbox(CursorBench):
    def test_the_cursor_waits_and_the_meter_keeps_the_rest(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(200), size=10)
        self.outbox = MemoryOutbox(1500)

        async def script(worker):
            await self.clock.advance(10 * MINUTE)
            self.assertIn("events: the outbox is full", worker.reason)
            got = self.times(model.EVENT)
            self.assertEqual(got, log.times[: len(got)])
            self.assertTrue(0 < len(got) < 200)
            self.assertTrue(len(log.asked) < len(got) // 10 + 20, "asked in vain again and again")
            # The receiver takes what there is; then the rest comes, and nothing twice.
            while len(got) < 200:
                self.outbox.forget(METER, model.EVENTS_CLASS, self.outbox.epoch, 0, 1000)
                await self.clock.advance(MINUTE)
                new = self.times(model.EVENT)
                self.assertEqual(new, log.times[len(got) : len(got) + len(new)])
                got += new
            self.assertEqual(worker.reason, "")

        self.run_bench(script, intervals_ms=self.only(model.EVENT))

    def test_items_of_a_step_that_no_frame_takes_whole_go_in_several(self):
        log = self.logs[model.EVENT] = Log(model.EVENT, [])

        async def read(tables, cursor):
            events = [
                model.Event(model.EVENT, model.Timestamp(n), 3, n * 7919 % 65536, bytes(6), bytes(range(200)))
                for n in range(100)
            ]
            return Step(events if cursor is None else [], b"1")

        log.read = read

        async def script(worker):
            await self.clock.advance(SECOND)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertEqual(self.times(model.EVENT), list(range(100)))

    def test_a_cursor_never_moves_before_its_frames(self):
        """The order of the outbox's changes: a crash between two of them may repeat, never lose."""
        log = self.logs[model.EVENT] = Log(model.EVENT, backlog(12))
        changes = []
        append, set_note = self.outbox.append, self.outbox.set_note

        def appending(meter, cls, encode):
            entry = append(meter, cls, encode)
            changes.append(frames.decode(entry.frame, METER))
            return entry

        def noting(name, value):
            changes.append((name, value))
            set_note(name, value)

        self.outbox.append, self.outbox.set_note = appending, noting

        async def script(worker):
            await self.clock.advance(2 * SECOND)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        stored = 0
        for change in changes:
            if isinstance(change, tuple):
                if change[0].startswith(b"cursor/"):
                    self.assertEqual(change[1], str(stored + 1).encode())
            elif change.kind == model.EVENT:
                stored = change.items[-1].time.seconds
        self.assertEqual(stored, log.times[-1])


class TestIdleWindow(CursorBench):
    def test_the_port_is_left_alone_at_that_time_of_day(self):
        at = NOON // 1000 % 86400 + 10 * 60
        hour = []

        async def script(worker):
            await self.clock.until(lambda: worker.state == "idle")
            before = len(self.line.reads)
            self.assertEqual(self.line.closed, self.line.opened)  # a session would keep others out
            await self.clock.advance(59 * MINUTE)
            self.assertEqual(len(self.line.reads), before)
            await self.clock.advance(3 * MINUTE)
            self.assertEqual(worker.state, "working")
            hour.append(len(self.line.reads) - before)

        self.run_bench(script, intervals_ms=self.only(model.PRESENT), idle_s=(at, (at + 3600) % 86400))
        self.assertTrue(hour[0] > 5)

    def test_over_midnight(self):
        from gateway.core.meter_settings import MeterSettings

        settings = MeterSettings("m", None, idle_s=(23 * 3600, 3600))
        midnight = NOON + 12 * HOUR
        self.assertEqual(settings.idle_ms(midnight - HOUR - 1), 0)
        self.assertEqual(settings.idle_ms(midnight - HOUR), 2 * HOUR)
        self.assertEqual(settings.idle_ms(midnight + HOUR - 1), 1)
        self.assertEqual(settings.idle_ms(midnight + HOUR), 0)


class TestRelease(CursorBench):
    def test_the_session_is_given_back_between_cycles_not_within(self):
        happened = []
        open_meter = self.line.open_meter

        async def noting():
            meter = await open_meter()
            read = meter.read

            async def reading(*arguments):
                happened.append("read")
                return await read(*arguments)

            async def release():
                happened.append("release")

            meter.read, meter.release = reading, release
            return meter

        self.line.open_meter = noting
        self.logs[model.EVENT] = Log(model.EVENT, backlog(20))

        async def script(worker):
            await self.clock.advance(3 * MINUTE)

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        first = happened.index("release")
        self.assertTrue(first > 5)
        self.assertEqual([one for one in happened[first:] if one == "read"], ["read"] * 2)


class TestErrors(CursorBench):
    def test_storage_that_fails_is_told(self):
        self.logs[model.EVENT] = Log(model.EVENT, backlog(2))
        append = self.outbox.append

        def failing(meter, cls, encode):
            if cls == model.EVENTS_CLASS:
                raise OutboxError("no space left on the card")
            return append(meter, cls, encode)

        self.outbox.append = failing

        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.assertEqual(worker.reason, "events: no space left on the card")

        self.run_bench(script, intervals_ms=self.only(model.EVENT))
        self.assertIsNone(self.outbox.note(b"cursor/events/" + METER))
