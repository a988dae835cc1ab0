"""What an outbox remembers besides frames: notes, which frames were receipted, and drops to declare.

A file of batches, each whole or not there, each with the new state of what changed. When it has grown, a new
file begins with everything; the old one goes once that is durable.
"""

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError, OutboxError
from ..transmission.packer import pack, unpack
from .files import is_spoiled
from .segments import HEADER, JOURNAL, Head, record, records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .files import File, Files

    Ranges = list[tuple[int, int]]
    StreamKey = tuple[bytes, int, int]  # meter, class, epoch
    Drop = tuple[int, int, int, int]  # class, epoch, first, last

_BATCH = const(0)
_WHOLE = const(1)  # all before it is the whole state

_SUFFIX = ".j"
# How many times its own beginning a file may grow to, and from how many bytes on that counts.
_GROWTH = const(4)
_LEAST = const(8192)
_PART = const(2048)  # about so many bytes of a beginning make a batch


class State:
    """`notes` by name; `forgotten`: receipted frames by stream, as ranges; `drops` by meter."""

    def __init__(self) -> None:
        self.notes: dict[bytes, bytes] = {}
        self.forgotten: dict[StreamKey, Ranges] = {}
        self.drops: dict[bytes, list[Drop]] = {}

    def apply(self, batch: bytes) -> None:
        """Raises FrameError for what this version does not know."""
        try:
            notes, streams, drops = unpack(batch)
            for i in range(0, len(notes), 2):
                _put(self.notes, notes[i], notes[i + 1])
            for meter, cls, epoch, *bounds in streams:
                _put(self.forgotten, (meter, cls, epoch), _grouped(bounds, 2))
            for meter, *numbers in drops:
                _put(self.drops, meter, _grouped(numbers, 4))
        except (TypeError, ValueError) as error:
            raise FrameError("a batch of another form: %s" % error) from error

    def batch(
        self, notes: "Sequence[bytes]", streams: "Sequence[StreamKey]", drops: "Sequence[bytes]"
    ) -> bytes:
        """The state of these, to apply."""
        pairs: list[Any] = []
        for name in notes:
            pairs += [name, self.notes.get(name)]
        return pack(
            [
                pairs,
                [list(key) + _flat(self.forgotten.get(key, ())) for key in streams],
                [[meter] + _flat(self.drops.get(meter, ())) for meter in drops],
            ]
        )

    def parts(self) -> "list[bytes]":
        """Everything, in batches of a moderate size."""
        found = []
        notes: list[bytes] = []
        size = 0
        for name, value in self.notes.items():
            notes.append(name)
            size += len(name) + len(value)
            if size > _PART:
                found.append(self.batch(notes, (), ()))
                notes, size = [], 0
        found.append(self.batch(notes, (), list(self.drops)))
        keys = list(self.forgotten)
        for i in range(0, len(keys), 32):
            found.append(self.batch((), keys[i : i + 32], ()))
        return found


def _put(table: "dict[Any, Any]", key: "Any", value: "Any") -> None:
    if value:
        table[key] = value
    elif value is None or value == []:
        table.pop(key, None)
    else:
        table[key] = value


def _grouped(numbers: "list[int]", size: int) -> "list[Any]":
    return [tuple(numbers[i : i + size]) for i in range(0, len(numbers), size)]


def _flat(groups: "Sequence[tuple[int, ...]]") -> "list[int]":
    return [number for group in groups for number in group]


def is_journal(name: str) -> bool:
    return name.endswith(_SUFFIX)


class Journal:
    """`state`: as the newest whole file tells it. `torn`: bytes that were not whole. `spoiled`: files that
    can't be read, and are no unfinished ones."""

    def __init__(self, files: "Files", names: "Sequence[str]") -> None:
        """Raises OutboxError when a file can't be read at present."""
        self.state = State()
        self.torn = 0
        self.size = 0
        self.spoiled: list[str] = []
        self._files = files
        self._file: File | None = None
        self._name = ""
        self._check = 0
        self._begin = 0  # bytes of the state that the file begins with
        self._doubtful = False  # there may be a newer file that counts, and does not have what came since
        self._old: list[str] = []
        for name in sorted(names, reverse=True):
            if self._file is not None or not self._load(name):
                self._old.append(name)
        if self._file is None:
            # The one before a new one stays until that is whole, so this is no end that came too early.
            self.spoiled = [name for name in self._old if not self._is_unfinished(name)]
            self._old = [name for name in self._old if name not in self.spoiled]

    def _load(self, name: str) -> bool:
        state = State()
        file = self._files.open(name)
        whole = 0
        end: int = HEADER
        try:
            head = Head.read(file)
            if head.kind != JOURNAL:
                raise FrameError("a file of kind %d is no journal" % head.kind)
            check = head.check
            for offset, after, tag, payload, found in records(file, HEADER, check):
                if tag == _WHOLE:
                    whole = offset
                else:
                    state.apply(payload)
                end, check = after, found
            size = file.size()
        except (OutboxError, FrameError) as error:
            file.close()
            if isinstance(error, OutboxError) and not is_spoiled(error):
                raise
            return False
        if not whole:
            file.close()
            return False
        self.state = state
        self.torn = size - end
        self.size = end
        self._file, self._name, self._check, self._begin = file, name, check, whole
        return True

    def _is_unfinished(self, name: str) -> bool:
        """It begins as a journal and has no end of the beginning, or does not even begin."""
        file = self._files.open(name)
        try:
            data = file.read(0, HEADER)
            head = Head.read(file) if data.strip(b"\0") and len(data) == HEADER else None
            return head is None or (
                head.kind == JOURNAL and not any(r[2] == _WHOLE for r in records(file, HEADER, head.check))
            )
        except OutboxError:
            return False
        finally:
            file.close()

    def full(self) -> bool:
        """A new file is due."""
        return not self.usable() or self.size > max(_GROWTH * self._begin, _LEAST)

    def usable(self) -> bool:
        """The file can be written further."""
        return self._file is not None and not self._doubtful

    async def write(self, batch: bytes) -> None:
        """Durable when this returns. Raises OutboxError: then the batch is not there, or comes again."""
        assert self._file is not None
        data, check = record(_BATCH, batch, self._check)
        self._file.write(self.size, data)
        await self._files.sync([self._file])
        self.size += len(data)
        self._check = check

    async def renew(self, number: int, created: int, parts: "list[bytes]") -> None:
        """Begin a new file with all of the state, which takes the place of the others. Raises OutboxError:
        then the one before still counts."""
        name = "%08x%s" % (number, _SUFFIX)
        head = Head.new(JOURNAL, created)
        file = self._files.open(name, new=True)
        size, check = HEADER, head.check
        done = False
        try:
            file.write(0, head.data)
            for tag, payload in [(_BATCH, part) for part in parts] + [(_WHOLE, b"")]:
                data, check = record(tag, payload, check)
                self._doubtful = self._doubtful or tag == _WHOLE
                file.write(size, data)
                size += len(data)
            await self._files.sync([file])
            done = True
        finally:
            if not done:
                # It does not stay on a disk that is full.
                file.close()
                self._old.append(name)
                self._remove_old()
        if self._file is not None:
            self._file.close()
            self._old.append(self._name)
        self._file, self._name = file, name
        self.size = self._begin = size
        self._check = check
        self._doubtful = False
        self._remove_old()

    def _remove_old(self) -> None:
        while self._old:
            try:
                self._files.remove(self._old[-1])
            except OutboxError:
                return  # with the next one
            self._old.pop()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
