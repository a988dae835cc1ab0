"""The files that hold an outbox's frames: for each class a log of segments, written at its end only."""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..errors import OutboxError
from .outbox import CLASSES
from .runs import OFFSET_BITS, Segment
from .segments import (
    HEADER,
    Extent,
    Head,
    extent_record,
    frame_at,
    frame_in,
    frame_record,
    scan,
    seal,
    sealed_contents,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .files import File, Files
    from .segments import Contents

# What a file takes at least on flash or disk.
_BLOCK = const(4096)
# Sealed segments whose offsets are kept at hand.
_AT_HAND = const(4)
# What a frame takes beside its bytes: its record, a declaration now and then, its share of the seal.
_BESIDES = const(80)


class _Writing:
    """A segment whose end is not durable yet: `tail`, from `base` on, of which `written` bytes are with the
    system."""

    def __init__(self, segment: Segment, file: "File", base: int, check: int) -> None:
        self.segment = segment
        self.file = file
        self.base = base
        self.check = check
        self.tail = bytearray()
        self.written = 0
        # By meter and epoch, the extent that grows.
        self.growing: dict[tuple[bytes, int], int] = {}

    def write(self) -> None:
        if self.written < len(self.tail):
            self.file.write(self.base + self.written, self.tail[self.written :])
            self.written = len(self.tail)


class FrameLogs:
    """`segments`: by class, oldest first. `used`: what they take, in bytes of whole blocks."""

    def __init__(self, files: "Files", segment_bytes: int, number: int) -> None:
        self.segments: list[list[Segment]] = [[] for _ in range(CLASSES)]
        self.used = 0
        self.number = number  # the highest of a file so far
        self._files = files
        self._segment_bytes = segment_bytes
        self._writing: list[_Writing | None] = [None] * CLASSES
        self._sealed: list[_Writing] = []  # not durable yet
        self._at_hand: list[tuple[Segment, File]] = []
        self._doomed: list[tuple[str, File | None]] = []

    def open(self, name: str, number: int) -> "tuple[Segment, Contents, int]":
        """Take in a file that is there; the bytes at its end that are not whole. Raises OutboxError."""
        file = self._files.open(name)
        try:
            head = Head.read(file)
            if head.kind >= CLASSES:
                raise OutboxError("a file of frames can't be of kind %d" % head.kind)
            contents = sealed_contents(file, head.check) or scan(file, head.check)
            size = file.size()
        except OutboxError:
            file.close()
            raise
        segment = Segment(number, name, head.kind, head.created, head.check)
        segment.size = contents.end
        self._charge(segment, size)
        self.segments[head.kind].append(segment)
        if contents.sealed:
            file.close()
            return segment, contents, 0
        # The newest unfinished one of a class is written further.
        self._seal(head.kind)
        writing = _Writing(segment, file, contents.end, contents.check)
        self._writing[head.kind] = writing
        segment.extents = contents.extents
        for i, extent in enumerate(contents.extents):
            writing.growing[(extent.meter, extent.epoch)] = i
        return segment, contents, size - contents.end

    def need(self, cls: int, size: int) -> int:
        """What a frame of `size` bytes adds to `used`."""
        writing = self._writing[cls]
        if writing is None or self._is_full(writing, size):
            return _blocks(HEADER + size + _BESIDES)
        return _blocks(writing.segment.size + size + _BESIDES) - writing.segment.charged

    def append(
        self, cls: int, meter: bytes, epoch: int, sequence: int, frame: bytes
    ) -> "tuple[Segment, int, bool]":
        """The segment that takes it, its place, and whether it begins an extent."""
        writing = self._writing[cls]
        if writing is not None and self._is_full(writing, len(frame)):
            self._seal(cls)
            writing = None
        if writing is None:
            writing = self._begin(cls)
        segment = writing.segment
        extents = segment.extents
        assert extents is not None
        number = writing.growing.get((meter, epoch), -1)
        fresh = number < 0 or extents[number].first + extents[number].count != sequence
        if fresh:
            number = len(extents)
            extents.append(Extent(meter, epoch, sequence))
            data, writing.check = extent_record(extents[number], writing.check)
            self._extend(writing, data)
            writing.growing[(meter, epoch)] = number
        data, writing.check = frame_record(number, frame, writing.check)
        offset = segment.size
        extents[number].offsets.append(offset)
        extents[number].count += 1
        self._extend(writing, data)
        return segment, segment.number << OFFSET_BITS | offset, fresh

    def _is_full(self, writing: _Writing, size: int) -> bool:
        full: bool = writing.segment.size + size + _BESIDES > self._segment_bytes
        return full

    def _extend(self, writing: _Writing, data: bytes) -> None:
        writing.tail += data
        writing.segment.size += len(data)
        self._charge(writing.segment, writing.segment.size)

    def _charge(self, segment: Segment, size: int) -> None:
        charged = _blocks(size)
        self.used += charged - segment.charged
        segment.charged = charged

    def _begin(self, cls: int) -> _Writing:
        self.number += 1
        created = clock.utc_ms() // 1000 & 0xFFFFFFFF
        head = Head.new(cls, created)
        segment = Segment(self.number, "%08x.%d" % (self.number, cls), cls, created, head.check)
        segment.extents = []
        writing = _Writing(segment, self._files.open(segment.name, new=True), 0, head.check)
        self._extend(writing, head.data)
        self.segments[cls].append(segment)
        self._writing[cls] = writing
        return writing

    def _seal(self, cls: int) -> None:
        writing = self._writing[cls]
        if writing is None:
            return
        segment = writing.segment
        self._extend(writing, seal(segment.extents or [], segment.size, segment.check))
        self._writing[cls] = None
        self._sealed.append(writing)

    def is_written(self, segment: Segment) -> bool:
        writing = self._writing[segment.cls]
        return writing is not None and writing.segment is segment

    def discard(self, segment: Segment) -> None:
        """It goes with the next `sweep`."""
        file = None
        for writing in self._unfinished():
            if writing.segment is segment:
                file = writing.file
        if self.is_written(segment):
            self._writing[segment.cls] = None
        self._sealed = [one for one in self._sealed if one.segment is not segment]
        self.put_back(segment)
        self.segments[segment.cls].remove(segment)
        self.used -= segment.charged
        self._doomed.append((segment.name, file))

    def place(self, meter: bytes, epoch: int, segment: Segment, sequence: int) -> "int | None":
        """Where a frame stands; None when its file does not have it as it was written."""
        extents = self.extents(segment)
        for i in range(len(extents) - 1, -1, -1):
            extent = extents[i]
            if (
                extent.epoch == epoch
                and extent.first <= sequence < extent.first + len(extent.offsets)
                and extent.meter == meter
            ):
                place: int = segment.number << OFFSET_BITS | extent.offsets[sequence - extent.first]
                return place
        return None

    def extents(self, segment: Segment) -> "list[Extent]":
        """With their offsets."""
        if segment.extents is None:
            file = self._files.open(segment.name)
            segment.extents = scan(file, segment.check).extents
            self._at_hand.append((segment, file))
            if len(self._at_hand) > _AT_HAND:
                self.put_back(self._at_hand[0][0])
        return segment.extents

    def put_back(self, segment: Segment) -> None:
        """Not at hand any more: it is read anew when needed."""
        for i, (one, file) in enumerate(self._at_hand):
            if one is segment:
                file.close()
                segment.extents = None
                del self._at_hand[i]
                return

    def frame(self, segment: Segment, offset: int) -> "bytes | None":
        """None when it is damaged. Raises OutboxError."""
        for writing in self._unfinished():
            if writing.segment is segment:
                if offset >= writing.base:
                    return frame_in(writing.tail, offset - writing.base)
                return frame_at(writing.file, offset)
        self.extents(segment)
        for one, file in self._at_hand:
            if one is segment:
                return frame_at(file, offset)
        return None

    def _unfinished(self) -> "list[_Writing]":
        return self._sealed + [one for one in self._writing if one is not None]

    # Towards durability: write, then sync the files, then settle.

    def write(self) -> "list[tuple[_Writing, int]]":
        """Hands to the system what it has not; gives, for `settle`, what will be durable once the files are
        synced."""
        changed = [one for one in self._unfinished() if one.tail]
        for one in changed:
            one.write()
        return [(one, one.written) for one in changed]

    def again(self, changed: "Sequence[tuple[_Writing, int]]") -> None:
        """The sync failed, and nobody knows what of it is there: it is written once more."""
        for one, _ in changed:
            one.written = 0

    def settle(self, changed: "Sequence[tuple[_Writing, int]]") -> None:
        for one, amount in changed:
            one.tail[:amount] = b""
            one.base += amount
            one.written -= amount
            if one in self._sealed and not one.tail:
                self._sealed.remove(one)
                one.file.close()
                one.segment.extents = None

    def doomed(self) -> int:
        return len(self._doomed)

    def sweep(self, count: int) -> None:
        """Remove the first `count` of what was discarded. Raises OutboxError."""
        for _ in range(count):
            name, file = self._doomed[0]
            if file is not None:
                file.close()
            if file is None or file.exists:
                self._files.remove(name)
            del self._doomed[0]

    def close(self) -> None:
        for one in self._unfinished():
            one.file.close()
        for _, file in self._at_hand:
            file.close()


def _blocks(size: int) -> int:
    rounded: int = -(-size // _BLOCK) * _BLOCK
    return rounded
