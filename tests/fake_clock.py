"""Virtual time for tests of asyncio code: gateway.clock jumps to the next sleeper when nothing else can
run. Portable; the code under test must be in memory alone, because bytes of real links take real time."""

import asyncio

from gateway import clock
from gateway.errors import Expired

# How many rounds of the loop may pass before all that can run has run.
ROUNDS = 40


class FakeClock:
    """`utc` and `monotonic` in ms. Tests set `utc` to jump the wall clock."""

    def __init__(self, utc_ms):
        self.utc = utc_ms
        self.monotonic = 1000
        self._sleepers = []
        self._count = 0

    def install(self):
        self._real = (clock.utc_ms, clock.monotonic_ms, clock.sleep_ms, clock.wait_for_ms)
        clock.utc_ms = lambda: self.utc
        clock.monotonic_ms = lambda: self.monotonic
        clock.sleep_ms = self.sleep_ms
        clock.wait_for_ms = self.wait_for_ms

    def uninstall(self):
        clock.utc_ms, clock.monotonic_ms, clock.sleep_ms, clock.wait_for_ms = self._real

    async def sleep_ms(self, ms):
        self._count += 1
        woken = asyncio.Event()
        sleeper = (self.monotonic + max(ms, 0), self._count, woken)
        self._sleepers.append(sleeper)
        try:
            await woken.wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    async def wait_for_ms(self, awaitable, ms):
        done = asyncio.Event()
        outcome = []

        async def work():
            try:
                outcome.append(("result", await awaitable))
            except Exception as error:
                outcome.append(("error", error))
            done.set()

        async def alarm():
            await self.sleep_ms(ms)
            done.set()

        tasks = [asyncio.create_task(work()), asyncio.create_task(alarm())]
        try:
            await done.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not outcome:
            raise Expired("no result within %d ms" % ms)
        if outcome[0][0] == "error":
            raise outcome[0][1]
        return outcome[0][1]

    async def advance(self, ms):
        """Let `ms` pass, waking every sleeper in its turn."""
        end = self.monotonic + ms
        await self._settle()
        while True:
            due = min([sleeper[:2] for sleeper in self._sleepers] or [(end + 1, 0)])
            if due[0] > end:
                break
            self._pass(due[0])
            for sleeper in [one for one in self._sleepers if one[:2] == due]:
                self._sleepers.remove(sleeper)
                sleeper[2].set()
            await self._settle()
        self._pass(end)

    async def until(self, condition, limit_ms=3600000):
        """Let time pass until `condition()`; AssertionError when it does not come within `limit_ms`."""
        end = self.monotonic + limit_ms
        await self._settle()
        while not condition():
            due = min([sleeper[0] for sleeper in self._sleepers] or [end + 1])
            if due > end:
                raise AssertionError("did not happen within %d ms" % limit_ms)
            await self.advance(max(due - self.monotonic, 0))

    def _pass(self, monotonic):
        step = max(monotonic - self.monotonic, 0)
        self.monotonic += step
        self.utc += step

    async def _settle(self):
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
