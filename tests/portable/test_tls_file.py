"""What a board remembers of its meter's TLS across restarts."""

import os
import sys
import unittest

from tls_file import TlsFile

from gateway.errors import ConfigurationError

PATH = "test_tls_file.%s" % sys.implementation.name  # both interpreters may be at it


class TlsFileTest(unittest.TestCase):
    def setUp(self):
        self.tearDown()

    def tearDown(self):
        for name in (PATH, PATH + ".new"):
            try:
                os.remove(name)
            except OSError:
                pass

    def written(self, text):
        with open(PATH, "w") as file:
            file.write(text)

    def test_a_level_is_kept_and_another_takes_its_place(self):
        self.assertIsNone(TlsFile(PATH).level)
        for level in (1, 0):
            memory = TlsFile(PATH)
            memory.remember(level)
            self.assertEqual(memory.level, level)
            self.assertEqual(TlsFile(PATH).level, level)

    def test_a_file_that_says_nothing_is_no_way_back(self):
        for text in ("", "\n", "2", "tls", "1" * 20):
            self.written(text)
            with self.assertRaises(ConfigurationError):
                TlsFile(PATH)

    def test_what_can_not_be_read_is_no_way_back(self):
        with self.assertRaises(ConfigurationError):
            TlsFile("tests")  # a folder

    def test_what_can_not_be_kept_is_an_error(self):
        memory = TlsFile("no/such/folder/" + PATH)
        with self.assertRaises(ConfigurationError):
            memory.remember(1)
        self.assertIsNone(memory.level)
