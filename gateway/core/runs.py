"""Which frames an outbox holds: by stream, as runs of sequences, so that a long backlog takes little."""

from .._compat import TYPE_CHECKING, const

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .segments import Extent

# A place: the number of the file, then the offset in it.
OFFSET_BITS = const(24)


class Segment:
    """One file of frames.

    `size`: bytes written or to be written. `charged`: what it takes of the capacity. `pending`: frames
    that wait for a receipt. `extents`: with offsets while the file is written to or read from, else None.
    `touched`: UTC seconds, when it was opened or last grew. `failures`: how often reading it failed.
    """

    def __init__(self, number: int, name: str, cls: int, created: int, check: int) -> None:
        self.number = number
        self.name = name
        self.cls = cls
        self.created = created
        self.check = check  # of its header
        self.size = 0
        self.charged = 0
        self.pending = 0
        self.touched = 0
        self.failures = 0
        self.extents: list[Extent] | None = None
        self.streams: list[Stream] = []


class Run:
    """Frames of one extent with sequences from `first` to `last`, all pending or all kept. `extent`: its
    number in the segment."""

    # A backlog has one for each segment and stream.
    __slots__ = ("extent", "first", "kept", "last", "segment")

    def __init__(self, segment: Segment, extent: int, first: int, last: int, kept: bool) -> None:
        self.segment = segment
        self.extent = extent
        self.first = first
        self.last = last
        self.kept = kept

    def part(self, first: int, last: int, kept: bool) -> "Run":
        return Run(self.segment, self.extent, first, last, kept)


class Stream:
    """The frames of one meter, class and epoch, in the order of their places."""

    def __init__(self, meter: bytes, cls: int, epoch: int) -> None:
        self.meter = meter
        self.cls = cls
        self.epoch = epoch
        self.pending = 0
        self.runs: list[Run] = []
        self._rising = True  # sequences as well as places: true of all frames but another sender's

    def append(self, segment: Segment, extent: int, sequence: int) -> None:
        """A pending frame at the end of a segment."""
        last = self.runs[-1] if self.runs else None
        if last is None or last.segment is not segment:
            self._belongs_to(segment)
            last = None
        if last is None or last.extent != extent or last.last != sequence - 1 or last.kept:
            self._add(Run(segment, extent, sequence, sequence, False))
        else:
            last.last = sequence
        self.pending += 1
        segment.pending += 1

    def _belongs_to(self, segment: Segment) -> None:
        if self not in segment.streams:
            segment.streams.append(self)

    def _add(self, run: Run) -> None:
        if self.runs and run.first <= self.runs[-1].last:
            self._rising = False
        self.runs.append(run)

    def load(
        self, segment: Segment, extent: int, first: int, last: int, forgotten: "Sequence[tuple[int, int]]"
    ) -> None:
        """Frames that were found in a segment; `forgotten`: which of the stream's are kept."""
        self._belongs_to(segment)
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
            self._add(Run(segment, extent, at, end, kept))
            if not kept:
                self.pending += end - at + 1
                segment.pending += end - at + 1
            at = end + 1

    def find(self, sequence: int) -> "Run | None":
        for i in self._touching(sequence, sequence):
            run = self.runs[i]
            if run.first <= sequence <= run.last:
                return run
        return None

    def _touching(self, first: int, last: int) -> range:
        """Where runs with these sequences stand, and perhaps others."""
        if not self._rising:
            return range(len(self.runs))
        low = high = self._bisect(lambda run: run.last < first)
        while high < len(self.runs) and self.runs[high].first <= last:
            high += 1
        return range(low, high)

    def _bisect(self, before: "Callable[[Run], bool]") -> int:
        low, high = 0, len(self.runs)
        while low < high:
            middle = (low + high) // 2
            if before(self.runs[middle]):
                low = middle + 1
            else:
                high = middle
        return low

    def exclude(self, first: int, last: int) -> int:
        """Frames under these numbers give way to others; how many were held."""
        count = 0
        for i in reversed(self._touching(first, last)):
            run = self.runs[i]
            low, high = max(run.first, first), min(run.last, last)
            if low > high:
                continue
            parts = []
            if run.first < low:
                parts.append(run.part(run.first, low - 1, run.kept))
            if high < run.last:
                parts.append(run.part(high + 1, run.last, run.kept))
            self.runs[i : i + 1] = parts
            count += high - low + 1
            if not run.kept:
                self.pending -= high - low + 1
                run.segment.pending -= high - low + 1
        return count

    def forget(self, first: int, last: int) -> int:
        """These are kept from now on; how many were pending."""
        count = 0
        for i in reversed(self._touching(first, last)):
            run = self.runs[i]
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
            run.segment.pending -= high - low + 1
        self.pending -= count
        return count

    def _replace(self, i: int, parts: "list[Run]") -> None:
        """Put `parts` in the place of a run, joined with a kept neighbour of the same extent."""
        before = self.runs[i - 1] if i else None
        one = parts[0]
        if (
            before is not None
            and before.kept
            and one.kept
            and before.segment is one.segment
            and before.extent == one.extent
            and before.last == one.first - 1
        ):
            before.last = one.last
            parts = parts[1:]
        self.runs[i : i + 1] = parts

    def offer_again(self) -> int:
        """All are pending from now on; how many were not."""
        count = 0
        for run in self.runs:
            if run.kept:
                run.kept = False
                count += run.last - run.first + 1
                run.segment.pending += run.last - run.first + 1
        self.pending += count
        return count

    def of_segment(self, segment: Segment) -> "list[Run]":
        low, high = self._in(segment)
        return self.runs[low:high]

    def _in(self, segment: Segment) -> "tuple[int, int]":
        """Runs stand in the order of their segments."""
        low = high = self._bisect(lambda run: run.segment.number < segment.number)
        while high < len(self.runs) and self.runs[high].segment is segment:
            high += 1
        return low, high

    def remove(self, segment: Segment) -> "list[tuple[int, int]]":
        """The segment goes; the pending frames that go with it, as (first, last)."""
        low, high = self._in(segment)
        lost = [(run.first, run.last) for run in self.runs[low:high] if not run.kept]
        self.pending -= sum(last - first + 1 for first, last in lost)
        self.runs[low:high] = []
        return lost

    def from_segment(self, number: int) -> "Iterator[Run]":
        """Pending runs in segments with this number or greater ones."""
        i = self._bisect(lambda run: run.segment.number < number)
        while i < len(self.runs):
            if not self.runs[i].kept:
                yield self.runs[i]
            i += 1

    def ranges(self, kept: bool) -> "list[tuple[int, int]]":
        """Ascending (first, last) without gaps of what is kept, or of what is pending."""
        chosen = [(run.first, run.last) for run in self.runs if run.kept == kept]
        if not self._rising:
            chosen.sort()
        found: list[tuple[int, int]] = []
        for first, last in chosen:
            if found and first <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(last, found[-1][1]))
            else:
                found.append((first, last))
        return found
