"""A meter's task with a meter of real tables and the real outbox, under virtual time."""

import asyncio
import json
import unittest

from gateway.core import kinds, schedule
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.meter_settings import MeterSettings
from gateway.core.meter_task import MeterTask
from gateway.errors import (
    AuthenticationError,
    ConfigurationError,
    LinkError,
    NoAnswer,
    ProtocolError,
    Refused,
)
from gateway.transmission import frames, ids, model
from tests.fake_clock import FakeClock
from tests.fake_meter import FakeMeter, standard
from tests.virtual_test import Supervised

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/"
NOON = 1_719_835_200_000  # 2024-07-01T12:00:00Z
SECOND = 1000
MINUTE = 60 * SECOND
# What the meter of these tests holds; test_core_cursors.py is about the rest.
HELD = (model.REGISTERS, model.CLOCK, model.PRESENT)


def tables(serial=b"20401234567"):
    with open(VECTORS + "real_meter.json") as file:
        real = json.load(file)
    all_tables = standard()
    all_tables[23] = bytes.fromhex(real["BT23"]["data"])
    all_tables[28] = bytes.fromhex(real["BT28"]["data"])
    all_tables[2051] = serial + bytes(143 - len(serial))
    return all_tables


class Line:
    """What a meter hangs on: gives a fresh FakeMeter for each connection, and fails as told."""

    def __init__(self, meter_tables):
        self.tables = meter_tables
        self.opened = 0
        self.closed = 0
        self.absent = None  # an error that opening raises
        self.failures = []  # errors of the next reads, None for a good one
        self.fails = None  # (table, offset, count) -> error or None, for each read
        self.reads = []

    async def open_meter(self):
        if self.absent is not None:
            raise self.absent
        self.opened += 1
        return LineMeter(self)

    def cut(self, error):
        """All reads fail, and so does opening."""
        self.absent = error
        self.fails = lambda *_: error

    def mend(self):
        self.absent = self.fails = None


class LineMeter(FakeMeter):
    def __init__(self, line):
        FakeMeter.__init__(self, line.tables)
        self.line = line
        self.open = True

    async def read(self, table, offset=None, count=None):
        assert self.open, "read after close"
        self.line.reads.append(table)
        error = self.line.failures.pop(0) if self.line.failures else None
        if error is None and self.line.fails is not None:
            error = self.line.fails(table, offset, count)
        if error is not None:
            raise error
        return await FakeMeter.read(self, table, offset, count)

    async def close(self):
        assert self.open, "closed twice"
        self.open = False
        self.line.closed += 1


class Bench(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(NOON + 7 * MINUTE)
        self.clock.install()
        self.line = Line(tables())
        self.outbox = MemoryOutbox(100000)
        self.lines = []
        self.default = schedule.DEFAULT
        schedule.DEFAULT = [row for row in schedule.DEFAULT if row[0] in HELD]

    def tearDown(self):
        schedule.DEFAULT = self.default
        self.clock.uninstall()

    def log(self, level, text):
        self.lines.append((level, text))

    def warnings(self):
        return [text for level, text in self.lines if level == "warning"]

    def run_bench(self, script, **settings):
        """Runs `script(worker)` beside the supervised task, then cancels that."""

        async def main():
            self.task = MeterTask(
                MeterSettings("m1", self.line.open_meter, **settings), self.outbox, self.log
            )
            async with Supervised(self.log, ("m1", self.task.run)) as workers:
                await script(workers[0])

        asyncio.run(main())
        self.assertEqual(self.line.opened, self.line.closed)

    def frames(self, meter=None):
        """Decoded frames in the outbox, in the order in which they were made."""
        meter = meter or ids.meter_individual_id("NES", "20401234567")
        entries = []
        for cls in range(4):
            entry = self.outbox.following(meter, cls, -1)
            while entry is not None:
                entries.append((entry.place, entry))
                entry = self.outbox.following(meter, cls, entry.place)
        entries.sort(key=lambda one: one[0])
        return [frames.decode(entry.frame, meter) for _, entry in entries]

    def kinds(self, meter=None):
        return [frame.kind for frame in self.frames(meter)]


class TestReading(Bench):
    def test_identity_first_then_all_that_is_due_then_by_the_clock(self):
        async def script(worker):
            await self.clock.until(lambda: worker.state == "working")
            await self.clock.advance(5 * SECOND)
            self.assertEqual(self.kinds(), [model.IDENTITY, model.PRESENT, model.REGISTERS, model.CLOCK])
            await self.clock.advance(54 * MINUTE)

        self.run_bench(script, intervals_ms={model.PRESENT: MINUTE})
        all_frames = self.frames()
        times = [
            frame.items[0].time.seconds - NOON // 1000
            for frame in all_frames
            if frame.kind == model.REGISTERS
        ]
        self.assertEqual(times, [7 * 60, 15 * 60, 30 * 60, 45 * 60, 60 * 60])
        self.assertEqual(self.kinds().count(model.CLOCK), 2)
        self.assertEqual(self.kinds().count(model.PRESENT), 55)
        self.assertEqual(self.kinds().count(model.IDENTITY), 1)
        self.assertEqual(
            [text for _, text in self.lines],
            [
                "m1: working",
            ],
        )

    def test_values_arrive_as_the_meter_gave_them(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)

        self.run_bench(script)
        registers = [frame for frame in self.frames() if frame.kind == model.REGISTERS][0]
        energy = [value for value in registers.items[0].values if value.mantissa == 65845343]
        self.assertEqual(len(energy), 2)  # in total and in tier 1
        self.assertEqual((registers.epoch, registers.sequence), (self.outbox.epoch, 1))

    def test_intervals_and_meter_id_from_settings(self):
        meter_id = "01234567-89ab-cdef-0123-456789abcdef"

        async def script(worker):
            await self.clock.advance(MINUTE)

        self.run_bench(
            script,
            meter_id=meter_id,
            intervals_ms={model.PRESENT: 30 * SECOND, model.REGISTERS: 0, model.CLOCK: 0},
        )
        self.assertEqual(self.kinds(ids.parse_uuid(meter_id)), [model.IDENTITY] + 3 * [model.PRESENT])
        self.assertEqual(self.task.status()["meterId"], meter_id)

    def test_status_says_when_and_what(self):
        async def script(worker):
            await self.clock.advance(12 * SECOND)

        self.run_bench(script)
        status = self.task.status()
        self.assertEqual(status["identity"], "NES 20401234567")
        self.assertEqual(sorted(status["kinds"]), ["clock", "identity", "present", "registers"])
        self.assertEqual(
            status["kinds"]["present"],
            {
                "lastMs": NOON + 7 * MINUTE + 10 * SECOND,
                "ageMs": 2 * SECOND,
                "intervalMs": 10 * SECOND,
                "staleMs": None,
                "problem": "",
                "missed": 0,
            },
        )
        self.assertEqual(status["link"]["reads"], len(self.line.reads))
        self.assertEqual(status["answeredAtMs"], self.clock.monotonic - 2 * SECOND)
        self.assertIsNone(status["kinds"]["identity"]["staleMs"])
        self.assertTrue(abs(status["driftMs"]) > 60000)  # the meter lives in 2024, and this one as well


class TestBadAnswers(Bench):
    def test_one_now_and_then_stops_nothing(self):
        async def script(worker):
            await self.clock.until(lambda: worker.state == "working")
            for _ in range(60):
                self.line.failures = [ProtocolError("digest is wrong")]
                await self.clock.advance(10 * SECOND)

        self.run_bench(script)
        self.assertEqual(self.line.opened, 1)
        self.assertEqual(self.kinds().count(model.PRESENT), 61)
        self.assertEqual(self.task.bad_answers, 60)
        self.assertEqual(self.warnings(), [])

    def test_one_at_the_very_first_read(self):
        self.line.failures = [ProtocolError("digest is wrong")]

        async def script(worker):
            await self.clock.advance(SECOND)
            self.assertEqual(worker.state, "working")

        self.run_bench(script)
        self.assertEqual(self.warnings(), [])

    def test_wrong_key_is_told_once_and_recovers(self):
        self.line.fails = lambda *_: AuthenticationError("the meter refuses the key")

        async def script(worker):
            begin = self.clock.utc
            await self.clock.advance(10 * MINUTE)
            self.assertEqual((worker.state, worker.reason), ("key-refused", "the meter refuses the key"))
            self.assertTrue(worker.since_ms - begin < SECOND)
            self.assertTrue(worker.failures > 5)
            self.assertEqual(self.warnings(), ["m1: key-refused: the meter refuses the key"])
            self.line.mend()
            await self.clock.until(lambda: worker.state == "working", MINUTE)

        self.run_bench(script)
        self.assertEqual(self.kinds()[0], model.IDENTITY)

    def test_a_refused_table_is_a_problem_of_its_kind_only(self):
        self.line.fails = lambda table, *_: (
            Refused("BT28: insufficient rights", 3, 28) if table == 28 else None
        )

        async def script(worker):
            await self.clock.advance(10 * MINUTE)
            self.assertEqual(worker.state, "working")
            self.assertEqual(worker.reason, "present: BT28: insufficient rights")
            self.assertEqual(self.kinds(), [model.IDENTITY, model.REGISTERS, model.CLOCK, model.REGISTERS])
            self.line.mend()
            await self.clock.advance(10 * SECOND)
            self.assertEqual((worker.state, worker.reason), ("working", ""))
            self.assertEqual(self.kinds()[-1], model.PRESENT)

        self.run_bench(script)
        self.assertEqual(self.line.opened, 1)
        self.assertEqual(self.warnings(), ["m1: working: present: BT28: insufficient rights"])

    def test_nonsense_in_a_table_is_a_problem_of_its_kind_only(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            whole = self.line.tables[28]
            self.line.tables[28] = whole[:100]
            await self.clock.advance(30 * SECOND)
            self.assertEqual(worker.state, "working")
            self.assertIn("present: BT28", worker.reason)
            self.line.tables[28] = whole
            await self.clock.advance(10 * SECOND)
            self.assertEqual(worker.reason, "")

        self.run_bench(script)
        self.assertEqual(self.line.opened, 1)


class TestLink(Bench):
    def test_gone_and_back(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.line.cut(LinkError("/dev/ttyUSB0: unplugged"))
            await self.clock.advance(60 * MINUTE)
            self.assertEqual((worker.state, worker.reason), ("link-gone", "/dev/ttyUSB0: unplugged"))
            self.assertEqual(self.line.closed, 1)
            count = len(self.frames())
            self.line.mend()
            await self.clock.until(lambda: worker.state == "working", MINUTE)
            await self.clock.advance(5 * SECOND)
            # Each kind once, whatever was missed meanwhile; identity before all else.
            self.assertEqual(
                self.kinds()[count : count + 4],
                [model.IDENTITY, model.PRESENT, model.REGISTERS, model.CLOCK],
            )

        self.run_bench(script)
        self.assertEqual(self.line.opened, 2)
        self.assertEqual(self.warnings(), ["m1: link-gone: /dev/ttyUSB0: unplugged"])

    def test_what_was_cut_off_is_read_again_in_its_slot(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.line.fails = lambda table, *_: NoAnswer("silent") if table == 23 else None
            await self.clock.until(lambda: worker.state == "silent")
            self.line.mend()
            await self.clock.advance(2 * MINUTE)

        self.run_bench(script)
        times = [f.items[0].time.seconds - NOON // 1000 for f in self.frames() if f.kind == model.REGISTERS]
        self.assertEqual(len(times), 2)
        self.assertTrue(900 <= times[1] <= 960, times)

    def test_a_kind_that_breaks_the_link_each_time_leaves_the_others_alive(self):
        self.line.fails = lambda table, *_: LinkError("gone") if table == 23 else None

        async def script(worker):
            await self.clock.advance(20 * MINUTE)

        self.run_bench(script)
        self.assertTrue(self.kinds().count(model.PRESENT) > 100)
        self.assertIn(model.CLOCK, self.kinds())

    def test_silent_meter_backs_off(self):
        self.line.fails = lambda *_: NoAnswer("no answer on /dev/ttyUSB0")

        async def script(worker):
            await self.clock.advance(60 * MINUTE)

        self.run_bench(script)
        self.assertTrue(120 <= self.line.opened <= 250, self.line.opened)

    def test_cancelled_in_the_middle_of_a_read_closes_the_session(self):
        never = asyncio.Event()

        async def hangs(table, offset=None, count=None):
            await never.wait()

        async def open_hanging():
            meter = await Line.open_meter(self.line)
            meter.read = hangs
            return meter

        self.line.open_meter = open_hanging

        async def script(worker):
            await self.clock.advance(SECOND)
            self.assertEqual((self.line.opened, self.line.closed), (1, 0))

        self.run_bench(script)


class TestReplaced(Bench):
    def replace(self):
        self.line.tables = tables(b"99900000001")
        self.line.cut(LinkError("unplugged"))

    def test_stops_and_asks_and_goes_on_when_confirmed(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.replace()
            await self.clock.until(lambda: worker.state == "link-gone")
            before = len(self.frames())
            self.line.mend()
            await self.clock.advance(10 * MINUTE)
            self.assertEqual(worker.state, "replaced")
            self.assertIn("NES 99900000001", worker.reason)
            self.assertIn("NES 20401234567", worker.reason)
            self.assertEqual(len(self.frames()), before)
            self.assertEqual(self.line.opened, self.line.closed)
            self.assertEqual(len([text for text in self.warnings() if "replaced" in text]), 1)
            self.task.confirm()
            await self.clock.until(lambda: worker.state == "working", SECOND)
            await self.clock.advance(5 * SECOND)
            self.assertEqual(len(self.frames()), before)
            new = ids.meter_individual_id("NES", "99900000001")
            self.assertEqual(
                self.kinds(new)[:4], [model.IDENTITY, model.PRESENT, model.REGISTERS, model.CLOCK]
            )
            self.assertEqual(self.task.meter_id, new)

        self.run_bench(script)

    def test_the_old_one_comes_back(self):
        async def script(worker):
            await self.clock.advance(5 * SECOND)
            self.replace()
            await self.clock.until(lambda: worker.state == "link-gone")
            self.line.mend()
            await self.clock.until(lambda: worker.state == "replaced")
            self.line.tables = tables()
            await self.clock.until(lambda: worker.state == "working", 2 * MINUTE)

        self.run_bench(script)

    def test_noticed_after_a_restart_with_the_same_outbox(self):
        async def script(worker):
            await self.clock.until(lambda: worker.state == "working")

        self.run_bench(script)
        self.line = Line(tables(b"99900000001"))

        async def again(worker):
            await self.clock.until(lambda: worker.state == "replaced")

        self.run_bench(again)

    def test_configured_serial_decides_alone(self):
        async def script(worker):
            await self.clock.until(lambda: worker.state == "replaced")
            self.assertIn("serial number 111", worker.reason)
            with self.assertRaises(ConfigurationError):
                self.task.confirm()

        self.run_bench(script, serial="111")
        self.assertEqual(self.outbox.meters(), [])
        self.line = Line(tables())

        async def right(worker):
            await self.clock.until(lambda: worker.state == "working")

        self.run_bench(right, serial="20401234567")


class TestBigReadings(Bench):
    def setUp(self):
        Bench.setUp(self)
        self.read_kind = kinds.read_kind

    def tearDown(self):
        kinds.read_kind = self.read_kind
        Bench.tearDown(self)

    def test_more_than_a_frame_carries_goes_in_several(self):
        async def read_kind(kind, tables):
            values = [model.Value("p%d" % n, n * 1234567, -3, "Wh") for n in range(200)]
            return [model.Reading(kind, model.Timestamp(NOON // 1000 + n), values) for n in range(12)]

        kinds.read_kind = read_kind

        async def script(worker):
            await self.clock.advance(SECOND)
            self.assertEqual(worker.reason, "")

        self.run_bench(script, intervals_ms={model.PRESENT: 0, model.CLOCK: 0})
        parts = [frame for frame in self.frames() if frame.kind == model.REGISTERS]
        self.assertTrue(len(parts) > 1)
        times = [item.time.seconds for frame in parts for item in frame.items]
        self.assertEqual(times, [NOON // 1000 + n for n in range(12)])

    def test_one_that_no_frame_carries_is_a_problem_of_its_kind(self):
        async def read_kind(kind, tables):
            return [model.Reading(kind, model.Timestamp(0), [model.Value("text", None, text="x" * 9000)])]

        kinds.read_kind = read_kind

        async def script(worker):
            await self.clock.advance(SECOND)
            self.assertEqual(worker.state, "working")
            self.assertIn("clock: ", worker.reason)

        self.run_bench(script, intervals_ms={model.PRESENT: 0, model.REGISTERS: 0})
        self.assertEqual(self.kinds(), [model.IDENTITY])


class TestFullOutbox(Bench):
    def test_registers_wait_and_say_why(self):
        self.outbox = MemoryOutbox(1200)

        async def script(worker):
            await self.clock.advance(3 * 60 * MINUTE)
            self.assertEqual(worker.state, "working")
            self.assertIn("outbox is full", worker.reason)

        self.run_bench(script, intervals_ms={model.PRESENT: 5 * MINUTE})
        self.assertEqual(self.line.opened, 1)
