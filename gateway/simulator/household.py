"""A three-phase household whose loads switch on and off: the same seed and the same instant give the same
watts, in any order of asking.

Power is constant within a slot of ten seconds, so energy over any time is an exact integer sum. Most of it
changes only with the minute.
"""

import random
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

SLOT_MS = 10_000
_SLOTS_PER_DAY = 86_400_000 // SLOT_MS
_SLOTS_PER_MINUTE = 60_000 // SLOT_MS
PHASES = (0, 1, 2)


class PhasePower(NamedTuple):
    """What flows on one phase, as seen from the grid: positive is import. Watts and var."""

    active: int
    reactive: int


@dataclass(frozen=True)
class _Use:
    """An appliance that is on from slot `start` to slot `end` of a day."""

    start: int
    end: int
    phase: int
    active: int
    reactive: int


# Name, uses a day, minutes on, phase, watts, var, hours it is used in.
_APPLIANCES = (
    ("kettle", (3, 6), (2, 4), 0, 2100, 0, (6, 22)),
    ("stove", (1, 3), (15, 45), 1, 1500, 20, (11, 20)),
    ("washing machine", (0, 2), (50, 90), 2, 600, 180, (8, 21)),
    ("television", (1, 2), (60, 200), 0, 140, -45, (17, 23)),
    ("vacuum cleaner", (0, 1), (10, 30), 2, 900, 120, (9, 18)),
)


class Household:
    """`solar_peak_w` is what the panels give at noon on a clear day, shared by the three phases."""

    def __init__(self, seed: int, solar_peak_w: int = 0) -> None:
        self._seed = seed
        self._solar_peak_w = solar_peak_w
        fridge = random.Random("%d fridge" % seed)
        self._fridge_period = fridge.randrange(35, 55) * _SLOTS_PER_MINUTE
        self._fridge_on = self._fridge_period * 2 // 5
        self._fridge_phase = fridge.randrange(3)
        self._day_uses = lru_cache(maxsize=4)(self._plan_day)
        self._day_edges = lru_cache(maxsize=4)(self._plan_edges)
        self.power = lru_cache(maxsize=4096)(self._power)

    def _plan_day(self, day: int) -> tuple[_Use, ...]:
        uses = []
        for name, times, minutes, phase, active, reactive, hours in _APPLIANCES:
            chance = random.Random("%d %s %d" % (self._seed, name, day))
            for _ in range(chance.randint(*times)):
                start = chance.randrange(hours[0] * 60, hours[1] * 60) * _SLOTS_PER_MINUTE
                start += chance.randrange(_SLOTS_PER_MINUTE)
                length = chance.randrange(minutes[0] * _SLOTS_PER_MINUTE, minutes[1] * _SLOTS_PER_MINUTE + 1)
                strength = chance.randint(90, 110)
                uses.append(
                    _Use(start, start + length, phase, active * strength // 100, reactive * strength // 100)
                )
        return tuple(uses)

    def _plan_edges(self, day: int) -> tuple[int, ...]:
        """The slots of a day at which an appliance is switched."""
        return tuple(sorted({edge for use in self._day_uses(day) for edge in (use.start, use.end)}))

    def steady_until(self, slot: int) -> int:
        """The next slot whose power may be another one; in between it is what it is in `slot`. Without it a
        day of energy would be thousands of equal pieces."""
        day, in_day = divmod(slot, _SLOTS_PER_DAY)
        until = slot + _SLOTS_PER_MINUTE - slot % _SLOTS_PER_MINUTE
        place = (slot + 7 * self._fridge_phase) % self._fridge_period
        until = min(
            until, slot + (self._fridge_on if place < self._fridge_on else self._fridge_period) - place
        )
        edges = self._day_edges(day)
        place = bisect_right(edges, in_day)
        return min(until, day * _SLOTS_PER_DAY + edges[place]) if place < len(edges) else until

    def _power(self, slot: int) -> tuple[PhasePower, PhasePower, PhasePower]:
        """The power of each phase in `slot`, slots of ten seconds counted from 1970 in local time."""
        day, in_day = divmod(slot, _SLOTS_PER_DAY)
        minute = in_day // _SLOTS_PER_MINUTE
        active = [0, 0, 0]
        reactive = [0, 0, 0]
        evening = 40 if 17 * 60 <= minute < 23 * 60 else 0
        noise = self._noise(slot // _SLOTS_PER_MINUTE, 0, 1 << 48)
        for phase in PHASES:
            active[phase] = 45 + 10 * phase + evening + noise % 13
            # Electronics on standby lead: the grid sees exported var.
            reactive[phase] = -60 - 15 * phase - (noise >> 8) % 9
            noise >>= 16
        if (slot + 7 * self._fridge_phase) % self._fridge_period < self._fridge_on:
            active[self._fridge_phase] += 95
            reactive[self._fridge_phase] += 70
        for use in self._day_uses(day):
            if use.start <= in_day < use.end:
                active[use.phase] += use.active
                reactive[use.phase] += use.reactive
        sun = self._sun(minute, slot) // 3
        if sun:
            for phase in PHASES:
                active[phase] -= sun
        return (
            PhasePower(active[0], reactive[0]),
            PhasePower(active[1], reactive[1]),
            PhasePower(active[2], reactive[2]),
        )

    def _sun(self, minute: int, slot: int) -> int:
        """Watts from the panels: a parabola over the day from six to twenty, dimmed by clouds."""
        rise, fall = 6 * 60, 20 * 60
        if not self._solar_peak_w or not rise <= minute < fall:
            return 0
        height = 4 * (minute - rise) * (fall - minute)
        clear = 100 - self._noise(slot // (5 * _SLOTS_PER_MINUTE), 6, 60)
        return self._solar_peak_w * height * clear // ((fall - rise) ** 2 * 100)

    def voltage_mv(self, slot: int, phase: int) -> int:
        """RMS voltage against neutral: 230 V, drifting by the quarter hour, sagging under load."""
        drift = self._noise(slot // (15 * _SLOTS_PER_MINUTE), 7 + phase, 5000) - 2500
        load = self.power(slot)[phase].active
        return 230_000 + drift + self._noise(slot, 10 + phase, 400) - load // 2

    def frequency_mhz(self, slot: int) -> int:
        return 50_000 + self._noise(slot // 3, 13, 61) - 30

    def _noise(self, slot: int, stream: int, below: int) -> int:
        """A number of 0 to `below` - 1 that only seed, slot and stream decide."""
        mixed = (slot * 0x9E3779B97F4A7C15 + stream * 0xBF58476D1CE4E5B9 + self._seed) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 30
        mixed = mixed * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 27
        mixed = mixed * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return (mixed ^ (mixed >> 31)) % below
