"""What was read without proof of its origin says so, all the way into the frame."""

import unittest

from gateway.core.marks import mark
from gateway.meter import Meter
from gateway.transmission import frames, model, registry
from gateway.transmission.model import Column, Event, Reading, Series, Timestamp, Value
from gateway.transmission.rows import rows

METER = bytes(range(16))
SAID = registry.fault_number("OSGP_not_authenticated")
SKIPPED = registry.fault_number("OSGP_interval_skipped")


class Proven(Meter):
    authenticated = True


class Unproven(Meter):
    authenticated = False


def day(rows):
    times = [1700000100 + 900 * row for row in range(rows)]
    origins = [(rows, 0, 1, 7, 0)]
    return times, [Column(1, [5000 + row * 7 for row in range(rows)])], origins


def items(kind):
    """Fresh ones of every shape that this kind may have."""
    if kind == model.EVENT:
        return [Event(kind, Timestamp(1700000000), 7, 9, b"stamp1", b"", ())]
    if kind == model.LOAD_PROFILE:
        times, columns, origins = day(4)
        faults = [(1, SKIPPED), (1, "own"), (3, SKIPPED)]
        return [Series(kind, times, columns, faults=faults, origins=origins)]
    value = Value(1, 5, -3, "kWh")
    return [
        Reading(kind, Timestamp(1700000000), [value], ()),
        Reading(kind, Timestamp(1700000001), [value], (0,)),
    ]


def faults_of(made):
    """By row, after a trip through a frame."""
    frame = frames.decode(frames.encode(METER, 1, 1, made), METER)
    return [list(reading.faults) for _, reading in rows(frame, METER)]


class MarkTest(unittest.TestCase):
    KINDS = (model.REGISTERS, model.LOAD_PROFILE, model.EVENT)

    def test_what_is_proven_stays_as_it_is(self):
        for kind in self.KINDS:
            self.assertEqual(faults_of(mark(items(kind), Proven())), faults_of(items(kind)))

    def test_what_is_not_says_so_in_each_row(self):
        for kind in self.KINDS:
            before = faults_of(items(kind))
            after = faults_of(mark(items(kind), Unproven()))
            self.assertEqual(after, [faults + [SAID] for faults in before])

    def test_a_day_of_intervals_grows_by_less_than_two_bytes_each(self):
        def size(meter):
            times, columns, origins = day(96)
            series = Series(model.LOAD_PROFILE, times, columns, origins=origins)
            return len(frames.encode(METER, 1, 1, mark([series], meter)))

        self.assertLess(size(Unproven()) - size(Proven()), 2 * 96)


if __name__ == "__main__":
    unittest.main()
