"""What the meter stores for us to come and get: read step by step, with a cursor that says how far.

A cursor is a note of the outbox, so it moves only when the outbox has what lies before it. When the
receiver has lost what it stored, a second pass begins at the time it names and runs besides the first,
which may itself still be on its way to there: nothing is left out, and what is sent twice has the same id.
A backfill that somebody asks for is such a pass that ends at a time. There is one second pass of a kind,
which covers all that is asked for.
"""

from .._compat import MICROPYTHON, TYPE_CHECKING, const
from ..errors import ConfigurationError
from ..transmission import model
from ..transmission.packer import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from ..c1219.readers.common import Step
    from ..c1219.tables import Tables
    from .outbox import Outbox

    Read = Callable[[Tables, bytes | None], Awaitable[Step]]
    Since = Callable[[int], bytes]

# The meter's clock may be wrong, and devices answer late: what it stored so many seconds ago counts as new.
MARGIN_S = const(86400)

KINDS = bytes((model.SELF_READ, model.LOAD_PROFILE, model.ALARM, model.EVENT, model.MBUS))


def reader(kind: int) -> "tuple[Read, Since]":
    """The reader's `read(tables, cursor)` and `since(utc_seconds)`; imported when needed."""
    if kind == model.SELF_READ:
        from ..c1219.readers.self_reads import read, since
    elif kind == model.LOAD_PROFILE and MICROPYTHON:
        from ..c1219.readers.profile_in_turn import read, since
    elif kind == model.LOAD_PROFILE:
        from ..c1219.readers.load_profile import read, since
    elif kind == model.ALARM:
        from ..c1219.readers.alarms import read, since
    elif kind == model.EVENT:
        from ..c1219.readers.events import read, since
    elif kind == model.MBUS:
        from ..c1219.readers.mbus import read, since
    else:
        raise ConfigurationError("no reader for readings of kind %d" % kind)
    return read, since


def note_name(word: str, kind: int, meter: bytes) -> bytes:
    return ("%s/%s/" % (word, model.KIND_NAMES[kind])).encode() + meter


class Pass:
    """One step of a kind: where it begins, and where the meter stands once the outbox has it."""

    step: "Step"

    def __init__(self, outbox: "Outbox", kind: int, meter: bytes) -> None:
        self._outbox = outbox
        self._kind = kind
        self._name = note_name("cursor", kind, meter)
        self._again_name = note_name("again", kind, meter)
        self._again: bytes | None = None
        self._since = 0
        self._until: int | None = None
        self._cursor: bytes | None = None

    async def read(self, tables: "Tables") -> "Sequence[Any]":
        """The step's items, for the outbox."""
        read, since = reader(self._kind)
        self._again = self._outbox.note(self._again_name)
        if self._again is None:
            self._cursor = self._outbox.note(self._name)
        else:
            self._since, self._until, self._cursor = unpack(self._again)
            if self._cursor is None:
                self._cursor = since(self._since)
        self.step = step = await read(tables, self._cursor)
        until = self._until
        if until is not None and step.items and min([_begin(item) for item in step.items]) > until:
            step.items = ()
            step.more = False
        return step.items

    def done(self) -> bool:
        """The outbox has the step's items. Whether there is more to read right now."""
        step = self.step
        again = self._outbox.note(self._again_name)
        moved = step.cursor != self._cursor
        # A reader that stands still without a word would be asked the same for ever.
        more = step.more and (moved or bool(step.items))
        if self._again is None:
            if moved:
                self._outbox.set_note(self._name, step.cursor)
            return more or again is not None
        if again == self._again:  # else the receiver has lost even more meanwhile
            self._outbox.set_note(
                self._again_name, pack([self._since, self._until, step.cursor]) if more else None
            )
        return True


def _begin(item: "Any") -> int:
    seconds: int = item.times[0] if isinstance(item, model.Series) else item.time.seconds
    return seconds


def rewind(outbox: "Outbox", meter: bytes, since: int) -> None:
    """The receiver has lost what the meter stored after `since` (UTC seconds; 0: all): it is read once more.

    Alarms only where the outbox does not hold all of them since then: a meter keeps no past alarms, so what
    is set now would be told a second time, as another alarm. Nor does it say when one was set, so what its
    clock says does not count.
    """
    whole = outbox.whole_since(model.EVENTS_CLASS)
    for kind in KINDS:
        if kind == model.ALARM and since and whole is not None and whole <= since + MARGIN_S:
            continue
        read_again(outbox, meter, kind, since, None)


def read_again(outbox: "Outbox", meter: bytes, kind: int, since: int, until: "int | None") -> None:
    """Read once more what was stored from `since` on, up to `until` (UTC seconds; None: all)."""
    if outbox.note(note_name("cursor", kind, meter)) is None:
        return  # never read, so it begins with the oldest anyway
    name = note_name("again", kind, meter)
    note = outbox.note(name)
    cursor = None
    if note is not None:
        its_since, its_until, its_cursor = unpack(note)
        # A receiver has lost what the pass had brought until now as well.
        if until is not None and its_since <= since:
            cursor = its_cursor
        since = min(since, its_since)
        until = None if until is None or its_until is None else max(until, its_until)
    outbox.set_note(name, pack([since, until, cursor]))


def drop(outbox: "Outbox", meter: bytes) -> None:
    """Another meter hangs there now: nothing of it was read."""
    for kind in KINDS:
        for word in ("cursor", "again"):
            name = note_name(word, kind, meter)
            if outbox.note(name) is not None:
                outbox.set_note(name, None)
