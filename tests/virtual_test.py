"""What tests of drivers in virtual time, and of supervised tasks, have in common."""

import asyncio
import unittest

from gateway.core.supervisor import Supervisor
from tests.mep_fakes import VirtualTime


class VirtualTest(unittest.TestCase):
    """`time`: the test's own, which passes when all wait for it."""

    def setUp(self):
        self.time = VirtualTime()
        self.time.install()

    def tearDown(self):
        self.time.restore()

    async def raised(self, kind, coroutine):
        try:
            await coroutine
        except kind as error:
            return error
        raise AssertionError("no %s" % kind.__name__)


class Supervised:
    """`works`: (name, coroutine function), supervised until the block ends; gives their workers."""

    def __init__(self, log, *works):
        self._supervisor = Supervisor(log)
        self._workers = [self._supervisor.add(name, work) for name, work in works]

    async def __aenter__(self):
        self._running = asyncio.create_task(self._supervisor.run())
        return self._workers

    async def __aexit__(self, *_):
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
