"""How the link to one meter does, and how old what was read of it is."""

from .. import clock
from .._compat import TYPE_CHECKING, const
from ..transmission import model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .link_budget import LinkBudget
    from .scheduler import Job

# Nothing is stale sooner.
_LEAST_MS = const(60000)


class Vitals:
    """Of one meter, over all its connections: counters only grow.

    `drift_ms`: the meter's clock minus ours, when it was read last. `stale`: by kind, since when (UTC) for
    want of a reading. `stale_after`: how many intervals without one that takes.
    """

    def __init__(self, stale_after: int) -> None:
        self.drift_ms: int | None = None
        self.stale: dict[int, int] = {}
        self._stale_after = stale_after
        self._since = clock.monotonic_ms()
        self._read_ms: dict[int, int] = {}  # monotonic, by kind
        self._meter: LinkBudget | None = None
        self._before = [0, 0, 0, 0]  # on the connections that have ended: as _counts
        self._heard_ms: int | None = None

    def connected(self, meter: "LinkBudget") -> None:
        self._meter = meter

    def disconnected(self) -> None:
        self._before = self._counts()
        self._heard_ms = self.heard_ms
        self._meter = None

    def has_read(self, kind: int, items: "Sequence[Any]") -> None:
        """Something of a kind was read; `items`: what."""
        self._read_ms[kind] = clock.monotonic_ms()
        if kind == model.CLOCK:
            from ..transmission.registry import number

            drift = number("OSGP_clock_drift")
            for value in items[0].values:
                if value.prop == drift:
                    self.drift_ms = value.mantissa

    def look(self, jobs: "Sequence[Job]") -> "list[int] | None":
        """The kinds that are stale now, where others are than at the last look; else None."""
        now = clock.monotonic_ms()
        stale = [
            job.kind
            for job in jobs
            if now - self._read_ms.get(job.kind, self._since)
            > max(self._stale_after * job.interval_ms, _LEAST_MS)
        ]
        if set(stale) == set(self.stale):
            return None
        now = clock.utc_ms()
        self.stale = {kind: self.stale.get(kind, now) for kind in stale}
        return stale

    def age_ms(self, kind: int) -> "int | None":
        at = self._read_ms.get(kind)
        return None if at is None else clock.monotonic_ms() - at

    @property
    def heard_ms(self) -> "int | None":
        """When the meter's last answer came (monotonic)."""
        if self._meter is None or self._meter.heard_ms is None:
            return self._heard_ms
        return self._meter.heard_ms

    def _counts(self) -> "list[int]":
        """Exchanges, answers, requests sent again, resynchronisations."""
        counts = self._before
        if self._meter is not None:
            now = self._meter.traffic() + (self._meter.resyncs or 0,)
            counts = [counts[i] + now[i] for i in range(4)]
        return counts

    def status(self) -> "dict[str, Any]":
        """Its part of Gateway.status."""
        exchanges, answers, retries, resyncs = self._counts()
        return {
            "answeredAtMs": self.heard_ms,
            "security": "" if self._meter is None else self._meter.security,
            "driftMs": self.drift_ms,
            "link": {
                "exchanges": exchanges,
                "answers": answers,
                "retries": retries,
                "resyncs": resyncs,
            },
        }
