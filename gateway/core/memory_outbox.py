"""An outbox in memory, bounded: what it holds ends with the process."""

import os

from .._compat import TYPE_CHECKING, const
from ..errors import OutboxError
from ..transmission.model import PRESENT_CLASS
from .outbox import CLASSES, MAX_FRAME, Entry, Outbox, join_drop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What an entry is charged besides its frame, so that many tiny frames can't exhaust memory.
_OVERHEAD = const(96)


class _Log:
    """One meter's frames of one class, in order of place; `numbers` finds them by (epoch, sequence)."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.numbers: dict[tuple[int, int], Entry] = {}
        self.next = 0
        self.pending = 0

    def index(self, place: int) -> int:
        """Where the first entry with a greater place stands."""
        low, high = 0, len(self.entries)
        while low < high:
            middle = (low + high) // 2
            if self.entries[middle].place <= place:
                low = middle + 1
            else:
                high = middle
        return low

    def remove(self, entry: Entry) -> None:
        del self.entries[self.index(entry.place) - 1]
        del self.numbers[(entry.epoch, entry.sequence)]


class MemoryOutbox(Outbox):
    def __init__(self, capacity: int, epoch: "int | None" = None) -> None:
        """`capacity` in bytes, with 96 for each frame's keeping. `epoch` is for tests only."""
        self.epoch = int.from_bytes(os.urandom(4), "big") if epoch is None else epoch
        self.capacity = capacity
        self.used = 0
        self.dropped = 0
        self._place = 0
        self._logs: dict[tuple[bytes, int], _Log] = {}
        self._meters: list[bytes] = []
        self._kept: list[Entry] = []  # in the order of their receipts
        self._drops: dict[bytes, list[tuple[int, int, int, int]]] = {}
        self._notes: dict[bytes, bytes] = {}

    def append(self, meter: bytes, cls: int, encode: "Callable[[int, int], bytes]") -> Entry:
        log = self._log(meter, cls)
        frame = encode(self.epoch, log.next)
        entry = self._add(log, meter, cls, self.epoch, log.next, frame)
        log.next += 1
        return entry

    def append_foreign(self, meter: bytes, cls: int, epoch: int, sequence: int, frame: bytes) -> Entry:
        log = self._log(meter, cls)
        held = log.numbers.get((epoch, sequence))
        if held is not None:
            if held.frame == frame:
                return held
            if not held.kept:
                raise OutboxError(
                    "other bytes are pending under class %d, epoch %08x, sequence %d; they go first"
                    % (cls, epoch, sequence)
                )
            self._evict(held)
        return self._add(log, meter, cls, epoch, sequence, frame)

    async def sync(self) -> None:
        pass

    def meters(self) -> "Sequence[bytes]":
        return [
            meter
            for meter in self._meters
            if self._drops.get(meter)
            or any((meter, cls) in self._logs and self._logs[(meter, cls)].pending for cls in range(CLASSES))
        ]

    def known_meters(self) -> "Sequence[bytes]":
        return self._meters

    def following(self, meter: bytes, cls: int, place: int) -> "Entry | None":
        log = self._logs.get((meter, cls))
        if log is None or not log.pending:
            return None
        for i in range(log.index(place), len(log.entries)):
            if not log.entries[i].kept:
                return log.entries[i]
        return None

    def get(self, meter: bytes, cls: int, epoch: int, sequence: int) -> "Entry | None":
        log = self._logs.get((meter, cls))
        return log.numbers.get((epoch, sequence)) if log else None

    def streams(self, meter: bytes) -> "list[tuple[int, int]]":
        found: list[tuple[int, int]] = []
        for cls in range(CLASSES):
            log = self._logs.get((meter, cls))
            for entry in log.entries if log else ():
                if not entry.kept and (cls, entry.epoch) not in found:
                    found.append((cls, entry.epoch))
        return found

    def runs(self, meter: bytes, cls: int, epoch: int) -> "list[tuple[int, int]]":
        log = self._logs.get((meter, cls))
        pending = sorted(e.sequence for e in (log.entries if log else ()) if e.epoch == epoch and not e.kept)
        runs: list[tuple[int, int]] = []
        for sequence in pending:
            if runs and runs[-1][1] == sequence - 1:
                runs[-1] = (runs[-1][0], sequence)
            else:
                runs.append((sequence, sequence))
        return runs

    def next_sequence(self, meter: bytes, cls: int) -> int:
        log = self._logs.get((meter, cls))
        return log.next if log else 0

    def forget(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> int:
        count = 0
        log = self._log(meter, cls)
        for sequence in range(first, last + 1):
            entry = log.numbers.get((epoch, sequence))
            if entry is not None and not entry.kept:
                entry.kept = True
                log.pending -= 1
                self._kept.append(entry)
                count += 1
        return count

    def offer_again(self, meter: bytes) -> int:
        again = [entry for entry in self._kept if entry.meter == meter]
        for entry in again:
            entry.kept = False
            self._logs[(meter, entry.cls)].pending += 1
        self._kept = [entry for entry in self._kept if entry.kept]
        return len(again)

    def drops(self, meter: bytes) -> "list[tuple[int, int, int, int]]":
        return list(self._drops.get(meter, ()))

    def add_drop(self, meter: bytes, cls: int, epoch: int, first: int, last: int) -> None:
        if meter not in self._meters:
            self._meters.append(meter)
        join_drop(self._drops.setdefault(meter, []), cls, epoch, first, last)

    def declared(self, meter: bytes, drops: "Sequence[tuple[int, int, int, int]]") -> None:
        # A range that has grown since it was declared stays, whole: to declare twice is harmless.
        self._drops[meter] = [one for one in self._drops.get(meter, ()) if one not in drops]

    def note(self, name: bytes) -> "bytes | None":
        return self._notes.get(name)

    def set_note(self, name: bytes, value: "bytes | None") -> None:
        if value is not None:
            self._notes[name] = value
        elif name in self._notes:
            del self._notes[name]

    def close(self) -> None:
        pass

    def _log(self, meter: bytes, cls: int) -> _Log:
        log = self._logs.get((meter, cls))
        if log is None:
            log = self._logs[(meter, cls)] = _Log()
            if meter not in self._meters:
                self._meters.append(meter)
        return log

    def _add(self, log: _Log, meter: bytes, cls: int, epoch: int, sequence: int, frame: bytes) -> Entry:
        if len(frame) > MAX_FRAME:
            raise OutboxError("a frame of %d bytes is too long: %d are allowed" % (len(frame), MAX_FRAME))
        self._make_room(len(frame) + _OVERHEAD)
        entry = Entry(meter, cls, epoch, sequence, self._place, frame)
        self._place += 1
        self.used += len(frame) + _OVERHEAD
        log.entries.append(entry)
        log.pending += 1
        log.numbers[(epoch, sequence)] = entry
        if self.on_append is not None:
            self.on_append(cls)
        return entry

    def _make_room(self, size: int) -> None:
        """Evict until `size` bytes fit; when they can't, nothing is evicted in vain."""
        if self.used + size <= self.capacity:
            return
        free = self.capacity - self.used
        victims = []
        for entry in self._kept:
            if free >= size:
                break
            victims.append(entry)
            free += len(entry.frame) + _OVERHEAD
        if free < size:
            for entry in self._oldest_present():
                if free >= size:
                    break
                victims.append(entry)
                free += len(entry.frame) + _OVERHEAD
        if free < size:
            raise OutboxError(
                "the outbox is full: %d of %d bytes hold frames no receiver has taken yet"
                % (self.used, self.capacity)
            )
        for entry in victims:
            if not entry.kept:
                self.dropped += 1
                self.add_drop(entry.meter, entry.cls, entry.epoch, entry.sequence, entry.sequence)
            self._evict(entry)

    def _oldest_present(self) -> "list[Entry]":
        found = []
        for meter in self._meters:
            log = self._logs.get((meter, PRESENT_CLASS))
            found += [entry for entry in (log.entries if log else ()) if not entry.kept]
        found.sort(key=lambda entry: entry.place)
        return found

    def _evict(self, entry: Entry) -> None:
        log = self._logs[(entry.meter, entry.cls)]
        log.remove(entry)
        self.used -= len(entry.frame) + _OVERHEAD
        if entry.kept:
            self._kept.remove(entry)
        else:
            log.pending -= 1
