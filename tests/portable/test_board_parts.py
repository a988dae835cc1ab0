"""What a board does at its start and shows of itself: crashes, LED and button, Wi-Fi."""

import os
import sys
import unittest

from gateway._compat import trace

PWRON, HARD, WDT, SOFT = 1, 2, 3, 5


class Pin:
    OUT, IN, PULL_UP, PULL_DOWN = 3, 1, 2, 1
    levels = {}

    def __init__(self, number, mode, pull=-1, value=None):
        self.number = number
        if value is not None:
            Pin.levels[number] = value

    def value(self, level=None):
        if level is not None:
            Pin.levels[self.number] = level
        return Pin.levels[self.number]


class Memory:
    """Of the real-time clock: outlives a reset, not the power."""

    def __init__(self, machine):
        self.machine = machine

    def memory(self, *data):
        if data:
            self.machine.kept = bytes(data[0])
        return self.machine.kept


class Machine:
    PWRON_RESET, HARD_RESET, WDT_RESET = PWRON, HARD, WDT
    Pin = Pin

    def __init__(self):
        self.kept = b""
        self.cause = PWRON
        self.resets = 0

    def RTC(self):
        return Memory(self)

    def reset_cause(self):
        return self.cause

    def reset(self):
        self.resets += 1
        self.cause = HARD


class Time:
    """MicroPython's own, of a clock that was never set."""

    def ticks_ms(self):
        return 5000

    def gmtime(self):
        return (2000, 1, 1, 0, 0, 5)


class Station:
    """network.WLAN: `code` is what its status is."""

    def __init__(self):
        self.code = 1000
        self.calls = []

    def __getattr__(self, name):
        def called(*arguments, **settings):
            self.calls.append((name, arguments, settings))
            return ("192.168.1.20", "255.255.255.0", "192.168.1.1", "192.168.1.1")

        return called

    def status(self, *what):
        return -60 if what else self.code


class Network:
    STA_IF = 0

    def __init__(self):
        self.station = Station()
        self.told = []

    def WLAN(self, interface):
        return self.station

    def country(self, code):
        self.told.append(code)

    def hostname(self, name):
        self.told.append(name)


MODULES = ("machine", "network", "crashes", "lamp", "wifi")


class BoardTest(unittest.TestCase):
    def setUp(self):
        self.kept = {name: sys.modules.pop(name, None) for name in MODULES}
        self.machine = sys.modules["machine"] = Machine()
        self.network = sys.modules["network"] = Network()
        self.place = os.getcwd()
        self.root = "/tmp/osgp-board-parts-%s" % bytes(os.urandom(6)).hex()
        os.mkdir(self.root)
        os.chdir(self.root)

    def tearDown(self):
        os.chdir(self.place)
        for path in ("log/crashes", "log/crash.txt"):
            try:
                os.remove(self.root + "/" + path)
            except OSError:
                pass
        for path in ("/log", ""):
            try:
                os.rmdir(self.root + path)
            except OSError:
                pass
        for name in MODULES:
            sys.modules.pop(name, None)
            if self.kept[name]:
                sys.modules[name] = self.kept[name]


class TestCrashes(BoardTest):
    def setUp(self):
        BoardTest.setUp(self)
        import crashes

        crashes.time = Time()
        crashes._trace = trace

    def start(self, cause=None):
        import crashes

        if cause is not None:
            self.machine.cause = cause
        return crashes.began()

    def crash(self):
        import crashes

        try:
            raise ValueError("what went wrong")
        except ValueError as error:
            crashes.crash(error)

    def test_crashes_in_a_row_are_counted_until_something_works(self):
        import crashes

        self.assertEqual(self.start(), (0, "the power came"))
        for number in (1, 2, 3):
            self.crash()
            count, why = self.start()
            self.assertEqual(count, number)
            self.assertTrue("what went wrong" in why)
        crashes.well()
        self.crash()
        self.assertEqual(self.start()[0], 1)
        self.assertEqual(self.machine.resets, 4)

    def test_what_resets_the_board_and_could_not_be_noted_counts_too(self):
        import crashes

        self.assertEqual(self.start(WDT)[0], 1)
        self.assertEqual(self.start(HARD)[0], 2)
        self.assertTrue(b"stood still" in crashes.log())

    def test_power_and_restarts_that_somebody_asked_for_end_the_row(self):
        import crashes

        for _ in range(2):
            self.crash()
            self.assertEqual(self.start()[0], 1)
            crashes.restart("asked for on the page")
            self.assertEqual(self.start(), (0, "asked for on the page"))
            self.crash()
            self.start()
            self.machine.kept = b""  # as memory is without power
            self.assertEqual(self.start(PWRON), (0, "the power came"))

    def test_a_program_started_from_the_console_neither_counts_nor_ends_it(self):
        self.crash()
        self.start()
        self.assertEqual(self.start(SOFT)[0], 1)

    def test_the_log_is_bounded_keeps_the_newest_and_forgets_what_was_told(self):
        import crashes

        crashes.note("x" * 10000)
        self.assertTrue(len(crashes.log()) < 2000)
        for number in range(40):
            crashes.note("crash %d " % number + "y" * 200)
        told = crashes.log()
        self.assertTrue(len(told) <= 4096)
        self.assertTrue(b"crash 39 " in told)
        self.assertFalse(b"crash 1 " in told)
        crashes.note("one more")
        crashes.forget(told)
        self.assertFalse(b"crash 39 " in crashes.log())
        self.assertTrue(b"one more" in crashes.log())
        crashes.forget(crashes.log())
        self.assertEqual(crashes.log(), b"")

    def test_flash_that_takes_nothing_does_not_keep_the_board_from_starting_again(self):
        with open("log", "w") as file:
            file.write("in the place of the directory")
        self.crash()
        self.assertEqual(self.machine.resets, 1)
        self.assertEqual(self.start()[0], 1)
        os.remove("log")


class TestLamp(BoardTest):
    def shown(self, lamp, pattern, active):
        lamp.shows = pattern
        text = ""
        for _ in range(16):
            lamp.step()
            text += "#" if Pin.levels[2] == active else "."
        return text

    def test_patterns_as_people_see_them(self):
        import lamp

        for active in (1, 0):
            one = lamp.Lamp({"led": (2, active)})
            for pattern, seen in (
                (lamp.WELL, "#..............."),
                (lamp.NO_METER, "#.#............."),
                (lamp.NO_WIFI, "#.#.#..........."),
                (lamp.NO_BROKER, "#.#.#.#........."),
                (lamp.SET_UP, "####....####...."),
                (lamp.SAFE_MODE, "#.#.#.#.#.#.#.#."),
                (lamp.STARTING, "################"),
            ):
                self.assertEqual(self.shown(one, pattern, active), seen)

    def test_the_button_has_to_be_held_for_three_seconds(self):
        import lamp

        for pressed in (0, 1):
            Pin.levels[0] = 1 - pressed
            one = lamp.Lamp({"button": (0, pressed)})
            for level, steps, held in ((pressed, 11, False), (1 - pressed, 1, False), (pressed, 12, True)):
                Pin.levels[0] = level
                for _ in range(steps):
                    one.step()
                self.assertEqual(one.held, held)

    def test_a_board_without_either(self):
        import lamp

        one = lamp.Lamp({})
        one.step()
        self.assertFalse(one.held)


class TestWifi(BoardTest):
    SETTINGS = {
        "ssid": "home",
        "password": b"the password",
        "country": "DK",
        "hostname": "board",
        "addresses": None,
    }

    def setUp(self):
        BoardTest.setUp(self)
        from gateway import clock

        self.clock = clock
        self.real = clock.monotonic_ms
        self.now = 1000
        clock.monotonic_ms = lambda: self.now
        self.said = []
        self.air = self.network.station

    def tearDown(self):
        self.clock.monotonic_ms = self.real
        BoardTest.tearDown(self)

    def joining(self, **changes):
        from wifi import Station

        settings = dict(self.SETTINGS)
        settings.update(changes)
        return Station(settings, lambda level, text: self.said.append(text))

    def attempts(self):
        return [arguments for name, arguments, _ in self.air.calls if name == "connect"]

    def test_it_tries_ever_more_seldom_and_says_each_reason_once(self):
        station = self.joining()
        self.assertEqual(self.network.told, ["DK", "board"])
        self.air.code = 202
        for _ in range(300):
            station.step()
            self.now += 1000
        self.assertEqual(len([one for one in self.said if "refuses the password" in one]), 1)
        self.assertTrue(8 <= len(self.attempts()) <= 16)
        self.assertEqual(self.attempts()[0], ("home", "the password"))
        self.air.code = 1010
        station.step()
        self.assertTrue(station.connected)
        self.assertEqual(station.status()["address"], "192.168.1.20")

    def test_an_access_point_that_gives_no_address_is_not_waited_for_for_ever(self):
        station = self.joining()
        self.air.code = 1001
        for _ in range(30):
            station.step()
            self.now += 1000
        self.assertTrue("gives no address" in station.reason)
        self.assertTrue(len(self.attempts()) > 1)

    def test_an_address_of_its_own_and_a_network_without_password(self):
        addresses = ("192.168.1.9", "255.255.255.0", "192.168.1.1", "192.168.1.1")
        station = self.joining(addresses=addresses, password=b"")
        self.assertTrue(("ifconfig", (addresses,), {}) in self.air.calls)
        station.step()
        self.assertEqual(self.attempts(), [("home", None)])

    def test_a_network_that_was_lost_is_joined_again_at_once(self):
        station = self.joining()
        self.air.code = 1010
        station.step()
        self.air.code = 200
        station.step()
        self.assertEqual(station.reason, "the network was lost")
        self.now += 1000
        station.step()
        self.assertEqual(len(self.attempts()), 1)
        self.air.code = 1010
        station.step()
        self.assertEqual((station.connected, station.joined), (True, 2))


if __name__ == "__main__":
    unittest.main()
