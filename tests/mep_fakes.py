"""A meter, a line and a clock for tests of the MEP driver; runs on both interpreters.

Time is virtual: it stands still while anything can run and jumps to whatever is due next, so that
time-outs are exact and cost nothing. One task at a time may wait on it.
"""

import asyncio

from gateway import clock
from gateway.drivers.link import Link
from gateway.drivers.mep.digest import Digest, key_bits
from gateway.errors import Expired, LinkError

KEY = b"0123456789abcdef"
START = 5000


def digest_of(data, key=KEY):
    digest = Digest(key_bits(key))
    digest.update(data)
    return digest.final()


def framed(message):
    return bytes((len(message) >> 8, len(message) & 0xFF)) + message


def answer(request, reply, key=KEY):
    """The meter's authenticated response to a plain request frame."""
    return framed(reply + digest_of(request[2:-8] + reply, key))


def number_of(request):
    return int.from_bytes(request[-12:-8], "big")


async def _call(function):
    function()


class VirtualTime:
    """Stands in for gateway.clock between `install` and `restore`."""

    def __init__(self):
        self.now = START
        self._due = []  # (when, what), in order

    def install(self):
        self._real = (clock.monotonic_ms, clock.sleep_ms, clock.wait_for_ms)
        clock.monotonic_ms = lambda: self.now
        clock.sleep_ms = self.sleep_ms
        clock.wait_for_ms = self.wait_for_ms

    def restore(self):
        clock.monotonic_ms, clock.sleep_ms, clock.wait_for_ms = self._real

    def after(self, ms, function):
        due = self.now + ms
        at = len(self._due)  # mostly the last of all
        while at and self._due[at - 1][0] > due:
            at -= 1
        self._due.insert(at, (due, function))

    async def sleep_ms(self, ms):
        await self._until(self.now + ms, lambda: False)

    async def wait_for_ms(self, awaitable, ms):
        outcome = []

        async def run():
            try:
                outcome.append((await awaitable, None))
            except Exception as error:
                outcome.append((None, error))

        task = asyncio.create_task(run())
        try:
            await self._until(self.now + ms, lambda: outcome)
        finally:
            task.cancel()
        if not outcome:
            raise Expired("no result within %d ms" % ms)
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    async def _until(self, deadline, done):
        while True:
            for _ in range(10):
                await asyncio.sleep(0)
                if done():
                    return
            if not self._due or self._due[0][0] > deadline:
                self.now = max(self.now, deadline)
                return
            when, function = self._due.pop(0)
            self.now = max(self.now, when)
            # In a task of its own: on MicroPython a task can't cancel itself.
            asyncio.create_task(_call(function))  # noqa: RUF006 - over before this loop comes round again


class FakeLink(Link):
    """Calls `on_write(frame)` for each frame written; `feed` is what the line brings."""

    def __init__(self, time, on_write=None):
        self.time = time
        self.on_write = on_write
        self.sent = []  # (when, frame)
        self.closed = False
        self.stuck = False
        self._data = b""
        self._gone = None
        self._arrived = asyncio.Event()

    def feed(self, data):
        self._data += data
        self._arrived.set()

    def later(self, ms, data):
        self.time.after(ms, lambda: self.feed(data))

    def drip(self, ms, data, every):
        """Feed `data` byte by byte, the first after `ms`; `every`: milliseconds between bytes."""
        for at in range(len(data)):
            self.later(ms + at * every, data[at : at + 1])

    def break_off(self, reason="pulled"):
        self._gone = LinkError(reason)
        self._arrived.set()

    async def read(self):
        while not self._data:
            if self._gone:
                raise self._gone
            self._arrived.clear()
            await self._arrived.wait()
        data, self._data = self._data, b""
        return data

    async def write(self, data):
        if self._gone:
            raise self._gone
        self.sent.append((self.time.now, data))
        if self.stuck:
            await asyncio.Event().wait()
        if self.on_write:
            self.on_write(data)

    async def close(self):
        self.closed = True
        if self._gone:
            raise self._gone


class FakeMeter:
    """Serves `tables` (number -> bytes) on a FakeLink, plainly and at once or after `delay` ms.

    `script` holds what the next requests get instead: bytes, None for silence, or a function of the
    frame that gives either.
    """

    def __init__(self, link, tables, sequence=None, delay=0):
        self.link = link
        self.tables = tables
        self.sequence = sequence
        self.delay = delay
        self.script = []
        link.on_write = self.serve

    def serve(self, frame):
        response = self.script.pop(0) if self.script else self.respond
        if callable(response):
            response = response(frame)
        if response is not None:
            self.link.later(self.delay, response)

    def respond(self, frame):
        number = number_of(frame)
        if self.sequence is not None and not 1 <= (number - self.sequence) & 0xFFFFFFFF <= 8:
            return answer(frame, b"\x0c" + self.sequence.to_bytes(4, "big"))
        self.sequence = number
        return answer(frame, self.reply(frame[2:-12]))

    def reply(self, message):
        code, table = message[0], int.from_bytes(message[1:3], "big")
        if table not in self.tables:
            return b"\4"
        if code == 0x30:
            data = self.tables[table]
        elif code == 0x3F:
            offset, count = int.from_bytes(message[3:6], "big"), int.from_bytes(message[6:8], "big")
            data = self.tables[table][offset : offset + count]
        else:
            held = bytearray(self.tables[table])
            offset = int.from_bytes(message[3:6], "big") if code == 0x4F else 0
            data = message[8:] if code == 0x4F else message[5:]
            held[offset : offset + len(data)] = data
            self.tables[table] = bytes(held)
            return b"\0"
        return b"\0" + len(data).to_bytes(2, "big") + data
