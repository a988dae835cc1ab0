"""The durable outbox: a log of frames for each class, and a journal of their fate (docs/outbox.md)."""

import asyncio
import os

from .. import clock
from .._compat import MICROPYTHON, TYPE_CHECKING, const
from ..errors import OutboxError
from ..transmission.model import PRESENT_CLASS, REGISTERS_CLASS
from ..transmission.packer import pack, unpack
from .files import is_full
from .frame_logs import FrameLogs, blocks
from .journal import Journal, is_journal
from .opening import ENDS, Opening, is_bad, number_of
from .outbox import CLASSES, MAX_FRAME, Entry, Outbox, join_drop
from .runs import OFFSET_BITS, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .files import Files
    from .journal import Ranges, StreamKey
    from .runs import Run, Segment
    from .segments import Extent
    from .supervisor import Log

# At least so many bytes may wait in memory for a sync.
_LEAST_UNSYNCED = const(32768)
# Once one part in so many of that waits, a sync is due.
_DUE = 16 if MICROPYTHON else 4
# So often what gives way on a full disk, and the sync with it, is tried in a row.
_TRIES = const(4)
# A clock that went so many seconds ahead or back in one step is not believed for a day.
_JUMP_S = const(3600)
_DAY_S = const(86400)


class _Spoiled(Exception):
    """What was looked for is gone: look again."""


class _Stored(Entry):
    """An entry whose frame is read when it is asked for."""

    def __init__(self, box: "LogOutbox", stream: Stream, run: "Run", sequence: int, place: int = -1) -> None:
        self.meter = stream.meter
        self.cls = stream.cls
        self.epoch = stream.epoch
        self.sequence = sequence
        self.kept = run.kept
        self._box = box
        self._stream = stream
        self._run = run
        self._place = place

    @property
    def place(self) -> int:  # type: ignore[override]
        """Raises OutboxError as `frame` does."""
        if self._place < 0:
            try:
                self._place = self._box._place(self._stream, self._run, self.sequence)
            except _Spoiled:
                raise OutboxError(
                    "outbox: a frame in %s is damaged" % self._box._segment(self._stream, self._run).name
                ) from None
        return self._place

    @property
    def frame(self) -> bytes:  # type: ignore[override]
        """Raises OutboxError when storage fails, or has spoiled it."""
        return self._box._frame(self._stream, self._run, self.sequence, self.place)


class LogOutbox(Outbox):
    """An outbox in `files`. `capacity` in bytes of flash or disk, counted in blocks of 4 KiB.

    `segment_bytes`: how long a file of frames becomes. `keep_s`: receipted frames are given up after so many
    seconds even where there is space. `torn`: bytes cut off at the opening, which power took in the middle
    of a write. `damaged`: files with a part that is not as it was written. `dropped`: present values that
    gave way. The constructor raises OutboxError when files can't be read at present.
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
        self.dropped = 0
        self._files = files
        self._log = log
        self._keep_s = keep_s
        self._most_unsynced: int = max(2 * segment_bytes, _LEAST_UNSYNCED)
        self._streams: dict[StreamKey, Stream] = {}
        self._of: dict[tuple[bytes, int], list[Stream]] = {}
        self._known: list[bytes] = []
        self._next: dict[tuple[bytes, int], int] = {}
        self._dirty_notes: set[bytes] = set()
        self._dirty_streams: set[StreamKey] = set()
        self._dirty_drops: set[bytes] = set()
        # What the journal still says was receipted of streams that have lost a segment.
        self._evicted: dict[StreamKey, Ranges] = {}
        self._syncing = asyncio.Lock()
        self._clock = (clock.utc_ms() // 1000, clock.monotonic_ms() // 1000)
        self._distrust_until = 0
        names = [name for name in files.names() if number_of(name) >= 0]
        self._logs = FrameLogs(files, segment_bytes, max([number_of(name) for name in names] or [0]))
        names = [name for name in names if not is_bad(name)]
        self._journal = Journal(files, [name for name in names if is_journal(name)])
        self._state = self._journal.state
        self._open(names)
        epochs = {epoch for _, _, epoch in self._streams}
        while self.epoch == 0 or self.epoch in epochs:
            self.epoch = int.from_bytes(os.urandom(4), "big")

    @property
    def used(self) -> int:  # type: ignore[override]
        return self._logs.used + blocks(self._journal.size)

    @property
    def due(self) -> bool:  # type: ignore[override]
        return self._logs.unsynced() > self._most_unsynced // _DUE

    def _open(self, names: "Sequence[str]") -> None:
        opening = Opening(self._files, self._logs, self._journal, self._log, self._load)
        opening.run([name for name in names if not is_journal(name)])
        for meter in self._state.drops:
            if meter not in self._known:
                self._known.append(meter)
        self.torn, self.damaged, self._lost = opening.torn, opening.damaged, opening.lost
        self._told = opening.ends  # what the journal says of the newest files
        if self.torn:
            self._log("info", "outbox: %d bytes of an unfinished write were cut off" % self.torn)

    def _load(self, segment: "Segment", i: int, extent: "Extent") -> None:
        key = (extent.meter, segment.cls, extent.epoch)
        forgotten = self._state.forgotten.get(key, ())
        last = extent.first + extent.count - 1
        self._stream(key).load(segment.number, i, extent.first, last, forgotten)

    def _stream(self, key: "StreamKey") -> Stream:
        stream = self._streams.get(key)
        if stream is None:
            meter, cls, epoch = key
            stream = self._streams[key] = Stream(meter, cls, epoch, self._logs)
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
        elif any(low <= sequence <= high for low, high in self._evicted.get((meter, cls, epoch), ())):
            raise OutboxError(
                "class %d, epoch %08x, sequence %d was receipted and gave way; its number is free after the "
                "next sync" % (cls, epoch, sequence)
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
        segment, extent = self._logs.append(cls, meter, epoch, sequence, frame)
        run = stream.append(segment.number, extent, sequence)
        if self.on_append is not None:
            self.on_append(cls)
        return _Stored(self, stream, run, sequence)

    def _make_room(self, cls: int, size: int) -> None:
        """Evict segments until a frame fits; when it can't, nothing is evicted in vain."""
        if self._logs.unsynced() + size > self._most_unsynced:
            # Storage fails, or does not keep up: what needs it no more goes, for memory is not endless.
            for log in self._logs.segments:
                for segment in list(log):
                    if not segment.pending and self._logs.is_unsynced(segment):
                        self._evict(segment)
            if self._logs.unsynced() + size > self._most_unsynced:
                raise OutboxError(
                    "the outbox waits for its storage: %d bytes are not there yet" % self._logs.unsynced()
                )
        need = self._logs.need(cls, size)
        left = self.capacity - self.used
        if need <= left:
            return
        victims = []
        for segment in self._giving_way():
            victims.append(segment)
            left += segment.charged
            if segment.cls == cls and self._logs.is_written(segment):
                need = self._logs.need_of_new(size)
            if need <= left:
                break
        if need > left:
            raise OutboxError(
                "the outbox is full: its %d bytes hold frames that no receiver has taken yet" % self.capacity
            )
        for segment in victims:
            self._evict(segment)

    def _giving_way(self) -> "Iterator[Segment]":
        for segment in self._logs.kept():
            yield segment
        for segment in list(self._logs.segments[PRESENT_CLASS]):
            if segment.pending and not self._logs.is_written(segment):
                yield segment

    def _evict(self, segment: "Segment") -> None:
        for stream in self._in(segment):
            key = (stream.meter, stream.cls, stream.epoch)
            for first, last in stream.remove(segment.number):
                self.dropped += last - first + 1
                self.add_drop(stream.meter, stream.cls, stream.epoch, first, last)
            self._dirty_streams.add(key)
            self._evicted.setdefault(key, self._state.forgotten.get(key, []))
            if not len(stream):
                del self._streams[key]
                self._of[(stream.meter, stream.cls)].remove(stream)
        self._logs.discard(segment)

    def _in(self, segment: "Segment") -> "list[Stream]":
        """Those that have frames in it."""
        return [
            stream
            for stream in self._streams.values()
            if stream.cls == segment.cls and stream.of_segment(segment.number)
        ]

    def _expire(self) -> None:
        if self._keep_s is None:
            return
        utc, ticks = clock.utc_ms() // 1000, clock.monotonic_ms() // 1000
        if abs(utc - self._clock[0] - (ticks - self._clock[1])) > _JUMP_S:
            self._distrust_until = ticks + _DAY_S
        self._clock = (utc, ticks)
        if ticks < self._distrust_until:
            return
        for cls in range(CLASSES):
            ages = self._logs.ages(cls)
            for i in range(len(ages)):
                # A segment's youngest frame came before the next one was begun.
                last = i + 1 == len(ages)
                at = self._logs.segment(cls, ages[i][0]).touched if last else ages[i + 1][1]
                if at < utc - self._keep_s:
                    segment = self._logs.segment(cls, ages[i][0])
                    if not segment.pending:
                        self._evict(segment)

    # Finding frames.

    def meters(self) -> "Sequence[bytes]":
        waiting = {stream.meter for stream in self._streams.values() if stream.pending}
        return [meter for meter in self._known if meter in waiting or self._state.drops.get(meter)]

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
        number = max(place, 0) >> OFFSET_BITS
        for run in stream.from_segment(number):
            low, high = run.first, run.last
            if run.number == number:
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
        stream = self._streams.get((meter, cls, epoch))
        run = stream.find(sequence) if stream is not None else None
        return None if stream is None or run is None else _Stored(self, stream, run, sequence)

    def _segment(self, stream: Stream, run: "Run") -> "Segment":
        return self._logs.segment(stream.cls, run.number)

    def _place(self, stream: Stream, run: "Run", sequence: int) -> int:
        place = self._logs.place(stream.cls, run, sequence)
        if place is None:
            self._give_up(self._segment(stream, run))
            self._miss(stream, sequence, sequence)
            raise _Spoiled
        return place

    def _frame(self, stream: Stream, run: "Run", sequence: int, place: int) -> bytes:
        segment = self._segment(stream, run)
        frame = self._logs.frame(segment, place & ((1 << OFFSET_BITS) - 1))
        if frame is None:
            self._give_up(segment)
            self._miss(stream, sequence, sequence)
            raise OutboxError("outbox: a frame in %s is damaged" % segment.name)
        return frame

    def _give_up(self, segment: "Segment") -> None:
        """A file is not as it was written: what can't be read of it is given up, and said so."""
        self._logs.put_back(segment)
        extents = self._logs.extents(segment)
        lost = 0
        for stream in self._in(segment):
            for run in stream.of_segment(segment.number):
                known = run.extent < len(extents)
                end = extents[run.extent].first + len(extents[run.extent].offsets) if known else run.first
                if end <= run.last:
                    lost += self._miss(stream, max(end, run.first), run.last)
        self.damaged += 1
        self._log(
            "error", "outbox: %s is damaged: %d frames in it can't be read" % (segment.name, max(lost, 1))
        )

    def _miss(self, stream: Stream, first: int, last: int) -> int:
        """How many of these were held; those that were pending are declared, and read again."""
        pending = stream.pending
        count = stream.exclude(first, last)
        if count:
            self._dirty_streams.add((stream.meter, stream.cls, stream.epoch))
        if stream.pending < pending:
            self.add_drop(stream.meter, stream.cls, stream.epoch, first, last)
            if stream.cls < REGISTERS_CLASS and stream.meter not in self._lost:
                self._lost.append(stream.meter)
        return count

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

    def whole_since(self, cls: int) -> "int | None":
        return self._logs.oldest(cls)

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
            for again in range(_TRIES, -1, -1):
                try:
                    self._expire()
                    await self._release()
                    await self._sync()
                    self._logs.rest_all()
                    return
                except OutboxError as error:
                    if not is_full(error) or not again or not self._give_way(error):
                        raise

    def _give_way(self, error: OutboxError) -> bool:
        for segment in self._giving_way():
            self._log("warning", "outbox: %s; %s gives way" % (error, segment.name))
            self._evict(segment)
            return True
        return False

    async def _release(self) -> None:
        """Remove what gave way, once the journal says what was dropped with it."""
        doomed = self._logs.doomed()
        if not doomed:
            return
        drops, self._dirty_drops = self._dirty_drops, set()
        spared: list[int] = []
        said = False
        try:
            if self._journal.usable():
                self._state.notes[ENDS] = pack(self._logs.ends(durable=True))
                await self._journal.write(self._state.batch([ENDS], (), sorted(drops)))
                said = True
        except OutboxError as error:
            if not is_full(error):
                raise
            # There is no space to say so: better a drop that nobody declares than to stand still.
            spared = self._told[0::2]
        finally:
            if not said:
                self._dirty_drops |= drops
        if said:
            self._told = self._logs.ends(durable=True)
        for problem in self._logs.sweep(doomed, spared):
            self._log("warning", "outbox: %s" % problem)

    async def _sync(self) -> None:
        """Frames first, then what the journal says of them."""
        # Taken now: the journal must not speak of what comes while the frames are synced.
        notes, streams, drops = self._dirty_notes, self._dirty_streams, self._dirty_drops
        evicted = self._evicted
        self._dirty_notes, self._dirty_streams, self._dirty_drops = set(), set(), set()
        self._evicted = {}
        done = False
        try:
            batch, parts = b"", []
            first = self._logs.unsynced() and not self._journal.usable()
            if notes or streams or drops or first:
                batch = self._batch(notes, streams, drops)
                parts = self._state.parts() if self._journal.full() else []
            changed = self._logs.write()
            await self._files.sync([writing.file for writing, _ in changed])
            if batch:
                await self._record(batch, parts)
                self._told = unpack(self._state.notes[ENDS])
            done = True
        finally:
            if not done:  # cancelled, too
                self._dirty_notes |= notes
                self._dirty_streams |= streams
                self._dirty_drops |= drops
                for key, ranges in evicted.items():
                    self._evicted[key] = ranges
                self._logs.again()
        self._logs.settle(changed)

    def _batch(self, notes: "set[bytes]", streams: "set[StreamKey]", drops: "set[bytes]") -> bytes:
        for key in streams:
            stream = self._streams.get(key)
            kept = stream.ranges(kept=True) if stream is not None else []
            if kept:
                self._state.forgotten[key] = kept
            else:
                self._state.forgotten.pop(key, None)
        self._state.notes[ENDS] = pack(self._logs.ends(durable=False))
        return self._state.batch(sorted(notes) + [ENDS], sorted(streams), sorted(drops))

    async def _record(self, batch: bytes, parts: "list[bytes]") -> None:
        if parts:
            self._logs.number += 1
            try:
                await self._journal.renew(self._logs.number, clock.utc_ms() // 1000 & 0xFFFFFFFF, parts)
                return
            except OutboxError:
                if not self._journal.usable():
                    raise
        await self._journal.write(batch)

    def close(self) -> None:
        self._logs.close()
        self._journal.close()
