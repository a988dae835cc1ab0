"""Finds out what an outbox's directory holds, after an orderly end or a loss of power (docs/outbox.md)."""

from .._compat import TYPE_CHECKING, const
from ..errors import FrameError, OutboxError
from ..transmission.model import REGISTERS_CLASS
from ..transmission.packer import unpack
from .files import is_spoiled
from .outbox import CLASSES
from .segments import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .files import Files
    from .frame_logs import FrameLogs
    from .journal import Journal
    from .runs import Segment
    from .segments import Extent
    from .supervisor import Log

# A note of the outbox's own: by class, number and length of the newest file when the journal was written.
ENDS = b"outbox/ends"

_BAD = ".bad"
_MOST_BAD = const(4)
# Notes of who can give readings once more: our own reader, or an adapter that is told.
_SOURCES = (b"cursor/", b"generation/")


def number_of(name: str) -> int:
    """Of a file of ours, also one that was set aside, or -1."""
    if len(name) not in (10, 10 + len(_BAD)) or name[8] != "." or name[9] not in "0123j":
        return -1
    try:
        return int(name[:8], 16) if name[10:] in ("", _BAD) else -1
    except ValueError:
        return -1


def is_bad(name: str) -> bool:
    return name.endswith(_BAD)


class Opening:
    """`take`: gets what the files hold, in the order of their numbers. `torn`: bytes that power took in the
    middle of a write. `damaged`: files with a part that is not as it was written. `lost`: meters of which
    readings may be gone that they still hold themselves."""

    def __init__(
        self,
        files: "Files",
        logs: "FrameLogs",
        journal: "Journal",
        log: "Log",
        take: "Callable[[Segment, int, Extent], None]",
    ) -> None:
        self.torn = journal.torn
        self.damaged = 0
        self.lost: list[bytes] = []
        self.ends = self._ends(journal)
        self._files = files
        self._logs = logs
        self._journal = journal
        self._log = log
        self._take = take

    def run(self, names: "Sequence[str]") -> None:
        """Raises OutboxError when files can't be read at present."""
        for name in self._journal.spoiled:
            self._set_aside(name, "it is no whole journal: what was receipted is offered again")
        ends = self.ends
        for name in sorted(names):
            self._open(name, ends)
        for cls in range(CLASSES):
            number = ends[2 * cls] if ends else 0
            if number and not self._logs.is_there(cls, number):
                self._spoiled(cls, "%08x.%d is missing" % (number, cls))
        bad = sorted(name for name in self._files.names() if is_bad(name) and number_of(name) >= 0)
        for name in bad[:-_MOST_BAD]:
            self._log("warning", "outbox: %s goes, for %d newer ones were set aside" % (name, _MOST_BAD))
            self._files.remove(name)

    def _ends(self, journal: "Journal") -> "list[int]":
        """Empty when it is not known."""
        try:
            ends: list[int] = unpack(journal.state.notes[ENDS])
        except (KeyError, FrameError):
            return []
        return ends

    def _open(self, name: str, ends: "list[int]") -> None:
        number, cls = number_of(name), int(name[9])
        last, length = ends[2 * cls : 2 * cls + 2] if ends else (number, 0)
        try:
            segment, contents, torn = self._logs.open(name, number, length if number == last else 0)
        except OutboxError as error:
            if not is_spoiled(error):
                raise
            if number > last or not self._begins(name):
                # Nothing in it was ever durable.
                self._files.remove(name)
                self.torn += 1
                return
            self._set_aside(name, str(error))
            self._lose(cls)
            if number == last and ends:
                ends[2 * cls] = 0
            return
        self.torn += torn
        if contents.failed:
            self._spoiled(cls, "%s ends early: what was written behind it can't be read" % name)
        for i, extent in enumerate(contents.extents):
            if extent.count:
                self._take(segment, i, extent)
        log = self._logs.segments[segment.cls]
        if len(log) > 1:
            self._logs.rest(log[-2])

    def _begins(self, name: str) -> bool:
        """Whether there is anything that could be a header."""
        file = self._files.open(name)
        try:
            data = file.read(0, HEADER)
            return len(data) == HEADER and bool(data.strip(b"\0"))
        except OutboxError:
            return True
        finally:
            file.close()

    def _set_aside(self, name: str, why: str) -> None:
        self.damaged += 1
        self._log("error", "outbox: %s is set aside: %s" % (name, why))
        try:
            self._files.rename(name, name + _BAD)
        except OutboxError as error:
            self._log("error", "outbox: %s" % error)

    def _spoiled(self, cls: int, what: str) -> None:
        self.damaged += 1
        self._log("error", "outbox: %s" % what)
        self._lose(cls)

    def _lose(self, cls: int) -> None:
        """Frames of a class are lost, nobody knows of which meter: of all that can be read again."""
        if cls < REGISTERS_CLASS:
            for name in self._journal.state.notes:
                for source in _SOURCES:
                    if name.startswith(source) and name[-16:] not in self.lost:
                        self.lost.append(name[-16:])
