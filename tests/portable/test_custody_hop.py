"""One hop by the real machines: a sender's outbox on one side, a concentrator's on the other."""

import asyncio
import hashlib
import unittest

from gateway.core.custody import Sender
from gateway.core.memory_outbox import MemoryOutbox
from gateway.core.receiver import Receiver
from gateway.errors import FrameError
from gateway.transmission.custody import Ask, Receipt, decode, hop_key
from gateway.transmission.packer import pack, unpack

METER = b"meter-number-one"
OTHER = b"meter-number-two"
EVENTS, PROFILE, REGISTERS, PRESENT = range(4)
KEY = hop_key(b"a credential")


class Random:
    def __init__(self):
        self.count = 0

    def __call__(self, count):
        self.count += 1
        return hashlib.sha256(str(self.count).encode()).digest()[:count]


def number(meter, frame):
    cls, epoch, sequence, _ = unpack(frame)
    return cls, epoch, sequence


class Hop:
    """`sent`: (class, sequence) of frames in the order of their sending."""

    def __init__(self, key=KEY, window=32, capacity=100000):
        self.random = Random()
        self.box = MemoryOutbox(capacity, epoch=1)
        self.rewinds = []
        self.sender = Sender(self.box, key, self.random, lambda *lost: self.rewinds.append(lost), window)
        self.far = MemoryOutbox(1000000, epoch=2)
        self.now = 1000
        self.sent = []
        self.messages = []
        self.replies = []
        self.open_receiver()
        self.sender.connected()

    def open_receiver(self):
        self.receiver = Receiver(self.far, lambda meter, name: KEY, number, self.random, self.now)

    def add(self, cls, count=1, meter=METER, content=b""):
        for _ in range(count):
            self.box.append(meter, cls, lambda epoch, sequence: pack([cls, epoch, sequence, content]))

    def publish(self):
        """What the sender wants to send now, frames decoded to (class, sequence), asks to Ask."""
        out = []
        message = self.sender.next()
        while message is not None:
            self.messages.append(message)
            if message.entry is None:
                out.append(decode(message.meter, message.payload, lambda name: KEY)[1])
            else:
                out.append((message.entry.cls, message.entry.sequence))
            message = self.sender.next()
        return out

    def arrive(self, lose=()):
        """All published messages arrive, are committed and answered; `lose` by their place."""
        messages, self.messages = self.messages, []
        for i, message in enumerate(messages):
            if i in lose:
                continue
            if message.entry is None:
                self.receiver.ask(message.meter, message.payload)
            else:
                self.receiver.frame(message.meter, message.payload)
        self.now += 10
        self.replies = self.receiver.finish(self.now)
        asyncio.run(self.far.sync())
        return self.replies

    def reply(self):
        replies, self.replies = self.replies, []
        return sum(self.sender.receive(meter, payload) for meter, payload in replies)

    def turn(self):
        out = self.publish()
        self.arrive()
        self.reply()
        return out

    def pending(self, cls=PROFILE):
        return self.box.runs(METER, cls, 1)


class HopTest(unittest.TestCase):
    def test_asks_before_it_sends_and_forgets_after_the_receipt(self):
        hop = Hop()
        hop.add(PROFILE, 3)
        (ask,) = hop.publish()
        self.assertTrue(isinstance(ask, Ask))
        self.assertEqual(hop.sender.next(), None)
        hop.arrive()
        self.assertEqual(hop.reply(), 0)
        self.assertEqual(hop.publish(), [(PROFILE, 0), (PROFILE, 1), (PROFILE, 2)])
        hop.arrive()
        self.assertEqual(hop.pending(), [(0, 2)])
        self.assertEqual(hop.reply(), 3)
        self.assertEqual(hop.pending(), [])
        self.assertFalse(hop.sender.waiting)

    def test_after_a_reconnect_only_what_is_missing_is_sent_again(self):
        hop = Hop()
        hop.add(PROFILE, 5)
        hop.turn()
        hop.publish()
        hop.arrive(lose=(2,))
        hop.replies = []
        hop.sender.disconnected()
        self.assertIsNone(hop.sender.next())
        hop.sender.connected()
        (ask,) = hop.publish()
        self.assertEqual([runs for cls, _, _, runs in ask.streams if cls == PROFILE], [[(0, 4)]])
        hop.arrive()
        self.assertEqual(hop.reply(), 4)
        self.assertEqual(hop.publish(), [(PROFILE, 2)])

    def test_a_receipt_from_before_the_last_ask_is_not_believed(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.turn()
        hop.publish()
        late = hop.arrive()
        hop.sender.disconnected()
        hop.sender.connected()
        hop.publish()
        self.assertEqual(sum(hop.sender.receive(m, p) for m, p in late), 0)
        self.assertEqual(hop.pending(), [(0, 0)])
        self.assertEqual(hop.sender.refused, 0)

    def test_forged_and_misdirected_receipts_are_refused_and_counted(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.add(PROFILE, 1, OTHER)
        hop.turn()
        hop.publish()
        for meter, payload in hop.arrive():
            damaged = bytearray(payload)
            damaged[-20] ^= 1
            self.assertEqual(hop.sender.receive(meter, bytes(damaged)), 0)
            self.assertEqual(hop.sender.receive(OTHER if meter == METER else METER, payload), 0)
        self.assertEqual(hop.sender.refused, 4)
        self.assertEqual(hop.reply(), 2)

    def receipt(self, hop, cls, epoch, last, digest=bytes(32)):
        payload = hop.arrive()[0][1]
        r = decode(METER, payload, lambda name: KEY)[1]
        ranges = [(cls, epoch, 0, last, digest)]
        return Receipt(r.nonce, r.generation, 0, r.session, r.position + 1, ranges).encode(KEY, METER)

    def test_a_receipt_for_what_was_never_sent_is_refused(self):
        hop = Hop(window=2)
        hop.add(PROFILE, 3)
        hop.turn()
        hop.publish()
        self.assertEqual(hop.sender.receive(METER, self.receipt(hop, PROFILE, 1, 2)), 0)
        self.assertEqual(hop.sender.refused, 1)

    def test_a_foreign_epoch_is_ignored_in_silence(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.turn()
        hop.publish()
        self.assertEqual(hop.sender.receive(METER, self.receipt(hop, PROFILE, 3, 5)), 0)
        self.assertEqual((hop.sender.refused, hop.sender.mismatched), (0, 0))

    def test_a_wrong_digest_forgets_nothing(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.turn()
        hop.publish()
        self.assertEqual(hop.sender.receive(METER, self.receipt(hop, PROFILE, 1, 0)), 0)
        self.assertEqual(hop.sender.mismatched, 1)
        self.assertEqual(hop.reply(), 1)

    def test_live_values_are_not_starved_by_a_backlog(self):
        hop = Hop(window=100)
        hop.add(PROFILE, 50)
        hop.turn()
        hop.add(PRESENT, 5)
        hop.add(EVENTS, 2)
        out = hop.publish()
        self.assertTrue(out.index((PRESENT, 0)) < 4)
        self.assertTrue(out.index((PRESENT, 4)) < 20)
        self.assertTrue(out.index((EVENTS, 1)) < 4)
        self.assertEqual([s for cls, s in out if cls == PROFILE], list(range(50)))

    def test_the_window_holds_back_each_meter_by_itself(self):
        hop = Hop(window=4)
        hop.add(PROFILE, 10)
        hop.turn()
        self.assertEqual(len(hop.publish()), 4)
        hop.add(PROFILE, 10, OTHER)
        self.assertEqual(len(hop.publish()), 1)  # the other meter's ask
        hop.arrive()
        hop.reply()
        self.assertEqual(len(hop.publish()), 8)

    def test_an_unanswered_ask_is_repeated_as_it_is(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.publish()
        first = hop.messages.pop().payload
        self.assertTrue(hop.sender.waiting)
        hop.add(PROFILE)
        hop.sender.stalled()
        hop.publish()
        self.assertEqual(hop.messages[0].payload, first)

    def test_what_no_one_can_read_blocks_nothing(self):
        hop = Hop()
        hop.box.append(METER, PROFILE, lambda epoch, sequence: b"\xc1 no frame")
        hop.add(PROFILE)
        hop.turn()
        hop.turn()
        self.assertEqual(hop.pending(), [(0, 0)])
        hop.sender.stalled()
        (ask,) = hop.publish()
        self.assertEqual([claim[2] for claim in ask.claims], [0])
        hop.arrive()
        self.assertEqual(hop.reply(), 1)
        self.assertEqual([e.frame for e in self.held(hop.far, REGISTERS)], [b"\xc1 no frame"])

    def held(self, box, cls):
        found = []
        entry = box.following(METER, cls, -1)
        while entry is not None:
            found.append(entry)
            entry = box.following(METER, cls, entry.place)
        return found

    def restore(self, hop, notes):
        """The receiver's storage is set back to `notes`, works on for a while, and is asked."""
        hop.far = MemoryOutbox(100000, epoch=3)
        hop.far._notes = notes
        hop.now += 1000
        for _ in range(2):
            hop.open_receiver()
            hop.receiver.ask(OTHER, Ask(bytes(8), b"", [], [], [], []).encode(KEY, OTHER))
            hop.receiver.finish(hop.now)
        hop.sender.check()
        for _ in range(4):
            hop.turn()

    def test_a_restored_receiver_is_found_out_and_everything_offered_again(self):
        hop = Hop()
        hop.add(PROFILE, 2)
        hop.turn()
        hop.turn()
        backup, at = dict(hop.far._notes), hop.now
        hop.add(PROFILE, 2)
        hop.turn()
        self.assertEqual(hop.pending(), [])
        self.restore(hop, backup)
        self.assertEqual(hop.rewinds, [(METER, at)])
        self.assertEqual(hop.far.runs(METER, PROFILE, 1), [(0, 3)])
        self.assertEqual(hop.pending(), [])

    def test_a_backup_that_does_not_know_the_session_is_found_out_too(self):
        hop = Hop()
        hop.add(PROFILE, 2)
        hop.turn()
        hop.turn()
        backup, at = dict(hop.far._notes), hop.now
        hop.now += 500
        hop.open_receiver()
        hop.add(PROFILE, 2)
        hop.sender.check()
        hop.turn()
        hop.turn()
        self.assertEqual(hop.pending(), [])
        self.restore(hop, backup)
        self.assertEqual(hop.rewinds, [(METER, at)])
        self.assertEqual(hop.far.runs(METER, PROFILE, 1), [(0, 3)])

    def test_two_receivers_with_one_credential_are_noticed(self):
        hop = Hop()
        hop.add(PROFILE, 1)
        hop.turn()
        hop.turn()
        ours, others = hop.far._notes[b"generation/" + METER], pack([bytes(8), 0])
        for changes in range(4):
            hop.far._notes[b"generation/" + METER] = (others, ours)[changes % 2]
            hop.sender.check()
            hop.turn()
            hop.turn()
        self.assertEqual((hop.sender.rewinds, hop.sender.contested), (4, 3))

    def test_a_restarted_sender_finds_it_out_by_its_notes(self):
        hop = Hop()
        hop.add(PROFILE, 2)
        hop.turn()
        hop.turn()
        backup, at = dict(hop.far._notes), hop.now
        hop.add(PROFILE, 2)
        hop.turn()
        hop.sender = Sender(hop.box, KEY, hop.random, lambda *lost: hop.rewinds.append(lost))
        hop.sender.connected()
        self.restore(hop, backup)
        self.assertEqual(hop.rewinds, [(METER, at)])
        self.assertEqual(hop.far.runs(METER, PROFILE, 1), [(0, 3)])

    def test_a_receiver_that_lost_everything_is_given_everything(self):
        hop = Hop()
        hop.add(PROFILE, 2)
        hop.turn()
        hop.turn()
        self.restore(hop, {})
        self.assertEqual(hop.rewinds, [(METER, 0)])
        self.assertEqual(hop.far.runs(METER, PROFILE, 1), [(0, 1)])

    def test_a_new_opening_makes_the_sender_ask(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.turn()
        hop.turn()
        streams = hop.receiver._store._streams
        hop.open_receiver()
        hop.receiver._store._streams = streams
        hop.add(PROFILE)
        hop.turn()
        self.assertEqual(hop.pending(), [])
        (ask,) = hop.turn()
        self.assertEqual(len(ask.marks), 2)
        self.assertEqual((hop.publish(), hop.rewinds), ([], []))

    def test_a_mere_restart_of_the_receiver_costs_nothing(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.turn()
        hop.turn()
        hop.open_receiver()
        hop.add(PROFILE)
        hop.turn()
        self.assertEqual(hop.pending(), [(1, 1)])  # it does not know yet who asked
        hop.sender.stalled()
        hop.turn()
        hop.turn()
        self.assertEqual((hop.pending(), hop.rewinds), ([], []))

    def test_drops_are_declared_until_they_are_known(self):
        hop = Hop(capacity=500)
        hop.add(PRESENT, 8)
        (ask,) = hop.publish()
        self.assertEqual([drop[0] for drop in ask.drops], [PRESENT])
        self.assertTrue(hop.box.drops(METER))
        hop.arrive()
        hop.reply()
        self.assertEqual(hop.box.drops(METER), [])
        self.assertEqual(list(hop.far.drops(METER)), list(ask.drops))

    def test_no_receipt_for_a_frame_without_room(self):
        hop = Hop()
        hop.far = MemoryOutbox(100, epoch=2)
        hop.open_receiver()
        hop.add(PROFILE, 2)
        hop.turn()
        hop.turn()
        self.assertEqual(hop.pending(), [(0, 1)])

    def test_with_a_plain_broker_its_acknowledgement_is_all_there_is(self):
        hop = Hop(key=None)
        hop.add(PROFILE, 2)
        self.assertEqual(hop.publish(), [(PROFILE, 0), (PROFILE, 1)])
        hop.sender.acknowledged(hop.messages[0].entry)
        self.assertEqual(hop.pending(), [(1, 1)])
        hop.sender.disconnected()
        hop.sender.connected()
        self.assertEqual(hop.publish(), [(PROFILE, 1)])

    def test_a_hostile_ask_is_refused(self):
        hop = Hop()
        hop.add(PROFILE)
        hop.publish()
        payload = bytearray(hop.messages[0].payload)
        payload[30] ^= 1
        self.assertRaises(FrameError, hop.receiver.ask, METER, bytes(payload))
        self.assertRaises(FrameError, hop.receiver.ask, METER, b"")
        self.assertEqual(hop.receiver.finish(hop.now), [])

    def test_many_short_epochs_that_are_offered_again_are_not_sent_again(self):
        hop = Hop()
        for epoch in range(1000, 1150):
            for sequence in range(2):
                frame = pack([PROFILE, epoch, sequence, b""])
                hop.box.append_foreign(METER, PROFILE, epoch, sequence, frame)
        turns = 0
        while hop.box.streams(METER):
            hop.turn()
            turns += 1
        self.assertTrue(turns <= 40, turns)
        hop.box.offer_again(METER)
        hop.sender.connected()
        frames = 0
        while hop.box.streams(METER):
            frames += len([one for one in hop.turn() if not isinstance(one, Ask)])
        self.assertEqual(frames, 0)

    def test_a_receiver_that_has_to_vouch_anew_does_so_for_what_it_still_holds(self):
        hop = Hop()
        hop.add(PROFILE, 3)
        while hop.pending():
            hop.turn()
        hop.receiver.rewind(METER, 7)
        hop.sender.check()
        frames = []
        for _ in range(4):
            frames += [one for one in hop.turn() if not isinstance(one, Ask)]
        self.assertEqual((hop.rewinds, frames, hop.pending()), ([(METER, 7)], [], []))

    def test_what_the_ledger_forgets_costs_a_repetition_only(self):
        hop = Hop()
        hop.add(PROFILE, 3)
        hop.turn()
        hop.publish()
        hop.arrive()
        hop.replies = []
        hop.receiver._store._streams.clear()
        hop.sender.stalled()
        hop.turn()
        self.assertEqual(hop.pending(), [(0, 2)])
        hop.turn()
        self.assertEqual(hop.pending(), [])
        self.assertEqual(hop.far.runs(METER, PROFILE, 1), [(0, 2)])
