"""The world around the meter: time that never steps, the meter's own clock, and the house behind it.

Run time is UTC as the world has it, ms since 1970; the meter's clock may be off, and jumps when set.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache

from .calendar import HOUR_MS, MINUTE_MS, LocalTime, tier_at
from .household import SLOT_MS, Household, PhasePower
from .measured import Present

# Average power, voltage and current cover this much time (ET55, 600 s by default).
_AVERAGE_MS = 600_000


class World:
    """Is at `start_ms` now and runs on `monotonic`, milliseconds that never step; it began `history_ms`
    before that."""

    def __init__(
        self,
        household: Household,
        local: LocalTime,
        tiers: int,
        *,
        start_ms: int,
        monotonic: Callable[[], int],
        history_ms: int = 0,
    ) -> None:
        self.local = local
        self.start_ms = start_ms - history_ms
        self._household = household
        self._tiers = tiers
        self._monotonic = monotonic
        self._started = monotonic() - history_ms
        # People and the sun keep local winter time, whatever someone writes into the meter.
        self._house_ahead = local.offset_minutes * MINUTE_MS // SLOT_MS
        self._average = lru_cache(maxsize=4)(self._average_before)
        # Since when the meter's clock is how far ahead.
        self._clock_steps: list[tuple[int, int]] = [(self.start_ms, 0)]
        # When the power was off, in run time; the end of the last one may lie ahead.
        self.outages: list[tuple[int, int]] = []

    def run_ms(self) -> int:
        return self.start_ms + self._monotonic() - self._started

    def set_clock(self, run_ms: int, utc_ms: int) -> None:
        self._clock_steps.append((run_ms, utc_ms - run_ms))

    def clock_at(self, run_ms: int) -> int:
        """What the meter's clock said at an instant, UTC."""
        step = bisect_right(self._clock_steps, run_ms, key=_begin)
        return run_ms + self._clock_steps[step - 1][1] if step else run_ms

    def outage_after(self, run_ms: int) -> tuple[int, int] | None:
        """The power outage of this moment, or the next one that is known."""
        number = bisect_right(self.outages, run_ms, key=_begin)
        if number and run_ms < self.outages[number - 1][1]:
            return self.outages[number - 1]
        return self.outages[number] if number < len(self.outages) else None

    def tier_at(self, run_ms: int) -> int:
        return tier_at(self.local.local_ms(self.clock_at(run_ms)), self._tiers)

    def next_hour_ms(self, run_ms: int) -> int:
        """The next full local hour of the meter's clock, or when someone set it: only there the tier
        changes."""
        hour = run_ms + HOUR_MS - self.local.local_ms(self.clock_at(run_ms)) % HOUR_MS
        step = bisect_right(self._clock_steps, run_ms, key=_begin)
        return min(hour, self._clock_steps[step][0]) if step < len(self._clock_steps) else hour

    def power_at(self, slot: int) -> tuple[PhasePower, PhasePower, PhasePower]:
        """The power of each phase in a slot of run time."""
        return self._household.power(self._local_slot(slot))

    def steady_until(self, slot: int) -> int:
        """The next slot whose power may be another one."""
        return self._household.steady_until(self._local_slot(slot)) - self._house_ahead

    def present_at(self, run_ms: int) -> Present:
        return self._present(run_ms // SLOT_MS)

    def average_at(self, run_ms: int) -> Present:
        """The means over the last full ten minutes."""
        return self._average(run_ms // _AVERAGE_MS * _AVERAGE_MS // SLOT_MS)

    def _average_before(self, last: int) -> Present:
        slots = [self._present(slot) for slot in range(last - _AVERAGE_MS // SLOT_MS, last)]

        def phase(number: int) -> PhasePower:
            powers = [present.phases[number] for present in slots]
            return PhasePower(_mean([p.active for p in powers]), _mean([p.reactive for p in powers]))

        def volts(number: int) -> int:
            return _mean([present.millivolts[number] for present in slots])

        return Present((phase(0), phase(1), phase(2)), (volts(0), volts(1), volts(2)), 50_000)

    def _present(self, slot: int) -> Present:
        house, local = self._household, self._local_slot(slot)
        millivolts = (house.voltage_mv(local, 0), house.voltage_mv(local, 1), house.voltage_mv(local, 2))
        return Present(house.power(local), millivolts, house.frequency_mhz(local))

    def _local_slot(self, slot: int) -> int:
        return slot + self._house_ahead


def _begin(period: tuple[int, int]) -> int:
    return period[0]


def _mean(values: list[int]) -> int:
    total = sum(values)
    return total // len(values) if total >= 0 else -(-total // len(values))
