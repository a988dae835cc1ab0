"""Task group and bounded queue: the same traces on both interpreters."""

import asyncio
import unittest

from gateway.core.tasks import Queue, TaskGroup


class Trace:
    def __init__(self):
        self.lines = []

    def __call__(self, line):
        self.lines.append(line)


async def worker(trace, name, gate, error=None):
    trace(name + " starts")
    try:
        await gate.wait()
        if error is not None:
            raise error
        trace(name + " ends")
    except asyncio.CancelledError:
        trace(name + " cancelled")
        raise


async def turn():
    """Let everything run that can run."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestTaskGroup(unittest.TestCase):
    def setUp(self):
        self.trace = Trace()

    def test_waits_for_all(self):
        async def main():
            one, two = asyncio.Event(), asyncio.Event()

            async def open_gates():
                two.set()
                await turn()
                one.set()

            async with TaskGroup() as group:
                group.spawn(worker(self.trace, "a", one))
                group.spawn(worker(self.trace, "b", two))
                group.spawn(open_gates())
            self.trace("over")

        asyncio.run(main())
        self.assertEqual(self.trace.lines, ["a starts", "b starts", "b ends", "a ends", "over"])

    def test_first_failure_cancels_siblings_and_is_raised(self):
        async def main():
            never, now = asyncio.Event(), asyncio.Event()
            now.set()
            try:
                async with TaskGroup() as group:
                    group.spawn(worker(self.trace, "a", never))
                    group.spawn(worker(self.trace, "b", now, ValueError("b failed")))
                    group.spawn(worker(self.trace, "c", never))
            except ValueError as error:
                self.trace(str(error))

        asyncio.run(main())
        # c had not started when b failed: it never does.
        self.assertEqual(self.trace.lines, ["a starts", "b starts", "a cancelled", "b failed"])

    def test_errors_after_the_first_are_dropped(self):
        async def fails_when_cancelled():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("second") from None

        async def fails():
            await turn()
            raise ValueError("first")

        async def main():
            with self.assertRaises(ValueError):
                async with TaskGroup() as group:
                    group.spawn(fails_when_cancelled())
                    group.spawn(fails())

        asyncio.run(main())

    def test_cancellation_goes_down_and_up(self):
        async def main():
            never = asyncio.Event()

            async def grouped():
                try:
                    async with TaskGroup() as group:
                        group.spawn(worker(self.trace, "a", never))
                        group.spawn(worker(self.trace, "b", never))
                except asyncio.CancelledError:
                    self.trace("group cancelled")
                    raise

            task = asyncio.create_task(grouped())
            await turn()
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                self.trace("over")

        asyncio.run(main())
        self.assertEqual(
            self.trace.lines,
            ["a starts", "b starts", "a cancelled", "b cancelled", "group cancelled", "over"],
        )

    def test_cancelled_group_waits_for_clean_up(self):
        async def main():
            cleaned = asyncio.Event()

            async def slow():
                try:
                    await asyncio.Event().wait()
                finally:
                    await cleaned.wait()
                    self.trace("clean")

            async def grouped():
                async with TaskGroup() as group:
                    group.spawn(slow())

            task = asyncio.create_task(grouped())
            await turn()
            task.cancel()
            await turn()
            self.assertFalse(task.done())
            cleaned.set()
            try:
                await task
            except asyncio.CancelledError:
                self.trace("over")

        asyncio.run(main())
        self.assertEqual(self.trace.lines, ["clean", "over"])

    def test_error_in_the_block_cancels_and_is_raised(self):
        async def main():
            with self.assertRaises(ValueError):
                async with TaskGroup() as group:
                    group.spawn(worker(self.trace, "a", asyncio.Event()))
                    await turn()
                    raise ValueError("block")

        asyncio.run(main())
        self.assertEqual(self.trace.lines, ["a starts", "a cancelled"])

    def test_one_task_cancelled_alone_leaves_the_others(self):
        async def main():
            gate = asyncio.Event()

            async def cancels(task):
                await turn()
                task.cancel()
                await turn()
                gate.set()

            async with TaskGroup() as group:
                alone = group.spawn(worker(self.trace, "a", asyncio.Event()))
                group.spawn(worker(self.trace, "b", gate))
                group.spawn(cancels(alone))

        asyncio.run(main())
        self.assertEqual(self.trace.lines, ["a starts", "b starts", "a cancelled", "b ends"])

    def test_tasks_may_spawn(self):
        async def main():
            async with TaskGroup() as group:

                async def parent():
                    now = asyncio.Event()
                    now.set()
                    group.spawn(worker(self.trace, "child", now))
                    self.trace("parent ends")

                group.spawn(parent())
            self.trace("over")

        asyncio.run(main())
        self.assertEqual(self.trace.lines, ["parent ends", "child starts", "child ends", "over"])


class TestQueue(unittest.TestCase):
    def test_first_in_first_out(self):
        async def main():
            queue = Queue(3)
            for item in (1, 2, 3):
                await queue.put(item)
            return [await queue.get(), await queue.get(), await queue.get()]

        got = asyncio.run(main())
        self.assertEqual(got, [1, 2, 3])

    def test_put_waits_for_room_and_get_for_items(self):
        trace = Trace()

        async def main():
            queue = Queue(2)

            async def produce():
                for item in range(5):
                    await queue.put(item)
                    trace("put %d" % item)

            async def consume():
                for _ in range(5):
                    trace("got %d" % await queue.get())

            async with TaskGroup() as group:
                group.spawn(produce())
                await turn()
                self.assertEqual(trace.lines, ["put 0", "put 1"])
                group.spawn(consume())
            self.assertEqual(len(queue), 0)
            self.assertEqual(queue.dropped, 0)

        asyncio.run(main())
        self.assertEqual(
            sorted(trace.lines), sorted(["put %d" % n for n in range(5)] + ["got %d" % n for n in range(5)])
        )
        self.assertEqual([line for line in trace.lines if line[0] == "g"], ["got %d" % n for n in range(5)])

    def test_push_drops_the_oldest_and_counts(self):
        async def main():
            queue = Queue(2)
            for item in range(5):
                queue.push(item)
            self.assertEqual(len(queue), 2)
            self.assertEqual(queue.dropped, 3)
            return [await queue.get(), await queue.get()]

        got = asyncio.run(main())
        self.assertEqual(got, [3, 4])

    def test_cancelled_get_takes_nothing_and_cancelled_put_puts_nothing(self):
        async def main():
            queue = Queue(1)
            task = asyncio.create_task(queue.get())
            await turn()
            task.cancel()
            await turn()
            await queue.put("first")
            task = asyncio.create_task(queue.put("second"))
            await turn()
            task.cancel()
            await turn()
            self.assertEqual(await queue.get(), "first")
            self.assertEqual(len(queue), 0)

        asyncio.run(main())

    def test_two_consumers_get_each_item_once(self):
        got = []

        async def main():
            queue = Queue(1)

            async def consume():
                for _ in range(3):
                    got.append(await queue.get())

            async with TaskGroup() as group:
                group.spawn(consume())
                group.spawn(consume())
                await turn()
                for item in range(6):
                    await queue.put(item)

        asyncio.run(main())
        self.assertEqual(sorted(got), [0, 1, 2, 3, 4, 5])
