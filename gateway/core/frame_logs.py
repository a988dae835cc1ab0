"""The files that hold an outbox's frames: for each class a log of segments, written at its end only."""

import struct

from .. import clock
from .._compat import MICROPYTHON, TYPE_CHECKING, const
from ..errors import OutboxError
from .files import is_spoiled
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
    seal_size,
    sealed_contents,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .files import File, Files
    from .runs import Run
    from .segments import Contents

# What a file takes at least on flash or disk.
BLOCK = const(4096)
# Sealed segments whose offsets are kept at hand.
_AT_HAND = 3 if MICROPYTHON else 12
# What a frame takes at most beside its bytes: its record, and a declaration.
_BESIDES = const(48)
# So often reading a segment may fail before what can't be read of it is given up.
_PATIENCE = const(3)


# What is remembered of a segment of which all is kept: its number, when it was begun, its header's checksum,
# its length, and what it takes of the capacity.
_KEPT = "<IIIII"
_KEPT_BYTES = const(20)


class _Writing:
    """A segment whose end is not durable yet: `tail`, from `base` on, of which `written` bytes are with the
    system. `least`: how long its file was when it was opened."""

    def __init__(self, segment: Segment, file: "File", base: int, check: int, least: int) -> None:
        self.segment = segment
        self.file = file
        self.base = base
        self.check = check
        self.least = least
        self.tail = bytearray()
        self.written = 0
        # By meter and epoch, the extent that grows.
        self.growing: dict[tuple[bytes, int], int] = {}

    def write(self) -> None:
        if self.written < len(self.tail):
            self.file.write(
                self.base + self.written, self.tail[self.written :] if self.written else self.tail
            )
            self.written = len(self.tail)


class FrameLogs:
    """`segments`: by class, oldest first, all but those that rest. `used`: what all of them take, in bytes of
    whole blocks.

    A segment rests once all of it is kept: what was receipted stays long, and so must take little memory.
    """

    def __init__(self, files: "Files", segment_bytes: int, number: int) -> None:
        self.segments: list[list[Segment]] = [[] for _ in range(CLASSES)]
        self._resting = [bytearray() for _ in range(CLASSES)]  # oldest first
        self._by_number: dict[int, Segment] = {}
        self.used = 0
        self.number = number  # the highest of a file so far
        self._files = files
        self._segment_bytes = segment_bytes
        self._writing: list[_Writing | None] = [None] * CLASSES
        self._sealed: list[_Writing] = []  # not durable yet
        self._at_hand: list[tuple[Segment, File]] = []  # the last one was used last
        self._doomed: list[tuple[str, File | None]] = []

    def open(self, name: str, number: int, promised: int) -> "tuple[Segment, Contents, int]":
        """Take in a file that is there, of which `promised` bytes were durable; the bytes at its end that are
        not whole. Raises OutboxError. A part that is spoiled is shown by `contents.failed`."""
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
        segment = Segment(number, head.kind, head.created, head.check)
        segment.size = contents.end
        segment.touched = _now()
        self._charge(segment, max(size, contents.end))
        self._seal(head.kind)  # only the newest of a class is written further
        self._take(segment)
        segment.failures = _PATIENCE if contents.failed else 0
        contents.failed = contents.failed or (not contents.sealed and contents.end < promised)
        if contents.sealed or contents.failed:
            # What is behind a spoiled part is left alone: another opening may be able to read it.
            file.close()
            return segment, contents, 0
        writing = _Writing(segment, file, contents.end, contents.check, size)
        self._writing[head.kind] = writing
        segment.extents = contents.extents
        for i, extent in enumerate(contents.extents):
            writing.growing[(extent.meter, extent.epoch)] = i
        return segment, contents, size - contents.end

    def ends(self, durable: bool) -> "list[int]":
        """By class, number and length of the newest file; `durable`: of what is so already."""
        found = []
        bases = {one.segment: one.base for one in self._unfinished()} if durable else {}
        for cls in range(CLASSES):
            number = size = 0
            resting = self._resting[cls]
            if resting:
                number, _, _, size, _ = struct.unpack_from(_KEPT, resting, len(resting) - _KEPT_BYTES)
            for segment in self.segments[cls]:
                length = bases.get(segment, segment.size)
                if length and segment.number > number:
                    number, size = segment.number, length
            found += [number, size]
        return found

    # Segments that rest, and others.

    def _take(self, segment: Segment) -> None:
        """The newest of its class."""
        self.segments[segment.cls].append(segment)
        self._by_number[segment.number] = segment

    def rest(self, segment: Segment) -> None:
        """Unless there is more to say of it. The newest of a class does not, for it tells when it was last
        touched."""
        log = self.segments[segment.cls]
        if segment.pending or segment.failures or segment.extents is not None or segment is log[-1]:
            return
        if any(one.segment is segment for one in self._unfinished()):
            return
        entry = struct.pack(
            _KEPT, segment.number, segment.created, segment.check, segment.size, segment.charged
        )
        resting = self._resting[segment.cls]
        at = self._resting_at(segment.cls, segment.number)
        resting[at:at] = entry
        log.remove(segment)
        del self._by_number[segment.number]

    def rest_all(self) -> None:
        for log in self.segments:
            for segment in list(log):
                self.rest(segment)

    def _resting_at(self, cls: int, number: int) -> int:
        """Where the first one with this number or a greater one stands."""
        resting = self._resting[cls]
        low, high = 0, len(resting) // _KEPT_BYTES
        while low < high:
            middle = (low + high) // 2
            if struct.unpack_from("<I", resting, middle * _KEPT_BYTES)[0] < number:
                low = middle + 1
            else:
                high = middle
        at: int = low * _KEPT_BYTES
        return at

    def segment(self, cls: int, number: int) -> Segment:
        """It rests no more. Raises OutboxError when it gave way."""
        segment = self._by_number.get(number)
        if segment is None:
            if not self._rests(cls, number):
                raise OutboxError("outbox: %08x.%d gave way" % (number, cls))
            resting = self._resting[cls]
            at = self._resting_at(cls, number)
            _, created, check, size, charged = struct.unpack_from(_KEPT, resting, at)
            resting[at : at + _KEPT_BYTES] = b""
            segment = self._by_number[number] = Segment(number, cls, created, check)
            segment.size = size
            segment.charged = charged
            segment.touched = _now()  # late rather than early, as at an opening
            log = self.segments[cls]
            i = len(log)
            while i and log[i - 1].number > number:
                i -= 1
            log.insert(i, segment)
        return segment

    def pend(self, cls: int, number: int, count: int) -> None:
        """So many more of a segment's frames wait for a receipt."""
        self.segment(cls, number).pending += count

    def ages(self, cls: int) -> "list[tuple[int, int]]":
        """(number, when it was begun) of all, oldest first."""
        resting = self._resting[cls]
        found: list[tuple[int, int]] = [
            struct.unpack_from("<II", resting, at) for at in range(0, len(resting), _KEPT_BYTES)
        ]
        found += [(segment.number, segment.created) for segment in self.segments[cls]]
        found.sort()
        return found

    def oldest(self, cls: int) -> "int | None":
        """When the oldest was begun."""
        resting, log = self._resting[cls], self.segments[cls]
        created: int | None = log[0].created if log else None
        if resting:
            number, begun = struct.unpack_from("<II", resting)
            if not log or number < log[0].number:
                created = begun
        return created

    def is_there(self, cls: int, number: int) -> bool:
        return number in self._by_number or self._rests(cls, number)

    def _rests(self, cls: int, number: int) -> bool:
        at = self._resting_at(cls, number)
        resting = self._resting[cls]
        return at < len(resting) and struct.unpack_from("<I", resting, at)[0] == number

    def kept(self) -> "Iterator[Segment]":
        """Segments of which nothing is pending: the oldest first, and those that are being written last."""
        written: list[int] = []
        # A class and a number in one small integer: there are many of these.
        found: list[int] = []
        for cls in range(CLASSES):
            resting = self._resting[cls]
            for at in range(0, len(resting), _KEPT_BYTES):
                found.append(struct.unpack_from("<I", resting, at)[0] * CLASSES + cls)
            for segment in self.segments[cls]:
                if not segment.pending:
                    (written if self.is_written(segment) else found).append(segment.number * CLASSES + cls)
        found.sort()
        written.sort()
        for some in (found, written):
            for one in some:
                yield self.segment(one % CLASSES, one // CLASSES)

    def unsynced(self) -> int:
        """Bytes that are in memory only."""
        return sum(len(one.tail) for one in self._unfinished())

    def is_unsynced(self, segment: Segment) -> bool:
        return any(one.segment is segment and one.tail for one in self._unfinished())

    def need(self, cls: int, size: int) -> int:
        """What a frame of `size` bytes adds to `used`."""
        writing = self._writing[cls]
        if writing is None:
            return self.need_of_new(size)
        grown = blocks(_with_seal(writing.segment) + _BESIDES + seal_size(1) + size)
        if self._is_full(writing, size):
            return self.need_of_new(size)
        return max(grown - writing.segment.charged, 0)

    def need_of_new(self, size: int) -> int:
        """The same where the frame begins a file."""
        return blocks(HEADER + size + _BESIDES + seal_size(1))

    def append(
        self, cls: int, meter: bytes, epoch: int, sequence: int, frame: bytes
    ) -> "tuple[Segment, int]":
        """The segment that takes it, and the number of its extent there."""
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
        if number < 0 or extents[number].first + extents[number].count != sequence:
            number = len(extents)
            extents.append(Extent(meter, epoch, sequence))
            data, writing.check = extent_record(extents[number], writing.check)
            self._extend(writing, data)
            writing.growing[(meter, epoch)] = number
        data, writing.check = frame_record(number, frame, writing.check)
        extents[number].offsets.append(segment.size)
        extents[number].count += 1
        self._extend(writing, data)
        segment.touched = _now()
        return segment, number

    def _is_full(self, writing: _Writing, size: int) -> bool:
        full: bool = _with_seal(writing.segment) + size + _BESIDES > self._segment_bytes
        return full and len(writing.segment.extents or ()) > 0

    def _extend(self, writing: _Writing, data: bytes) -> None:
        writing.tail += data
        writing.segment.size += len(data)
        self._charge(writing.segment, _with_seal(writing.segment))

    def _charge(self, segment: Segment, size: int) -> None:
        charged = max(blocks(size), segment.charged)
        self.used += charged - segment.charged
        segment.charged = charged

    def _begin(self, cls: int) -> _Writing:
        self.number += 1
        created = _now()
        head = Head.new(cls, created)
        segment = Segment(self.number, cls, created, head.check)
        segment.extents = []
        writing = _Writing(segment, self._files.open(segment.name, new=True), 0, head.check, 0)
        self._extend(writing, head.data)
        self._take(segment)
        self._writing[cls] = writing
        return writing

    def _seal(self, cls: int) -> None:
        writing = self._writing[cls]
        if writing is None:
            return
        segment = writing.segment
        self._extend(writing, seal(segment.extents or [], segment.size, segment.check, writing.least))
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
        del self._by_number[segment.number]
        self.used -= segment.charged
        self._doomed.append((segment.name, file))

    def place(self, cls: int, run: "Run", sequence: int) -> "int | None":
        """Where a frame stands; None when its file does not have it as it was written. Raises OutboxError
        when it can't be read at present."""
        extents = self.extents(self.segment(cls, run.number))
        if run.extent >= len(extents):
            return None
        extent = extents[run.extent]
        at = sequence - extent.first
        if not 0 <= at < len(extent.offsets):
            return None
        place: int = run.number << OFFSET_BITS | extent.offsets[at]
        return place

    def extents(self, segment: Segment) -> "list[Extent]":
        """With their offsets. Raises OutboxError."""
        if segment.extents is None:
            file = self._files.open(segment.name)
            try:
                contents = scan(file, segment.check)
                if contents.failed and segment.failures < _PATIENCE:
                    segment.failures += 1
                    raise OutboxError("%s can't be read" % segment.name)
            except OutboxError:
                file.close()
                raise
            segment.extents = contents.extents
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
        """None when it is damaged. Raises OutboxError when it can't be read at present."""
        try:
            return self._frame(segment, offset)
        except OutboxError as error:
            segment.failures += 1
            if is_spoiled(error) and segment.failures > _PATIENCE:
                return None
            raise

    def _frame(self, segment: Segment, offset: int) -> "bytes | None":
        for writing in self._unfinished():
            if writing.segment is segment:
                if offset >= writing.base:
                    return frame_in(writing.tail, offset - writing.base)
                return frame_at(writing.file, offset)
        self.extents(segment)
        for i in range(len(self._at_hand) - 1, -1, -1):
            one = self._at_hand[i]
            if one[0] is segment:
                if i < len(self._at_hand) - 1:
                    del self._at_hand[i]
                    self._at_hand.append(one)
                return frame_at(one[1], offset)
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

    def again(self) -> None:
        """The sync failed, and nobody knows what of it is there: it is written once more."""
        for one in self._unfinished():
            one.written = 0

    def settle(self, changed: "Sequence[tuple[_Writing, int]]") -> None:
        for one, amount in changed:
            one.tail = one.tail[amount:]  # anew: one that shrinks keeps its memory on MicroPython
            one.base += amount
            one.written -= amount
            if one in self._sealed and not one.tail:
                self._sealed.remove(one)
                one.file.close()
                one.segment.extents = None

    def doomed(self) -> int:
        return len(self._doomed)

    def sweep(self, count: int, spared: "Sequence[int]") -> "list[OutboxError]":
        """Remove the first `count` of what was discarded, without the files with these numbers. What can't be
        removed is found at the next opening and sent once more."""
        problems = []
        left = []
        for name, file in self._doomed[:count]:
            if int(name[:8], 16) in spared:
                left.append((name, file))
                continue
            if file is not None:
                file.close()
            if file is None or file.exists:
                try:
                    self._files.remove(name)
                except OutboxError as error:
                    problems.append(error)
        self._doomed[:count] = left
        return problems

    def close(self) -> None:
        for one in self._unfinished():
            one.file.close()
        for _, file in self._at_hand:
            file.close()


def _with_seal(segment: Segment) -> int:
    """How long its file becomes if it is sealed now."""
    size: int = segment.size + seal_size(len(segment.extents or ()))
    return size


def blocks(size: int) -> int:
    rounded: int = -(-size // BLOCK) * BLOCK
    return rounded


def _now() -> int:
    return clock.utc_ms() // 1000 & 0xFFFFFFFF
