"""Commands between a meter's owner and a task that carries them out, over a broker that fails."""

import asyncio
import unittest

from gateway import clock
from gateway.core.commands import Commands
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.sender import Sender
from gateway.errors import LinkError, OutboxError
from gateway.transmission import commands, model, topics
from gateway.transmission.commands import (
    BACKFILL,
    DONE,
    EXPIRED,
    FAILED,
    READ_NOW,
    REFUSED,
    REPEATED,
    RUNNING,
    SELF_TEST,
    SET_INTERVAL,
    UNKNOWN,
    Challenge,
    Command,
    command_key,
    decode,
    tag_of,
)
from tests.fake_clock import FakeClock
from tests.memory_broker import MemoryBroker
from tests.virtual_test import Supervised

METER = b"meter-number-one"
OTHER = b"meter-number-two"
KEY = command_key(b"what only owner and gateway know")
ALL = (READ_NOW, BACKFILL, SET_INTERVAL, SELF_TEST)
SECOND = 1000
MINUTE = 60 * SECOND
NOW = 1_719_835_200


class Settings:
    name = "kitchen"


class Task:
    """A meter's task that notes what it was asked to do. `hold`: cleared, it takes its time."""

    def __init__(self, outbox):
        self.settings = Settings()
        self.meter_id = METER
        self.asked = []
        self.error = None
        self.hold = asyncio.Event()
        self.hold.set()
        self._outbox = outbox

    async def _do(self, *what):
        self.asked.append(what)
        await self.hold.wait()
        if self.error is not None:
            raise self.error
        return True, "as asked"

    async def read_now(self, kind):
        return await self._do("read", kind)

    async def backfill(self, kind, from_s, to_s):
        return await self._do("backfill", kind, from_s, to_s)

    def set_interval(self, kind, interval_ms):
        self.asked.append(("interval", kind, interval_ms))
        return interval_ms != 1, "as asked" if interval_ms != 1 else "too often"

    async def self_test(self):
        return await self._do("test")


class Disk(MemoryOutbox):
    """Keeps what `sync` made durable in `durable`; `full`: it can't."""

    def __init__(self, notes=None):
        super().__init__(10000)
        self.full = False
        self.durable = dict(notes or {})
        self._named = set(self.durable)
        for name, value in self.durable.items():
            self.set_note(name, value)

    def set_note(self, name, value):
        super().set_note(name, value)
        self._named.add(name)

    async def sync(self):
        await asyncio.sleep(0)
        if self.full:
            raise OutboxError("no space left on the device")
        self.durable = {name: self.note(name) for name in self._named}


def command(number, action=SELF_TEST, arguments=(), issued=NOW, good_for=60, challenge=b""):
    return Command(number, issued, issued + good_for, challenge, action, arguments).encode(KEY, METER)


class Bench(unittest.TestCase):
    def setUp(self):
        self.clock = FakeClock(NOW * 1000)
        self.clock.install()
        self.outbox = Disk()
        self.lines = []
        self.updater = None

    def tearDown(self):
        self.clock.uninstall()

    def run_bench(self, script, actions=ALL, has_clock=True):
        async def main():
            self.broker = MemoryBroker()
            self.task = Task(self.outbox)
            sender = Sender(self.outbox, self.broker, "here", None)
            log = lambda level, text: self.lines.append(text)  # noqa: E731
            self.commands = Commands(self.outbox, {"kitchen": (KEY, actions)}, log, has_clock)
            self.commands.updater = self.updater
            self.commands.serve(sender, [self.task])
            async with Supervised(log, ("broker", sender.run), ("commands", self.commands.run)):
                await self.clock.advance(0)
                await script()

        asyncio.run(main())

    async def say(self, payload, meter=METER):
        """Deliver a message as from the owner; what was answered to it."""
        before = len(self.broker.published)
        self.broker.deliver(topics.command(meter), payload)
        await self.clock.advance(0)
        return self.answers(before)

    def answers(self, since=0):
        found = self.broker.published[since:]
        for topic, _, retain in found:
            self.assertEqual((topic, retain), (topics.result(METER), False))
        return [decode(METER, payload, KEY) for _, payload, _ in found]


def said(results):
    return [(one.number, one.status) for one in results]


class TestTaking(Bench):
    def test_each_action_is_carried_out_and_answered(self):
        async def script():
            for number, action, arguments in (
                (1, READ_NOW, (model.REGISTERS,)),
                (2, BACKFILL, (model.LOAD_PROFILE, 10, 20)),
                (3, SET_INTERVAL, (model.PRESENT, 60000)),
                (4, SELF_TEST, ()),
            ):
                payload = command(number, action, arguments)
                (result,) = await self.say(payload)
                self.assertEqual((result.number, result.tag), (number, tag_of(payload)))
                self.assertEqual((result.status, result.text, result.last), (DONE, "as asked", number))
            (result,) = await self.say(command(5, SET_INTERVAL, (model.PRESENT, 1)))
            self.assertEqual((result.status, result.text), (FAILED, "too often"))

        self.run_bench(script)
        self.assertEqual(
            self.task.asked,
            [
                ("read", model.REGISTERS),
                ("backfill", model.LOAD_PROFILE, 10, 20),
                ("interval", model.PRESENT, 60000),
                ("test",),
                ("interval", model.PRESENT, 1),
            ],
        )

    def test_what_goes_wrong_is_told_in_words(self):
        async def script():
            for error, text in (
                (LinkError("the cable is out"), "the cable is out"),
                (ValueError("x" * 2000), "ValueError: " + "x" * 228),
            ):
                self.task.error = error
                (result,) = await self.say(command(self.commands.taken + 1))
                self.assertEqual((result.status, result.text), (FAILED, text))

        self.run_bench(script)

    def test_the_number_is_durable_before_anything_is_done(self):
        async def script():
            self.outbox.full = True
            (result,) = await self.say(command(1))
            self.assertEqual((result.status, result.text), (FAILED, "no space left on the device"))
            self.assertEqual(self.task.asked, [])
            self.outbox.full = False
            self.assertEqual(said(await self.say(command(1))), [(1, FAILED)])
            self.assertEqual(said(await self.say(command(2))), [(2, DONE)])

        self.run_bench(script)
        self.assertEqual(self.task.asked, [("test",)])

    def test_what_is_not_allowed_is_refused(self):
        async def script():
            self.assertEqual(said(await self.say(command(1, READ_NOW, (2,)))), [(1, REFUSED)])
            self.assertEqual(said(await self.say(command(1))), [(1, DONE)])

        self.run_bench(script, actions=(SELF_TEST,))
        self.assertEqual(self.task.asked, [("test",)])

    def test_an_action_of_a_later_version(self):
        async def script():
            self.assertEqual(said(await self.say(command(1, 99, (1, "what")))), [(1, UNKNOWN)])

        self.run_bench(script)

    def test_a_meter_that_says_who_it_is_later(self):
        async def script():
            self.task.meter_id = OTHER
            self.commands.look()
            await self.clock.advance(0)
            self.assertEqual(await self.say(command(1)), [])
            payload = Command(1, NOW, NOW + 60, b"", SELF_TEST, ()).encode(KEY, OTHER)
            self.broker.deliver(topics.command(OTHER), payload)
            await self.clock.advance(0)
            topic, payload, _ = self.broker.published[-1]
            self.assertEqual(topic, topics.result(OTHER))
            self.assertEqual(decode(OTHER, payload, KEY).status, DONE)

        self.run_bench(script)
        self.assertEqual(self.task.asked, [("test",)])

    def test_a_meter_that_is_replaced_meanwhile(self):
        async def script():
            self.task.hold.clear()
            await self.say(command(7))
            self.task.meter_id = OTHER
            self.commands.look()
            self.task.hold.set()
            await self.clock.advance(0)
            self.assertEqual(self.broker.published, [], "nobody waits for it at the other meter")
            self.assertIsNone(self.outbox.note(b"command/" + OTHER))
            self.assertEqual(await self.say(command(8)), [])

        self.run_bench(script)
        self.assertEqual(self.task.asked, [("test",)])


class TestOnce(Bench):
    def test_a_command_that_comes_again_is_answered_again_and_not_carried_out_again(self):
        async def script():
            self.task.hold.clear()
            self.assertEqual(await self.say(command(1)), [])
            self.assertEqual(said(await self.say(command(1))), [(1, RUNNING)])
            self.task.hold.set()
            await self.clock.advance(0)
            self.assertEqual(said(await self.say(command(1))), [(1, DONE)])
            await self.clock.advance(10 * MINUTE)  # its time is over, its result is not
            self.assertEqual(said(await self.say(command(1))), [(1, DONE)])

        self.run_bench(script)
        self.assertEqual(self.task.asked, [("test",)])

    def test_another_command_under_a_used_number_learns_where_to_go_on(self):
        async def script():
            await self.say(command(7))
            (result,) = await self.say(command(7, READ_NOW, (2,)))
            self.assertEqual((result.number, result.status, result.last), (7, REPEATED, 7))
            (result,) = await self.say(command(3))
            self.assertEqual((result.number, result.status, result.last), (3, REPEATED, 7))

        self.run_bench(script)
        self.assertEqual(self.task.asked, [("test",)])

    def test_results_that_are_kept_are_bounded(self):
        async def script():
            for number in range(1, 41):
                await self.say(command(number))
                await self.clock.advance(SECOND)
            self.assertEqual(said(await self.say(command(40))), [(40, DONE)])
            self.assertEqual(said(await self.say(command(1))), [(1, REPEATED)])

        self.run_bench(script)
        self.assertTrue(len(self.outbox.note(b"command/" + METER)) < 300)

    def test_not_after_a_restart_either(self):
        async def first():
            await self.say(command(1))
            self.task.hold.clear()
            await self.say(command(2))

        self.run_bench(first)
        self.outbox = Disk(self.outbox.durable)

        async def second():
            self.assertEqual(said(self.answers()), [(2, FAILED)])
            self.assertEqual(said(await self.say(command(1))), [(1, DONE)])
            self.assertEqual(said(await self.say(command(2))), [(2, FAILED)])

        self.run_bench(second)
        self.assertEqual(self.task.asked, [])


class TestTime(Bench):
    def test_too_late_and_too_early_are_refused_with_a_way_out(self):
        async def script():
            for issued, good_for, word in (
                (NOW - 100, 60, "ended 40 s ago"),
                (NOW + 1000, 60, "1000 s before"),
                (NOW, 2 * commands.MAX_VALIDITY, "24 h"),
            ):
                result, challenge = await self.say(command(5, issued=issued, good_for=good_for))
                self.assertEqual((result.status, result.last), (EXPIRED, 0))
                self.assertIn(word, result.text)
                self.assertEqual(challenge.last, 0)
            answer = command(5, issued=NOW - 100, challenge=challenge.challenge)
            self.assertEqual(said(await self.say(answer)), [(5, DONE)])

        self.run_bench(script)
        self.assertEqual(self.task.asked, [("test",)])

    def test_without_a_clock_a_challenge_is_good_once_and_for_a_while(self):
        async def script():
            result, first = await self.say(command(1))
            self.assertEqual((result.status, type(first)), (EXPIRED, Challenge))
            result, again = await self.say(command(1))
            self.assertEqual(again.challenge, first.challenge, "somebody else could take ours away")
            done = command(2, challenge=first.challenge)
            self.assertEqual(said(await self.say(done)), [(2, DONE)])
            self.assertEqual(said(await self.say(done)), [(2, DONE)])  # told again, not done again
            result, second = await self.say(command(3, challenge=first.challenge))
            self.assertEqual(result.status, EXPIRED)
            self.assertNotEqual(second.challenge, first.challenge)
            await self.clock.advance(11 * MINUTE)
            result, third = await self.say(command(4, challenge=second.challenge))
            self.assertEqual(result.status, EXPIRED)
            self.assertNotEqual(third.challenge, second.challenge)

        self.run_bench(script, has_clock=False)
        self.assertEqual(self.task.asked, [("test",)])

    def test_the_time_counts_once_it_is_the_networks(self):
        """A board has its meter's time first, or none."""

        async def script():
            for by_meter, utc in ((True, 1000 * NOW), (False, 5000)):
                clock._time.by_meter, self.clock.utc = by_meter, utc
                result, challenge = await self.say(command(1))
                self.assertEqual((result.status, type(challenge)), (EXPIRED, Challenge))
                self.assertIn("no clock here that can be trusted", result.text)
            self.clock.utc = 1000 * NOW
            self.assertEqual(said(await self.say(command(1))), [(1, DONE)])

        before = clock._time.by_meter
        try:
            self.run_bench(script)
        finally:
            clock._time.by_meter = before

    def test_flash_that_was_set_back_is_told_no_old_command(self):
        answers = []

        async def first():
            _, challenge = await self.say(command(1))
            answers.append(command(2, challenge=challenge.challenge))
            await self.say(answers[0])

        self.run_bench(first, has_clock=False)
        self.outbox = Disk()

        async def second():
            result, _ = await self.say(answers[0])
            self.assertEqual(result.status, EXPIRED)

        self.run_bench(second, has_clock=False)
        self.assertEqual(self.task.asked, [])

    def test_an_outbox_that_was_set_back_takes_old_commands_only_in_their_time(self):
        async def first():
            self.assertEqual(said(await self.say(command(1))), [(1, DONE)])
            await self.clock.advance(60 * SECOND)

        self.run_bench(first)
        self.outbox = Disk()

        async def second():
            result, _ = await self.say(command(1))
            self.assertEqual(result.status, EXPIRED)

        self.run_bench(second)
        self.assertEqual(self.task.asked, [])


class TestConnection(Bench):
    def test_a_result_waits_for_a_connection(self):
        async def script():
            self.task.hold.clear()
            await self.say(command(1))
            self.broker.lose_connection()
            await self.clock.advance(0)
            self.task.hold.set()
            await self.clock.advance(MINUTE)
            self.assertEqual(said(self.answers()), [(1, DONE)])

        self.run_bench(script)

    def test_a_result_that_was_lost_with_the_connection_comes_again(self):
        async def script():
            self.broker.lose_next = 1
            self.assertEqual(await self.say(command(1)), [])
            await self.clock.advance(MINUTE)
            self.assertEqual(said(self.answers()), [(1, DONE)])

        self.run_bench(script)

    def test_a_result_that_nobody_got_is_published_after_a_restart_and_once_only(self):
        async def first():
            self.broker.mute = True
            await self.say(command(1))

        self.run_bench(first)
        self.outbox = Disk(self.outbox.durable)

        async def second():
            self.assertEqual(said(self.answers()), [(1, DONE)])
            await self.outbox.sync()

        self.run_bench(second)
        self.outbox = Disk(self.outbox.durable)

        async def third():
            self.assertEqual(self.answers(), [])

        self.run_bench(third)


class TestHostile(Bench):
    def test_what_the_owner_did_not_say_is_not_answered(self):
        good = command(9)
        flipped = bytearray(good)
        flipped[12] ^= 1
        foreign = command_key(b"of somebody else, who may publish")
        wrong = [
            b"",
            b"read now!",
            bytes(flipped),
            good[:-1],
            good + b"\0",
            good * 100,
            command(9, 99, (bytes(commands.MAX_COMMAND),)),
            bytes(8000),
            Command(9, NOW, NOW + 60, b"", SELF_TEST, ()).encode(foreign, METER),
            Command(9, NOW, NOW + 60, b"", SELF_TEST, ()).encode(KEY, OTHER),
            commands.Result(9, bytes(8), DONE, "", 9).encode(KEY, METER),
            Challenge(bytes(8), 9).encode(KEY, METER),
        ]

        async def script():
            for payload in wrong:
                self.assertEqual(await self.say(payload), [])
            self.assertEqual(said(await self.say(good)), [(9, DONE)])
            self.task.hold.clear()
            await self.say(command(10))
            self.assertEqual(self.commands.status(), {"taken": 2, "running": 1, "ignored": len(wrong)})

        self.run_bench(script)
        self.assertEqual(self.task.asked, [("test",)] * 2)

    def test_a_flood_costs_little_and_passes(self):
        forged = command(1)[:-1] + b"\0"

        foreign = Command(1, NOW, NOW + 60, b"", SELF_TEST, ()).encode(command_key(b"another"), METER)

        async def script():
            for _ in range(1000):
                self.broker.deliver(topics.command(METER), foreign)
            await self.clock.advance(0)
            self.assertEqual(self.looked, 0)
            for _ in range(1000):
                self.broker.deliver(topics.command(METER), forged)
            await self.clock.advance(0)
            self.assertEqual(self.looked, 16)
            for _ in range(100):
                await self.say(forged)
                await self.clock.advance(SECOND // 10)
            self.assertEqual(self.looked, 16 + 19)  # in 9.9 s
            await self.clock.advance(10 * SECOND)
            self.assertEqual(said(await self.say(command(1))), [(1, DONE)])

        self.looked = 0
        real = commands.decode

        def counting(*arguments):
            self.looked += 1
            return real(*arguments)

        commands.decode = counting
        try:
            self.run_bench(script)
        finally:
            commands.decode = real
        self.assertEqual(self.commands.ignored, 2100)

    def test_no_more_than_a_few_at_a_time(self):
        async def script():
            self.task.hold.clear()
            for number in range(1, 5):
                self.assertEqual(await self.say(command(number)), [])
            self.assertEqual(said(await self.say(command(5))), [(5, REFUSED)])
            self.task.hold.set()
            await self.clock.advance(0)
            self.assertEqual(said(await self.say(command(5))), [(5, DONE)])

        self.run_bench(script)
        self.assertEqual(len(self.task.asked), 5)
