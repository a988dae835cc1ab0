"""A small world around the real custody machines: meters, adapters, a concentrator, brokers, a cloud.

Only brokers, disks and the cloud's database are modelled; outbox, sender, receiver, ledger and formats are
the gateway's own.
The world knows the truth (what meters stored, what frames were made, what may be missing because a
fault destroyed its last copy) and checks custody against it.
"""

import copy
import functools
import hashlib
import random

from gateway.core import horizon
from gateway.core.custody import Sender
from gateway.core.log_outbox import LogOutbox
from gateway.core.outbox import Entry
from gateway.core.receiver import Receiver
from gateway.errors import FrameError, OutboxError
from gateway.transmission.custody import hop_key
from gateway.transmission.ledger import Ledger, LedgerStore, Stream
from gateway.transmission.packer import pack, unpack
from gateway.transmission.sealing import key_id
from tests.fake_disk import Disk, FakeFiles, PowerLost

EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
METERS = (b"meter-number-one", b"meter-number-two")


def encode_frame(cls, epoch, sequence, reading, content):
    return pack([cls, epoch, sequence, reading, content])


def garbled(frame):
    """A frame whose number nobody can read; it still says what it is of, so that the truth can follow it."""
    return b"\xc1" + frame


@functools.cache
def parts(frame):
    """(class, epoch, sequence, reading, content), of garbled frames too: the truth may know."""
    return tuple(unpack(frame.lstrip(b"\xc1")))


def number(meter, frame):
    if frame[:1] == b"\xc1":
        raise FrameError("garbled")
    return parts(frame)[:3]


def row_of(frame):
    """(reading id, content): stored numbers identify profile readings, the frame's number all others."""
    cls, epoch, sequence, reading, content = parts(frame)
    return (("stored", reading) if cls == PROFILE else ("row", epoch, cls, sequence)), content


def covered(ranges, meter, frame):
    cls, epoch, sequence, _, _ = parts(frame)
    return any(r[:3] == (meter, cls, epoch) and r[3] <= sequence <= r[4] for r in ranges)


BLOCK = 4096
# A few frames to a segment, so that much gives way.
SEGMENT = 300


def quiet(level, text):
    pass


class Flash(LogOutbox):
    """A durable outbox and its disk, which can lose power, be set back, and be copied. `capacity` in blocks.
    `synced`: (meter, frame) of all that was there at the last sync."""

    def __init__(self, disk, capacity, epoch):
        self.bytes = {}
        self.disk = disk
        self.blocks = capacity
        super().__init__(FakeFiles(disk), capacity * BLOCK, quiet, SEGMENT)
        self.epoch = epoch
        for e in self.kept() + self.pending():
            self.bytes[(e.meter, e.cls, e.epoch, e.sequence)] = e.frame
        self.synced = self.frames()

    def flush(self):
        """The disk of these tests keeps nobody waiting."""
        try:
            self.sync().send(None)
        except StopIteration:
            self.synced = self.frames()

    def after_power(self, choose):
        """The disk after the power was lost."""
        return self.disk.crashed(choose)

    def copy(self):
        """A running machine is cloned, memory and all."""
        return copy.deepcopy(self)

    def _add(self, key, sequence, frame):
        entry = super()._add(key, sequence, frame)
        self.bytes[(*key, sequence)] = frame
        return entry

    def _held(self, kept):
        """Numbers of all that is held and, unless None, is or is not kept."""
        return [
            (*key, sequence)
            for key, stream in self._streams.items()
            for run in stream.runs()
            if kept is None or run.kept == kept
            for sequence in range(run.first, run.last + 1)
        ]

    def _entries(self, kept):
        found = []
        for held in self._held(kept):
            frame = self.bytes.get(held)
            found.append(Entry(*held, -1, self.get(*held).frame if frame is None else frame))
        return found

    def frames(self):
        """(meter, frame) of all that is held."""
        return {(held[0], self.bytes[held]) for held in self._held(None)}

    def kept(self):
        return self._entries(True)

    def pending(self):
        return self._entries(False)

    def check_storage(self):
        """What is read back is what was written."""
        for held in self._held(None):
            assert self.get(*held).frame == self.bytes[held]


class CloudStore(LedgerStore):
    """Ledger tables as rows, saved by their changes only, as a database would."""

    def __init__(self):
        self.streams = {}  # (meter, cls, epoch) -> (low, key id, nonce, touched)
        self.hashes = {}  # (meter, cls, epoch, sequence) -> sha256
        self.loose = []
        self.dropped = set()
        self.generations = {}
        self.sessions = {}

    def copy(self):
        twin = CloudStore()
        for name, table in vars(self).items():
            setattr(twin, name, copy.copy(table))
        return twin

    def load(self, keys):
        found = {}
        for key in keys:
            if key in self.streams:
                stream = Stream()
                stream.new = False
                stream.low, stream.key_id, stream.nonce, stream.touched = self.streams[key]
                stream.hashes = {k[3]: sha for k, sha in self.hashes.items() if k[:3] == key}
                found[key] = stream
        return found

    def save(self, streams):
        for key, stream in streams.items():
            self.streams[key] = (stream.low, stream.key_id, stream.nonce, stream.touched)
            for k in [k for k in self.hashes if k[:3] == key and k[3] < stream.pruned]:
                del self.hashes[k]
            for sequence in stream.added:
                self.hashes.setdefault((*key, sequence), stream.hashes[sequence])
            for sequence in stream.replaced:
                if sequence in stream.hashes:
                    self.hashes[(*key, sequence)] = stream.hashes[sequence]
                else:
                    self.hashes.pop((*key, sequence), None)

    def trim(self, meter, before, most):
        ages = sorted((row[3], key) for key, row in self.streams.items() if key[0] == meter)
        for i, (touched, key) in enumerate(ages):
            if touched < before or i < len(ages) - most:
                del self.streams[key]
                for k in [k for k in self.hashes if k[:3] == key]:
                    del self.hashes[k]

    def add_loose(self, meter, sha256):
        if (meter, sha256) not in self.loose:
            self.loose.append((meter, sha256))

    def remove_loose(self, meter, sha256):
        if (meter, sha256) in self.loose:
            self.loose.remove((meter, sha256))

    def has(self, meter, sha256):
        return (meter, sha256) in self.loose or any(
            k[0] == meter and sha == sha256 for k, sha in self.hashes.items()
        )

    def add_drop(self, meter, cls, epoch, first, last):
        self.dropped.add((meter, cls, epoch, first, last))

    def generation(self, meter):
        return self.generations.get(meter)

    def set_generation(self, meter, generation, since):
        self.generations[meter] = (generation, since)

    def session(self, session):
        return self.sessions.get(session)

    def advance(self, session, old, position, now):
        if (self.sessions[session][0] if session in self.sessions else 0) != old:
            return False
        self.sessions[session] = (position, now)
        return True

    def last_commit(self, opened):
        times = [utc for s, (_, utc) in self.sessions.items() if int.from_bytes(s[:4], "big") <= opened]
        return max(times, default=0)


class Database:
    """What the cloud's transactions see: rows by reading id, with a revision for each content."""

    def __init__(self):
        self.rows = {}  # (meter, id) -> (content, ...)
        self.dead = set()
        self.tombstones = set()
        self.ledger = CloudStore()

    def store(self, meter, payload):
        reading, content = row_of(payload)
        if (meter, reading) not in self.tombstones:
            revisions = self.rows.get((meter, reading), ())
            if content not in revisions:
                self.rows[(meter, reading)] = (*revisions, content)

    def copy(self):
        twin = Database()
        twin.rows = dict(self.rows)
        twin.dead = set(self.dead)
        twin.tombstones = set(self.tombstones)
        twin.ledger = self.ledger.copy()
        return twin

    def holds(self, meter, frame):
        if (meter, frame) in self.dead:
            return True
        if frame[:1] == b"\xc1":
            return False
        reading, content = row_of(frame)
        return (meter, reading) in self.tombstones or content in self.rows.get((meter, reading), ())


class Message:
    def __init__(self, where, meter, kind, payload):
        self.where = where  # "local" or "main": the broker
        self.meter = meter
        self.kind = kind  # "frame", "ask" or "receipt"
        self.payload = payload


class Node:
    """What adapters and the concentrator have in common: flash and a sender."""

    def __init__(self, world, name, where, capacity):
        self.world = world
        self.name = name
        self.where = where
        self.key = hop_key(b"credential of " + name.encode())
        self.images = []
        self.asked = {}  # meter -> the last ask, and how many setbacks there had been when it went out first
        self.box = Flash(Disk(), capacity, world.new_epoch())
        self.boot()

    def boot(self):
        self.sender = Sender(self.box, self.key, self.world.random_bytes, self.rewind, window=4)
        self.connect()

    def connect(self):
        self.sender.disconnected()
        self.sender.connected()
        self.answered = set()  # on this connection

    def restart(self, disk):
        """The power was lost, and `disk` is what it left."""
        self.box = Flash(disk, self.box.blocks, self.world.new_epoch())
        self.boot()

    def lose_power(self, after=None):
        """At once, or (a number) before so many operations of a sync that is just going on."""
        if after is not None:
            self.box.disk.cut_at = self.box.disk.ops + after
            try:
                self.box.flush()
            except PowerLost:
                pass
        self.restart(self.box.after_power(self.world.random.randrange))

    def gave_way(self, before):
        left = self.box.frames()
        for e in before:
            if (e.meter, e.frame) not in left:
                self.world.dropped.add((e.meter, e.frame))

    def publish(self, most):
        for _ in range(most):
            message = self.sender.next()
            if message is None:
                return
            if message.entry:
                assert message.meter in self.answered, "a frame was sent before the receiver was asked"
            elif self.asked.get(message.meter, (b"", 0))[0] != message.payload:
                self.asked[message.meter] = (message.payload, self.world.setbacks)
                self.answered.discard(message.meter)
            kind = "frame" if message.entry else "ask"
            self.world.send(Message(self.where, message.meter, kind, message.payload))

    def is_settled(self, meter):
        one = self.sender._meters.get(meter)
        return one is not None and one.settled

    def is_current(self, meter):
        """Has the receiver answered since it was last set back?"""
        return self.is_settled(meter) and self.asked[meter][1] == self.world.setbacks

    def receive(self, meter, payload):
        """Hand a receipt in; what is forgotten for it must be stored at this very moment."""
        before = {(e.meter, e.frame) for e in self.box.pending()}
        rewinds = self.sender.rewinds
        settled = self.is_settled(meter)
        if self.sender.receive(meter, payload):
            forgotten = before - {(e.meter, e.frame) for e in self.box.pending()}
            # A receiver that was set back since it was asked is found out with the next ask, and so is the
            # cloud behind a concentrator.
            hops = [self, self.world.concentrator] if self.where == "local" else [self]
            found_out = all(meter in hop.answered and hop.asked[meter] == self.world.setbacks for hop in hops)
            if found_out and self.sender.rewinds == rewinds:
                lost = {f for f in forgotten if not self.world.stored(self.where, *f)}
                assert not lost, "forgotten, but its receiver does not have it"
        if not settled and self.is_settled(meter):
            self.answered.add(meter)


class Adapter(Node):
    """Reads profile readings of its meter by a cursor, and whatever else happens to be there."""

    def __init__(self, world, name, meter, where, capacity):
        self.meter = meter
        super().__init__(world, name, where, capacity)

    def make(self, cls, reading, content, garble=False):
        def encode(epoch, sequence):
            frame = encode_frame(cls, epoch, sequence, reading, content)
            return garbled(frame) if garble else frame

        before = self.box.pending()
        dropped = self.box.dropped
        try:
            entry = self.box.append(self.meter, cls, encode)
        except OutboxError:
            return False
        if self.box.dropped != dropped:
            self.gave_way(before)
        self.world.made.add((self.meter, entry.frame))
        self.world.check_number(self.meter, entry)
        return True

    def read_profile(self, most, garble=False):
        stored = self.world.profiles[self.meter]
        for n in range(self.cursor, min(self.cursor + most, len(stored))):
            if not self.make(PROFILE, n, stored[n][-1], garble):
                break
            self.box.set_note(b"cursor", pack(n + 1))
        self.checkpoint()

    @property
    def cursor(self):
        note = self.box.note(b"cursor")
        return unpack(note) if note else 0

    def checkpoint(self):
        """Now and then a reader notes which of its readings has no receipt yet."""
        pending = [parts(e.frame)[3] for e in self.box.pending() if e.cls == PROFILE]
        points = unpack(self.box.note(b"points") or pack([]))[-8:]
        if not points or points[-1][1] != min([self.cursor, *pending]):
            points.append([self.world.now, min([self.cursor, *pending])])
            self.box.set_note(b"points", pack(points))

    def rewind(self, meter, since):
        points = unpack(self.box.note(b"points") or pack([]))
        before = [token for at, token in points if at < since]
        oldest = before[-1] if before else 0
        # What was lost now had been lost for a while: earlier points were too hopeful.
        self.box.set_note(b"points", pack([[at, min(token, oldest)] for at, token in points]))
        self.box.set_note(b"cursor", pack(min(self.cursor, oldest)))
        self.checkpoint()


class Concentrator(Node):
    def boot(self):
        super().boot()
        self.receiver = Receiver(
            self.box, self.world.find_key, number, self.world.random_bytes, self.world.now
        )

    def rewind(self, meter, since):
        self.receiver.rewind(meter, horizon.lower_notes(self.box, b"forwarded/" + meter, since))

    def note(self):
        """As Concentrator does each hour: a moment at which all that had come has its receipt."""
        for meter in METERS:
            if not self.box.streams(meter):
                horizon.add_note(self.box, b"forwarded/" + meter, self.world.now, self.world.now)

    def take(self, message):
        before = self.box.pending()
        dropped = self.box.dropped
        if message.kind == "ask":
            try:
                self.receiver.ask(message.meter, message.payload)
            except FrameError:
                self.world.refused += 1
        else:
            self.receiver.frame(message.meter, message.payload)
        if self.box.dropped != dropped:
            self.gave_way(before)

    def commit(self, crash=""):
        receipts = self.receiver.finish(self.world.now)
        self.note()
        if crash in ("before", "within"):
            self.lose_power(self.world.random.randrange(8) if crash == "within" else None)
            # What the disk kept by chance is there from now on, and its receipts may have been made durable.
            self.world.ever["local"] |= self.box.frames()
            return
        self.box.flush()
        self.world.ever["local"] |= self.box.frames()
        if crash == "after":
            self.lose_power()
            return
        for meter, payload in receipts:
            self.world.send(Message("local", meter, "receipt", payload))


class Cloud:
    """Two workers on one database; a batch is taken in one transaction."""

    def __init__(self, world):
        self.world = world
        self.database = Database()
        self.backups = [self.database.copy()]
        self.inboxes = [[], []]
        self.ledgers = [None, None]
        self.open(0)
        self.open(1)

    def open(self, worker):
        self.inboxes[worker] = []
        self.ledgers[worker] = Ledger(
            self.database.ledger, self.world.find_key, self.world.random_bytes, self.world.now
        )

    def commit(self, worker, crash=""):
        transaction = self.database.copy()
        ledger = self.ledgers[worker]
        ledger.store = transaction.ledger
        for message in self.inboxes[worker]:
            self.take(transaction, ledger, message)
        self.inboxes[worker] = []
        receipts = ledger.finish(self.world.now)
        if crash == "before":
            self.open(worker)
            return
        self.database = transaction
        self.world.ever["main"] |= {
            f for f in self.world.made - self.world.ever["main"] if transaction.holds(*f)
        }
        self.world.declared |= transaction.ledger.dropped
        if crash == "after":
            self.open(worker)
            return
        for meter, payload in receipts:
            self.world.send(Message("main", meter, "receipt", payload))

    def take(self, transaction, ledger, message):
        meter, payload = message.meter, message.payload
        if message.kind == "ask":
            try:
                ledger.ask(meter, payload)
            except FrameError:
                self.world.refused += 1
            return
        sha256 = hashlib.sha256(payload).digest()
        try:
            cls, epoch, sequence = number(meter, payload)
        except FrameError:
            transaction.dead.add((meter, payload))
            ledger.unreadable(meter, sha256)
            return
        transaction.store(meter, payload)
        ledger.frame(meter, cls, epoch, sequence, sha256)

    def backup(self):
        self.backups = self.backups[-2:] + [self.database.copy()]

    def restore(self, which):
        self.database = self.backups[which % len(self.backups)].copy()
        self.open(0)
        self.open(1)


class World:
    def __init__(self, capacity=16, concentrator_capacity=20, third="local"):
        self.random = random.Random(1)
        self.now = 1_700_000_000
        self.queue = []
        self.history = []
        self.sent = 0
        self.made = set()
        self.dropped = set()
        self.excused = set()
        self.ever = {"local": set(), "main": set()}  # what the receiver there had durably at some time
        self.declared = set()  # drops that the cloud knew of at some time
        self.numbers = {}
        self.cloned_epochs = set()
        self.refused = 0
        self.setbacks = 0
        self.profiles = {meter: [] for meter in METERS}
        self.keys = {}
        self.cloud = Cloud(self)
        self.concentrator = Concentrator(self, "concentrator", "main", concentrator_capacity)
        self.adapters = [
            Adapter(self, "one", METERS[0], "local", capacity),
            Adapter(self, "two", METERS[0], "main", capacity),
            Adapter(self, "three", METERS[1], third, capacity),
        ]
        for node in [self.concentrator, *self.adapters]:
            self.keys[key_id(node.key)] = node.key

    def random_bytes(self, count):
        return bytes(self.random.randrange(256) for _ in range(count))

    def new_epoch(self):
        return self.random.getrandbits(32)

    def find_key(self, meter, name):
        return self.keys.get(name)

    def nodes(self):
        return [self.concentrator, *self.adapters]

    def check_number(self, meter, entry):
        """A number is never used twice, unless a running machine was copied, its memory included."""
        name = (meter, entry.cls, entry.epoch, entry.sequence)
        known = self.numbers.setdefault(name, entry.frame)
        assert known == entry.frame or entry.epoch in self.cloned_epochs, "a number was used twice"

    def send(self, message):
        self.queue.append(message)
        self.sent += 1
        self.history.append(message)
        del self.history[:-400]

    def deliver(self, message, worker=0):
        if message.kind == "receipt":
            for node in self.nodes():
                if node.where == message.where:
                    node.receive(message.meter, message.payload)
        elif message.where == "local":
            self.concentrator.take(message)
        else:
            self.cloud.inboxes[worker].append(message)

    def stored(self, where, meter, frame):
        """Does the receiver there have this frame durably, or has it passed it on?"""
        if self.cloud.database.holds(meter, frame):
            return True
        if where == "main":
            return False
        return (meter, frame) in self.concentrator.box.synced or (meter, frame) in self.dropped

    def homeless(self):
        """Frames that were made and now are nowhere: not held, not stored, not known to be dropped."""
        held = set()
        ranges = set(self.declared)
        for node in self.nodes():
            held |= node.box.frames()
            ranges |= {(meter, *drop) for meter in METERS for drop in node.box.drops(meter)}
        gone = {f for f in self.made - held if not self.cloud.database.holds(*f)}
        return {f for f in gone if f not in self.dropped or not covered(ranges, *f)}

    def after_fault(self):
        self.setbacks += 1
        self.excused |= self.homeless()

    def check(self):
        """What must hold at all times."""
        for node in self.nodes():
            forgotten = {(e.meter, e.frame) for e in node.box.kept()}
            unknown = forgotten - self.ever[node.where] - self.dropped
            assert not unknown, "forgotten, but its receiver never had it"
        lost = self.homeless() - self.excused
        # The stated limits: receipted, its space used, and then its receiver was set back; or dropped, and
        # the declaration lost with a receiver that was set back.
        limits = self.ever["local"] | self.ever["main"] | (self.dropped if self.setbacks else set())
        assert lost <= limits, "the last trace of a frame is gone"
        self.excused |= lost
        self.check_rows()

    def check_rows(self):
        """Every row is a reading that was made, every revision a content that it had."""
        truth = {}
        for meter, frame in self.made:
            reading, content = row_of(frame)
            truth.setdefault((meter, reading), set()).add(content)
        for key, revisions in self.cloud.database.rows.items():
            assert len(set(revisions)) == len(revisions) and set(revisions) <= truth[key]

    def one_round(self, worker=0, most=50, loss=0, crashes=("", "")):
        """All that is there is read, sent, delivered and committed; `loss` of 8 messages are lost."""
        self.now += 10
        for adapter in self.adapters:
            adapter.read_profile(most)
        for node in self.nodes():
            node.publish(most)
            node.box.flush()
        queue, self.queue = self.queue, []
        for message in queue:
            if self.random.randrange(8) >= loss:
                self.deliver(message, worker)
        self.concentrator.commit(crashes[0])
        self.cloud.commit(worker, crashes[1])
        if not loss:
            self.cloud.commit(1 - worker)
        if crashes[0]:
            self.after_fault()

    def drain(self):
        """With all faults off: how many rounds until nothing is left to do; bounded by the work."""
        frames = sum(len(node.box.frames()) for node in self.nodes())
        rounds = 100 + 4 * (frames + sum(len(self.profiles[adapter.meter]) for adapter in self.adapters))
        for node in self.nodes():
            node.connect()
        checked = False
        for i in range(rounds):
            before = self.sent
            self.one_round(i % 2)
            if self.sent != before:
                continue
            # Nothing moves: those who are owed an answer lose patience, not all at the same moment. Once,
            # all look for a restored receiver.
            waiting = [node for node in self.nodes() if node.sender.waiting]
            if waiting:
                for node in self.random.sample(waiting, self.random.randint(1, len(waiting))):
                    node.sender.stalled()
            elif not checked:
                checked = True
                for node in self.nodes():
                    node.sender.check()
            elif self.settled():
                return i
        raise AssertionError("stuck: %s" % self.state())

    def settled(self):
        return all(not n.box.pending() and not any(n.box.drops(m) for m in METERS) for n in self.nodes())

    def state(self):
        return [
            (n.name, [(e.meter[-3:], e.cls, e.epoch, e.sequence) for e in n.box.pending()])
            for n in self.nodes()
        ]

    def check_end(self):
        """After draining: nothing missing, nothing doubled."""
        self.check()
        for node in self.nodes():
            node.box.check_storage()
        database = self.cloud.database
        for f in self.made - self.excused:
            assert database.holds(*f) or f in self.dropped, "a frame is missing at the end"
            assert database.holds(*f) or covered(self.declared, *f), "a drop was not declared"
        for meter, stored in self.profiles.items():
            for n, contents in enumerate(stored):
                key = (meter, ("stored", n))
                if key in database.tombstones:
                    continue
                known = database.rows.get(key)
                dead = {row_of(f) for m, f in database.dead if m == meter and f[:1] == b"\xc1"}
                if known is None:
                    assert any(("stored", n) == reading for reading, _ in dead), "an interval is missing"
                else:
                    assert set(known) <= set(contents)
