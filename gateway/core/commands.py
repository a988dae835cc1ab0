"""Takes commands of a meter's owner, has them carried out, and answers (docs/custody.md, "Commands").

Loaded only where somebody may command. What comes and goes takes the sender's connection; what is carried
out goes on when that breaks.
"""

import asyncio
import os

from .. import clock
from .._compat import TYPE_CHECKING, const, trace
from ..errors import FrameError, GatewayError
from ..transmission import commands, topics
from ..transmission.packer import pack, unpack
from ..transmission.sealing import key_id, sealed_with
from .supervisor import describe
from .tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..transmission.commands import Command
    from .meter_task import MeterTask
    from .outbox import Outbox
    from .sender import Sender
    from .supervisor import Log, Worker
    from .updates import Transfer, Updater

# How many commands of one meter are carried out at a time, and how many results are kept for who asks again.
_MOST_RUNNING = const(4)
_MOST_RESULTS = const(4)
_MOST_TEXT = const(240)  # characters; four bytes each at most
# So many messages are looked at in a row, and one more each half second: seals take a board a while.
_BURST = const(16)
_PAUSE_MS = const(500)
_CHALLENGE_MS = const(600000)
_LOST = (False, "the gateway was ended while it carried this out")


class _Record:
    """A command that was taken, and how it ended. `due`: the broker has not got the result yet."""

    def __init__(self, number: int, tag: bytes, status: int, text: str, due: bool) -> None:
        self.number = number
        self.tag = tag
        self.status = status
        self.text = text
        self.due = due

    def end(self, done: bool, text: str) -> None:
        self.status = commands.DONE if done else commands.FAILED
        self.text = text[:_MOST_TEXT]


class _Desk:
    """One meter: who may command it, and what became of the commands. `meter`: its id, b"" before it is
    known."""

    def __init__(self, task: "MeterTask", key: bytes, actions: "Sequence[int]") -> None:
        self.task = task
        self.key = key
        self.key_id = key_id(key)
        self.actions = actions
        self.meter = b""
        self.last = 0
        self.records: list[_Record] = []
        self.left_over: list[_Record] = []  # of an earlier start, not yet ended
        self.transfer: Transfer | None = None
        self._challenge = b""
        self._since_ms = 0
        self._left = _BURST
        self._counted_ms = clock.monotonic_ms()

    def has_time(self) -> bool:
        """Whether one more message may be looked at; counts it."""
        now = clock.monotonic_ms()
        gained = (now - self._counted_ms) // _PAUSE_MS
        self._counted_ms += gained * _PAUSE_MS
        self._left = min(self._left + gained, _BURST)
        if not self._left:
            return False
        self._left -= 1
        return True

    def challenge(self) -> bytes:
        """The one that is open, or b"". None outlives the process: a board whose flash was set back can't be
        told its old commands again."""
        if self._challenge and clock.monotonic_ms() - self._since_ms > _CHALLENGE_MS:
            self._challenge = b""
        return self._challenge

    def draw(self) -> bytes:
        """The open challenge; a new one if there is none."""
        if not self.challenge():
            self._challenge = os.urandom(8)
            self._since_ms = clock.monotonic_ms()
        return self._challenge

    def use_up(self) -> None:
        self._challenge = b""

    def load(self, meter: bytes, note: "bytes | None") -> None:
        """What is known of this meter from before."""
        self.meter = meter
        self.last, records = unpack(note) if note is not None else (0, [])
        self.records = [_Record(*one) for one in records]
        self.left_over = [one for one in self.records if one.status == commands.RUNNING]

    def settle(self, updater: "Updater | None") -> "list[_Record]":
        """What was being carried out when the gateway ended has failed; but an update ends it, and is done
        when what it brought has proven itself. Those that have ended."""
        ended = []
        for one in self.left_over:
            outcome = updater.outcome(one.tag.hex()) if updater is not None else _LOST
            if outcome is not None:
                one.due = True
                one.end(outcome[0], outcome[1])
                ended.append(one)
        self.left_over = [one for one in self.left_over if one not in ended]
        return ended

    def note(self) -> bytes:
        return pack([self.last, [[r.number, r.tag, r.status, r.text, r.due] for r in self.records]])

    def running(self) -> int:
        return len([one for one in self.records if one.status == commands.RUNNING])

    def record(self, tag: bytes) -> "_Record | None":
        for one in self.records:
            if one.tag == tag:
                return one
        return None

    def trim(self) -> None:
        """Forget the oldest results beyond what is kept."""
        ended = [one for one in self.records if one.status != commands.RUNNING]
        for one in ended[: max(len(ended) - _MOST_RESULTS, 0)]:
            self.records.remove(one)


class Commands:
    """For all meters and for as long as the gateway runs; `run` is a supervised worker's.

    `owners`: by the meter's name, the key of who may command it (gateway.transmission.commands.command_key)
    and the actions allowed. `has_clock`: commands may be judged by the time, as soon as that is the
    network's; else, and for clocks that are wrong, by a challenge. `updater`: where the program can be
    replaced by a command, set before `serve`.
    `taken`: how many were carried out; `ignored`: messages that nobody is owed an answer to, which are
    forged, or more than there is time for.
    """

    def __init__(
        self,
        outbox: "Outbox",
        owners: "Mapping[str, tuple[bytes, Sequence[int]]]",
        log: "Log",
        has_clock: bool = True,
    ) -> None:
        self.has_clock = has_clock
        self.updater: Updater | None = None
        self.taken = 0
        self.ignored = 0
        self._outbox = outbox
        self._owners = owners
        self._log = log
        self._desks: list[_Desk] = []
        self._accepted: list[tuple[_Desk, Command, _Record]] = []
        self._news = asyncio.Event()

    def serve(self, sender: "Sender", tasks: "Sequence[MeterTask]") -> None:
        """These are the meters, and this is the way to their owners."""
        self._sender = sender
        for task in tasks:
            owner = self._owners.get(task.settings.name)
            if owner is not None:
                self._desks.append(_Desk(task, owner[0], owner[1]))
        self.look()

    def look(self) -> None:
        """Listen for meters that have said who they are since."""
        for desk in self._desks:
            meter = desk.task.meter_id
            if meter is None:
                continue
            if desk.meter != meter:
                desk.load(meter, self._outbox.note(_name(meter)))
                self._listen(desk, meter)
                due = [one for one in desk.records if one.due] + desk.settle(self.updater)
            else:
                due = desk.settle(self.updater)
            for record in due:
                self._publish(desk, record)

    def _listen(self, desk: _Desk, meter: bytes) -> None:
        def take(payload: bytes) -> None:
            # Not any more when another meter is in its place.
            if desk.meter == meter:
                self._receive(desk, payload)

        self._sender.listen(topics.command(meter), take)

    def status(self) -> "dict[str, int]":
        """The commands' part of Gateway.status."""
        running = sum([desk.running() for desk in self._desks])
        return {"taken": self.taken, "running": running, "ignored": self.ignored}

    async def run(self, worker: "Worker") -> None:
        worker.report("working")
        async with TaskGroup() as group:
            group.spawn(self._dispatch(group))

    async def _dispatch(self, group: TaskGroup) -> None:
        while True:
            self._news.clear()
            while self._accepted:
                group.spawn(self._carry_out(*self._accepted.pop(0)))
            await self._news.wait()

    def _receive(self, desk: _Desk, payload: bytes) -> None:
        try:
            ours = sealed_with(payload) == desk.key_id
            if ours and commands.is_piece(payload):
                if desk.transfer is not None and desk.transfer.has_time():
                    desk.transfer.take(commands.decode(desk.meter, payload, desk.key))
                    return
            elif ours and len(payload) <= commands.MAX_COMMAND and desk.has_time():
                command = commands.decode(desk.meter, payload, desk.key)
                if isinstance(command, commands.Command):
                    self._judge(desk, command, commands.tag_of(payload))
                    return
        except FrameError as error:
            self._log("debug", "%s: a command is ignored: %s" % (desk.task.settings.name, error))
        self.ignored += 1

    def _judge(self, desk: _Desk, command: "Command", tag: bytes) -> None:
        # The meter's clock is not for judging who may command, and one that was never set knows nothing.
        trusted = self.has_clock and clock.source() == clock.NETWORK
        now = clock.utc_ms() // 1000 if trusted else None
        verdict = command.verdict(now, desk.last, desk.challenge())
        if verdict == commands.REPEATED:
            self._repeat(desk, command, tag)
        elif verdict == commands.EXPIRED:
            self._answer(desk, command, tag, verdict, _why_expired(command, now))
            challenge = commands.Challenge(desk.draw(), desk.last)
            self._send(desk, challenge.encode(desk.key, desk.meter))
        elif verdict == commands.UNKNOWN:
            self._answer(desk, command, tag, verdict, "action %d is not known here" % command.action)
        elif command.action not in desk.actions:
            text = "%s is not allowed by the gateway's configuration" % commands.ACTION_NAMES[command.action]
            self._answer(desk, command, tag, commands.REFUSED, text)
        elif desk.running() >= _MOST_RUNNING:
            text = "%d commands are being carried out already; try again later" % _MOST_RUNNING
            self._answer(desk, command, tag, commands.REFUSED, text)
        else:
            self._take(desk, command, tag)

    def _repeat(self, desk: _Desk, command: "Command", tag: bytes) -> None:
        """Its number was used: by this very command, or by another."""
        record = desk.record(tag)
        if record is None:
            text = "another command had this number, or it is too long ago to say how it ended"
            self._answer(desk, command, tag, commands.REPEATED, text)
        elif record.status == commands.RUNNING:
            self._answer(desk, command, tag, commands.RUNNING, "it is being carried out")
        else:
            self._publish(desk, record)

    def _take(self, desk: _Desk, command: "Command", tag: bytes) -> None:
        """From here on its number and challenge are used up."""
        desk.last = command.number
        if command.challenge:
            desk.use_up()
        record = _Record(command.number, tag, commands.RUNNING, "", False)
        desk.records.append(record)
        self._write(desk)
        self.taken += 1
        self._accepted.append((desk, command, record))
        self._news.set()

    async def _carry_out(self, desk: _Desk, command: "Command", record: _Record) -> None:
        meter = desk.meter
        what = "%s: command %d, %s" % (
            desk.task.settings.name,
            command.number,
            commands.ACTION_NAMES[command.action],
        )
        self._log("info", what)
        try:
            # Not before its number is durable: a power failure must not have it carried out twice.
            await self._outbox.sync()
            outcome = await self._execute(desk, command, record.tag)
            if outcome is None:
                return  # how it ends is told after the next start
            done, text = outcome
        except Exception as error:
            done, text = False, describe(error)
            if not isinstance(error, GatewayError):
                self._log("debug", trace(error))
        if desk.meter != meter:
            return  # another meter is in its place, and has commands of its own
        record.due = True
        record.end(done, text)
        desk.trim()
        self._write(desk)
        try:
            # What is said to be done is durable.
            await self._outbox.sync()
        except GatewayError as error:
            record.end(False, describe(error))
        how = "done" if record.status == commands.DONE else "failed"
        self._log("info", "%s %s: %s" % (what, how, record.text))
        self._publish(desk, record)

    async def _execute(self, desk: _Desk, command: "Command", tag: bytes) -> "tuple[bool, str] | None":
        """Whether it was done, and words; None where that is known after the next start."""
        task = desk.task
        if command.action == commands.READ_NOW:
            return await task.read_now(*command.arguments)
        if command.action == commands.BACKFILL:
            return await task.backfill(*command.arguments)
        if command.action == commands.SET_INTERVAL:
            return task.set_interval(*command.arguments)
        if command.action == commands.UPDATE:
            return await self._update(desk, command, tag)
        return await task.self_test()

    async def _update(self, desk: _Desk, command: "Command", tag: bytes) -> "tuple[bool, str] | None":
        if self.updater is None:
            return False, "this gateway can't be updated by a command"
        from .updates import Transfer

        if desk.transfer is not None:
            desk.transfer.stop("another update has begun meanwhile")

        def ask(offset: int, count: int) -> None:
            self._send(desk, commands.Want(tag, offset, count).encode(desk.key, desk.meter))

        transfer = desk.transfer = Transfer(tag, ask)
        try:
            text = await transfer.run(self.updater, command.arguments[0], bool(command.arguments[1]))
        finally:
            if desk.transfer is transfer:
                desk.transfer = None
                self.updater.ended()
        if text:
            return True, text
        try:
            await self._outbox.sync()
        except GatewayError as error:
            self._log("warning", describe(error))
        self.updater.restart()
        return None

    def _answer(self, desk: _Desk, command: "Command", tag: bytes, status: int, text: str) -> None:
        """Not remembered: who misses it sends the command again."""
        answer = commands.Result(command.number, tag, status, text, desk.last)
        self._send(desk, answer.encode(desk.key, desk.meter))

    def _publish(self, desk: _Desk, record: _Record) -> None:
        """A result, until the broker has it."""

        def taken() -> None:
            if record.due:
                record.due = False
                self._write(desk)

        result = commands.Result(record.number, record.tag, record.status, record.text, desk.last)
        payload = result.encode(desk.key, desk.meter)
        self._sender.pass_on(topics.result(desk.meter), payload, taken)

    def _send(self, desk: _Desk, payload: bytes) -> None:
        self._sender.pass_on(topics.result(desk.meter), payload)

    def _write(self, desk: _Desk) -> None:
        self._outbox.set_note(_name(desk.meter), desk.note())


def _why_expired(command: "Command", now: "int | None") -> str:
    if command.challenge:
        return "its challenge is not the open one"
    if now is None:
        return "there is no clock here that can be trusted: a command has to repeat the challenge"
    if now >= command.expires:
        return "by the clock here its time ended %d s ago" % (now - command.expires)
    if now < command.issued:
        return "by the clock here it comes %d s before it was issued" % (command.issued - now)
    return "it claims to be good for more than %d h" % (commands.MAX_VALIDITY // 3600)


def _name(meter: bytes) -> bytes:
    return b"command/" + meter
