"""The durable outbox: a log of frames for each class, and a journal of their fate (docs/outbox.md)."""

import asyncio
import os

from .. import clock
from .._compat import TYPE_CHECKING
from ..errors import OutboxError
from ..transmission.model import PRESENT_CLASS, REGISTERS_CLASS
from .frame_logs import FrameLogs
from .journal import Journal, is_journal
from .outbox import CLASSES, MAX_FRAME, Entry, Outbox, join_drop
from .runs import OFFSET_BITS, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .files import Files
    from .journal import StreamKey
    from .runs import Run, Segment
    from .supervisor import Log


class _Spoiled(Exception):
    """What was looked for is gone: look again."""


class _Stored(Entry):
    """An entry whose frame is read when it is asked for."""

    def __init__(self, box: "LogOutbox", stream: Stream, run: "Run", sequence: int, place: int) -> None:
        self.meter = stream.meter
        self.cls = stream.cls
        self.epoch = stream.epoch
        self.sequence = sequence
        self.place = place
        self.kept = run.kept
        self._box = box
        self._segment = run.segment

    @property
    def frame(self) -> bytes:  # type: ignore[override]
        """Raises OutboxError when storage fails, or has spoiled it."""
        return self._box._frame(self._segment, self.place & ((1 << OFFSET_BITS) - 1))


class LogOutbox(Outbox):
    """An outbox in `files`. `capacity` in bytes of flash or disk, counted in blocks of 4 KiB.

    `segment_bytes`: how long a file of frames becomes. `keep_s`: receipted frames are given up after so many
    seconds even where there is space. `torn`: bytes cut off at the opening, which power took in the middle
    of a write. `damaged`: files with a part that is not as it was written. `dropped`: present values that
    gave way.
    """

    def __init__(
        self,
        files: "Files",
        capacity: int,
        log: "Log",
        segment_bytes: int = 262144,
        keep_s: "int | None" = None,
    ) -> None:
        self.capacity = capacity
        self.torn = 0
        self.damaged = 0
        self.dropped = 0
        self._files = files
        self._log = log
        self._keep_s = keep_s
        self._streams: dict[StreamKey, Stream] = {}
        self._of: dict[tuple[bytes, int], list[Stream]] = {}
        self._known: list[bytes] = []
        self._next: dict[tuple[bytes, int], int] = {}
        self._lost: list[bytes] = []
        self._dirty_notes: set[bytes] = set()
        self._dirty_streams: set[StreamKey] = set()
        self._dirty_drops: set[bytes] = set()
        self._syncing = asyncio.Lock()
        found = [(_number(name), name) for name in files.names()]
        names = [name for number, name in found if number is not None]
        self._logs = FrameLogs(files, segment_bytes, max([number or 0 for number, _ in found] or [0]))
        self._journal = Journal(files, [name for name in names if is_journal(name)])
        self._state = self._journal.state
        self.torn += self._journal.torn
        if not self._journal.sound and any(is_journal(name) for name in names):
            log("warning", "outbox: no journal is whole: what was receipted is offered again")
        for number, name in sorted((int(name[:8], 16), name) for name in names if not is_journal(name)):
            self._open(name, number)
        for meter in self._state.drops:
            if meter not in self._known:
                self._known.append(meter)
        epochs = {epoch for _, _, epoch in self._streams}
        while self.epoch == 0 or self.epoch in epochs:
            self.epoch = int.from_bytes(os.urandom(4), "big")
        if self.torn:
            log("info", "outbox: %d bytes of an unfinished write were cut off" % self.torn)

    @property
    def used(self) -> int:  # type: ignore[override]
        return self._logs.used

    def _open(self, name: str, number: int) -> None:
        try:
            segment, contents, torn = self._logs.open(name, number)
        except OutboxError as error:
            self._set_aside(name, str(error))
            return
        self.torn += torn
        for extent in contents.extents:
            if extent.count:
                key = (extent.meter, segment.cls, extent.epoch)
                forgotten = self._state.forgotten.get(key, ())
                self._stream(key).load(segment, extent.first, extent.first + extent.count - 1, forgotten)

    def _set_aside(self, name: str, why: str) -> None:
        self.damaged += 1
        self._log("error", "outbox: %s is set aside: %s" % (name, why))
        try:
            self._files.rename(name, name + ".bad")
        except OutboxError as error:
            self._log("error", "outbox: %s" % error)

    def _stream(self, key: "StreamKey") -> Stream:
        stream = self._streams.get(key)
        if stream is None:
            meter, cls, epoch = key
            stream = self._streams[key] = Stream(meter, cls, epoch)
            self._of.setdefault((meter, cls), []).append(stream)
            if meter not in self._known:
                self._known.append(meter)
        return stream

    # Taking frames, and what gives way for them.

    def append(self, meter: bytes, cls: int, encode: "Callable[[int, int], bytes]") -> Entry:
        sequence = self._next.get((meter, cls), 0)
        entry = self._add((meter, cls, self.epoch), sequence, encode(self.epoch, sequence))
        self._next[(meter, cls)] = sequence + 1
        return entry

    def append_foreign(self, meter: bytes, cls: int, epoch: int, sequence: int, frame: bytes) -> Entry:
        held = self.get(meter, cls, epoch, sequence)
        if held is not None:
            if held.frame == frame:
                return held
            if not held.kept:
                raise OutboxError(
                    "other bytes are pending under class %d, epoch %08x, sequence %d; they go first"
                    % (cls, epoch, sequence)
                )
        return self._add((meter, cls, epoch), sequence, frame)

    def _add(self, key: "StreamKey", sequence: int, frame: bytes) -> Entry:
        if len(frame) > MAX_FRAME:
            raise OutboxError("a frame of %d bytes is too long: %d are allowed" % (len(frame), MAX_FRAME))
        meter, cls, epoch = key
        self._make_room(cls, len(frame))
        stream = self._stream(key)
        if stream.exclude(sequence, sequence):
            self._dirty_streams.add(key)
        segment, place, fresh = self._logs.append(cls, meter, epoch, sequence, frame)
        stream.append(segment, sequence, fresh)
        if self.on_append is not None:
            self.on_append(cls)
        return _Stored(self, stream, stream.runs[-1], sequence, place)

    def _make_room(self, cls: int, size: int) -> None:
        """Evict segments until a frame fits; when it can't, nothing is evicted in vain."""
        missing = self._logs.used + self._logs.need(cls, size) - self.capacity
        if missing <= 0:
            return
        writing = [one for one in self._logs.segments[cls] if self._logs.is_written(one)]
        kept = [one for log in self._logs.segments for one in log if not one.pending and one not in writing]
        kept.sort(key=lambda one: one.number)
        pending = [one for one in self._logs.segments[PRESENT_CLASS] if one.pending and one not in writing]
        victims = []
        for segment in kept + pending:
            if missing <= 0:
                break
            victims.append(segment)
            missing -= segment.charged
        if missing > 0:
            raise OutboxError(
                "the outbox is full: its %d bytes hold frames that no receiver has taken yet" % self.capacity
            )
        for segment in victims:
            self._evict(segment)

    def _evict(self, segment: "Segment") -> None:
        for stream in segment.streams:
            key = (stream.meter, stream.cls, stream.epoch)
            for first, last in stream.remove(segment):
                self.dropped += last - first + 1
                self.add_drop(stream.meter, stream.cls, stream.epoch, first, last)
            self._dirty_streams.add(key)
            if not stream.runs:
                del self._streams[key]
                self._of[(stream.meter, stream.cls)].remove(stream)
        self._logs.discard(segment)

    def _expire(self) -> None:
        if self._keep_s is not None:
            before = clock.utc_ms() // 1000 - self._keep_s
            for log in self._logs.segments:
                for segment in list(log):
                    if (
                        not segment.pending
                        and segment.created < before
                        and not self._logs.is_written(segment)
                    ):
                        self._evict(segment)

    # Finding frames.

    def meters(self) -> "Sequence[bytes]":
        return [
            meter
            for meter in self._known
            if self._state.drops.get(meter)
            or any(stream.pending for cls in range(CLASSES) for stream in self._of.get((meter, cls), ()))
        ]

    def known_meters(self) -> "Sequence[bytes]":
        return self._known

    def following(self, meter: bytes, cls: int, place: int) -> "Entry | None":
        while True:
            try:
                best: Entry | None = None
                for stream in self._of.get((meter, cls), ()):
                    found = self._first_after(stream, place) if stream.pending else None
                    if found is not None and (best is None or found.place < best.place):
                        best = found
                return best
            except _Spoiled:
                pass

    def _first_after(self, stream: Stream, place: int) -> "Entry | None":
        for run in stream.from_segment(max(place, 0) >> OFFSET_BITS):
            low, high = run.first, run.last
            if self._place(stream, run, high) <= place:
                continue
            while low < high:
                middle = (low + high) // 2
                if self._place(stream, run, middle) <= place:
                    low = middle + 1
                else:
                    high = middle
            return _Stored(self, stream, run, low, self._place(stream, run, low))
        return None

    def get(self, meter: bytes, cls: int, epoch: int, sequence: int) -> "Entry | None":
        while True:
            stream = self._streams.get((meter, cls, epoch))
            run = stream.find(sequence) if stream is not None else None
            if stream is None or run is None:
                return None
            try:
                return _Stored(self, stream, run, sequence, self._place(stream, run, sequence))
            except _Spoiled:
                pass

    def _place(self, stream: Stream, run: "Run", sequence: int) -> int:
        place = self._logs.place(stream.meter, stream.epoch, run.segment, sequence)
        if place is None:
            self._give_up(run.segment)
            raise _Spoiled
        return place

    def _frame(self, segment: "Segment", offset: int) -> bytes:
        frame = self._logs.frame(segment, offset)
        if frame is None:
            self._give_up(segment)
            raise OutboxError("outbox: a frame in %s is damaged" % segment.name)
        return frame

    def _give_up(self, segment: "Segment") -> None:
        """A file is not as it was written: what can't be read of it is given up, and said so."""
        self._logs.put_back(segment)
        sound: set[tuple[bytes, int, int]] = set()
        for extent in self._logs.extents(segment):
            sound.update((extent.meter, extent.epoch, extent.first + i) for i in range(len(extent.offsets)))
        lost = 0
        for stream in segment.streams:
            for run in [run for run in stream.runs if run.segment is segment]:
                for sequence in range(run.first, run.last + 1):
                    if (stream.meter, stream.epoch, sequence) not in sound:
                        lost += 1
                        stream.exclude(sequence, sequence)
                        if not run.kept:
                            self._miss(stream, sequence)
        self.damaged += 1
        self._log("error", "outbox: %s is damaged: %d frames in it can't be read" % (segment.name, lost))

    def _miss(self, stream: Stream, sequence: int) -> None:
        self.add_drop(stream.meter, stream.cls, stream.epoch, sequence, sequence)
        if stream.cls < REGISTERS_CLASS and stream.meter not in self._lost:
            self._lost.append(stream.meter)

    def losses(self) -> "Sequence[bytes]":
        lost, self._lost = self._lost, []
        return lost

    def streams(self, meter: bytes) -> "list[tuple[int, int]]":
        return [
            (cls, stream.epoch)
            for cls in range(CLASSES)
            for stream in self._of.get((meter, cls), ())
            if stream.pending
        ]

    def runs(self, meter: bytes, cls: int, epoch: int) -> "list[tuple[int, int]]":
        stream = self._streams.get((meter, cls, epoch))
        return stream.ranges(kept=False) if stream is not None else []

    def next_sequence(self, meter: bytes, cls: int) -> int:
        return self._next.get((meter, cls), 0)

    # What became of them.

    def forget(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> int:
        key = (meter, cls, epoch)
        stream = self._streams.get(key)
        count = stream.forget(first, last) if stream is not None else 0
        if count:
            self._dirty_streams.add(key)
        return count

    def offer_again(self, meter: bytes) -> int:
        count = 0
        for key, stream in self._streams.items():
            if key[0] == meter:
                again = stream.offer_again()
                count += again
                if again:
                    self._dirty_streams.add(key)
        return count

    def drops(self, meter: bytes) -> "list[tuple[int, int, int, int]]":
        return list(self._state.drops.get(meter, ()))

    def add_drop(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> None:
        if meter not in self._known:
            self._known.append(meter)
        join_drop(self._state.drops.setdefault(meter, []), cls, epoch, first, last)
        self._dirty_drops.add(meter)

    def declared(self, meter: bytes, drops: "Sequence[tuple[int, int, int, int]]") -> None:
        # A range that has grown since it was declared stays, whole: to declare twice is harmless.
        known = self._state.drops.get(meter, [])
        left = [one for one in known if one not in drops]
        if left != known:
            self._state.drops[meter] = left
            self._dirty_drops.add(meter)

    def note(self, name: bytes) -> "bytes | None":
        return self._state.notes.get(name)

    def set_note(self, name: bytes, value: "bytes | None") -> None:
        if self._state.notes.get(name) != value:
            if value is None:
                del self._state.notes[name]
            else:
                self._state.notes[name] = bytes(value)
            self._dirty_notes.add(name)

    # Storage.

    async def sync(self) -> None:
        async with self._syncing:
            await self._sync()

    async def _sync(self) -> None:
        """Frames first, then what the journal says of them, then what nobody needs any more."""
        self._expire()
        doomed = self._logs.doomed()
        # Taken now: the journal must not speak of what comes while the frames are synced.
        notes, streams, drops = self._dirty_notes, self._dirty_streams, self._dirty_drops
        self._dirty_notes, self._dirty_streams, self._dirty_drops = set(), set(), set()
        parts = self._batches(notes, streams, drops) if notes or streams or drops else []
        changed = []
        try:
            changed = self._logs.write()
            await self._files.sync([writing.file for writing, _ in changed])
            if parts and self._journal.full():
                self._logs.number += 1
                await self._journal.renew(self._logs.number, clock.utc_ms() // 1000 & 0xFFFFFFFF, parts)
            elif parts:
                await self._journal.write(parts[0])
        except OutboxError:
            self._dirty_notes |= notes
            self._dirty_streams |= streams
            self._dirty_drops |= drops
            self._logs.again(changed)
            raise
        self._logs.settle(changed)
        self._logs.sweep(doomed)

    def _batches(self, notes: "set[bytes]", streams: "set[StreamKey]", drops: "set[bytes]") -> "list[bytes]":
        for key in streams:
            stream = self._streams.get(key)
            kept = stream.ranges(kept=True) if stream is not None else []
            if kept:
                self._state.forgotten[key] = kept
            else:
                self._state.forgotten.pop(key, None)
        if self._journal.full():
            return self._state.parts()
        return [self._state.batch(sorted(notes), sorted(streams), sorted(drops))]

    def close(self) -> None:
        self._logs.close()
        self._journal.close()


def _number(name: str) -> "int | None":
    """Of a file of ours, or None."""
    if len(name) != 10 or name[8] != "." or name[9] not in "0123j":
        return None
    try:
        return int(name[:8], 16)
    except ValueError:
        return None
