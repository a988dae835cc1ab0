"""A bundle on its way in: taken in any pieces, refused with one clear message, never half believed."""

import asyncio
import json
import os
import sys
import unittest

import ota
from bundle_head import parse_keys
from slot_files import FileSlots, _remove
from slots import Slots

from gateway.errors import UpdateError

HERE = __file__.replace("\\", "/").rsplit("/", 2)[0] if "/" in __file__ else ".."
with open(HERE + "/vectors/update.json") as file:
    VECTORS = json.load(file)
KEYS = parse_keys("\n".join(VECTORS["keys"]))
DIRECTORY = "test_update_bundle.%s" % sys.implementation.name  # both interpreters may be at it


def bundle(name):
    return bytes.fromhex(VECTORS["bundles"][name])


def forget_paths():
    sys.path[:] = [path for path in sys.path if not path.startswith(DIRECTORY)]


def contents(root):
    found = {}
    for name in os.listdir(root):
        path = root + "/" + name
        if os.stat(path)[0] & 0x4000:
            for inner, data in contents(path).items():
                found[name + "/" + inner] = data
        else:
            with open(path, "rb") as file:
                found[name] = file.read()
    return found


class TestUpdate(unittest.TestCase):
    def setUp(self):
        self.clear()
        self.bytecode, ota.BYTECODE = ota.BYTECODE, 6

    def tearDown(self):
        ota.BYTECODE = self.bytecode
        self.clear()
        os.rmdir(DIRECTORY)

    def clear(self):
        forget_paths()
        _remove(DIRECTORY)
        os.mkdir(DIRECTORY)

    def started(self):
        """The board, after a start."""
        forget_paths()
        places = Slots(DIRECTORY, FileSlots(DIRECTORY))
        places.choose()
        return places

    def give(self, places, data, pieces=100, size=None, lower=False, note=""):
        async def work():
            update = ota.Update(places, KEYS)
            update.begin(len(data) if size is None else size, lower)
            for at in range(0, len(data), pieces):
                await update.write(memoryview(data)[at : at + pieces])
            await update.finish(note)
            return update

        return asyncio.run(work())

    def refused(self, data, said, places=None, **how):
        """Refused with words that tell, and nothing of it is believed."""
        places = places or self.started()
        before = places.report()
        with self.assertRaises(UpdateError) as caught:
            self.give(places, data, **how)
        self.assertIn(said, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))
        self.assertEqual(self.started().report(), before)

    def running(self, name):
        self.give(self.started(), bundle(name), lower=True)
        places = self.started()
        places.confirm()
        self.assertEqual(places.report()["version"], name)
        return places

    def test_in_pieces_of_any_length(self):
        data = bundle("1.2.0")
        for pieces in (1, 7, 144, 145, 1024, len(data)):
            self.clear()
            self.give(self.started(), data, pieces, note="who")
            places = self.started()
            self.assertEqual(places.report()["state"], "trial")
            self.assertEqual(places.version("a"), "1.2.0")
            held = {name: bytes.fromhex(text) for name, text in VECTORS["files"].items()}
            self.assertEqual(contents(DIRECTORY + "/a"), held)
            places.confirm()
            self.assertEqual(places.report()["last"], ["who", "1.2.0", True, ""])

    def test_the_next_one_goes_to_the_other_slot(self):
        places = self.running("1.2.0")
        self.give(places, bundle("1.10.0"))
        self.assertEqual(places.report()["slot"], "a")
        self.assertEqual(self.started().report()["slot"], "b")

    def test_every_byte_that_is_changed_is_found(self):
        data = bundle("1.2.0")
        running = self.running("1.10.0")
        for at in list(range(0, 144, 11)) + list(range(144, len(data), 97)) + [len(data) - 1]:
            changed = bytearray(data)
            changed[at] ^= 0x10
            with self.assertRaises(UpdateError):
                self.give(running, bytes(changed), lower=True)
            self.assertEqual(self.started().report()["version"], "1.10.0")

    def test_what_is_not_for_this_board(self):
        self.refused(bundle("otherKey"), "signed with another key")
        self.refused(bundle("otherFamily"), "is for rp2, this board is esp32")
        self.refused(bundle("otherBytecode"), "version 7, this firmware's MicroPython runs 6")
        self.refused(bundle("noImage"), "the image")
        self.refused(b"PK\3\4" + bytes(1000), "no application bundle")
        self.refused(b"OGB9" + bundle("1.2.0")[4:], "known here is")
        self.refused(bundle("1.2.0")[:4] + b"\6\1" + bundle("1.2.0")[6:], "needs something")

    def test_without_a_key_nothing_is_taken(self):
        async def work():
            update = ota.Update(self.started(), [])
            update.begin(len(bundle("1.2.0")))
            await update.write(bundle("1.2.0"))

        with self.assertRaises(UpdateError) as caught:
            asyncio.run(work())
        self.assertIn("no key", str(caught.exception))

    def test_a_length_that_is_not_the_announced_one(self):
        data = bundle("1.2.0")
        self.refused(data[:-1], "incomplete", size=len(data))
        self.refused(data[:-1], "has to have %d bytes" % len(data))
        self.refused(data + b"\0", "goes on", size=len(data))
        self.refused(data[:100], "no application bundle")
        self.refused(data[:145], "incomplete", size=len(data))
        self.refused(b"", "no application bundle")

    def test_lower_versions_need_a_word(self):
        places = self.running("1.10.0")
        self.refused(bundle("1.2.0"), "lower than 1.10.0", places)
        self.give(places, bundle("1.2.0"), lower=True)
        places = self.started()
        places.confirm()
        self.assertEqual(places.report()["version"], "1.2.0")
        # What was confirmed is the measure from then on.
        self.give(places, bundle("1.10.0"))

    def test_what_runs_is_not_written_again(self):
        places = self.running("1.2.0")
        self.assertTrue(self.give(places, bundle("1.2.0")).unneeded)
        self.assertEqual(self.started().report()["state"], "good")

    def test_not_while_the_way_back_is_needed(self):
        self.running("1.2.0")
        self.give(self.started(), bundle("1.10.0"))
        trying = self.started()
        self.refused(bundle("1.10.0"), "itself on trial", trying)

    def test_a_full_flash(self):
        places = self.started()

        class Full(FileSlots):
            def write(self, data):
                raise OSError(28, "ENOSPC")

        places.medium = Full(DIRECTORY)
        self.refused(bundle("1.2.0"), "not enough space", places)
        # What was refused takes no room.
        self.assertEqual(os.listdir(DIRECTORY), [])


class TestKeys(unittest.TestCase):
    def test_keys_by_line(self):
        self.assertEqual(parse_keys("\n%s\n%s\n" % ("ab" * 32, "cd" * 32)), [b"\xab" * 32, b"\xcd" * 32])
        for wrong in ("ab", "zz" * 32, "ab" * 33):
            with self.assertRaises(UpdateError):
                parse_keys(wrong)


if __name__ == "__main__":
    unittest.main()
