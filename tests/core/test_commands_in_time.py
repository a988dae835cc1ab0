"""A command is answered within two seconds at 9600 baud, also while a load profile is read for minutes."""

import asyncio
from collections.abc import Callable

from gateway.core.commands import Commands
from gateway.core.supervisor import Worker
from gateway.transmission import model
from gateway.transmission.commands import DONE, READ_NOW, SELF_TEST, Command, Result, command_key, decode
from tests.core.test_meter_at_work import MINUTE, House

PROFILE = model.CLASS_OF_KIND[model.LOAD_PROFILE]
KEY = command_key(b"what only owner and gateway know")
ACTIONS = [
    (READ_NOW, (kind,)) for kind in (model.CLOCK, model.REGISTERS, model.PRESENT, model.ALARM, model.EVENT)
] + [(SELF_TEST, ())]


class Line:
    """In place of the sender: what the gateway hears and says."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.answered: dict[int, tuple[int, Result]] = {}

    def listen(self, topic: str, take: Callable[[bytes], None]) -> None:
        self.take = take

    def pass_on(self, topic: str, payload: bytes, taken: Callable[[], None] | None = None) -> None:
        assert self.house.task.meter_id is not None
        result = decode(self.house.task.meter_id, payload, KEY)
        assert isinstance(result, Result)
        self.answered[result.number] = self.house.clock.monotonic, result
        if taken is not None:
            taken()


def test_commands_overtake_a_backfill_at_the_next_message(figures):
    house = House("3.80", history_days=20, life="quiet")
    said: dict[int, int] = {}

    async def script() -> None:
        line = Line(house)
        desk = Commands(house.outbox, {"m": (KEY, (READ_NOW, SELF_TEST))}, lambda level, text: None)
        working = asyncio.create_task(Worker("commands", desk.run, lambda level, text: None).run())
        desk.serve(line, [house.task])
        await house.clock.until(lambda: house.task.last_ms.get(model.LOAD_PROFILE) is not None)
        desk.look()
        for number in range(1, 1 + 2 * len(ACTIONS)):
            before = house.outbox.next_sequence(house.task.meter_id, PROFILE)
            action, arguments = ACTIONS[number % len(ACTIONS)]
            now = house.clock.utc // 1000
            said[number] = house.clock.monotonic
            command = Command(number, now, now + 60, b"", action, arguments)
            line.take(command.encode(KEY, house.task.meter_id))
            await house.clock.until(lambda number=number: number in line.answered, MINUTE)
            # On to the next part of the backfill, and a bit further each time.
            await house.clock.until(
                lambda before=before: house.outbox.next_sequence(house.task.meter_id, PROFILE) > before,
                MINUTE,
            )
            await house.clock.advance(37 * number)
        for number, (_, result) in line.answered.items():
            assert result.status == DONE, (number, result.text)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        took = [at - said[number] for number, (at, _) in line.answered.items()]
        figures(f"commands during a backfill at 9600 baud: answered within {max(took)} ms (virtual)")
        assert max(took) <= 2000, took

    house.run(script)
    assert len(said) == 12
