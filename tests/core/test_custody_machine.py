"""Custody under every fault at once: nothing acknowledged is lost, nothing doubled, nothing stuck.

A Hypothesis state machine over tests/custody_world.py. OSGP_CUSTODY_EXAMPLES sets how many histories are
tried (default 40), each of at most OSGP_CUSTODY_STEPS steps (default 50).
"""

import copy
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.transmission.custody import Receipt, range_digest
from gateway.transmission.sealing import key_id
from tests.custody_world import EVENTS, METERS, PRESENT, REGISTERS, Adapter, Message, World

# Every history ends by itself; long runs are asked for.
pytestmark = pytest.mark.timeout(0)

INDEX = st.integers(0, 63)
CRASH = st.sampled_from(["", "", "", "before", "after"])
STORED = st.sampled_from(["", "", "", "", "before", "within", "within", "after"])


class CustodyMachine(RuleBasedStateMachine):
    @initialize(
        capacity=st.sampled_from([8, 14, 100]),
        between=st.sampled_from([10, 150]),
        third=st.sampled_from(["local", "main"]),
    )
    def start(self, capacity, between, third):
        self.world = World(capacity, between, third)

    def adapter(self, i):
        return self.world.adapters[i % len(self.world.adapters)]

    def node(self, i):
        return self.world.nodes()[i % len(self.world.nodes())]

    # What happens every day.

    @rule(i=INDEX, count=st.integers(1, 4), most=st.integers(1, 6), garble=st.booleans())
    def profile(self, i, count, most, garble):
        adapter = self.adapter(i)
        stored = self.world.profiles[adapter.meter]
        for _ in range(count):
            stored.append([0])
        adapter.read_profile(most, garble and i % 4 == 0)

    @rule(i=INDEX, cls=st.sampled_from([EVENTS, REGISTERS, PRESENT, PRESENT]), count=st.integers(1, 6))
    def others(self, i, cls, count):
        for _ in range(count):
            self.adapter(i).make(cls, 0, self.world.random.getrandbits(16), garble=i % 8 == 0)

    @rule(i=INDEX)
    def the_same_reading_with_other_content(self, i):
        stored = self.world.profiles[self.adapter(i).meter]
        if stored:
            stored[i % len(stored)].append(len(stored[i % len(stored)]))

    @rule(i=INDEX, most=st.integers(1, 8))
    def publish(self, i, most):
        self.node(i).publish(most)

    @rule(i=INDEX)
    def sync(self, i):
        self.node(i).box.flush()

    @rule(count=st.integers(1, 12), worker=st.integers(0, 1))
    def deliver_in_order(self, count, worker):
        for _ in range(min(count, len(self.world.queue))):
            self.world.deliver(self.world.queue.pop(0), worker)

    @rule(crash=STORED)
    def concentrator_commits(self, crash):
        self.world.concentrator.commit(crash)
        if crash:
            self.world.after_fault()

    @rule(worker=st.integers(0, 1), crash=CRASH)
    def cloud_commits(self, worker, crash):
        self.world.cloud.commit(worker, crash)

    @rule(rounds=st.integers(1, 6), worker=st.integers(0, 1))
    def a_quiet_hour(self, rounds, worker):
        """Everything works for a while: that leads to states where faults hurt."""
        for _ in range(rounds):
            self.world.one_round(worker)

    @rule(
        rounds=st.integers(1, 6),
        worker=st.integers(0, 1),
        loss=st.integers(0, 2),
        crashes=st.tuples(
            st.sampled_from(["before", "", "within", "after"]), st.sampled_from(["before", "", "after"])
        ),
    )
    def a_bad_hour(self, rounds, worker, loss, crashes):
        for i in range(rounds):
            self.make_some(i)
            self.world.one_round(worker, 6, loss, crashes if i == rounds - 1 else ("", ""))

    @rule(rounds=st.integers(1, 6), worker=st.integers(0, 1))
    def a_busy_hour(self, rounds, worker):
        for i in range(rounds):
            self.make_some(i)
            self.world.one_round(worker, 8)

    @rule(rounds=st.integers(1, 12))
    def cloud_loses_hours(self, rounds):
        """Restored from a backup that is some hours old, with good business before and since."""
        self.a_busy_hour(4, 0)
        self.cloud_is_backed_up()
        self.a_busy_hour(rounds, 0)
        self.cloud_is_restored(-1)

    @rule(i=INDEX, rounds=st.integers(1, 12))
    def flash_loses_hours(self, i, rounds):
        self.flash_is_imaged(i)
        self.a_busy_hour(rounds, 1)
        self.flash_is_set_back(i, -1)

    def make_some(self, i):
        for stored in self.world.profiles.values():
            stored.append([0])
        for adapter in self.world.adapters:
            adapter.make(PRESENT if i % 2 else REGISTERS, 0, self.world.random.getrandbits(16))

    @rule(i=INDEX)
    def patience_ends(self, i):
        self.node(i).sender.stalled()

    @rule(i=INDEX)
    def reader_checks(self, i):
        self.node(i).sender.check()

    @rule(meter=st.sampled_from(METERS), i=INDEX)
    def reading_is_deleted(self, meter, i):
        database = self.world.cloud.database
        rows = sorted(key for key in database.rows if key[0] == meter)
        if rows:
            del database.rows[rows[i % len(rows)]]
            database.tombstones.add(rows[i % len(rows)])

    # Faults of the ways between.

    @precondition(lambda self: self.world.queue)
    @rule(i=INDEX)
    def lose(self, i):
        self.world.queue.pop(i % len(self.world.queue))

    @precondition(lambda self: self.world.queue)
    @rule(i=INDEX, worker=st.integers(0, 1))
    def overtake(self, i, worker):
        self.world.deliver(self.world.queue.pop(i % len(self.world.queue)), worker)

    @precondition(lambda self: self.world.history)
    @rule(i=st.integers(0, 400), worker=st.integers(0, 1))
    def double_or_replay(self, i, worker):
        self.world.deliver(self.world.history[i % len(self.world.history)], worker)

    @rule(where=st.sampled_from(["local", "main"]))
    def broker_loses_its_store(self, where):
        self.world.queue = [m for m in self.world.queue if m.where != where]
        for node in self.world.nodes():
            if node.where == where:
                node.connect()

    @precondition(lambda self: any(m.kind != "frame" for m in self.world.history))
    @rule(i=INDEX, at=st.integers(0, 2000), bit=st.integers(0, 7), turn=st.booleans())
    def forge(self, i, at, bit, turn):
        """One bit changed, or the message of one meter on the topic of the other: never believed."""
        messages = [m for m in self.world.history if m.kind != "frame"]
        m = messages[-1 - i % len(messages)]
        payload = bytearray(m.payload)
        meter = m.meter
        if turn:
            meter = METERS[1 - METERS.index(meter)]
        else:
            payload[at % len(payload)] ^= 1 << bit
        self.world.deliver(Message(m.where, meter, m.kind, bytes(payload)))

    @rule(i=INDEX, how=st.sampled_from(["no proof", "no key", "never sent"]))
    def false_receipt(self, i, how):
        """Of this conversation, about frames that are there, and yet not to be believed."""
        node = self.node(i)
        for meter in METERS:
            one = node.sender._meters.get(meter)
            if one is None or not one.settled:
                continue
            for e in node.box.pending():
                sent = (e.cls, e.epoch, e.sequence) in one.flight
                if e.meter != meter or e.epoch != node.box.epoch or sent == (how == "never sent"):
                    continue
                if how == "never sent" and e.sequence < one.sent[e.cls]:
                    continue
                digest = bytes(32) if how == "no proof" else range_digest([e.sha256()])
                session, position = one.marks[-1]
                ranges = [(e.cls, e.epoch, e.sequence, e.sequence, digest)]
                receipt = Receipt(one.nonce, one.generation, 0, session, position, ranges)
                payload = receipt.encode(bytes(32) if how == "no key" else node.key, meter)
                if how == "no key":
                    payload = payload[:5] + key_id(node.key) + payload[9:]
                assert node.sender.receive(meter, payload) == 0

    # Faults of the parties.

    @rule(i=INDEX, flushed=st.booleans())
    def power_is_lost(self, i, flushed):
        node = self.node(i)
        if flushed:
            node.box.flush()
        node.lose_power()
        self.world.after_fault()

    @rule(i=INDEX, after=st.integers(0, 12))
    def power_is_lost_within_a_sync(self, i, after):
        self.node(i).lose_power(after)
        self.world.after_fault()

    @rule(i=INDEX)
    def flash_is_imaged(self, i):
        node = self.node(i)
        node.images = node.images[-2:] + [node.box.after_power(self.world.random.randrange)]

    @rule(i=INDEX, which=st.integers(0, 2))
    def flash_is_set_back(self, i, which):
        node = self.node(i)
        if node.images:
            node.restart(node.images[which % len(node.images)].copy())
            self.world.after_fault()

    @precondition(lambda self: len(self.world.adapters) < 5)
    @rule(i=st.integers(0, 2))
    def card_is_cloned(self, i):
        self.clone(i, running=False)

    @precondition(lambda self: len(self.world.adapters) < 5)
    @rule(i=st.integers(0, 2))
    def running_machine_is_cloned(self, i):
        """A snapshot of a virtual machine: the epoch is used by both from here on."""
        self.clone(i, running=True)

    def clone(self, i, running):
        original = self.adapter(i)
        twin = Adapter(self.world, original.name, original.meter, original.where, original.box.blocks)
        if running:
            twin.box = original.box.copy()
            twin.box.on_append = None
            self.world.cloned_epochs.add(twin.box.epoch)
            twin.boot()
            for meter, one in original.sender._meters.items():
                twin.sender._meters[meter] = copy.deepcopy(one)
                twin.sender._turn.append(meter)
            twin.asked, twin.answered = dict(original.asked), set(original.answered)
        else:
            twin.restart(original.box.after_power(self.world.random.randrange))
        self.world.adapters.append(twin)

    @rule(worker=st.integers(0, 1))
    def cloud_worker_restarts(self, worker):
        self.world.cloud.open(worker)

    @rule()
    def cloud_is_backed_up(self):
        self.world.cloud.backup()

    @rule(which=st.integers(0, 2))
    def cloud_is_restored(self, which):
        self.world.cloud.restore(which)
        self.world.after_fault()

    @invariant()
    def nothing_acknowledged_is_lost(self):
        self.world.now += 1
        self.world.check()

    def teardown(self):
        if hasattr(self, "world"):
            self.world.drain()
            self.world.check_end()


TestCustody = CustodyMachine.TestCase
TestCustody.settings = settings(
    max_examples=int(os.environ.get("OSGP_CUSTODY_EXAMPLES", "25")),
    stateful_step_count=int(os.environ.get("OSGP_CUSTODY_STEPS", "50")),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
