"""Runs on MicroPython's unix port: how fast it is.

Prints nanoseconds that the process had used before, and microseconds of a pass of `work`, at its fastest.
"""

import time

_PASSES = 5000
_RUNS = 40


class Record:
    def __init__(self, value):
        self.value = value

    def step(self, other):
        self.value = (self.value * 3 + other) & 0xFFFF
        return self.value


def work(count):
    """Calls, attributes, small integers, bytes and a dictionary, as protocols have them."""
    record = Record(1)
    table = {}
    data = bytearray(64)
    for number in range(count):
        value = record.step(number)
        data[number & 63] = value & 0xFF
        table[value & 31] = bytes(data[:8])
        if len(table) > 40:
            table.clear()


def used_ns():
    with open("/proc/self/schedstat") as file:
        return int(file.read().split()[0])


def main(arguments):
    before = used_ns()
    best = None
    for _ in range(_RUNS):
        began = time.ticks_us()
        work(_PASSES)
        took = time.ticks_diff(time.ticks_us(), began)
        best = took if best is None else min(best, took)
    print(before, best / _PASSES)
    return 0
