"""Two applications and which of them runs: the one on trial a few times, then the good one (docs/update.md).

`/app/state` says which slot is good and which one is on trial, `/app/a.slot` and `/app/b.slot` what lies in
each. A slot is believed when its record is there and its content has the record's digest. All three are
replaced as a whole, so a power cut leaves what was before or what was to come. Where the images lie is the
medium's business: slot_rom.py, slot_files.py.

boot.py imports this before it is known which application runs: nothing of gateway/ may be imported here, it
would be that of the wrong one. It lies in the file system's root and is not updated over the air, so what
applications call has to stay as it is, and the files as they are.
"""

import hashlib
import json
import sys

import durable_file

# Annotations are not evaluated: mypy reads this, the interpreters skip it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# From the file system's root, where the board's programs stand.
DIRECTORY = "app"
SLOTS = ("a", "b")
# Has an application that takes an update, where neither slot has one (rescue.py).
RESCUE = DIRECTORY + "/rescue"
# How often, and for how long each time, a new version may try to reach the broker. That is less often than
# crashes lead to safe mode: the good version is to start as ever.
MOST_BOOTS = 2
TRIAL_MS = 600000

# What stands still, and so does not look whether its time is over, is restarted by a timer.
_GRACE_MS = 60000
_TIMER = 0

_CHECK = 8


def other(slot: str) -> str:
    return "b" if slot == "a" else "a"


def number(version: str) -> "tuple[int, ...]":
    """What versions are compared by: "1.10.0" is above "1.9". Raises ValueError."""
    return tuple([int(part) for part in version.split(".")])


class Slots:
    """`directory`: of state and records. `medium`: RomSlots or FileSlots.

    `state`: "good" and "trial" are slots or "", "boots" those of the trial, "version" that of the good one,
    "note" what who began the trial wants to be reminded of, "last" how the last trial ended: [note, version,
    whether it is kept, why not], or None.
    """

    def __init__(self, directory: str, medium: "Any") -> None:
        self.medium = medium
        self._directory = directory
        self.state: dict[str, Any] = {
            "good": "",
            "trial": "",
            "boots": 0,
            "version": "",
            "note": "",
            "last": None,
        }
        self.state.update(self._load("state") or {})

    def running(self) -> str:
        """The slot whose application runs; "": neither."""
        for slot in SLOTS:
            if self.medium.path(slot) in sys.path:
                return slot
        return ""

    def record(self, slot: str) -> "dict[str, Any] | None":
        """What lies in a slot: "version", "size", "image" (its hash) and "digest" of how it lies
        there; None where nothing is believed to."""
        return self._load(slot + ".slot") if slot else None

    def version(self, slot: str) -> str:
        record = self.record(slot)
        return record["version"] if record else ""

    def choose(self) -> str:
        """Enters the slot that is to run, and says which; "" where none is whole. Counts boots of a trial."""
        state = self.state
        if state["trial"] and self._try(state["trial"]):
            return str(state["trial"])
        good = state["good"]
        for slot in (good, other(good)) if good else self._newest_first():
            if self._enter(slot):
                if slot != good:
                    state["good"] = slot
                    state["version"] = self.version(slot)
                    self._save_if_possible()
                return str(slot)
        return ""

    def confirm(self) -> None:
        """The broker has acknowledged: what runs on trial is good from now on. Raises OSError."""
        state = self.state
        trial = state["trial"]
        if trial and trial == self.running():
            state["good"] = trial
            state["version"] = self.version(trial)
            self._end(True, "")

    def overdue(self, uptime_ms: int) -> bool:
        """Whether what runs has had its time to reach the broker. Then the trial has ended: restart."""
        trial = self.state["trial"]
        if not trial or trial != self.running() or uptime_ms < TRIAL_MS:
            return False
        self.give_up("it did not reach the broker within %d s" % (TRIAL_MS // 1000))
        return True

    def give_up(self, why: str) -> None:
        """The version on trial is not kept; the good one runs from the next start on."""
        self._end(False, why)

    def spare(self) -> str:
        """The slot that a new version may go to; "" while what runs is itself on trial, since the other one
        is the way back."""
        running = self.running()
        if running and running == self.state["trial"]:
            return ""
        return other(running or self.state["good"])

    def clear(self, slot: str) -> None:
        """Nothing in the slot is believed from here on, durably; to be called before it is written to."""
        if self.state["trial"] == slot:
            self.give_up("another version was put in its place")
        durable_file.remove(self._path(slot + ".slot"))

    def begin_trial(self, slot: str, record: "dict[str, Any]", note: str) -> None:
        """The slot is written and checked: the next start tries it. Raises OSError."""
        self._store(slot + ".slot", record)
        state = self.state
        state["trial"] = slot
        state["boots"] = 0
        state["note"] = note
        self._store("state", state)

    def install(self, slot: str, record: "dict[str, Any]") -> None:
        """For flashing: the slot is written and good. Raises OSError."""
        self._store(slot + ".slot", record)
        self.state["good"] = slot
        self.state["version"] = record["version"]
        self._store("state", self.state)

    def report(self) -> "dict[str, Any]":
        running = self.running()
        trial = bool(running) and running == self.state["trial"]
        return {
            "slot": running,
            "version": self.version(running),
            "state": "trial" if trial else "good" if running else "safe mode",
            "last": self.state["last"],
        }

    def _try(self, trial: str) -> bool:
        state = self.state
        if state["boots"] >= MOST_BOOTS:
            self._give_up_if_possible("%d starts of it did not reach the broker" % MOST_BOOTS)
            return False
        state["boots"] += 1
        try:
            self._store("state", state)
        except OSError:
            return False  # without a count there would be no end
        if self._enter(trial):
            return True
        self._give_up_if_possible("its image in flash is damaged")
        return False

    def _enter(self, slot: str) -> bool:
        try:
            record = self.record(slot)
            if record is None or self.medium.digest(slot, record) != record["digest"]:
                return False
            self.medium.enter(slot)
        except (OSError, ValueError, KeyError):
            return False
        return True

    def _newest_first(self) -> "list[str]":
        found = []
        for slot in SLOTS:
            try:
                found.append((number(self.version(slot)), slot))
            except ValueError:
                pass  # nothing there
        return [slot for _, slot in sorted(found, reverse=True)]

    def _end(self, kept: bool, why: str) -> None:
        state = self.state
        state["last"] = [state["note"], self.version(state["trial"]), kept, why]
        state["trial"] = state["note"] = ""
        self._store("state", state)

    def _give_up_if_possible(self, why: str) -> None:
        try:
            self.give_up(why)
        except OSError:
            pass  # the next start finds out again

    def _save_if_possible(self) -> None:
        try:
            self._store("state", self.state)
        except OSError:
            pass  # the next start finds out again

    def _path(self, name: str) -> str:
        return self._directory + "/" + name

    def _store(self, name: str, value: "dict[str, Any]") -> None:
        text = json.dumps(value).encode()
        durable_file.write(self._path(name), hashlib.sha256(text).digest()[:_CHECK] + text)

    def _load(self, name: str) -> "dict[str, Any] | None":
        """None for what is not there or damaged."""
        data = durable_file.read(self._path(name))
        if data is None or hashlib.sha256(data[_CHECK:]).digest()[:_CHECK] != data[:_CHECK]:
            return None
        value: dict[str, Any] = json.loads(data[_CHECK:].decode())
        return value


def opened() -> Slots:
    """The board's: images in the firmware's ROMFS partition where it has one, else files."""
    from slot_rom import segment

    rom = segment()
    if rom is not None:
        from slot_rom import RomSlots

        return Slots(DIRECTORY, RomSlots(*rom))
    from slot_files import FileSlots

    return Slots(DIRECTORY, FileSlots(DIRECTORY))


def choose() -> str:
    """For boot.py. "a" or "b": its application is first on the module path; "": neither is whole."""
    places = opened()
    slot = places.choose()
    if slot and slot == places.state["trial"]:
        _restart_after(TRIAL_MS + _GRACE_MS)
    if not slot:
        sys.path.append(RESCUE)
    return slot


def confirm() -> None:
    """For the application, once the broker has acknowledged."""
    places = opened()
    if places.state["trial"]:
        import machine

        machine.Timer(_TIMER).deinit()
        try:
            places.confirm()
        except OSError:
            pass  # it goes on all the same, as long as it is not started again


def overdue(uptime_ms: int) -> bool:
    """For the application, now and then until it has confirmed: True means restart at once."""
    return opened().overdue(uptime_ms)


def report() -> "dict[str, Any]":
    """What runs, for status and page (docs/update.md)."""
    return opened().report()


def _restart_after(ms: int) -> None:
    import machine

    machine.Timer(_TIMER).init(mode=machine.Timer.ONE_SHOT, period=ms, callback=lambda timer: machine.reset())
