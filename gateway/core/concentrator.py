"""A concentrator: takes what adapters say on a local broker, and forwards it unmodified (docs/roles.md).

Frames go into the gateway's outbox, under the custody of both hops. All else is relayed as it comes, best
effort: status, commands and their results (sealed end to end), and what other makers' adapters publish,
unless that is a reading of the platform, which becomes a frame. Portable, but no board loads it.
"""

import os

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import Expired, FrameError, OutboxError
from ..transmission import frames, topics
from ..transmission.model import CLASS_OF_KIND, EVENTS_CLASS, FOREIGN
from ..transmission.sealing import MAX_MESSAGE
from . import horizon
from .receiver import Receiver
from .tasks import Queue, TaskGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..transmission.model import Reading
    from .broker import Broker
    from .outbox import Outbox
    from .sender import Sender
    from .supervisor import Log, Worker

    FindKey = Callable[[bytes, bytes], bytes | None]

# The platform's MUST (part 3) is all of smartMeterMessage; the rest is ours.
SUBSCRIPTIONS = ("smartMeterMessage/#", "custody/+/ask", "command/+/result", "adapter/+/status")

# Receipts wait for company so long, or until so many messages are there; events and asks do not wait.
_GATHER_MS = const(1000)
_BATCH = const(256)
# Where that many came and then none, an adapter has sent all it may without a receipt.
_MANY = const(16)
_QUIET_MS = const(50)
_COMMANDS = const(64)
# Nobody may fill memory with topics that he makes up.
_MOST_TOPICS = const(1024)
_MAX_STATUS = const(8192)
_MAX_PAYLOAD = const(262144)  # of JSON; the cloud takes no more either
_MAX_TOPIC = const(1024)
_MOST_TOLD = const(64)
_TELL_AGAIN_MS = const(86400000)
_NOTE_MS = const(60000)
_NOTED_S = const(3600)
_NOTES = b"forwarded/"
_STRANGE_MS = const(120000)


def number(meter: bytes, frame: bytes) -> "tuple[int, int, int]":
    """Class, epoch and sequence. Raises FrameError for what is no frame."""
    _, _, cls, epoch, sequence = frames.head(frame)
    return cls, epoch, sequence


class Concentrator:
    """A supervised worker; one for the local broker, for as long as the gateway runs.

    `name`: the gateway's id. `find_keys()`, asked on each connection, gives `find_key(meter, key id)`: the
    hop key of an adapter that may speak for this meter, or None. `read(meter, payload)` makes a reading of
    the platform's JSON, raising FrameError where it is none; None: JSON is not taken. `own()`: ids of the
    meters that the gateway reads itself.

    Counters: `frames` taken, `readings` that came as JSON, `relayed` messages, `refused` ones (wrong,
    or too big), `lost` readings (no room for what nobody offers again).
    """

    def __init__(
        self,
        name: str,
        outbox: "Outbox",
        broker: "Broker",
        sender: "Sender",
        find_keys: "Callable[[], FindKey]",
        read: "Callable[[bytes, bytes], Reading] | None",
        own: "Callable[[], Sequence[bytes]]",
        log: "Log",
    ) -> None:
        self.frames = 0
        self.readings = 0
        self.relayed = 0
        self.refused = 0
        self.lost = 0
        self._name = name
        self._outbox = outbox
        self._broker = broker
        self._sender = sender
        self._find_keys = find_keys
        self._find_key: FindKey = lambda meter, name: None
        self._read = read
        self._own = own
        self._log = log
        self._receiver: Receiver | None = None
        self._earlier = [0, 0]  # strangers and full, of receivers that were thrown away
        self._heard: set[bytes] = set()  # meters whose adapters have shown a key
        self._strangers: dict[bytes, int] = {}  # when frames of a meter first came from one (monotonic)
        self._told: set[str] = set()
        self._told_since = clock.monotonic_ms()
        self._topics: set[str] = set()
        self._commands = Queue(_COMMANDS)

    async def run(self, worker: "Worker") -> None:
        """One connection; what ends it is raised, for the supervisor to wait it out."""
        try:
            self._find_key = self._find_keys()
            await self._outbox.sync()  # while it can't, adapters had better keep what they have
            await self._broker.connect()
            for meter in self._outbox.known_meters():
                self._serve_commands(meter)
            for topic in SUBSCRIPTIONS:
                await self._broker.subscribe(topic)
            worker.report("working")
            arrived = Queue(_BATCH)
            async with TaskGroup() as group:
                group.spawn(self._arrive(arrived))
                group.spawn(self._take(arrived, worker))
                group.spawn(self._pass_commands())
        finally:
            await self._broker.close()

    def rewind(self, meter: bytes, since: int) -> None:
        """The cloud has lost what it stored of this meter after `since` (UTC seconds); see Sender."""
        self._ready().rewind(meter, horizon.lower_notes(self._outbox, _NOTES + meter, since))

    def status(self) -> "dict[str, Any]":
        """The local broker's part of Gateway.status: docs/status.md."""
        strangers, full = self._earlier
        receiver = self._receiver
        return {
            "meters": len(self._heard),
            "frames": self.frames,
            "readings": self.readings,
            "relayed": self.relayed,
            "refused": self.refused,
            "strangers": strangers + (receiver.strangers if receiver is not None else 0),
            "full": full + (receiver.full if receiver is not None else 0),
            "lost": self.lost,
            "dropped": self._broker.dropped + self._sender.passing.dropped,
        }

    def _ready(self) -> Receiver:
        """The receiver; it outlives connections, but no error of the outbox."""
        if self._receiver is None:
            self._receiver = Receiver(
                self._outbox,
                self._key,
                number,
                os.urandom,
                clock.utc_ms() // 1000,
            )
        return self._receiver

    def _key(self, meter: bytes, name: bytes) -> "bytes | None":
        return self._find_key(meter, name)

    def _throw_away(self) -> None:
        if self._receiver is not None:
            self._earlier[0] += self._receiver.strangers
            self._earlier[1] += self._receiver.full
            self._receiver = None

    async def _arrive(self, arrived: Queue) -> None:
        while True:
            topic, payload = await self._broker.receive()
            # What is too big is refused; until then it takes no more memory than others.
            await arrived.put((topic, payload[: _MAX_PAYLOAD + 1]))

    async def _take(self, arrived: Queue, worker: "Worker") -> None:
        noted = clock.monotonic_ms()
        while True:
            try:
                topic, payload = await clock.wait_for_ms(arrived.get(), _NOTE_MS)
            except Expired:
                worker.report("working")  # nobody waits
            else:
                await self._batch(topic, payload, arrived, worker)
            if clock.monotonic_ms() - noted >= _NOTE_MS:
                noted = clock.monotonic_ms()
                self._note()

    async def _batch(self, topic: str, payload: bytes, arrived: Queue, worker: "Worker") -> None:
        """Take this message and those that come soon after it."""
        full = self._full()
        stored = self.frames + self.readings
        urgent = self._one(topic, payload)
        until = clock.monotonic_ms() + _GATHER_MS
        for taken in range(1, _BATCH):
            left = until - clock.monotonic_ms()
            if taken >= _MANY:
                left = min(left, _QUIET_MS)
            if left <= 0 or (urgent and not len(arrived)):
                break
            try:
                topic, payload = await clock.wait_for_ms(arrived.get(), left)
            except Expired:
                break
            urgent = self._one(topic, payload) or urgent
        await self._finish()
        if self._full() > full:
            worker.report(
                "full",
                "there is no room in the outbox for frames of adapters, which keep them until the cloud has "
                "taken some of ours",
                "warning",
            )
        elif self.frames + self.readings > stored:
            worker.report("working")  # an adapter that only asks has not found room

    def _full(self) -> int:
        return self._ready().full

    async def _finish(self) -> None:
        """Store the batch, and only then say that it is."""
        try:
            receipts = self._ready().finish(clock.utc_ms() // 1000)
            await self._outbox.sync()
        except OutboxError:
            self._throw_away()
            raise
        async with TaskGroup() as group:
            for meter, receipt in receipts:
                group.spawn(self._broker.publish(topics.custody(meter), receipt))

    def _one(self, topic: str, payload: bytes) -> bool:
        """Take one message. Whether who sent it waits for the answer."""
        if len(payload) > _MAX_PAYLOAD or len(topic) > _MAX_TOPIC:
            self._refuse(topic, "a message of %d bytes or more, a topic of %d" % (len(payload), len(topic)))
            return False
        try:
            parsed = topics.parse(topic)
        except FrameError:
            # Another maker's, for whom a meter's id is no UUID, say: the cloud sees what to do with it.
            return self._relay(topic, payload)
        meter = parsed.meter
        if parsed.specific == topics.ASK:
            return self._ask(meter, topic, payload)
        if parsed.specific == topics.COMPACT:
            return self._frame(meter, topic, payload)
        if parsed.specific == topics.READINGS:
            return self._reading(meter, topic, payload)
        if parsed.specific == topics.STATUS:
            return self._status(meter, topic, payload)
        if parsed.specific == topics.RESULT:
            return self._result(topic, payload)
        return self._relay(topic, payload)

    def _ask(self, meter: bytes, topic: str, payload: bytes) -> bool:
        try:
            known = self._ready().ask(meter, payload)
        except FrameError as error:
            self._refuse(topic, str(error))
            return False
        if not known:
            self._tell(
                "someone who has no credential here that fits asks about meter %s, and gets no receipts: an "
                "adapter that is not configured here, one with the wrong credential, or none of yours"
                % topic.split("/")[1]
            )
            return False
        self._heard.add(meter)
        self._serve_commands(meter)
        return True

    def _frame(self, meter: bytes, topic: str, payload: bytes) -> bool:
        receiver = self._ready()
        strangers = receiver.strangers
        if receiver.frame(meter, payload):
            self.frames += 1
            return _is_urgent(payload)
        if receiver.strangers > strangers and meter not in self._heard:
            self._strange(meter, topic)
        return False

    def _strange(self, meter: bytes, topic: str) -> None:
        # After a restart of ours the best adapter takes a while until it asks again.
        now = clock.monotonic_ms()
        if meter not in self._strangers and len(self._strangers) < _MOST_TOLD:
            self._strangers[meter] = now
        if now - self._strangers.get(meter, now) > _STRANGE_MS:
            self._tell(
                "frames of meter %s come from someone who never asks with a credential of ours, and are not "
                'taken. An adapter that has custody = "broker" must have "cloud" here' % topic.split("/")[1]
            )

    def _reading(self, meter: bytes, topic: str, payload: bytes) -> bool:
        """What came as JSON becomes a frame of ours, from which the cloud gets back the same bytes; what is
        no reading is for the cloud to bury."""
        if self._read is None:
            self._refuse(topic, "JSON is not taken here (readings = false)")
            return False
        try:
            reading = self._read(meter, payload)
            self._outbox.append(
                meter,
                CLASS_OF_KIND[FOREIGN],
                lambda epoch, sequence: frames.encode(meter, epoch, sequence, [reading]),
            )
        except FrameError:
            return self._relay(topic, payload)
        except OutboxError:
            self.lost += 1
            self._tell("the outbox is full: readings on %s are lost, nobody offers them again" % topic)
            return False
        self.readings += 1
        return False

    def _status(self, meter: bytes, topic: str, payload: bytes) -> bool:
        if meter and meter in self._own():
            return False  # two gateways read it; ours is the one that is shown
        if len(payload) > _MAX_STATUS or (topic not in self._topics and len(self._topics) >= _MOST_TOPICS):
            self._refuse(topic, "too many of its kind, or too long")
            return False
        self._topics.add(topic)
        self._sender.show(topics.forwarded(self._name, topic), payload)
        return False

    def _result(self, topic: str, payload: bytes) -> bool:
        if len(payload) > MAX_MESSAGE:
            self._refuse(topic, "no result has %d bytes" % len(payload))
        else:
            self._sender.pass_on(topic, payload)
        return False

    def _relay(self, topic: str, payload: bytes) -> bool:
        self.relayed += 1
        self._sender.pass_on(topics.forwarded(self._name, topic), payload)
        return False

    def _serve_commands(self, meter: bytes) -> None:
        if meter not in self._own():
            topic = topics.command(meter)
            self._sender.listen(topic, lambda payload: self._commands.push((topic, payload)))

    async def _pass_commands(self) -> None:
        while True:
            topic, payload = await self._commands.get()
            await self._broker.publish(topic, payload)

    def _note(self) -> None:
        """What is done now and then. Each hour, of each meter, a moment is noted at which all that had come
        of it has its receipt: when the cloud's storage goes back, adapters have to offer again only what came
        after one."""
        if clock.monotonic_ms() - self._told_since > _TELL_AGAIN_MS:
            self._told_since = clock.monotonic_ms()
            self._told = set()
            self._strangers = {}
        now = clock.utc_ms() // 1000
        for meter in self._heard:
            notes = horizon.read_notes(self._outbox, _NOTES + meter)
            due = not notes or not 0 <= now - notes[-1][0] < _NOTED_S
            if due and not self._outbox.streams(meter):
                horizon.add_note(self._outbox, _NOTES + meter, now, now)

    def _refuse(self, topic: str, why: str) -> None:
        self.refused += 1
        self._tell("a message on %r is refused: %s" % (topic[:128], why))

    def _tell(self, text: str, level: str = "warning") -> None:
        """Log it, once a day."""
        if text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            self._log(level, "local broker: %s" % text)


def _is_urgent(frame: bytes) -> bool:
    try:
        return bool(number(b"", frame)[0] == EVENTS_CLASS)
    except FrameError:
        return False
