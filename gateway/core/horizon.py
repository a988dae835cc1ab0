"""How far back a meter has to be read again when the receiver's storage goes back (docs/custody.md).

What was without a receipt at that time may be much older than that time: a backlog in the outbox, or one that
was still in the meter. So each hour a note says up to when everything had its receipt. Notes only err to the
safe side: what is read once more has the same ids.
"""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..transmission.model import PRESENT_CLASS
from ..transmission.packer import pack, unpack
from .cursors import KINDS, MARGIN_S, note_name
from .outbox import CLASSES

if TYPE_CHECKING:
    from typing import Any

    from .outbox import Outbox

_HOUR_S = const(3600)
_SOON_S = const(60)
# More notes than this are thinned out, and the older they are the more.
_MAX_NOTES = const(48)


def _name(meter: bytes) -> bytes:
    return b"horizon/" + meter


def read_notes(outbox: "Outbox", name: bytes) -> "list[tuple[int, int]]":
    """(when it was noted, up to when everything had its receipt), in the order of writing, UTC seconds."""
    raw = outbox.note(name)
    flat = unpack(raw) if raw is not None else []
    return [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]


def add_note(outbox: "Outbox", name: bytes, now: int, until: int) -> None:
    # Where the clock was set back, earlier notes are not from a later time.
    notes = [(min(noted, now), earlier) for noted, earlier in read_notes(outbox, name)]
    _write(outbox, name, _thin(notes + [(now, until)]))


def _write(outbox: "Outbox", name: bytes, notes: "list[tuple[int, int]]") -> None:
    flat: list[int] = []
    for note in notes:
        flat.extend(note)
    outbox.set_note(name, pack(flat))


def _thin(notes: "list[Any]") -> "list[Any]":
    """Within bounds: without the one that is nearest to its neighbours, for its age; never the oldest."""
    if len(notes) <= _MAX_NOTES:
        return notes
    newest = notes[-1][0]
    chosen, gap, age = 1, 1, 0
    for i in range(1, len(notes) - 1):
        its_gap = notes[i + 1][0] - notes[i - 1][0]
        its_age = newest - notes[i][0] + 1
        if its_gap * age < gap * its_age or not age:
            chosen, gap, age = i, its_gap, its_age
    return notes[:chosen] + notes[chosen + 1 :]


def go_back(outbox: "Outbox", meter: bytes, since: int) -> int:
    """The time from which on all is to be read again, when the receiver has what it committed until `since`;
    0: from the oldest on."""
    return lower_notes(outbox, _name(meter), since)


def lower_notes(outbox: "Outbox", name: bytes, since: int) -> int:
    """Up to when everything had its receipt by the last note before `since`, 0 if there is none. Earlier
    notes are lowered to there: what is lost now was lost at their time."""
    notes = read_notes(outbox, name)
    back = 0
    for noted, receipted in notes:
        if noted > since:
            break
        back = receipted
    if notes:
        _write(outbox, name, [(noted, min(receipted, back)) for noted, receipted in notes])
    return back


def drop(outbox: "Outbox", meter: bytes) -> None:
    """Another meter hangs there now."""
    if outbox.note(_name(meter)) is not None:
        outbox.set_note(_name(meter), None)


class Horizon:
    """Writes one meter's notes. `places`: by class, of the newest frame appended in this run; -1: none."""

    def __init__(self, outbox: "Outbox", meter: bytes) -> None:
        self.meter = meter
        self._outbox = outbox
        self._reached: dict[int, int] = {}  # by kind: everything until then is in the outbox
        self.places = [-1] * CLASSES
        # (when, places then, until when everything was in frames up to there), ascending
        self._marks: list[tuple[int, list[int], int]] = []
        self._next = 0

    def step(self, kind: int, began: int, more: bool) -> None:
        """The outbox has what was read of a kind from `began` (UTC seconds) on; `more`: not all."""
        if not more:
            self._reached[kind] = began - MARGIN_S
        now = clock.utc_ms() // 1000
        if now >= self._next or now < self._next - _HOUR_S:
            self._note(now)

    def _note(self, now: int) -> None:
        notes = read_notes(self._outbox, _name(self.meter))
        known = notes[-1][1] if notes else 0
        read = self._all_read(known)
        if self._marks and self._marks[-1][1] == self.places:
            self._marks.pop()
        self._marks = _thin(self._marks + [(now, list(self.places), read)])
        oldest = self._oldest()
        receipted = known
        while len(self._marks) > 1 and _before(self._marks[1][1], oldest):
            self._marks = self._marks[1:]
        if _before(self._marks[0][1], oldest):
            receipted = self._marks[0][2]
        if receipted <= 0:
            self._next = now + _SOON_S
            return
        self._next = now + _HOUR_S
        add_note(self._outbox, _name(self.meter), now, receipted)

    def _all_read(self, known: int) -> int:
        """Until when everything of all kinds is in the outbox; a kind never read needs no way back."""
        read = -1
        for kind in KINDS:
            if self._outbox.note(note_name("cursor", kind, self.meter)) is None:
                continue
            reached = self._reached.get(kind, known)
            again = self._outbox.note(note_name("again", kind, self.meter))
            if again is not None:
                reached = min(reached, unpack(again)[0])
            read = reached if read < 0 else min(read, reached)
        return max(read, 0)

    def _oldest(self) -> "list[int | None]":
        """By class the place of the oldest pending frame of what has a cursor; registers, in the class of
        M-Bus telegrams, count as well."""
        entries = [self._outbox.following(self.meter, cls, -1) for cls in range(PRESENT_CLASS)]
        return [None if entry is None else entry.place for entry in entries]


def _before(places: "list[int]", oldest: "list[int | None]") -> bool:
    """Whether all frames up to these places have their receipts. Where this run had appended none to a class,
    what is pending may be older than it."""
    return all(place is None or 0 <= places[cls] < place for cls, place in enumerate(oldest))
