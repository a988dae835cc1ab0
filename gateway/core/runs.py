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
        self.extents: list[Extent] | None = None
        self.streams: list[Stream] = []


class Run:
    """Frames of one extent with sequences from `first` to `last`, all pending or all kept."""

    def __init__(self, segment: Segment, first: int, last: int, kept: bool) -> None:
        self.segment = segment
        self.first = first
        self.last = last
        self.kept = kept


class Stream:
    """The frames of one meter, class and epoch, in the order of their places."""

    def __init__(self, meter: bytes, cls: int, epoch: int) -> None:
        self.meter = meter
        self.cls = cls
        self.epoch = epoch
        self.pending = 0
        self.runs: list[Run] = []
        self._rising = True  # sequences as well as places: true of all frames but another sender's

    def append(self, segment: Segment, sequence: int, fresh: bool) -> None:
        """A pending frame at the end of a segment; `fresh`: it begins an extent."""
        last = self.runs[-1] if self.runs else None
        if last is None or fresh or last.segment is not segment or last.last != sequence - 1 or last.kept:
            self._add(Run(segment, sequence, sequence, False))
        else:
            last.last = sequence
        if self not in segment.streams:
            segment.streams.append(self)
        self.pending += 1
        segment.pending += 1

    def _add(self, run: Run) -> None:
        if self.runs and run.first <= self.runs[-1].last:
            self._rising = False
        self.runs.append(run)

    def load(self, segment: Segment, first: int, last: int, forgotten: "Sequence[tuple[int, int]]") -> None:
        """Frames that were found in a segment; `forgotten`: which of the stream's are kept."""
        if self not in segment.streams:
            segment.streams.append(self)
        if self.runs and first <= self.runs[-1].last and self.exclude(first, last):
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
            self._add(Run(segment, at, end, kept))
            if not kept:
                self.pending += end - at + 1
                segment.pending += end - at + 1
            at = end + 1

    def find(self, sequence: int) -> "Run | None":
        if self._rising:
            i = self._bisect(lambda run: run.last < sequence)
            if i < len(self.runs) and self.runs[i].first <= sequence:
                return self.runs[i]
            return None
        for run in self.runs:
            if run.first <= sequence <= run.last:
                return run
        return None

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
        for i in range(len(self.runs) - 1, -1, -1):
            run = self.runs[i]
            low, high = max(run.first, first), min(run.last, last)
            if low > high:
                continue
            parts = []
            if run.first < low:
                parts.append(Run(run.segment, run.first, low - 1, run.kept))
            if high < run.last:
                parts.append(Run(run.segment, high + 1, run.last, run.kept))
            self.runs[i : i + 1] = parts
            count += high - low + 1
            if not run.kept:
                self.pending -= high - low + 1
                run.segment.pending -= high - low + 1
        return count

    def forget(self, first: int, last: int) -> int:
        """These are kept from now on; how many were pending."""
        count = 0
        for i in range(len(self.runs) - 1, -1, -1):
            run = self.runs[i]
            if run.kept or run.last < first or run.first > last:
                continue
            low, high = max(run.first, first), min(run.last, last)
            parts = []
            if run.first < low:
                parts.append(Run(run.segment, run.first, low - 1, False))
            parts.append(Run(run.segment, low, high, True))
            if high < run.last:
                parts.append(Run(run.segment, high + 1, run.last, False))
            self._replace(i, parts)
            count += high - low + 1
            run.segment.pending -= high - low + 1
        self.pending -= count
        return count

    def _replace(self, i: int, parts: "list[Run]") -> None:
        """Put `parts` in the place of a run, joined with a kept neighbour of the same extent."""
        before = self.runs[i - 1] if i else None
        if (
            before is not None
            and before.kept
            and parts[0].kept
            and before.segment is parts[0].segment
            and before.last == parts[0].first - 1
        ):
            before.last = parts[0].last
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

    def remove(self, segment: Segment) -> "list[tuple[int, int]]":
        """The segment goes; the pending frames that go with it, as (first, last)."""
        lost = [(run.first, run.last) for run in self.runs if run.segment is segment and not run.kept]
        self.pending -= sum(last - first + 1 for first, last in lost)
        self.runs = [run for run in self.runs if run.segment is not segment]
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
        found: list[tuple[int, int]] = []
        for first, last in sorted((run.first, run.last) for run in self.runs if run.kept == kept):
            if found and first <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(last, found[-1][1]))
            else:
                found.append((first, last))
        return found
