"""Which of two applications runs, with a flash that loses power before every single one of its operations."""

import hashlib
import sys
import unittest

import durable_file
import slots

from tests import fake_disk
from tests.fake_disk import Disk, PowerLost

OLD = b"the old application " * 20
NEW = b"the new application " * 25
BLOCK = 64


class Flash(Disk):
    """With littlefs's promises: what was flushed is durable, a rename or removal is one step and durable.
    `images`: of the slots, written block by block."""

    def __init__(self, full_at=None):
        super().__init__(full_at)
        self.images = {"a": b"", "b": b""}

    def after(self, choose):
        """The flash, once the power is back."""
        held = self.crashed(choose)
        flash = Flash()
        flash.names = held.names
        flash.images = self.images
        return flash


class _Handle(fake_disk._Handle):
    def flush(self):
        self.sync()
        self._inode.named = True


class _System(fake_disk._System):
    def remove(self, path):
        super().remove(path)
        path.disk.gone = []

    def rename(self, old, new):
        super().rename(old, new)
        new.disk.moved = []
        new.disk.names[new.name].named = True


def _open(path, mode):
    return _Handle(path, {"wb": "w+b", "rb": "rb"}[mode])


def _read(self):
    return self._inode.data


class Medium:
    whole = True

    def __init__(self, flash):
        self.flash = flash

    def path(self, slot):
        return "test_slots/" + slot

    def digest(self, slot, record):
        return hashlib.sha256(self.flash.images[slot][: record["size"]]).digest().hex()

    def enter(self, slot):
        sys.path.insert(0, self.path(slot))

    def write(self, slot, image):
        self.flash.images[slot] = b""
        for at in range(0, len(image), BLOCK):
            try:
                self.flash.step()
            except PowerLost:
                self.flash.images[slot] += image[at : at + BLOCK // 2]
                raise
            self.flash.images[slot] += image[at : at + BLOCK]


def forget_paths():
    sys.path[:] = [path for path in sys.path if not path.startswith("test_slots/")]


class Board:
    """One life of the board, from power-on to the loss of power."""

    def __init__(self, flash):
        forget_paths()
        self.flash = flash
        self.slots = slots.Slots(fake_disk._Path(flash), Medium(flash))
        self.slot = self.slots.choose()

    def runs(self):
        """The application's bytes."""
        record = self.slots.record(self.slot)
        return self.flash.images[self.slot][: record["size"]]

    def update(self, image, version):
        spare = self.slots.spare()
        self.slots.clear(spare)
        self.slots.medium.write(spare, image)
        record = {"version": version, "size": len(image)}
        record["digest"] = self.slots.medium.digest(spare, record)
        self.slots.begin_trial(spare, record, "note")


class TestSlots(unittest.TestCase):
    def setUp(self):
        self.kept = durable_file.os, getattr(durable_file, "open", None)
        durable_file.os = _System()
        durable_file.open = _open
        self.read = getattr(_Handle, "read", None)
        _Handle.read = _read
        self.flash = Flash()
        Board(self.flash).update(OLD, "1.0")
        board = Board(self.flash)
        board.slots.confirm()
        self.assertEqual(board.slots.report()["last"], ["note", "1.0", True, ""])

    def tearDown(self):
        forget_paths()
        _Handle.read = self.read
        durable_file.os = self.kept[0]
        del durable_file.open

    def test_first_start_of_an_empty_board(self):
        board = Board(Flash())
        self.assertEqual((board.slot, board.slots.report()["state"]), ("", "safe mode"))
        self.assertEqual(board.slots.spare(), "a")

    def test_a_good_version_is_tried_confirmed_and_kept(self):
        Board(self.flash).update(NEW, "2.0")
        board = Board(self.flash)
        self.assertEqual((board.runs(), board.slots.report()["state"]), (NEW, "trial"))
        self.assertEqual(board.slots.spare(), "")
        board.slots.confirm()
        for _ in range(10):
            board = Board(self.flash)
            self.assertEqual((board.runs(), board.slots.report()["state"]), (NEW, "good"))
        self.assertEqual(board.slots.report()["last"], ["note", "2.0", True, ""])

    def test_confirming_what_is_good_writes_nothing(self):
        board = Board(self.flash)
        before = self.flash.ops
        board.slots.confirm()
        self.assertFalse(board.slots.overdue(10**9))
        self.assertEqual(self.flash.ops, before)

    def test_a_version_that_never_reaches_the_broker_is_given_up(self):
        Board(self.flash).update(NEW, "2.0")
        ran = [Board(self.flash).runs() for _ in range(6)]
        self.assertTrue(ran == [NEW] * slots.MOST_BOOTS + [OLD] * (6 - slots.MOST_BOOTS))
        last = Board(self.flash).slots.report()["last"]
        self.assertEqual(last[:3], ["note", "2.0", False])
        self.assertIn("did not reach the broker", last[3])

    def test_a_version_that_runs_too_long_without_the_broker_is_given_up(self):
        Board(self.flash).update(NEW, "2.0")
        board = Board(self.flash)
        self.assertFalse(board.slots.overdue(slots.TRIAL_MS - 1))
        self.assertTrue(board.slots.overdue(slots.TRIAL_MS))
        self.assertEqual(Board(self.flash).runs(), OLD)
        # Its slot is free for the next one.
        Board(self.flash).update(NEW, "2.1")
        self.assertEqual(Board(self.flash).runs(), NEW)

    def test_a_damaged_slot_is_not_entered(self):
        Board(self.flash).update(NEW, "2.0")
        board = Board(self.flash)
        board.slots.confirm()
        board.flash.images[board.slot] = NEW[:-1] + b"?"
        board = Board(self.flash)
        self.assertEqual((board.runs(), board.slots.report()["state"]), (OLD, "good"))
        # Once it was left it is not returned to: its place is the spare one.
        self.assertEqual(board.slots.spare(), slots.other(board.slot))
        board.flash.images[board.slot] = b""
        board = Board(self.flash)
        self.assertEqual(board.slots.report()["state"], "safe mode")
        board.update(NEW, "2.1")
        self.assertEqual(Board(self.flash).runs(), NEW)

    def test_a_damaged_image_on_trial(self):
        board = Board(self.flash)
        board.update(NEW, "2.0")
        board.flash.images[board.slots.state["trial"]] = NEW[:-1]
        board = Board(self.flash)
        self.assertEqual(board.runs(), OLD)
        self.assertIn("damaged", board.slots.report()["last"][3])

    def test_a_slot_that_is_being_written_is_empty(self):
        board = Board(self.flash)
        board.update(NEW, "2.0")
        spare = board.slots.state["trial"]
        board.slots.clear(spare)
        self.assertIsNone(board.slots.record(spare))
        self.assertEqual(Board(self.flash).slots.report()["last"][:3], ["note", "2.0", False])

    def test_files_of_any_nonsense(self):
        Board(self.flash).update(NEW, "2.0")
        for name in ("state", "a.slot", "b.slot"):
            for data in (b"", b"{}", bytes(100), self.flash.names[name].data[:-1], b"x" * 9 + b"{"):
                flash = self.flash.copy()
                flash = _with_images(flash, self.flash)
                flash.names[name] = fake_disk._Inode(data)
                board = Board(flash)
                self.assertIn(board.runs(), (OLD, NEW))

    def test_power_lost_before_each_operation_of_an_update(self):
        """Always one of the two runs, whole; what was confirmed stays."""
        for fate in (0, 1):
            cut = 0
            while True:
                flash = _with_images(self.flash.copy(), self.flash)
                done = self._live(flash, cut)
                flash = flash.after(lambda n, fate=fate: fate % n)
                board = Board(flash)
                self.assertIn(board.runs(), (NEW,) if done == "confirmed" else (OLD, NEW))
                # However it went: the same update goes through now.
                if not board.slots.spare():
                    board.slots.confirm()
                if board.runs() != NEW:
                    board.update(NEW, "2.0")
                    board = Board(flash)
                    self.assertEqual(board.runs(), NEW)
                    board.slots.confirm()
                self.assertEqual(Board(flash).runs(), NEW)
                if done == "confirmed":
                    break
                cut += 1
            self.assertTrue(cut > len(NEW) // BLOCK + 10)

    def test_power_lost_before_each_operation_of_a_way_back(self):
        for fate in (0, 1):
            cut = 0
            while True:
                flash = _with_images(self.flash.copy(), self.flash)
                Board(flash).update(NEW, "2.0")
                flash.ops, flash.cut_at = 0, cut
                starts, lost = [], False
                for _ in range(3 * slots.MOST_BOOTS):
                    try:
                        starts.append(Board(flash).runs())
                    except PowerLost:
                        lost = True
                        flash = flash.after(lambda n, fate=fate: fate % n)
                self.assertEqual(starts[-1], OLD)
                self.assertTrue(0 < starts.count(NEW) <= slots.MOST_BOOTS)
                self.assertEqual(Board(flash).slots.report()["last"][:3], ["note", "2.0", False])
                if not lost:
                    break
                cut += 1
            self.assertTrue(cut >= 3 * (slots.MOST_BOOTS + 1))

    def test_a_flash_that_takes_no_writes_starts_what_is_good(self):
        Board(self.flash).update(NEW, "2.0")
        self.flash.broken = True
        for _ in range(5):
            board = Board(self.flash)
            self.assertEqual(board.runs(), OLD)
            self.assertEqual(board.slots.spare(), slots.other(board.slot))

    def _live(self, flash, cut):
        """An update and its confirmation, until the power goes; "confirmed" when all of it was done."""
        flash.ops, flash.cut_at = 0, cut
        try:
            Board(flash).update(NEW, "2.0")
            Board(flash).slots.confirm()
        except PowerLost:
            return "lost"
        flash.cut_at = None
        return "confirmed"


def _with_images(disk, of):
    flash = Flash()
    flash.names = disk.names
    flash.images = dict(of.images)
    return flash


class TestVersions(unittest.TestCase):
    def test_numbers_are_compared_as_such(self):
        order = ["0.9", "0.10", "1", "1.0", "1.0.1", "1.2", "1.10.0"]
        self.assertEqual(sorted(order, key=slots.number), order)


if __name__ == "__main__":
    unittest.main()
