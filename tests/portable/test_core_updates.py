"""An update by command: pieces over a broker that loses them; its end is told after the next start."""

import asyncio
import unittest

from gateway.core.updates import Updater
from gateway.errors import UpdateError
from gateway.transmission import commands, topics
from gateway.transmission.commands import (
    DONE,
    FAILED,
    MAX_PIECE,
    RUNNING,
    UPDATE,
    Piece,
    Want,
    command_key,
    decode,
    tag_of,
)
from tests.portable.test_core_commands import KEY, METER, MINUTE, SECOND, Bench, Disk, command, said

BUNDLE = bytes(range(256)) * 10
SIZE = len(BUNDLE)


class Head:
    version = "1.2.0"


class Taking:
    """In place of ota.Update. `refuses`: what the bundle is refused with, once it is there as a whole."""

    def __init__(self):
        self.data = b""
        self.note = None
        self.unneeded = False
        self.refuses = ""
        self.bundle = Head

    async def write(self, data):
        self.data += bytes(data)
        await asyncio.sleep(0)

    async def finish(self, note):
        if self.refuses:
            raise UpdateError(self.refuses)
        self.note = note


class FakeUpdater(Updater):
    def __init__(self):
        self.taking = []
        self.begun = []
        self.restarts = 0
        self.ends = 0
        self.told = (False, "the gateway was ended while it carried this out")
        self.refuses = ""
        self.unneeded = False

    def start(self, size, lower):
        self.begun.append((size, lower))
        update = Taking()
        update.refuses = self.refuses
        update.unneeded = self.unneeded
        self.taking.append(update)
        return update

    def outcome(self, note):
        self.asked_for = note
        return self.told

    def ended(self):
        self.ends += 1

    def restart(self):
        self.restarts += 1


class UpdateBench(Bench):
    actions = (UPDATE,)

    def setUp(self):
        super().setUp()
        self.updater = FakeUpdater()

    def life(self, script):
        self.run_bench(script, self.actions)

    def wants(self):
        """What was asked for so far: (tag, offset, count)."""
        found = []
        for topic, payload, *_ in self.broker.published:
            if topic == topics.result(METER):
                message = decode(METER, bytes(payload), KEY)
                if isinstance(message, Want):
                    found.append((message.tag, message.offset, message.count))
        return found

    async def give(self, payload):
        self.broker.deliver(topics.command(METER), payload)
        await self.clock.advance(0)

    async def serve(self, message, until=SIZE):
        """As the owner: answers what is asked for, up to this offset."""
        tag = tag_of(message)
        while True:
            _, offset, count = self.wants()[-1]
            if offset >= until:
                return
            await self.give(Piece(tag, offset, BUNDLE[offset : offset + count]).encode(KEY, METER))
            if self.wants()[-1][1] == offset:
                return

    def results(self):
        return said([one for one in self.answers() if isinstance(one, commands.Result)])


class TestUpdates(UpdateBench):
    def test_a_bundle_comes_and_its_end_is_told_after_the_trial(self):
        message = command(1, UPDATE, (SIZE, 0))

        async def first():
            await self.give(message)
            self.assertEqual(self.wants(), [(tag_of(message), 0, MAX_PIECE)])
            await self.serve(message)
            self.assertEqual(self.updater.begun, [(SIZE, False)])
            self.assertEqual(self.updater.taking[0].data, BUNDLE)
            self.assertEqual(self.updater.taking[0].note, tag_of(message).hex())
            self.assertEqual((self.updater.restarts, self.updater.ends), (1, 1))
            self.assertEqual(self.results(), [])
            await self.give(message)
            self.assertEqual(self.results(), [(1, RUNNING)])

        self.life(first)
        self.outbox = Disk(self.outbox.durable)
        self.updater.told = None

        async def second():
            await self.clock.advance(MINUTE)
            self.assertEqual(self.results(), [])
            self.updater.told = (True, "version 1.2.0 is what runs")
            self.commands.look()
            await self.clock.advance(0)
            self.assertEqual(self.updater.asked_for, tag_of(message).hex())
            self.assertEqual(self.results(), [(1, DONE)])
            self.commands.look()
            await self.clock.advance(MINUTE)
            self.assertEqual(self.results(), [(1, DONE)])
            await self.outbox.sync()

        self.life(second)
        self.outbox = Disk(self.outbox.durable)
        self.updater.told = (False, "another one")

        async def third():
            await self.give(message)
            self.assertEqual(self.results(), [(1, DONE)])

        self.life(third)

    def test_a_version_that_was_not_kept(self):
        message = command(1, UPDATE, (SIZE, 1))

        async def first():
            await self.give(message)
            await self.serve(message)
            self.assertEqual(self.updater.begun, [(SIZE, True)])

        self.life(first)
        self.outbox = Disk(self.outbox.durable)
        self.updater.told = (False, "version 1.2.0 was tried")

        async def second():
            self.assertEqual(self.results(), [(1, FAILED)])
            self.assertEqual(self.answers()[0].text, "version 1.2.0 was tried")

        self.life(second)

    def test_pieces_that_are_lost_doubled_forged_or_not_asked_for(self):
        message = command(1, UPDATE, (SIZE, 0))
        tag = tag_of(message)

        async def script():
            await self.give(message)
            first = Piece(tag, 0, BUNDLE[:MAX_PIECE])
            for wrong in (
                Piece(tag, 1, BUNDLE[1 : MAX_PIECE + 1]).encode(KEY, METER),
                Piece(bytes(8), 0, BUNDLE[:MAX_PIECE]).encode(KEY, METER),
                Piece(tag, 0, BUNDLE[: MAX_PIECE - 1]).encode(KEY, METER),
            ):
                await self.give(wrong)
            self.assertEqual(len(self.wants()), 1)
            await self.clock.advance(5 * SECOND)
            self.assertEqual(self.wants(), [(tag, 0, MAX_PIECE)] * 2)
            # Seals are checked a few times only for each that was asked for.
            for _ in range(10):
                await self.give(first.encode(command_key(b"somebody else"), METER))
            forged = first.encode(KEY, METER)
            for _ in range(4):
                await self.give(forged[:-1] + bytes((forged[-1] ^ 1,)))
            await self.give(forged)
            self.assertEqual(len(self.wants()), 2)
            await self.clock.advance(10 * SECOND)
            for _ in range(3):
                await self.give(forged)
            self.assertEqual(self.wants()[-1], (tag, MAX_PIECE, MAX_PIECE))
            await self.serve(message)
            self.assertEqual(self.updater.taking[0].data, BUNDLE)

        self.life(script)

    def test_over_connections_that_break(self):
        message = command(1, UPDATE, (SIZE, 0))

        async def script():
            await self.give(message)
            await self.serve(message, MAX_PIECE)
            self.broker.lose_connection()
            await self.clock.advance(2 * MINUTE)
            await self.serve(message)
            self.assertEqual(self.updater.taking[0].data, BUNDLE)
            self.assertEqual(self.updater.restarts, 1)

        self.life(script)

    def test_an_owner_who_goes_away(self):
        message = command(1, UPDATE, (SIZE, 0))

        async def script():
            await self.give(message)
            await self.serve(message, MAX_PIECE)
            await self.clock.advance(11 * MINUTE)
            self.assertEqual(self.results(), [(1, FAILED)])
            self.assertIn("1024 bytes had", self.answers()[-1].text)
            self.assertTrue(len(self.wants()) < 20)
            self.assertEqual((self.updater.restarts, self.updater.ends), (0, 1))
            # What comes now is no longer wanted.
            await self.give(Piece(tag_of(message), MAX_PIECE, bytes(MAX_PIECE)).encode(KEY, METER))

        self.life(script)

    def test_another_command_takes_its_place(self):
        first, second = command(1, UPDATE, (SIZE, 0)), command(2, UPDATE, (SIZE, 0))

        async def script():
            await self.give(first)
            await self.serve(first, MAX_PIECE)
            await self.give(second)
            await self.serve(second)
            self.assertEqual(self.results(), [(1, FAILED)])
            self.assertEqual(self.updater.taking[1].data, BUNDLE)
            self.assertEqual((self.updater.restarts, self.updater.ends), (1, 1))

        self.life(script)

    def test_a_bundle_that_is_refused(self):
        self.updater.refuses = "the bundle was damaged on its way"
        message = command(1, UPDATE, (SIZE, 0))

        async def script():
            await self.give(message)
            await self.serve(message)
            self.assertEqual(self.results(), [(1, FAILED)])
            self.assertIn("damaged on its way", self.answers()[-1].text)
            self.assertEqual((self.updater.restarts, self.updater.ends), (0, 1))

        self.life(script)

    def test_what_runs_already(self):
        self.updater.unneeded = True

        async def script():
            await self.give(command(1, UPDATE, (SIZE, 0)))
            self.assertEqual(self.results(), [(1, DONE)])
            self.assertEqual(self.updater.restarts, 0)

        self.life(script)

    def test_what_can_not_be_updated_says_so(self):
        self.updater = None

        async def script():
            await self.give(command(1, UPDATE, (SIZE, 0)))
            self.assertEqual(self.results(), [(1, FAILED)])
            self.assertIn("can't be updated", self.answers()[-1].text)

        self.life(script)


if __name__ == "__main__":
    unittest.main()
