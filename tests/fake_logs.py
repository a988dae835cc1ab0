"""Circular logs that live, laid out by the guides' own formulas. Portable."""

from tests.fake_meter import put


class Counter:
    """The number that both event logs count with."""

    def __init__(self, value=0):
        self.value = value


def stamp(seconds):
    """LTIME_DATE of a time in January 2024, `seconds` after its begin."""
    return bytes((24, 1, 1 + seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60))


class EventLog:
    """BT74 or ET79: `data` is the table. `truth`: all entries ever, (number, code, argument, stamp)."""

    def __init__(self, counter, count, argument=2):
        self.counter = counter
        self.count = count
        self.argument = argument
        self.size = 12 + argument
        self.data = bytearray(11 + count * self.size)
        self.data[0] = 4
        self.valid = 0
        self.last = count - 1
        self.truth = []

    def log(self, code, seconds, argument=None, number=None):
        if number is None:
            self.counter.value += 1
            number = self.counter.value
        argument = bytes(self.argument) if argument is None else argument
        self.last = (self.last + 1) % self.count
        self.valid = min(self.valid + 1, self.count)
        at = 11 + self.last * self.size
        self.data[at : at + 6] = stamp(seconds)
        put(self.data, at + 6, number, 2)
        put(self.data, at + 8, 0xFFFF, 2)
        put(self.data, at + 10, code, 2)
        self.data[at + 12 : at + self.size] = argument
        self._head(number)
        entry = (number, code, argument, stamp(seconds))
        self.truth.append(entry)
        return entry

    def clear(self, restart=False):
        """BP04 or BP05; `restart`: as before firmware 3.70, when the numbers begin anew."""
        self.valid = 0
        self.last = self.count - 1
        if restart:
            self.counter.value = 0
        self._head(self.counter.value)

    def present(self):
        """What the log holds, oldest first."""
        return self.truth[len(self.truth) - self.valid :]

    def _head(self, number):
        put(self.data, 1, self.valid, 2)
        put(self.data, 3, self.last if self.valid else 0, 2)
        put(self.data, 5, number, 4)
        put(self.data, 9, self.valid, 2)


def bt71(count, argument=2):
    table = bytearray(9)
    table[3] = argument
    put(table, 5, count, 2)
    return table
