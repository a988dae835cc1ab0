"""Which frames an outbox holds: by stream, as runs of sequences, so that a long backlog takes little."""

import struct

from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .frame_logs import FrameLogs
    from .segments import Extent

# A place: the number of the file, then the offset in it.
OFFSET_BITS = const(24)


class Segment:
    """One file of frames, as long as there is more to say of it than that all of it is kept.

    `size`: bytes written or to be written. `charged`: what it takes of the capacity. `pending`: frames
    that wait for a receipt. `extents`: with offsets while the file is written to or read from, else None.
    `touched`: UTC seconds, when it was opened or last grew. `failures`: how often reading it failed.
    """

    def __init__(self, number: int, cls: int, created: int, check: int) -> None:
        self.number = number
        self.name = "%08x.%d" % (number, cls)
        self.cls = cls
        self.created = created
        self.check = check  # of its header
        self.size = 0
        self.charged = 0
        self.pending = 0
        self.touched = 0
        self.failures = 0
        self.extents: list[Extent] | None = None


class Run:
    """Frames of one extent with sequences from `first` to `last`, all pending or all kept. `number`: the
    segment's; `extent`: its number there."""

    __slots__ = ("extent", "first", "kept", "last", "number")

    def __init__(self, number: int, extent: int, first: int, last: int, kept: bool) -> None:
        self.number = number
        self.extent = extent
        self.first = first
        self.last = last
        self.kept = kept

    def part(self, first: int, last: int, kept: bool) -> "Run":
        return Run(self.number, self.extent, first, last, kept)

    def goes_on(self, number: int, extent: int, first: int, kept: bool) -> bool:
        """What begins at `first` belongs to this run."""
        same: bool = self.number == number and self.extent == extent and self.kept == kept
        return same and self.last == first - 1


# A run as a stream holds it, for what was receipted stays long: segment, twice its extent and whether it is
# kept, first sequence, how many follow.
_RUN = "<IIQI"
_RUN_BYTES = const(20)
_FIRST = const(8)
_FOLLOWING = const(16)


def _packed(runs: "Sequence[Run]") -> bytes:
    return b"".join(
        [
            struct.pack(_RUN, run.number, run.extent << 1 | run.kept, run.first, run.last - run.first)
            for run in runs
        ]
    )


class Stream:
    """The frames of one meter, class and epoch, in the order of their places. `logs` counts what is pending
    in each segment."""

    def __init__(self, meter: bytes, cls: int, epoch: int, logs: "FrameLogs") -> None:
        self.meter = meter
        self.cls = cls
        self.epoch = epoch
        self.pending = 0
        self._logs = logs
        self._runs = bytearray()
        self._rising = True  # sequences as well as places: true of all frames but another sender's

    def __len__(self) -> int:
        count: int = len(self._runs) // _RUN_BYTES
        return count

    def _run(self, i: int) -> Run:
        number, extent, first, following = struct.unpack_from(_RUN, self._runs, i * _RUN_BYTES)
        return Run(number, extent >> 1, first, first + following, bool(extent & 1))

    def _put(self, low: int, high: int, runs: "Sequence[Run]") -> None:
        """In the place of those from `low` to before `high`."""
        self._runs[low * _RUN_BYTES : high * _RUN_BYTES] = _packed(runs)

    def _pend(self, number: int, count: int) -> None:
        self.pending += count
        self._logs.pend(self.cls, number, count)

    def runs(self) -> "Iterator[Run]":
        for i in range(len(self)):
            yield self._run(i)

    def append(self, number: int, extent: int, sequence: int) -> Run:
        """A pending frame at the end of a segment; the run that it belongs to."""
        count = len(self)
        last = self._run(count - 1) if count else None
        if last is not None and last.goes_on(number, extent, sequence, False):
            last.last = sequence
            self._put(count - 1, count, (last,))
        else:
            last = Run(number, extent, sequence, sequence, False)
            self._add(last)
        self._pend(number, 1)
        return last

    def _add(self, run: Run) -> None:
        count = len(self)
        if count and run.first <= self._run(count - 1).last:
            self._rising = False
        self._runs += _packed((run,))

    def load(
        self, number: int, extent: int, first: int, last: int, forgotten: "Sequence[tuple[int, int]]"
    ) -> None:
        """Frames that were found in a segment; `forgotten`: which of the stream's are kept."""
        if self.exclude(first, last):
            # Other bytes took the number of what had been receipted, which says nothing about them.
            forgotten = ()
        at = first
        while at <= last:
            kept = False
            end = last
            for low, high in forgotten:
                if low <= at <= high:
                    kept = True
                    end = min(last, high)
                elif at < low:
                    end = min(end, low - 1)
            self._add(Run(number, extent, at, end, kept))
            if not kept:
                self._pend(number, end - at + 1)
            at = end + 1

    def find(self, sequence: int) -> "Run | None":
        for i in self._touching(sequence, sequence):
            run = self._run(i)
            if run.first <= sequence <= run.last:
                return run
        return None

    def _touching(self, first: int, last: int) -> range:
        """Where runs with these sequences stand, and perhaps others."""
        if not self._rising:
            return range(len(self))
        data = self._runs
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            at = middle * _RUN_BYTES
            begin = struct.unpack_from("<Q", data, at + _FIRST)[0]
            if begin + struct.unpack_from("<I", data, at + _FOLLOWING)[0] < first:
                low = middle + 1
            else:
                high = middle
        high = low
        while high < len(self) and struct.unpack_from("<Q", data, high * _RUN_BYTES + _FIRST)[0] <= last:
            high += 1
        return range(low, high)

    def _number(self, i: int) -> int:
        number: int = struct.unpack_from("<I", self._runs, i * _RUN_BYTES)[0]
        return number

    def _from(self, number: int) -> int:
        """Where the runs of segments with this number or greater ones begin: they stand in their order."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._number(middle) < number:
                low = middle + 1
            else:
                high = middle
        return low

    def exclude(self, first: int, last: int) -> int:
        """Frames under these numbers give way to others; how many were held."""
        count = 0
        for i in reversed(self._touching(first, last)):
            run = self._run(i)
            low, high = max(run.first, first), min(run.last, last)
            if low > high:
                continue
            parts = []
            if run.first < low:
                parts.append(run.part(run.first, low - 1, run.kept))
            if high < run.last:
                parts.append(run.part(high + 1, run.last, run.kept))
            self._put(i, i + 1, parts)
            count += high - low + 1
            if not run.kept:
                self._pend(run.number, low - high - 1)
        return count

    def forget(self, first: int, last: int) -> int:
        """These are kept from now on; how many were pending."""
        count = 0
        for i in reversed(self._touching(first, last)):
            run = self._run(i)
            if run.kept or run.last < first or run.first > last:
                continue
            low, high = max(run.first, first), min(run.last, last)
            parts = []
            if run.first < low:
                parts.append(run.part(run.first, low - 1, False))
            parts.append(run.part(low, high, True))
            if high < run.last:
                parts.append(run.part(high + 1, run.last, False))
            self._replace(i, parts)
            count += high - low + 1
            self._pend(run.number, low - high - 1)
        return count

    def _replace(self, i: int, parts: "list[Run]") -> None:
        """Put `parts` in the place of a run, joined with a kept neighbour of the same extent."""
        begin = i
        one = parts[0]
        if i and one.kept:
            before = self._run(i - 1)
            if before.goes_on(one.number, one.extent, one.first, True):
                one.first = before.first
                begin = i - 1
        self._put(begin, i + 1, parts)

    def offer_again(self) -> int:
        """All are pending from now on; how many were not."""
        count = 0
        for i in range(len(self)):
            run = self._run(i)
            if run.kept:
                run.kept = False
                self._put(i, i + 1, (run,))
                count += run.last - run.first + 1
                self._pend(run.number, run.last - run.first + 1)
        return count

    def of_segment(self, number: int) -> "list[Run]":
        return [self._run(i) for i in range(self._from(number), self._from(number + 1))]

    def remove(self, number: int) -> "list[tuple[int, int]]":
        """The segment goes; the pending frames that go with it, as (first, last)."""
        lost = [(run.first, run.last) for run in self.of_segment(number) if not run.kept]
        self.pending -= sum(last - first + 1 for first, last in lost)
        self._put(self._from(number), self._from(number + 1), ())
        return lost

    def from_segment(self, number: int) -> "Iterator[Run]":
        """Pending runs in segments with this number or greater ones."""
        i = self._from(number)
        while i < len(self):
            run = self._run(i)
            if not run.kept:
                yield run
            i += 1

    def ranges(self, kept: bool) -> "list[tuple[int, int]]":
        """Ascending (first, last) without gaps of what is kept, or of what is pending."""
        chosen = ((run.first, run.last) for run in self.runs() if run.kept == kept)
        found: list[tuple[int, int]] = []
        for first, last in chosen if self._rising else sorted(chosen):
            if found and first <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(last, found[-1][1]))
            else:
                found.append((first, last))
        return found
