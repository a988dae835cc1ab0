"""The power goes at every operation on the disk while commands are carried out.

No command is carried out twice, and what was said to be done is done.
"""

import asyncio
import random
from collections.abc import Callable

import pytest

from gateway import clock
from gateway.core.commands import Commands
from gateway.core.log_outbox import LogOutbox
from gateway.core.supervisor import Worker
from gateway.transmission.commands import DONE, FAILED, SET_INTERVAL, Command, Result, command_key, decode
from tests.fake_disk import Disk, FakeFiles, PowerLost

METER = b"meter-number-one"
KEY = command_key(b"what only owner and gateway know")
NUMBERS = (1, 2, 3)
NOW = clock.utc_ms() // 1000


class Settings:
    name = "kitchen"


class Life:
    """A gateway's from its start until the power goes. `done`: commands carried out; `said`: results."""

    settings = Settings()
    meter_id = METER

    def __init__(self, disk: Disk) -> None:
        self.box = LogOutbox(FakeFiles(disk), 1 << 16, lambda level, text: None, 1 << 12)
        self.dead = asyncio.Event()
        self.done: list[int] = []
        self.said: dict[int, list[Result]] = {number: [] for number in NUMBERS}
        self._sync = self.box.sync
        self.box.sync = self._die  # type: ignore[method-assign]
        self.desk = Commands(self.box, {"kitchen": (KEY, (SET_INTERVAL,))}, lambda level, text: None)
        self.desk.serve(self, [self])  # type: ignore[arg-type, list-item]

    async def _die(self) -> None:
        """Nothing happens any more after a power failure."""
        try:
            await self._sync()
        except PowerLost:
            self.dead.set()
            await asyncio.Event().wait()

    def set_interval(self, kind: int, interval_ms: int) -> tuple[bool, str]:
        self.done.append(interval_ms)
        self.box.set_note(b"effect/%d" % interval_ms, b"done")
        return True, "done"

    def listen(self, topic: str, take: Callable[[bytes], None]) -> None:
        self.take = take

    def pass_on(self, topic: str, payload: bytes, taken: Callable[[], None] | None = None) -> None:
        answer = decode(METER, payload, KEY)
        assert isinstance(answer, Result)
        if answer.status in (DONE, FAILED):
            self.said[answer.number].append(answer)

    async def live(self) -> None:
        """Takes the commands one after the other."""
        running = asyncio.create_task(Worker("commands", self.desk.run, lambda level, text: None).run())
        for number in NUMBERS:
            self.take(Command(number, NOW, NOW + 3600, b"", SET_INTERVAL, (3, number)).encode(KEY, METER))
            for _ in range(30):
                await asyncio.sleep(0)
            if self.dead.is_set():
                break
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def lives(cut_at: int, choose: random.Random) -> bool:
    """Whether the power went at all."""
    disk = Disk()
    first = Life(disk)
    disk.cut_at = disk.ops + cut_at
    await first.live()
    went = first.dead.is_set()
    disk = disk.crashed(choose.randrange)
    second = Life(disk)
    promised = [number for number in NUMBERS if any(one.status == DONE for one in first.said[number])]
    for number in promised:
        assert second.box.note(b"effect/%d" % number) == b"done", f"{number} was done and is undone"
    await second.live()
    for number in NUMBERS:
        assert first.done.count(number) + second.done.count(number) <= 1, f"{number} was carried out twice"
        last = second.said[number][-1:]
        if number in promised:
            assert last
            assert last[0].status == DONE, "its owner was told that it was done"
        if last and last[0].status == DONE:
            assert number in first.done + second.done
    return went


@pytest.mark.parametrize("seed", range(3))
def test_no_command_is_carried_out_twice(seed: int):
    cut_at = 0
    while asyncio.run(lives(cut_at, random.Random(f"{seed}/{cut_at}"))):
        cut_at += 1
    assert cut_at > 10
