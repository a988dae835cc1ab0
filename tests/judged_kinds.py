"""What each reader of a meter must say next, by the truth, and whether it did (expected_readings.py)."""

from collections import Counter

from gateway.transmission import model
from tests.eventful_meter import AUTUMN, WITH_EXTRAS
from tests.expected_readings import Expected


class Judge:
    """What each port must say next, by the truth."""

    def __init__(self, host_ms):
        self.host_ms = host_ms
        self._known = {}
        self._alarms = set()
        self._states = {}

    def expected(self, told, marks):
        """By kind: what is now, and what the meter stored since the last time."""
        now = Expected(told, self.host_ms(), marks)
        wanted = {
            model.IDENTITY: now.identity(),
            model.CLOCK: now.clock(),
            model.REGISTERS: now.registers(),
            model.PRESENT: now.present(),
            model.SELF_READ: self._new(model.SELF_READ, now.self_reads()),
            model.LOAD_PROFILE: self._new(model.LOAD_PROFILE, now.load_profile()),
            model.ALARM: now.alarms(self._alarms),
            model.EVENT: self._new(model.EVENT, now.events()),
            model.MBUS: self._new(model.MBUS, now.telegrams()) + self._changed(now.devices()),
        }
        self._alarms = now.alarms_set()
        return wanted

    def _new(self, kind, entries):
        known = self._known.get(kind, set())
        self._known[kind] = known | set(map(_text, entries))
        return [entry for entry in entries if _text(entry) not in known]

    def _changed(self, entries):
        """Devices' states whose handle, status or alarms are others."""
        changed = []
        for entry in entries:
            values = entry[3]
            state = [values[name] for name in _STATE]
            if self._states.get(entry[0]) != state:
                self._states[entry[0]] = state
                changed.append(entry)
        return changed


_STATE = tuple("OSGP_mbus_" + name for name in ("handle", "device_status", "alarms", "device_alarms"))


def _text(entry):
    whose, time, ahead, values, faults = entry
    return repr((whose, time, ahead, sorted(values.items()), faults))


def marks_of(entries):
    """What makes these entries more than plain ones."""
    for _, _, _, values, faults in entries:
        for fault in faults:
            yield fault.partition(":")[0]
        if any("end_reading" in name for name in values):
            yield "end reading"


def eventful(firmware, season):
    """What must have been among what was compared, or it was too plain a life."""
    number = tuple(map(int, firmware.split(".")))
    marks = {"dst", "power_fail", "clock_forward", "clock_backward", "partial", "long"}
    if number >= (3, 50):
        marks |= {"skipped", "device_missing", "placeholder"}
    marks = {"OSGP_interval_" + mark for mark in marks if mark != "dst" or season is not AUTUMN}
    if number >= (3, 0):
        marks.add("OSGP_mbus_late")
    if season is AUTUMN:
        marks.add("OSGP_local_time_ambiguous")
    if firmware in WITH_EXTRAS:
        marks.add("end reading")
    return marks


def same(found, wanted, about):
    """Nothing missing, nothing else, nothing twice; and what one log or data set holds in its order."""
    found_texts, wanted_texts = [_text(entry) for entry in found], [_text(entry) for entry in wanted]
    missing = Counter(wanted_texts) - Counter(found_texts)
    others = Counter(found_texts) - Counter(wanted_texts)
    assert not missing and not others, "%s: %d missing, %d of %d others\n%s\n%s" % (
        about, missing.total(), others.total(), len(found), next(iter(missing), ""), next(iter(others), ""),
    )  # fmt: skip
    for log in {entry[0][:2] if entry[0][0] == "interval" else entry[0][:1] for entry in wanted}:
        if log[0] not in ("telegram", "device", "alarm"):
            order = [entry for entry in found if entry[0][: len(log)] == log]
            assert order == [entry for entry in wanted if entry[0][: len(log)] == log], about
